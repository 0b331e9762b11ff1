//! IP headers, options, extension headers, and what they carry.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;

pub(super) fn ipv4_packet(
    random: &mut Random,
    config: &Config,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    depth: Depth,
) -> Vec<u8> {
    let pseudo = checksum::sum_of_ipv4_addresses(source, destination);
    let (protocol, payload) = if is_error(random, depth) {
        // The packet inside went the other way, mostly.
        let inner_source = if random.percent(85) { destination } else { book::ipv4(random, config) };
        let inner_destination = if random.percent(20) { source } else { book::ipv4(random, config) };
        let quoted = ipv4_packet(random, config, inner_source, inner_destination, Depth::Inner);
        icmp_error(random, Family::Ipv4, pseudo, quoted)
    } else {
        transport(random, config, Family::Ipv4, pseudo)
    };
    let options = ipv4_options(random);
    let total_length = 20 + options.len() + payload.len();
    let dont_fragment = if random.percent(50) { 0x4000 } else { 0 };
    let (more_fragments, offset) = match random.below(100) {
        0..4 => (0x2000, 0),
        4..7 => (0x2000, random.between(1, 0x1fff) as u16),
        7..10 => (0, random.between(1, 0x1fff) as u16),
        _ => (0, 0),
    };
    let reserved = if random.percent(2) { 0x8000 } else { 0 };
    let mut header = vec![0x40 | u8::try_from(5 + options.len() / 4).expect("at most 15"), random.byte()];
    header.extend_from_slice(&u16::try_from(total_length).expect("short").to_be_bytes());
    header.extend_from_slice(&random.word().to_be_bytes());
    header.extend_from_slice(&(reserved | dont_fragment | more_fragments | offset).to_be_bytes());
    header.extend_from_slice(&[hop_limit(random, depth), protocol, 0, 0]);
    header.extend_from_slice(&source.octets());
    header.extend_from_slice(&destination.octets());
    header.extend_from_slice(&options);
    let field = checksum::compute(checksum::sum(&header));
    let field = if random.percent(1) { random.word() } else { field };
    checksum::set_word(&mut header, 10, field);
    header.extend_from_slice(&payload);
    header
}

/// Nothing in most packets; else options that fit, lie, or route.
pub(super) fn ipv4_options(random: &mut Random) -> Vec<u8> {
    let mut options = Vec::new();
    if !random.percent(12) {
        return options;
    }
    for _ in 0..random.between(1, 4) {
        match random.below(20) {
            0..6 => options.push(1),
            6..9 => {
                let length = random.between(2, 11);
                options.extend_from_slice(&[random.pick(&[7, 68, 148, 130, 200]), length as u8]);
                options.extend_from_slice(&random.bytes(length - 2));
            }
            9..15 => {
                let length = random.pick(&[3, 7, 11, 15]);
                let pointer = random.pick(&[4, 8, 12, 16, length - 1, length, length + 1, 0, 255]);
                options.extend_from_slice(&[random.pick(&[131, 137]), length, pointer]);
                options.extend_from_slice(&random.bytes(usize::from(length) - 3));
            }
            15 => options.extend_from_slice(&[random.pick(&[131, 137, 7]), random.pick(&[0, 1, 2, 60, 255])]),
            16 => options.push(random.byte()),
            _ => options.push(0),
        }
    }
    let end = random.pick(&[0, 0, 0, 1, 7]);
    options.resize(options.len().next_multiple_of(4), end);
    options.truncate(40);
    options
}

pub(super) fn ipv6_packet(
    random: &mut Random,
    config: &Config,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    depth: Depth,
) -> Vec<u8> {
    let pseudo = checksum::sum_of_ipv6_addresses(source, destination);
    let (protocol, payload) = if is_error(random, depth) {
        let inner_source = if random.percent(85) { destination } else { book::ipv6(random, config) };
        let inner_destination = if random.percent(20) { source } else { book::ipv6(random, config) };
        let quoted = ipv6_packet(random, config, inner_source, inner_destination, Depth::Inner);
        icmp_error(random, Family::Ipv6, pseudo, quoted)
    } else {
        transport(random, config, Family::Ipv6, pseudo)
    };
    let (next_header, chain) = extension_headers(random, protocol);
    let mut packet = (0x6000_0000 | random.double_word() & 0x0fff_ffff).to_be_bytes().to_vec();
    packet.extend_from_slice(&u16::try_from(chain.len() + payload.len()).expect("short").to_be_bytes());
    packet.extend_from_slice(&[next_header, hop_limit(random, depth)]);
    packet.extend_from_slice(&source.octets());
    packet.extend_from_slice(&destination.octets());
    packet.extend_from_slice(&chain);
    packet.extend_from_slice(&payload);
    packet
}

/// Extension headers in front of `protocol`, and the first one's number.
pub(super) fn extension_headers(random: &mut Random, protocol: u8) -> (u8, Vec<u8>) {
    if !random.percent(30) {
        return (protocol, Vec::new());
    }
    let mut kinds = Vec::new();
    let count = match random.below(20) {
        0 => random.pick(&[6, 9, 31, 32, 33]),
        1..7 => random.between(2, 3),
        _ => 1,
    };
    for _ in 0..count {
        kinds.push(random.pick(&[0, 60, 43]));
    }
    if random.percent(50) {
        let at = if random.percent(90) { kinds.len() } else { random.below(kinds.len()) };
        if random.percent(50) {
            kinds.clear();
        }
        kinds.insert(at.min(kinds.len()), 44);
    }
    let mut chain = Vec::new();
    for (index, kind) in kinds.iter().enumerate() {
        let next = kinds.get(index + 1).copied().unwrap_or(protocol);
        if *kind == 44 {
            let (offset, more) = match random.below(10) {
                0..4 => (0, 0),
                4..6 => (0, 1),
                6..8 => (random.between(1, 0x1fff) as u16, 1),
                _ => (random.between(1, 0x1fff) as u16, 0),
            };
            let reserved = if random.percent(10) { 6 } else { 0 };
            let next = if random.percent(3) { random.pick(&[0, 43, 44, 50, 51, 60, 135, 139, 140]) } else { next };
            chain.extend_from_slice(&[next, if random.percent(10) { random.byte() } else { 0 }]);
            chain.extend_from_slice(&(offset << 3 | reserved | more).to_be_bytes());
            chain.extend_from_slice(&random.double_word().to_be_bytes());
            continue;
        }
        let units = match random.below(20) {
            0 if count < 31 => random.between(3, 20),
            1..5 if count < 31 => random.between(1, 2),
            _ => 0,
        };
        let mut header = random.bytes(8 + units * 8);
        header[0] = next;
        header[1] = if random.percent(1) { random.byte() } else { units as u8 };
        if *kind == 43 && random.percent(80) {
            header[3] = 0;
        }
        chain.extend_from_slice(&header);
    }
    (kinds[0], chain)
}
