//! Packets: valid ones of every kind the rules speak of, then those that lie, and those that something happened to.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::random::Random;
use crate::reference::address::{EamAllowed, embed};
use crate::reference::{Config, Family, Outcome, checksum, translate};

/// Addresses that some rule is about, and some that none is about.
mod book {
    use super::{Config, Ipv4Addr, Ipv6Addr, Random, embed};

    const ILLEGAL4: [&str; 9] = [
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "169.254.7.7",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "169.254.0.1",
    ];
    const ILLEGAL6: [&str; 6] = ["::", "::1", "fe80::1", "febf::1", "ff02::1", "ff0e::1234"];
    /// On both sides of every border of the ranges that are not global.
    const BORDERS4: [&str; 22] = [
        "9.255.255.255",
        "10.0.0.0",
        "11.0.0.0",
        "100.63.255.255",
        "100.64.0.0",
        "100.128.0.0",
        "172.15.255.255",
        "172.16.0.0",
        "172.32.0.0",
        "191.255.255.255",
        "192.0.0.1",
        "192.0.1.0",
        "192.0.2.77",
        "192.168.0.1",
        "192.169.0.1",
        "198.17.255.255",
        "198.18.0.0",
        "198.20.0.0",
        "198.51.100.99",
        "203.0.113.3",
        "223.255.255.255",
        "128.0.0.1",
    ];

    /// An IPv4 address.
    pub(super) fn ipv4(random: &mut Random, config: &Config) -> Ipv4Addr {
        let parse = |text: &str| text.parse().expect("an IPv4 address in a table");
        match random.below(1000) {
            n if n < 480 && !config.eams.is_empty() => eam4(random, config),
            n if n < 520 && !config.deny4.is_empty() => {
                let net = random.pick(&config.deny4);
                Ipv4Addr::from(u32::from(net.network()) | random.double_word() & u32::from(net.hostmask()))
            }
            n if n < 550 && !config.own4.is_empty() => random.pick(&config.own4),
            n if n < 590 => parse(random.pick(&ILLEGAL4)),
            n if n < 660 => parse(random.pick(&BORDERS4)),
            n if n < 760 && !config.routes.is_empty() => match random.pick(&config.routes).destination {
                ipnet::IpNet::V4(net) if net.prefix_len() > 0 => {
                    Ipv4Addr::from(u32::from(net.network()) | random.double_word() & u32::from(net.hostmask()))
                }
                _ => Ipv4Addr::from(0x0808_0800 | random.double_word() & 0xff),
            },
            n if n < 950 => Ipv4Addr::from(0x0808_0800 | random.double_word() & 0x7ff),
            _ => Ipv4Addr::from(random.double_word()),
        }
    }

    fn eam4(random: &mut Random, config: &Config) -> Ipv4Addr {
        let net = random.pick(&config.eams).ipv4;
        Ipv4Addr::from(u32::from(net.network()) | random.double_word() & u32::from(net.hostmask()))
    }

    fn within6(random: &mut Random, net: ipnet::Ipv6Net) -> Ipv6Addr {
        let host = u128::from(random.bits()) << 64 | u128::from(random.bits());
        let host = match random.below(4) {
            0 => host,
            1 => host & 0xff,
            2 => host & !0u128 << 64,
            _ => 0,
        };
        Ipv6Addr::from(u128::from(net.network()) | host & u128::from(net.hostmask()))
    }

    /// An IPv6 address.
    pub(super) fn ipv6(random: &mut Random, config: &Config) -> Ipv6Addr {
        match random.below(1000) {
            n if n < 350 && !config.eams.is_empty() => {
                let net = random.pick(&config.eams).ipv6;
                within6(random, net)
            }
            n if n < 800 && !config.prefixes.is_empty() => {
                let prefix = random.pick(&config.prefixes);
                let address = embed(prefix, ipv4(random, config));
                if random.percent(10) && prefix.prefix_len() < 96 {
                    // Octet u and the suffix are ignored whatever they hold.
                    let noise = u128::from(random.bits()) & u128::MAX >> (usize::from(prefix.prefix_len()) + 32 + 8);
                    Ipv6Addr::from(u128::from(address) | noise | u128::from(random.byte()) << 56)
                } else {
                    address
                }
            }
            n if n < 840 && !config.deny6.is_empty() => {
                let net = random.pick(&config.deny6);
                within6(random, net)
            }
            n if n < 860 && !config.own6.is_empty() => random.pick(&config.own6),
            n if n < 890 => random.pick(&ILLEGAL6).parse().expect("an IPv6 address in a table"),
            n if n < 980 => Ipv6Addr::from(0x2001_0db8_ffff_0000_u128 << 64 | u128::from(random.bits() & 0xff)),
            _ => Ipv6Addr::from(u128::from(random.bits()) << 64 | u128::from(random.bits())),
        }
    }
}

/// A packet from its IP header on, and the EtherType's family.
#[must_use]
pub fn packet(random: &mut Random, config: &Config) -> (Family, Vec<u8>) {
    let family = if random.percent(50) { Family::Ipv4 } else { Family::Ipv6 };
    let mut bytes = match family {
        Family::Ipv4 => {
            let (source, destination) = redraw(random, |random| {
                let (source, destination) = (book::ipv4(random, config), book::ipv4(random, config));
                let mapped = config.map_ipv4_pair(source, destination, EamAllowed::BOTH, &config.arrival4);
                let in_scope =
                    matches!(mapped, (Some(source), Some(destination)) if config.in_scope(&source, &destination));
                ((source, destination), in_scope)
            });
            ipv4_packet(random, config, source, destination, Depth::Outer)
        }
        Family::Ipv6 => {
            let (source, destination) = redraw(random, |random| {
                let (source, destination) = (book::ipv6(random, config), book::ipv6(random, config));
                let mapped = (config.map_ipv6(source), config.map_ipv6(destination));
                let in_scope =
                    matches!(mapped, (Some(source), Some(destination)) if config.in_scope(&source, &destination));
                ((source, destination), in_scope)
            });
            ipv6_packet(random, config, source, destination, Depth::Outer)
        }
    };
    mishap(random, family, &mut bytes);
    if random.percent(1) {
        aim_at_zero(config, family, &mut bytes);
    }
    (family, bytes)
}

/// Packets in no scope are all alike: of most of them, other addresses are tried.
fn redraw<T>(random: &mut Random, mut draw: impl FnMut(&mut Random) -> (T, bool)) -> T {
    let tries = if random.percent(70) { 4 } else { 0 };
    for _ in 0..tries {
        if let (drawn, true) = draw(random) {
            return drawn;
        }
    }
    draw(random).0
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    Outer,
    Inner,
}

/// What may happen to a packet on its way to the translator.
fn mishap(random: &mut Random, family: Family, bytes: &mut Vec<u8>) {
    match random.below(1000) {
        // Ethernet padding, and more of it than there should be.
        0..60 => {
            let padding = random.between(1, 46);
            let padding = random.bytes(padding);
            bytes.extend_from_slice(&padding);
        }
        60..90 => bytes.truncate(random.below(bytes.len())),
        90..130 => {
            for _ in 0..random.between(1, 4) {
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }
            if random.percent(70) {
                fix_ipv4_checksum(family, bytes);
            }
        }
        130..170 => {
            let at = random.below(bytes.len().min(80));
            bytes[at] = random.byte();
            if random.percent(80) {
                fix_ipv4_checksum(family, bytes);
            }
        }
        170..190 => {
            let at = if family == Family::Ipv4 { 2 } else { 4 };
            let length = checksum::word(bytes, at).unwrap_or(0);
            let step = random.between(1, 12) as u16;
            let length = match random.below(4) {
                0 => random.word(),
                1 => length.wrapping_add(step),
                _ => length.wrapping_sub(step),
            };
            if bytes.len() > at + 1 {
                checksum::set_word(bytes, at, length);
            }
            fix_ipv4_checksum(family, bytes);
        }
        _ => {}
    }
}

/// Changes the transport checksum so that it becomes 0 by translation: the one value that is written differently in UDP.
fn aim_at_zero(config: &Config, family: Family, bytes: &mut [u8]) {
    let place = |packet: &[u8]| -> Option<usize> {
        let (protocol, header_length) = if packet.first()? >> 4 == 4 {
            (*packet.get(9)?, usize::from(packet[0] & 0x0f) * 4)
        } else {
            (*packet.get(6)?, 40)
        };
        let offset = match protocol {
            6 => 16,
            17 | 33 | 136 => 6,
            1 | 58 => 2,
            _ => return None,
        };
        Some(header_length + offset)
    };
    let Outcome::Translate(translated) = translate(config, family, bytes) else { return };
    let (Some(from), Some(to)) = (place(bytes), place(&translated.bytes)) else { return };
    if let (Some(before), Some(after)) = (checksum::word(bytes, from), checksum::word(&translated.bytes, to)) {
        checksum::set_word(bytes, from, checksum::update(before, 0, u64::from(after)));
    }
}

fn fix_ipv4_checksum(family: Family, bytes: &mut [u8]) {
    let header_length = bytes.first().map_or(0, |byte| usize::from(byte & 0x0f) * 4);
    if family == Family::Ipv4 && header_length >= 20 && bytes.len() >= header_length {
        checksum::set_word(bytes, 10, 0);
        let field = checksum::compute(checksum::sum(&bytes[..header_length]));
        checksum::set_word(bytes, 10, field);
    }
}

/// A payload length: mostly short, often about a border that some MTU draws.
fn payload_length(random: &mut Random, config: &Config) -> usize {
    let longest = config.arrival4.mtu as usize - 160;
    match random.below(100) {
        0..70 => random.below(80),
        70..78 => random.between(100, 600),
        78..82 => random.between(1190, 1215),
        82..87 => random.between(1215, 1245),
        87..91 => random.between(1245, 1290),
        91..95 => random.between(1430, 1485),
        95..97 => random.between(930, 1000),
        97 => random.between(longest - 400, longest),
        _ => random.below(longest),
    }
}

/// The protocol number and message of a packet that is no ICMP error; the checksum is right if `pseudo` is the sum of the
/// addresses.
fn transport(random: &mut Random, config: &Config, family: Family, pseudo: u64) -> (u8, Vec<u8>) {
    let length = payload_length(random, config);
    let mut payload = random.bytes(length);
    let (protocol, header_length, checksum_at) = match random.below(100) {
        0..30 => (6, 20, Some(16)),
        30..60 => (17, 8, Some(6)),
        60..66 => (136, 8, Some(6)),
        66..72 => (33, 12, Some(6)),
        72..90 => return icmp_query(random, family, pseudo, payload),
        90..95 => (random.pick(&[47, 50, 51, 132, 2, 4, 41, 59, 89, 135, 139, 140]), 0, None),
        95..97 => (random.pick(&[0, 43, 44, 60, 1, 58]), 0, None),
        _ => (random.byte(), 0, None),
    };
    let header = random.bytes(header_length);
    payload.splice(0..0, header);
    if protocol == 17 && header_length == 8 {
        let length = match random.below(20) {
            0 => random.word(),
            1 => u16::try_from(random.below(payload.len() + 20)).expect("short"),
            _ => u16::try_from(payload.len()).expect("short"),
        };
        checksum::set_word(&mut payload, 4, length);
    }
    if let Some(at) = checksum_at {
        checksum::set_word(&mut payload, at, 0);
        let pseudo = pseudo + checksum::sum_of_length_and_protocol(payload.len(), protocol);
        let right = checksum::compute(pseudo + checksum::sum(&payload));
        let field = match random.below(40) {
            0..3 => random.word(),
            3 => 0xffff,
            4..7 => 0,
            _ => right,
        };
        checksum::set_word(&mut payload, at, field);
    }
    if random.percent(3) {
        payload.truncate(random.below(header_length + 1));
    }
    (protocol, payload)
}

fn icmp_protocol(family: Family) -> u8 {
    match family {
        Family::Ipv4 => 1,
        Family::Ipv6 => 58,
    }
}

fn icmp_query(random: &mut Random, family: Family, pseudo: u64, payload: Vec<u8>) -> (u8, Vec<u8>) {
    let icmp_type = match (family, random.below(100)) {
        (Family::Ipv4, 0..80) => random.pick(&[0, 8]),
        (Family::Ipv4, 80..97) => random.pick(&[9, 10, 13, 14, 15, 16, 17, 18]),
        (Family::Ipv6, 0..80) => random.pick(&[128, 129]),
        (Family::Ipv6, 80..97) => random.pick(&[130, 131, 132, 133, 134, 135, 136, 137, 143]),
        _ => random.byte(),
    };
    let code = if random.percent(90) { 0 } else { random.byte() };
    let mut message = vec![icmp_type, code, 0, 0];
    message.extend_from_slice(&random.bytes(4));
    message.extend_from_slice(&payload);
    (icmp_protocol(family), icmp_checksum(random, family, pseudo, message))
}

fn icmp_checksum(random: &mut Random, family: Family, pseudo: u64, mut message: Vec<u8>) -> Vec<u8> {
    checksum::set_word(&mut message, 2, 0);
    let pseudo = match family {
        Family::Ipv4 => 0,
        Family::Ipv6 => pseudo + checksum::sum_of_length_and_protocol(message.len(), 58),
    };
    let right = checksum::compute(pseudo + checksum::sum(&message));
    let field = match random.below(30) {
        0 => random.word(),
        1 => random.pick(&[0, 0xffff]),
        _ => right,
    };
    checksum::set_word(&mut message, 2, field);
    if random.percent(2) {
        message.truncate(random.below(9));
    }
    message
}

/// An ICMP error about `quoted`.
fn icmp_error(random: &mut Random, family: Family, pseudo: u64, mut quoted: Vec<u8>) -> (u8, Vec<u8>) {
    let (icmp_type, code) = match family {
        Family::Ipv4 => match random.below(100) {
            0..45 => (3, random.pick(&[0, 1, 2, 3, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16])),
            45..65 => (3, 4),
            65..80 => (11, random.pick(&[0, 1, 2])),
            80..95 => (12, random.pick(&[0, 0, 0, 1, 2, 3])),
            _ => (random.pick(&[3, 4, 5, 6, 11, 12]), random.byte()),
        },
        Family::Ipv6 => match random.below(100) {
            0..40 => (1, random.pick(&[0, 1, 2, 3, 4, 5, 6, 7])),
            40..60 => (2, random.pick(&[0, 0, 0, 1])),
            60..80 => (3, random.pick(&[0, 1, 2])),
            80..95 => (4, random.pick(&[0, 0, 0, 1, 2, 3])),
            _ => (random.pick(&[0, 1, 2, 3, 4, 5, 100, 127]), random.byte()),
        },
    };
    let mut second_word = random.pick(&[0u32, 0, 0, 0x1234_5678]).to_be_bytes();
    let is_mtu = matches!((family, icmp_type, code), (Family::Ipv4, 3, 4) | (Family::Ipv6, 2, _));
    if is_mtu {
        let mtu = match random.below(10) {
            0..2 => 0,
            2 => random.pick(&[19, 20, 27, 28, 68, 67, 88, 96, 0xffff]),
            3 => random.word(),
            _ => random.pick(&[1006, 1260, 1279, 1280, 1281, 1300, 1380, 1400, 1420, 1480, 1500, 1520, 9000]),
        };
        let mtu = if random.percent(3) { random.double_word() } else { u32::from(mtu) };
        second_word = match family {
            Family::Ipv4 => [random.pick(&[0, 0, 0, 9]), 0, (mtu >> 8) as u8, mtu as u8],
            Family::Ipv6 => mtu.to_be_bytes(),
        };
    } else if matches!((family, icmp_type), (Family::Ipv4, 12)) {
        second_word[0] = if random.percent(95) { random.below(22) as u8 } else { random.byte() };
    } else if matches!((family, icmp_type), (Family::Ipv6, 4)) {
        let pointer = random.below(44) as u32;
        second_word = (if random.percent(95) { pointer } else { random.double_word() }).to_be_bytes();
    }

    // How much of the packet a router quotes: all, 8 bytes of transport, or as it happens.
    match random.below(10) {
        0..4 => {}
        4..6 => quoted.truncate(if family == Family::Ipv4 { 28 } else { 48 }),
        6..8 => quoted.truncate(random.between(0, quoted.len())),
        _ => quoted.truncate(random.between(0, 64)),
    }
    let unit = if family == Family::Ipv4 { 4 } else { 8 };
    let length_at = if family == Family::Ipv4 { 1 } else { 0 };
    let has_length_attribute = match family {
        Family::Ipv4 => matches!(icmp_type, 3 | 11 | 12),
        Family::Ipv6 => matches!(icmp_type, 1 | 3),
    };
    if random.percent(35) {
        let padded = if random.percent(85) { quoted.len().max(128) } else { quoted.len() };
        quoted.resize(padded.next_multiple_of(unit), 0);
        let units = u8::try_from(quoted.len() / unit).unwrap_or(255);
        if has_length_attribute {
            second_word[length_at] = units;
        }
        let extension = extension_structure(random);
        quoted.extend_from_slice(&extension);
    }
    if has_length_attribute && random.percent(8) {
        second_word[length_at] = match random.below(3) {
            0 => random.byte(),
            1 => u8::try_from(quoted.len() / unit).unwrap_or(255),
            _ => second_word[length_at].wrapping_add(random.pick(&[1, 255, 2, 254])),
        };
    }
    let mut message = vec![icmp_type, code, 0, 0];
    message.extend_from_slice(&second_word);
    message.extend_from_slice(&quoted);
    (icmp_protocol(family), icmp_checksum(random, family, pseudo, message))
}

/// RFC 4884 section 7, mostly.
fn extension_structure(random: &mut Random) -> Vec<u8> {
    if random.percent(10) {
        let length = random.below(40);
        return random.bytes(length);
    }
    let mut structure = vec![0x20, 0, 0, 0];
    if random.percent(5) {
        structure[0] = random.byte();
    }
    for _ in 0..random.between(0, 3) {
        let length = match random.below(20) {
            0 => random.between(60, 130),
            1 => 0,
            _ => random.between(1, 6),
        };
        let payload = random.bytes(length * 4);
        structure.extend_from_slice(&u16::try_from(payload.len() + 4).expect("short").to_be_bytes());
        structure.extend_from_slice(&[random.pick(&[1, 2, 3, 247]), random.byte()]);
        structure.extend_from_slice(&payload);
    }
    let field = match random.below(10) {
        0 => random.word(),
        1 => 0,
        _ => checksum::compute(checksum::sum(&structure)),
    };
    checksum::set_word(&mut structure, 2, field);
    if random.percent(5) {
        structure.truncate(random.below(structure.len()));
    }
    structure
}

fn hop_limit(random: &mut Random, depth: Depth) -> u8 {
    match random.below(100) {
        0..3 => random.below(3) as u8,
        3..10 if depth == Depth::Inner => random.below(3) as u8,
        3..20 => random.byte(),
        _ => random.pick(&[64, 63, 255, 128]),
    }
}

fn is_error(random: &mut Random, depth: Depth) -> bool {
    random.percent(if depth == Depth::Outer { 30 } else { 4 })
}

fn ipv4_packet(random: &mut Random, config: &Config, source: Ipv4Addr, destination: Ipv4Addr, depth: Depth) -> Vec<u8> {
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
fn ipv4_options(random: &mut Random) -> Vec<u8> {
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

fn ipv6_packet(random: &mut Random, config: &Config, source: Ipv6Addr, destination: Ipv6Addr, depth: Depth) -> Vec<u8> {
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
fn extension_headers(random: &mut Random, protocol: u8) -> (u8, Vec<u8>) {
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

#[cfg(test)]
mod tests {
    use super::super::configs;
    use super::*;

    /// What the reference gives is a packet whatever it was given: its lengths are those of its bytes, its header checksum
    /// is right.
    #[test]
    fn the_reference_makes_readable_packets_of_anything() {
        for named in configs::all() {
            let mut random = Random::new(7);
            for _ in 0..4000 {
                let (family, bytes) = packet(&mut random, &named.config);
                let made = match translate(&named.config, family, &bytes) {
                    Outcome::Translate(packet) | Outcome::ToKernelTranslated(packet) => packet.bytes,
                    Outcome::Refuse { icmp, .. } => icmp,
                    _ => continue,
                };
                let length = if made[0] >> 4 == 4 {
                    let (header, _) = etherparse::Ipv4Header::from_slice(&made).expect("an IPv4 header");
                    assert_eq!(header.calc_header_checksum(), header.header_checksum);
                    usize::from(header.total_len)
                } else {
                    let (header, _) = etherparse::Ipv6Header::from_slice(&made).expect("an IPv6 header");
                    40 + usize::from(header.payload_length)
                };
                assert_eq!(length, made.len(), "{}: {bytes:02x?} became {made:02x?}", named.name);
            }
        }
    }
}
