//! The XDP program of xlat: one packet in, one verdict out.
//!
//! Nearly every packet's way is [`fast`]. All others begin again in programs of their own, by tail call: [`link`] (where it came
//! from) → [`lookup`] (what its addresses map to) → [`four_to_six`], [`six_to_four`] or [`icmp_error`] (the new headers) →
//! [`forward`] (the way out) → [`conclude`] (counting), and [`reply`] where the sender is to be told.
//!
//! The rules are in `xlat-common`; here is what needs a packet: bounds, moving the head, map look-ups, the verdict.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(unreachable_pub, reason = "a program has no outside; `pub` says what other files use")]
#![expect(missing_docs, reason = "the xdp macro drops the doc comments of the functions it wraps")]

mod conclude;
mod context;
mod fast;
mod forward;
mod four_to_six;
mod fragmenter;
mod header4;
mod header6;
mod icmp_error;
mod limits;
mod link;
mod lookup;
mod maps;
mod native;
mod next_hop;
mod packet;
mod reply;
mod six_to_four;
mod tables;
mod transport;
mod verifier;

use aya_ebpf::{bindings::xdp_action, macros::xdp, programs::XdpContext};

use xlat_common::programs::index;

use crate::{
    conclude::{go_on, no_program, pass_other},
    context::Context,
};

/// The entry: every frame of an interface.
#[xdp(frags)]
#[inline(always)]
pub fn xlat(ctx: XdpContext) -> u32 {
    if let Some(action) = fast::run(&ctx) {
        return action;
    }
    let Some(ctx) = Context::new(ctx.ctx) else { return xdp_action::XDP_DROP };
    let Some(arrival) = link::arrival(&ctx) else { return pass_other() };
    match arrival.ether_type {
        link::IPV4 => go_on(&ctx, index::FOUR_TO_SIX),
        link::IPV6 => go_on(&ctx, index::SIX_TO_FOUR),
        _ => return pass_other(),
    }
    no_program()
}

/// IPv4 packets that are none for the fast path.
#[xdp(frags)]
#[inline(always)]
pub fn xlat_four_to_six(ctx: XdpContext) -> u32 {
    let Some(ctx) = Context::new(ctx.ctx) else { return xdp_action::XDP_DROP };
    let Some(arrival) = link::arrival(&ctx) else { return xdp_action::XDP_DROP };
    four_to_six::run(&ctx, arrival, false)
}

/// IPv6 packets that are none for the fast path.
#[xdp(frags)]
#[inline(always)]
pub fn xlat_six_to_four(ctx: XdpContext) -> u32 {
    let Some(ctx) = Context::new(ctx.ctx) else { return xdp_action::XDP_DROP };
    let Some(arrival) = link::arrival(&ctx) else { return xdp_action::XDP_DROP };
    six_to_four::run(&ctx, arrival)
}

/// The second pass of a hairpinned packet, which is IPv4 by now (RFC 7757 4.2.2).
#[xdp(frags)]
#[inline(always)]
pub fn xlat_hairpin(ctx: XdpContext) -> u32 {
    let Some(ctx) = Context::new(ctx.ctx) else { return xdp_action::XDP_DROP };
    let Some(arrival) = link::arrival(&ctx) else { return xdp_action::XDP_DROP };
    four_to_six::run(&ctx, arrival, true)
}

/// ICMPv4 errors, and ICMPv4 messages that are not translated.
#[xdp(frags)]
#[inline(always)]
pub fn xlat_icmp4_error(ctx: XdpContext) -> u32 {
    let Some(ctx) = Context::new(ctx.ctx) else { return xdp_action::XDP_DROP };
    let Some(arrival) = link::arrival(&ctx) else { return xdp_action::XDP_DROP };
    icmp_error::to_six::run(&ctx, arrival, false)
}

/// The second pass of a hairpinned ICMP error.
#[xdp(frags)]
#[inline(always)]
pub fn xlat_hairpin_icmp_error(ctx: XdpContext) -> u32 {
    let Some(ctx) = Context::new(ctx.ctx) else { return xdp_action::XDP_DROP };
    let Some(arrival) = link::arrival(&ctx) else { return xdp_action::XDP_DROP };
    icmp_error::to_six::run(&ctx, arrival, true)
}

/// ICMPv6 errors, and ICMPv6 messages that are not translated.
#[xdp(frags)]
#[inline(always)]
pub fn xlat_icmp6_error(ctx: XdpContext) -> u32 {
    let Some(ctx) = Context::new(ctx.ctx) else { return xdp_action::XDP_DROP };
    let Some(arrival) = link::arrival(&ctx) else { return xdp_action::XDP_DROP };
    icmp_error::to_four::run(&ctx, arrival)
}

/// Answers an IPv4 packet with an ICMPv4 error.
#[xdp(frags)]
#[inline(always)]
pub fn xlat_reply4(ctx: XdpContext) -> u32 {
    let Some(ctx) = Context::new(ctx.ctx) else { return xdp_action::XDP_DROP };
    let Some(arrival) = link::arrival(&ctx) else { return xdp_action::XDP_DROP };
    reply::four(&ctx, arrival)
}

/// Answers an IPv6 packet with an ICMPv6 error.
#[xdp(frags)]
#[inline(always)]
pub fn xlat_reply6(ctx: XdpContext) -> u32 {
    let Some(ctx) = Context::new(ctx.ctx) else { return xdp_action::XDP_DROP };
    let Some(arrival) = link::arrival(&ctx) else { return xdp_action::XDP_DROP };
    reply::six(&ctx, arrival)
}

/// What the daemon runs, on no packet, while it follows the machine's routing (`next_hop::renew`).
#[xdp(frags)]
#[inline(always)]
pub fn xlat_renew(_ctx: XdpContext) -> u32 {
    match next_hop::renew() {
        Some(()) => xdp_action::XDP_PASS,
        None => xdp_action::XDP_ABORTED,
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
