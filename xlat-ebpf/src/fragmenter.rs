//! The slow path: a packet that must become several goes to the kernel, by the fragmenter's veth pair
//! (docs/architecture.md, "The fragmenter").

use aya_ebpf::{bindings::xdp_action, helpers::generated::bpf_redirect, programs::XdpContext};
use xlat_common::reason::DropReason;

use crate::{
    conclude::Stop,
    link::{self, Arrival, ETHERNET_LEN, Link},
    packet, setting,
};

/// Sends the original IPv4 packet to the fragmenter.
#[inline(always)]
pub fn send(ctx: &XdpContext, arrival: &Arrival) -> Stop {
    redirect(ctx, arrival).unwrap_or(Stop::drop(DropReason::Internal))
}

#[inline(always)]
fn redirect(ctx: &XdpContext, arrival: &Arrival) -> Option<Stop> {
    let ifindex = setting!(fragmenter_ifindex);
    let near = link::interface(ifindex)?;
    let tags = arrival.link.len() - ETHERNET_LEN;
    if tags > 0 {
        packet::adjust_head(ctx, tags as i32)?;
    }
    Link::untagged(&near.peer_mac, &near.mac).write(ctx, link::IPV4)?;
    // SAFETY: the helper takes numbers only.
    let action = (unsafe { bpf_redirect(ifindex, 0) }) as u32;
    if action == xdp_action::XDP_REDIRECT { Some(Stop::fragment(action)) } else { None }
}
