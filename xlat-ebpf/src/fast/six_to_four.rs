//! IPv6 to IPv4 (RFC 7915 section 5) of what is for the fast path.

use aya_ebpf::programs::XdpContext;
use xlat_common::{
    checksum::{self, Sum, pseudo_header6, update, update_udp},
    icmp,
    ipv4::{self, fragment_by_size, protocol},
    ipv6::{self, protocol_of},
    reason::DropReason,
    settings::hairpin,
    state::State,
};

use super::{exit::Exit, frame::Frame, refuse};
use crate::{
    conclude::{counters, internal, out_of_scope},
    header6::Header6,
    link::{self, ETHERNET_LEN},
    lookup::{DENIED, EAM, HAIRPIN, Mapped4, OWN, REFUSED, account6, map6_in},
    native, next_hop, packet, reply, setting,
    six_to_four::{next_identification, out_of_scope6, tally, tos},
    verifier::forget,
};

/// Where the IP header is.
const IP: usize = ETHERNET_LEN;
/// Where the IPv6 packet's data is.
const DATA: usize = IP + ipv6::HEADER_LEN as usize;
/// An IPv6 packet up to the end of a UDP or ICMPv6 header.
type Arrived = Frame<{ DATA + 8 }>;
/// An IPv6 packet up to the end of a TCP header.
type ArrivedTcp = Frame<{ DATA + 20 }>;
/// An IPv4 packet up to the end of its header.
type Leaving = Frame<{ IP + ipv4::HEADER_LEN as usize }>;

/// Translates one packet; see [`super::run`].
#[inline(always)]
pub fn run(ctx: &XdpContext, ifindex: u32, state: &State) -> Option<u32> {
    let table = &state.header;
    let frame = Arrived::new(ctx)?;
    let header = Header6::new(frame.read::<_, IP>());
    let upper_layer = header.next_header();
    if !matches!(upper_layer, protocol::TCP | protocol::UDP | protocol::ICMPV6) {
        return None;
    }
    let tally = tally(&header, upper_layer);
    let destination = map6_in(table, header.destination());
    if !destination.is_mapped() && destination.flags & OWN == 0 && setting!(native) == 0 {
        return Some(out_of_scope(&tally, out_of_scope6(&header)));
    }
    let destination = Mapped4 { flags: forget(destination.flags, ifindex), ..destination };
    let source = map6_in(table, header.source());
    if let Some(is_out) = obstacle(&source, &destination, upper_layer) {
        if !is_out {
            return None;
        }
        let stop = out_of_scope6(&header);
        if stop.is_pass() {
            native::count(source.flags, destination.flags, tally.bytes);
        }
        return Some(out_of_scope(&tally, stop));
    }
    let len = header.payload_len();
    let is_icmp = upper_layer == protocol::ICMPV6;
    if header.version() != 6 || is_icmp && len < icmp::HEADER_LEN as usize {
        return None;
    }
    let end = DATA + len;
    if !packet::is_linear(ctx, end) {
        return refuse::cut_off(ctx, end, &tally);
    }
    if (source.flags | destination.flags) & DENIED != 0 {
        // No ICMPv6 message is answered so (RFC 7915 5.4).
        let answered = !is_icmp && reply::is_between_hosts6(&header);
        return refuse::denied(source.flags & DENIED != 0, answered, &tally);
    }
    if is_icmp && icmp::is_single_hop6(frame.read::<u8, DATA>()) {
        return Some(refuse::silently(&tally, DropReason::IcmpType));
    }
    let exit = Exit::by(state, next_hop::place_of_ipv4(state, destination.address), ifindex)?;
    let total_len = len + ipv4::HEADER_LEN as usize;
    if header.hop_limit() <= 1 || total_len as u32 > exit.mtu {
        return None;
    }
    let counters = counters()?;
    adjust(ctx, frame, &header, len, source.address, destination.address)?;
    let packet = ipv4::Header {
        tos: tos(header.traffic_class()),
        total_len: total_len as u16,
        identification: next_identification(counters),
        fragment: fragment_by_size(total_len as u32),
        ttl: header.hop_limit().wrapping_sub(1),
        protocol: protocol_of(upper_layer),
        source: source.address,
        destination: destination.address,
    };
    Some(match write(ctx, end, &exit, &packet) {
        Some(()) => exit.send(counters, &tally.to(account6(&source, &destination))),
        None => internal(&tally),
    })
}

/// Whether the rules for addresses have more to say than how they map: `Some(true)`: the packet is in no scope; `Some(false)`:
/// something else. ICMPv6 may be an error, for which an unmapped source is none.
#[inline(always)]
fn obstacle(source: &Mapped4, destination: &Mapped4, upper_layer: u8) -> Option<bool> {
    let flags = source.flags | destination.flags;
    if flags & OWN != 0 {
        return Some(false);
    }
    if !destination.is_mapped() {
        return Some(true);
    }
    if !source.is_mapped() {
        return Some(upper_layer != protocol::ICMPV6 && source.flags == 0);
    }
    if flags & EAM == 0 && setting!(scope_all) == 0 {
        return Some(true);
    }
    let hairpinned = destination.flags & HAIRPIN != 0 && setting!(hairpin) == hairpin::INTRINSIC;
    if hairpinned || flags & REFUSED & !DENIED != 0 { Some(false) } else { None }
}

/// Adjusts the transport checksum, and an ICMPv6 echo's type. `None`, and nothing has changed: it is none for here.
#[inline(always)]
fn adjust(ctx: &XdpContext, frame: Arrived, header: &Header6, len: usize, source: u32, destination: u32) -> Option<()> {
    let delta = checksum::six_to_four(header.source(), header.destination(), source, destination);
    match header.next_header() {
        protocol::TCP if len >= 20 => {
            let frame = ArrivedTcp::new(ctx)?;
            let old = u16::from_be(frame.read::<u16, { DATA + 16 }>());
            frame.write::<u16, { DATA + 16 }>(update(old, delta).to_be());
        }
        protocol::UDP if len >= 8 => {
            let old = u16::from_be(frame.read::<u16, { DATA + 6 }>());
            if old != 0 {
                frame.write::<u16, { DATA + 6 }>(update_udp(old, delta).to_be());
            }
        }
        protocol::ICMPV6 => {
            let [first, old] = frame.read::<[u16; 2], DATA>().map(u16::from_be);
            let kind = icmp::echo_to_four((first >> 8) as u8)?;
            let gone = pseudo_header6(header.source(), header.destination(), len as u32, protocol::ICMPV6);
            let changed = icmp::change_type([first, old], kind, Sum::ZERO.sub(gone));
            frame.write::<[u16; 2], DATA>(changed.map(u16::to_be));
        }
        _ => return None,
    }
    Some(())
}

/// Puts the headers in the place of the old ones. `end`: where the packet ends.
#[inline(always)]
fn write(ctx: &XdpContext, end: usize, exit: &Exit, packet: &ipv4::Header) -> Option<()> {
    packet::trim_to(ctx, end)?;
    packet::adjust_head(ctx, ipv6::HEADER_LEN as i32 - ipv4::HEADER_LEN as i32)?;
    let frame = Leaving::new(ctx)?;
    frame.write_ethernet(exit.destination, exit.source, link::IPV4);
    frame.write::<[u32; 5], IP>(packet.words().map(u32::to_be));
    Some(())
}
