//! ICMP errors of the relay's own: the packet becomes the answer to its sender (docs/translation.md 10).

use aya_ebpf::bindings::xdp_action;
use xlat_common::{
    address::Ipv6,
    checksum::{Sum, pseudo_header6},
    icmp,
    interface::Interface,
    ipv4::{self, LARGEST_ICMP_ERROR, protocol},
    ipv6::{self, HEADER_LEN, MINIMUM_MTU, is_extension_after_fragment},
};

use crate::{
    context::Context,
    forward::{self, Flow4, Flow6, Way},
    header4::Header4,
    header6::{Chain, Header6},
    limits,
    link::{self, Arrival},
    maps::Answer,
    next_hop::Cache,
    packet, tables,
    transport::Piece,
};

/// Hop limit and TTL of the answers.
const HOP_LIMIT: u8 = 64;

/// Answers an IPv4 packet; or drops it, if it may not be answered.
#[inline(always)]
pub fn four(ctx: &Context, arrival: &Arrival) -> u32 {
    answer4(ctx, arrival).unwrap_or(xdp_action::XDP_DROP)
}

/// Answers an IPv6 packet; or drops it, if it may not be answered.
#[inline(always)]
pub fn six(ctx: &Context, arrival: &Arrival) -> u32 {
    answer6(ctx, arrival).unwrap_or(xdp_action::XDP_DROP)
}

fn answer4(ctx: &Context, arrival: &Arrival) -> Option<u32> {
    let offset = arrival.link.len();
    let original = Header4::load(ctx, offset)?;
    let own = own_ipv4(arrival.logical_ifindex);
    if own == 0 || !may_answer4(ctx, offset, &original) || !limits::icmp_error() {
        return None;
    }
    let answer = ctx.scratch().answer;
    let most = (LARGEST_ICMP_ERROR - ipv4::HEADER_LEN - icmp::HEADER_LEN) as usize;
    let quoted = if original.total_len() < most { original.total_len() } else { most };
    let quote_sum = quote(ctx, offset, quoted)?;
    let total_len = quoted as u32 + ipv4::HEADER_LEN + icmp::HEADER_LEN;
    let (tos, destination) = (ipv4::ICMP_ERROR_TOS, original.source());
    let flow = Flow4 { source: own, destination, tos, protocol: protocol::ICMP };
    let asked = forward::four(ctx, arrival, &flow, total_len, Cache::None);
    // RFC 1812 4.3.2.4: of the interface that it leaves by.
    let source = if asked.is_kernel() { own } else { own_ipv4(forward::asked_ifindex()) };
    let way = back(ctx, arrival, asked)?;
    let header = ipv4::Header {
        tos,
        total_len: total_len as u16,
        identification: 0,
        fragment: 0,
        ttl: HOP_LIMIT,
        protocol: protocol::ICMP,
        source,
        destination,
    };
    let new = way.link.len();
    packet::adjust_head(ctx, offset as i32 - (new + 28) as i32)?;
    way.link.write(ctx, link::IPV4)?;
    packet::store(ctx, new, header.words().map(u32::to_be))?;
    packet::store(ctx, new + 20, icmp_words(answer, quote_sum).map(u32::to_be))?;
    Some(way.send().action())
}

fn answer6(ctx: &Context, arrival: &Arrival) -> Option<u32> {
    let offset = arrival.link.len();
    let original = Header6::load(ctx, offset)?;
    let answer = ctx.scratch().answer;
    let source = own_ipv6(arrival);
    if source == Ipv6::UNSPECIFIED || !may_answer6(ctx, offset, &original, answer) || !limits::icmp_error() {
        return None;
    }
    let most = (MINIMUM_MTU - HEADER_LEN - icmp::HEADER_LEN) as usize;
    let total_len = HEADER_LEN as usize + original.payload_len();
    let quoted = if total_len < most { total_len } else { most };
    let quote_sum = quote(ctx, offset, quoted)?;
    let payload_len = quoted as u32 + icmp::HEADER_LEN;
    let header = ipv6::Header {
        traffic_class: 0,
        flow_label: 0,
        payload_len: payload_len as u16,
        next_header: protocol::ICMPV6,
        hop_limit: HOP_LIMIT,
        source,
        destination: original.source(),
    };
    let flow = Flow6 {
        source: header.source,
        destination: header.destination,
        traffic_class: 0,
        next_header: protocol::ICMPV6,
    };
    let way = back(ctx, arrival, forward::six(ctx, arrival, &flow, HEADER_LEN + payload_len, Cache::None))?;
    let new = way.link.len();
    packet::adjust_head(ctx, offset as i32 - (new + 48) as i32)?;
    way.link.write(ctx, link::IPV6)?;
    packet::store(ctx, new, header.words().map(u64::to_be))?;
    let sum = quote_sum.add(pseudo_header6(header.source, header.destination, payload_len, protocol::ICMPV6));
    packet::store(ctx, new + 40, icmp_words(answer, sum).map(u32::to_be))?;
    Some(way.send().action())
}

/// RFC 1812 4.3.2.7: no error about an ICMP error, a later fragment, or a packet not from and to one host.
#[inline(always)]
fn may_answer4(ctx: &Context, offset: usize, header: &Header4) -> bool {
    let about_error = header.protocol() == protocol::ICMP
        && header.total_len() > header.header_len()
        && packet::load::<u8>(ctx, offset + header.header_len()).is_none_or(icmp::is_error4);
    !about_error && !header.is_later_fragment() && is_between_hosts4(header)
}

/// Whether a packet is from and to one host.
#[inline(always)]
pub const fn is_between_hosts4(header: &Header4) -> bool {
    is_one_host(header.source())
        && header.source() >> 24 != 0
        && header.source() >> 28 != 0xf
        && is_one_host(header.destination())
}

/// Not loopback, multicast, broadcast or unspecified.
#[inline(always)]
const fn is_one_host(address: u32) -> bool {
    address != 0 && address != u32::MAX && address >> 24 != 127 && address >> 28 != 0xe
}

/// RFC 4443 2.4 (e): no error about an ICMPv6 error or redirect, or a packet not from and to one node. RFC 7915 5.4: the
/// answer of last resort is about no ICMPv6 message at all.
#[inline(always)]
fn may_answer6(ctx: &Context, offset: usize, header: &Header6, answer: Answer) -> bool {
    if !is_between_hosts6(header) {
        return false;
    }
    let end = offset + HEADER_LEN as usize + header.payload_len();
    let chain = Chain::follow_through(ctx, offset, header.next_header(), end);
    if chain.check().is_err() {
        // What cannot be followed may lead to an ICMPv6 error.
        return false;
    }
    if chain.piece() == Piece::Later {
        // Of a later piece only the first piece says what follows an extension header.
        return chain.upper_layer != protocol::ICMPV6 && !is_extension_after_fragment(chain.upper_layer);
    }
    if chain.upper_layer != protocol::ICMPV6 {
        return true;
    }
    if chain.offset >= end {
        return false;
    }
    let last_resort = answer.kind == u32::from(icmp::v6::DESTINATION_UNREACHABLE);
    match packet::load::<u8>(ctx, chain.offset) {
        Some(kind) => !last_resort && !icmp::is_error6(kind) && kind != icmp::v6::REDIRECT,
        None => false,
    }
}

/// Whether a packet is from and to one node.
#[inline(always)]
pub const fn is_between_hosts6(header: &Header6) -> bool {
    let (source, destination) = (header.source(), header.destination());
    !source.is_unspecified_or_loopback()
        && !source.is_multicast()
        && !destination.is_unspecified_or_loopback()
        && !destination.is_multicast()
}

/// Cuts the frame after the first `len` bytes of the packet at `offset`, and gives their sum.
#[inline(always)]
fn quote(ctx: &Context, offset: usize, len: usize) -> Option<Sum> {
    packet::trim_to(ctx, offset + len)?;
    packet::sum(ctx, offset, len)
}

/// The ICMP header, host order, with the checksum over itself and what `rest` is the sum of.
#[inline(always)]
fn icmp_words(answer: Answer, rest: Sum) -> [u32; 2] {
    let first = answer.kind << 24 | answer.code << 16;
    let checksum = rest.add32(first).add32(answer.rest).checksum();
    [first | u32::from(checksum), answer.rest]
}

/// An answer cannot go up to the kernel, which takes no packet from its own address off the wire: without a neighbour it
/// goes back to where the packet came from.
#[inline(always)]
fn back(ctx: &Context, arrival: &Arrival, way: &'static Way) -> Option<&'static Way> {
    if !way.is_kernel() {
        return Some(way);
    }
    let interface = link::interface(arrival.ifindex);
    let flags = interface.map_or(Interface::CAN_TX, |interface| interface.flags);
    if arrival.slow_path {
        return None;
    }
    // What takes no frames of XDP, or is not known to (a veth before Linux 6.3), may lose the answer. Nothing else is left to
    // be tried, and a redirect reaches every veth whose other end has GRO or a program.
    let action = if flags & Interface::CAN_TX != 0 { xdp_action::XDP_TX } else { xdp_action::XDP_REDIRECT };
    Some(Way { action, ifindex: arrival.ifindex, mtu: way.mtu, link: arrival.link.reversed() }.keep(ctx))
}

/// The address a router would use on an interface: its own, else any of the machine's; 0: it has none.
#[inline(always)]
pub fn own_ipv4(ifindex: u32) -> u32 {
    let own = link::interface(ifindex).map_or(0, |interface| interface.ipv4);
    if own != 0 {
        return own;
    }
    tables::header().map_or(0, |header| header.default_ipv4)
}

#[inline(always)]
fn own_ipv6(arrival: &Arrival) -> Ipv6 {
    match link::interface(arrival.logical_ifindex) {
        Some(interface) if interface.ipv6 != Ipv6::UNSPECIFIED => interface.ipv6,
        _ => tables::header().map_or(Ipv6::UNSPECIFIED, |header| header.default_ipv6),
    }
}
