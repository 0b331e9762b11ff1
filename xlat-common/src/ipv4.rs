//! The IPv4 header and how its fields come from an IPv6 header's (RFC 7915 5.1).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1   (RFC 791 3.1)
//! |Version|  IHL  |Type of Service|          Total Length         |
//! |         Identification        |Flags|      Fragment Offset    |
//! |  Time to Live |    Protocol   |         Header Checksum       |
//! |                       Source Address                          |
//! |                    Destination Address                        |
//! |                    Options                    |    Padding    |
//! ```

use crate::checksum::Sum;

/// Bytes of a header without options.
pub const HEADER_LEN: u32 = 20;
/// Don't Fragment, in the 16-bit word of flags and offset (host order).
pub const DF: u16 = 0x4000;
/// More Fragments, in the same word.
pub const MF: u16 = 0x2000;
/// The fragment offset, in units of 8 bytes, in the same word.
pub const OFFSET_MASK: u16 = 0x1fff;
/// The largest translated packet that is sent with DF clear, bytes (RFC 7915 5.1).
pub const LARGEST_WITHOUT_DF: u32 = 1260;
/// Largest ICMPv4 error, bytes of the IP packet (RFC 1812 4.3.2.3).
pub const LARGEST_ICMP_ERROR: u32 = 576;
/// TOS of the relay's own ICMP errors: precedence 6, internetwork control (RFC 1812 4.3.2.5).
pub const ICMP_ERROR_TOS: u8 = 0xc0;

/// Protocol and next header numbers (IANA).
pub mod protocol {
    /// IPv6 hop-by-hop options.
    pub const HOP_BY_HOP: u8 = 0;
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// IGMP.
    pub const IGMP: u8 = 2;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// DCCP.
    pub const DCCP: u8 = 33;
    /// IPv6 routing header.
    pub const ROUTING: u8 = 43;
    /// IPv6 Fragment Header.
    pub const FRAGMENT: u8 = 44;
    /// Authentication Header.
    pub const AUTHENTICATION: u8 = 51;
    /// ICMPv6.
    pub const ICMPV6: u8 = 58;
    /// IPv6 destination options.
    pub const DESTINATION_OPTIONS: u8 = 60;
    /// UDP-Lite.
    pub const UDP_LITE: u8 = 136;
}

/// An IPv4 header without options, fields in host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Type of Service.
    pub tos: u8,
    /// Total Length, bytes.
    pub total_len: u16,
    /// Identification.
    pub identification: u16,
    /// Flags and fragment offset.
    pub fragment: u16,
    /// Time to Live.
    pub ttl: u8,
    /// Protocol.
    pub protocol: u8,
    /// Source Address.
    pub source: u32,
    /// Destination Address.
    pub destination: u32,
}

impl Header {
    /// The header as five words in host order, with its checksum.
    #[inline(always)]
    #[must_use]
    pub const fn words(&self) -> [u32; 5] {
        let mut words = [
            0x4500_0000 | (self.tos as u32) << 16 | self.total_len as u32,
            (self.identification as u32) << 16 | self.fragment as u32,
            (self.ttl as u32) << 24 | (self.protocol as u32) << 16,
            self.source,
            self.destination,
        ];
        words[2] |= self.sum_of(&words).checksum() as u32;
        words
    }

    #[inline(always)]
    const fn sum_of(&self, words: &[u32; 5]) -> Sum {
        Sum(words[0] as u64 + words[1] as u64 + words[2] as u64 + words[3] as u64 + words[4] as u64)
    }
}

/// The flags word of a translated packet that had no Fragment Header: DF by size.
#[inline(always)]
#[must_use]
pub const fn fragment_by_size(total_len: u32) -> u16 {
    if total_len > LARGEST_WITHOUT_DF { DF } else { 0 }
}

/// Of a transport protocol that carries a checksum over the pseudo-header in both families: where the checksum is, and
/// how long the whole header is at least. ICMP is not among them: its IPv4 checksum has no pseudo-header.
#[inline(always)]
#[must_use]
pub const fn transport_checksum(protocol: u8) -> Option<(u32, u32)> {
    match protocol {
        protocol::TCP => Some((16, 20)),
        protocol::UDP | protocol::UDP_LITE => Some((6, 8)),
        // RFC 4340 5.1: the generic header is 12 bytes with X = 0.
        protocol::DCCP => Some((6, 12)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_words_agree_with_etherparse() {
        let header = Header {
            tos: 0xb8,
            total_len: 1260,
            identification: 0xbeef,
            fragment: DF,
            ttl: 63,
            protocol: 17,
            source: 0xcb00_7107,
            destination: 0xc633_640a,
        };
        let bytes: Vec<u8> = header.words().iter().flat_map(|word| word.to_be_bytes()).collect();
        let (parsed, _) = etherparse::Ipv4Header::from_slice(&bytes).unwrap();
        assert_eq!(parsed.header_checksum, parsed.calc_header_checksum());
        assert_eq!(parsed.total_len, 1260);
        assert!(parsed.dont_fragment && !parsed.more_fragments);
        assert_eq!((parsed.time_to_live, parsed.protocol.0, parsed.identification), (63, 17, 0xbeef));
        assert_eq!(parsed.source, [203, 0, 113, 7]);
    }

    #[test]
    fn sets_dont_fragment_above_1260_bytes() {
        assert_eq!(fragment_by_size(1260), 0);
        assert_eq!(fragment_by_size(1261), DF);
    }
}
