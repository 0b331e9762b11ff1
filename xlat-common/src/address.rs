//! Addresses as numbers in host order, so that masks and shifts read like the RFCs' bit positions.

/// An IPv6 address as two numbers in host order: `hi` holds bits 0–63 (RFC 6052 counts from the left), `lo` bits 64–127.
///
/// Two 64-bit words and not a `u128`: BPF has no wider registers, and a 128-bit shift becomes a library call there.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ipv6 {
    /// Bits 0–63.
    pub hi: u64,
    /// Bits 64–127.
    pub lo: u64,
}

impl Ipv6 {
    /// The unspecified address `::`.
    pub const UNSPECIFIED: Self = Self { hi: 0, lo: 0 };

    /// The address with every bit after the first `len` cleared. `len` over 128 counts as 128.
    #[inline(always)]
    #[must_use]
    pub const fn masked(self, len: u32) -> Self {
        Self { hi: self.hi & mask64(len), lo: if len > 64 { self.lo & mask64(len - 64) } else { 0 } }
    }

    /// Whether the first `len` bits equal those of `prefix`, whose other bits are zero.
    #[inline(always)]
    #[must_use]
    pub const fn within(self, prefix: Self, len: u32) -> bool {
        let masked = self.masked(len);
        (masked.hi ^ prefix.hi) | (masked.lo ^ prefix.lo) == 0
    }

    /// Multicast, `ff00::/8` (RFC 4291 2.7).
    #[inline(always)]
    #[must_use]
    pub const fn is_multicast(self) -> bool {
        self.hi >> 56 == 0xff
    }

    /// Link-local unicast, `fe80::/10` (RFC 4291 2.5.6).
    #[inline(always)]
    #[must_use]
    pub const fn is_link_local(self) -> bool {
        self.hi >> 54 == 0x3fa
    }

    /// `::` or `::1`.
    #[inline(always)]
    #[must_use]
    pub const fn is_unspecified_or_loopback(self) -> bool {
        self.hi == 0 && self.lo <= 1
    }

    /// An address no packet may come from or be forwarded to: `::`, `::1`, link-local, multicast.
    #[inline(always)]
    #[must_use]
    pub const fn is_illegal(self) -> bool {
        self.is_unspecified_or_loopback() || self.is_link_local() || self.is_multicast()
    }
}

impl From<core::net::Ipv6Addr> for Ipv6 {
    fn from(address: core::net::Ipv6Addr) -> Self {
        let bits = address.to_bits();
        Self { hi: (bits >> 64) as u64, lo: bits as u64 }
    }
}

impl From<Ipv6> for core::net::Ipv6Addr {
    fn from(address: Ipv6) -> Self {
        Self::from_bits((u128::from(address.hi) << 64) | u128::from(address.lo))
    }
}

/// A 64-bit mask with the first `len` bits set; `len` over 64 counts as 64.
#[inline(always)]
#[must_use]
pub const fn mask64(len: u32) -> u64 {
    if len == 0 {
        0
    } else if len >= 64 {
        u64::MAX
    } else {
        !(u64::MAX >> len)
    }
}

/// A 32-bit mask with the first `len` bits set; `len` over 32 counts as 32.
#[inline(always)]
#[must_use]
pub const fn mask32(len: u32) -> u32 {
    if len == 0 {
        0
    } else if len >= 32 {
        u32::MAX
    } else {
        !(u32::MAX >> len)
    }
}

/// An IPv4 address (host order) no packet may come from or be forwarded to: 0/8, 127/8, 169.254/16 (RFC 3927 2.6.2),
/// 224/4 and 240/4 (RFC 1812 4.2.2.11, 5.3.7), the limited broadcast included.
#[inline(always)]
#[must_use]
pub const fn ipv4_is_illegal(address: u32) -> bool {
    let first = address >> 24;
    first == 0 || first == 127 || first >= 224 || address >> 16 == 0xa9fe
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn masks_cut_at_every_length() {
        for len in 0..=128u32 {
            let expected = if len == 0 { 0 } else { u128::MAX << (128 - len) };
            let all = Ipv6 { hi: u64::MAX, lo: u64::MAX };
            assert_eq!(Ipv6Addr::from(all.masked(len)).to_bits(), expected, "/{len}");
        }
        for len in 0..=32u32 {
            let expected = if len == 0 { 0 } else { u32::MAX << (32 - len) };
            assert_eq!(mask32(len), expected, "/{len}");
        }
    }

    #[test]
    fn tells_illegal_addresses_from_ordinary_ones() {
        for address in ["0.0.0.0", "0.1.2.3", "127.0.0.1", "169.254.1.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"] {
            assert!(ipv4_is_illegal(address.parse::<Ipv4Addr>().unwrap().to_bits()), "{address}");
        }
        for address in ["1.0.0.0", "10.0.0.1", "169.253.1.1", "192.168.0.1", "223.255.255.255"] {
            assert!(!ipv4_is_illegal(address.parse::<Ipv4Addr>().unwrap().to_bits()), "{address}");
        }
        for address in ["::", "::1", "fe80::1", "febf::1", "ff02::1"] {
            assert!(Ipv6::from(address.parse::<Ipv6Addr>().unwrap()).is_illegal(), "{address}");
        }
        for address in ["::2", "2001:db8::1", "fec0::1", "fe7f::1", "fd00::1"] {
            assert!(!Ipv6::from(address.parse::<Ipv6Addr>().unwrap()).is_illegal(), "{address}");
        }
    }
}
