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

/// Copies the first bytes of the frame into the record, and reads its addresses.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn keep_frame(ctx: *mut xdp_md, side: u32) -> u32 {
    let ctx = &XdpContext::new(ctx);
    let Some(record) = record() else { return 0 };
    let len = frame_len(ctx);
    let most = record.snaplen;
    let wanted = if len < most { len } else { most };
    let at = if side == Side::BEFORE { 0 } else { after_at(record.head.before_kept) };
    let kept = copy(ctx, record, at as usize & PLACES, wanted as usize);
    if side == Side::BEFORE {
        record.head.before_len = len;
        record.head.before_kept = kept as u32;
    } else {
        record.head.after_len = len;
        record.head.after_kept = kept as u32;
    }
    read_addresses(record, side, at as usize & PLACES, kept);
    0
}

/// Keeps the frame on a side of the record.
#[inline(always)]
pub fn keep(ctx: &XdpContext, side: u32) {
    keep_frame(ctx.as_ptr().cast(), side);
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
        return copy_words(ctx, place, len);
    }
    // SAFETY: `at` and `len` together are less than ROOM; the helper checks the frame's bounds. Since Linux 5.18.
    let result = unsafe { bpf_xdp_load_bytes(ctx.as_ptr().cast(), 0, place.cast(), len as u32) };
    if result == 0 { len } else { 0 }
}

/// [`copy`] without the helper: word by word, then byte by byte.
#[inline(always)]
fn copy_words(ctx: &XdpContext, place: *mut u8, len: usize) -> usize {
    let (start, end) = (ctx.data(), ctx.data_end());
    let mut done = 0;
    for at in (0..MAX_SNAPLEN as usize).step_by(8) {
        if at + 8 > len || start + at + 8 > end {
            break;
        }
        // SAFETY: within the frame, as just checked, and within the record's bytes.
        unsafe { *place.add(at).cast::<u64>() = *((start + at) as *const u64) };
        done = at + 8;
    }
    for _ in 0..7 {
        let at = done & (2 * MAX_SNAPLEN as usize - 1);
        let mut after = start + at;
        // SAFETY: an addition. `p + 1 > end` must not become `p >= end`, from which the verifier learns nothing.
        unsafe { core::arch::asm!("{0} += 1", inout(reg) after, options(nomem, nostack)) };
        if at >= len || after > end {
            break;
        }
        // SAFETY: as above.
        unsafe { *place.add(at) = *((after - 1) as *const u8) };
        done = at + 1;
    }
    done
}

/// Reads the addresses of the frame of `kept` bytes at `at`.
#[inline(always)]
fn read_addresses(record: &mut Record, side: u32, at: usize, kept: usize) {
    /// Bytes of VLAN tags.
    const TAG: usize = 4;
    let (mut ip, mut addresses) = (at + 14, Addresses { family: 0, reserved: 0, both: [[0; 4]; 2] });
    for _ in 0..2 {
        if !matches!(u16::from_be(word(record, ip - 2)), 0x8100 | 0x88a8) {
            break;
        }
        ip += TAG;
    }
    match u16::from_be(word(record, ip - 2)) {
        0x0800 if ip - at + 20 <= kept => {
            addresses.family = 4;
            addresses.both[0][0] = word(record, ip + 12);
            addresses.both[1][0] = word(record, ip + 16);
        }
        0x86dd if ip - at + 40 <= kept => {
            addresses.family = 6;
            addresses.both = [word(record, ip + 8), word(record, ip + 24)];
        }
        _ => {}
    }
    *(if side == Side::BEFORE { &mut record.before } else { &mut record.after }) = addresses;
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
