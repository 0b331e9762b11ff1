//! Reading headers out of bytes that may be anything.

use xlat_common::{
    address::Ipv6,
    ipv4::{self, protocol},
    ipv6::{
        FRAGMENT_HEADER_LEN, HEADER_LEN, M, MAX_EXTENSION_HEADERS, OFFSET_MASK, is_extension_after_fragment,
        is_fragment4, is_skipped,
    },
    reason::DropReason,
};

pub(super) fn u8_at(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn ipv6_at(bytes: &[u8], at: usize) -> Option<Ipv6> {
    let word = |at: usize| Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    Some(Ipv6 { hi: word(at)?, lo: word(at + 8)? })
}

/// Which part of a packet the IP payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Whole,
    First,
    Later,
}

/// The fixed part of an IPv4 header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header4 {
    pub(super) version: u8,
    /// Bytes, 0 to 60.
    pub(super) header_len: usize,
    pub(super) tos: u8,
    pub(super) total_len: usize,
    pub(super) identification: u16,
    /// Flags and offset.
    pub(super) fragment: u16,
    pub(super) ttl: u8,
    pub(super) protocol: u8,
    pub(super) source: u32,
    pub(super) destination: u32,
}

impl Header4 {
    /// `None`: there are fewer than 20 bytes.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let first = u8_at(bytes, 0)?;
        Some(Self {
            version: first >> 4,
            header_len: usize::from(first & 15) * 4,
            tos: u8_at(bytes, 1)?,
            total_len: u16_at(bytes, 2)?.into(),
            identification: u16_at(bytes, 4)?,
            fragment: u16_at(bytes, 6)?,
            ttl: u8_at(bytes, 8)?,
            protocol: u8_at(bytes, 9)?,
            source: u32_at(bytes, 12)?,
            destination: u32_at(bytes, 16)?,
        })
    }

    pub(super) fn piece(&self) -> Piece {
        if self.fragment & ipv4::OFFSET_MASK != 0 {
            Piece::Later
        } else if self.is_fragment() {
            Piece::First
        } else {
            Piece::Whole
        }
    }

    pub(super) fn is_fragment(&self) -> bool {
        is_fragment4(self.fragment)
    }

    pub(super) fn dont_fragment(&self) -> bool {
        self.fragment & ipv4::DF != 0
    }

    /// Whether version, lengths and the bytes fit each other.
    pub(super) fn is_sound(&self, bytes: &[u8]) -> bool {
        self.version == 4 && self.header_len >= 20 && self.total_len >= self.header_len && self.total_len <= bytes.len()
    }
}

/// Whether there is an unexpired source route among IPv4 options (RFC 791: the pointer is not past the length).
///
/// # Errors
/// A source route's length cannot be true.
pub(super) fn unexpired_source_route(options: &[u8]) -> Result<bool, DropReason> {
    let mut at = 0;
    while let Some(kind) = u8_at(options, at).filter(|kind| *kind != 0) {
        if kind == 1 {
            at += 1;
            continue;
        }
        let is_source_route = matches!(kind, 131 | 137);
        let length = usize::from(u8_at(options, at + 1).unwrap_or(0));
        if length < 2 || at + length > options.len() {
            // Where the next option would be, nobody knows: what is left is ignored as options are.
            return if is_source_route { Err(DropReason::MalformedOptions) } else { Ok(false) };
        }
        if is_source_route && length > 2 {
            let pointer = u8_at(options, at + 2).ok_or(DropReason::MalformedOptions)?;
            if usize::from(pointer) <= length {
                return Ok(true);
            }
        }
        at += length;
    }
    Ok(false)
}

/// An IPv6 header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header6 {
    pub(super) version: u8,
    pub(super) traffic_class: u8,
    pub(super) payload_len: usize,
    pub(super) next_header: u8,
    pub(super) hop_limit: u8,
    pub(super) source: Ipv6,
    pub(super) destination: Ipv6,
}

impl Header6 {
    /// `None`: there are fewer than 40 bytes.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let first = u32_at(bytes, 0)?;
        Some(Self {
            version: (first >> 28) as u8,
            traffic_class: (first >> 20) as u8,
            payload_len: u16_at(bytes, 4)?.into(),
            next_header: u8_at(bytes, 6)?,
            hop_limit: u8_at(bytes, 7)?,
            source: ipv6_at(bytes, 8)?,
            destination: ipv6_at(bytes, 24)?,
        })
    }

    /// Where the packet ends.
    pub(super) fn end(&self) -> usize {
        HEADER_LEN as usize + self.payload_len
    }
}

/// What a chain of extension headers leads to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain {
    pub(super) upper_layer: u8,
    /// Where its header starts.
    pub(super) offset: usize,
    /// Offset word and Identification of the Fragment Header, if there is one.
    pub(super) fragment: Option<(u16, u32)>,
}

/// Why a chain cannot be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    Reason(DropReason),
    /// A routing header with segments left; the pointer to that field.
    Segments(u32),
    /// A Fragment Header with another extension header behind it.
    AfterFragment,
}

impl Chain {
    pub(super) fn piece(&self) -> Piece {
        match self.fragment {
            Some((word, _)) if word & OFFSET_MASK != 0 => Piece::Later,
            Some((word, _)) if word & M != 0 => Piece::First,
            _ => Piece::Whole,
        }
    }

    /// Follows the chain of a packet that ends at `end`. `through`: past what is refused, to learn what the packet carries.
    pub(super) fn follow(bytes: &[u8], next_header: u8, end: usize, through: bool) -> Result<Self, Broken> {
        const MALFORMED: Broken = Broken::Reason(DropReason::MalformedHeader);
        let (mut next_header, mut offset) = (next_header, HEADER_LEN as usize);
        for count in 0..=MAX_EXTENSION_HEADERS {
            let is_fragment = next_header == protocol::FRAGMENT;
            if !is_fragment && !is_skipped(next_header) {
                return Ok(Self { upper_layer: next_header, offset, fragment: None });
            }
            if count == MAX_EXTENSION_HEADERS && !through {
                break;
            }
            let head: [u8; 4] = bytes.get(offset..offset + 4).and_then(|head| head.try_into().ok()).ok_or(MALFORMED)?;
            let len = if is_fragment { FRAGMENT_HEADER_LEN as usize } else { (usize::from(head[1]) + 1) * 8 };
            if offset + len > end {
                return Err(MALFORMED);
            }
            let more_follows = is_fragment && is_extension_after_fragment(head[0]);
            if more_follows && !through {
                return Err(Broken::AfterFragment);
            }
            let word = u16::from_be_bytes([head[2], head[3]]);
            let later = word & OFFSET_MASK != 0;
            if count == MAX_EXTENSION_HEADERS && !(is_fragment && later) {
                break;
            }
            if is_fragment && (later || !more_follows) {
                let fragment = Some((word, u32_at(bytes, offset + 4).ok_or(MALFORMED)?));
                return Ok(Self { upper_layer: head[0], offset: offset + len, fragment });
            }
            if next_header == protocol::ROUTING && head[3] != 0 && !through {
                return Err(Broken::Segments((offset + 3) as u32));
            }
            next_header = head[0];
            offset += len;
        }
        Err(Broken::Reason(DropReason::ExtensionChain))
    }
}
