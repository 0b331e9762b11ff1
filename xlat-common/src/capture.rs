//! Captures: what the daemon tells the capture program (`xlat-ebpf/src/capture`), and what that tells of each packet.

use crate::address::Ipv6;

/// The program that stands on the interfaces while a capture runs.
pub const PROGRAM: &str = "xlat_capture";
/// Captures at a time.
pub const SLOTS: usize = 4;
/// Most bytes of a frame that are kept, before and after translation each.
pub const MAX_SNAPLEN: u32 = 2048;
/// Fewest: what the addresses of a packet with two VLAN tags are in.
pub const MIN_SNAPLEN: u32 = 64;

/// What one capture asks for. All conditions hold together.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Until when it is in force, nanoseconds of the kernel's monotonic clock. The daemon puts it off as long as it lives, so
    /// that a killed daemon's capture ends. 0: there is no capture in this slot.
    pub until: u64,
    /// With [`Filter::HOST6`]: an IPv6 address that is the packet's source or destination before or after translation.
    pub ipv6: Ipv6,
    /// The bits of it that count.
    pub ipv6_mask: Ipv6,
    /// With [`Filter::HOST4`]: the same for IPv4, host order.
    pub ipv4: u32,
    /// The bits of it that count.
    pub ipv4_mask: u32,
    /// The device that the packet arrived at; 0: any.
    pub ifindex: u32,
    /// The reasons for a drop that count, a bit for each [`crate::reason::DropReason`]; 0: any.
    pub reasons: u32,
    /// [`Filter::HOST4`], [`Filter::HOST6`], [`Filter::DROPS`].
    pub flags: u32,
    /// Bytes of a frame that are kept, [`MIN_SNAPLEN`] to [`MAX_SNAPLEN`].
    pub snaplen: u32,
    /// Packets a second.
    pub rate: u32,
    /// Zero.
    pub reserved: u32,
}

impl Filter {
    /// Packets of one IPv4 host or prefix; with [`Filter::HOST6`] of either.
    pub const HOST4: u32 = 1;
    /// Packets of one IPv6 host or prefix.
    pub const HOST6: u32 = 2;
    /// Dropped packets alone.
    pub const DROPS: u32 = 4;
}

/// What one slot has counted.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Packets that the filter lets through.
    pub matched: u64,
    /// Of them: over the rate.
    pub over_rate: u64,
    /// Of them: the buffer was full.
    pub lost: u64,
}

/// One CPU's tallies, by slot.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tallies(pub [Tally; SLOTS]);

/// The head of what is told of a packet. The first bytes of the frame as it arrived follow it, and then, at the next multiple of
/// eight, those of the frame as it left.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// When it arrived, nanoseconds of the kernel's monotonic clock.
    pub arrived: u64,
    /// When the program was through with it.
    pub left: u64,
    /// The captures that it is for: a bit for each slot.
    pub slots: u32,
    /// The device that it arrived at.
    pub ifindex: u32,
    /// The XDP action.
    pub action: u32,
    /// What became of it (`crate::outcome`).
    pub outcome: u32,
    /// Bytes of the frame as it arrived.
    pub before_len: u32,
    /// How many of them follow.
    pub before_kept: u32,
    /// Bytes of the frame as it left; 0: it was dropped, or left as it came.
    pub after_len: u32,
    /// How many of them follow.
    pub after_kept: u32,
}

/// Where the frame as it left begins, counted from the end of the [`Head`].
#[inline(always)]
#[must_use]
pub const fn after_at(before_kept: u32) -> u32 {
    (before_kept + 7) & !7
}

#[cfg(feature = "user")]
// SAFETY: repr(C), only integers, no padding (8-byte fields come first, an even number of 4-byte ones follows).
unsafe impl aya::Pod for Filter {}
#[cfg(feature = "user")]
// SAFETY: as above.
unsafe impl aya::Pod for Tallies {}

const _: () = {
    assert!(size_of::<Filter>() == 8 + 32 + 8 * 4);
    assert!(size_of::<Head>() == 2 * 8 + 8 * 4);
    assert!(crate::reason::DropReason::COUNT <= 32, "the reasons have more than 32 bits");
};
