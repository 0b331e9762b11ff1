//! The one record that every packet's way leads through: found once, then indexed, as every look-up of a map of its own would
//! cost as much as a translation's checksum.

use crate::{
    interface::{Interface, MAX_IFINDEX},
    next_hop::{PLACES, WORDS},
    table::TableHeader,
};

/// What lies beside the tables. The daemon writes the header and the interfaces, in its own memory; the programs the rest.
///
/// Under 4 MiB, the largest value of an array before Linux 5.16.
#[repr(C, align(64))]
pub struct State {
    /// Prefix lengths, and what else changes with the tables.
    pub header: TableHeader,
    /// Interfaces by `ifindex`.
    pub interfaces: [Interface; MAX_IFINDEX as usize],
    /// Real next hops, each once stored never changed (`crate::next_hop`).
    pub next_hops: [u64; PLACES as usize],
    /// Which next hop the way to a destination without an entry of its own leads by.
    pub destinations: [u64; WORDS as usize],
}

const _: () = assert!(size_of::<State>() <= 4 << 20);
