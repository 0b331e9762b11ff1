//! The program that stands on the interfaces while a capture runs, and on none otherwise: it keeps a copy of the packet, has the
//! relay's entry translate it, and tells what came of it.
//!
//! The entry is called by tail call from a function of this program, which is where it comes back to: what a capture shows is
//! what the programs in force do, fast path included, and they know nothing of it. What became of the packet is read from
//! what they leave behind for each other (the scratch record) and from what they count.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(unreachable_pub, reason = "a program has no outside; `pub` says what other files use")]
#![expect(missing_docs, reason = "the xdp macro drops the doc comments of the functions it wraps")]

mod filter;
mod maps;
mod outcome;
mod record;

use aya_ebpf::{
    EbpfContext, bindings::xdp_md, helpers::generated::bpf_ktime_get_ns, macros::xdp, programs::XdpContext,
};

use crate::{
    maps::{LIVE, count_no_program},
    record::Side,
};

/// Every frame of an interface, while a capture runs.
#[xdp(frags)]
#[inline(always)]
pub fn xlat_capture(ctx: XdpContext) -> u32 {
    // SAFETY: the helper has no arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    let wanted = filter::wanted(ctx.ingress_ifindex() as u32, now);
    if wanted.slots != 0 && begin(&ctx, now, wanted.snaplen).is_some() {
        let action = translate(ctx.as_ptr().cast());
        end(&ctx, action, wanted);
        return action;
    }
    // SAFETY: the entry takes the same context.
    unsafe { LIVE.tail_call(&ctx, 0) };
    count_no_program()
}

/// Has the entry translate the packet; gives its action.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn translate(ctx: *mut xdp_md) -> u32 {
    // SAFETY: the entry takes the same context. It returns to this function's caller.
    unsafe { LIVE.tail_call(&XdpContext::new(ctx), 0) };
    let mut action = u64::from(count_no_program());
    // The compiler must not know what this function returns: mostly it is another program's action.
    // SAFETY: an addition of nothing.
    unsafe { core::arch::asm!("{0} += 0", inout(reg) action, options(nomem, nostack)) };
    action as u32
}

/// Keeps the frame as it arrived.
#[inline(always)]
fn begin(ctx: &XdpContext, now: u64, snaplen: u32) -> Option<()> {
    let record = maps::record()?;
    record.head.arrived = now;
    record.head.ifindex = ctx.ingress_ifindex() as u32;
    record.snaplen = snaplen;
    record::keep(ctx, Side::BEFORE);
    outcome::prepare(record)
}

/// Tells of the frame, if a capture wants it.
#[inline(always)]
fn end(ctx: &XdpContext, action: u32, wanted: filter::Wanted) {
    let Some(record) = maps::record() else { return };
    record.head.action = action;
    record.head.outcome = outcome::of(record, action);
    record.head.after_len = 0;
    record.head.after_kept = 0;
    record.after.family = 0;
    if outcome::has_left(record.head.outcome, action) {
        record::keep(ctx, Side::AFTER);
    }
    // SAFETY: the helper has no arguments.
    record.head.left = unsafe { bpf_ktime_get_ns() };
    let slots = filter::matching(wanted.slots, record.head.left);
    if slots != 0 {
        record.head.slots = slots;
        record::tell(slots);
    }
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
