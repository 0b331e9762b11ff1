//! ICMP errors, the packet in error included (RFC 7915 4.2, 4.3, 5.2, 5.3; docs/translation.md 8).
//!
//! ```text
//! | IP header | ICMP, 8 bytes | inner IP header | rest of the inner packet | padding | extension structure |
//! ```
//!
//! A message is first read, whole, into a [`Plan`] and the headers to come (in the scratch record); whatever is to be refused is
//! refused there. Then it is written: the headers anew before the rest of the inner packet, which stays where it is but for
//! its checksum, and what follows it is moved or cut at the frame's end. The outer checksum is updated for every byte that
//! changes, so that a wrong one stays exactly as wrong.

pub mod to_four;
pub mod to_six;

use aya_ebpf::programs::XdpContext;
use xlat_common::{
    checksum::{Sum, update, update_udp},
    extension::Layout,
    icmp::{self, Rest},
    ipv4::protocol,
    reason::DropReason,
};

use crate::{
    conclude::{Stop, scratch},
    header6::TCP_CHECKSUM_END,
    maps::Plan,
    packet::{self, MAX_OFFSET},
};

/// What is wrong with an inner packet that cannot be translated.
const INNER: Stop = Stop::drop(DropReason::InnerPacket);
/// A fault of the program.
const INTERNAL: Stop = Stop::INTERNAL;

/// An inner protocol of which nothing is adjusted (IANA: reserved).
const NONE: u8 = 255;

/// In [`Plan::second`]: unused bytes and a length attribute.
const UNUSED: u32 = 0;
/// In [`Plan::second`]: a pointer.
const POINTER: u32 = 1;
/// In [`Plan::second`]: an MTU.
const MTU: u32 = 2;

/// Type, code, checksum and second word of the ICMP header, host order; zeros if it is not there.
#[inline(always)]
fn message(ctx: &XdpContext, at: usize) -> [u32; 4] {
    let words: [u32; 2] = packet::load(ctx, at).unwrap_or([0; 2]);
    let [first, rest] = words.map(u32::from_be);
    [first >> 24, first >> 16 & 0xff, first & 0xffff, rest]
}

impl Plan {
    /// This CPU's.
    #[inline(always)]
    fn get() -> Result<&'static mut Self, Stop> {
        scratch().map(|scratch| &mut scratch.plan).ok_or(INTERNAL)
    }

    /// Notes the translated error's head. `number` is the MTU received, where an MTU is to come.
    #[inline(always)]
    fn set_head(&mut self, error: &icmp::Error, number: u32) {
        self.kind_code = u32::from(error.kind) << 8 | u32::from(error.code);
        (self.second, self.number) = match error.rest {
            Rest::Unused => (UNUSED, 0),
            Rest::Pointer(pointer) => (POINTER, u32::from(pointer)),
            Rest::Zero => (POINTER, 0),
            Rest::Mtu => (MTU, number),
        };
    }

    /// Notes the lengths. `unit` is that of the length attribute.
    #[inline(always)]
    fn set_layout(&mut self, layout: &Layout, inner_len: u32, unit: u32) {
        self.inner_len = inner_len;
        self.rest = layout.original.saturating_sub(inner_len);
        self.padding = layout.padding;
        self.extension = layout.extension;
        self.attribute = layout.attribute(unit);
    }

    /// Bytes of the ICMP message to come.
    #[inline(always)]
    fn new_len(&self) -> u32 {
        icmp::HEADER_LEN + self.inner_len + self.rest + self.padding + self.extension + self.more
    }
}

/// The new type of an inner ICMP message, if there is a type to be seen. `at`: where the inner transport header begins, of which
/// `available` bytes are there.
///
/// # Errors
///
/// An ICMP error within the error (RFC 7915 4.3), a type that is not translated, or a transport header that lies beyond the
/// frame's first buffer.
#[inline(always)]
fn inner_icmp_type(ctx: &XdpContext, protocol: u8, at: usize, available: u32) -> Result<u8, Stop> {
    let available_len = available as usize;
    let seen = if available_len < TCP_CHECKSUM_END { available_len } else { TCP_CHECKSUM_END };
    if !packet::is_linear(ctx, at + seen) {
        return Err(INNER);
    }
    let is_icmp = matches!(protocol, protocol::ICMP | protocol::ICMPV6);
    if !is_icmp || available == 0 {
        return Ok(0);
    }
    let kind: u8 = packet::load(ctx, at).ok_or(INTERNAL)?;
    let (is_error, translated) = if protocol == protocol::ICMP {
        (icmp::is_error4(kind), icmp::echo_to_six(kind))
    } else {
        (icmp::is_error6(kind), icmp::echo_to_four(kind))
    };
    if is_error { Err(Stop::drop(DropReason::InnerIcmpError)) } else { translated.ok_or(INNER) }
}

/// Adjusts what is there of the inner transport header: its checksum, an echo's type. Gives the change for the outer checksum.
#[inline(always)]
fn adjust_inner(ctx: &XdpContext, plan: &Plan) -> Result<Sum, Stop> {
    let at = plan.rest_at as usize & MAX_OFFSET;
    let protocol = plan.inner_protocol as u8;
    // What is cut cannot be adjusted.
    let available = if plan.inner_available < plan.rest { plan.inner_available } else { plan.rest };
    let mut delta = Sum(u64::from(plan.inner_delta));
    let mut outer = Sum::ZERO;
    let checksum_offset = match protocol {
        protocol::ICMP | protocol::ICMPV6 => {
            if available == 0 {
                return Ok(outer);
            }
            let old: u8 = packet::load(ctx, at).ok_or(INTERNAL)?;
            packet::store(ctx, at, plan.inner_icmp_type as u8).ok_or(INTERNAL)?;
            let new = Sum::ZERO.add16((plan.inner_icmp_type as u16) << 8);
            outer = new.sub(Sum::ZERO.add16(u16::from(old) << 8));
            delta = delta.add(outer);
            2
        }
        protocol::TCP => 16,
        protocol::UDP | protocol::UDP_LITE | protocol::DCCP => 6,
        _ => return Ok(outer),
    };
    if available < checksum_offset + 2 {
        return Ok(outer);
    }
    let at = at + checksum_offset as usize;
    let old = u16::from_be(packet::load(ctx, at).ok_or(INTERNAL)?);
    let new = match (protocol, old) {
        (protocol::UDP, 0) => return Ok(outer),
        (protocol::UDP | protocol::UDP_LITE, _) => update_udp(old, delta),
        // As `icmp::change_type` has it for ICMPv4.
        (protocol::ICMPV6, _) if plan.inner_icmp_type == u32::from(icmp::v4::ECHO_REPLY) => update_udp(old, delta),
        _ => update(old, delta),
    };
    packet::store(ctx, at, new.to_be()).ok_or(INTERNAL)?;
    Ok(outer.add16(new).sub(Sum::ZERO.add16(old)))
}

/// The sum of bytes that begin at `offset` of what is summed: from an odd place on, bytes count with the other weight.
#[inline(always)]
fn placed(sum: Sum, offset: u32) -> Sum {
    if offset & 1 == 0 { sum } else { Sum(u64::from(sum.fold().swap_bytes())) }
}

/// The sum of the bytes that are cut.
#[inline(always)]
fn cut_sum(ctx: &XdpContext, plan: &Plan) -> Result<Sum, Stop> {
    let mut sum = Sum::ZERO;
    let inner_at = plan.message_at + icmp::HEADER_LEN;
    let (kept, extension_at) = (plan.rest_at + plan.rest, inner_at + plan.original);
    if kept < extension_at {
        let cut = packet::sum(ctx, kept as usize, (extension_at - kept) as usize).ok_or(INTERNAL)?;
        sum = sum.add(placed(cut, kept - plan.message_at));
    }
    let (kept, end) = (extension_at + plan.extension, plan.message_at + plan.message_len);
    if kept < end {
        sum = sum.add(packet::sum(ctx, kept as usize, (end - kept) as usize).ok_or(INTERNAL)?);
    }
    Ok(sum)
}

/// Makes the end of the frame anew, with room for what is to be appended; the headers are undefined afterwards. Gives where the
/// extension structure is by then.
#[inline(always)]
fn reshape(ctx: &XdpContext, plan: &Plan) -> Option<usize> {
    let extension_at = (plan.message_at + icmp::HEADER_LEN + plan.original) as usize;
    let rest_end = (plan.rest_at + plan.rest) as usize & MAX_OFFSET;
    let field_end = rest_end + (plan.padding & 0x7f) as usize;
    let new_end = field_end + (plan.extension + plan.more) as usize;
    let end = packet::frame_len(ctx);
    if new_end > end {
        packet::grow(ctx, new_end - end, plan.rest_at as usize)?;
    }
    let moved = plan.extension > 0 && field_end != extension_at;
    if moved {
        packet::load_bytes(ctx, extension_at, scratch()?, plan.extension as usize)?;
    }
    packet::set_len(ctx, new_end)?;
    packet::store_zeros(ctx, rest_end, plan.padding as usize)?;
    if moved {
        packet::store_bytes(ctx, field_end, scratch()?, plan.extension as usize)?;
    }
    Some(field_end)
}
