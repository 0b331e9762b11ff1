//! The next-hop cache: what the routing table said last about a destination, so that it need not be asked for each packet.
//!
//! ```text
//!  a service's entry in the table      an IPv4 client: one of two words of a set
//!  | epoch, 52 bits  | place, 12 |     | address, 32 bits | epoch, 20 | place, 12 |
//!                          │                                               │
//!                          └────────────► next hops: one word each ◄───────┘
//!                                         | link-layer address, 48 bits | ifindex, 16 |
//! ```
//!
//! Every word is loaded and stored whole, so that no reader sees half of one. A word counts only in the *epoch* in which it was
//! stored: the epoch moves with every change of a route, rule, neighbour, link or address that the daemon hears of, and by the
//! clock, about once a second ([`tick_shift`]), so that nothing is remembered for longer when there is no daemon. A next hop, once stored, is
//! never overwritten: a place always means the same, as long as the program instance lives.

use crate::interface::MAX_IFINDEX;

/// Next hops that are told apart; those beyond are asked for each packet. Place 0 means none.
pub const PLACES: u32 = 1 << PLACE_BITS;
/// Words for IPv4 clients.
pub const CLIENT_WORDS: u32 = 1 << 18;
/// Places that a next hop is looked for in.
pub const PROBES: u32 = 4;

const PLACE_BITS: u32 = 12;
const EPOCH_BITS: u32 = 20;
const PLACE_MASK: u64 = PLACES as u64 - 1;

const _: () = assert!(MAX_IFINDEX <= 1 << 16);

/// How many bits of the kernel's clock, which ticks `hertz` times a second, the epoch leaves out: it moves by the clock every 0.5 to
/// 1.1 seconds.
#[must_use]
pub const fn tick_shift(hertz: u32) -> u32 {
    let most = hertz + hertz / 10;
    if most < 2 { 0 } else { most.ilog2() }
}

/// The epoch at a moment. `changes`: how many changes the daemon has heard of, not 0; `jiffies`: the kernel's clock; `shift`: see
/// [`tick_shift`].
#[inline(always)]
#[must_use]
pub const fn epoch(changes: u64, jiffies: u64, shift: u32) -> u64 {
    changes.wrapping_add(jiffies >> (shift & 63))
}

/// What a service's entry remembers.
#[inline(always)]
#[must_use]
pub const fn service_word(epoch: u64, place: u32) -> u64 {
    epoch << PLACE_BITS | place as u64 & PLACE_MASK
}

/// The place that a service's entry remembers; 0: nothing that counts.
#[inline(always)]
#[must_use]
pub const fn service_place(word: u64, epoch: u64) -> u32 {
    if word >> PLACE_BITS == epoch & (u64::MAX >> PLACE_BITS) { (word & PLACE_MASK) as u32 } else { 0 }
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

/// The first of the two words in which a client (host order) may be.
#[inline(always)]
#[must_use]
pub const fn client_set(address: u32) -> u32 {
    let hash = (address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (hash >> 40) as u32 & (CLIENT_WORDS - 1) & !1
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
        fn words_give_back_what_was_put_in(address in any::<u32>(), epoch in any::<u64>(), place in 1..PLACES) {
            prop_assert_eq!(client_place(client_word(address, epoch, place), address, epoch), place);
            prop_assert_eq!(service_place(service_word(epoch, place), epoch), place);
        }

        #[test]
        fn nothing_counts_in_another_epoch(address in any::<u32>(), epoch in any::<u64>(), later in 1..1u64 << 19, place in 1..PLACES) {
            let now = epoch.wrapping_add(later);
            prop_assert_eq!(client_place(client_word(address, epoch, place), address, now), 0);
            prop_assert_eq!(service_place(service_word(epoch, place), now), 0);
            prop_assert!(is_outdated(client_word(address, epoch, place), now));
            prop_assert!(!is_outdated(client_word(address, epoch, place), epoch));
        }

        #[test]
        fn nobody_takes_another_clients_word(one in any::<u32>(), other in any::<u32>(), epoch in any::<u64>()) {
            prop_assume!(one != other);
            prop_assert_eq!(client_place(client_word(one, epoch, 1), other, epoch), 0);
        }

        #[test]
        fn hops_are_one_word(ifindex in 1..MAX_IFINDEX, mac in any::<[u8; 6]>()) {
            let word = hop(ifindex, mac);
            prop_assert_eq!(unpack(word), (ifindex, mac));
            prop_assert!(first_place(word) >= 1 && first_place(word) + PROBES <= PLACES);
        }

        #[test]
        fn sets_lie_within_the_words(address in any::<u32>()) {
            prop_assert!(client_set(address) + 1 < CLIENT_WORDS && client_set(address).is_multiple_of(2));
        }
    }

    #[test]
    fn the_epoch_moves_about_once_a_second() {
        for hertz in [100, 250, 300, 1000, 1024] {
            let seconds = f64::from(1 << tick_shift(hertz)) / f64::from(hertz);
            assert!((0.5..1.1).contains(&seconds), "{hertz} Hz: {seconds} s");
        }
    }

    #[test]
    fn an_empty_word_is_nothing() {
        assert_eq!(client_place(0, 0, 0), 0);
        assert_eq!(service_place(0, 0), 0);
    }
}
