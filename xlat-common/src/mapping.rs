//! Address mapping: the translation prefix (RFC 6052 2.2) and explicit address mappings (RFC 7757 3.3).

use crate::{
    address::{Ipv6, mask32},
    settings::TranslationPrefix,
    table::Entry,
};

/// ```text
/// RFC 6052 2.2          bits of the IPv6 address
///  PL  0-------------32--40--48--56--64--72--80--88--96--104---------|
///  32  |     prefix    |v4(32)         | u | suffix                    |
///  40  |     prefix        |v4(24)     | u |(8)| suffix                |
///  48  |     prefix            |v4(16) | u | (16)  | suffix            |
///  56  |     prefix                |(8)| u |  v4(24)   | suffix        |
///  64  |     prefix                    | u |   v4(32)      | suffix    |
///  96  |     prefix                                    |    v4(32)     |
/// ```
///
/// The IPv6 address that represents `ipv4` (host order) in `prefix`: bits 64–71 (`u`) and the suffix are zero.
#[inline(always)]
#[must_use]
pub const fn embed(prefix: &TranslationPrefix, ipv4: u32) -> Ipv6 {
    let Ipv6 { hi, lo } = prefix.address;
    let v4 = ipv4 as u64;
    match prefix.len {
        32 => Ipv6 { hi: hi | v4, lo },
        40 => Ipv6 { hi: hi | v4 >> 8, lo: lo | (v4 & 0xff) << 48 },
        48 => Ipv6 { hi: hi | v4 >> 16, lo: lo | (v4 & 0xffff) << 40 },
        56 => Ipv6 { hi: hi | v4 >> 24, lo: lo | (v4 & 0xff_ffff) << 32 },
        64 => Ipv6 { hi, lo: lo | v4 << 24 },
        _ => Ipv6 { hi, lo: lo | v4 },
    }
}

/// The IPv4 address (host order) that an IPv6 address within `prefix` represents. Bits 64–71 and the suffix are not looked at.
#[inline(always)]
#[must_use]
pub const fn extract(prefix: &TranslationPrefix, ipv6: Ipv6) -> u32 {
    let Ipv6 { hi, lo } = ipv6;
    match prefix.len {
        32 => hi as u32,
        40 => (hi << 8) as u32 | (lo >> 48) as u8 as u32,
        48 => (hi << 16) as u32 | (lo >> 40) as u16 as u32,
        56 => (hi << 24) as u32 | (lo >> 32) as u32 & 0xff_ffff,
        64 => (lo >> 24) as u32,
        _ => lo as u32,
    }
}

/// RFC 7757 3.3.1: the IPv6 address of an IPv4 address (host order) covered by the entry's EAM. The IPv4 suffix follows the IPv6
/// prefix; what is left is zero.
#[inline(always)]
#[must_use]
pub const fn eam_to_ipv6(entry: &Entry, ipv4: u32) -> Ipv6 {
    let len4 = (entry.eam_len4 & crate::table::LEN4_MASK) as u32;
    let len6 = entry.eam_len6 as u32;
    if len4 >= 32 {
        return entry.ipv6;
    }
    // The suffix, left-aligned in 64 bits, then moved right by the IPv6 prefix length.
    let suffix = ((ipv4 & !mask32(len4)) as u64) << (32 + len4);
    let Ipv6 { hi, lo } = entry.ipv6;
    if len6 >= 64 {
        Ipv6 { hi, lo: lo | suffix >> ((len6 - 64) & 63) }
    } else if len6 == 0 {
        Ipv6 { hi: hi | suffix, lo }
    } else {
        Ipv6 { hi: hi | suffix >> len6, lo: lo | suffix << (64 - len6) }
    }
}

/// RFC 7757 3.3.2: the IPv4 address (host order) of an IPv6 address covered by the entry's EAM. As many bits after the IPv6 prefix as
/// the IPv4 suffix is long; the rest is discarded.
#[inline(always)]
#[must_use]
pub const fn eam_to_ipv4(entry: &Entry, ipv6: Ipv6) -> u32 {
    let len4 = (entry.eam_len4 & crate::table::LEN4_MASK) as u32;
    let len6 = entry.eam_len6 as u32;
    if len4 >= 32 {
        return entry.ipv4;
    }
    // The 64 bits that follow the IPv6 prefix, left-aligned.
    let following = if len6 >= 64 {
        ipv6.lo << ((len6 - 64) & 63)
    } else if len6 == 0 {
        ipv6.hi
    } else {
        ipv6.hi << len6 | ipv6.lo >> (64 - len6)
    };
    entry.ipv4 | (following >> 32) as u32 >> len4
}
