//! Which captures a packet is for.

use xlat_common::{
    address::Ipv6,
    capture::{Filter, MAX_SNAPLEN, SLOTS},
    limit,
    outcome::{DROP, KIND, REFUSE},
};

use crate::maps::{Addresses, FILTERS, RATES, Record, record, tally};

/// The captures that may want a packet of an interface.
#[derive(Clone, Copy)]
pub struct Wanted {
    /// A bit for each.
    pub slots: u32,
    /// The most bytes of a frame that one of them keeps.
    pub snaplen: u32,
}

/// The captures that are in force, of packets that arrive at an interface.
#[inline(always)]
pub fn wanted(ifindex: u32, now: u64) -> Wanted {
    let mut wanted = Wanted { slots: 0, snaplen: 0 };
    for slot in 0..SLOTS {
        let Some(filter) = FILTERS.get(slot as u32) else { continue };
        if filter.until > now && (filter.ifindex == 0 || filter.ifindex == ifindex) {
            wanted.slots |= 1 << slot;
            wanted.snaplen = if filter.snaplen > wanted.snaplen { filter.snaplen } else { wanted.snaplen };
        }
    }
    if wanted.snaplen > MAX_SNAPLEN {
        wanted.snaplen = MAX_SNAPLEN;
    }
    wanted
}

/// Those of `wanted` that want this packet and have not had too many, as bits; counts it for them.
#[inline(always)]
pub fn matching(wanted: u32, now: u64) -> u32 {
    let mut slots = 0;
    for slot in 0..SLOTS as u32 {
        if wanted & 1 << slot != 0 && wants(slot) != 0 {
            slots |= take(slot, now) << slot;
        }
    }
    slots
}

/// 1: the capture in a slot wants the packet in the record. A global function, so that the verifier goes through it once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn wants(slot: u32) -> u32 {
    match (FILTERS.get(slot), record()) {
        (Some(filter), Some(record)) => u32::from(is_wanted(filter, record)),
        _ => 0,
    }
}

#[inline(always)]
fn is_wanted(filter: &Filter, record: &Record) -> bool {
    let outcome = record.head.outcome;
    let is_drop = outcome & KIND == DROP || outcome & KIND == REFUSE;
    if filter.flags & Filter::DROPS != 0 && !is_drop {
        return false;
    }
    if filter.reasons != 0 && !(is_drop && filter.reasons >> (outcome & 31) & 1 != 0) {
        return false;
    }
    filter.flags & (Filter::HOST4 | Filter::HOST6) == 0
        || is_host(filter, &record.before)
        || is_host(filter, &record.after)
}

/// Whether one of the addresses is the host's.
#[inline(always)]
fn is_host(filter: &Filter, addresses: &Addresses) -> bool {
    let [source, destination] = &addresses.both;
    match addresses.family {
        4 if filter.flags & Filter::HOST4 != 0 => is_host4(filter, source[0]) || is_host4(filter, destination[0]),
        6 if filter.flags & Filter::HOST6 != 0 => is_host6(filter, source) || is_host6(filter, destination),
        _ => false,
    }
}

#[inline(always)]
fn is_host4(filter: &Filter, address: u32) -> bool {
    (u32::from_be(address) ^ filter.ipv4) & filter.ipv4_mask == 0
}

#[inline(always)]
fn is_host6(filter: &Filter, address: &[u32; 4]) -> bool {
    let half = |high: u32, low: u32| u64::from(u32::from_be(high)) << 32 | u64::from(u32::from_be(low));
    let address = Ipv6 { hi: half(address[0], address[1]), lo: half(address[2], address[3]) };
    ((address.hi ^ filter.ipv6.hi) & filter.ipv6_mask.hi) | ((address.lo ^ filter.ipv6.lo) & filter.ipv6_mask.lo) == 0
}

/// 1: there is a token left for a slot; else the packet is counted as over the rate.
#[inline(always)]
fn take(slot: u32, now: u64) -> u32 {
    let (Some(tally), Some(filter), Some(paid)) = (tally(slot as usize), FILTERS.get(slot), RATES.get_ptr_mut(slot))
    else {
        return 0;
    };
    tally.matched += 1;
    // SAFETY: the map value is an aligned word, and racing stores of it are whole.
    unsafe {
        match limit::take(paid.read_volatile(), now, filter.rate) {
            Some(after) => {
                paid.write_volatile(after);
                1
            }
            None => {
                tally.over_rate += 1;
                0
            }
        }
    }
}
