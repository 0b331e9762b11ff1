//! Packets: valid ones of every kind the rules speak of, then those that lie, and those that something happened to.

mod book;
mod headers;
mod icmp;

use self::headers::{ipv4_packet, ipv6_packet};
use self::icmp::{icmp_error, icmp_query};
use super::random::Random;
use crate::reference::address::EamAllowed;
use crate::reference::{Config, Family, Outcome, checksum, translate};

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
