//! Counters: one record per CPU, fetched once per packet.

use core::ops::AddAssign;

use crate::reason::DropReason;

/// Which way a packet is translated.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// IPv4 to IPv6.
    FourToSix,
    /// IPv6 to IPv4.
    SixToFour,
}

/// What the packet carries, as far as it is counted apart.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// TCP (6).
    Tcp,
    /// UDP (17).
    Udp,
    /// ICMP (1) and ICMPv6 (58), errors and queries.
    Icmp,
    /// Everything else.
    Other,
}

/// What became of a packet.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Translated and sent out of the interface it came in by.
    Transmitted,
    /// Translated and sent out of another interface.
    Redirected,
    /// Translated and given to the kernel to forward.
    ToKernel,
    /// Given to the fragmenter; its pieces are counted again when they come back.
    Fragmented,
    /// Dropped; the reason is counted apart.
    Dropped,
    /// Not in scope, given to the kernel untouched.
    Passed,
}

impl Direction {
    /// Both, in the order of their numbers.
    pub const ALL: [Self; 2] = [Self::FourToSix, Self::SixToFour];

    /// The label in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FourToSix => "four_to_six",
            Self::SixToFour => "six_to_four",
        }
    }
}

impl Protocol {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Tcp, Self::Udp, Self::Icmp, Self::Other];

    /// The label in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
            Self::Other => "other",
        }
    }

    /// Of an IPv4 protocol or IPv6 next header number.
    #[inline(always)]
    #[must_use]
    pub const fn of(number: u8) -> Self {
        match number {
            6 => Self::Tcp,
            17 => Self::Udp,
            1 | 58 => Self::Icmp,
            _ => Self::Other,
        }
    }
}

impl Verdict {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 6] =
        [Self::Transmitted, Self::Redirected, Self::ToKernel, Self::Fragmented, Self::Dropped, Self::Passed];

    /// The label in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Transmitted => "transmitted",
            Self::Redirected => "redirected",
            Self::ToKernel => "to_kernel",
            Self::Fragmented => "fragmented",
            Self::Dropped => "dropped",
            Self::Passed => "passed",
        }
    }
}

/// Packets and bytes. Bytes are those of the IP packet as it arrived, without link-layer header and padding.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, more: Self) {
        self.packets += more.packets;
        self.bytes += more.bytes;
    }
}

/// How many [`Traffic`] cells there are: direction × protocol × verdict.
pub const TRAFFIC_CELLS: usize = 2 * 4 * 8;

/// One CPU's counters. Sum over CPUs with [`Counters::add`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    /// By direction, protocol and verdict; see [`Counters::cell`]. (8 verdict places are kept for 6 verdicts: the
    /// index is three bit fields, which needs no multiplication and gives the verifier its bound.)
    pub traffic: [Traffic; TRAFFIC_CELLS],
    /// By [`DropReason`].
    pub drops: [u64; 32],
    /// ICMP errors of the relay's own: sent, and suppressed by rate or setting.
    pub errors_sent: u64,
    /// See `errors_sent`.
    pub errors_suppressed: u64,
    /// Frames that are neither IPv4 nor IPv6, or not for this machine.
    pub passed_other: u64,
    /// Packets that were translated twice (RFC 7757 4).
    pub hairpinned: u64,
    /// Packets, and ICMP errors of the relay's own, for which the routing table was asked (`bpf_fib_lookup`), their next hop not
    /// being remembered.
    pub route_lookups: u64,
    /// Events not logged because of the rate limit.
    pub events_suppressed: u64,
    /// Not a counter: the IPv4 Identification generator of this CPU; in the record of what instances before this one have counted,
    /// the number of the latest of them.
    pub identification: u64,
}

const _: () = assert!(DropReason::COUNT <= 32, "the drops array is full");

impl Counters {
    /// All zero.
    pub const ZERO: Self = Self {
        traffic: [Traffic { packets: 0, bytes: 0 }; TRAFFIC_CELLS],
        drops: [0; 32],
        errors_sent: 0,
        errors_suppressed: 0,
        passed_other: 0,
        hairpinned: 0,
        route_lookups: 0,
        events_suppressed: 0,
        identification: 0,
    };

    /// Where a direction, protocol and verdict are counted.
    #[inline(always)]
    #[must_use]
    pub const fn cell(direction: Direction, protocol: Protocol, verdict: Verdict) -> usize {
        (((direction as usize) << 5) | ((protocol as usize) << 3) | verdict as usize) & (TRAFFIC_CELLS - 1)
    }

    /// The traffic of one direction, protocol and verdict.
    #[must_use]
    pub const fn traffic(&self, direction: Direction, protocol: Protocol, verdict: Verdict) -> Traffic {
        self.traffic[Self::cell(direction, protocol, verdict)]
    }

    /// How many were dropped for `reason`.
    #[must_use]
    pub const fn drops(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize]
    }

    /// Adds another CPU's record.
    pub fn add(&mut self, other: &Self) {
        for (sum, more) in self.traffic.iter_mut().zip(other.traffic) {
            *sum += more;
        }
        for (sum, more) in self.drops.iter_mut().zip(&other.drops) {
            *sum += more;
        }
        self.errors_sent += other.errors_sent;
        self.errors_suppressed += other.errors_suppressed;
        self.passed_other += other.passed_other;
        self.hairpinned += other.hairpinned;
        self.route_lookups += other.route_lookups;
        self.events_suppressed += other.events_suppressed;
    }
}

#[cfg(feature = "user")]
// SAFETY: repr(C), only integers, no padding (all fields are 8-byte aligned).
unsafe impl aya::Pod for Counters {}
