//! ICMP errors of the relay's own (`docs/translation.md` section 10).

use std::net::Ipv4Addr;

use super::address::is_illegal_ipv4;
use super::packet::{
    Extent, Ipv4Packet, Ipv6Packet, ipv4_addresses, ipv6_addresses, is_icmpv4_error, is_icmpv6_error_type, protocol,
    upper_layer,
};
use super::{Answer, Config, Family, checksum};

/// The answer to a packet, if it may be answered.
pub(super) fn answer(config: &Config, family: Family, original: &[u8], answer: Answer) -> Option<Vec<u8>> {
    if !config.icmp_errors {
        return None;
    }
    match family {
        Family::Ipv4 => icmpv4(config, original, answer),
        Family::Ipv6 => icmpv6(config, original, answer),
    }
}

/// RFC 1812 section 4.3.2.
fn icmpv4(config: &Config, original: &[u8], answer: Answer) -> Option<Vec<u8>> {
    let (source, destination) = ipv4_addresses(original)?;
    let fragment_offset = checksum::word(original, 6)? & 0x1fff;
    let one_host = |address: Ipv4Addr| {
        !(address.is_multicast() || address.is_broadcast() || address.is_unspecified() || address.is_loopback())
    };
    // RFC 1812 section 4.3.2.7: nor to a source with a network prefix of 0, or of class E.
    let answerable = |address: Ipv4Addr| address.is_link_local() || !is_illegal_ipv4(address);
    if is_icmpv4_error(original) || fragment_offset != 0 || !one_host(destination) || !answerable(source) {
        return None;
    }
    let (icmp_type, code, mtu) = match answer {
        Answer::Prohibited => (3, 13, 0),
        Answer::TimeExceeded => (11, 0, 0),
        Answer::SourceRouteFailed => (3, 5, 0),
        Answer::TooBig { mtu } => (3, 4, u16::try_from(mtu).unwrap_or(u16::MAX)),
        Answer::ParameterProblem { .. } => unreachable!("an answer about IPv6"),
    };
    let total_length = usize::from(checksum::word(original, 2)?).min(original.len());
    let mut message = vec![icmp_type, code, 0, 0, 0, 0];
    message.extend_from_slice(&mtu.to_be_bytes());
    message.extend_from_slice(&original[..total_length.min(576 - 28)]);
    let field = checksum::compute(checksum::sum(&message));
    checksum::set_word(&mut message, 2, field);
    // RFC 1812 4.3.2.4: the address of the interface that it leaves by; what the program cannot forward goes back.
    let arrival = config.arrival4.ipv4()?;
    let leaves_by = config.route(source.into()).filter(|route| route.forwards);
    let packet = Ipv4Packet {
        tos: 0xc0,
        identification: 0,
        dont_fragment: false,
        more_fragments: false,
        fragment_offset: 0,
        ttl: 64,
        protocol: protocol::ICMP,
        source: leaves_by.and_then(|route| route.ipv4).unwrap_or(arrival),
        destination: source,
        options: Vec::new(),
        length: message.len(),
        payload: message,
    };
    debug_assert!(Ipv4Packet::read(&packet.to_bytes(), Extent::Frame).is_some());
    Some(packet.to_bytes())
}

/// RFC 4443 section 2.4.
fn icmpv6(config: &Config, original: &[u8], answer: Answer) -> Option<Vec<u8>> {
    let (source, destination) = ipv6_addresses(original)?;
    for address in [source, destination] {
        if address.is_multicast() || address.is_unspecified() || address.is_loopback() {
            return None;
        }
    }
    // What the original is cannot be told when the walk does not reach the upper layer: then it might be an error.
    let (upper, message) = upper_layer(original)?;
    // So in a later fragment of which the first has an extension header.
    if message.is_none() && protocol::EXTENSIONS_AFTER_FRAGMENT.contains(&upper) {
        return None;
    }
    if upper == protocol::ICMPV6 {
        let icmp_type = *message?.first()?;
        if is_icmpv6_error_type(icmp_type) || icmp_type == 137 || matches!(answer, Answer::Prohibited) {
            return None;
        }
    }
    let (icmp_type, code, second_word) = match answer {
        Answer::Prohibited => (1, 1, 0),
        Answer::TimeExceeded => (3, 0, 0),
        Answer::ParameterProblem { pointer } => (4, 0, pointer),
        Answer::TooBig { mtu } => (2, 0, mtu),
        Answer::SourceRouteFailed => unreachable!("an answer about IPv4"),
    };
    let length = (40 + usize::from(checksum::word(original, 4)?)).min(original.len());
    let mut message = vec![icmp_type, code, 0, 0];
    message.extend_from_slice(&second_word.to_be_bytes());
    message.extend_from_slice(&original[..length.min(1280 - 48)]);
    let relay = config.arrival6.ipv6()?;
    let pseudo = checksum::sum_of_ipv6_addresses(relay, source)
        + checksum::sum_of_length_and_protocol(message.len(), protocol::ICMPV6);
    let field = checksum::compute(pseudo + checksum::sum(&message));
    checksum::set_word(&mut message, 2, field);
    let packet = Ipv6Packet {
        traffic_class: 0,
        protocol: protocol::ICMPV6,
        hop_limit: 64,
        source: relay,
        destination: source,
        fragment: None,
        length: message.len(),
        payload: message,
    };
    Some(packet.to_bytes())
}
