//! Accounts: packets and bytes of each EAM, by direction.
//!
//! Every EAM has an *account*, a number from 1 on that the daemon gives it. It stands in the entries that the EAM covers, in the
//! upper bits of [`crate::table::Entry::next_hop`], and leads to a [`Record`] for each CPU in one memory-mapped array:
//!
//! ```text
//!  | CPU 0: account 0, 1, 2 … accounts − 1 | CPU 1: … | … | collected: … |
//! ```
//!
//! A CPU writes in its own part only, and two parts never share a cache line. Account 0 is for packets that no EAM maps. The last
//! part is the daemon's: what it has read of each account and counted elsewhere.

use core::ops::AddAssign;

use crate::counters::{Direction, Traffic};

/// Bits of an account's number.
pub const BITS: u32 = 24;
/// How far an account is shifted left in an entry's last word.
pub const SHIFT: u32 = 64 - BITS;
/// The account's bits in an entry's last word.
pub const MASK: u64 = u64::MAX << SHIFT;
/// The account's bits in an address's flags: what is left beside the flags themselves.
pub const FLAGS_MASK: u32 = (MASK >> 32) as u32;
/// How far an account is shifted left in an address's flags.
pub const FLAGS_SHIFT: u32 = 32 - BITS;

/// What one CPU has counted of one account, by [`Direction`].
#[repr(C, align(32))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Packets translated and sent, and their bytes as they arrived, from the IP header on; by direction.
    pub traffic: [Traffic; 2],
}

const _: () = assert!(size_of::<Record>() == 32);

impl Record {
    /// Of one direction.
    #[must_use]
    pub const fn of(&self, direction: Direction) -> Traffic {
        self.traffic[direction as usize]
    }
}

impl AddAssign for Record {
    fn add_assign(&mut self, more: Self) {
        for (sum, more) in self.traffic.iter_mut().zip(more.traffic) {
            *sum += more;
        }
    }
}

/// Accounts of each part for so many EAMs: one more for account 0, and an even number, so that each part begins with a cache line.
#[must_use]
pub const fn places(eams: u32) -> u32 {
    (eams + 2) & !1
}

/// An account as it stands in an entry's last word.
#[inline(always)]
#[must_use]
pub const fn in_word(account: u32) -> u64 {
    (account as u64) << SHIFT
}

/// The account in an entry's last word.
#[inline(always)]
#[must_use]
pub const fn of_word(word: u64) -> u32 {
    (word >> SHIFT) as u32
}

/// The account in an entry's last word, as it stands in an address's flags.
#[inline(always)]
#[must_use]
pub const fn in_flags(word: u64) -> u32 {
    (word >> 32) as u32 & FLAGS_MASK
}

/// The account that a packet counts for: that of the address which is a service's in the packet's direction, else the other's. Both
/// as flags.
#[inline(always)]
#[must_use]
pub const fn of_flags(service: u32, other: u32) -> u32 {
    let account = service >> FLAGS_SHIFT;
    if account == 0 { other >> FLAGS_SHIFT } else { account }
}

#[cfg(feature = "user")]
// SAFETY: repr(C), only integers, no padding.
unsafe impl aya::Pod for Record {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_goes_through_word_and_flags() {
        for account in [0, 1, 65_536, 4_194_304, (1 << BITS) - 1] {
            let word = in_word(account) | !MASK;
            assert_eq!(of_word(word), account);
            assert_eq!(of_flags(in_flags(word) | 0xff, 0), account);
            assert_eq!(of_flags(0xff, in_flags(word)), account);
        }
        assert_eq!(of_flags(in_flags(in_word(7)), in_flags(in_word(8))), 7);
    }

    #[test]
    fn every_part_begins_with_a_cache_line() {
        for eams in [1, 2, 63, 64, 65_536] {
            assert!(places(eams) > eams && places(eams).is_multiple_of(2));
        }
    }
}
