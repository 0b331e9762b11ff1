//! IPv4 to IPv6 (RFC 7915 section 4) of what is for the fast path.

use aya_ebpf::programs::XdpContext;
use xlat_common::{
    account,
    address::Ipv6,
    checksum::{self, pseudo_header6, update, update_udp},
    counters::{Direction, Protocol},
    icmp,
    interface::Interface,
    ipv4::{self, protocol},
    ipv6::{self, MINIMUM_MTU, next_header_of},
    mapping::{eam_to_ipv6, embed},
    reason::DropReason,
    settings::hairpin,
    state::State,
    table::{Entry, Found, TableHeader},
};

use super::{exit::Exit, frame::Frame, refuse};
use crate::{
    conclude::{Tally, counters, internal, out_of_scope},
    four_to_six::{flow_label, out_of_scope4, traffic_class},
    header4::Header4,
    link::{self, ETHERNET_LEN},
    lookup::{may_be_refused, prefix, prefix_has_entries},
    next_hop, packet, reply, setting,
    tables::find4_in,
};

/// Where the IP header is.
const IP: usize = ETHERNET_LEN;
/// Where the IPv4 packet's data is.
const DATA: usize = IP + ipv4::HEADER_LEN as usize;
/// An IPv4 packet up to the end of a TCP header.
pub type Arrived = Frame<{ DATA + 20 }>;
/// An IPv6 packet up to the end of its header.
type Leaving = Frame<{ IP + ipv6::HEADER_LEN as usize }>;

/// Translates one packet; see [`super::run`].
#[inline(always)]
pub fn run(ctx: &XdpContext, frame: Arrived, ifindex: u32, arrival: &Interface, state: &State) -> Option<u32> {
    let table = &state.header;
    let header = Header4::new(frame.read::<_, IP>());
    let (from, to) = (find4_in(table, header.source()), find4_in(table, header.destination()));
    let known = (from.flags() | to.flags()) & Entry::FLAGS;
    if known & OBSTACLES & !Entry::DENIED != 0 || may_be_refused(table, TableHeader::REFUSED6) {
        return None;
    }
    if setting!(hairpin) == hairpin::SIMPLE && from.flags() & Entry::EAM != 0 {
        return None;
    }
    let tally = Tally::new(Direction::FourToSix, Protocol::of(header.protocol()), header.total_len());
    if known & Entry::EAM == 0 && setting!(scope_all) == 0 {
        return Some(out_of_scope(&tally, out_of_scope4(&header)));
    }
    if !is_plain(&header) {
        return None;
    }
    let source = map(table, header.source(), from, to, arrival.prefix)?;
    let destination = map(table, header.destination(), to, from, arrival.prefix)?;
    let end = IP + header.total_len();
    if !packet::is_linear(ctx, end) {
        return refuse::cut_off(ctx, end, &tally);
    }
    let len = header.total_len() - DATA + IP;
    let is_icmp = header.protocol() == protocol::ICMP;
    if is_icmp && len < icmp::HEADER_LEN as usize {
        return None;
    }
    let kind = if is_icmp { frame.read::<u8, DATA>() } else { icmp::v4::ECHO };
    if known & Entry::DENIED != 0 {
        let answered = !icmp::is_error4(kind) && reply::is_between_hosts4(&header);
        return refuse::denied(from.flags() & Entry::DENIED != 0, answered, &tally);
    }
    if icmp::is_single_hop4(kind) {
        return Some(refuse::silently(&tally, DropReason::IcmpType));
    }
    if to.flags() & Entry::EAM == 0 && setting!(prefix_count) != 1 {
        return None;
    }
    let exit = Exit::by(state, next_hop::place_of_mapped(state, header.destination(), to), ifindex)?;
    if !fits(&header, len as u32 + ipv6::HEADER_LEN, exit.mtu) {
        return None;
    }
    let account = account(to, from);
    let counters = counters()?;
    adjust(frame, &header, len, source, destination)?;
    let packet = ipv6::Header {
        traffic_class: traffic_class(header.tos()),
        flow_label: flow_label(source, destination, next_header_of(header.protocol()), ports(frame, &header)),
        payload_len: len as u16,
        next_header: next_header_of(header.protocol()),
        hop_limit: header.ttl().wrapping_sub(1),
        source,
        destination,
    };
    Some(match write(ctx, end, &exit, &packet) {
        Some(()) => exit.send(counters, &tally.to(account)),
        None => internal(&tally),
    })
}

/// The flags with which the rules for addresses have more to say than how they map.
const OBSTACLES: u8 = Entry::OWN | Entry::DENIED | Entry::ILLEGAL | Entry::NON_GLOBAL;

/// The account that the packet counts for. In the entry of a single address the word has a next hop, too.
#[inline(always)]
fn account(to: Found<'_>, from: Found<'_>) -> u32 {
    match account::of_word(to.next_hop()) {
        0 => account::of_word(from.next_hop()),
        account => account,
    }
}

/// Whether it is a whole TCP or UDP packet or ICMP message with a header of 20 bytes that says the truth, with a hop to go.
#[inline(always)]
fn is_plain(header: &Header4) -> bool {
    header.version_ihl() == 0x45
        && header.total_len() >= ipv4::HEADER_LEN as usize
        && !header.is_fragment()
        && header.ttl() > 1
        && header.sum().fold() == 0xffff
}

/// Maps an address as its entry says, else by a translation prefix: the one that the other address's EAM asks for, or the
/// interface's.
#[inline(always)]
fn map(table: &TableHeader, address: u32, found: Found<'_>, other: Found<'_>, arrival: u8) -> Option<Ipv6> {
    if found.flags() & Entry::EAM != 0 {
        return Some(eam_to_ipv6(&found.entry(), address));
    }
    let index = match other.flags() >> Entry::PREFIX_SHIFT {
        Entry::PREFIX_DEFAULT => arrival,
        index => index,
    };
    let index = if setting!(prefix_count) == 1 { 0 } else { index as usize };
    if setting!(prefix_count) == 0 || prefix_has_entries(table, index) {
        return None;
    }
    Some(embed(&prefix(index), address))
}

/// The MTU rules (docs/translation.md 6.7 and 6.8): neither refused nor fragmented.
#[inline(always)]
fn fits(header: &Header4, total_len: u32, mtu: u32) -> bool {
    let lowest = setting!(lowest_ipv6_mtu);
    total_len <= mtu && (header.dont_fragment() || total_len <= lowest || total_len <= MINIMUM_MTU)
}

/// Adjusts the transport checksum, and an ICMP echo's type. `None`, and nothing has changed: it is none for here.
#[inline(always)]
fn adjust(frame: Arrived, header: &Header4, len: usize, source: Ipv6, destination: Ipv6) -> Option<()> {
    let delta = checksum::four_to_six(header.source(), header.destination(), source, destination);
    match header.protocol() {
        protocol::TCP if len >= 20 => {
            let old = u16::from_be(frame.read::<u16, { DATA + 16 }>());
            frame.write::<u16, { DATA + 16 }>(update(old, delta).to_be());
        }
        protocol::UDP if len >= 8 => {
            let old = u16::from_be(frame.read::<u16, { DATA + 6 }>());
            if old == 0 {
                return None;
            }
            frame.write::<u16, { DATA + 6 }>(update_udp(old, delta).to_be());
        }
        protocol::ICMP => {
            let [first, old] = frame.read::<[u16; 2], DATA>().map(u16::from_be);
            let kind = icmp::echo_to_six((first >> 8) as u8)?;
            let pseudo_header = pseudo_header6(source, destination, len as u32, protocol::ICMPV6);
            let changed = icmp::change_type([first, old], kind, pseudo_header);
            frame.write::<[u16; 2], DATA>(changed.map(u16::to_be));
        }
        _ => return None,
    }
    Some(())
}

/// The ports, for the flow label's hash; 0 where there are none or they are not needed.
#[inline(always)]
fn ports(frame: Arrived, header: &Header4) -> u32 {
    if setting!(flow_label_hash) == 0 || header.protocol() == protocol::ICMP {
        0
    } else {
        u32::from_be(frame.read::<u32, DATA>())
    }
}

/// Puts the headers in the place of the old ones. `end`: where the packet ends.
#[inline(always)]
fn write(ctx: &XdpContext, end: usize, exit: &Exit, packet: &ipv6::Header) -> Option<()> {
    packet::trim_to(ctx, end)?;
    packet::adjust_head(ctx, ipv4::HEADER_LEN as i32 - ipv6::HEADER_LEN as i32)?;
    let frame = Leaving::new(ctx)?;
    frame.write_ethernet(exit.destination, exit.source, link::IPV6);
    frame.write::<[u64; 5], IP>(packet.words().map(u64::to_be));
    Some(())
}
