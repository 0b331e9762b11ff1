//! Reading an IPv4 header.

use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use xlat_common::{checksum::Sum, ipv4, ipv6::is_fragment4, reason::DropReason};

use crate::{
    conclude::{Stop, scratch},
    packet::{self, frame_len},
    transport::Piece,
    verifier::forget,
};

/// The fixed part of an IPv4 header, as it stands on the wire.
#[derive(Clone, Copy)]
pub struct Header4 {
    words: [u32; 5],
}

/// Where [`Header4::keep`] puts a header.
#[derive(Clone, Copy)]
pub enum Place {
    /// That of the packet.
    Outer,
    /// That of the packet in error, in an ICMP error.
    Inner,
}

impl Header4 {
    /// Of the 20 bytes as they stand on the wire.
    #[inline(always)]
    pub const fn new(words: [u32; 5]) -> Self {
        Self { words }
    }

    /// Reads the 20 bytes at `offset`.
    #[inline(always)]
    pub fn load(ctx: &XdpContext, offset: usize) -> Option<Self> {
        packet::load(ctx, offset).map(Self::new)
    }

    /// The same, in the scratch record, where it can be read again and takes no stack.
    #[inline(always)]
    pub fn keep(self, place: Place) -> Option<&'static Self> {
        let place = &mut scratch()?.headers[place as usize];
        *place = self;
        Some(place)
    }

    #[inline(always)]
    const fn word(&self, index: usize) -> u32 {
        u32::from_be(self.words[index])
    }

    /// Version and IHL, the first byte.
    #[inline(always)]
    pub const fn version_ihl(&self) -> u8 {
        (self.word(0) >> 24) as u8
    }

    /// Length of the header with its options, bytes: 0–60.
    #[inline(always)]
    pub const fn header_len(&self) -> usize {
        (self.version_ihl() & 0xf) as usize * 4
    }

    /// Type of Service.
    #[inline(always)]
    pub const fn tos(&self) -> u8 {
        (self.word(0) >> 16) as u8
    }

    /// Total Length, bytes.
    #[inline(always)]
    pub const fn total_len(&self) -> usize {
        (self.word(0) & 0xffff) as usize
    }

    /// Identification.
    #[inline(always)]
    pub const fn identification(&self) -> u16 {
        (self.word(1) >> 16) as u16
    }

    /// Flags and fragment offset.
    #[inline(always)]
    pub const fn fragment(&self) -> u16 {
        self.word(1) as u16
    }

    /// Whether it is a fragment: MF set or offset not 0.
    #[inline(always)]
    pub const fn is_fragment(&self) -> bool {
        is_fragment4(self.fragment())
    }

    /// Whether the transport header, if any, is elsewhere: offset not 0.
    #[inline(always)]
    pub const fn is_later_fragment(&self) -> bool {
        self.fragment() & ipv4::OFFSET_MASK != 0
    }

    /// Which part of a packet this is.
    #[inline(always)]
    pub fn piece(&self) -> Piece {
        if self.is_later_fragment() {
            Piece::Later
        } else if self.is_fragment() {
            Piece::First
        } else {
            Piece::Whole
        }
    }

    /// Whether DF is set.
    #[inline(always)]
    pub const fn dont_fragment(&self) -> bool {
        self.fragment() & ipv4::DF != 0
    }

    /// Time to Live.
    #[inline(always)]
    pub const fn ttl(&self) -> u8 {
        (self.word(2) >> 24) as u8
    }

    /// Protocol.
    #[inline(always)]
    pub const fn protocol(&self) -> u8 {
        (self.word(2) >> 16) as u8
    }

    /// Source Address, host order.
    #[inline(always)]
    pub const fn source(&self) -> u32 {
        self.word(3)
    }

    /// Destination Address, host order.
    #[inline(always)]
    pub const fn destination(&self) -> u32 {
        self.word(4)
    }

    /// The sum of the fixed part, checksum included.
    #[inline(always)]
    pub const fn sum(&self) -> Sum {
        Sum::ZERO.add32(self.word(0)).add32(self.word(1)).add32(self.word(2)).add32(self.word(3)).add32(self.word(4))
    }

    /// Whether the version, the lengths and the frame fit each other; the header checksum (RFC 1812 5.2.2). `offset`:
    /// where the header starts in the frame. `options`: the sum of the options.
    #[inline(always)]
    pub fn check(&self, ctx: &XdpContext, offset: usize, options: Sum) -> Result<(), Stop> {
        let header_len = self.header_len();
        if self.version_ihl() >> 4 != 4 || header_len < 20 || self.total_len() < header_len {
            return Err(Stop::drop(DropReason::MalformedHeader));
        }
        let end = offset + self.total_len();
        if end > ctx.data_end() - ctx.data() && end > frame_len(ctx) {
            return Err(Stop::drop(DropReason::MalformedHeader));
        }
        if self.sum().add(options).fold() != 0xffff {
            return Err(Stop::drop(DropReason::Ipv4Checksum));
        }
        Ok(())
    }
}

/// IPv4 options: at most 40 bytes after the fixed part.
///
/// ```text
/// |  Type  | Length | Pointer | route data …   (source routes: types 131 and 137, RFC 791 3.1)
/// ```
#[derive(Clone, Copy)]
pub struct Options {
    offset: usize,
    len: usize,
}

/// Loose Source and Record Route.
const LOOSE_SOURCE_ROUTE: u8 = 131;
/// Strict Source and Record Route.
const STRICT_SOURCE_ROUTE: u8 = 137;
/// Longest options there can be, bytes.
const MAX_OPTIONS: usize = 40;

impl Options {
    /// Those of a header at `offset`.
    #[inline(always)]
    pub const fn of(offset: usize, header_len: usize) -> Self {
        Self { offset: offset + 20, len: header_len.saturating_sub(20) & 0x3f }
    }

    /// Their sum; `None`: the frame ends within them.
    #[inline(always)]
    pub fn sum(self, ctx: &XdpContext) -> Option<Sum> {
        if self.len == 0 { Some(Sum::ZERO) } else { packet::sum(ctx, self.offset, self.len) }
    }

    /// Whether there is an unexpired source route among them (RFC 7915 4.1; RFC 791: the pointer is not past the length).
    ///
    /// # Errors
    ///
    /// A source route's length cannot be true.
    #[inline(always)]
    pub fn has_unexpired_source_route(self, ctx: &XdpContext) -> Result<bool, DropReason> {
        match source_route(ctx.ctx, self.offset as u32, self.len as u32) {
            NO_SOURCE_ROUTE => Ok(false),
            UNEXPIRED_SOURCE_ROUTE => Ok(true),
            _ => Err(DropReason::MalformedOptions),
        }
    }
}

const NO_SOURCE_ROUTE: u32 = 0;
const UNEXPIRED_SOURCE_ROUTE: u32 = 1;
const MALFORMED: u32 = 2;

/// Goes through `len` bytes of options at `offset`. A global function, for its loop (see `tables::shorter_length4`).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn source_route(ctx: *mut xdp_md, offset: u32, len: u32) -> u32 {
    let ctx = &XdpContext::new(ctx);
    let (offset, len) = ((offset & 0xff) as usize, (len & 0x3f) as usize);
    let unknown = ctx.ingress_ifindex() as u32;
    let mut at = 0usize;
    for _ in 0..MAX_OPTIONS {
        // All ways to come here are one to the verifier.
        at = forget(at as u32, unknown) as usize & 0x3f;
        let len = forget(len as u32, unknown) as usize & 0x3f;
        if at >= len {
            break;
        }
        let Some(kind) = packet::load::<u8>(ctx, offset + at) else { return MALFORMED };
        // End of Option List, No Operation.
        if kind == 0 {
            break;
        }
        if kind == 1 {
            at += 1;
            continue;
        }
        let is_source_route = kind == LOOSE_SOURCE_ROUTE || kind == STRICT_SOURCE_ROUTE;
        // 0 where the packet ends here.
        let length = packet::load::<u8>(ctx, offset + at + 1).map_or(0, usize::from);
        if length < 2 || at + length > len {
            // Where the next option would be, nobody knows: what is left is ignored as options are.
            return if is_source_route { MALFORMED } else { NO_SOURCE_ROUTE };
        }
        if is_source_route {
            // One without a pointer routes nothing, and may end where the packet ends.
            let pointer = packet::load::<u8>(ctx, offset + at + 2);
            if length > 2 {
                let Some(pointer) = pointer else { return MALFORMED };
                if usize::from(pointer) <= length {
                    return UNEXPIRED_SOURCE_ROUTE;
                }
            }
        }
        at += length;
    }
    NO_SOURCE_ROUTE
}
