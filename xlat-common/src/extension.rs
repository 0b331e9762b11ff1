//! RFC 4884: where the extension structure of an ICMP error lies, and how long the parts of the translated error are.
//!
//! ```text
//! | ICMP header, 8 bytes, with the length attribute | original datagram, padded | extension structure |
//! ```
//!
//! The length attribute counts the padded original datagram in 4-byte units in ICMPv4 (byte 5 of the header) and in 8-byte
//! units in ICMPv6 (byte 4).

/// Least length of the original-datagram field where an extension follows, bytes (RFC 4884 3).
pub const MINIMUM_ORIGINAL: u32 = 128;
/// Unit of the length attribute in ICMPv4, bytes.
pub const UNIT4: u32 = 4;
/// Unit of the length attribute in ICMPv6, bytes.
pub const UNIT6: u32 = 8;

/// The two parts of an ICMP error after its 8-byte header, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// The original datagram with its padding.
    pub original: u32,
    /// The extension structure; 0: none.
    pub extension: u32,
    /// Whether there is a length attribute that fits the message, be the structure empty.
    pub has_attribute: bool,
}

/// The parts of a received error with `payload` bytes after its header. `attribute`: the length attribute in bytes, 0
/// where the type has none. One that points beyond the message or into the `inner_header` counts as none.
#[inline(always)]
#[must_use]
pub const fn received(payload: u32, attribute: u32, inner_header: u32) -> Parts {
    if attribute < inner_header || attribute > payload {
        Parts { original: payload, extension: 0, has_attribute: false }
    } else {
        Parts { original: attribute, extension: payload - attribute, has_attribute: true }
    }
}

/// How the translated error is made up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Bytes of the translated original datagram that are kept, its header included.
    pub original: u32,
    /// Zero bytes that follow it.
    pub padding: u32,
    /// Bytes of the extension structure that are kept.
    pub extension: u32,
    /// Whether the length attribute is written.
    pub has_attribute: bool,
}

impl Layout {
    /// The length attribute in units, 0 where there is none.
    #[inline(always)]
    #[must_use]
    pub const fn attribute(&self, unit: u32) -> u32 {
        if self.has_attribute { (self.original + self.padding) / unit } else { 0 }
    }

    /// Bytes after the ICMP header.
    #[inline(always)]
    #[must_use]
    pub const fn payload(&self) -> u32 {
        self.original + self.padding + self.extension
    }
}

/// The make-up of the translated error. `parts`: with the original datagram's length *after* its header's translation, and the
/// extension and attribute only if the outgoing type has them. `unit`: of the outgoing attribute. `limit`: most bytes
/// after the ICMP header.
#[inline(always)]
#[must_use]
pub const fn layout(parts: Parts, unit: u32, limit: u32) -> Layout {
    let Parts { original, extension, has_attribute } = parts;
    if !has_attribute {
        let original = if original < limit { original } else { limit };
        return Layout { original, padding: 0, extension: 0, has_attribute };
    }
    let padded = if original < MINIMUM_ORIGINAL { MINIMUM_ORIGINAL } else { (original + unit - 1) & !(unit - 1) };
    if padded + extension <= limit {
        return Layout { original, padding: padded - original, extension, has_attribute };
    }
    // The original datagram gives way first, down to its least length; then the extension is truncated.
    let room = limit.saturating_sub(extension) & !(unit - 1);
    let field = if room < MINIMUM_ORIGINAL { MINIMUM_ORIGINAL } else { room };
    let kept = if original < field { original } else { field };
    let rest = limit - field;
    let extension = if extension < rest { extension } else { rest };
    Layout { original: kept, padding: field - kept, extension, has_attribute }
}

/// The object that RFC 6791 4 asks for, an Interface Information Object (RFC 5837 4) with the IP address sub-object alone.
pub mod interface_information {
    /// Bytes of the object with its header and an IPv6 address.
    pub const OBJECT_LEN: u32 = 24;
    /// Bytes of an extension structure's header.
    pub const STRUCTURE_HEADER_LEN: u32 = 4;
    /// First byte of the structure header: version 2.
    pub const VERSION: u8 = 0x20;
    /// The object's header and the sub-object's: length 24, class 2, C-Type 4 (arrival interface, IP address); AFI 2.
    pub const HEADERS: [u8; 8] = [0, 24, 2, 0x04, 0, 2, 0, 0];
    /// Bytes of an object's header: length, class, C-Type (RFC 4884 8).
    pub const OBJECT_HEADER_LEN: u32 = 4;

    /// Whether an object of this class and C-Type tells of the interface that the packet arrived by: class 2, role 0 (RFC 5837 4.1).
    #[inline(always)]
    #[must_use]
    pub const fn is_arrival(class: u8, c_type: u8) -> bool {
        class == 2 && c_type >> 6 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(original: u32, extension: u32) -> Parts {
        Parts { original, extension, has_attribute: true }
    }

    #[test]
    fn a_lying_attribute_is_no_extension() {
        let none = Parts { original: 148, extension: 0, has_attribute: false };
        assert_eq!(received(148, 0, 20), none);
        assert_eq!(received(148, 148, 20), Parts { has_attribute: true, ..none });
        assert_eq!(received(148, 152, 20), none);
        assert_eq!(received(148, 16, 20), none);
        assert_eq!(received(148, 128, 20), Parts { original: 128, extension: 20, has_attribute: true });
    }

    #[test]
    fn pads_to_the_unit_and_to_128() {
        let grown = layout(of(148, 20), UNIT6, 1232);
        assert_eq!(grown, Layout { original: 148, padding: 4, extension: 20, has_attribute: true });
        assert_eq!(grown.attribute(UNIT6), 19);
        let shrunk = layout(of(108, 20), UNIT4, 548);
        assert_eq!(shrunk, Layout { original: 108, padding: 20, extension: 20, has_attribute: true });
        assert_eq!(shrunk.attribute(UNIT4), 32);
    }

    #[test]
    fn the_original_gives_way_before_the_extension() {
        let cut = layout(of(1180, 20), UNIT4, 548);
        assert_eq!(cut, Layout { original: 528, padding: 0, extension: 20, has_attribute: true });
        let long = layout(of(500, 500), UNIT4, 548);
        assert_eq!(long, Layout { original: 128, padding: 0, extension: 420, has_attribute: true });
        let plain = layout(Parts { original: 1480, extension: 0, has_attribute: false }, UNIT6, 1232);
        assert_eq!(plain, Layout { original: 1232, padding: 0, extension: 0, has_attribute: false });
    }
}
