//! The fast path: what nearly every packet is, in few steps and without a call.
//!
//! A whole TCP or UDP packet or ICMP echo in an untagged frame, without options or extension headers, between two addresses of
//! which nothing is known but how they map, towards a next hop that is remembered (`next_hop`) and that it fits. Packets in no
//! scope are told here too, and what floods are made of is dropped here ([`refuse`]). Everything else gets `None` before anything of the packet has changed, and the programs that know
//! all the rules begin from the start. The rules are those of `xlat-common` there and here.

mod exit;
mod four_to_six;
mod frame;
mod refuse;
mod six_to_four;

use aya_ebpf::programs::XdpContext;
use xlat_common::interface::Interface;

use crate::{link, tables};

/// Translates a packet or passes it; `None`: it is none for here.
#[inline(always)]
pub fn run(ctx: &XdpContext) -> Option<u32> {
    let mut ifindex = ctx.ingress_ifindex() as u32;
    let state = tables::state()?;
    let mut arrival = link::interface_in(state, ifindex)?;
    if arrival.flags & (Interface::SLOW_PATH | Interface::PORT) != 0 {
        if arrival.flags & Interface::SLOW_PATH != 0 {
            return None;
        }
        ifindex = arrival.parent;
        arrival = link::interface_in(state, ifindex)?;
    }
    let frame = four_to_six::Arrived::new(ctx)?;
    let mac = frame.destination();
    if mac != exit::mac(arrival) && !link::is_of_this_machine((mac as u32, (mac >> 32) as u16)) {
        return None;
    }
    match frame.ether_type() {
        link::IPV4 => four_to_six::run(ctx, frame, ifindex, arrival, state),
        link::IPV6 => six_to_four::run(ctx, ifindex, state),
        _ => None,
    }
}
