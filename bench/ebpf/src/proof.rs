//! Numbered packets into a relay, and what came out of it of each.

use aya_ebpf::{bindings::xdp_action, helpers::generated::bpf_redirect, macros::xdp, programs::XdpContext};
use xlat_bench_common::{NUMBERED_WORDS, NUMBERS_PER_PAGE, TWICE, fingerprint};

use crate::{
    maps::{NUMBERED, NUMBERING, NUMBERS},
    packet::at,
};

/// Where an IPv4 frame has its UDP checksum, and after it the number.
const CHECKSUM_AT: usize = 40;
const NUMBER_AT: usize = 42;
/// Where an IPv6 frame has its addresses, and the number.
const ADDRESSES_AT: usize = 22;
const NUMBER6_AT: usize = 62;
/// UDP.
const UDP: u8 = 17;

/// Sends the next frame with its number.
#[xdp]
#[inline(always)]
pub fn number(ctx: XdpContext) -> u32 {
    try_number(&ctx).unwrap_or(xdp_action::XDP_ABORTED)
}

#[inline(always)]
fn try_number(ctx: &XdpContext) -> Option<u32> {
    let numbering = NUMBERING.get_ptr_mut(0)?;
    let words = at::<[u64; NUMBERED_WORDS]>(ctx, 0)?;
    // SAFETY: the record is this program's, which runs in one thread; `at` has checked the frame.
    unsafe {
        let next = (*numbering).next;
        let frames = u64::from((*numbering).frames);
        if frames == 0 {
            return None;
        }
        let frame = NUMBERED.get((next % frames) as u32)?;
        *words = frame.bytes;
        let number = next as u32;
        let sum = u64::from(frame.sum) + u64::from(number >> 16) + u64::from(number & 0xffff);
        let sum = (sum >> 16) + (sum & 0xffff);
        let sum = (sum >> 16) + (sum & 0xffff);
        let checksum = match !(sum as u16) {
            0 => 0xffff,
            other => other,
        };
        *at::<u16>(ctx, CHECKSUM_AT)? = checksum.to_be();
        *at::<u32>(ctx, NUMBER_AT)? = number.to_be();
        (*numbering).next = next + 1;
        Some(bpf_redirect((*numbering).into, 0) as u32)
    }
}

/// Notes the addresses that the packet of a number came with; drops it.
#[xdp(frags)]
#[inline(always)]
pub fn note(ctx: XdpContext) -> u32 {
    match try_note(&ctx) {
        Some(()) => xdp_action::XDP_DROP,
        None => xdp_action::XDP_PASS,
    }
}

#[inline(always)]
fn try_note(ctx: &XdpContext) -> Option<()> {
    let number = at::<u32>(ctx, NUMBER6_AT)?;
    let addresses = at::<[u64; 4]>(ctx, ADDRESSES_AT)?;
    let (ether_type, next_header) = (at::<u16>(ctx, 12)?, at::<u8>(ctx, 20)?);
    // SAFETY: `at` has checked the places; each number's word is written by one CPU at a time, as the packets of a link are.
    unsafe {
        if u16::from_be(*ether_type) != 0x86dd || *next_header != UDP {
            return None;
        }
        let [a, b, c, d] = (*addresses).map(u64::from_be);
        let number = u32::from_be(*number);
        let page = NUMBERS.get_ptr_mut(number / NUMBERS_PER_PAGE)?;
        let place = &mut (*page)[(number % NUMBERS_PER_PAGE) as usize];
        *place = if *place == 0 { fingerprint([a, b], [c, d]) } else { TWICE };
    }
    Some(())
}
