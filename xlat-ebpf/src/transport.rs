//! The transport header as far as the translation touches it: its checksum, and an ICMP echo's type (RFC 7915 4.5, 5.5).
//! The header does not move in the packet, so it is adjusted in place before the IP header changes.

use aya_ebpf::programs::XdpContext;
use xlat_common::{
    checksum::{Sum, update, update_udp},
    icmp,
    ipv4::{protocol, transport_checksum},
    reason::DropReason,
};

use crate::{
    conclude::Stop,
    packet::{self, MAX_OFFSET},
    verifier::{forget, forget_offset},
};

/// Which part of a packet the IP payload is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// All of it.
    Whole,
    /// The first fragment.
    First,
    /// Another fragment: there is no transport header.
    Later,
}

/// A transport header.
#[derive(Clone, Copy)]
pub struct Transport {
    /// Its protocol number, of either family.
    pub protocol: u8,
    /// Where it starts in the frame.
    pub offset: usize,
    /// Bytes from there to the end of the packet.
    pub len: usize,
    /// Where its checksum lies in the frame; 0: there is nothing to adjust.
    pub checksum_at: usize,
}

impl Transport {
    /// Finds the checksum of a protocol other than ICMP.
    ///
    /// # Errors
    ///
    /// A whole packet that ends within the header.
    #[inline(always)]
    pub fn find(protocol: u8, offset: usize, len: usize, piece: Piece) -> Result<Self, Stop> {
        let mut transport = Self { protocol, offset, len, checksum_at: 0 };
        let Some((checksum_offset, least)) = transport_checksum(protocol) else { return Ok(transport) };
        if piece == Piece::Later {
            return Ok(transport);
        }
        if piece == Piece::Whole && len < least as usize {
            return Err(Stop::drop(DropReason::MalformedTransport));
        }
        if len >= checksum_offset as usize + 2 {
            transport.checksum_at = offset + checksum_offset as usize;
        }
        Ok(transport)
    }

    /// The same header; the verifier takes all protocols for one from here on.
    #[inline(always)]
    pub fn forgotten(self, unknown: u32) -> Self {
        Self {
            protocol: forget(u32::from(self.protocol), unknown) as u8,
            checksum_at: forget_offset(self.checksum_at, unknown),
            ..self
        }
    }

    /// The checksum as it stands.
    #[inline(always)]
    pub fn checksum(&self, ctx: &XdpContext) -> Option<u16> {
        packet::load(ctx, self.checksum_at).map(u16::from_be)
    }

    /// The two ports as one number; 0 where there are none.
    #[inline(always)]
    pub fn ports(&self, ctx: &XdpContext) -> u32 {
        if self.checksum_at == 0 { 0 } else { packet::load(ctx, self.offset).map_or(0, u32::from_be) }
    }

    /// Updates the checksum for a change of the pseudo-header. UDP without checksum stays without.
    #[inline(always)]
    pub fn adjust(&self, ctx: &XdpContext, delta: Sum) -> Result<(), Stop> {
        if self.checksum_at == 0 {
            return Ok(());
        }
        let place = packet::at::<u16>(ctx, self.checksum_at & MAX_OFFSET).ok_or(Stop::drop(DropReason::Internal))?;
        // SAFETY: `at` has checked the bounds.
        let old = u16::from_be(unsafe { *place });
        let new = match (self.protocol, old) {
            (protocol::UDP, 0) => return Ok(()),
            (protocol::UDP | protocol::UDP_LITE, _) => update_udp(old, delta),
            _ => update(old, delta),
        };
        // SAFETY: as above.
        unsafe { *place = new.to_be() };
        Ok(())
    }

    /// Changes an ICMP echo's type and updates the checksum for that and for the change of the pseudo-header.
    #[inline(always)]
    pub fn adjust_echo(&self, ctx: &XdpContext, new_type: u8, pseudo_header: Sum) -> Result<(), Stop> {
        let place = packet::at::<[u16; 2]>(ctx, self.offset & MAX_OFFSET).ok_or(Stop::drop(DropReason::Internal))?;
        // SAFETY: `at` has checked the bounds.
        let words = unsafe { *place }.map(u16::from_be);
        // SAFETY: as above.
        unsafe { *place = icmp::change_type(words, new_type, pseudo_header).map(u16::to_be) };
        Ok(())
    }
}
