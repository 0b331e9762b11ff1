//! Services' traffic that is IPv6 from end to end: it passes, and is counted for the service that it is to or from, so that the
//! share of IPv6 can be told.

use xlat_common::{account, counters::Direction, ipv6::HEADER_LEN};

use crate::{
    conclude::count_for,
    context::Context,
    header6::Header6,
    lookup::{OWN, map6},
    maps::NATIVE,
    setting,
};

/// Counts a packet that passes. `source` and `destination` are the flags of its addresses, as [`map6`] finds them.
#[inline(always)]
pub fn count(source: u32, destination: u32, bytes: u32) {
    if setting!(native) == 0 || (source | destination) & OWN != 0 {
        return;
    }
    let (to, from) = (destination >> account::FLAGS_SHIFT, source >> account::FLAGS_SHIFT);
    if to != 0 {
        count_for(&NATIVE, to, Direction::FourToSix as u32, bytes);
    } else if from != 0 {
        count_for(&NATIVE, from, Direction::SixToFour as u32, bytes);
    }
}

/// As [`count`], of a packet that the general programs pass, which are those of `direction`.
#[inline(always)]
pub fn passed(ctx: &Context, direction: Direction) {
    let arrival = &ctx.scratch().arrival;
    // What the fragmenter gives the kernel has been translated.
    if setting!(native) == 0 || matches!(direction, Direction::FourToSix) || arrival.slow_path {
        return;
    }
    let Some(header) = Header6::load(ctx, arrival.link.len()) else { return };
    let (source, destination) = (map6(header.source()), map6(header.destination()));
    count(source.flags, destination.flags, HEADER_LEN + header.payload_len() as u32);
}
