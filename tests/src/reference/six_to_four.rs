//! IPv6 to IPv4 (RFC 7915 section 5), and what sends a packet back to IPv6 (RFC 7757 section 4.2.2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

use super::address::{EamAllowed, Mapped, Rule, is_illegal_ipv4, is_illegal_ipv6, is_link_local_ipv6};
use super::icmp_error::{self, Path};
use super::packet::{
    Chain, ChainProblem, Extent, Ipv4Packet, Ipv6Header, icmpv6_error, ipv6_addresses, is_icmpv6_error_type, protocol,
    walk,
};
use super::{Answer, Config, Free, Hairpin, Outcome, Stop, Translated, checksum, four_to_six, out_of_scope, transport};

/// What the addresses become. A source of nothing is that of an ICMPv6 error, to be taken from the pool.
struct Addresses {
    source: Option<Mapped<Ipv4Addr>>,
    destination: Mapped<Ipv4Addr>,
}

/// An IPv6 packet from outside, from its header on.
pub(super) fn arriving(config: &Config, bytes: &[u8]) -> Result<Outcome, Stop> {
    let (source, destination) = ipv6_addresses(bytes).ok_or(Stop::Pass)?;
    let inner = icmpv6_error(bytes).and_then(|message| ipv6_addresses(message.get(8..)?));
    let addresses = addresses_in_scope(config, source, destination, inner, icmpv6_error(bytes).is_some())?;

    let header = Ipv6Header::read(bytes, Extent::Frame).ok_or(Stop::Drop("malformed_header"))?;
    check_addresses(config, source, destination, &addresses)?;
    let chain = walk(header.next_header, &header.rest).map_err(|problem| match problem {
        ChainProblem::Malformed => Stop::Drop("malformed_header"),
        ChainProblem::TooLong => Stop::Drop("extension_chain"),
        ChainProblem::SegmentsLeft { pointer } => Stop::Refuse("routing_header", Answer::ParameterProblem { pointer }),
        ChainProblem::AfterFragment => Stop::Refuse("fragment_extension", Answer::Prohibited),
    })?;
    let payload = &header.rest[chain.length..];
    let is_part = chain.fragment.is_some_and(|fragment| fragment.is_part());
    // What is dropped silently by its kind is so whatever its hop limit.
    let whole_icmp = chain.protocol == protocol::ICMPV6 && !is_part && payload.len() >= 8;
    if whole_icmp && !is_icmpv6_error_type(payload[0]) && !matches!(payload[0], 128 | 129) {
        return Err(Stop::Drop("icmp_type"));
    }
    if header.hop_limit <= 1 {
        return Err(Stop::Refuse("hop_limit_exceeded", Answer::TimeExceeded));
    }

    let is_error = chain.protocol == protocol::ICMPV6
        && !is_part
        && payload.first().is_some_and(|icmp_type| is_icmpv6_error_type(*icmp_type));
    // ICMPv4's number in an IPv6 packet would be taken for ICMP on the way back.
    let hairpin = config.hairpin == Hairpin::Intrinsic
        && chain.protocol != protocol::ICMP
        && hairpins(config, is_error, &addresses, inner);
    let (mut packet, free) = convert(config, &header, &chain, is_error, &addresses, hairpin)?;
    if hairpin {
        return four_to_six::hairpinned(config, &packet, is_error, &free.sources);
    }

    let size = u32::try_from(20 + packet.payload.len()).expect("less than 4 GiB");
    let route = config.route(IpAddr::V4(packet.destination));
    let too_big = route.is_some_and(|route| size > route.mtu);
    if let Some(route) = route.filter(|_| too_big && packet.dont_fragment) {
        return Err(Stop::Refuse("packet_too_big", Answer::TooBig { mtu: (route.mtu + 20).max(1280) }));
    }
    if !too_big && route.is_some_and(|route| route.forwards) {
        packet.ttl -= 1;
        Ok(Outcome::Translate(Translated { bytes: packet.to_bytes(), free }))
    } else {
        Ok(Outcome::ToKernelTranslated(Translated { bytes: packet.to_bytes(), free }))
    }
}

fn addresses_in_scope(
    config: &Config,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    inner: Option<(Ipv6Addr, Ipv6Addr)>,
    is_error: bool,
) -> Result<Addresses, Stop> {
    if config.own6.contains(&destination) {
        return Err(Stop::Pass);
    }
    let for_the_machine = destination.is_multicast() || is_link_local_ipv6(destination);
    if config.own6.contains(&source) {
        return Err(out_of_scope(config, for_the_machine));
    }
    let (mapped_source, mapped_destination) = (config.map_ipv6(source), config.map_ipv6(destination));
    if mapped_destination.is_some_and(|mapped| config.own4.contains(&mapped.address)) {
        return Err(Stop::Pass);
    }
    if mapped_source.is_some_and(|mapped| config.own4.contains(&mapped.address)) {
        return Err(out_of_scope(config, for_the_machine));
    }
    let in_scope = match (&mapped_source, &mapped_destination) {
        (Some(source), Some(destination)) => config.in_scope(source, destination),
        // RFC 7915 5.1: what is for the translator and cannot come from where it says; errors are judged by what they quote.
        (None, Some(_)) if !is_error && is_illegal_ipv6(source) => return Err(Stop::Drop("illegal_source")),
        (None, Some(_)) => {
            inner.is_some_and(|(source, destination)| match (config.map_ipv6(source), config.map_ipv6(destination)) {
                (Some(source), Some(destination)) => config.in_scope(&source, &destination),
                _ => false,
            })
        }
        _ => false,
    };
    match mapped_destination.filter(|_| in_scope) {
        Some(destination) => Ok(Addresses { source: mapped_source, destination }),
        None => Err(out_of_scope(config, for_the_machine)),
    }
}

/// Deny lists, illegal addresses, the well-known prefix: section 4 of `docs/translation.md`.
fn check_addresses(
    config: &Config,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    addresses: &Addresses,
) -> Result<(), Stop> {
    let mapped_source = addresses.source.map(|mapped| mapped.address);
    let mapped_destination = addresses.destination.address;
    if config.denies_ipv6(source) || mapped_source.is_some_and(|source| config.denies_ipv4(source)) {
        return Err(Stop::Refuse("denied_source", Answer::Prohibited));
    }
    if config.denies_ipv6(destination) || config.denies_ipv4(mapped_destination) {
        return Err(Stop::Refuse("denied_destination", Answer::Prohibited));
    }
    if is_illegal_ipv6(source) || mapped_source.is_some_and(is_illegal_ipv4) {
        return Err(Stop::Drop("illegal_source"));
    }
    if is_illegal_ipv6(destination) || is_illegal_ipv4(mapped_destination) {
        return Err(Stop::Drop("illegal_destination"));
    }
    let both = [addresses.source, Some(addresses.destination)];
    if both.iter().flatten().any(|mapped| config.forbidden_by_well_known_prefix(mapped.address, mapped.rule)) {
        return Err(Stop::Refuse("well_known_prefix", Answer::Prohibited));
    }
    Ok(())
}

/// Condition sets A and B of RFC 7757 section 4.2.2.
fn hairpins(config: &Config, is_error: bool, addresses: &Addresses, inner: Option<(Ipv6Addr, Ipv6Addr)>) -> bool {
    let decisive = if is_error {
        inner.and_then(|(inner_source, _)| config.map_ipv6(inner_source))
    } else {
        Some(addresses.destination)
    };
    decisive
        .is_some_and(|mapped| matches!(mapped.rule, Rule::Prefix(_)) && config.eam_of_ipv4(mapped.address).is_some())
}

/// Everything but the TTL, which is the IPv6 packet's Hop Limit as it is.
fn convert(
    config: &Config,
    header: &Ipv6Header,
    chain: &Chain,
    is_error: bool,
    addresses: &Addresses,
    hairpin: bool,
) -> Result<(Ipv4Packet, Free), Stop> {
    let destination = addresses.destination.address;
    let before = checksum::sum_of_ipv6_addresses(header.source, header.destination);
    let mut payload = header.rest[chain.length..].to_vec();
    let is_part = chain.fragment.is_some_and(|fragment| fragment.is_part());
    let is_first = chain.fragment.is_none_or(|fragment| fragment.offset == 0);

    let mut source = addresses.source.map(|mapped| mapped.address);
    match chain.protocol {
        protocol::ICMPV6 if is_part => return Err(Stop::Drop("icmp_fragment")),
        protocol::ICMPV6 if payload.len() < 8 => return Err(Stop::Drop("malformed_transport")),
        protocol::ICMPV6 => {
            let pseudo = before + checksum::sum_of_length_and_protocol(payload.len(), protocol::ICMPV6);
            match payload[0] {
                128 => transport::retype_icmp(&mut payload, 8, pseudo, 0),
                129 => {
                    transport::retype_icmp(&mut payload, 0, pseudo, 0);
                    // It may be nothing but zeros, whose sum is +0: its checksum is 0xffff. Of anything else that is the same number.
                    let field = checksum::word(&payload, 2).map_or(0, checksum::as_udp);
                    checksum::set_word(&mut payload, 2, field);
                }
                _ if is_error => {
                    let path = Path {
                        arrival: &config.arrival6,
                        next_hop_mtu: if hairpin { None } else { config.route(IpAddr::V4(destination)).map(|r| r.mtu) },
                        arrival_mtu: Some(config.arrival6.mtu),
                    };
                    let unmapped_source = Some(header.source).filter(|_| source.is_none());
                    let mut message = icmp_error::six_to_four(config, &payload, unmapped_source, &path)?;
                    let field = checksum::update(0, pseudo + checksum::sum(&payload), checksum::sum(&message));
                    checksum::set_word(&mut message, 2, field);
                    payload = message;
                }
                _ => return Err(Stop::Drop("icmp_type")),
            }
        }
        _ => {}
    }

    let mut sources = Vec::new();
    if source.is_none() {
        source = if config.ipv4_pool.is_empty() {
            let of_way_out = address_of_way_out(config, destination, hairpin);
            if of_way_out.is_none() {
                let own = config.own4.iter().filter(|own| !own.is_loopback());
                sources = own.map(|own| IpNet::from(IpAddr::V4(*own))).collect();
            }
            of_way_out.or_else(|| config.own4.iter().copied().find(|own| !own.is_loopback()))
        } else {
            sources = config.ipv4_pool.iter().map(|net| IpNet::V4(*net)).collect();
            config.ipv4_pool.first().map(Ipv4Net::network)
        };
    }
    let source = source.ok_or(Stop::Drop("no_source"))?;
    let after = checksum::sum_of_ipv4_addresses(source, destination);
    if chain.protocol != protocol::ICMPV6 && is_first {
        let least = transport::least_header_length(chain.protocol).unwrap_or(0);
        if !is_part && payload.len() < least {
            return Err(Stop::Drop("malformed_transport"));
        }
        transport::adjust(chain.protocol, &mut payload, before, after);
    }

    let packet = Ipv4Packet {
        tos: config.tos.unwrap_or(header.traffic_class),
        identification: chain.fragment.map_or(0, |fragment| (fragment.identification & 0xffff) as u16),
        dont_fragment: chain.fragment.is_none() && 20 + payload.len() > 1260,
        more_fragments: chain.fragment.is_some_and(|fragment| fragment.more),
        fragment_offset: chain.fragment.map_or(0, |fragment| fragment.offset),
        ttl: header.hop_limit,
        protocol: if chain.protocol == protocol::ICMPV6 { protocol::ICMP } else { chain.protocol },
        source,
        destination,
        options: Vec::new(),
        length: payload.len(),
        payload,
    };
    Ok((packet, Free { identification: chain.fragment.is_none(), sources, ..Free::default() }))
}

/// The IPv4 address of the interface that an ICMPv4 error without a source of its own leaves by.
fn address_of_way_out(config: &Config, destination: Ipv4Addr, hairpin: bool) -> Option<Ipv4Addr> {
    let next = if hairpin {
        let mapped = config.map_ipv4_pair(destination, destination, EamAllowed::BOTH, &config.arrival6);
        IpAddr::V6(mapped.1?.address)
    } else {
        IpAddr::V4(destination)
    };
    config.route(next)?.ipv4
}
