//! The Internet checksum (RFC 1071) as plain arithmetic modulo 65535.
//!
//! A checksum that covers some bytes is right when the sum of all its 16-bit words, itself included, is 0 modulo 65535.
//! What the sum is instead is the *error*. A translator that only ever updates a checksum by the difference it made keeps
//! that error, so every function here asks for the words that went and the words that came.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Arithmetic modulo this number is ones' complement arithmetic on 16-bit words.
const MODULUS: u64 = 0xffff;

/// The sum of the 16-bit words of `bytes` modulo 65535; an odd last byte is the high half of a word.
#[must_use]
pub fn sum(bytes: &[u8]) -> u64 {
    let mut total = 0u64;
    for word in bytes.chunks(2) {
        total += u64::from(word[0]) << 8 | word.get(1).copied().map_or(0, u64::from);
    }
    total % MODULUS
}

/// The sum of an IPv4 pseudo-header without its addresses' length and protocol: only the addresses.
#[must_use]
pub fn sum_of_ipv4_addresses(source: Ipv4Addr, destination: Ipv4Addr) -> u64 {
    sum(&source.octets()) + sum(&destination.octets())
}

/// The sum of the addresses in an IPv6 pseudo-header.
#[must_use]
pub fn sum_of_ipv6_addresses(source: Ipv6Addr, destination: Ipv6Addr) -> u64 {
    sum(&source.octets()) + sum(&destination.octets())
}

/// The sum of an upper-layer length and a protocol number, the rest of a pseudo-header.
#[must_use]
pub fn sum_of_length_and_protocol(length: usize, protocol: u8) -> u64 {
    let length = length as u64;
    (length >> 16) + (length & 0xffff) + u64::from(protocol)
}

/// A checksum field after the covered words summing to `before` were replaced by words summing to `after`.
///
/// The result is never 0xffff, as in a checksum computed from scratch: a sum that is not nothing at all is never +0.
#[must_use]
pub fn update(field: u16, before: u64, after: u64) -> u16 {
    let changed = u64::from(field) + before % MODULUS + (MODULUS - after % MODULUS);
    u16::try_from(changed % MODULUS).expect("a number modulo 65535 fits 16 bits")
}

/// The checksum of words summing to `covered`, the field itself counted as 0.
#[must_use]
pub fn compute(covered: u64) -> u16 {
    update(0, 0, covered)
}

/// UDP's way of writing a checksum: 0 says that there is none, so a sum of 0 is sent as 0xffff (RFC 768).
#[must_use]
pub fn as_udp(field: u16) -> u16 {
    if field == 0 { 0xffff } else { field }
}

/// The big-endian 16-bit word at `at`, or nothing if not both of its bytes are there.
#[must_use]
pub fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

/// Writes a big-endian 16-bit word at `at`.
pub fn set_word(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_the_example_of_rfc_1071() {
        // RFC 1071 section 3: 00 01 f2 03 f4 f5 f6 f7 sums to ddf2.
        assert_eq!(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
        assert_eq!(compute(0xddf2), !0xddf2);
    }

    #[test]
    fn updates_the_example_of_rfc_1624() {
        // RFC 1624 section 4: HC 0xdd2f, a field 0x5555 becomes 0x3285, HC' = 0x0000.
        assert_eq!(update(0xdd2f, 0x5555, 0x3285), 0x0000);
    }

    #[test]
    fn keeps_a_wrong_checksum_as_wrong() {
        let right = compute(sum(&[1, 2, 3, 4]));
        let wrong = right.wrapping_add(7);
        let updated_right = update(right, sum(&[1, 2]), sum(&[9, 9]));
        let updated_wrong = update(wrong, sum(&[1, 2]), sum(&[9, 9]));
        assert_eq!(updated_right, compute(sum(&[9, 9, 3, 4])));
        assert_eq!((u32::from(updated_wrong) + 0xffff - u32::from(updated_right)) % 0xffff, 7);
    }
}
