//! Finding addresses in the tables: the longest entry that matches (architecture.md, "The tables").

use xlat_common::{
    address::Ipv6,
    state::State,
    table::{
        Bucket, Found, Lengths, MAX_LENGTHS4, MAX_LENGTHS6, TableHeader, Tables, known_bit, probe4, probe6, shorter_bit,
    },
};

use crate::{
    maps::{STATE, TABLE4, TABLE6},
    setting,
    verifier::opaque,
};

/// The tables as the program sees them.
struct Maps;

/// They live as long as the program.
const MAPS: &Maps = &Maps;

impl Tables for Maps {
    #[inline(always)]
    fn bucket4(&self, index: u32) -> Option<&Bucket> {
        TABLE4.get(index)
    }

    #[inline(always)]
    fn bucket6(&self, index: u32) -> Option<&Bucket> {
        TABLE6.get(index)
    }
}

/// The record beside the tables, as memory of a map is: not Rust's, the daemon and other CPUs write in it too.
#[inline(always)]
pub fn state_ptr() -> Option<*mut State> {
    STATE.get_ptr_mut(0)
}

/// The record beside the tables.
#[inline(always)]
pub fn state() -> Option<&'static State> {
    // SAFETY: map values live as long as the program; words that others write meanwhile are read whole.
    state_ptr().map(|state| unsafe { &*state })
}

/// Its header.
#[inline(always)]
pub fn header() -> Option<&'static TableHeader> {
    state().map(|state| &state.header)
}

/// The prefix lengths in force.
#[inline(always)]
pub fn lengths(header: &TableHeader) -> &Lengths {
    &header.lengths[(header.active & 1) as usize]
}

/// What is known of an IPv4 address (host order): its longest matching entry.
#[inline(always)]
pub fn find4(address: u32) -> Found<'static> {
    match header() {
        Some(header) => find4_in(header, address),
        None => Found::NOTHING,
    }
}

/// As [`find4`], with the record beside the tables at hand.
#[inline(always)]
pub fn find4_in(header: &TableHeader, address: u32) -> Found<'static> {
    let (word, bit) = known_bit(address);
    if header.ipv4_known[word & 1023] & bit == 0 {
        return Found::NOTHING;
    }
    let found = at_length4(address, 32);
    if found.is_entry() {
        return found;
    }
    let mut left = opaque(LOOKS);
    while left != 0 {
        left -= 1;
        match shorter_length4(address) {
            NO_LENGTH => break,
            len => {
                let found = at_length4(address, len);
                if found.is_entry() {
                    return found;
                }
            }
        }
    }
    Found::NOTHING
}

/// What is known of an IPv6 address: its longest matching entry.
#[inline(always)]
pub fn find6(address: Ipv6) -> Found<'static> {
    match header() {
        Some(header) => find6_in(header, address),
        None => Found::NOTHING,
    }
}

/// As [`find6`], with the record beside the tables at hand.
#[inline(always)]
pub fn find6_in(header: &TableHeader, address: Ipv6) -> Found<'static> {
    let found = at_length6(address, 128);
    if found.is_entry() {
        return found;
    }
    let (word, bit) = shorter_bit(address);
    if header.ipv6_shorter[word & 1023] & bit == 0 {
        return Found::NOTHING;
    }
    let mut left = opaque(LOOKS);
    while left != 0 {
        left -= 1;
        match shorter_length6(address.hi, address.lo) {
            NO_LENGTH => break,
            len => {
                let found = at_length6(address, len);
                if found.is_entry() {
                    return found;
                }
            }
        }
    }
    Found::NOTHING
}

/// The entry of this length that an IPv4 address (host order) is in.
#[inline(always)]
pub fn at_length4(address: u32, len: u32) -> Found<'static> {
    probe4(MAPS, address, len, setting!(bucket_mask), setting!(seed))
}

#[inline(always)]
fn at_length6(address: Ipv6, len: u32) -> Found<'static> {
    probe6(MAPS, address, len, setting!(bucket_mask), setting!(seed))
}

/// How often the longest length is looked for: its entry may be taken out before it is read, with another entry around it.
/// Each family has its own loop: with one for both, which closures tell apart, the verifier goes through the entry program's
/// instructions half as often again.
const LOOKS: u32 = 2;

/// What the functions below give where nothing matches.
const NO_LENGTH: u32 = 255;

/// The longest length under 32 at which there is an entry, or [`NO_LENGTH`].
///
/// A global function (Linux 5.6): the verifier goes through it once, and not once for each place that calls it and each way to
/// come there. Such a function takes and gives numbers only.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn shorter_length4(address: u32) -> u32 {
    let Some(header) = header() else { return NO_LENGTH };
    let lengths = lengths(header);
    for index in 0..MAX_LENGTHS4 {
        if index as u32 >= lengths.ipv4_count {
            break;
        }
        let len = u32::from(lengths.ipv4[index]);
        if has_length4(address, len) != 0 {
            return len;
        }
    }
    NO_LENGTH
}

/// As [`shorter_length4`], for the lengths under 128.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn shorter_length6(hi: u64, lo: u64) -> u32 {
    let Some(header) = header() else { return NO_LENGTH };
    let lengths = lengths(header);
    for index in 0..MAX_LENGTHS6 {
        if index as u32 >= lengths.ipv6_count {
            break;
        }
        let len = u32::from(lengths.ipv6[index]);
        if has_length6(hi, lo, len) != 0 {
            return len;
        }
    }
    NO_LENGTH
}

/// 1: there is an entry of this length. A global function, so that the loop above is short.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn has_length4(address: u32, len: u32) -> u32 {
    u32::from(at_length4(address, len).is_entry())
}

/// As [`has_length4`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn has_length6(hi: u64, lo: u64, len: u32) -> u32 {
    u32::from(at_length6(Ipv6 { hi, lo }, len).is_entry())
}
