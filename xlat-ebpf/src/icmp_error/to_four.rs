//! ICMPv6 errors to ICMPv4 (RFC 7915 5.2, 5.3), with sources from a pool where they map to nothing (RFC 6791).

use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use xlat_common::{
    address::Ipv6,
    checksum::{self, Sum, pseudo_header6, update},
    counters::{Direction, Protocol},
    extension::{self, UNIT4, UNIT6, interface_information as object},
    icmp,
    ipv4::{self, LARGEST_ICMP_ERROR, fragment_by_size, protocol},
    ipv6::{HEADER_LEN, ipv4_fragment, protocol_of},
    programs::index,
    reason::DropReason,
    settings::{MAX_POOL, hairpin},
    table::Entry,
};

use super::{
    INNER, INTERNAL, NONE, POINTER, UNUSED, adjust_inner, cut_sum, inner_icmp_type, message, placed, reshape,
    to_six::inner_flags,
};
use crate::{
    conclude::{Sent, Stop, Tally, conclude, count_account, counters, pass_other, scratch},
    context::Context,
    forward::{self, Flow4, Way},
    four_to_six::{answer, out_of_scope, refusal},
    header6::{Chain, Header6},
    link::{self, Arrival},
    lookup::{EAM, HAIRPIN, Mapped4, OWN, REFUSED, account6, map6, maps_to_own},
    maps::Plan,
    next_hop::Cache,
    packet, reply, setting,
    six_to_four::{identification, out_of_scope6, prohibited, refuse_chain, tos},
    transport::Piece,
    verifier::forget,
};

/// [`Entry::ILLEGAL`] among the wider flags.
const ILLEGAL: u32 = Entry::ILLEGAL as u32;
/// Most bytes after the ICMPv4 header.
const LIMIT: u32 = LARGEST_ICMP_ERROR - ipv4::HEADER_LEN - icmp::HEADER_LEN;

/// Translates one ICMPv6 message that is no echo, or says why not.
#[inline(always)]
pub fn run(ctx: &Context, arrival: &Arrival) -> u32 {
    let Some(header) = Header6::load(ctx, arrival.link.len()) else { return pass_other() };
    let bytes = HEADER_LEN as usize + header.payload_len();
    ctx.scratch().tally = Tally::new(Direction::SixToFour, Protocol::Icmp, bytes);
    // What comes from the fragmenter and is no error is passed, too: the kernel forwards it as it would have sent it.
    let result = translate(ctx, arrival, &header);
    conclude(ctx, Direction::SixToFour, result)
}

#[inline(always)]
fn translate(ctx: &Context, arrival: &Arrival, header: &Header6) -> Result<Sent, Stop> {
    read(ctx, arrival, header)?;
    let Some(header) = Header6::load(ctx, arrival.link.len()) else { return Err(INTERNAL) };
    write(ctx, arrival, &header)
}

/// Reads the message into the plan; refuses what is to be refused.
#[inline(always)]
fn read(ctx: &Context, arrival: &Arrival, header: &Header6) -> Result<(), Stop> {
    let offset = arrival.link.len();
    let end = offset + HEADER_LEN as usize + header.payload_len();
    let chain = Chain::follow_through(ctx, offset, header.next_header(), end);
    chain.check()?;
    let at = chain.offset;
    let inner_at = at + icmp::HEADER_LEN as usize;
    // One that is cut off before its type is none.
    let is_error = at < end && packet::load::<u8>(ctx, at).is_some_and(icmp::is_error6);
    let destination = map6(header.destination());
    let mut source = map6(header.source());
    if arrival.slow_path && source.flags & OWN != 0 {
        // The relay's own kernel: its address is never translated, one of the pool or of the way out stands for it.
        source = Mapped4 { address: 0, flags: 0 };
    }
    let inner = inner_addresses(ctx, inner_at, end);
    ctx.scratch().tally.account = match account6(&source, &destination) {
        // A router's, about a packet to a service.
        0 => account6(&inner.destination, &inner.source),
        account => account,
    };
    in_scope(header, &source, &destination, &inner, is_error)?;
    header.check(ctx, offset)?;
    if (source.flags | destination.flags) & REFUSED != 0 {
        return Err(refusal(source.flags, destination.flags, prohibited()));
    }
    Chain::follow(ctx, offset, header.next_header(), end).check().map_err(|stop| refuse_chain(header, stop))?;
    let is_whole = chain.piece() == Piece::Whole && end >= at + icmp::HEADER_LEN as usize;
    if !is_error && is_whole {
        // No echo either: MLD, neighbour discovery and others without an equivalent are dropped silently, whatever their hop
        // limit (RFC 7915 5.2).
        return Err(Stop::drop(DropReason::IcmpType));
    }
    if !arrival.slow_path && header.hop_limit() <= 1 {
        return Err(Stop::refuse(DropReason::HopLimitExceeded, answer(icmp::v6::TIME_EXCEEDED, 0, 0)));
    }
    if chain.piece() != Piece::Whole {
        return Err(Stop::drop(DropReason::IcmpFragment));
    }
    let message_len = (end - at) as u32;
    if end < at || message_len < icmp::HEADER_LEN {
        return Err(Stop::drop(DropReason::MalformedTransport));
    }
    let [kind, code, _, rest] = message(ctx, at);
    let error = icmp::error_to_four(kind as u8, code as u8, rest).map_err(Stop::drop)?;
    let pooled = !source.is_mapped();
    let hairpinned = inner.source.flags & HAIRPIN != 0 && setting!(hairpin) == hairpin::INTRINSIC;
    let source4 = if pooled { from_pool(header.source())? } else { source.address };
    if hairpinned && maps_to_own(destination.address) != 0 {
        // docs/translation.md 3: in the second pass it would be too late.
        return Err(Stop::PASS);
    }
    let plan = Plan::get()?;
    plan.message_at = at as u32;
    plan.message_len = message_len;
    plan.hairpinned = u32::from(hairpinned);
    plan.outer_fragment = u32::from(chain.has_fragment);
    plan.identification = chain.identification;
    let outer = &mut scratch().ok_or(INTERNAL)?.outer;
    outer[0] = u64::from(source4);
    outer[1] = u64::from(destination.address);
    plan.set_head(&error, rest);
    let has_attribute = matches!(kind as u8, icmp::v6::DESTINATION_UNREACHABLE | icmp::v6::TIME_EXCEEDED);
    let attribute = if has_attribute { (rest >> 24) * UNIT6 } else { 0 };
    let informed = pooled && setting!(interface_info) != 0;
    read_inner(ctx, plan, inner_at, attribute, &inner, informed)
}

/// Both inner addresses as they map.
struct InnerAddresses {
    source: Mapped4,
    destination: Mapped4,
}

#[inline(always)]
fn inner_addresses(ctx: &Context, inner_at: usize, end: usize) -> InnerAddresses {
    let nothing = Mapped4 { address: 0, flags: 0 };
    match Header6::load(ctx, inner_at) {
        Some(inner) if inner_at + HEADER_LEN as usize <= end => {
            InnerAddresses { source: map6(inner.source()), destination: map6(inner.destination()) }
        }
        _ => InnerAddresses { source: nothing, destination: nothing },
    }
}

/// docs/translation.md 3: an unmapped source is in scope if the inner packet is.
#[inline(always)]
fn in_scope(
    header: &Header6,
    source: &Mapped4,
    destination: &Mapped4,
    inner: &InnerAddresses,
    is_error: bool,
) -> Result<(), Stop> {
    if destination.flags & OWN != 0 {
        return Err(Stop::PASS);
    }
    if source.flags & OWN != 0 && source.is_mapped() {
        return Err(out_of_scope());
    }
    if !destination.is_mapped() {
        return Err(out_of_scope6(header));
    }
    let by_eam = if source.is_mapped() {
        source.flags | destination.flags
    } else {
        if !is_error && source.flags & ILLEGAL != 0 {
            return Err(Stop::drop(DropReason::IllegalSource));
        }
        if !is_error || !inner.source.is_mapped() || !inner.destination.is_mapped() {
            return Err(out_of_scope6(header));
        }
        inner.source.flags | inner.destination.flags
    };
    if by_eam & EAM == 0 && setting!(scope_all) == 0 {
        return Err(out_of_scope6(header));
    }
    Ok(())
}

/// An address of `ipv4_pool`, always the same for the same IPv6 source, so that traceroute shows stable hops (RFC 6791).
/// 0: there is no pool, the relay's own address is to be taken.
#[inline(always)]
fn from_pool(source: Ipv6) -> Result<u32, Stop> {
    let size = setting!(ipv4_pool_size);
    if size == 0 {
        return Ok(0);
    }
    let mut index = (icmp::pool_hash(source.hi.rotate_left(23) ^ source.lo) >> 32) as u32 % size;
    let count = setting!(ipv4_pool_count) as usize;
    for place in 0..MAX_POOL {
        if place >= count {
            break;
        }
        let range = setting!(ipv4_pool[place].count);
        if index < range {
            return Ok(setting!(ipv4_pool[place].first).wrapping_add(index));
        }
        index -= range;
    }
    Err(INTERNAL)
}

/// Reads the packet in error into the plan and the scratch record.
#[inline(always)]
fn read_inner(
    ctx: &Context,
    plan: &mut Plan,
    inner_at: usize,
    attribute: u32,
    addresses: &InnerAddresses,
    informed: bool,
) -> Result<(), Stop> {
    let payload = plan.message_len - icmp::HEADER_LEN;
    let inner = Header6::load(ctx, inner_at).ok_or(INNER)?;
    let parts = extension::received(payload, attribute, HEADER_LEN);
    if parts.original < HEADER_LEN || inner.version() != 6 {
        return Err(INNER);
    }
    inner_flags(addresses.source.flags, addresses.destination.flags)?;
    let original_end = inner_at + parts.original as usize;
    let chain = Chain::follow(ctx, inner_at, inner.next_header(), original_end);
    chain.check().map_err(|_| INNER)?;
    let headers_len = (chain.offset - inner_at) as u32;
    let payload_len = inner.payload_len() as u32 + HEADER_LEN;
    if chain.offset < inner_at || payload_len < headers_len || parts.original < headers_len {
        return Err(INNER);
    }
    let upper_len = payload_len - headers_len;
    // What follows the inner packet's end is padding.
    let quoted = if parts.original < payload_len { parts.original } else { payload_len };
    let available = if chain.piece() == Piece::Later { 0 } else { quoted - headers_len };
    // ICMPv4's number means nothing in IPv6.
    let upper_layer = if chain.upper_layer == protocol::ICMP { NONE } else { chain.upper_layer };
    let icmp_type = inner_icmp_type(ctx, upper_layer, chain.offset, available)?;
    plan.rest_at = chain.offset as u32;
    plan.original = parts.original;
    plan.inner_protocol = u32::from(upper_layer);
    plan.inner_available = available;
    plan.inner_icmp_type = u32::from(icmp_type);
    plan.has_fragment = u32::from(chain.has_fragment);
    let pseudo_header = if chain.upper_layer == protocol::ICMPV6 {
        Sum::ZERO.sub(pseudo_header6(inner.source(), inner.destination(), upper_len, protocol::ICMPV6))
    } else {
        checksum::six_to_four(
            inner.source(),
            inner.destination(),
            addresses.source.address,
            addresses.destination.address,
        )
    };
    plan.inner_delta = u32::from(pseudo_header.fold());
    let sum = stage_inner(&inner, &chain, upper_len, addresses)?;
    let gone = packet::sum(ctx, inner_at, headers_len as usize).ok_or(INNER)?;
    plan.delta = u32::from(sum.sub(gone).fold());
    let mut parts = parts;
    plan.more = if informed { information_len(ctx, original_end, parts.extension) } else { 0 };
    parts.original = parts.original - headers_len + ipv4::HEADER_LEN;
    parts.extension += plan.more;
    parts.has_attribute |= plan.more > 0;
    plan.set_layout(&extension::layout(parts, UNIT4, LIMIT), ipv4::HEADER_LEN, UNIT4);
    plan.extension = plan.extension.saturating_sub(plan.more);
    Ok(())
}

/// Puts the inner header into the scratch record, gives its sum.
#[inline(always)]
fn stage_inner(inner: &Header6, chain: &Chain, upper_len: u32, addresses: &InnerAddresses) -> Result<Sum, Stop> {
    let total_len = upper_len + ipv4::HEADER_LEN;
    if total_len > 0xffff {
        return Err(INNER);
    }
    let words = ipv4::Header {
        tos: tos(inner.traffic_class()),
        total_len: total_len as u16,
        identification: chain.identification as u16,
        fragment: if chain.has_fragment { ipv4_fragment(chain.fragment) } else { fragment_by_size(total_len) },
        ttl: inner.hop_limit(),
        protocol: protocol_of(chain.upper_layer),
        source: addresses.source.address,
        destination: addresses.destination.address,
    }
    .words();
    let staged = &mut scratch().ok_or(INTERNAL)?.inner;
    let mut sum = Sum::ZERO;
    for index in 0..5 {
        staged[index] = u64::from(words[index]);
        sum = sum.add32(words[index]);
    }
    Ok(sum)
}

/// docs/translation.md 8.7: bytes to be appended for the Interface Information Object (RFC 5837), 0 where there is no room for it.
/// `extension_at`: where an extension structure of `extension` bytes begins.
#[inline(always)]
fn information_len(ctx: &Context, extension_at: usize, extension: u32) -> u32 {
    if extension == 0 {
        return object::STRUCTURE_HEADER_LEN + object::OBJECT_LEN;
    }
    let version = packet::load::<u16>(ctx, extension_at).map_or(0, u16::from_be) >> 12;
    let is_structure = version == u16::from(object::VERSION >> 4) && extension >= object::STRUCTURE_HEADER_LEN;
    let fits = extension + object::OBJECT_LEN <= LIMIT - extension::MINIMUM_ORIGINAL;
    if is_structure && fits && takes_information(ctx.ctx, extension_at as u32, extension) != 0 {
        object::OBJECT_LEN
    } else {
        0
    }
}

/// Most objects of an extension structure beside which another one fits.
const MAX_OBJECTS: u32 = (LIMIT - extension::MINIMUM_ORIGINAL) / object::OBJECT_HEADER_LEN;

/// 1: an extension structure of `len` bytes at `at` can be read to its end, and no object in it tells of the arrival interface: no
/// message may have two of one role (RFC 5837 4.5). A global function, for its loop (see `tables::shorter_length4`).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn takes_information(ctx: *mut xdp_md, at: u32, len: u32) -> u32 {
    let ctx = &XdpContext::new(ctx);
    let unknown = ctx.ingress_ifindex() as u32;
    let mut done = object::STRUCTURE_HEADER_LEN;
    for _ in 0..MAX_OBJECTS {
        // All ways to come here are one to the verifier.
        done = forget(done, unknown) & 0xffff;
        if done >= len {
            break;
        }
        let Some([size, kind]) =
            packet::load::<[u16; 2]>(ctx, (at + done) as usize).map(|words| words.map(u16::from_be))
        else {
            return 0;
        };
        if u32::from(size) < object::OBJECT_HEADER_LEN || object::is_arrival((kind >> 8) as u8, kind as u8) {
            return 0;
        }
        done += u32::from(size);
    }
    u32::from(done == len)
}

/// The sum of the object that tells `source`.
#[inline(always)]
fn object_sum(source: Ipv6) -> Sum {
    Sum::ZERO.add64(u64::from_be_bytes(object::HEADERS)).add_ipv6(source)
}

/// The extension structure's checksum after the object is appended, and what the outer checksum changes by.
#[inline(always)]
fn information_checksum(ctx: &Context, plan: &Plan, source: Ipv6) -> (u16, Sum) {
    let sum = object_sum(source);
    if plan.extension == 0 {
        // A whole structure with its checksum sums up to nothing.
        return (sum.add16(u16::from(object::VERSION) << 8).checksum(), Sum::ZERO);
    }
    let sum = placed(sum, plan.extension);
    let at = (plan.message_at + icmp::HEADER_LEN + plan.original) as usize;
    match packet::load(ctx, at + 2).map_or(0, u16::from_be) {
        // RFC 4884 7: none was sent.
        0 => (0, sum),
        old => (update(old, sum), Sum::ZERO),
    }
}

/// Appends the object; `at` is where the extension structure begins.
#[inline(always)]
fn append_information(ctx: &Context, plan: &Plan, at: usize, checksum: u16, source: Ipv6) -> Option<()> {
    if plan.extension == 0 {
        packet::store(ctx, at, [object::VERSION, 0])?;
    }
    packet::store(ctx, at + 2, checksum.to_be())?;
    let existing = if plan.extension == 0 { object::STRUCTURE_HEADER_LEN } else { plan.extension };
    let words = [u64::from_be_bytes(object::HEADERS), source.hi, source.lo];
    packet::store(ctx, at + existing as usize, words.map(u64::to_be))
}

/// Writes the message by the plan.
#[inline(always)]
fn write(ctx: &Context, arrival: &Arrival, header: &Header6) -> Result<Sent, Stop> {
    let plan = Plan::get()?;
    let total_len = ipv4::HEADER_LEN + plan.new_len();
    let outer = &scratch().ok_or(INTERNAL)?.outer;
    let (source, destination) = (outer[0] as u32, outer[1] as u32);
    let hairpinned = plan.hairpinned != 0;
    let flow = Flow4 { source, destination, tos: tos(header.traffic_class()), protocol: protocol::ICMP };
    let way =
        if hairpinned { Way::back(ctx, arrival) } else { forward::four(ctx, arrival, &flow, total_len, Cache::None) };
    let source = match source {
        0 if hairpinned => reply::own_ipv4(arrival.logical_ifindex),
        0 => reply::own_ipv4(forward::asked_ifindex()),
        from_pool => from_pool,
    };
    if source == 0 {
        return Err(Stop::drop(DropReason::NoSource));
    }
    let [kind, code, old_checksum, old_rest] = message(ctx, plan.message_at as usize);
    let new_rest = match plan.second {
        // IPv6: length, unused (3 bytes); IPv4: unused, length, unused (2 bytes).
        UNUSED => (old_rest >> 16 & 0xff) << 24 | (plan.attribute & 0xff) << 16 | old_rest & 0xffff,
        POINTER => plan.number << 24 | (plan.attribute & 0xff) << 16,
        _ => {
            let mtu = icmp::mtu_to_four(plan.number, plan.has_fragment != 0, way.mtu, arrival.mtu);
            (plan.attribute & 0xff) << 16 | mtu & 0xffff
        }
    };
    let gone = pseudo_header6(header.source(), header.destination(), plan.message_len, protocol::ICMPV6);
    let (information, information_delta) =
        if plan.more > 0 { information_checksum(ctx, plan, header.source()) } else { (0, Sum::ZERO) };
    let delta = Sum(u64::from(plan.delta))
        .add(information_delta)
        .add32(plan.kind_code)
        .add32(new_rest)
        .sub(gone.add32(kind << 8 | code).add32(old_rest))
        .sub(cut_sum(ctx, plan)?)
        .add(adjust_inner(ctx, plan)?);
    let first = plan.kind_code << 16 | u32::from(update(old_checksum as u16, delta));
    let extension_at = reshape(ctx, plan).ok_or(INTERNAL)?;
    if plan.more > 0 {
        append_information(ctx, plan, extension_at, information, header.source()).ok_or(INTERNAL)?;
    }
    let new = way.link.len();
    let icmp_at = new + ipv4::HEADER_LEN as usize;
    let new_len = icmp_at + (icmp::HEADER_LEN + ipv4::HEADER_LEN) as usize;
    packet::adjust_head(ctx, plan.rest_at as i32 - new_len as i32).ok_or(INTERNAL)?;
    way.link.write(ctx, link::IPV4).ok_or(INTERNAL)?;
    let ttl = if hairpinned {
        header.hop_limit().wrapping_sub(u8::from(!arrival.slow_path))
    } else {
        way.hop_limit(header.hop_limit(), arrival.slow_path)
    };
    let outer = ipv4::Header {
        tos: tos(header.traffic_class()),
        total_len: total_len as u16,
        identification: if plan.outer_fragment != 0 { plan.identification as u16 } else { identification() },
        fragment: if plan.outer_fragment != 0 { 0 } else { fragment_by_size(total_len) },
        ttl,
        protocol: protocol::ICMP,
        source,
        destination,
    };
    packet::store(ctx, new, outer.words().map(u32::to_be)).ok_or(INTERNAL)?;
    packet::store(ctx, icmp_at, [first, new_rest].map(u32::to_be)).ok_or(INTERNAL)?;
    let inner = &scratch().ok_or(INTERNAL)?.inner;
    let inner = [inner[0] as u32, inner[1] as u32, inner[2] as u32, inner[3] as u32, inner[4] as u32];
    packet::store(ctx, icmp_at + icmp::HEADER_LEN as usize, inner.map(u32::to_be)).ok_or(INTERNAL)?;
    if hairpinned {
        if let Some(counters) = counters() {
            counters.hairpinned += 1;
        }
        count_account(&ctx.scratch().tally);
        return Err(Stop::tail_call(index::HAIRPIN_ICMP_ERROR));
    }
    Ok(way.send())
}
