//! IPv4 to IPv6 (RFC 7915 section 4), all but ICMP errors. The steps are those of docs/translation.md, in its order.

use aya_log_ebpf::warn;
use xlat_common::{
    address::Ipv6,
    checksum::{self, Sum, pseudo_header6},
    counters::{Direction, Protocol},
    icmp,
    ipv4::protocol,
    ipv6::{self, FRAGMENT_HEADER_LEN, HEADER_LEN, MINIMUM_MTU, fragment_header, next_header_of},
    next_hop,
    programs::index,
    reason::DropReason,
    settings::{dscp, hairpin},
    table::Entry,
};

use crate::{
    conclude::{Sent, Stop, Tally, conclude, pass_other},
    context::Context,
    forward::{self, Flow6, Way},
    fragmenter,
    header4::{Header4, Options},
    limits,
    link::{self, Arrival},
    lookup::{EAM, Mapped6, OWN, REFUSED, SOURCE_WITHOUT_EAM, account4, map_both4},
    maps::Answer,
    next_hop::Cache,
    packet, setting,
    transport::Transport,
    verifier::forget,
};

/// Translates one packet, or says why not. `second`: the second pass of a hairpinned packet (RFC 7757 4.2.2), where the simple
/// rules hold and the hop limit has been taken.
#[inline(always)]
pub fn run(ctx: &Context, arrival: &Arrival, second: bool) -> u32 {
    let Some(header) = Header4::load(ctx, arrival.link.len()) else { return pass_other() };
    let tally = Tally::new(Direction::FourToSix, Protocol::of(header.protocol()), header.total_len());
    ctx.scratch().tally = tally;
    let result = match translate(ctx, arrival, &header, second) {
        // Half-way through a hairpin there is no way back.
        Err(stop) if second && stop.is_pass() => Err(Stop::INTERNAL),
        // The fragmenter sends back what this program gave it: passing it again would be a circle.
        Err(stop) if arrival.slow_path && stop.is_pass() => Err(Stop::drop(DropReason::Reflected)),
        other => other,
    };
    conclude(ctx, Direction::FourToSix, result)
}

#[inline(always)]
fn translate(ctx: &Context, arrival: &Arrival, header: &Header4, second: bool) -> Result<Sent, Stop> {
    let offset = arrival.link.len();
    let addresses = map_addresses(ctx, header, arrival, second)?;
    if is_for_errors(ctx, offset, header) {
        return Err(Stop::tail_call(if second { index::HAIRPIN_ICMP_ERROR } else { index::ICMP4_ERROR }));
    }
    let options = Options::of(offset, header.header_len());
    header.check(ctx, offset, options.sum(ctx).unwrap_or(Sum::ZERO))?;
    refuse_addresses(&addresses)?;
    refuse_source_route(ctx, options)?;
    if header.protocol() == protocol::IGMP {
        // Silently, also where the TTL is used up: it nearly always is (RFC 7915 4.2).
        return Err(Stop::drop(DropReason::Igmp));
    }
    if !(arrival.slow_path || second) && header.ttl() <= 1 {
        return Err(Stop::refuse(DropReason::HopLimitExceeded, answer(icmp::v4::TIME_EXCEEDED, 0, 0)));
    }
    let (transport, fill) = transport(ctx, arrival, header)?;
    let transport = transport.forgotten(arrival.ifindex);
    let fill = forget(u32::from(fill), arrival.ifindex) & 1 != 0;
    let packet = Packet6::new(header, &addresses, ports(ctx, &transport, header));
    let way = forward::six(ctx, arrival, &packet.flow(), packet.total_len(), cache(ctx, &addresses));
    let fits = fit(header, &packet, way, arrival.slow_path, second)?;
    if fill {
        fill_udp_checksum(ctx, header, &transport)?;
    }
    if fits || transport.protocol == protocol::ICMP {
        // An echo's checksum covers all of it: it becomes ICMPv6 before it is cut to pieces.
        adjust(ctx, &transport, &addresses)?;
    }
    if !fits {
        return Err(fragmenter::send(ctx, arrival, header));
    }
    let taken = arrival.slow_path || second;
    packet.write(ctx, arrival, header, way, taken).ok_or(Stop::INTERNAL)?;
    Ok(way.send())
}

/// Both addresses in both families.
pub struct Addresses {
    /// IPv4 source, host order.
    pub source4: u32,
    /// IPv4 destination, host order.
    pub destination4: u32,
    /// The source in IPv6.
    pub source6: &'static Mapped6,
    /// The destination in IPv6.
    pub destination6: &'static Mapped6,
}

/// Maps both addresses (docs/translation.md 3). In the second pass RFC 7757 4.2.1 rule 1 holds whatever the setting.
#[inline(always)]
fn map_addresses(ctx: &Context, header: &Header4, arrival: &Arrival, second: bool) -> Result<Addresses, Stop> {
    let offset = arrival.link.len();
    let prefix = if arrival.slow_path { fragmenter::prefix(ctx, offset, header) } else { arrival.prefix };
    let simple = (second || setting!(hairpin) == hairpin::SIMPLE) && !is_error(ctx, offset, header);
    let rules = if simple { SOURCE_WITHOUT_EAM } else { 0 };
    let both = map_both4(ctx, header.source(), header.destination(), rules, prefix);
    ctx.scratch().tally.account = account4(both);
    if both.known_destination & OWN != 0 {
        return Err(Stop::PASS);
    }
    if both.known_source & OWN != 0 {
        return Err(out_of_scope4(header));
    }
    if (both.known_destination | both.known_source) & EAM == 0 && setting!(scope_all) == 0 {
        return Err(out_of_scope4(header));
    }
    let (source6, destination6) = (&both.source, &both.destination);
    if !destination6.is_mapped() || (!source6.is_mapped() && !is_error(ctx, offset, header)) {
        return Err(out_of_scope4(header));
    }
    if (destination6.flags | source6.flags) & OWN != 0 {
        return Err(Stop::PASS);
    }
    Ok(Addresses { source4: header.source(), destination4: header.destination(), source6, destination6 })
}

/// Where it is remembered which way the destination leads. With several translation prefixes it is the source, too, that says
/// which one the destination is mapped by.
#[inline(always)]
fn cache(ctx: &Context, addresses: &Addresses) -> Cache {
    if addresses.destination6.flags & EAM == 0 && setting!(prefix_count) != 1 {
        Cache::None
    } else if ctx.scratch().both.destination_len == 32 {
        Cache::Entry(addresses.destination4)
    } else {
        Cache::Destination(next_hop::mapped(addresses.destination4))
    }
}

/// What becomes of a packet that is in no scope.
#[inline(always)]
pub fn out_of_scope() -> Stop {
    if setting!(strict) != 0 { Stop::drop(DropReason::OutOfScope) } else { Stop::PASS }
}

/// As [`out_of_scope`]; packets to multicast, broadcast and link-local addresses are the machine's own affair.
#[inline(always)]
pub fn out_of_scope4(header: &Header4) -> Stop {
    let destination = header.destination();
    let own_affair = destination >> 28 == 0xe || destination >> 16 == 0xa9fe || destination == u32::MAX;
    if own_affair { Stop::PASS } else { out_of_scope() }
}

/// Refuses by address (docs/translation.md 4).
#[inline(always)]
fn refuse_addresses(addresses: &Addresses) -> Result<(), Stop> {
    let (source, destination) = (addresses.source6.flags, addresses.destination6.flags);
    if !addresses.source6.is_mapped() {
        return Err(out_of_scope());
    }
    if (source | destination) & REFUSED == 0 {
        return Ok(());
    }
    Err(refusal(source, destination, prohibited()))
}

/// The refusal that a packet's address flags call for; at least one of them is set.
#[inline(always)]
pub fn refusal(source: u32, destination: u32, prohibited: Answer) -> Stop {
    const DENIED: u32 = Entry::DENIED as u32;
    const ILLEGAL: u32 = Entry::ILLEGAL as u32;
    if source & DENIED != 0 {
        Stop::refuse(DropReason::DeniedSource, prohibited)
    } else if destination & DENIED != 0 {
        Stop::refuse(DropReason::DeniedDestination, prohibited)
    } else if source & ILLEGAL != 0 {
        Stop::drop(DropReason::IllegalSource)
    } else if destination & ILLEGAL != 0 {
        Stop::drop(DropReason::IllegalDestination)
    } else {
        Stop::refuse(DropReason::WellKnownPrefix, prohibited)
    }
}

/// RFC 7915 4.4: the answer where no other is named.
#[inline(always)]
pub fn prohibited() -> Answer {
    answer(icmp::v4::DESTINATION_UNREACHABLE, icmp::v4::ADMINISTRATIVELY_PROHIBITED, 0)
}

/// An ICMP error to answer with.
#[inline(always)]
pub fn answer(kind: u8, code: u8, rest: u32) -> Answer {
    Answer { kind: u32::from(kind), code: u32::from(code), rest }
}

/// RFC 7915 4.1: an unexpired source route is refused, all other options are ignored.
#[inline(always)]
pub fn refuse_source_route(ctx: &Context, options: Options) -> Result<(), Stop> {
    match options.has_unexpired_source_route(ctx) {
        Ok(false) => Ok(()),
        Ok(true) => Err(Stop::refuse(
            DropReason::SourceRoute,
            answer(icmp::v4::DESTINATION_UNREACHABLE, icmp::v4::SOURCE_ROUTE_FAILED, 0),
        )),
        Err(reason) => Err(Stop::drop(reason)),
    }
}

/// Whether the packet is an ICMP error, for which the rules of simple hairpinning are others.
#[inline(always)]
fn is_error(ctx: &Context, offset: usize, header: &Header4) -> bool {
    header.protocol() == protocol::ICMP
        && !header.is_later_fragment()
        && header.total_len() > header.header_len()
        && packet::load::<u8>(ctx, offset + header.header_len()).is_some_and(icmp::is_error4)
}

/// Whether the packet is one for the program of ICMP errors: an error, be it a fragment or cut short, or a whole message that
/// is no echo.
#[inline(always)]
fn is_for_errors(ctx: &Context, offset: usize, header: &Header4) -> bool {
    if header.protocol() != protocol::ICMP {
        return false;
    }
    let whole = !header.is_fragment() && header.total_len() >= header.header_len() + icmp::HEADER_LEN as usize;
    if whole {
        packet::load::<u8>(ctx, offset + header.header_len()).is_some_and(|kind| icmp::echo_to_six(kind).is_none())
    } else {
        is_error(ctx, offset, header)
    }
}

/// Finds the transport header; refuses what the protocol rules refuse (docs/translation.md 6).
#[inline(always)]
fn transport(ctx: &Context, arrival: &Arrival, header: &Header4) -> Result<(Transport, bool), Stop> {
    let at = arrival.link.len() + header.header_len();
    let len = header.total_len() - header.header_len();
    if header.protocol() == protocol::ICMP {
        if header.is_fragment() && arrival.slow_path {
            // A piece of an echo, from the fragmenter: it was made ICMPv6 as a whole.
            return Ok((Transport { protocol: protocol::ICMPV6, offset: at, len, checksum_at: 0 }, false));
        }
        if header.is_fragment() {
            return Err(Stop::drop(DropReason::IcmpFragment));
        }
        if len < icmp::HEADER_LEN as usize {
            return Err(Stop::drop(DropReason::MalformedTransport));
        }
        return Ok((Transport { protocol: protocol::ICMP, offset: at, len, checksum_at: at + 2 }, false));
    }
    let transport = Transport::find(header.protocol(), at, len, header.piece())?;
    let mut fill = false;
    if header.protocol() == protocol::UDP && transport.checksum_at != 0 && transport.checksum(ctx) == Some(0) {
        fill = may_fill(ctx, header, &transport)?;
    }
    Ok((transport, fill))
}

/// RFC 7915 4.5: what becomes of a UDP packet without checksum.
#[inline(always)]
fn may_fill(ctx: &Context, header: &Header4, transport: &Transport) -> Result<bool, Stop> {
    let reason = if header.is_fragment() {
        DropReason::UdpChecksumZeroFragment
    } else if setting!(udp_zero_checksum_compute) == 0 {
        DropReason::UdpChecksumZero
    } else {
        return Ok(true);
    };
    if limits::event() {
        let fragment = header.is_fragment().into();
        log_udp_checksum_zero(header.source(), header.destination(), transport.ports(ctx), fragment);
    }
    Err(Stop::drop(reason))
}

/// The system management event of RFC 7915 4.5. A global function (see `tables::shorter_length4`) for its stack.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn log_udp_checksum_zero(source: u32, destination: u32, ports: u32, fragment: u32) -> u32 {
    let (source_port, destination_port) = (ports >> 16, ports & 0xffff);
    if fragment == 0 {
        warn!(
            (),
            "dropped a UDP packet without checksum: {:i} port {} to {:i} port {}",
            source,
            source_port,
            destination,
            destination_port
        );
    } else {
        warn!(
            (),
            "dropped a fragment of a UDP packet without checksum: {:i} port {} to {:i} port {}",
            source,
            source_port,
            destination,
            destination_port
        );
    }
    0
}

/// Gives a UDP packet without checksum the IPv4 checksum it could have had, so that all that follows (translation, or the
/// fragmenter and then translation) is as for any other.
#[inline(always)]
fn fill_udp_checksum(ctx: &Context, header: &Header4, transport: &Transport) -> Result<(), Stop> {
    let length = u16::from_be(packet::load(ctx, transport.offset + 4).ok_or(Stop::INTERNAL)?);
    // A length that cannot be true is not this program's to judge: all there is counts.
    let length = if length < 8 || usize::from(length) > transport.len { transport.len as u16 } else { length };
    // Before Linux 5.18, no more than 16 KiB of a frame can be added up: of 64 KiB pages.
    let data =
        packet::sum(ctx, transport.offset, usize::from(length)).ok_or(Stop::drop(DropReason::UdpChecksumZero))?;
    let pseudo_header =
        Sum::ZERO.add32(header.source()).add32(header.destination()).add16(u16::from(protocol::UDP)).add16(length);
    let checksum = match data.add(pseudo_header).checksum() {
        0 => 0xffff,
        checksum => checksum,
    };
    packet::store(ctx, transport.checksum_at, checksum.to_be()).ok_or(Stop::INTERNAL)
}

/// Adjusts the transport checksum, and an ICMP echo's type (RFC 7915 4.2, 4.5).
#[inline(always)]
fn adjust(ctx: &Context, transport: &Transport, addresses: &Addresses) -> Result<(), Stop> {
    let (source6, destination6) = (addresses.source6.address, addresses.destination6.address);
    if transport.protocol == protocol::ICMP {
        let kind: u8 = packet::load(ctx, transport.offset).ok_or(Stop::INTERNAL)?;
        let kind = icmp::echo_to_six(kind).ok_or(Stop::drop(DropReason::IcmpType))?;
        let pseudo_header = pseudo_header6(source6, destination6, transport.len as u32, protocol::ICMPV6);
        return transport.adjust_echo(ctx, kind, pseudo_header);
    }
    transport.adjust(ctx, checksum::four_to_six(addresses.source4, addresses.destination4, source6, destination6))
}

/// The ports, for the flow label's hash; 0 where there are none or they are not needed.
#[inline(always)]
fn ports(ctx: &Context, transport: &Transport, header: &Header4) -> u32 {
    if setting!(flow_label_hash) == 0 || header.is_fragment() || transport.protocol == protocol::ICMP {
        0
    } else {
        transport.ports(ctx)
    }
}

/// The IPv6 packet to come.
pub struct Packet6 {
    header: ipv6::Header,
    /// The Fragment Header, if there is to be one.
    fragment: Option<u64>,
    upper_layer: u8,
}

impl Packet6 {
    /// RFC 7915 4.1, all fields but the hop limit.
    #[inline(always)]
    fn new(header: &Header4, addresses: &Addresses, ports: u32) -> Self {
        let (source, destination) = (addresses.source6.address, addresses.destination6.address);
        let upper_layer = next_header_of(header.protocol());
        let fragment = if header.is_fragment() {
            Some(fragment_header(upper_layer, header.fragment(), header.identification()))
        } else {
            None
        };
        let data_len = (header.total_len() - header.header_len()) as u16;
        Self {
            header: ipv6::Header {
                traffic_class: traffic_class(header.tos()),
                flow_label: flow_label(source, destination, upper_layer, ports),
                payload_len: if fragment.is_some() { data_len + FRAGMENT_HEADER_LEN as u16 } else { data_len },
                next_header: if fragment.is_some() { protocol::FRAGMENT } else { upper_layer },
                hop_limit: 0,
                source,
                destination,
            },
            fragment,
            upper_layer,
        }
    }

    #[inline(always)]
    fn flow(&self) -> Flow6 {
        Flow6 {
            source: self.header.source,
            destination: self.header.destination,
            traffic_class: self.header.traffic_class,
            next_header: self.upper_layer,
        }
    }

    /// Bytes of the whole packet.
    #[inline(always)]
    fn total_len(&self) -> u32 {
        HEADER_LEN + u32::from(self.header.payload_len)
    }

    /// Bytes of the headers.
    #[inline(always)]
    fn headers_len(&self) -> usize {
        HEADER_LEN as usize + if self.fragment.is_some() { FRAGMENT_HEADER_LEN as usize } else { 0 }
    }

    /// Puts the headers in the place of the IPv4 header.
    #[inline(always)]
    fn write(&self, ctx: &Context, arrival: &Arrival, header: &Header4, way: &Way, taken: bool) -> Option<()> {
        let old = arrival.link.len();
        packet::trim_to(ctx, old + header.total_len())?;
        let new = way.link.len();
        packet::adjust_head(ctx, (old + header.header_len()) as i32 - (new + self.headers_len()) as i32)?;
        way.link.write(ctx, link::IPV6)?;
        let hop_limit = way.hop_limit(header.ttl(), taken);
        let words = ipv6::Header { hop_limit, ..self.header }.words();
        packet::store(ctx, new, words.map(u64::to_be))?;
        match self.fragment {
            Some(fragment) => packet::store(ctx, new + HEADER_LEN as usize, fragment.to_be()),
            None => Some(()),
        }
    }
}

/// RFC 7915 4.1 Traffic Class, by setting.
#[inline(always)]
pub fn traffic_class(tos: u8) -> u8 {
    if setting!(traffic_class_mode) == dscp::FIXED { setting!(traffic_class) as u8 } else { tos }
}

/// RFC 7915 4.1 Flow Label, by setting (RFC 6438).
#[inline(always)]
pub fn flow_label(source: Ipv6, destination: Ipv6, upper_layer: u8, ports: u32) -> u32 {
    if setting!(flow_label_hash) == 0 { 0 } else { ipv6::flow_label(source, destination, upper_layer, ports) }
}

/// The MTU rules (docs/translation.md 6.7 and 6.8): whether the packet fits as it is; if not, it is to be fragmented.
#[inline(always)]
fn fit(header: &Header4, packet: &Packet6, way: &Way, from_fragmenter: bool, second: bool) -> Result<bool, Stop> {
    let total_len = packet.total_len();
    if header.dont_fragment() {
        if total_len <= way.mtu {
            return Ok(true);
        }
        let larger = if packet.fragment.is_some() { 28 } else { 20 };
        return Err(Stop::refuse(
            DropReason::PacketTooBig,
            answer(icmp::v4::DESTINATION_UNREACHABLE, icmp::v4::FRAGMENTATION_NEEDED, way.mtu.saturating_sub(larger)),
        ));
    }
    if second {
        // The first pass has seen that it fits; an IPv6 sender's own fragments are not fragmented again.
        return Ok(true);
    }
    let lowest = setting!(lowest_ipv6_mtu);
    let limit = if way.mtu < lowest { way.mtu } else { lowest };
    let limit = if limit < MINIMUM_MTU { MINIMUM_MTU } else { limit };
    if total_len > limit && from_fragmenter {
        return Err(Stop::drop(DropReason::FragmentTooBig));
    }
    Ok(total_len <= limit)
}
