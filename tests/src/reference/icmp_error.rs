//! ICMP errors: types, codes, pointers, MTUs, the packet inside and the extensions behind it (RFC 7915 sections 4.2, 4.3,
//! 5.2 and 5.3, RFC 4884, RFC 5837).
//!
//! The messages returned have a checksum field of 0: the caller knows the addresses that an ICMPv6 checksum covers.

use std::net::Ipv6Addr;

use super::address::EamAllowed;
use super::packet::{
    Chain, Extent, Fragment, ICMPV4_ERRORS, Ipv4Packet, Ipv6Header, Ipv6Packet, is_icmpv6_error_type, protocol, walk,
};
use super::{Arrival, Config, Stop, checksum, transport};

/// An ICMPv6 message of an error: 1280 bytes less the IPv6 header and the first 8 bytes of the message.
const ICMPV6_BUDGET: usize = 1280 - 40 - 8;
/// An ICMPv4 message of an error: 576 bytes less the IPv4 header and the first 8 bytes of the message.
const ICMPV4_BUDGET: usize = 576 - 20 - 8;
/// RFC 4884 section 3: the least length of the original-datagram field in front of an extension.
const LEAST_FIELD: usize = 128;

/// What is known about the way of an error besides the message.
pub(super) struct Path<'a> {
    /// The interface it arrived by.
    pub(super) arrival: &'a Arrival,
    /// The next hop's MTU in the outgoing family, if there is a route.
    pub(super) next_hop_mtu: Option<u32>,
    /// The MTU of that interface, if it came by it in the family it is translated from.
    pub(super) arrival_mtu: Option<u32>,
}

/// What RFC 4884 makes of the bytes after an ICMP message's first 8.
struct Body {
    /// The original-datagram field, as long as its length attribute says.
    field: Vec<u8>,
    /// The extension structure after it, if there is a length attribute.
    extension: Option<Vec<u8>>,
}

impl Body {
    /// `length` is the length attribute in bytes, 0 for none.
    fn split(message: &[u8], length: usize) -> Self {
        let body = &message[8..];
        // One that points into the inner header cannot be true either.
        let inner_header = match body.first() {
            Some(first) if first >> 4 == 4 => usize::from(first & 0xf) * 4,
            _ => 40,
        };
        if length == 0 || length > body.len() || length < inner_header {
            return Self { field: body.to_vec(), extension: None };
        }
        Self { field: body[..length].to_vec(), extension: Some(body[length..].to_vec()) }
    }

    /// Removes the extension, and the zeros that filled the field up to it after the end of the IPv4 packet it quotes.
    fn remove_extension(&mut self) {
        if self.extension.take().is_some() {
            self.field.truncate(checksum::word(&self.field, 2).map_or(0, usize::from));
        }
    }

    /// The length attribute in units of `unit` bytes, and the bytes after the message's first 8, no more than `budget`.
    fn join(mut self, unit: usize, budget: usize) -> (u8, Vec<u8>) {
        let Some(mut extension) = self.extension else {
            self.field.truncate(budget);
            return (0, self.field);
        };
        self.field.resize(self.field.len().max(LEAST_FIELD).next_multiple_of(unit), 0);
        if self.field.len() + extension.len() > budget {
            let room = budget.saturating_sub(extension.len()) / unit * unit;
            self.field.truncate(room.max(LEAST_FIELD));
        }
        extension.truncate(budget - self.field.len());
        let units = u8::try_from(self.field.len() / unit).expect("the budget is less than 256 units");
        self.field.extend_from_slice(&extension);
        (units, self.field)
    }
}

/// Translates an ICMPv4 error message of at least 8 bytes.
pub(super) fn four_to_six(
    config: &Config,
    message: &[u8],
    simple_hairpin: bool,
    path: &Path<'_>,
) -> Result<Vec<u8>, Stop> {
    let (icmp_type, code) = (message[0], message[1]);
    let (new_type, new_code) = match (icmp_type, code) {
        (3, 0 | 1 | 5..=8 | 11 | 12) => (1, 0),
        (3, 2) => (4, 1),
        (3, 3) => (1, 4),
        (3, 4) => (2, 0),
        (3, 9 | 10 | 13 | 15) => (1, 1),
        (11, code) => (3, code),
        (12, 0 | 2) => (4, 0),
        _ => return Err(Stop::Drop("icmp_type")),
    };
    let mut second_word = [0; 4];
    if icmp_type == 12 {
        let pointer = pointer_four_to_six(message[4]).ok_or(Stop::Drop("icmp_pointer"))?;
        second_word = pointer.to_be_bytes();
    } else if new_type == 4 {
        // Protocol Unreachable: the Next Header field.
        second_word = 6u32.to_be_bytes();
    }

    let mut body = Body::split(message, usize::from(message[5]) * 4);
    let has_length_attribute = matches!(new_type, 1 | 3);
    if !has_length_attribute {
        body.remove_extension();
    }
    let inner = inner_four_to_six(config, &body.field, simple_hairpin, path.arrival)?;
    if new_type == 2 {
        let total_length = checksum::word(&body.field, 2).expect("the inner header was read");
        let mtu = u32::from(checksum::word(message, 6).expect("8 bytes"));
        second_word = mtu_four_to_six(config, mtu, total_length, path).to_be_bytes();
    }
    let (units, body) = Body { field: inner, extension: body.extension }.join(8, ICMPV6_BUDGET);
    if has_length_attribute {
        second_word = [units, message[4], message[6], message[7]];
    }
    Ok(message_of(new_type, new_code, second_word, &body))
}

/// Translates an ICMPv6 error message of at least 8 bytes. `unmapped_source` is its IPv6 source if that maps to nothing.
pub(super) fn six_to_four(
    config: &Config,
    message: &[u8],
    unmapped_source: Option<Ipv6Addr>,
    path: &Path<'_>,
) -> Result<Vec<u8>, Stop> {
    let (icmp_type, code) = (message[0], message[1]);
    let (new_type, new_code) = match (icmp_type, code) {
        (1, 0 | 2 | 3) => (3, 1),
        (1, 1) => (3, 10),
        (1, 4) => (3, 3),
        (2, _) => (3, 4),
        (3, code) => (11, code),
        (4, 0) => (12, 0),
        (4, 1) => (3, 2),
        _ => return Err(Stop::Drop("icmp_type")),
    };
    let word = u32::from_be_bytes([message[4], message[5], message[6], message[7]]);
    let mut second_word = [0; 4];
    if new_type == 12 {
        second_word[0] = pointer_six_to_four(word).ok_or(Stop::Drop("icmp_pointer"))?;
    }

    let had_length_attribute = matches!(icmp_type, 1 | 3);
    let length = if had_length_attribute { usize::from(message[4]) * 8 } else { 0 };
    let mut body = Body::split(message, length);
    let (inner, fragment) = inner_six_to_four(config, &body.field)?;
    if icmp_type == 2 {
        second_word[2..].copy_from_slice(&mtu_six_to_four(word, fragment.is_some(), path).to_be_bytes());
    }
    if had_length_attribute {
        second_word = [message[5], 0, message[6], message[7]];
    }

    if let Some(source) = unmapped_source.filter(|_| config.interface_info) {
        body.extension = Some(with_interface_information(body.extension, source));
    }
    let (units, body) = Body { field: inner, extension: body.extension }.join(4, ICMPV4_BUDGET);
    second_word[1] = units;
    Ok(message_of(new_type, new_code, second_word, &body))
}

fn message_of(icmp_type: u8, code: u8, second_word: [u8; 4], body: &[u8]) -> Vec<u8> {
    let mut message = vec![icmp_type, code, 0, 0];
    message.extend_from_slice(&second_word);
    message.extend_from_slice(body);
    message
}

/// RFC 7915 figure 3.
fn pointer_four_to_six(pointer: u8) -> Option<u32> {
    Some(match pointer {
        0 => 0,
        1 => 1,
        2 | 3 => 4,
        8 => 7,
        9 => 6,
        12..=15 => 8,
        16..=19 => 24,
        _ => return None,
    })
}

/// RFC 7915 figure 6.
fn pointer_six_to_four(pointer: u32) -> Option<u8> {
    Some(match pointer {
        0 => 0,
        1 => 1,
        4 | 5 => 2,
        6 => 9,
        7 => 8,
        8..=23 => 12,
        24..=39 => 16,
        _ => return None,
    })
}

/// RFC 7915 section 4.2, code 4.
fn mtu_four_to_six(config: &Config, mtu: u32, inner_total_length: u16, path: &Path<'_>) -> u32 {
    let path_mtu = if mtu == 0 {
        let plateaus = config.mtu_plateaus.iter().copied();
        let usable = plateaus.filter(|plateau| *plateau >= 1280 && *plateau < inner_total_length);
        match usable.max() {
            Some(plateau) => u32::from(plateau),
            None => return 1280,
        }
    } else {
        mtu
    };
    let limits = [Some(path_mtu + 20), path.next_hop_mtu, path.arrival_mtu.map(|mtu| mtu + 20)];
    limits.into_iter().flatten().min().expect("the first is there").max(1280)
}

/// RFC 7915 section 5.2, type 2.
fn mtu_six_to_four(mtu: u32, inner_has_fragment_header: bool, path: &Path<'_>) -> u16 {
    let difference = if inner_has_fragment_header { 28 } else { 20 };
    let limits =
        [Some(mtu.saturating_sub(difference)), path.next_hop_mtu, path.arrival_mtu.map(|mtu| mtu.saturating_sub(20))];
    let mtu = limits.into_iter().flatten().min().expect("the first is there").max(68);
    u16::try_from(mtu).unwrap_or(u16::MAX)
}

/// Translates as much of an IPv4 packet as an error quotes.
fn inner_four_to_six(config: &Config, quoted: &[u8], simple_hairpin: bool, arrival: &Arrival) -> Result<Vec<u8>, Stop> {
    const UNREADABLE: Stop = Stop::Drop("inner_packet");
    let inner = Ipv4Packet::read(quoted, Extent::Quoted).ok_or(UNREADABLE)?;
    let allowed = EamAllowed { source: true, destination: !simple_hairpin };
    let (Some(source), Some(destination)) = config.map_ipv4_pair(inner.source, inner.destination, allowed, arrival)
    else {
        return Err(UNREADABLE);
    };
    if config.denies_ipv4(inner.source) || config.denies_ipv6(source.address) {
        return Err(Stop::Drop("denied_source"));
    }
    if config.denies_ipv4(inner.destination) || config.denies_ipv6(destination.address) {
        return Err(Stop::Drop("denied_destination"));
    }
    if config.forbidden_by_well_known_prefix(inner.source, source.rule)
        || config.forbidden_by_well_known_prefix(inner.destination, destination.rule)
    {
        return Err(Stop::Drop("well_known_prefix"));
    }

    let (source, destination) = (source.address, destination.address);
    let before = checksum::sum_of_ipv4_addresses(inner.source, inner.destination);
    let after = checksum::sum_of_ipv6_addresses(source, destination);
    let mut payload = inner.payload.clone();
    // What follows the packet's end is padding.
    let padding = payload.split_off(inner.length.min(payload.len()));
    match inner.protocol {
        protocol::IGMP => return Err(UNREADABLE),
        protocol::ICMP if inner.fragment_offset == 0 => {
            let pseudo = after + checksum::sum_of_length_and_protocol(inner.length, protocol::ICMPV6);
            match payload.first() {
                None => {}
                Some(8) => transport::retype_icmp(&mut payload, 128, 0, pseudo),
                Some(0) => transport::retype_icmp(&mut payload, 129, 0, pseudo),
                Some(icmp_type) if ICMPV4_ERRORS.contains(icmp_type) => return Err(Stop::Drop("inner_icmp_error")),
                Some(_) => return Err(UNREADABLE),
            }
        }
        other if inner.fragment_offset == 0 => transport::adjust(other, &mut payload, before, after),
        _ => {}
    }
    payload.extend(padding);
    let packet = Ipv6Packet {
        traffic_class: config.traffic_class.unwrap_or(inner.tos),
        protocol: if inner.protocol == protocol::ICMP { protocol::ICMPV6 } else { inner.protocol },
        hop_limit: inner.ttl,
        source,
        destination,
        fragment: inner.is_fragment().then(|| Fragment {
            offset: inner.fragment_offset,
            more: inner.more_fragments,
            identification: u32::from(inner.identification),
        }),
        length: inner.length,
        payload,
    };
    Ok(packet.to_bytes())
}

/// Translates as much of an IPv6 packet as an error quotes; also gives its Fragment Header.
fn inner_six_to_four(config: &Config, quoted: &[u8]) -> Result<(Vec<u8>, Option<Fragment>), Stop> {
    const UNREADABLE: Stop = Stop::Drop("inner_packet");
    let inner = Ipv6Header::read(quoted, Extent::Quoted).ok_or(UNREADABLE)?;
    let (Some(source), Some(destination)) = (config.map_ipv6(inner.source), config.map_ipv6(inner.destination)) else {
        return Err(UNREADABLE);
    };
    if config.denies_ipv6(inner.source) || config.denies_ipv4(source.address) {
        return Err(Stop::Drop("denied_source"));
    }
    if config.denies_ipv6(inner.destination) || config.denies_ipv4(destination.address) {
        return Err(Stop::Drop("denied_destination"));
    }
    if config.forbidden_by_well_known_prefix(source.address, source.rule)
        || config.forbidden_by_well_known_prefix(destination.address, destination.rule)
    {
        return Err(Stop::Drop("well_known_prefix"));
    }
    let Ok(Chain { protocol: upper, length: skipped, fragment }) = walk(inner.next_header, &inner.rest) else {
        return Err(UNREADABLE);
    };
    let length = inner.payload_length.checked_sub(skipped).ok_or(UNREADABLE)?;
    if 20 + length > usize::from(u16::MAX) {
        return Err(UNREADABLE);
    }

    let (source, destination) = (source.address, destination.address);
    let before = checksum::sum_of_ipv6_addresses(inner.source, inner.destination);
    let after = checksum::sum_of_ipv4_addresses(source, destination);
    let mut payload = inner.rest[skipped..].to_vec();
    let padding = payload.split_off(length.min(payload.len()));
    let first = fragment.is_none_or(|fragment| fragment.offset == 0);
    match upper {
        protocol::ICMPV6 if first => {
            let pseudo = before + checksum::sum_of_length_and_protocol(length, protocol::ICMPV6);
            match payload.first() {
                None => {}
                Some(128) => transport::retype_icmp(&mut payload, 8, pseudo, 0),
                Some(129) => transport::retype_icmp(&mut payload, 0, pseudo, 0),
                Some(icmp_type) if is_icmpv6_error_type(*icmp_type) => return Err(Stop::Drop("inner_icmp_error")),
                Some(_) => return Err(UNREADABLE),
            }
        }
        other if first => transport::adjust(other, &mut payload, before, after),
        _ => {}
    }
    payload.extend(padding);
    let packet = Ipv4Packet {
        tos: config.tos.unwrap_or(inner.traffic_class),
        identification: fragment.map_or(0, |fragment| (fragment.identification & 0xffff) as u16),
        dont_fragment: fragment.is_none() && 20 + length > 1260,
        more_fragments: fragment.is_some_and(|fragment| fragment.more),
        fragment_offset: fragment.map_or(0, |fragment| fragment.offset),
        ttl: inner.hop_limit,
        protocol: if upper == protocol::ICMPV6 { protocol::ICMP } else { upper },
        source,
        destination,
        options: Vec::new(),
        length,
        payload,
    };
    Ok((packet.to_bytes(), fragment))
}

/// Appends an Interface Information Object (RFC 5837 section 4) with the IPv6 source to an extension structure of version
/// 2, or makes one. What is no structure of version 2 that can be read to its end stays as it is, and so does one with no room
/// left for the object, or with one of the same role in it (RFC 5837 section 4.5).
fn with_interface_information(extension: Option<Vec<u8>>, source: Ipv6Addr) -> Vec<u8> {
    let mut object = vec![0, 24, 2, 0x04, 0, 2, 0, 0];
    object.extend_from_slice(&source.octets());
    let mut extension = extension.unwrap_or_default();
    if extension.is_empty() {
        extension = vec![0x20, 0, 0, 0];
        extension.append(&mut object);
        let field = checksum::compute(checksum::sum(&extension));
        checksum::set_word(&mut extension, 2, field);
        return extension;
    }
    let is_structure = extension.len() >= 4 && extension[0] >> 4 == 2;
    if !is_structure || extension.len() + object.len() > ICMPV4_BUDGET - LEAST_FIELD {
        return extension;
    }
    let mut objects = &extension[4..];
    while !objects.is_empty() {
        let [high, low, class, c_type, ..] = *objects else { return extension };
        let size = usize::from(u16::from_be_bytes([high, low]));
        let tells_of_the_arrival = class == 2 && c_type & 0xc0 == 0;
        if size < 4 || size > objects.len() || tells_of_the_arrival {
            return extension;
        }
        objects = &objects[size..];
    }
    let before = checksum::sum(&extension);
    extension.append(&mut object);
    let field = checksum::word(&extension, 2).expect("at least 4 bytes");
    if field != 0 {
        let after = checksum::sum(&extension);
        checksum::set_word(&mut extension, 2, checksum::update(field, before, after));
    }
    extension
}
