//! Ones' complement arithmetic: sums and incremental updates (RFC 1624).
//!
//! A checksum is never recomputed where it can be updated: what was wrong comes out exactly as wrong, and the payload is
//! never read. All sums here are of 16-bit words in *network* order as numbers in host order, unfolded in 64 bits.

use crate::address::Ipv6;

/// An unfolded ones' complement sum. Adding what is new and the complement of what is gone turns an old checksum into the new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(pub u64);

impl Sum {
    /// Of nothing.
    pub const ZERO: Self = Self(0);

    /// With a 16-bit word added.
    #[inline(always)]
    #[must_use]
    pub const fn add16(self, word: u16) -> Self {
        Self(self.0 + word as u64)
    }

    /// With a 32-bit number (two words) added.
    #[inline(always)]
    #[must_use]
    pub const fn add32(self, words: u32) -> Self {
        // 2^16 ≡ 1 modulo 0xffff: both words may be added as they stand, folding brings them to 16 bits.
        Self(self.0 + words as u64)
    }

    /// With a 32-bit number taken away: its complement added.
    #[inline(always)]
    #[must_use]
    pub const fn sub32(self, words: u32) -> Self {
        self.add32(!words)
    }

    /// With a 64-bit number (four words) added.
    #[inline(always)]
    #[must_use]
    pub const fn add64(self, words: u64) -> Self {
        Self(self.0 + (words >> 32) + (words & 0xffff_ffff))
    }

    /// With an IPv6 address added.
    #[inline(always)]
    #[must_use]
    pub const fn add_ipv6(self, address: Ipv6) -> Self {
        self.add64(address.hi).add64(address.lo)
    }

    /// With an IPv6 address taken away: its complement added.
    #[inline(always)]
    #[must_use]
    pub const fn sub_ipv6(self, address: Ipv6) -> Self {
        self.add64(!address.hi).add64(!address.lo)
    }

    /// With another sum added.
    #[inline(always)]
    #[must_use]
    pub const fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// With another sum taken away: its complement added.
    #[inline(always)]
    #[must_use]
    pub const fn sub(self, other: Self) -> Self {
        Self(self.0 + (!other.fold() as u64))
    }

    /// Folded to 16 bits. A sum of anything but nothing folds to 1–0xffff.
    #[inline(always)]
    #[must_use]
    pub const fn fold(self) -> u16 {
        let sum = (self.0 & 0xffff_ffff) + (self.0 >> 32);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        sum as u16
    }

    /// The checksum field for data of this sum: its complement.
    #[inline(always)]
    #[must_use]
    pub const fn checksum(self) -> u16 {
        !self.fold()
    }
}

/// The checksum after the data it covers has changed by `delta`, the sum of what is new and the complements of what is
/// gone (RFC 1624 equation 3: HC' = ~(~HC + ~m + m')).
#[inline(always)]
#[must_use]
pub const fn update(checksum: u16, delta: Sum) -> u16 {
    delta.add16(!checksum).checksum()
}

/// As [`update`] for UDP, where 0 would mean that there is none (RFC 768, RFC 8200 8.1): 0xffff, which is the same number.
#[inline(always)]
#[must_use]
pub const fn update_udp(checksum: u16, delta: Sum) -> u16 {
    match update(checksum, delta) {
        0 => 0xffff,
        updated => updated,
    }
}

/// What a TCP or UDP checksum changes by when the pseudo-header's IPv4 addresses become IPv6 addresses. Length and
/// protocol count the same in both pseudo-headers.
#[inline(always)]
#[must_use]
pub const fn four_to_six(source4: u32, destination4: u32, source6: Ipv6, destination6: Ipv6) -> Sum {
    Sum::ZERO.add_ipv6(source6).add_ipv6(destination6).sub32(source4).sub32(destination4)
}

/// The reverse of [`four_to_six`].
#[inline(always)]
#[must_use]
pub const fn six_to_four(source6: Ipv6, destination6: Ipv6, source4: u32, destination4: u32) -> Sum {
    Sum::ZERO.add32(source4).add32(destination4).sub_ipv6(source6).sub_ipv6(destination6)
}

/// The IPv6 pseudo-header (RFC 8200 8.1) of an upper-layer packet of `length` bytes.
#[inline(always)]
#[must_use]
pub const fn pseudo_header6(source: Ipv6, destination: Ipv6, length: u32, next_header: u8) -> Sum {
    Sum::ZERO.add_ipv6(source).add_ipv6(destination).add32(length).add16(next_header as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum_of(bytes: &[u8]) -> Sum {
        bytes
            .chunks(2)
            .fold(Sum::ZERO, |sum, pair| sum.add16(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])))
    }

    #[test]
    fn sums_the_example_of_rfc1071() {
        let sum = sum_of(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.fold(), 0xddf2);
    }

    #[test]
    fn updates_the_example_of_rfc1624() {
        // RFC 1624 section 4: 0xDD2F, 0x5555 becomes 0x3285, gives 0x0000.
        assert_eq!(update(0xdd2f, Sum::ZERO.add16(0x3285).sub(Sum::ZERO.add16(0x5555))), 0x0000);
    }

    #[test]
    fn udp_never_becomes_none() {
        assert_eq!(update_udp(0xdd2f, Sum::ZERO.add16(0x3285).sub(Sum::ZERO.add16(0x5555))), 0xffff);
    }

    proptest! {
        #[test]
        fn updating_equals_recomputing(old in prop::collection::vec(any::<u8>(), 2..64), new in prop::collection::vec(any::<u8>(), 2..64), rest in prop::collection::vec(any::<u8>(), 2..64)) {
            let (old, new) = (&old[..old.len() & !1], &new[..new.len() & !1]);
            let before = sum_of(old).add(sum_of(&rest)).checksum();
            let after = sum_of(new).add(sum_of(&rest));
            prop_assume!(after.0 != 0);
            prop_assert_eq!(update(before, sum_of(new).sub(sum_of(old))), after.checksum());
        }

        #[test]
        fn wide_additions_equal_narrow_ones(value in any::<u64>(), start in any::<u16>()) {
            let narrow = sum_of(&value.to_be_bytes()).add16(start);
            prop_assert_eq!(Sum::ZERO.add64(value).add16(start).fold(), narrow.fold());
            let narrow = sum_of(&(value as u32).to_be_bytes()).add16(start);
            prop_assert_eq!(Sum::ZERO.add32(value as u32).add16(start).fold(), narrow.fold());
        }

        #[test]
        fn agrees_with_etherparse(source in any::<[u8; 16]>(), destination in any::<[u8; 16]>(), payload in prop::collection::vec(any::<u8>(), 0..200)) {
            let header = etherparse::UdpHeader::without_ipv4_checksum(1, 2, payload.len()).unwrap();
            let ip = etherparse::Ipv6Header { source, destination, ..Default::default() };
            let expected = header.calc_checksum_ipv6(&ip, &payload).unwrap();
            let length = payload.len() as u32 + 8;
            let address = |bytes: [u8; 16]| Ipv6::from(core::net::Ipv6Addr::from(bytes));
            let sum = pseudo_header6(address(source), address(destination), length, 17)
                .add16(1).add16(2).add16(length as u16).add(sum_of(&payload));
            prop_assert_eq!(if sum.checksum() == 0 { 0xffff } else { sum.checksum() }, expected);
        }
    }
}
