//! The next-hop cache: what the routing table said last about a destination, so that it need not be asked for each packet.
//!
//! ```text
//!  the table's entry of one IPv4 address      any other destination: one of two words of a set
//!  | account, 24 | epoch, 28 | place, 12 |     | destination, 33 bits | epoch, 19 | place, 12 |
//!                                  │                                                   │
//!                                  └──────────► next hops: one word each ◄─────────────┘
//!                                               | link-layer address, 48 bits | ifindex, 16 |
//! ```
//!
//! The destination of a packet that leaves as IPv4 is its address ([`ipv4`]). One that leaves as IPv6 goes to what an IPv4 address
//! maps to ([`mapped`]): with that address, the word depends on the table. Where a single address has an entry of its own, the
//! word lies there and goes with it. Otherwise nothing may be remembered while what covers more addresses than one is changed,
//! and nothing from before may count afterwards: the daemon sees to that.
//!
//! Every word is loaded and stored whole, so that no reader sees half of one. A word counts only in the *epoch* in which it was
//! stored. The epoch moves with every change of a route, rule, neighbour, link or address that the daemon hears of. A daemon
//! that listens says so again and again ([`renewed`]); some [`LEASE`] ticks after it has last said so, the epoch begins to move by
//! the clock too, so that a relay without a daemon is not wrong for longer than about a second and a half. A next hop, once
//! stored, is never overwritten: a place means the same as long as anything of its epoch counts. (The daemon gives places back
//! between two epochs, while nothing is remembered.)
//!
//! ```text
//!  what the epoch follows from, in the record beside the tables
//!  | changes, 32 bits | tick until which the clock does not count, 32 |       0: nothing is remembered
//! ```

use crate::{account, interface::MAX_IFINDEX};

/// Next hops that are told apart; those beyond are asked for each packet. Place 0 means none.
pub const PLACES: u32 = 1 << PLACE_BITS;
/// Words for destinations without an entry of their own.
pub const WORDS: u32 = 1 << 18;
/// Words in which a destination may be, in one cache line. Four cost as much as they saved (docs/performance.md).
pub const WAYS: u32 = 2;
/// Places that a next hop is looked for in.
pub const PROBES: u32 = 4;

const PLACE_BITS: u32 = 12;
const EPOCH_BITS: u32 = 19;
const PLACE_MASK: u64 = PLACES as u64 - 1;

const _: () = assert!(MAX_IFINDEX <= 1 << 16);

/// One change, in the word that the epoch follows from.
pub const CHANGE: u64 = 1 << 32;
/// For how many ticks, beside the one that runs, the clock does not count after a daemon has said that it listens.
pub const LEASE: u32 = 2;
/// Changes after which the destinations' words must have been emptied once: they hold an epoch's lower bits only.
pub const WORDS_WRAP: u64 = CHANGE << (EPOCH_BITS - 1);

/// How far the clock moves the epoch at most.
const MOST_BY_CLOCK: u64 = WORDS_WRAP / CHANGE;

/// How many bits of the kernel's clock, which counts `hertz` times a second, a tick leaves out: it has 0.25 to 0.55 seconds.
#[must_use]
pub const fn tick_shift(hertz: u32) -> u32 {
    let most = (hertz + hertz / 10) / 2;
    if most < 2 { 0 } else { most.ilog2() }
}

/// How far the clock has moved the epoch: once for two ticks.
#[inline(always)]
const fn by_clock(way: u64, jiffies: u64, shift: u32) -> u64 {
    let late = ((jiffies >> (shift & 63)) as u32).wrapping_sub(way as u32) as i32;
    if late > 0 { (late as u64 + 1) >> 1 } else { 0 }
}

/// The epoch at a moment; 0: nothing is to be remembered. `way`: the word that it follows from, not 0; `jiffies`: the kernel's clock;
/// `shift`: see [`tick_shift`].
#[inline(always)]
#[must_use]
pub const fn epoch(way: u64, jiffies: u64, shift: u32) -> u64 {
    match by_clock(way, jiffies, shift) {
        0 => way >> 32,
        passed if passed < MOST_BY_CLOCK => (way >> 32).wrapping_add(passed),
        // Some two days without a daemon: words of the epochs to come might still be there, and nobody empties them.
        _ => 0,
    }
}

/// What the word becomes when a daemon says that it has heard of every change up to this moment. The epoch stays, or, where the
/// clock has moved it, becomes one that has not been before, also if two ticks pass before the word is stored.
#[inline(always)]
#[must_use]
pub const fn renewed(way: u64, jiffies: u64, shift: u32) -> u64 {
    let tick = (jiffies >> (shift & 63)) as u32;
    let changes = match by_clock(way, jiffies, shift) {
        0 => way >> 32,
        passed => (way >> 32).wrapping_add(passed + 1),
    };
    changes << 32 | tick.wrapping_add(LEASE) as u64
}

/// What the entry of a single address remembers; `word`: what is there, of which the account stays.
#[inline(always)]
#[must_use]
pub const fn entry_word(word: u64, epoch: u64, place: u32) -> u64 {
    word & account::MASK | (epoch << PLACE_BITS | place as u64 & PLACE_MASK) & !account::MASK
}

/// The place that the entry of a single address remembers; 0: nothing that counts.
#[inline(always)]
#[must_use]
pub const fn entry_place(word: u64, epoch: u64) -> u32 {
    // Only the epoch's bits, brought to the top.
    if (word >> PLACE_BITS ^ epoch) << (PLACE_BITS + account::BITS) == 0 { (word & PLACE_MASK) as u32 } else { 0 }
}

/// The destination of a packet that leaves as IPv4, to this address (host order).
#[inline(always)]
#[must_use]
pub const fn ipv4(address: u32) -> u64 {
    (address as u64) << 1
}

/// The destination of a packet that leaves as IPv6, to what this IPv4 address (host order) maps to.
#[inline(always)]
#[must_use]
pub const fn mapped(address: u32) -> u64 {
    (address as u64) << 1 | 1
}

/// What is remembered of a destination.
#[inline(always)]
#[must_use]
pub const fn word(destination: u64, epoch: u64, place: u32) -> u64 {
    destination << (EPOCH_BITS + PLACE_BITS)
        | (epoch & ((1 << EPOCH_BITS) - 1)) << PLACE_BITS
        | place as u64 & PLACE_MASK
}

/// The destination that a word is about.
#[inline(always)]
#[must_use]
pub const fn destination(word: u64) -> u64 {
    word >> (EPOCH_BITS + PLACE_BITS)
}

/// The place that a word remembers of a destination; 0: nothing that counts.
#[inline(always)]
#[must_use]
pub const fn place(there: u64, destination: u64, epoch: u64) -> u32 {
    let place = (there & PLACE_MASK) as u32;
    if there == word(destination, epoch, place) { place } else { 0 }
}

/// Whether a destination's word is of another epoch, and so may be overwritten without loss.
#[inline(always)]
#[must_use]
pub const fn is_outdated(word: u64, epoch: u64) -> bool {
    (word >> PLACE_BITS ^ epoch) & ((1 << EPOCH_BITS) - 1) != 0
}

/// The first of the words in which a destination may be.
#[inline(always)]
#[must_use]
pub const fn set(destination: u64) -> u32 {
    (hash(destination) >> 40) as u32 & (WORDS - 1) & !(WAYS - 1)
}

/// The word of its set that a destination takes where all are in use.
#[inline(always)]
#[must_use]
pub const fn way(destination: u64) -> u32 {
    (hash(destination) >> 32) as u32 & (WAYS - 1)
}

#[inline(always)]
const fn hash(destination: u64) -> u64 {
    destination.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// A next hop as one word: never 0, as no interface has the index 0. The bytes of the address are those on the wire.
#[inline(always)]
#[must_use]
pub const fn hop(ifindex: u32, mac: [u8; 6]) -> u64 {
    u64::from_le_bytes([0, 0, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]]) | ifindex as u64 & 0xffff
}

/// The interface and the link-layer address of a next hop.
#[inline(always)]
#[must_use]
pub const fn unpack(hop: u64) -> (u32, [u8; 6]) {
    let [_, _, a, b, c, d, e, f] = hop.to_le_bytes();
    (hop as u32 & 0xffff, [a, b, c, d, e, f])
}

/// The place in which a next hop is looked for first: 1 or above, with room for [`PROBES`] in a row.
#[inline(always)]
#[must_use]
pub const fn first_place(hop: u64) -> u32 {
    let hash = (hop ^ hop >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    1 + (hash >> 40) as u32 % (PLACES - PROBES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_is_remembered_where_epochs_might_come_again() {
        let way = renewed(7 * CHANGE, 0, 6);
        let after = |epochs: u64| epoch(way, (u64::from(LEASE) + 2 * epochs) << 6, 6);
        assert_eq!(after(MOST_BY_CLOCK - 1), 7 + MOST_BY_CLOCK - 1);
        assert_eq!((after(MOST_BY_CLOCK), after(3 * MOST_BY_CLOCK)), (0, 0));
    }

    proptest! {
        #[test]
        fn words_give_back_what_was_put_in(address in any::<u32>(), there in any::<u64>(), epoch in any::<u64>(), at in 1..PLACES) {
            for to in [ipv4(address), mapped(address)] {
                prop_assert_eq!(place(word(to, epoch, at), to, epoch), at);
                prop_assert_eq!(destination(word(to, epoch, at)), to);
            }
            prop_assert_eq!(account::of_word(entry_word(there, epoch, at)), account::of_word(there));
            prop_assert_eq!(entry_place(entry_word(there, epoch, at), epoch), at);
        }

        #[test]
        fn nothing_counts_in_another_epoch(address in any::<u32>(), there in any::<u64>(), epoch in any::<u64>(), later in 1..1u64 << 18, at in 1..PLACES) {
            let now = epoch.wrapping_add(later);
            for to in [ipv4(address), mapped(address)] {
                prop_assert_eq!(place(word(to, epoch, at), to, now), 0);
                prop_assert!(is_outdated(word(to, epoch, at), now));
                prop_assert!(!is_outdated(word(to, epoch, at), epoch));
            }
            prop_assert_eq!(entry_place(entry_word(there, epoch, at), now), 0);
        }

        #[test]
        fn nobody_takes_anothers_word(one in any::<u32>(), other in any::<u32>(), epoch in any::<u64>()) {
            prop_assume!(one != other);
            prop_assert_eq!(place(word(ipv4(one), epoch, 1), ipv4(other), epoch), 0);
            prop_assert_eq!(place(word(mapped(one), epoch, 1), mapped(other), epoch), 0);
            prop_assert_eq!(place(word(ipv4(one), epoch, 1), mapped(one), epoch), 0);
            prop_assert_eq!(place(word(mapped(one), epoch, 1), ipv4(one), epoch), 0);
        }

        #[test]
        fn no_epoch_comes_twice(changes in 1..1u64 << 30, start in any::<u64>(), steps in proptest::collection::vec((1..2000u64, any::<bool>()), 1..50)) {
            let (mut way, mut jiffies, mut before) = (changes << 32 | start >> 6 & 0xffff_ffff, start >> 1, 0);
            for (time, renew) in steps {
                jiffies += time;
                let now = epoch(way, jiffies, 6);
                prop_assert!(now >= before);
                if renew {
                    way = renewed(way, jiffies, 6);
                    let after = epoch(way, jiffies, 6);
                    prop_assert!(after >= now);
                    prop_assert_eq!(epoch(way, jiffies + u64::from(LEASE) * 64, 6), after, "as long as the lease runs");
                    before = after;
                } else {
                    before = now;
                }
            }
        }

        #[test]
        fn nothing_counts_for_long_without_a_daemon(hertz in 100..1001u32, changes in 1..1u64 << 30, jiffies in 1 << 32..1u64 << 40) {
            let shift = tick_shift(hertz);
            let way = renewed(changes << 32, jiffies, shift);
            let after = |seconds: f64| epoch(way, jiffies + (f64::from(hertz) * seconds) as u64, shift);
            prop_assert!(after(1.7) > after(0.0));
            prop_assert!(after(6.2) > after(5.0));
        }

        #[test]
        fn hops_are_one_word(ifindex in 1..MAX_IFINDEX, mac in any::<[u8; 6]>()) {
            let word = hop(ifindex, mac);
            prop_assert_eq!(unpack(word), (ifindex, mac));
            prop_assert!(first_place(word) >= 1 && first_place(word) + PROBES <= PLACES);
        }

        #[test]
        fn sets_lie_within_the_words(address in any::<u32>()) {
            for set in [set(ipv4(address)), set(mapped(address))] {
                prop_assert!(set + WAYS <= WORDS && set.is_multiple_of(WAYS));
            }
        }
    }

    #[test]
    fn a_tick_has_some_part_of_a_second() {
        for hertz in [100, 250, 300, 1000, 1024] {
            let seconds = f64::from(1 << tick_shift(hertz)) / f64::from(hertz);
            assert!((0.25..0.56).contains(&seconds), "{hertz} Hz: {seconds} s");
        }
    }

    #[test]
    fn an_empty_word_is_nothing() {
        assert_eq!(place(0, 0, 0), 0);
        assert_eq!(entry_place(0, 0), 0);
    }
}
