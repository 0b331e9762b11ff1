//! ICMPv4 errors to ICMPv6 (RFC 7915 4.2, 4.3).

use xlat_common::{
    address::Ipv6,
    checksum::{self, Sum, pseudo_header6, update},
    counters::{Direction, Protocol},
    extension::{self, Layout, Parts, UNIT4, UNIT6},
    icmp,
    ipv4::protocol,
    ipv6::{self, FRAGMENT_HEADER_LEN, HEADER_LEN, MINIMUM_MTU, fragment_header, next_header_of},
    reason::DropReason,
    settings::{MAX_PLATEAUS, MAX_POOL, hairpin},
    table::Entry,
};

use super::{INNER, INTERNAL, MTU, NONE, POINTER, UNUSED, adjust_inner, cut_sum, inner_icmp_type, message, reshape};
use crate::{
    conclude::{Sent, Stop, Tally, conclude, pass_other, scratch},
    context::Context,
    forward::{self, Flow6},
    four_to_six::{answer, flow_label, out_of_scope4, prohibited, refusal, refuse_source_route, traffic_class},
    header4::{Header4, Options, Place},
    link::{self, Arrival},
    lookup::{
        DESTINATION_WITHOUT_EAM, EAM, Mapped6, OWN, REFUSED, SOURCE_NOT_OWN, SOURCE_WITHOUT_EAM, account4, has_eam4,
        map_both4,
    },
    maps::Plan,
    next_hop::Cache,
    packet, setting,
    transport::Piece,
    verifier::{forget, forget_offset},
};

/// Translates one ICMPv4 message that is no echo, or says why not. `second`: the second pass of a hairpinned one.
#[inline(always)]
pub fn run(ctx: &Context, arrival: &Arrival, second: bool) -> u32 {
    let header = Header4::load(ctx, arrival.link.len()).and_then(|header| header.keep(Place::Outer));
    let Some(header) = header else { return pass_other() };
    ctx.scratch().tally = Tally::new(Direction::FourToSix, Protocol::Icmp, header.total_len());
    let result = match translate(ctx, arrival, header, second) {
        Err(stop) if second && stop.is_pass() => Err(INTERNAL),
        Err(stop) if arrival.slow_path && stop.is_pass() => Err(Stop::drop(DropReason::Reflected)),
        other => other,
    };
    conclude(ctx, Direction::FourToSix, result)
}

#[inline(always)]
fn translate(ctx: &Context, arrival: &Arrival, header: &Header4, second: bool) -> Result<Sent, Stop> {
    read(ctx, arrival, header, second)?;
    write(ctx, arrival, header.ttl(), second)
}

/// Reads the message into the plan; refuses what is to be refused.
#[inline(always)]
fn read(ctx: &Context, arrival: &Arrival, header: &Header4, second: bool) -> Result<(), Stop> {
    let offset = arrival.link.len();
    let at = forget_offset(offset + header.header_len(), arrival.ifindex);
    let inner_at = at + icmp::HEADER_LEN as usize;
    let kind = u32::from(packet::load::<u8>(ctx, at).unwrap_or(0));
    let simple = second || setting!(hairpin) == hairpin::SIMPLE;
    let inner = if inner_at + 20 <= offset + header.total_len() { Header4::load(ctx, inner_at) } else { None };
    let inner = inner.and_then(|inner| inner.keep(Place::Inner));
    let (source, destination) = map_outer(ctx, header, arrival, inner, simple, second, kind)?;
    let options = Options::of(offset, header.header_len());
    if source.flags & MAPPED == 0 && !inner_in_scope(inner, simple) {
        return Err(out_of_scope4(header));
    }
    header.check(ctx, offset, options.sum(ctx).unwrap_or(Sum::ZERO))?;
    let source = refuse_outer(header, source, destination.flags, kind)?;
    let addresses = stage_outer(source, destination.address, traffic_class(header.tos()))?;
    refuse_source_route(ctx, options)?;
    if !icmp::is_error4(kind as u8) {
        // No echo either, or it would not have come here: single-hop messages and others without an equivalent are dropped
        // silently, whatever their TTL (RFC 7915 4.2).
        return Err(Stop::drop(DropReason::IcmpType));
    }
    if !(arrival.slow_path || second) && header.ttl() <= 1 {
        return Err(Stop::refuse(DropReason::HopLimitExceeded, answer(icmp::v4::TIME_EXCEEDED, 0, 0)));
    }
    if header.is_fragment() {
        return Err(Stop::drop(DropReason::IcmpFragment));
    }
    let message_len = (header.total_len() - header.header_len()) as u32;
    if message_len < icmp::HEADER_LEN {
        return Err(Stop::drop(DropReason::MalformedTransport));
    }
    // Read again rather than kept: the stack is short.
    let [kind, code, _, rest] = message(ctx, at);
    let error = icmp::error_to_six(kind as u8, code as u8, (rest >> 24) as u8).map_err(Stop::drop)?;
    // What is known goes into the plan at once: it takes no stack, and the many errors there are become one to the verifier.
    let plan = Plan::get()?;
    plan.message_at = at as u32;
    plan.message_len = message_len;
    plan.delta = u32::from(addresses.fold());
    plan.set_head(&error, rest & 0xffff);
    let inner = Header4::load(ctx, inner_at).and_then(|inner| inner.keep(Place::Inner)).ok_or(INNER)?;
    let inner_header = inner.header_len() as u32;
    let parts = extension::received(message_len - icmp::HEADER_LEN, (rest >> 16 & 0xff) * UNIT4, inner_header);
    check_inner(inner, parts.original)?;
    let (inner_sum, inner_delta) = stage_inner(ctx, inner, arrival, simple)?;
    if inner.protocol() == protocol::IGMP {
        return Err(INNER);
    }
    let inner_options = Options::of(inner_at, inner.header_len()).sum(ctx).ok_or(INNER)?;
    let inner_len = HEADER_LEN + if inner.is_fragment() { FRAGMENT_HEADER_LEN } else { 0 };
    let rest_at = forget_offset(inner_at + inner.header_len(), arrival.ifindex);
    // What follows the inner packet's end is padding.
    let total_len = inner.total_len() as u32;
    let quoted = if parts.original < total_len { parts.original } else { total_len };
    let available = if inner.piece() == Piece::Later { 0 } else { quoted - inner_header };
    // ICMPv6's number means nothing in IPv4.
    let inner_protocol = if inner.protocol() == protocol::ICMPV6 { NONE } else { inner.protocol() };
    let icmp_type = inner_icmp_type(ctx, inner_protocol, rest_at, available)?;
    if plan.second == MTU && plan.number == 0 {
        plan.number = likely_mtu(inner.total_len() as u32);
    }
    plan.rest_at = rest_at as u32;
    plan.original = parts.original;
    plan.inner_protocol = u32::from(inner_protocol);
    plan.inner_available = available;
    plan.inner_icmp_type = u32::from(icmp_type);
    plan.inner_delta = u32::from(inner_delta.fold());
    plan.more = 0;
    plan.set_layout(&new_layout(&parts, inner, inner_header, inner_len, plan.second), inner_len, UNIT6);
    plan.delta = u32::from(Sum(u64::from(plan.delta)).add(inner_sum).sub(inner.sum().add(inner_options)).fold());
    Ok(())
}

/// Writes the message by the plan.
#[inline(always)]
fn write(ctx: &Context, arrival: &Arrival, ttl: u8, second: bool) -> Result<Sent, Stop> {
    let plan = Plan::get()?;
    let payload_len = plan.new_len();
    let flow = staged_flow()?;
    if flow.source == Ipv6::UNSPECIFIED {
        return Err(Stop::drop(DropReason::NoSource));
    }
    let way = forward::six(ctx, arrival, &flow, HEADER_LEN + payload_len, Cache::None);
    let [kind, code, old_checksum, old_rest] = message(ctx, plan.message_at as usize);
    let new_rest = match plan.second {
        // IPv4: unused, length, unused (2 bytes); IPv6: length, unused (3 bytes).
        UNUSED => plan.attribute << 24 | (old_rest >> 24) << 16 | old_rest & 0xffff,
        POINTER => plan.number,
        // A hairpinned packet has no IPv4 link to come by.
        _ => icmp::mtu_to_six(plan.number, way.mtu, if second { u32::MAX } else { arrival.mtu }),
    };
    let delta = Sum(u64::from(plan.delta))
        .add32(payload_len)
        .add16(u16::from(protocol::ICMPV6))
        .add32(plan.kind_code)
        .add32(new_rest)
        .sub(Sum::ZERO.add32(kind << 8 | code).add32(old_rest))
        .sub(cut_sum(ctx, plan)?)
        .add(adjust_inner(ctx, plan)?);
    let first = plan.kind_code << 16 | u32::from(update(old_checksum as u16, delta));
    reshape(ctx, plan).ok_or(INTERNAL)?;
    let new = way.link.len();
    let icmp_at = new + HEADER_LEN as usize;
    let new_len = icmp_at + (icmp::HEADER_LEN + plan.inner_len) as usize;
    packet::adjust_head(ctx, plan.rest_at as i32 - new_len as i32).ok_or(INTERNAL)?;
    way.link.write(ctx, link::IPV6).ok_or(INTERNAL)?;
    let hop_limit = way.hop_limit(ttl, arrival.slow_path || second);
    store_outer(ctx, new, payload_len, hop_limit).ok_or(INTERNAL)?;
    packet::store(ctx, icmp_at, [first, new_rest].map(u32::to_be)).ok_or(INTERNAL)?;
    store_inner(ctx, icmp_at + icmp::HEADER_LEN as usize, plan.inner_len).ok_or(INTERNAL)?;
    Ok(way.send())
}

/// Puts the outer header into the scratch record, all but Payload Length and Hop Limit; gives the sum of its addresses.
#[inline(always)]
fn stage_outer(source: Ipv6, destination: Ipv6, traffic_class: u8) -> Result<Sum, Stop> {
    let header = ipv6::Header {
        traffic_class,
        flow_label: flow_label(source, destination, protocol::ICMPV6, 0),
        payload_len: 0,
        next_header: protocol::ICMPV6,
        hop_limit: 0,
        source,
        destination,
    };
    scratch().ok_or(INTERNAL)?.outer = header.words();
    Ok(Sum::ZERO.add_ipv6(source).add_ipv6(destination))
}

/// What of the outer header decides its way.
#[inline(always)]
fn staged_flow() -> Result<Flow6, Stop> {
    let outer = &scratch().ok_or(INTERNAL)?.outer;
    Ok(Flow6 {
        source: Ipv6 { hi: outer[1], lo: outer[2] },
        destination: Ipv6 { hi: outer[3], lo: outer[4] },
        traffic_class: (outer[0] >> 52) as u8,
        next_header: protocol::ICMPV6,
    })
}

/// Writes the outer header into the packet.
#[inline(always)]
fn store_outer(ctx: &Context, at: usize, payload_len: u32, hop_limit: u8) -> Option<()> {
    let mut words = scratch()?.outer;
    words[0] |= u64::from(payload_len) << 16 | u64::from(hop_limit);
    packet::store(ctx, at, words.map(u64::to_be))
}

/// Maps the outer addresses; each with its flags. RFC 7757 4.2.1 rule 3 for the source.
#[inline(always)]
fn map_outer(
    ctx: &Context,
    header: &Header4,
    arrival: &Arrival,
    inner: Option<&Header4>,
    simple: bool,
    second: bool,
    kind: u32,
) -> Result<(&'static Mapped6, &'static Mapped6), Stop> {
    let is_error = icmp::is_error4(kind as u8);
    let from_inner_destination = inner.is_some_and(|inner| inner.destination() == header.source());
    let without_eam = if simple && (!is_error || from_inner_destination) { SOURCE_WITHOUT_EAM } else { 0 };
    // The first pass may have put the relay's own address in the place of a source without mapping.
    let not_own = if second { SOURCE_NOT_OWN } else { 0 };
    let rules = forget(without_eam | not_own, arrival.ifindex);
    let both = map_both4(ctx, header.source(), header.destination(), rules, arrival.prefix);
    ctx.scratch().tally.account = account4(both);
    if both.known_destination & OWN != 0 {
        return Err(Stop::PASS);
    }
    if both.known_source & OWN != 0 {
        return Err(out_of_scope4(header));
    }
    // The second pass has been in scope already.
    if (both.known_destination | both.known_source) & EAM == 0 && setting!(scope_all) == 0 && !second {
        return Err(out_of_scope4(header));
    }
    let (source, destination) = (&both.source, &both.destination);
    if !destination.is_mapped() || (!source.is_mapped() && !is_error) {
        return Err(out_of_scope4(header));
    }
    let own = destination.flags | if second { 0 } else { source.flags };
    if own & OWN != 0 {
        return Err(Stop::PASS);
    }
    Ok((source, destination))
}

const MAPPED: u32 = crate::lookup::BY_PREFIX | EAM;

/// docs/translation.md 3: an error whose source maps to nothing is in scope if its inner packet is. There is no translation
/// prefix then, so that both inner addresses must map by EAMs.
#[inline(always)]
fn inner_in_scope(inner: Option<&Header4>, simple: bool) -> bool {
    let Some(inner) = inner else { return false };
    !simple && has_eam4(inner.source()) && has_eam4(inner.destination())
}

/// Refuses by address (docs/translation.md 4). An error's source may be illegal (RFC 7915 4.1); one that maps to nothing, or may not
/// stand in the well-known prefix, is replaced from the pool. Gives the source.
#[inline(always)]
fn refuse_outer(header: &Header4, source: &Mapped6, destination_flags: u32, kind: u32) -> Result<Ipv6, Stop> {
    const ILLEGAL: u32 = Entry::ILLEGAL as u32;
    const NON_GLOBAL: u32 = Entry::NON_GLOBAL as u32;
    let is_error = icmp::is_error4(kind as u8);
    let mut flags = source.flags;
    let mut source = source.address;
    if is_error {
        flags &= !ILLEGAL;
        if flags & MAPPED == 0 || flags & NON_GLOBAL != 0 {
            match from_pool(header.source()) {
                Some(from_pool) => {
                    source = from_pool;
                    flags &= !NON_GLOBAL;
                }
                // Refused when all else has been seen to.
                None if flags & MAPPED == 0 => source = Ipv6::UNSPECIFIED,
                None => {}
            }
        }
    }
    if (flags | destination_flags) & REFUSED != 0 {
        return Err(refusal(flags, destination_flags, prohibited()));
    }
    Ok(source)
}

/// An address of `ipv6_pool`, always the same for the same IPv4 source, so that traceroute shows stable hops.
#[inline(always)]
fn from_pool(source: u32) -> Option<Ipv6> {
    let count = setting!(ipv6_pool_count);
    if count == 0 {
        return None;
    }
    let hash = icmp::pool_hash(u64::from(source));
    let index = ((hash >> 32) as u32 % count) as usize & (MAX_POOL - 1);
    let size = setting!(ipv6_pool[index].count);
    if size == 0 {
        return None;
    }
    let first = Ipv6 { hi: setting!(ipv6_pool[index].first.hi), lo: setting!(ipv6_pool[index].first.lo) };
    Some(Ipv6 { hi: first.hi, lo: first.lo.wrapping_add(u64::from(hash as u32) % size) })
}

/// Whether the inner header can be read.
#[inline(always)]
fn check_inner(inner: &Header4, available: u32) -> Result<(), Stop> {
    let header_len = inner.header_len();
    if inner.version_ihl() >> 4 != 4
        || header_len < 20
        || available < header_len as u32
        || inner.total_len() < header_len
    {
        return Err(INNER);
    }
    Ok(())
}

/// Maps the inner addresses (RFC 7757 4.2.1 rule 2) and puts the inner headers into the scratch record. Gives the headers'
/// sum, and what the inner transport checksum changes by.
#[inline(always)]
fn stage_inner(ctx: &Context, inner: &Header4, arrival: &Arrival, simple: bool) -> Result<(Sum, Sum), Stop> {
    let rules = if simple { DESTINATION_WITHOUT_EAM } else { 0 };
    let both = map_both4(ctx, inner.source(), inner.destination(), rules, arrival.prefix);
    inner_flags(both.source.flags, both.destination.flags)?;
    let (source, destination) = (both.source.address, both.destination.address);
    let upper_layer = next_header_of(inner.protocol());
    let upper_len = (inner.total_len() - inner.header_len()) as u32;
    let fragment = inner.is_fragment();
    let payload_len = upper_len + if fragment { FRAGMENT_HEADER_LEN } else { 0 };
    if payload_len > 0xffff {
        return Err(INNER);
    }
    let words = ipv6::Header {
        traffic_class: traffic_class(inner.tos()),
        flow_label: flow_label(source, destination, upper_layer, 0),
        payload_len: payload_len as u16,
        next_header: if fragment { protocol::FRAGMENT } else { upper_layer },
        hop_limit: inner.ttl(),
        source,
        destination,
    }
    .words();
    let fragment = if fragment { fragment_header(upper_layer, inner.fragment(), inner.identification()) } else { 0 };
    let staged = &mut scratch().ok_or(INTERNAL)?.inner;
    let mut sum = Sum::ZERO.add64(fragment);
    staged[5] = fragment;
    for index in 0..5 {
        staged[index] = words[index];
        sum = sum.add64(words[index]);
    }
    let pseudo_header = if inner.protocol() == protocol::ICMP {
        pseudo_header6(source, destination, upper_len, protocol::ICMPV6)
    } else {
        checksum::four_to_six(inner.source(), inner.destination(), source, destination)
    };
    Ok((sum, pseudo_header))
}

/// Writes the inner headers, of `len` bytes, into the packet.
#[inline(always)]
fn store_inner(ctx: &Context, at: usize, len: u32) -> Option<()> {
    let staged = &scratch()?.inner;
    packet::store(ctx, at, [staged[0], staged[1], staged[2], staged[3], staged[4]].map(u64::to_be))?;
    if len > HEADER_LEN { packet::store(ctx, at + HEADER_LEN as usize, staged[5].to_be()) } else { Some(()) }
}

/// Refuses inner addresses by their flags: deny lists and the well-known prefix's rule hold, illegal ranges do not.
#[inline(always)]
pub fn inner_flags(source: u32, destination: u32) -> Result<(), Stop> {
    const DENIED: u32 = Entry::DENIED as u32;
    const NON_GLOBAL: u32 = Entry::NON_GLOBAL as u32;
    if source & MAPPED == 0 || destination & MAPPED == 0 {
        return Err(INNER);
    }
    if source & DENIED != 0 {
        return Err(Stop::drop(DropReason::DeniedSource));
    }
    if destination & DENIED != 0 {
        return Err(Stop::drop(DropReason::DeniedDestination));
    }
    if (source | destination) & NON_GLOBAL != 0 {
        return Err(Stop::drop(DropReason::WellKnownPrefix));
    }
    Ok(())
}

/// Bytes of the packet in error that are quoted. Where ICMPv6 has no length attribute, neither extension nor padding could be told
/// from the packet: what is after its end is not of it.
#[inline(always)]
fn quoted_len(parts: &Parts, inner: &Header4, second: u32) -> u32 {
    let total_len = inner.total_len() as u32;
    if second != UNUSED && parts.has_attribute && parts.original > total_len { total_len } else { parts.original }
}

/// The lengths of the new message's parts.
#[inline(always)]
fn new_layout(parts: &Parts, inner: &Header4, inner_header: u32, inner_len: u32, second: u32) -> Layout {
    let mut parts = *parts;
    if second != UNUSED && parts.has_attribute {
        parts = Parts { original: quoted_len(&parts, inner, second), extension: 0, has_attribute: false };
    }
    parts.original = parts.original - inner_header + inner_len;
    extension::layout(parts, UNIT6, MINIMUM_MTU - HEADER_LEN - icmp::HEADER_LEN)
}

/// RFC 7915 4.2: where the router did not say the MTU. A global function (see `tables::shorter_length4`).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn likely_mtu(total_len: u32) -> u32 {
    let count = setting!(plateau_count) as usize;
    let plateaus = (0..MAX_PLATEAUS).map(|index| if index < count { setting!(plateaus[index]) } else { 0 });
    icmp::plateau(plateaus, total_len)
}
