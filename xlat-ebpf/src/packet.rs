//! Access to the packet's bytes: the only place that makes pointers of offsets.

use aya_ebpf::{
    EbpfContext,
    bindings::xdp_md,
    helpers::generated::{
        bpf_csum_diff, bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len, bpf_xdp_load_bytes,
        bpf_xdp_store_bytes,
    },
    programs::XdpContext,
};
use xlat_common::checksum::Sum;

use crate::{
    conclude::scratch,
    maps::{BUFFER_LEN, Scratch},
    setting,
    verifier::forget,
};

/// Largest offset that is ever computed; tells the verifier the bound of a variable offset.
pub const MAX_OFFSET: usize = 0x3fff;
/// Bytes that are summed by one helper call.
const CHUNK: u32 = 512;
/// Most chunks of one packet: 128 × 512 bytes, more than an IP packet has.
const MAX_CHUNKS: u32 = 128;

/// A pointer to a `T` at `offset` of the frame, if it lies within the linear part.
///
/// `T` is read and written at any alignment: BPF's loads and stores have none on the machines that run XDP
/// (the verifier refuses the program elsewhere), while `read_unaligned` would become single-byte loads.
#[inline(always)]
pub fn at<T>(ctx: &XdpContext, offset: usize) -> Option<*mut T> {
    let start = ctx.data();
    let end = ctx.data_end();
    if size_of::<T>() == 1 {
        // `p + 1 > end` must not become `p >= end`, nor an even offset's `+ 1` an `| 1`: the verifier learns nothing from them.
        let mut after = start + offset;
        // SAFETY: an addition.
        unsafe { core::arch::asm!("{0} += 1", inout(reg) after, options(nomem, nostack)) };
        return if after > end { None } else { Some((after - 1) as *mut T) };
    }
    let after = start + offset + size_of::<T>();
    if after > end { None } else { Some((start + offset) as *mut T) }
}

/// A copy of the `T` at `offset`.
#[inline(always)]
pub fn load<T: Copy>(ctx: &XdpContext, offset: usize) -> Option<T> {
    // SAFETY: `at` has checked that all of it lies within the frame.
    at::<T>(ctx, offset & MAX_OFFSET).map(|place| unsafe { *place })
}

/// Writes a `T` at `offset`; `None` if it does not lie within the linear part.
#[inline(always)]
pub fn store<T: Copy>(ctx: &XdpContext, offset: usize, value: T) -> Option<()> {
    // SAFETY: `at` has checked that all of it lies within the frame.
    at::<T>(ctx, offset & MAX_OFFSET).map(|place| unsafe { *place = value })
}

/// Bytes of the whole frame, all buffers.
#[inline(always)]
pub fn frame_len(ctx: &XdpContext) -> usize {
    if setting!(multi_buffer) != 0 {
        // SAFETY: the helper only reads the context. Since Linux 5.18, hence the setting.
        (unsafe { bpf_xdp_get_buff_len(raw(ctx)) }) as usize
    } else {
        ctx.data_end() - ctx.data()
    }
}

/// Moves the start of the frame: positive makes it shorter. All pointers into the packet are stale afterwards.
#[inline(always)]
pub fn adjust_head(ctx: &XdpContext, delta: i32) -> Option<()> {
    // SAFETY: the helper checks the room before the packet.
    if unsafe { bpf_xdp_adjust_head(raw(ctx), delta) } == 0 { Some(()) } else { None }
}

/// Moves the end of the frame: negative makes it shorter. All pointers into the packet are stale afterwards.
#[inline(always)]
pub fn adjust_tail(ctx: &XdpContext, delta: i32) -> Option<()> {
    // SAFETY: the helper checks the room after the packet. Growing since Linux 5.8.
    if unsafe { bpf_xdp_adjust_tail(raw(ctx), delta) } == 0 { Some(()) } else { None }
}

/// Cuts what follows the first `end` bytes of the frame: Ethernet padding.
#[inline(always)]
pub fn trim_to(ctx: &XdpContext, end: usize) -> Option<()> {
    if ctx.data_end() - ctx.data() == end {
        return Some(());
    }
    let excess = frame_len(ctx) as i64 - end as i64;
    if excess > 0 { adjust_tail(ctx, -(excess as i32)) } else { Some(()) }
}

/// Whether the first `end` bytes of the frame lie in its first buffer.
#[inline(always)]
pub fn is_linear(ctx: &XdpContext, end: usize) -> bool {
    ctx.data_end() - ctx.data() >= end
}

/// Makes the frame `len` bytes long: cuts its end, or adds bytes of unknown content.
#[inline(always)]
pub fn set_len(ctx: &XdpContext, len: usize) -> Option<()> {
    let delta = len as i64 - frame_len(ctx) as i64;
    if delta == 0 { Some(()) } else { adjust_tail(ctx, delta as i32) }
}

/// Makes the frame `by` bytes longer at its end. Where there is no room after it (veth and generic XDP leave what the packet's
/// allocation happens to have), the room before it serves: all from `kept` on, at most [`BUFFER_LEN`] bytes, stays at its
/// offset, what lies before is undefined. Uses the scratch buffer.
#[inline(always)]
pub fn grow(ctx: &XdpContext, by: usize, kept: usize) -> Option<()> {
    if adjust_tail(ctx, by as i32).is_some() {
        return Some(());
    }
    let end = frame_len(ctx);
    adjust_head(ctx, -(by as i32))?;
    let len = end - kept;
    if move_up(ctx.ctx, (kept + by) as u32, kept as u32, len as u32) == 0 { Some(()) } else { None }
}

/// Copies `len` bytes at `from` to `to`; 0 if it could. A global function for its loops (see `tables::shorter_length4`).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn move_up(ctx: *mut xdp_md, from: u32, to: u32, len: u32) -> u32 {
    let ctx = &XdpContext::new(ctx);
    let (from, to, len) = (from as usize & MAX_OFFSET, to as usize & MAX_OFFSET, len as usize & 0xffff);
    let Some(scratch) = scratch() else { return 1 };
    if load_bytes(ctx, from, scratch, len).is_none() {
        return 1;
    }
    u32::from(store_bytes(ctx, to, scratch, len).is_none())
}

/// Copies `len` (at most [`BUFFER_LEN`]) bytes at `offset` into the scratch buffer, from any buffer of the frame.
#[inline(always)]
pub fn load_bytes(ctx: &XdpContext, offset: usize, scratch: &mut Scratch, len: usize) -> Option<()> {
    if len == 0 {
        return Some(());
    }
    let len = bounded(len, BUFFER_LEN)?;
    let result = if setting!(multi_buffer) != 0 {
        // SAFETY: the buffer is BUFFER_LEN bytes; the helper checks the frame's bounds. Since Linux 5.18.
        unsafe { bpf_xdp_load_bytes(raw(ctx), offset as u32, scratch.buffer.as_mut_ptr().cast(), len as u32) }
    } else {
        i64::from(load_words(ctx.ctx, offset as u32, len as u32))
    };
    if result == 0 { Some(()) } else { None }
}

/// Copies the first `len` (at most [`BUFFER_LEN`]) bytes of the scratch buffer to `offset` of the frame.
#[inline(always)]
pub fn store_bytes(ctx: &XdpContext, offset: usize, scratch: &mut Scratch, len: usize) -> Option<()> {
    if len == 0 {
        return Some(());
    }
    let len = bounded(len, BUFFER_LEN)?;
    let result = if setting!(multi_buffer) != 0 {
        // SAFETY: the buffer is BUFFER_LEN bytes; the helper checks the frame's bounds. Since Linux 5.18.
        unsafe { bpf_xdp_store_bytes(raw(ctx), offset as u32, scratch.buffer.as_mut_ptr().cast(), len as u32) }
    } else {
        i64::from(store_words(ctx.ctx, offset as u32, len as u32))
    };
    if result == 0 { Some(()) } else { None }
}

/// Most zeros that [`store_zeros`] writes.
const MAX_ZEROS: usize = 127;
static ZEROS: [u8; MAX_ZEROS + 1] = [0; MAX_ZEROS + 1];

/// Writes `len` (at most [`MAX_ZEROS`]) zero bytes at `offset` of the frame.
#[inline(always)]
pub fn store_zeros(ctx: &XdpContext, offset: usize, len: usize) -> Option<()> {
    if len == 0 {
        return Some(());
    }
    let len = bounded(len, MAX_ZEROS)?;
    let result = if setting!(multi_buffer) != 0 {
        // SAFETY: there are as many zeros; the helper checks the frame's bounds. Since Linux 5.18.
        unsafe { bpf_xdp_store_bytes(raw(ctx), offset as u32, ZEROS.as_ptr().cast_mut().cast(), len as u32) }
    } else {
        i64::from(store_zero_bytes(ctx.ctx, offset as u32, len as u32))
    };
    if result == 0 { Some(()) } else { None }
}

/// What the functions below give where the frame is shorter.
const SHORTER: i32 = -1;

/// [`load_bytes`] without the helper: word by word, then byte by byte. A global function (see `tables::shorter_length4`).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn load_words(ctx: *mut xdp_md, offset: u32, len: u32) -> i32 {
    let (ctx, offset) = (&XdpContext::new(ctx), offset as usize);
    let Some(scratch) = scratch() else { return SHORTER };
    if offset + BUFFER_LEN > MAX_OFFSET {
        // `load` would begin anew.
        return SHORTER;
    }
    for at in (0..BUFFER_LEN).step_by(8) {
        if at + 8 > len as usize {
            break;
        }
        let Some(word) = load::<u64>(ctx, offset + at) else { return SHORTER };
        // SAFETY: the buffer is 8-byte aligned, and `at` a multiple of 8 below its length.
        unsafe { *scratch.buffer.as_mut_ptr().add(at).cast::<u64>() = word };
    }
    // Wherever the loop has ended, what follows is one path to the verifier.
    let len = forget(len, offset as u32) as usize & (2 * BUFFER_LEN - 1);
    for index in 0..7 {
        let at = (len & !7) + index;
        if at >= len {
            break;
        }
        let Some(byte) = load::<u8>(ctx, offset + at) else { return SHORTER };
        scratch.buffer[at & (BUFFER_LEN - 1)] = byte;
    }
    0
}

/// [`store_bytes`] without the helper, as [`load_words`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn store_words(ctx: *mut xdp_md, offset: u32, len: u32) -> i32 {
    let (ctx, offset) = (&XdpContext::new(ctx), offset as usize);
    let Some(scratch) = scratch() else { return SHORTER };
    for at in (0..BUFFER_LEN).step_by(8) {
        if at + 8 > len as usize {
            break;
        }
        // SAFETY: the buffer is 8-byte aligned, and `at` a multiple of 8 below its length.
        let word = unsafe { *scratch.buffer.as_ptr().add(at).cast::<u64>() };
        if store(ctx, offset + at, word).is_none() {
            return SHORTER;
        }
    }
    let len = forget(len, offset as u32) as usize & (2 * BUFFER_LEN - 1);
    for index in 0..7 {
        let at = (len & !7) + index;
        if at >= len {
            break;
        }
        if store(ctx, offset + at, scratch.buffer[at & (BUFFER_LEN - 1)]).is_none() {
            return SHORTER;
        }
    }
    0
}

/// [`store_zeros`] without the helper, as [`load_words`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn store_zero_bytes(ctx: *mut xdp_md, offset: u32, len: u32) -> i32 {
    let (ctx, offset) = (&XdpContext::new(ctx), offset as usize);
    for at in 0..MAX_ZEROS {
        if at >= len as usize {
            break;
        }
        if store(ctx, offset + at, 0u8).is_none() {
            return SHORTER;
        }
    }
    0
}

/// `len` if it is 1 to `most`, in a form whose bounds every verifier keeps: before Linux 6.8 it learns nothing from a number's
/// not being 0, so the number is made of one that is compared with `most` alone.
#[inline(always)]
fn bounded(len: usize, most: usize) -> Option<usize> {
    let less = core::hint::black_box(len.wrapping_sub(1));
    if less < most { Some(less + 1) } else { None }
}

/// The ones' complement sum of `len` bytes at `offset`, an odd last byte padded with zero. Uses the scratch buffer.
#[inline(always)]
pub fn sum(ctx: &XdpContext, offset: usize, len: usize) -> Option<Sum> {
    match sum_of(ctx.ctx, offset as u32, len as u32) {
        NO_SUM => None,
        sum => Some(Sum(u64::from(sum))),
    }
}

/// What [`sum_of`] gives where the packet is shorter: no sum of 16-bit words, and more than [`MAX_CHUNKS`] of them.
const NO_SUM: u32 = u32::MAX;

/// [`sum`] as a global function, for its loops (see `tables::shorter_length4`).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sum_of(ctx: *mut xdp_md, offset: u32, len: u32) -> u32 {
    let len = len & 0xffff;
    let mut total = 0;
    // What ends the loop is one comparison: each way out of it multiplies what the verifier has to look at.
    for chunk in 0..MAX_CHUNKS {
        let done = chunk * CHUNK;
        if done >= len {
            break;
        }
        total += u64::from(sum_chunk(ctx, offset + done, len - done));
    }
    if total < u64::from(NO_SUM) { u32::from(Sum(total).fold()) } else { NO_SUM }
}

/// As [`sum_of`], the first chunk alone.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sum_chunk(ctx: *mut xdp_md, offset: u32, len: u32) -> u32 {
    let ctx = &XdpContext::new(ctx);
    let len = if len < CHUNK { len } else { CHUNK };
    let (offset, len) = (offset as usize, len as usize & (2 * CHUNK as usize - 1));
    let Some(scratch) = scratch() else { return NO_SUM };
    // The helper sums whole words: zeros follow the last byte.
    let last = len & !3;
    // SAFETY: four bytes at a multiple of four below two chunks, which the buffer has.
    unsafe { scratch.buffer.as_mut_ptr().add(last).cast::<u32>().write_volatile(0) };
    if load_bytes(ctx, offset, scratch, len).is_none() {
        return NO_SUM;
    }
    let words = (len + 3) & !3;
    // SAFETY: the buffer has these bytes, the helper reads them.
    let sum = unsafe { bpf_csum_diff(core::ptr::null_mut(), 0, scratch.buffer.as_mut_ptr().cast(), words as u32, 0) };
    // The sum does not depend on byte order but for the order of its own two bytes (RFC 1071 2 (B)).
    u32::from(Sum(u64::from(sum as u32)).fold().swap_bytes())
}

#[inline(always)]
fn raw(ctx: &XdpContext) -> *mut xdp_md {
    ctx.as_ptr().cast()
}
