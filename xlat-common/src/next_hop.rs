//! The next-hop cache: what the routing table said last about a destination, so that it need not be asked for each packet.
//!
//! ```text
//!  a service's entry in the table      an IPv4 client: one of two words of a set
//!  | account, 24 | epoch, 28 | place, 12 |     | address, 32 bits | epoch, 20 | place, 12 |
//!                                  │                                               │
//!                                  └────────────► next hops: one word each ◄───────┘
//!                                                 | link-layer address, 48 bits | ifindex, 16 |
//! ```
//!
//! Every word is loaded and stored whole, so that no reader sees half of one. A word counts only in the *epoch* in which it was
//! stored. The epoch moves with every change of a route, rule, neighbour, link or address that the daemon hears of. A daemon
//! that listens says so again and again ([`renewed`]); some [`LEASE`] ticks after it has last said so, the epoch begins to move by
//! the clock too, so that a relay without a daemon is not wrong for longer than about a second and a half. A next hop, once
//! stored, is never overwritten: a place always means the same, as long as the program instance lives.
//!
//! ```text
//!  what the epoch follows from, in the record beside the tables
//!  | changes, 32 bits | tick until which the clock does not count, 32 |       0: nothing is remembered
//! ```

use crate::{account, interface::MAX_IFINDEX};

/// Next hops that are told apart; those beyond are asked for each packet. Place 0 means none.
pub const PLACES: u32 = 1 << PLACE_BITS;
/// Words for IPv4 clients.
pub const CLIENT_WORDS: u32 = 1 << 18;
/// Words in which a client may be, in one cache line. Four cost as much as they saved (docs/performance.md).
pub const CLIENT_WAYS: u32 = 2;
/// Places that a next hop is looked for in.
pub const PROBES: u32 = 4;

const PLACE_BITS: u32 = 12;
const EPOCH_BITS: u32 = 20;
const PLACE_MASK: u64 = PLACES as u64 - 1;

const _: () = assert!(MAX_IFINDEX <= 1 << 16);

/// One change, in the word that the epoch follows from.
pub const CHANGE: u64 = 1 << 32;
/// For how many ticks, beside the one that runs, the clock does not count after a daemon has said that it listens.
pub const LEASE: u32 = 2;
/// Changes after which the clients' words must have been emptied once: they hold an epoch's lower bits only.
pub const CLIENTS_WRAP: u64 = CHANGE << (EPOCH_BITS - 1);

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

/// The epoch at a moment. `way`: the word that it follows from, not 0; `jiffies`: the kernel's clock; `shift`: see [`tick_shift`].
#[inline(always)]
#[must_use]
pub const fn epoch(way: u64, jiffies: u64, shift: u32) -> u64 {
    (way >> 32).wrapping_add(by_clock(way, jiffies, shift))
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

/// What a service's entry remembers; `word`: what is there, of which the account stays.
#[inline(always)]
#[must_use]
pub const fn service_word(word: u64, epoch: u64, place: u32) -> u64 {
    word & account::MASK | (epoch << PLACE_BITS | place as u64 & PLACE_MASK) & !account::MASK
}

/// The place that a service's entry remembers; 0: nothing that counts.
#[inline(always)]
#[must_use]
pub const fn service_place(word: u64, epoch: u64) -> u32 {
    // Only the epoch's bits, brought to the top.
    if (word >> PLACE_BITS ^ epoch) << (PLACE_BITS + account::BITS) == 0 { (word & PLACE_MASK) as u32 } else { 0 }
}

/// What is remembered of an IPv4 client (host order).
#[inline(always)]
#[must_use]
pub const fn client_word(address: u32, epoch: u64, place: u32) -> u64 {
    (address as u64) << 32 | (epoch & ((1 << EPOCH_BITS) - 1)) << PLACE_BITS | place as u64 & PLACE_MASK
}

/// The place that is remembered of an IPv4 client; 0: nothing that counts.
#[inline(always)]
#[must_use]
pub const fn client_place(word: u64, address: u32, epoch: u64) -> u32 {
    let place = (word & PLACE_MASK) as u32;
    if word == client_word(address, epoch, place) { place } else { 0 }
}

/// Whether a client's word is of another epoch, and so may be overwritten without loss.
#[inline(always)]
#[must_use]
pub const fn is_outdated(word: u64, epoch: u64) -> bool {
    (word >> PLACE_BITS ^ epoch) & ((1 << EPOCH_BITS) - 1) != 0
}

/// The first of the words in which a client (host order) may be.
#[inline(always)]
#[must_use]
pub const fn client_set(address: u32) -> u32 {
    (client_hash(address) >> 40) as u32 & (CLIENT_WORDS - 1) & !(CLIENT_WAYS - 1)
}

/// The word of its set that a client (host order) takes where all are in use.
#[inline(always)]
#[must_use]
pub const fn client_way(address: u32) -> u32 {
    (client_hash(address) >> 32) as u32 & (CLIENT_WAYS - 1)
}

#[inline(always)]
const fn client_hash(address: u32) -> u64 {
    (address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
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

    proptest! {
        #[test]
        fn words_give_back_what_was_put_in(address in any::<u32>(), word in any::<u64>(), epoch in any::<u64>(), place in 1..PLACES) {
            prop_assert_eq!(client_place(client_word(address, epoch, place), address, epoch), place);
            prop_assert_eq!(account::of_word(service_word(word, epoch, place)), account::of_word(word));
            prop_assert_eq!(service_place(service_word(word, epoch, place), epoch), place);
        }

        #[test]
        fn nothing_counts_in_another_epoch(address in any::<u32>(), word in any::<u64>(), epoch in any::<u64>(), later in 1..1u64 << 19, place in 1..PLACES) {
            let now = epoch.wrapping_add(later);
            prop_assert_eq!(client_place(client_word(address, epoch, place), address, now), 0);
            prop_assert_eq!(service_place(service_word(word, epoch, place), now), 0);
            prop_assert!(is_outdated(client_word(address, epoch, place), now));
            prop_assert!(!is_outdated(client_word(address, epoch, place), epoch));
        }

        #[test]
        fn nobody_takes_another_clients_word(one in any::<u32>(), other in any::<u32>(), epoch in any::<u64>()) {
            prop_assume!(one != other);
            prop_assert_eq!(client_place(client_word(one, epoch, 1), other, epoch), 0);
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
            prop_assert!(client_set(address) + CLIENT_WAYS <= CLIENT_WORDS && client_set(address).is_multiple_of(CLIENT_WAYS));
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
        assert_eq!(client_place(0, 0, 0), 0);
        assert_eq!(service_place(0, 0), 0);
    }
}
