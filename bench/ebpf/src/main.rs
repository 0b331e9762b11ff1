//! The XDP programs of the bench: what makes packets, what they are compared with, and what counts them.
//!
//! - [`generate`] writes the packets of a schedule into frames, and sends them into an interface. The kernel gives it used
//!   frames, which keep what was in them, so it writes the whole header each time.
//! - [`measure`] does the same and then calls the program that is measured, within the same run.
//! - [`transmit`], [`redirect`], [`discard`] are what XDP itself costs; [`rewrite`] is what no translator in XDP can do without.
//! - [`sink`] counts what arrives.
//! - [`chase`] reads memory, each place named by the one before.
//! - [`proof::number`] sends numbered frames, [`proof::note`] notes what came of each.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(unreachable_pub, reason = "a program has no outside; `pub` says what other files use")]
#![expect(missing_docs, reason = "the xdp macro drops the doc comments of the functions it wraps")]

mod frame;
mod maps;
mod packet;
mod proof;

use aya_ebpf::{
    bindings::xdp_action,
    helpers::generated::{bpf_ktime_get_ns, bpf_redirect, bpf_xdp_adjust_head},
    macros::xdp,
    programs::XdpContext,
};
use xlat_bench_common::{CHASES, State, Template, place_of};

use crate::{
    frame::{pace, restore, write},
    maps::{ARRIVED, CHASE, SETUP, STATE, SUBJECT, TIMES},
    packet::at,
};

/// Makes the next packet and sends it on.
#[xdp]
#[inline(always)]
pub fn generate(ctx: XdpContext) -> u32 {
    try_generate(&ctx).unwrap_or(xdp_action::XDP_ABORTED)
}

#[inline(always)]
fn try_generate(ctx: &XdpContext) -> Option<u32> {
    let setup = SETUP.get(0)?;
    let state = state()?;
    if setup.pace != 0 {
        pace(state, setup);
    }
    let family = write(ctx, state, setup, false)?;
    if setup.stamp != 0 {
        // SAFETY: the helper has no arguments; `at` has checked the place.
        unsafe { *at::<u64>(ctx, stamp_at(family))? = bpf_ktime_get_ns() };
    }
    // SAFETY: the helper takes numbers only.
    Some(unsafe { bpf_redirect(setup.generate_into, 0) } as u32)
}

/// Makes the next packet in the frame, whatever the last run has left of it, and calls the subject.
#[xdp(frags)]
#[inline(always)]
pub fn measure(ctx: XdpContext) -> u32 {
    try_measure(&ctx).unwrap_or(xdp_action::XDP_ABORTED)
}

#[inline(always)]
fn try_measure(ctx: &XdpContext) -> Option<u32> {
    let state = state()?;
    restore(ctx, state)?;
    write(ctx, state, SETUP.get(0)?, true)?;
    let runs = &raw mut state.runs;
    // An atomic addition waits until all that was written is in the cache: what follows reads the packet from there, and
    // not from the CPU's store buffer, in which a packet off the wire never is. The compiler has no such thing for BPF.
    // SAFETY: an aligned word of this CPU's record.
    unsafe { core::arch::asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) runs, in(reg) 1u64, options(nostack)) };
    // SAFETY: the map is a program array of this program's kind.
    unsafe { SUBJECT.tail_call(ctx, 0) };
    None
}

/// XDP_TX as simple as it goes.
#[xdp(frags)]
#[inline(always)]
pub fn transmit(ctx: XdpContext) -> u32 {
    swap_addresses(&ctx).map_or(xdp_action::XDP_ABORTED, |()| xdp_action::XDP_TX)
}

/// XDP_REDIRECT as simple as it goes.
#[xdp(frags)]
#[inline(always)]
pub fn redirect(ctx: XdpContext) -> u32 {
    let Some(setup) = SETUP.get(0) else { return xdp_action::XDP_ABORTED };
    match swap_addresses(&ctx) {
        // SAFETY: the helper takes numbers only.
        Some(()) => (unsafe { bpf_redirect(setup.redirect_into, 0) }) as u32,
        None => xdp_action::XDP_ABORTED,
    }
}

#[inline(always)]
fn swap_addresses(ctx: &XdpContext) -> Option<()> {
    let macs = at::<[u32; 3]>(ctx, 0)?;
    // SAFETY: `at` has checked twelve bytes.
    unsafe {
        let [a, b, c] = *macs;
        *macs = [b >> 16 | c << 16, c >> 16 | a << 16, a >> 16 | b << 16];
    }
    Some(())
}

/// New headers of the other family in the place of the old, redirected: a translation that knows nothing, computes nothing and
/// counts nothing.
#[xdp(frags)]
#[inline(always)]
pub fn rewrite(ctx: XdpContext) -> u32 {
    try_rewrite(&ctx).unwrap_or(xdp_action::XDP_ABORTED)
}

#[inline(always)]
fn try_rewrite(ctx: &XdpContext) -> Option<u32> {
    let into = SETUP.get(0)?.redirect_into;
    // SAFETY: `at` has checked the place.
    let is_ipv4 = unsafe { *at::<u16>(ctx, 12)? } == 0x0800_u16.to_be();
    let delta = if is_ipv4 { -20 } else { 20 };
    // SAFETY: the context is the kernel's; pointers into the packet are made anew afterwards.
    if unsafe { bpf_xdp_adjust_head(ctx.ctx, delta) } != 0 {
        return None;
    }
    // SAFETY: `at` has checked the places.
    unsafe {
        *at::<u64>(ctx, 0)? = !0;
        *at::<u64>(ctx, 6)? = !0;
        if is_ipv4 {
            *at::<[u64; 5]>(ctx, 14)? = [!0; 5];
        } else {
            *at::<[u32; 5]>(ctx, 14)? = [!0; 5];
        }
    }
    // SAFETY: the helper takes numbers only.
    Some(unsafe { bpf_redirect(into, 0) } as u32)
}

/// XDP_DROP.
#[xdp(frags)]
#[inline(always)]
pub fn discard(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_DROP
}

/// Counts what arrives, and how long it took if it is stamped.
#[xdp(frags)]
#[inline(always)]
pub fn sink(ctx: XdpContext) -> u32 {
    count(&ctx);
    xdp_action::XDP_DROP
}

#[inline(always)]
fn count(ctx: &XdpContext) -> Option<()> {
    let arrived = ARRIVED.get_ptr_mut(0)?;
    let ether_type = at::<u16>(ctx, 12)?;
    // SAFETY: this CPU's record, and `at` has checked the place.
    let family = unsafe {
        match u16::from_be(*ether_type) {
            0x0800 => {
                (*arrived).ipv4 += 1;
                Template::IPV4
            }
            0x86dd => {
                (*arrived).ipv6 += 1;
                Template::IPV6
            }
            _ => {
                (*arrived).other += 1;
                return None;
            }
        }
    };
    if SETUP.get(0)?.stamp != 0 {
        let stamp = at::<u64>(ctx, stamp_at(family))?;
        // SAFETY: the helper has no arguments; `at` has checked the place.
        let time = unsafe { bpf_ktime_get_ns() - *stamp };
        let times = TIMES.get_ptr_mut(place_of(time))?;
        // SAFETY: this CPU's record.
        unsafe { *times += 1 };
    }
    Some(())
}

/// After Ethernet, the IP header without anything more, and UDP.
#[inline(always)]
const fn stamp_at(family: u32) -> usize {
    if family == Template::IPV4 { 14 + 20 + 8 } else { 14 + 40 + 8 }
}

/// Follows the chain in memory for [`CHASES`] steps.
#[xdp]
#[inline(always)]
pub fn chase(_ctx: XdpContext) -> u32 {
    walk().map_or(xdp_action::XDP_ABORTED, |()| xdp_action::XDP_DROP)
}

#[inline(always)]
fn walk() -> Option<()> {
    let state = state()?;
    let mut place = state.place as u32;
    for _ in 0..CHASES {
        place = CHASE.get(place)?[0];
    }
    state.place = place.into();
    Some(())
}

#[inline(always)]
fn state() -> Option<&'static mut State> {
    // SAFETY: this CPU's record; the program has no other reference to it.
    STATE.get_ptr_mut(0).map(|state| unsafe { &mut *state })
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
