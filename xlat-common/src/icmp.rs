//! ICMP: what becomes of types, codes, pointers and MTUs (RFC 7915 4.2 and 5.2).
//!
//! ```text
//! |     Type      |     Code      |          Checksum             |
//! |      rest of header: unused, length, pointer or MTU           |   (RFC 792, RFC 4443, RFC 4884 4)
//! |      echo: identifier, sequence; error: packet in error …     |
//! ```

use crate::{
    checksum::{Sum, update, update_udp},
    ipv6::MINIMUM_MTU,
    reason::DropReason,
};

/// Bytes of the ICMP and ICMPv6 header.
pub const HEADER_LEN: u32 = 8;

/// ICMPv4 types (RFC 792, IANA).
pub mod v4 {
    /// Echo Reply.
    pub const ECHO_REPLY: u8 = 0;
    /// Destination Unreachable.
    pub const DESTINATION_UNREACHABLE: u8 = 3;
    /// Source Quench (RFC 6633: deprecated).
    pub const SOURCE_QUENCH: u8 = 4;
    /// Redirect.
    pub const REDIRECT: u8 = 5;
    /// Echo.
    pub const ECHO: u8 = 8;
    /// Time Exceeded.
    pub const TIME_EXCEEDED: u8 = 11;
    /// Parameter Problem.
    pub const PARAMETER_PROBLEM: u8 = 12;
    /// Code of [`DESTINATION_UNREACHABLE`]: fragmentation needed and DF set.
    pub const FRAGMENTATION_NEEDED: u8 = 4;
    /// Code of [`DESTINATION_UNREACHABLE`]: source route failed.
    pub const SOURCE_ROUTE_FAILED: u8 = 5;
    /// Code of [`DESTINATION_UNREACHABLE`]: communication administratively prohibited.
    pub const ADMINISTRATIVELY_PROHIBITED: u8 = 13;
}

/// ICMPv6 types (RFC 4443, IANA).
pub mod v6 {
    /// Destination Unreachable.
    pub const DESTINATION_UNREACHABLE: u8 = 1;
    /// Packet Too Big.
    pub const PACKET_TOO_BIG: u8 = 2;
    /// Time Exceeded.
    pub const TIME_EXCEEDED: u8 = 3;
    /// Parameter Problem.
    pub const PARAMETER_PROBLEM: u8 = 4;
    /// Echo Request.
    pub const ECHO_REQUEST: u8 = 128;
    /// Echo Reply.
    pub const ECHO_REPLY: u8 = 129;
    /// Redirect (RFC 4861).
    pub const REDIRECT: u8 = 137;
    /// Code of [`DESTINATION_UNREACHABLE`]: communication with destination administratively prohibited.
    pub const ADMINISTRATIVELY_PROHIBITED: u8 = 1;
}

/// What the four bytes after the checksum of an error become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// The unused bytes carried over, with a length attribute (RFC 4884).
    Unused,
    /// Nothing: what was a pointer means nothing here. A length attribute in ICMPv4 only.
    Zero,
    /// An MTU to be worked out; no length attribute in ICMPv6, and none kept in ICMPv4.
    Mtu,
    /// This pointer (ICMPv6: 32 bits; ICMPv4: 8 bits); a length attribute in ICMPv4 only.
    Pointer(u8),
}

/// An error's type and code in the other family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// The four bytes after the checksum.
    pub rest: Rest,
}

/// Whether an ICMPv4 type is an error: it quotes a packet (RFC 1122 3.2.2).
#[inline(always)]
#[must_use]
pub const fn is_error4(kind: u8) -> bool {
    matches!(
        kind,
        v4::DESTINATION_UNREACHABLE | v4::SOURCE_QUENCH | v4::REDIRECT | v4::TIME_EXCEEDED | v4::PARAMETER_PROBLEM
    )
}

/// Whether an ICMPv6 type is an error: below 128 (RFC 4443 2.1).
#[inline(always)]
#[must_use]
pub const fn is_error6(kind: u8) -> bool {
    kind < 128
}

/// Whether an ICMPv4 message is neither an error nor an echo: dropped silently (RFC 7915 4.2).
#[inline(always)]
#[must_use]
pub const fn is_single_hop4(kind: u8) -> bool {
    !is_error4(kind) && echo_to_six(kind).is_none()
}

/// Whether an ICMPv6 message is neither an error nor an echo: dropped silently (RFC 7915 5.2).
#[inline(always)]
#[must_use]
pub const fn is_single_hop6(kind: u8) -> bool {
    !is_error6(kind) && echo_to_four(kind).is_none()
}

/// Echo and Echo Reply in ICMPv6.
#[inline(always)]
#[must_use]
pub const fn echo_to_six(kind: u8) -> Option<u8> {
    match kind {
        v4::ECHO => Some(v6::ECHO_REQUEST),
        v4::ECHO_REPLY => Some(v6::ECHO_REPLY),
        _ => None,
    }
}

/// Echo Request and Echo Reply in ICMPv4.
#[inline(always)]
#[must_use]
pub const fn echo_to_four(kind: u8) -> Option<u8> {
    match kind {
        v6::ECHO_REQUEST => Some(v4::ECHO),
        v6::ECHO_REPLY => Some(v4::ECHO_REPLY),
        _ => None,
    }
}

/// The first two 16-bit words of an echo, type and code and checksum, with another type: the checksum follows the type and what
/// else it covers (`delta`).
#[inline(always)]
#[must_use]
pub const fn change_type([first, checksum]: [u16; 2], kind: u8, delta: Sum) -> [u16; 2] {
    let new = (kind as u16) << 8 | first & 0xff;
    let delta = delta.add16(new).sub(Sum::ZERO.add16(first));
    // An Echo Reply of ICMPv4 may be zeros all over: only 0xffff is right then, and wherever else 0 would be, it is the same number.
    [new, if kind == v4::ECHO_REPLY { update_udp(checksum, delta) } else { update(checksum, delta) }]
}

/// An ICMPv4 error in ICMPv6 (RFC 7915 4.2); `pointer` is the first byte after the checksum.
///
/// # Errors
///
/// The reason to drop it, where RFC 7915 says "silently drop".
#[inline(always)]
pub const fn error_to_six(kind: u8, code: u8, pointer: u8) -> Result<Error, DropReason> {
    match (kind, code) {
        (v4::DESTINATION_UNREACHABLE, 0 | 1 | 5 | 6 | 7 | 8 | 11 | 12) => Ok(unreachable_to_six(0)),
        // Protocol unreachable: the pointer is at the IPv6 Next Header field.
        (v4::DESTINATION_UNREACHABLE, 2) => Ok(Error { kind: v6::PARAMETER_PROBLEM, code: 1, rest: Rest::Pointer(6) }),
        (v4::DESTINATION_UNREACHABLE, 3) => Ok(unreachable_to_six(4)),
        (v4::DESTINATION_UNREACHABLE, v4::FRAGMENTATION_NEEDED) => {
            Ok(Error { kind: v6::PACKET_TOO_BIG, code: 0, rest: Rest::Mtu })
        }
        (v4::DESTINATION_UNREACHABLE, 9 | 10 | 13 | 15) => Ok(unreachable_to_six(1)),
        (v4::TIME_EXCEEDED, _) => Ok(Error { kind: v6::TIME_EXCEEDED, code, rest: Rest::Unused }),
        (v4::PARAMETER_PROBLEM, 0 | 2) => match pointer_to_six(pointer) {
            Some(pointer) => Ok(Error { kind: v6::PARAMETER_PROBLEM, code: 0, rest: Rest::Pointer(pointer) }),
            None => Err(DropReason::IcmpPointer),
        },
        _ => Err(DropReason::IcmpType),
    }
}

#[inline(always)]
const fn unreachable_to_six(code: u8) -> Error {
    Error { kind: v6::DESTINATION_UNREACHABLE, code, rest: Rest::Unused }
}

/// An ICMPv6 error in ICMPv4 (RFC 7915 5.2); `pointer` is the 32-bit number after the checksum.
///
/// # Errors
///
/// The reason to drop it, where RFC 7915 says "silently drop".
#[inline(always)]
pub const fn error_to_four(kind: u8, code: u8, pointer: u32) -> Result<Error, DropReason> {
    match (kind, code) {
        (v6::DESTINATION_UNREACHABLE, 0 | 2 | 3) => Ok(unreachable_to_four(1)),
        (v6::DESTINATION_UNREACHABLE, 1) => Ok(unreachable_to_four(10)),
        (v6::DESTINATION_UNREACHABLE, 4) => Ok(unreachable_to_four(3)),
        (v6::PACKET_TOO_BIG, _) => {
            Ok(Error { kind: v4::DESTINATION_UNREACHABLE, code: v4::FRAGMENTATION_NEEDED, rest: Rest::Mtu })
        }
        (v6::TIME_EXCEEDED, _) => Ok(Error { kind: v4::TIME_EXCEEDED, code, rest: Rest::Unused }),
        (v6::PARAMETER_PROBLEM, 0) => match pointer_to_four(pointer) {
            Some(pointer) => Ok(Error { kind: v4::PARAMETER_PROBLEM, code: 0, rest: Rest::Pointer(pointer) }),
            None => Err(DropReason::IcmpPointer),
        },
        // Unrecognized next header: protocol unreachable.
        (v6::PARAMETER_PROBLEM, 1) => Ok(Error { rest: Rest::Zero, ..unreachable_to_four(2) }),
        _ => Err(DropReason::IcmpType),
    }
}

#[inline(always)]
const fn unreachable_to_four(code: u8) -> Error {
    Error { kind: v4::DESTINATION_UNREACHABLE, code, rest: Rest::Unused }
}

/// RFC 7915 figure 3: an IPv4 header's pointer value in an IPv6 header; `None`: "n/a" or not listed.
#[inline(always)]
#[must_use]
pub const fn pointer_to_six(pointer: u8) -> Option<u8> {
    match pointer {
        0 | 1 => Some(pointer),
        2 | 3 => Some(4),
        8 => Some(7),
        9 => Some(6),
        12..=15 => Some(8),
        16..=19 => Some(24),
        _ => None,
    }
}

/// RFC 7915 figure 6: an IPv6 header's pointer value in an IPv4 header; `None`: "n/a" or not listed.
#[inline(always)]
#[must_use]
pub const fn pointer_to_four(pointer: u32) -> Option<u8> {
    match pointer {
        0 => Some(0),
        1 => Some(1),
        4 | 5 => Some(2),
        6 => Some(9),
        7 => Some(8),
        8..=23 => Some(12),
        24..=39 => Some(16),
        _ => None,
    }
}

/// The MTU of an ICMPv6 Packet Too Big (RFC 7915 4.2 code 4): `mtu` of the ICMPv4 message, not 0.
#[inline(always)]
#[must_use]
pub const fn mtu_to_six(mtu: u32, ipv6_next_hop_mtu: u32, ipv4_next_hop_mtu: u32) -> u32 {
    max(MINIMUM_MTU, min(mtu.saturating_add(20), min(ipv6_next_hop_mtu, ipv4_next_hop_mtu.saturating_add(20))))
}

/// The MTU of an ICMPv4 Fragmentation Needed (RFC 7915 5.2 Packet Too Big); not below what every IPv4 link carries (RFC 791: 68).
#[inline(always)]
#[must_use]
pub const fn mtu_to_four(mtu: u32, inner_fragment_header: bool, ipv4_next_hop_mtu: u32, ipv6_next_hop_mtu: u32) -> u32 {
    let larger = if inner_fragment_header { 28 } else { 20 };
    max(68, min(mtu.saturating_sub(larger), min(ipv4_next_hop_mtu, ipv6_next_hop_mtu.saturating_sub(20))))
}

/// The likely path MTU where an IPv4 router said 0 (RFC 7915 4.2 code 4, RFC 1191 7.1): the greatest plateau that is less
/// than the Total Length of the packet in error and at least 1280; else 1280 (whose sum with 20 is above what is asked for at
/// least, so the caller's maximum decides).
#[inline(always)]
#[must_use]
pub fn plateau(plateaus: impl Iterator<Item = u32>, total_len: u32) -> u32 {
    for value in plateaus {
        if value < total_len && value >= MINIMUM_MTU {
            return value;
        }
    }
    MINIMUM_MTU - 20
}

/// Hash by which an address of a pool is chosen for a source without mapping (RFC 6791): always the same for the same source, so
/// that traceroute shows stable hops.
#[inline(always)]
#[must_use]
pub const fn pool_hash(source: u64) -> u64 {
    let once = (source ^ (source >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    (once ^ (once >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93)
}

#[inline(always)]
const fn min(a: u32, b: u32) -> u32 {
    if a < b { a } else { b }
}

#[inline(always)]
const fn max(a: u32, b: u32) -> u32 {
    if a > b { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mtus_follow_the_formulas() {
        assert_eq!(mtu_to_six(1400, 9000, 9000), 1420);
        assert_eq!(mtu_to_six(1400, 1300, 9000), 1300);
        assert_eq!(mtu_to_six(9000, 9000, 1500), 1520);
        assert_eq!(mtu_to_six(68, 9000, 9000), 1280);
        assert_eq!(mtu_to_four(1280, false, 1500, 1500), 1260);
        assert_eq!(mtu_to_four(1280, true, 1500, 1500), 1252);
        assert_eq!(mtu_to_four(9000, false, 1500, 9000), 1500);
        assert_eq!(mtu_to_four(9000, false, 9000, 1500), 1480);
        assert_eq!(mtu_to_four(0, true, 1500, 1500), 68);
    }

    #[test]
    fn plateaus_are_below_the_length_and_not_below_1280() {
        let values = [65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68];
        let of = |total_len| plateau(values.iter().copied(), total_len);
        assert_eq!(of(1500), 1492);
        assert_eq!(of(1492), 1260);
        assert_eq!(of(2002), 1492);
        assert_eq!(of(2003), 2002);
        assert_eq!(of(65535), 32000);
    }

    #[test]
    fn every_pointer_of_the_figures_is_listed() {
        let six: Vec<_> = (0..=20).map(pointer_to_six).collect();
        let expected = [0, 1, 4, 4, -1, -1, -1, -1, 7, 6, -1, -1, 8, 8, 8, 8, 24, 24, 24, 24, -1];
        assert_eq!(six, expected.map(|value| u8::try_from(value).ok()));
        assert_eq!(
            [0, 1, 2, 3, 4, 5, 6, 7].map(pointer_to_four),
            [Some(0), Some(1), None, None, Some(2), Some(2), Some(9), Some(8)]
        );
        assert!((8..24).all(|pointer| pointer_to_four(pointer) == Some(12)));
        assert!((24..40).all(|pointer| pointer_to_four(pointer) == Some(16)));
        assert_eq!(pointer_to_four(40), None);
        assert_eq!(pointer_to_four(0x100), None);
    }
}
