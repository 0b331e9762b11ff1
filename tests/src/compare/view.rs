//! What the verdicts ask about a packet.

use crate::reference::checksum;

/// A packet from its IP header on, whole or cut.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// All of it.
    pub packet: &'a [u8],
    /// Whether it is IPv6.
    pub is_ipv6: bool,
    /// The upper-layer protocol: behind the extension headers.
    pub protocol: u8,
    /// The Next Header of the Fragment Header, if there is one.
    pub behind_fragment_header: Option<u8>,
    /// Fragment Offset, 8-byte units.
    pub offset: u16,
    /// Whether it is a fragment: more follow, or its offset is not 0.
    pub is_fragment: bool,
    /// What is there behind the headers.
    pub payload: &'a [u8],
}

impl<'a> View<'a> {
    /// Reads a packet; `None`: its headers cannot be read.
    #[must_use]
    pub fn of(packet: &'a [u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => Self::of_ipv4(packet),
            6 => Self::of_ipv6(packet),
            _ => None,
        }
    }

    fn of_ipv4(packet: &'a [u8]) -> Option<Self> {
        let header = packet.get(..usize::from(packet[0] & 15) * 4)?;
        let fragment = checksum::word(header, 6)?;
        Some(Self {
            packet,
            is_ipv6: false,
            protocol: *header.get(9)?,
            behind_fragment_header: None,
            offset: fragment & 0x1fff,
            is_fragment: fragment & 0x3fff != 0,
            payload: &packet[header.len()..],
        })
    }

    fn of_ipv6(packet: &'a [u8]) -> Option<Self> {
        let (mut protocol, mut payload) = (*packet.get(6)?, packet.get(40..)?);
        let (mut offset, mut is_fragment, mut behind_fragment_header) = (0, false, None);
        while matches!(protocol, 0 | 43 | 44 | 60) && offset == 0 {
            let length = if protocol == 44 { 8 } else { (usize::from(*payload.get(1)?) + 1) * 8 };
            let (header, rest) = payload.split_at_checked(length)?;
            if protocol == 44 {
                let word = checksum::word(header, 2)?;
                (offset, is_fragment, behind_fragment_header) = (word >> 3, word & 0xfff9 != 0, Some(header[0]));
            }
            (protocol, payload) = (header[0], rest);
        }
        Some(Self { packet, is_ipv6: true, protocol, behind_fragment_header, offset, is_fragment, payload })
    }

    /// Whether it is an ICMP error of its family.
    #[must_use]
    pub fn is_error(&self) -> bool {
        let is_icmp = self.protocol == if self.is_ipv6 { 58 } else { 1 };
        is_icmp && self.offset == 0 && self.icmp_type().is_some_and(|kind| super::fields::is_error(self.protocol, kind))
    }

    /// The ICMP type, if it has one.
    #[must_use]
    pub fn icmp_type(&self) -> Option<u8> {
        self.payload.first().copied()
    }

    /// The packet that an ICMP error quotes.
    #[must_use]
    pub fn inner(&self) -> Option<Self> {
        if self.is_error() { Self::of(self.payload.get(8..)?) } else { None }
    }

    /// The length attribute of an ICMP error (RFC 4884), in its units.
    #[must_use]
    pub fn length_attribute(&self) -> u8 {
        let at = if self.is_ipv6 { 4 } else { 5 };
        if self.is_error() { self.payload.get(at).copied().unwrap_or_default() } else { 0 }
    }

    /// Whether the ICMP checksum of a whole packet is right.
    #[must_use]
    pub fn icmp_checksum_is_right(&self) -> bool {
        let word = |at: usize| checksum::sum(self.packet.get(at..at + 32).unwrap_or_default());
        let pseudo_header = if self.is_ipv6 {
            word(8) + checksum::sum_of_length_and_protocol(self.payload.len(), self.protocol)
        } else {
            0
        };
        checksum::compute(pseudo_header + checksum::sum(self.payload)) == 0
    }
}
