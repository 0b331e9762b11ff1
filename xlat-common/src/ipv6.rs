//! The IPv6 header, the Fragment Header, and how their fields come from an IPv4 header's (RFC 7915 4.1).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1   (RFC 8200 3)
//! |Version| Traffic Class |           Flow Label                  |
//! |         Payload Length        |  Next Header  |   Hop Limit   |
//! |                Source Address (16 bytes)                      |
//! |             Destination Address (16 bytes)                    |
//!
//! |  Next Header  |   Reserved    |      Fragment Offset    |Res|M|   (RFC 8200 4.5)
//! |                         Identification                        |
//! ```

use crate::{
    address::Ipv6,
    ipv4::{self, protocol},
};

/// Bytes of the header.
pub const HEADER_LEN: u32 = 40;
/// Bytes of a Fragment Header.
pub const FRAGMENT_HEADER_LEN: u32 = 8;
/// The smallest MTU an IPv6 link has, and the largest ICMPv6 error (RFC 8200 5, RFC 4443 2.4).
pub const MINIMUM_MTU: u32 = 1280;
/// Most extension headers that are skipped.
pub const MAX_EXTENSION_HEADERS: u32 = 32;
/// M flag, in the 16-bit word of offset and flags (host order).
pub const M: u16 = 1;
/// The fragment offset in units of 8 bytes, in its place in the same word.
pub const OFFSET_MASK: u16 = 0xfff8;

/// An IPv6 header, fields in host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Traffic Class.
    pub traffic_class: u8,
    /// Flow Label, 20 bits.
    pub flow_label: u32,
    /// Payload Length, bytes.
    pub payload_len: u16,
    /// Next Header.
    pub next_header: u8,
    /// Hop Limit.
    pub hop_limit: u8,
    /// Source Address.
    pub source: Ipv6,
    /// Destination Address.
    pub destination: Ipv6,
}

impl Header {
    /// The header as five double words in host order.
    #[inline(always)]
    #[must_use]
    pub const fn words(&self) -> [u64; 5] {
        let first = 0x6000_0000 | (self.traffic_class as u32) << 20 | self.flow_label & 0xf_ffff;
        let second = (self.payload_len as u32) << 16 | (self.next_header as u32) << 8 | self.hop_limit as u32;
        [(first as u64) << 32 | second as u64, self.source.hi, self.source.lo, self.destination.hi, self.destination.lo]
    }
}

/// The Fragment Header of an IPv4 fragment, as one double word in host order (RFC 7915 4.1): offset and M copied, the low 16
/// bits of Identification, the high ones and all reserved bits zero.
#[inline(always)]
#[must_use]
pub const fn fragment_header(next_header: u8, ipv4_fragment: u16, identification: u16) -> u64 {
    let offset = (ipv4_fragment & ipv4::OFFSET_MASK) << 3;
    let m = if ipv4_fragment & ipv4::MF != 0 { M } else { 0 };
    (next_header as u64) << 56 | ((offset | m) as u64) << 32 | identification as u64
}

/// The IPv4 flags and offset of a Fragment Header's offset word (RFC 7915 5.1.1): DF clear.
#[inline(always)]
#[must_use]
pub const fn ipv4_fragment(offset_word: u16) -> u16 {
    let mf = if offset_word & M != 0 { ipv4::MF } else { 0 };
    offset_word >> 3 | mf
}

/// Whether an IPv4 flags and offset word is a fragment's.
#[inline(always)]
#[must_use]
pub const fn is_fragment4(fragment: u16) -> bool {
    fragment & (ipv4::MF | ipv4::OFFSET_MASK) != 0
}

/// Whether a next header number is an extension header that is skipped: hop-by-hop, routing, destination options (RFC 7915 5.1).
#[inline(always)]
#[must_use]
pub const fn is_skipped(next_header: u8) -> bool {
    matches!(next_header, protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION_OPTIONS)
}

/// Whether a next header number after a Fragment Header makes the packet untranslatable (RFC 7915 5.1.1): every extension
/// header (IANA "IPv6 Extension Header Types") except ESP, with AH. The numbers for experiments (253, 254) may be anything and are
/// carried.
#[inline(always)]
#[must_use]
pub const fn is_extension_after_fragment(next_header: u8) -> bool {
    is_skipped(next_header) || matches!(next_header, protocol::FRAGMENT | protocol::AUTHENTICATION | 135 | 139 | 140)
}

/// The protocol number in the other family: ICMP and ICMPv6 change places, all else stays (RFC 7915 4.1).
#[inline(always)]
#[must_use]
pub const fn next_header_of(protocol: u8) -> u8 {
    if protocol == protocol::ICMP { protocol::ICMPV6 } else { protocol }
}

/// The reverse of [`next_header_of`] (RFC 7915 5.1).
#[inline(always)]
#[must_use]
pub const fn protocol_of(next_header: u8) -> u8 {
    if next_header == protocol::ICMPV6 { protocol::ICMP } else { next_header }
}

/// A flow label for load sharing (RFC 6438): a hash of addresses, protocol and ports, never 0.
#[inline(always)]
#[must_use]
pub const fn flow_label(source: Ipv6, destination: Ipv6, next_header: u8, ports: u32) -> u32 {
    let mixed = source.hi
        ^ source.lo.rotate_left(17)
        ^ destination.hi.rotate_left(31)
        ^ destination.lo.rotate_left(47)
        ^ ((ports as u64) << 8 | next_header as u64);
    let hash = (mixed ^ (mixed >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let label = (hash >> 44) as u32;
    if label == 0 { 1 } else { label }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_words_agree_with_etherparse() {
        let source: core::net::Ipv6Addr = "2001:db8:6464::cb00:7107".parse().unwrap();
        let destination: core::net::Ipv6Addr = "2001:db8:5e1:1::10".parse().unwrap();
        let header = Header {
            traffic_class: 0xb8,
            flow_label: 0xabcde,
            payload_len: 1234,
            next_header: 6,
            hop_limit: 63,
            source: source.into(),
            destination: destination.into(),
        };
        let bytes: Vec<u8> = header.words().iter().flat_map(|word| word.to_be_bytes()).collect();
        let (parsed, _) = etherparse::Ipv6Header::from_slice(&bytes).unwrap();
        assert_eq!(parsed.source, source.octets());
        assert_eq!(parsed.destination, destination.octets());
        assert_eq!((parsed.traffic_class, parsed.flow_label.value()), (0xb8, 0xabcde));
        assert_eq!((parsed.payload_length, parsed.next_header.0, parsed.hop_limit), (1234, 6, 63));
    }

    #[test]
    fn fragment_fields_survive_the_round_trip() {
        for fragment in [0, ipv4::MF, 1, 185, ipv4::MF | 185, ipv4::OFFSET_MASK] {
            let header = fragment_header(17, fragment, 0xbeef);
            assert_eq!(header >> 56, 17);
            assert_eq!(header as u32, 0xbeef);
            assert_eq!(ipv4_fragment((header >> 32) as u16), fragment);
        }
    }

    #[test]
    fn knows_what_may_follow_a_fragment_header() {
        for next_header in [0, 43, 44, 51, 60, 135, 139, 140] {
            assert!(is_extension_after_fragment(next_header), "{next_header}");
        }
        for next_header in [6, 17, 50, 58, 59, 132] {
            assert!(!is_extension_after_fragment(next_header), "{next_header}");
        }
    }
}
