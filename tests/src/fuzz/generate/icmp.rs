//! ICMP: queries, errors, extensions.

use crate::fuzz::random::Random;
use crate::reference::{Family, checksum};

pub(super) fn icmp_protocol(family: Family) -> u8 {
    match family {
        Family::Ipv4 => 1,
        Family::Ipv6 => 58,
    }
}

pub(super) fn icmp_query(random: &mut Random, family: Family, pseudo: u64, payload: Vec<u8>) -> (u8, Vec<u8>) {
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

pub(super) fn icmp_checksum(random: &mut Random, family: Family, pseudo: u64, mut message: Vec<u8>) -> Vec<u8> {
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
pub(super) fn icmp_error(random: &mut Random, family: Family, pseudo: u64, mut quoted: Vec<u8>) -> (u8, Vec<u8>) {
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
pub(super) fn extension_structure(random: &mut Random) -> Vec<u8> {
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
