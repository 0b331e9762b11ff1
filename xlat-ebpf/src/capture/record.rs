//! The record of a packet: copies of its bytes, its addresses, and the telling.

use aya_ebpf::{
    EbpfContext,
    bindings::xdp_md,
    helpers::generated::{bpf_xdp_get_buff_len, bpf_xdp_load_bytes},
    programs::XdpContext,
};
use xlat_common::capture::{Head, MAX_SNAPLEN, SLOTS, after_at};

use crate::maps::{Addresses, PACKETS, ROOM, Record, multi_buffer, record, tally};

/// Which of a packet's two frames.
pub struct Side;

impl Side {
    /// As it arrived.
    pub const BEFORE: u32 = 0;
    /// As it left.
    pub const AFTER: u32 = 1;
}

/// Offsets of the record's bytes at which a frame may begin, and lengths of one: a mask.
const PLACES: usize = ROOM / 2 - 1;
const _: () = assert!(after_at(MAX_SNAPLEN) as usize <= PLACES);

/// Copies the first bytes of the frame into the record.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn keep_frame(ctx: *mut xdp_md, side: u32) -> u32 {
    let ctx = &XdpContext::new(ctx);
    let Some(record) = record() else { return 0 };
    let len = frame_len(ctx);
    let most = record.snaplen;
    let wanted = if len < most { len } else { most };
    let at = place_of(record, side);
    let kept = copy(ctx, record, at as usize & PLACES, wanted as usize) as u32;
    let head = &mut record.head;
    if side == Side::BEFORE {
        (head.before_len, head.before_kept) = (len, kept);
    } else {
        (head.after_len, head.after_kept) = (len, kept);
    }
    0
}

/// Where the bytes of a frame begin.
#[inline(always)]
fn place_of(record: &Record, side: u32) -> u32 {
    if side == Side::BEFORE { 0 } else { after_at(record.head.before_kept) }
}

/// Keeps the frame and its addresses on a side of the record.
#[inline(always)]
pub fn keep(ctx: &XdpContext, side: u32) {
    keep_frame(ctx.as_ptr().cast(), side);
    read_addresses(side);
}

/// Bytes of the whole frame, all buffers.
#[inline(always)]
fn frame_len(ctx: &XdpContext) -> u32 {
    if multi_buffer() {
        // SAFETY: the helper only reads the context. Since Linux 5.18, hence the setting.
        (unsafe { bpf_xdp_get_buff_len(ctx.as_ptr().cast()) }) as u32
    } else {
        (ctx.data_end() - ctx.data()) as u32
    }
}

/// Copies the first `len` bytes of the frame to `at` of the record's; gives how many it has copied.
#[inline(always)]
fn copy(ctx: &XdpContext, record: &mut Record, at: usize, len: usize) -> usize {
    // Before Linux 6.8 the verifier learns nothing from a number's not being 0, hence the number less one.
    let less = core::hint::black_box(len.wrapping_sub(1));
    if less >= MAX_SNAPLEN as usize {
        return 0;
    }
    let len = less + 1;
    let place = record.bytes.as_mut_ptr().wrapping_add(at);
    if !multi_buffer() {
        let result = copy_words(ctx.as_ptr().cast(), at as u32, len as u32);
        return if result == 0 { len } else { 0 };
    }
    // SAFETY: `at` and `len` together are less than ROOM; the helper checks the frame's bounds. Since Linux 5.18.
    let result = unsafe { bpf_xdp_load_bytes(ctx.as_ptr().cast(), 0, place.cast(), len as u32) };
    if result == 0 { len } else { 0 }
}

/// [`copy`] without the helper: word by word, then byte by byte; 0 if it could.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn copy_words(ctx: *mut xdp_md, at: u32, len: u32) -> u32 {
    let ctx = &XdpContext::new(ctx);
    let Some(record) = record() else { return 1 };
    let (start, end) = (ctx.data(), ctx.data_end());
    let place = record.bytes.as_mut_ptr().wrapping_add(at as usize & PLACES);
    for at in (0..MAX_SNAPLEN as usize).step_by(8) {
        if at + 8 > len as usize {
            break;
        }
        if start + at + 8 > end {
            return 1;
        }
        // SAFETY: within the frame, as just checked, and within the record's bytes.
        unsafe { *place.add(at).cast::<u64>() = *((start + at) as *const u64) };
    }
    // Wherever the loop has ended, what follows is one path to the verifier: it knows nothing of the length.
    let len = forget(len, at) as usize & (2 * MAX_SNAPLEN as usize - 1);
    for index in 0..7 {
        let at = (len & !7) + index;
        if at >= len {
            break;
        }
        let mut after = start + at;
        // SAFETY: an addition. `p + 1 > end` must not become `p >= end`, from which the verifier learns nothing.
        unsafe { core::arch::asm!("{0} += 1", inout(reg) after, options(nomem, nostack)) };
        if after > end {
            return 1;
        }
        // SAFETY: as above.
        unsafe { *place.add(at) = *((after - 1) as *const u8) };
    }
    0
}

/// The same number, of which the verifier knows nothing any more (as `verifier::forget` of the relay's programs).
#[inline(always)]
fn forget(number: u32, unknown: u32) -> u32 {
    let mut number = u64::from(number);
    // SAFETY: an addition and its reverse.
    unsafe {
        core::arch::asm!("{0} += {1}", "{0} -= {1}", inout(reg) number, in(reg) u64::from(unknown), options(pure, nomem, nostack));
    }
    number as u32
}

/// Reads the addresses of the frame that is kept on a side.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn read_addresses(side: u32) -> u32 {
    /// Bytes of a VLAN tag.
    const TAG: usize = 4;
    let Some(record) = record() else { return 0 };
    let at = place_of(record, side) as usize & PLACES;
    let kept = if side == Side::BEFORE { record.head.before_kept } else { record.head.after_kept } as usize;
    let mut ip = at + 14;
    for _ in 0..2 {
        if !matches!(u16::from_be(word(record, ip - 2)), 0x8100 | 0x88a8) {
            break;
        }
        ip += TAG;
    }
    let ether_type = u16::from_be(word(record, ip - 2));
    let room = kept.wrapping_sub(ip - at);
    let words = if ether_type == 0x0800 && room >= 20 && room <= kept {
        [word(record, ip + 12), word(record, ip + 16)].map(|address: u32| [address, 0, 0, 0])
    } else if ether_type == 0x86dd && room >= 40 && room <= kept {
        [word(record, ip + 8), word(record, ip + 24)]
    } else {
        [[0; 4]; 2]
    };
    let addresses = if side == Side::BEFORE { &mut record.before } else { &mut record.after };
    addresses.family = match ether_type {
        0x0800 => 4,
        0x86dd => 6,
        _ => 0,
    };
    addresses.both = words;
    0
}

/// The `T` at an offset of the record's bytes, as it stands on the wire.
#[inline(always)]
fn word<T: Copy>(record: &Record, at: usize) -> T {
    const { assert!(ROOM - 1 + size_of::<T>() <= ROOM + size_of::<Addresses>()) };
    // SAFETY: below ROOM, and the record goes on after it. BPF's loads have no alignment on the machines that run XDP (see
    // `packet::at`).
    unsafe { *record.bytes.as_ptr().add(at & (ROOM - 1)).cast::<T>() }
}

/// Hands the record to the daemon; counts it for the slots that lose it.
#[inline(always)]
pub fn tell(slots: u32) {
    if hand_over() == 0 {
        return;
    }
    for slot in 0..SLOTS {
        if slots & 1 << slot != 0
            && let Some(tally) = tally(slot)
        {
            tally.lost += 1;
        }
    }
}

/// 0: the daemon gets the record.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn hand_over() -> u32 {
    let Some(record) = record() else { return 1 };
    let mut len = u64::from(after_at(record.head.before_kept) + record.head.after_kept) + size_of::<Head>() as u64;
    // SAFETY: one logical operation, by an instruction of its own for the verifier to see the bound.
    unsafe { core::arch::asm!("{0} &= {mask}", inout(reg) len, mask = const ROOM - 1, options(pure, nomem, nostack)) };
    let start = (&raw const *record).cast::<u8>();
    // SAFETY: less than ROOM bytes of the record, which begins with as many.
    let bytes = unsafe { core::slice::from_raw_parts(start, len as usize) };
    u32::from(PACKETS.output::<[u8]>(bytes, 0).is_err())
}
