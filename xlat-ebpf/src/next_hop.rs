//! The next-hop cache (`xlat_common::next_hop`): what the routing table said last about a destination.

use aya_ebpf::{helpers::generated::bpf_jiffies64, programs::XdpContext};
use xlat_common::{
    address::Ipv6,
    interface::Interface,
    mapping::eam_to_ipv6,
    next_hop::{self, PLACES, PROBES, WAYS, WORDS},
    state::State,
    table::{Found, TableHeader},
};

use crate::{
    forward::{Way, lead_to_device},
    link::{self, Arrival, Link},
    lookup::own_entry4,
    setting,
    tables::{header, state, state_ptr},
    verifier::bounded,
};

/// Where it is remembered what the routing table says about a destination.
#[derive(Clone, Copy)]
pub enum Cache {
    /// Nowhere.
    None,
    /// In the table's entry of this one IPv4 address (host order), for what it maps to.
    Entry(u32),
    /// Among the destinations without an entry of their own (`next_hop::ipv4`, `next_hop::mapped`).
    Destination(u64),
}

/// The epoch of this moment; 0: nothing is remembered.
#[inline(always)]
fn now(header: &TableHeader) -> u64 {
    // SAFETY: a word of the record; it is stored whole at any time.
    let way = unsafe { (&raw const header.way).read_volatile() };
    // SAFETY: the helper has no arguments. Since Linux 5.6.
    if way == 0 { 0 } else { next_hop::epoch(way, unsafe { bpf_jiffies64() }, setting!(tick_shift)) }
}

/// Has what is remembered go on counting: the daemon has heard of every change up to this moment. It lets nobody else store the
/// word meanwhile.
#[inline(always)]
pub fn renew() -> Option<()> {
    let state = state_ptr()?;
    // SAFETY: an aligned word of the record.
    unsafe {
        let place = &raw mut (*state).header.way;
        let way = place.read_volatile();
        if way != 0 {
            place.write_volatile(next_hop::renewed(way, bpf_jiffies64(), setting!(tick_shift)));
        }
    }
    Some(())
}

/// The place of the next hop that is remembered of what an IPv4 address maps to; 0: none. `found`: what is known of it.
#[inline(always)]
pub fn place_of_mapped(state: &State, address: u32, found: Found<'_>) -> u32 {
    match now(&state.header) {
        0 => 0,
        epoch if found.prefix_len() == 32 => next_hop::entry_place(found.next_hop(), epoch),
        epoch => place_in(state, next_hop::mapped(address), epoch),
    }
}

/// The place of the next hop that is remembered of an IPv4 address (host order); 0: none.
#[inline(always)]
pub fn place_of_ipv4(state: &State, address: u32) -> u32 {
    match now(&state.header) {
        0 => 0,
        epoch => place_in(state, next_hop::ipv4(address), epoch),
    }
}

impl Cache {
    /// The epoch of this moment; 0: nothing is remembered.
    #[inline(always)]
    pub fn epoch(self) -> u64 {
        if matches!(self, Self::None) { 0 } else { header().map_or(0, now) }
    }

    /// Leads a packet of `total_len` bytes as one before it; `word`: what is in the entry, if it is there that it is remembered.
    /// `false`: nothing is remembered that would do.
    #[inline(always)]
    pub fn lead(
        self,
        ctx: &XdpContext,
        arrival: &Arrival,
        word: u64,
        epoch: u64,
        total_len: u32,
        way: &mut Way,
    ) -> bool {
        let place = match self {
            Self::None => 0,
            Self::Entry(_) => next_hop::entry_place(word, epoch),
            Self::Destination(destination) => state().map_or(0, |state| place_in(state, destination, epoch)),
        };
        let Some((ifindex, mac, interface)) = at(place) else { return false };
        way.mtu = interface.mtu;
        way.link = Link::untagged(&mac, &interface.mac);
        total_len <= interface.mtu && lead_to_device(ctx, arrival, ifindex, way).is_some()
    }

    /// Remembers a next hop, one word; 0 is none. `ipv6`: where it leads, if it is remembered in an entry.
    #[inline(always)]
    pub fn remember(self, ipv6: Ipv6, hop: u64, epoch: u64) {
        if hop == 0 || epoch == 0 {
            return;
        }
        match self {
            Self::None => {}
            Self::Entry(address) => _ = remember_in_entry(address, ipv6.hi, ipv6.lo, hop, epoch),
            Self::Destination(destination) => _ = remember(destination, hop, epoch),
        }
    }
}

/// The next hop in a place, with what is known of its interface.
#[inline(always)]
fn at(place: u32) -> Option<(u32, [u8; 6], &'static Interface)> {
    if place == 0 {
        return None;
    }
    let (ifindex, mac) = next_hop::unpack(state()?.next_hops[(place & (PLACES - 1)) as usize]);
    Some((ifindex, mac, link::interface(ifindex)?))
}

#[inline(always)]
fn place_in(state: &State, destination: u64, epoch: u64) -> u32 {
    let set = index(next_hop::set(destination));
    for way in 0..WAYS as usize {
        // SAFETY: a word of the map, which other CPUs store whole at any time.
        let word = unsafe { (&raw const state.destinations[set | way]).read_volatile() };
        let place = next_hop::place(word, destination, epoch);
        if place != 0 {
            return place;
        }
    }
    0
}

#[inline(always)]
const fn index(word: u32) -> usize {
    (word & (WORDS - 1)) as usize
}

/// A global function (see `tables::shorter_length4`): rare.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn remember(destination: u64, hop: u64, epoch: u64) -> u32 {
    let Some(state) = state_ptr() else { return 0 };
    let set = index(next_hop::set(destination));
    let place = place_of(hop);
    if place != 0 {
        let new = next_hop::word(destination, epoch, place);
        for way in 0..WAYS as usize {
            // SAFETY: as in `place_in`.
            unsafe {
                let to = &raw mut (*state).destinations[set | way];
                let word = to.read_volatile();
                if next_hop::is_outdated(word, epoch) || next_hop::destination(word) == destination {
                    to.write_volatile(new);
                    return 0;
                }
            }
        }
        let way = index(set as u32 | next_hop::way(destination));
        // SAFETY: as above.
        unsafe { (&raw mut (*state).destinations[way]).write_volatile(new) };
    }
    0
}

/// As [`remember`]. The entry may have been replaced since the packet's address was mapped: only one that gives this IPv6
/// address takes the next hop of it, and what one gives never changes.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn remember_in_entry(address: u32, hi: u64, lo: u64, hop: u64, epoch: u64) -> u32 {
    let place = place_of(hop);
    let found = own_entry4(address);
    if place != 0
        && eam_to_ipv6(&found.entry(), address) == (Ipv6 { hi, lo })
        && let Some(word) = found.next_hop_place()
    {
        // Memory of a map, which is not Rust's: the daemon writes in it too.
        let word = word.cast_mut();
        // SAFETY: a word of the table, whole. As long as the entry is there, only programs write it, and all keep its account.
        unsafe { word.write_volatile(next_hop::entry_word(word.read_volatile(), epoch, place)) };
    }
    0
}

/// The place of a next hop; one that has none is given one. 0: there is no room.
#[inline(always)]
fn place_of(hop: u64) -> u32 {
    let Some(state) = state_ptr() else { return 0 };
    let start = next_hop::first_place(hop);
    for probe in 0..PROBES {
        let place = (start + probe) & (PLACES - 1);
        // SAFETY: a word of the map, as long as the program runs, by an index under their number.
        let there = unsafe {
            let words = (&raw mut (*state).next_hops).cast::<u64>();
            store_if_zero(words.add(bounded::<{ PLACES - 1 }>(place)), hop)
        };
        if there == hop {
            return place;
        }
    }
    0
}

/// Stores `hop` in a word that is 0, in one step over all CPUs; gives what is there then. What is there once stays: two CPUs
/// that take one place at once agree on who has it. (Linux 5.12; the compiler's own atomics leave this one out.)
///
/// # Safety
///
/// `word` is an aligned word of a map.
#[inline(always)]
unsafe fn store_if_zero(word: *mut u64, hop: u64) -> u64 {
    let mut there = 0u64;
    // SAFETY: by the caller.
    unsafe {
        core::arch::asm!("r0 = cmpxchg_64({word} + 0, r0, {hop})", word = in(reg) word, hop = in(reg) hop, inout("r0") there);
    }
    if there == 0 { hop } else { there }
}
