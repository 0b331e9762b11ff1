//! IPv4 to IPv6 (RFC 7915 section 4).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv6Net};

use super::address::{EamAllowed, Mapped, is_illegal_ipv4, is_illegal_ipv6};
use super::icmp_error::{self, Path};
use super::packet::{
    Extent, Fragment, Ipv4Packet, Ipv6Packet, ipv4_addresses, ipv4_inner_addresses, is_icmpv4_error, protocol,
};
use super::{
    Answer, Arrival, Config, FlowLabel, Free, Hairpin, Outcome, Stop, Translated, UdpZeroChecksum, checksum,
    out_of_scope, transport,
};

/// What the addresses become. A source of nothing is that of an ICMPv4 error, to be taken from the pool.
struct Addresses {
    source: Option<Mapped<Ipv6Addr>>,
    destination: Mapped<Ipv6Addr>,
}

/// How an IPv4 packet came here.
struct WayIn<'a> {
    /// The interface, of whichever family.
    arrival: &'a Arrival,
    /// Its MTU, if it is one of the IPv4 side.
    arrival_mtu: Option<u32>,
    /// Whether RFC 7757 section 4.2.1 applies.
    simple_hairpin: bool,
}

/// An IPv4 packet from outside, from its header on.
pub(super) fn arriving(config: &Config, bytes: &[u8]) -> Result<Outcome, Stop> {
    let (source, destination) = ipv4_addresses(bytes).ok_or(Stop::Pass)?;
    let arrival = &config.arrival4;
    let is_error = is_icmpv4_error(bytes);
    let simple_hairpin = config.hairpin == Hairpin::Simple;
    let inner = ipv4_inner_addresses(bytes).filter(|_| is_error);

    if config.own4.contains(&destination) {
        return Err(Stop::Pass);
    }
    let for_the_machine = destination.is_multicast() || destination.is_broadcast() || destination.is_link_local();
    if config.own4.contains(&source) {
        return Err(out_of_scope(config, for_the_machine));
    }
    let allowed = eam_allowed(simple_hairpin, source, inner, is_error);
    let (mapped_source, mapped_destination) = config.map_ipv4_pair(source, destination, allowed, arrival);
    if mapped_destination.is_some_and(|mapped| config.own6.contains(&mapped.address)) {
        return Err(Stop::Pass);
    }
    if mapped_source.is_some_and(|mapped| config.own6.contains(&mapped.address)) {
        return Err(out_of_scope(config, for_the_machine));
    }
    let in_scope = match (&mapped_source, &mapped_destination) {
        (Some(source), Some(destination)) => config.in_scope(source, destination),
        (None, Some(_)) => inner.is_some_and(|(source, destination)| {
            let allowed = EamAllowed { source: true, destination: !simple_hairpin };
            match config.map_ipv4_pair(source, destination, allowed, arrival) {
                (Some(source), Some(destination)) => config.in_scope(&source, &destination),
                _ => false,
            }
        }),
        _ => false,
    };
    let Some(mapped_destination) = mapped_destination.filter(|_| in_scope) else {
        return Err(out_of_scope(config, for_the_machine));
    };

    let packet = Ipv4Packet::read(bytes, Extent::Frame).ok_or(Stop::Drop("malformed_header"))?;
    if checksum::sum(&bytes[..20 + packet.options.len()]) != 0 {
        return Err(Stop::Drop("ipv4_checksum"));
    }
    let mut addresses = Addresses { source: mapped_source, destination: mapped_destination };
    check_addresses(config, &packet, is_error, &mut addresses)?;
    check_options(&packet.options)?;
    // What is dropped silently by its kind is so whatever its TTL: it nearly always is 1.
    let whole_icmp = packet.protocol == protocol::ICMP && !packet.is_fragment() && packet.payload.len() >= 8;
    if packet.protocol == protocol::IGMP {
        return Err(Stop::Drop("igmp"));
    }
    if whole_icmp && !is_error && !matches!(packet.payload[0], 0 | 8) {
        return Err(Stop::Drop("icmp_type"));
    }
    if packet.ttl <= 1 {
        return Err(Stop::Refuse("hop_limit_exceeded", Answer::TimeExceeded));
    }
    let way_in = WayIn { arrival, arrival_mtu: Some(arrival.mtu), simple_hairpin };
    let (mut translated, free) = convert(config, &packet, is_error, &addresses, &way_in)?;

    let fragment_length = if translated.fragment.is_some() { 8 } else { 0 };
    let size = u32::try_from(40 + fragment_length + translated.payload.len()).expect("less than 4 GiB");
    let route = config.route(IpAddr::V6(translated.destination));
    if packet.dont_fragment {
        if let Some(route) = route.filter(|route| size > route.mtu) {
            let mtu = route.mtu - if packet.is_fragment() { 28 } else { 20 };
            return Err(Stop::Refuse("packet_too_big", Answer::TooBig { mtu }));
        }
    } else {
        let limit = route.map_or(config.lowest_ipv6_mtu, |route| route.mtu.min(config.lowest_ipv6_mtu));
        if size > limit {
            return Err(Stop::Fragment);
        }
    }
    if route.is_some_and(|route| route.forwards) {
        translated.hop_limit -= 1;
        Ok(Outcome::Translate(Translated { bytes: translated.to_bytes(), free }))
    } else {
        Ok(Outcome::ToKernelTranslated(Translated { bytes: translated.to_bytes(), free }))
    }
}

/// The second half of a hairpin (RFC 7757 section 4.2.2): `packet` just came out of IPv6 to IPv4, its TTL still as in the
/// IPv6 packet, its source one of `sources` if there are any.
pub(super) fn hairpinned(
    config: &Config,
    packet: &Ipv4Packet,
    is_error: bool,
    sources: &[IpNet],
) -> Result<Outcome, Stop> {
    let quoted = packet.payload.get(8..).and_then(ipv4_addresses).filter(|_| is_error);
    let map = |source| {
        config.map_ipv4_pair(source, packet.destination, eam_allowed(true, source, quoted, is_error), &config.arrival6)
    };
    let (mapped_source, mapped_destination) = map(packet.source);
    let mapped_destination = mapped_destination.ok_or(Stop::Pass)?;
    if config.own6.contains(&mapped_destination.address) {
        return Err(Stop::Pass);
    }
    if mapped_source.is_none() && !is_error {
        return Err(out_of_scope(config, false));
    }
    if mapped_source.is_some_and(|mapped| config.own6.contains(&mapped.address)) {
        return Err(out_of_scope(config, false));
    }
    let mut addresses = Addresses { source: mapped_source, destination: mapped_destination };
    check_addresses(config, packet, is_error, &mut addresses)?;
    let way_in = WayIn { arrival: &config.arrival6, arrival_mtu: None, simple_hairpin: true };
    let (mut translated, mut free) = convert(config, packet, is_error, &addresses, &way_in)?;
    if addresses.source.is_some() {
        let mapped = sources.iter().flat_map(addresses_of).filter_map(|source| map(source).0);
        free.sources = mapped.map(|mapped| IpNet::from(IpAddr::V6(mapped.address))).collect();
    }

    let fragment_length = if translated.fragment.is_some() { 8 } else { 0 };
    let size = u32::try_from(40 + fragment_length + translated.payload.len()).expect("less than 4 GiB");
    let route = config.route(IpAddr::V6(translated.destination));
    if let Some(route) = route.filter(|route| size > route.mtu) {
        return Err(Stop::Refuse("packet_too_big", Answer::TooBig { mtu: route.mtu }));
    }
    if route.is_some_and(|route| route.forwards) {
        translated.hop_limit -= 1;
        Ok(Outcome::Translate(Translated { bytes: translated.to_bytes(), free }))
    } else {
        Ok(Outcome::ToKernelTranslated(Translated { bytes: translated.to_bytes(), free }))
    }
}

/// Every address of an IPv4 prefix.
fn addresses_of(net: &IpNet) -> impl Iterator<Item = Ipv4Addr> + use<> {
    let (first, last) = match net {
        IpNet::V4(net) => (u32::from(net.network()), u32::from(net.broadcast())),
        IpNet::V6(_) => (1, 0),
    };
    (first..=last).map(Ipv4Addr::from)
}

/// The three rules of RFC 7757 section 4.2.1, as far as they concern the outer addresses.
fn eam_allowed(
    simple_hairpin: bool,
    source: Ipv4Addr,
    inner: Option<(Ipv4Addr, Ipv4Addr)>,
    is_error: bool,
) -> EamAllowed {
    let forbidden = if is_error { inner.is_some_and(|(_, destination)| destination == source) } else { true };
    EamAllowed { source: !(simple_hairpin && forbidden), destination: true }
}

/// Deny lists, illegal addresses, the well-known prefix: section 4 of `docs/translation.md`.
fn check_addresses(
    config: &Config,
    packet: &Ipv4Packet,
    is_error: bool,
    addresses: &mut Addresses,
) -> Result<(), Stop> {
    let destination = addresses.destination;
    let mapped_source = addresses.source.map(|mapped| mapped.address);
    if config.denies_ipv4(packet.source) || mapped_source.is_some_and(|source| config.denies_ipv6(source)) {
        return Err(Stop::Refuse("denied_source", Answer::Prohibited));
    }
    if config.denies_ipv4(packet.destination) || config.denies_ipv6(destination.address) {
        return Err(Stop::Refuse("denied_destination", Answer::Prohibited));
    }
    if !is_error && (is_illegal_ipv4(packet.source) || mapped_source.is_some_and(is_illegal_ipv6)) {
        return Err(Stop::Drop("illegal_source"));
    }
    if is_illegal_ipv4(packet.destination) || is_illegal_ipv6(destination.address) {
        return Err(Stop::Drop("illegal_destination"));
    }
    if config.forbidden_by_well_known_prefix(packet.destination, destination.rule) {
        return Err(Stop::Refuse("well_known_prefix", Answer::Prohibited));
    }
    if addresses.source.is_some_and(|mapped| config.forbidden_by_well_known_prefix(packet.source, mapped.rule)) {
        if !is_error || config.ipv6_pool.is_empty() {
            return Err(Stop::Refuse("well_known_prefix", Answer::Prohibited));
        }
        addresses.source = None;
    }
    Ok(())
}

/// Options are ignored, but for an unexpired source route (RFC 7915 section 4.1).
fn check_options(options: &[u8]) -> Result<(), Stop> {
    let mut at = 0;
    while at < options.len() {
        match options[at] {
            0 => break,
            1 => at += 1,
            option_type => {
                let length = options.get(at + 1).copied().map(usize::from);
                let Some(length) = length.filter(|length| (2..=options.len() - at).contains(length)) else {
                    // It says not where the next one begins. Ignored, unless it might be a source route.
                    return if matches!(option_type, 131 | 137) {
                        Err(Stop::Drop("malformed_options"))
                    } else {
                        Ok(())
                    };
                };
                let is_source_route = matches!(option_type, 131 | 137) && length >= 3;
                if is_source_route && usize::from(options[at + 2]) <= length {
                    return Err(Stop::Refuse("source_route", Answer::SourceRouteFailed));
                }
                at += length;
            }
        }
    }
    Ok(())
}

/// Everything but the hop limit, which is the IPv4 packet's TTL as it is.
fn convert(
    config: &Config,
    packet: &Ipv4Packet,
    is_error: bool,
    addresses: &Addresses,
    way_in: &WayIn<'_>,
) -> Result<(Ipv6Packet, Free), Stop> {
    let destination = addresses.destination.address;
    let from_pool = addresses.source.is_none();
    let pool_source = || config.ipv6_pool.first().map_or(Ipv6Addr::UNSPECIFIED, Ipv6Net::network);
    let source = addresses.source.map_or_else(pool_source, |mapped| mapped.address);
    let before = checksum::sum_of_ipv4_addresses(packet.source, packet.destination);
    let after = checksum::sum_of_ipv6_addresses(source, destination);
    let mut payload = packet.payload.clone();
    match packet.protocol {
        protocol::IGMP => return Err(Stop::Drop("igmp")),
        protocol::ICMP if packet.is_fragment() => return Err(Stop::Drop("icmp_fragment")),
        protocol::ICMP if payload.len() < 8 => return Err(Stop::Drop("malformed_transport")),
        protocol::ICMP if is_error => {
            let next_hop_mtu = config.route(IpAddr::V6(destination)).map(|route| route.mtu);
            let path = Path { arrival: way_in.arrival, next_hop_mtu, arrival_mtu: way_in.arrival_mtu };
            let mut message = icmp_error::four_to_six(config, &payload, way_in.simple_hairpin, &path)?;
            let covered =
                after + checksum::sum_of_length_and_protocol(message.len(), protocol::ICMPV6) + checksum::sum(&message);
            let field = checksum::update(0, checksum::sum(&payload), covered);
            checksum::set_word(&mut message, 2, field);
            payload = message;
        }
        protocol::ICMP => {
            let icmp_type = match payload[0] {
                8 => 128,
                0 => 129,
                _ => return Err(Stop::Drop("icmp_type")),
            };
            let pseudo = after + checksum::sum_of_length_and_protocol(payload.len(), protocol::ICMPV6);
            transport::retype_icmp(&mut payload, icmp_type, 0, pseudo);
        }
        other if packet.fragment_offset == 0 => transport_payload(config, packet, other, &mut payload, before, after)?,
        _ => {}
    }
    if from_pool && config.ipv6_pool.is_empty() {
        return Err(Stop::Drop("no_source"));
    }
    let translated = Ipv6Packet {
        traffic_class: config.traffic_class.unwrap_or(packet.tos),
        protocol: if packet.protocol == protocol::ICMP { protocol::ICMPV6 } else { packet.protocol },
        hop_limit: packet.ttl,
        source,
        destination,
        fragment: packet.is_fragment().then(|| Fragment {
            offset: packet.fragment_offset,
            more: packet.more_fragments,
            identification: u32::from(packet.identification),
        }),
        length: payload.len(),
        payload,
    };
    let sources = if from_pool { config.ipv6_pool.iter().map(|net| IpNet::V6(*net)).collect() } else { Vec::new() };
    let flow_label = config.flow_label == FlowLabel::Hash;
    let free = Free { identification: false, flow_label, inner_flow_label: flow_label && is_error, sources };
    Ok((translated, free))
}

/// TCP, UDP, UDP-Lite and DCCP of a packet that begins with their header; other protocols are kept.
fn transport_payload(
    config: &Config,
    packet: &Ipv4Packet,
    transport_protocol: u8,
    payload: &mut [u8],
    before: u64,
    after: u64,
) -> Result<(), Stop> {
    let Some(least) = transport::least_header_length(transport_protocol) else { return Ok(()) };
    if !packet.is_fragment() && payload.len() < least {
        return Err(Stop::Drop("malformed_transport"));
    }
    let no_checksum = transport_protocol == protocol::UDP && checksum::word(payload, 6) == Some(0);
    if !no_checksum {
        transport::adjust(transport_protocol, payload, before, after);
    } else if packet.is_fragment() {
        return Err(Stop::Drop("udp_checksum_zero_fragment"));
    } else if config.udp_zero_checksum == UdpZeroChecksum::Drop {
        return Err(Stop::Drop("udp_checksum_zero"));
    } else {
        // RFC 8200 section 8.1: UDP's own length is the one in the pseudo-header; one that lies says nothing.
        let udp_length = checksum::word(payload, 4).map_or(0, usize::from);
        let length = if (8..=payload.len()).contains(&udp_length) { udp_length } else { payload.len() };
        let pseudo = after + checksum::sum_of_length_and_protocol(length, protocol::UDP);
        let field = checksum::compute(pseudo + checksum::sum(&payload[..length]));
        checksum::set_word(payload, 6, checksum::as_udp(field));
    }
    Ok(())
}
