//! The slow path: a packet that must become several goes to the kernel, by the fragmenter's veth pair
//! (docs/architecture.md, "The fragmenter").

//!
//! The kernel would look at the packet's IPv4 options, and drop one with options that it does not like. RFC 7915 4.1 has them
//! ignored, so they are overwritten with No Operation (RFC 791 3.1). Where the arrival interface has a translation prefix other than the
//! first, an option of the relay's own says which: it is copied into every piece, and read again when they come back.

use aya_ebpf::{bindings::xdp_action, helpers::generated::bpf_redirect, programs::XdpContext};
use xlat_common::{checksum::Sum, ipv4, reason::DropReason};

use crate::{
    conclude::Stop,
    header4::Header4,
    link::{self, Arrival, ETHERNET_LEN, Link},
    packet, setting,
};

/// Type and length of the relay's own option: one for experiments, to be copied on fragmentation (RFC 4727 2.3, RFC 791 3.1). The
/// prefix' index follows, and a No Operation.
const OWN_OPTION: u32 = 158 << 24 | 3 << 16;
/// Four times No Operation.
const NOTHING: u32 = 0x0101_0101;
const HEADER_LEN: usize = ipv4::HEADER_LEN as usize;
/// The longest options, bytes.
const MOST_OPTIONS: usize = 40;
const WORD: usize = size_of::<u32>();

/// Sends the original IPv4 packet to the fragmenter.
#[inline(always)]
pub fn send(ctx: &XdpContext, arrival: &Arrival, header: &Header4) -> Stop {
    redirect(ctx, arrival, header).unwrap_or(Stop::drop(DropReason::Internal))
}

/// The index of the translation prefix of the interface that a packet had arrived by before it came back in pieces.
#[inline(always)]
pub fn prefix(ctx: &XdpContext, offset: usize, header: &Header4) -> u8 {
    if header.header_len() <= HEADER_LEN {
        return 0;
    }
    let option = packet::load::<u32>(ctx, offset + HEADER_LEN).map_or(0, u32::from_be);
    if option & 0xffff_0000 == OWN_OPTION { (option >> 8) as u8 } else { 0 }
}

#[inline(always)]
fn redirect(ctx: &XdpContext, arrival: &Arrival, header: &Header4) -> Option<Stop> {
    let ifindex = setting!(fragmenter_ifindex);
    let near = link::interface(ifindex)?;
    let has_options = header.header_len() > HEADER_LEN;
    let grows = !has_options && arrival.prefix != 0 && header.total_len() <= 0xffff - WORD;
    let grown = if grows { WORD } else { 0 };
    let shorter = arrival.link.len() as i32 - (ETHERNET_LEN + grown) as i32;
    if shorter != 0 {
        packet::adjust_head(ctx, shorter)?;
    }
    Link::untagged(&near.peer_mac, &near.mac).write(ctx, link::IPV4)?;
    if has_options || grows {
        write_options(ctx, arrival.prefix, header.header_len() - HEADER_LEN, grown)?;
    }
    // SAFETY: the helper takes numbers only.
    let action = (unsafe { bpf_redirect(ifindex, 0) }) as u32;
    if action == xdp_action::XDP_REDIRECT { Some(Stop::fragment(action)) } else { None }
}

/// Moves the header `grown` bytes to the front, and writes options in the place of those that there are, `len` bytes, and behind it.
#[inline(always)]
fn write_options(ctx: &XdpContext, prefix: u8, len: usize, grown: usize) -> Option<()> {
    let [first, second, third, source, destination] =
        packet::load::<[u32; 5]>(ctx, ETHERNET_LEN + grown)?.map(u32::from_be);
    // A word more for IHL, its bytes more for Total Length.
    let first = if grown != 0 { first + (1 << 24) + WORD as u32 } else { first };
    let third = third & 0xffff_0000;
    let option = if prefix != 0 { OWN_OPTION | u32::from(prefix) << 8 | 1 } else { NOTHING };
    let mut sum = Sum::ZERO.add32(first).add32(second).add32(third).add32(source).add32(destination).add32(option);
    let options = ETHERNET_LEN + HEADER_LEN;
    packet::store(ctx, options, option.to_be())?;
    for word in 1..MOST_OPTIONS / WORD {
        if word * WORD >= len {
            break;
        }
        packet::store(ctx, options + word * WORD, NOTHING.to_be())?;
        sum = sum.add32(NOTHING);
    }
    let third = third | u32::from(sum.checksum());
    packet::store(ctx, ETHERNET_LEN, [first, second, third, source, destination].map(u32::to_be))
}
