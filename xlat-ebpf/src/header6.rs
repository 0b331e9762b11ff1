//! Reading an IPv6 header and its chain of extension headers.

use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use xlat_common::{
    address::Ipv6,
    icmp,
    ipv4::protocol,
    ipv6::{
        FRAGMENT_HEADER_LEN, HEADER_LEN, M, MAX_EXTENSION_HEADERS, OFFSET_MASK, is_extension_after_fragment, is_skipped,
    },
    reason::DropReason,
};

use crate::{
    conclude::Stop,
    four_to_six::answer,
    packet::{self, frame_len},
    six_to_four::prohibited,
    transport::Piece,
};

/// An IPv6 header, as it stands on the wire.
#[derive(Clone, Copy)]
pub struct Header6 {
    words: [u64; 5],
}

impl Header6 {
    /// Of the 40 bytes as they stand on the wire.
    #[inline(always)]
    pub const fn new(words: [u64; 5]) -> Self {
        Self { words }
    }

    /// Reads the 40 bytes at `offset`.
    #[inline(always)]
    pub fn load(ctx: &XdpContext, offset: usize) -> Option<Self> {
        packet::load(ctx, offset).map(Self::new)
    }

    #[inline(always)]
    const fn word(&self, index: usize) -> u64 {
        u64::from_be(self.words[index])
    }

    /// Version.
    #[inline(always)]
    pub const fn version(&self) -> u8 {
        (self.word(0) >> 60) as u8
    }

    /// Traffic Class.
    #[inline(always)]
    pub const fn traffic_class(&self) -> u8 {
        (self.word(0) >> 52) as u8
    }

    /// Payload Length, bytes.
    #[inline(always)]
    pub const fn payload_len(&self) -> usize {
        (self.word(0) >> 16) as u16 as usize
    }

    /// Next Header.
    #[inline(always)]
    pub const fn next_header(&self) -> u8 {
        (self.word(0) >> 8) as u8
    }

    /// Hop Limit.
    #[inline(always)]
    pub const fn hop_limit(&self) -> u8 {
        self.word(0) as u8
    }

    /// Source Address.
    #[inline(always)]
    pub const fn source(&self) -> Ipv6 {
        Ipv6 { hi: self.word(1), lo: self.word(2) }
    }

    /// Destination Address.
    #[inline(always)]
    pub const fn destination(&self) -> Ipv6 {
        Ipv6 { hi: self.word(3), lo: self.word(4) }
    }

    /// Whether the version and the length fit the frame. `offset`: where the header starts.
    #[inline(always)]
    pub fn check(&self, ctx: &XdpContext, offset: usize) -> Result<(), Stop> {
        let end = offset + HEADER_LEN as usize + self.payload_len();
        if self.version() != 6 || (end > ctx.data_end() - ctx.data() && end > frame_len(ctx)) {
            return Err(Stop::drop(DropReason::MalformedHeader));
        }
        Ok(())
    }
}

/// What the chain of extension headers leads to.
#[derive(Clone, Copy)]
pub struct Chain {
    /// The upper-layer protocol.
    pub upper_layer: u8,
    /// Where its header starts in the frame.
    pub offset: usize,
    /// Whether there is a Fragment Header.
    pub has_fragment: bool,
    /// Its offset, reserved bits and M, host order; 0 if there is none.
    pub fragment: u16,
    /// Its Identification, host order; 0 if there is none.
    pub identification: u32,
    /// The number of the [`Stop`] that the chain ended in, or 0. (Not a `Result`: see `conclude::Sent`.)
    stop: u32,
}

impl Chain {
    /// No extension headers.
    #[inline(always)]
    pub const fn none(upper_layer: u8, offset: usize) -> Self {
        Self { upper_layer, offset, has_fragment: false, fragment: 0, identification: 0, stop: 0 }
    }

    /// Which part of a packet this is. An atomic fragment is a whole packet (RFC 8200 4.5).
    #[inline(always)]
    pub const fn piece(&self) -> Piece {
        if self.fragment & OFFSET_MASK != 0 {
            Piece::Later
        } else if self.fragment & M != 0 {
            Piece::First
        } else {
            Piece::Whole
        }
    }

    /// Follows the chain from `next_header`; the packet ends at `end`. `start` is where the IPv6 header begins.
    #[inline(always)]
    pub fn follow(ctx: &XdpContext, start: usize, next_header: u8, end: usize) -> Self {
        Self::followed(ctx, start, u32::from(next_header), end)
    }

    /// As [`Chain::follow`], through what that refuses as far as it can be read: to learn what a refused packet carries.
    #[inline(always)]
    pub fn follow_through(ctx: &XdpContext, start: usize, next_header: u8, end: usize) -> Self {
        Self::followed(ctx, start, u32::from(next_header) | THROUGH, end)
    }

    #[inline(always)]
    fn followed(ctx: &XdpContext, start: usize, next_header: u32, end: usize) -> Self {
        let packed = follow_chain(ctx.ctx, start as u32, next_header, end as u32);
        let high = (packed >> 32) as u32;
        let offset = packed as usize & packet::MAX_OFFSET;
        let mut chain = Self::none((packed >> 16) as u8, offset);
        if packed & STOPPED != 0 {
            chain.stop = high;
        }
        if packed & HAS_FRAGMENT != 0 {
            let word = packet::load(ctx, high as usize).map_or(0, u64::from_be);
            chain.has_fragment = true;
            chain.fragment = (word >> 32) as u16;
            chain.identification = word as u32;
        }
        chain
    }

    /// Whether the chain leads to an upper layer.
    ///
    /// # Errors
    ///
    /// What docs/translation.md 2 and 7 refuse.
    #[inline(always)]
    pub const fn check(&self) -> Result<(), Stop> {
        if self.stop == 0 { Ok(()) } else { Err(Stop::from_number(self.stop)) }
    }

    /// Whether it leads to the start of an ICMPv6 message.
    #[inline(always)]
    pub fn may_be_icmp(&self) -> bool {
        self.stop == 0 && self.upper_layer == protocol::ICMPV6 && self.piece() != Piece::Later
    }

    /// Whether it leads to a whole ICMPv6 message.
    #[inline(always)]
    pub fn is_icmp(&self) -> bool {
        self.stop == 0 && self.upper_layer == protocol::ICMPV6 && self.piece() == Piece::Whole
    }
}

/// In [`follow_chain`]'s `next_header`: see [`Chain::follow_through`].
const THROUGH: u32 = 0x100;
/// In what [`follow_chain`] gives: there is a Fragment Header, at the offset in the high half.
const HAS_FRAGMENT: u64 = 1 << 24;
/// In what [`follow_chain`] gives: the high half is a [`Stop`]'s number.
const STOPPED: u64 = 1 << 25;

/// [`Chain::follow`] as a global function, for its loop (see `tables::shorter_length4`). Bits 0–15: the upper layer's offset;
/// 16–23: its protocol; then the two flags.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn follow_chain(ctx: *mut xdp_md, start: u32, next_header: u32, end: u32) -> u64 {
    let ctx = &XdpContext::new(ctx);
    let start = start as usize & packet::MAX_OFFSET;
    match walk(ctx, start, next_header as u8, end as usize, next_header & THROUGH != 0) {
        Ok(packed) => packed,
        Err(stop) => u64::from(stop.number()) << 32 | STOPPED,
    }
}

/// Where in a transport header the checksum ends that is furthest behind its start, TCP's: it is found by a limited offset, too.
pub const TCP_CHECKSUM_END: usize = 18;

#[inline(always)]
fn walk(ctx: &XdpContext, start: usize, next_header: u8, end: usize, through: bool) -> Result<u64, Stop> {
    const MALFORMED: Stop = Stop::drop(DropReason::MalformedHeader);
    let mut next_header = next_header;
    let mut offset = start + HEADER_LEN as usize;
    for count in 0..=MAX_EXTENSION_HEADERS {
        let is_fragment = next_header == protocol::FRAGMENT;
        if !is_fragment && !is_skipped(next_header) {
            return Ok(offset as u64 | u64::from(next_header) << 16);
        }
        if count == MAX_EXTENSION_HEADERS && !through {
            break;
        }
        let bytes: [u8; 4] = packet::load(ctx, offset).ok_or(MALFORMED)?;
        let len = if is_fragment { FRAGMENT_HEADER_LEN as usize } else { (bytes[1] as usize + 1) * 8 };
        if offset + len > end || offset + len + TCP_CHECKSUM_END > packet::MAX_OFFSET {
            return Err(MALFORMED);
        }
        let more_follows = is_fragment && is_extension_after_fragment(bytes[0]);
        if more_follows && !through {
            return Err(Stop::refuse(DropReason::FragmentExtension, prohibited()));
        }
        let later = u16::from_be_bytes([bytes[2], bytes[3]]) & OFFSET_MASK != 0;
        if count == MAX_EXTENSION_HEADERS && !(is_fragment && later) {
            break;
        }
        if is_fragment && (later || !more_follows) {
            return Ok((offset + len) as u64 | u64::from(bytes[0]) << 16 | HAS_FRAGMENT | (offset as u64) << 32);
        }
        if next_header == protocol::ROUTING && bytes[3] != 0 && !through {
            let pointer = (offset + 3 - start) as u32;
            return Err(Stop::refuse(DropReason::RoutingHeader, answer(icmp::v6::PARAMETER_PROBLEM, 0, pointer)));
        }
        next_header = bytes[0];
        offset += len;
    }
    Err(Stop::drop(DropReason::ExtensionChain))
}
