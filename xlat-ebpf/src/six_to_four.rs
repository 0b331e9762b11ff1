//! IPv6 to IPv4 (RFC 7915 section 5), all but ICMPv6 errors. The steps are those of docs/translation.md, in its order.

use aya_ebpf::helpers::bpf_get_smp_processor_id;
use aya_log_ebpf::warn;
use xlat_common::{
    address::Ipv6,
    checksum::{self, Sum, pseudo_header6},
    counters::{Counters, Direction, Protocol},
    icmp,
    ipv4::{self, fragment_by_size, protocol},
    ipv6::{HEADER_LEN, MINIMUM_MTU, ipv4_fragment, protocol_of},
    next_hop,
    programs::index,
    reason::DropReason,
    settings::{dscp, hairpin},
    table::Entry,
};

use crate::{
    conclude::{Sent, Stop, Tally, conclude, count_account, counters, pass_other},
    context::Context,
    forward::{self, Flow4, Flow6, Way},
    four_to_six::{answer, out_of_scope, refusal},
    header6::{Chain, Header6},
    limits,
    link::{self, Arrival},
    lookup::{EAM, HAIRPIN, Mapped4, OWN, REFUSED, SOURCE_WITHOUT_EAM, account6, map_both4, map6},
    maps::Answer,
    next_hop::Cache,
    packet, setting,
    transport::{Piece, Transport},
};

/// Translates one packet, or says why not.
#[inline(always)]
pub fn run(ctx: &Context, arrival: &Arrival) -> u32 {
    let Some(header) = Header6::load(ctx, arrival.link.len()) else { return pass_other() };
    ctx.scratch().tally = tally(&header, header.next_header());
    let result = translate(ctx, arrival, &header);
    conclude(ctx, Direction::SixToFour, result)
}

/// What a packet is counted as.
#[inline(always)]
pub fn tally(header: &Header6, upper_layer: u8) -> Tally {
    let bytes = HEADER_LEN as usize + header.payload_len();
    Tally::new(Direction::SixToFour, Protocol::of(upper_layer), bytes)
}

#[inline(always)]
fn translate(ctx: &Context, arrival: &Arrival, header: &Header6) -> Result<Sent, Stop> {
    let offset = arrival.link.len();
    if arrival.slow_path && map6(header.source()).flags & OWN == 0 {
        // The fragmenter gives the kernel what is IPv6 already (`forward::Way`); only what the kernel itself says is translated.
        return Err(Stop::PASS);
    }
    let destination = map6(header.destination());
    if destination.flags & OWN != 0 {
        // What the machine sends to itself by the prefix comes from nowhere outside.
        let source = map6(header.source());
        let by_itself = destination.is_mapped() && source.flags & OWN != 0 && !source.is_mapped();
        return Err(if by_itself { out_of_scope() } else { Stop::PASS });
    }
    if !destination.is_mapped() {
        return Err(out_of_scope6(header));
    }
    let source = map6(header.source());
    let end = offset + HEADER_LEN as usize + header.payload_len();
    let chain = Chain::follow(ctx, offset, header.next_header(), end);
    ctx.scratch().tally = tally(header, chain.upper_layer).to(account6(&source, &destination));
    if !source.is_mapped() {
        let through = Chain::follow_through(ctx, offset, header.next_header(), end);
        in_scope(arrival, header, &source, &destination, &through)?;
    }
    in_scope(arrival, header, &source, &destination, &chain)?;
    header.check(ctx, offset)?;
    if chain.is_icmp() && !is_echo(ctx, &chain, end)? {
        return Err(Stop::tail_call(index::ICMP6_ERROR));
    }
    refuse_addresses(&source, &destination)?;
    chain.check().map_err(|stop| refuse_chain(header, stop))?;
    if !arrival.slow_path && header.hop_limit() <= 1 {
        return Err(Stop::refuse(DropReason::HopLimitExceeded, answer(icmp::v6::TIME_EXCEEDED, 0, 0)));
    }
    // ICMPv4's number in an IPv6 packet would be taken for ICMP in the second pass.
    let hairpinned = destination.flags & HAIRPIN != 0
        && setting!(hairpin) == hairpin::INTRINSIC
        && chain.upper_layer != protocol::ICMP;
    let transport = transport(&chain, end)?.forgotten(arrival.ifindex);
    expect_in_first_piece(ctx, &chain, &transport)?;
    let packet = Packet4::new(header, &chain, end, source.address, destination.address)?;
    if hairpinned {
        return hairpin_it(ctx, arrival, header, &chain, &transport, &packet);
    }
    let cache = Cache::Destination(next_hop::ipv4(packet.header.destination));
    let way = forward::four(ctx, arrival, &packet.flow(), u32::from(packet.header.total_len), cache);
    fit(&packet, way)?;
    adjust(ctx, &transport, header, &packet)?;
    packet.write(ctx, arrival, header, &chain, way, way.hop_limit(header.hop_limit(), arrival.slow_path))?;
    Ok(way.send())
}

/// docs/translation.md 3. An unmapped source is in scope only as that of an ICMPv6 error, which its own program decides.
#[inline(always)]
fn in_scope(
    arrival: &Arrival,
    header: &Header6,
    source: &Mapped4,
    destination: &Mapped4,
    chain: &Chain,
) -> Result<(), Stop> {
    if source.flags & OWN != 0 {
        // What the relay's own kernel has to say about a translated packet comes by the slow path.
        let own_error = arrival.slow_path && chain.may_be_icmp();
        return Err(if own_error { Stop::tail_call(index::ICMP6_ERROR) } else { out_of_scope() });
    }
    if !source.is_mapped() {
        return Err(if chain.may_be_icmp() {
            Stop::tail_call(index::ICMP6_ERROR)
        } else if source.flags & u32::from(Entry::ILLEGAL) != 0 {
            // RFC 7915 5.1: what is for the translator and cannot come from where it says.
            Stop::drop(DropReason::IllegalSource)
        } else {
            out_of_scope6(header)
        });
    }
    if (source.flags | destination.flags) & EAM == 0 && setting!(scope_all) == 0 {
        return Err(out_of_scope6(header));
    }
    Ok(())
}

/// What becomes of a packet that is in no scope; those to multicast and link-local addresses are the machine's own affair.
#[inline(always)]
pub fn out_of_scope6(header: &Header6) -> Stop {
    let destination = header.destination();
    if destination.is_multicast() || destination.is_link_local() { Stop::PASS } else { out_of_scope() }
}

/// RFC 7915 5.4: the answer where no other is named.
#[inline(always)]
pub fn prohibited() -> Answer {
    answer(icmp::v6::DESTINATION_UNREACHABLE, icmp::v6::ADMINISTRATIVELY_PROHIBITED, 0)
}

#[inline(always)]
fn refuse_addresses(source: &Mapped4, destination: &Mapped4) -> Result<(), Stop> {
    if (source.flags | destination.flags) & REFUSED == 0 {
        return Ok(());
    }
    Err(refusal(source.flags, destination.flags, prohibited()))
}

/// RFC 7915 5.1.1: a Fragment Header before another extension header is logged.
#[inline(always)]
pub fn refuse_chain(header: &Header6, stop: Stop) -> Stop {
    if stop.is_refusal(DropReason::FragmentExtension) && limits::event() {
        let (source, destination) = (header.source(), header.destination());
        log_fragment_extension(source.hi, source.lo, destination.hi, destination.lo);
    }
    stop
}

/// A global function (see `tables::shorter_length4`) for its stack; the addresses in halves.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn log_fragment_extension(s_hi: u64, s_lo: u64, d_hi: u64, d_lo: u64) -> u32 {
    warn!(
        (),
        "dropped an IPv6 packet with an extension header after its Fragment Header: {:i} to {:i}",
        octets(Ipv6 { hi: s_hi, lo: s_lo }),
        octets(Ipv6 { hi: d_hi, lo: d_lo })
    );
    0
}

#[inline(always)]
fn octets(address: Ipv6) -> [u8; 16] {
    let (hi, lo) = (address.hi.to_be_bytes(), address.lo.to_be_bytes());
    [hi[0], hi[1], hi[2], hi[3], hi[4], hi[5], hi[6], hi[7], lo[0], lo[1], lo[2], lo[3], lo[4], lo[5], lo[6], lo[7]]
}

/// Whether a whole ICMPv6 packet is an echo request or reply.
#[inline(always)]
fn is_echo(ctx: &Context, chain: &Chain, end: usize) -> Result<bool, Stop> {
    if end < chain.offset + icmp::HEADER_LEN as usize {
        // Not to be read; refused in its turn.
        return Ok(true);
    }
    let kind: u8 = packet::load(ctx, chain.offset).ok_or(Stop::INTERNAL)?;
    Ok(icmp::echo_to_four(kind).is_some())
}

/// Finds the transport header; refuses what the protocol rules refuse (docs/translation.md 7).
#[inline(always)]
fn transport(chain: &Chain, end: usize) -> Result<Transport, Stop> {
    let len = end - chain.offset;
    if chain.upper_layer == protocol::ICMPV6 {
        if chain.piece() != Piece::Whole {
            return Err(Stop::drop(DropReason::IcmpFragment));
        }
        if len < icmp::HEADER_LEN as usize {
            return Err(Stop::drop(DropReason::MalformedTransport));
        }
        return Ok(Transport { protocol: protocol::ICMPV6, offset: chain.offset, len, checksum_at: chain.offset + 2 });
    }
    Transport::find(chain.upper_layer, chain.offset, len, chain.piece())
}

/// Refuses what has its extension headers, or its transport checksum, beyond a frame's first piece (docs/translation.md 2): they can
/// be neither taken out nor adjusted there.
#[inline(always)]
fn expect_in_first_piece(ctx: &Context, chain: &Chain, transport: &Transport) -> Result<(), Stop> {
    let last = if transport.checksum_at != 0 { transport.checksum_at } else { chain.offset - 2 };
    match packet::at::<u16>(ctx, last & packet::MAX_OFFSET) {
        Some(_) => Ok(()),
        None => Err(Stop::drop(DropReason::MalformedHeader)),
    }
}

/// Adjusts the transport checksum, and an ICMPv6 echo's type (RFC 7915 5.2, 5.5).
#[inline(always)]
fn adjust(ctx: &Context, transport: &Transport, header: &Header6, packet: &Packet4) -> Result<(), Stop> {
    let (source6, destination6) = (header.source(), header.destination());
    if transport.protocol == protocol::ICMPV6 {
        let kind: u8 = packet::load(ctx, transport.offset).ok_or(Stop::INTERNAL)?;
        let kind = icmp::echo_to_four(kind).ok_or(Stop::drop(DropReason::IcmpType))?;
        let gone = pseudo_header6(source6, destination6, transport.len as u32, protocol::ICMPV6);
        return transport.adjust_echo(ctx, kind, Sum::ZERO.sub(gone));
    }
    let delta = checksum::six_to_four(source6, destination6, packet.header.source, packet.header.destination);
    transport.adjust(ctx, delta)
}

/// The IPv4 packet to come.
pub struct Packet4 {
    header: ipv4::Header,
}

impl Packet4 {
    /// RFC 7915 5.1 and 5.1.1, all fields but the TTL.
    #[inline(always)]
    fn new(header: &Header6, chain: &Chain, end: usize, source: u32, destination: u32) -> Result<Self, Stop> {
        let total_len = end - chain.offset + ipv4::HEADER_LEN as usize;
        if end < chain.offset || total_len > 0xffff {
            return Err(Stop::drop(DropReason::MalformedHeader));
        }
        let (identification, fragment) = if chain.has_fragment {
            (chain.identification as u16, ipv4_fragment(chain.fragment))
        } else {
            (identification(), fragment_by_size(total_len as u32))
        };
        Ok(Self {
            header: ipv4::Header {
                tos: tos(header.traffic_class()),
                total_len: total_len as u16,
                identification,
                fragment,
                ttl: 0,
                protocol: protocol_of(chain.upper_layer),
                source,
                destination,
            },
        })
    }

    #[inline(always)]
    fn flow(&self) -> Flow4 {
        Flow4 {
            source: self.header.source,
            destination: self.header.destination,
            tos: self.header.tos,
            protocol: self.header.protocol,
        }
    }

    /// Puts the header in the place of the IPv6 header and its extension headers.
    #[inline(always)]
    fn write(
        &self,
        ctx: &Context,
        arrival: &Arrival,
        header: &Header6,
        chain: &Chain,
        way: &Way,
        ttl: u8,
    ) -> Result<(), Stop> {
        let old = arrival.link.len();
        let new = way.link.len();
        let words = ipv4::Header { ttl, ..self.header }.words();
        packet::trim_to(ctx, old + HEADER_LEN as usize + header.payload_len())
            .and_then(|()| packet::adjust_head(ctx, chain.offset as i32 - (new + ipv4::HEADER_LEN as usize) as i32))
            .and_then(|()| way.link.write(ctx, link::IPV4))
            .and_then(|()| packet::store(ctx, new, words.map(u32::to_be)))
            .ok_or(Stop::INTERNAL)
    }
}

/// RFC 7915 5.1 TOS, by setting.
#[inline(always)]
pub fn tos(traffic_class: u8) -> u8 {
    if setting!(tos_mode) == dscp::FIXED { setting!(tos) as u8 } else { traffic_class }
}

/// RFC 7915 5.1 Identification: each CPU counts by itself, the low bits are the CPU's own.
#[inline(always)]
pub fn identification() -> u16 {
    counters().map_or(0, next_identification)
}

/// As [`identification`], with the counters at hand.
#[inline(always)]
pub fn next_identification(counters: &mut Counters) -> u16 {
    counters.identification = counters.identification.wrapping_add(1);
    // SAFETY: the helper has no arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    (counters.identification << 4) as u16 | (cpu & 15) as u16
}

/// The MTU rule (docs/translation.md 7.5). What must be fragmented goes to the kernel translated: `way` is that already,
/// as the FIB has said that it does not fit.
#[inline(always)]
fn fit(packet: &Packet4, way: &Way) -> Result<(), Stop> {
    if u32::from(packet.header.total_len) > way.mtu && packet.header.fragment & ipv4::DF != 0 {
        return Err(too_big(way.mtu.saturating_add(20)));
    }
    Ok(())
}

#[inline(always)]
fn too_big(mtu: u32) -> Stop {
    let mtu = if mtu < MINIMUM_MTU { MINIMUM_MTU } else { mtu };
    Stop::refuse(DropReason::PacketTooBig, answer(icmp::v6::PACKET_TOO_BIG, 0, mtu))
}

/// RFC 7757 4.2.2: the packet is written as IPv4 and translated back at once by the program of the second pass.
#[inline(always)]
fn hairpin_it(
    ctx: &Context,
    arrival: &Arrival,
    header: &Header6,
    chain: &Chain,
    transport: &Transport,
    packet: &Packet4,
) -> Result<Sent, Stop> {
    let Packet4 { header: ipv4::Header { source, destination, .. } } = *packet;
    let both = map_both4(ctx, source, destination, SOURCE_WITHOUT_EAM, arrival.prefix);
    let (source, destination) = (&both.source, &both.destination);
    if (source.flags | destination.flags) & OWN != 0 {
        return Err(Stop::PASS);
    }
    // The second pass could answer an IPv4 sender only: what is to be refused is refused here, in the sender's family.
    if (source.flags | destination.flags) & REFUSED != 0 {
        return Err(refusal(source.flags, destination.flags, prohibited()));
    }
    let flow = Flow6 {
        source: source.address,
        destination: destination.address,
        traffic_class: header.traffic_class(),
        next_header: chain.upper_layer,
    };
    let larger = if chain.piece() != Piece::Whole { 28 } else { 20 };
    let total_len = u32::from(packet.header.total_len) + larger;
    let way = forward::six(ctx, arrival, &flow, total_len, Cache::None);
    let keeps_no_checksum = setting!(udp_zero_checksum_compute) == 0 || chain.piece() != Piece::Whole;
    let has_no_checksum = transport.checksum_at != 0 && transport.checksum(ctx) == Some(0);
    let dies_there = transport.protocol == protocol::UDP && keeps_no_checksum && has_no_checksum
        || transport.protocol == protocol::IGMP;
    if total_len > way.mtu && !dies_there {
        return Err(too_big(way.mtu));
    }
    adjust(ctx, transport, header, packet)?;
    let ttl = header.hop_limit() - u8::from(!arrival.slow_path);
    packet.write(ctx, arrival, header, chain, Way::back(ctx, arrival), ttl)?;
    if let Some(counters) = counters() {
        counters.hairpinned += 1;
    }
    // The second pass counts for the receiver's account.
    count_account(&ctx.scratch().tally);
    Err(Stop::tail_call(index::HAIRPIN))
}
