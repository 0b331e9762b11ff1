//! Packets that are dropped without an answer: a flood of them costs no more than the finding out.

use aya_ebpf::{bindings::xdp_action, programs::XdpContext};
use xlat_common::reason::DropReason;

use crate::{
    conclude::{Tally, count_drop, counters},
    limits, packet,
};

/// Drops a packet.
#[inline(always)]
pub fn silently(tally: &Tally, reason: DropReason) -> u32 {
    count_drop(tally, reason as u32);
    xdp_action::XDP_DROP
}

/// Drops a packet that would have to end at `end`, if the frame's first buffer is not all of it.
#[inline(always)]
pub fn cut_off(ctx: &XdpContext, end: usize, tally: &Tally) -> Option<u32> {
    if end > packet::frame_len(ctx) { Some(silently(tally, DropReason::MalformedHeader)) } else { None }
}

/// Drops a packet from (`source`) or to a denied address. `answered`: the sender is told, unless too many were told already.
#[inline(always)]
pub fn denied(source: bool, answered: bool, tally: &Tally) -> Option<u32> {
    if answered {
        if !limits::has_no_icmp_error() {
            return None;
        }
        counters()?.errors_suppressed += 1;
    }
    Some(silently(tally, if source { DropReason::DeniedSource } else { DropReason::DeniedDestination }))
}
