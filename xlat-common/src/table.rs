//! The look-up table: what is known of an address, found by its longest matching prefix.
//!
//! Each family has one table, a memory-mapped BPF array laid out as a hash table. Its key is (prefix length, masked address);
//! a look-up probes the few lengths that are present, longest first. An entry is 32 bytes, a [`Bucket`] two entries, one
//! cache line. An entry lies in its first bucket, or, marked there by [`Entry::OVERFLOW`], in its second; so nearly every
//! look-up, hit or miss, costs one cache line.
//!
//! The entries are not the operator's EAMs but what follows from all the lists together: for every prefix that some list
//! names, the flags that hold there and the EAM that covers it. So one look-up answers everything about an address: the
//! relay's own, denied, illegal, non-global, EAM.
//!
//! # One writer, many readers
//!
//! The daemon is the only writer; programs on every CPU read meanwhile. The rules by which a reader never sees half an
//! entry and never misses one that is there (`xlat-ctl`'s table writer keeps them, its tests try them):
//!
//! 1. An entry is published by one aligned 8-byte store of its first word, after the rest is in place.
//! 2. An entry is withdrawn by a store of zero to its first word, and its place is not used again before an RCU grace
//!    period has passed: a reader loads the first word once, whole, and with the old one reads the old rest ([`Found`]).
//! 3. An entry moves by being published in the new place, then a grace period, then withdrawn in the old. The overflow
//!    mark of the first bucket is set before an entry is published in its second.

use crate::address::{Ipv6, mask32};

/// What is known of one prefix. Four words; word 0 is published last.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// IPv4 table: the prefix, masked to `len`. IPv6 table: the IPv4 prefix of the covering EAM, masked to its length. Host order.
    pub ipv4: u32,
    /// Length of the prefix that is this entry's key: 0–32 in the IPv4 table, 0–128 in the IPv6 table.
    pub len: u8,
    /// Length of the covering EAM's IPv4 prefix (0–32).
    pub eam_len4: u8,
    /// Length of the covering EAM's IPv6 prefix (0–128).
    pub eam_len6: u8,
    /// The `Entry::*` flags; 0: the place is empty. The upper three bits are the translation prefix's index.
    pub flags: u8,
    /// IPv6 table: the prefix, masked to `len`. IPv4 table: the IPv6 prefix of the covering EAM, masked to its length.
    pub ipv6: Ipv6,
    /// The upper bits are the covering EAM's account (`crate::account`), the daemon's; below them, in the IPv4 table, the program
    /// keeps the next hop of a service address (`crate::next_hop`).
    pub next_hop: u64,
}

impl Entry {
    /// An EAM covers this prefix; the EAM fields are valid.
    pub const EAM: u8 = 1;
    /// The relay's own address: never translated.
    pub const OWN: u8 = 2;
    /// In the operator's deny list.
    pub const DENIED: u8 = 4;
    /// No packet may come from or go to it.
    pub const ILLEGAL: u8 = 8;
    /// Not global (RFC 6052 3.1); only in tables of a relay with the well-known prefix.
    pub const NON_GLOBAL: u8 = 16;
    /// All flags: what is not the index of the translation prefix.
    pub const FLAGS: u8 = (1 << Self::PREFIX_SHIFT) - 1;
    /// How far the index of the translation prefix is shifted left in `flags`.
    pub const PREFIX_SHIFT: u32 = 5;
    /// The index that means: no prefix of its own, the arrival interface's is used.
    pub const PREFIX_DEFAULT: u8 = 7;
    /// Nothing is known of the address.
    pub const NONE: Self =
        Self { ipv4: 0, len: 0, eam_len4: 0, eam_len6: 0, flags: 0, ipv6: Ipv6::UNSPECIFIED, next_hop: 0 };
}

/// Two entries and the mark that one of this bucket's keys lies in its second bucket: one cache line.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// The entries; the mark is in the spare bit of the first one's `eam_len4`.
    pub entries: [Entry; 2],
}

/// Bit in `eam_len4` of a bucket's first entry: some key whose first bucket this is lies in its second bucket. It stands
/// there even when the first entry itself is empty.
pub const OVERFLOW: u8 = 0x80;
/// The bits of `eam_len4` that are the length.
pub const LEN4_MASK: u8 = 0x3f;

/// Most distinct prefix lengths of one family that a look-up tries after the full length.
pub const MAX_LENGTHS4: usize = 32;
/// As [`MAX_LENGTHS4`], for IPv6.
pub const MAX_LENGTHS6: usize = 128;

/// The prefix lengths that are present, beside the full length, which is always tried.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lengths {
    /// Number of used entries of `ipv4`.
    pub ipv4_count: u32,
    /// Number of used entries of `ipv6`.
    pub ipv6_count: u32,
    /// Lengths under 32, longest first.
    pub ipv4: [u8; MAX_LENGTHS4],
    /// Lengths under 128, longest first.
    pub ipv6: [u8; MAX_LENGTHS6],
    /// Bit `i`: the IPv6 table holds a prefix inside translation prefix `i`, so that addresses there must be looked up.
    pub prefixes_with_entries: u32,
    /// Zero.
    pub reserved: [u32; 5],
}

/// Words that fill the first cache line of [`TableHeader`]; two lines more where tests want another layout.
const RESERVED: usize = if cfg!(feature = "other-layout") { 3 + 16 } else { 3 };

/// The one record beside the tables. The daemon writes the pair of lengths that is not active, then switches.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableHeader {
    /// Which of `lengths` is in force: 0 or 1.
    pub active: u32,
    /// IPv4 source of ICMPv4 errors where the interface has none; host order, 0: none.
    pub default_ipv4: u32,
    /// IPv6 source of ICMPv6 errors where the interface has none.
    pub default_ipv6: Ipv6,
    /// The bits [`TableHeader::REFUSED4`] and [`TableHeader::REFUSED6`].
    pub refused_by_eam: u64,
    /// What the epoch of the next-hop cache follows from (`crate::next_hop`); 0: nothing is to be cached.
    pub way: u64,
    /// Zero.
    pub reserved: [u64; RESERVED],
    /// The lengths in force and those to come.
    pub lengths: [Lengths; 2],
    /// A bit for each /16 of the IPv4 address space: 1: the IPv4 table has something in it. Nearly all Internet clients'
    /// addresses are told apart here, without touching the table: 8 KiB, in the first-level cache.
    pub ipv4_known: [u64; 1024],
    /// A bit for each /16 of the IPv6 address space: 1: the IPv6 table has something in it or around it that is no single
    /// address. Nearly nobody's address must be looked for with any but the full length.
    pub ipv6_shorter: [u64; 1024],
}

impl TableHeader {
    /// In `refused_by_eam`: an IPv4 address that some EAM gives may be denied, illegal or the relay's own, so that it must be
    /// looked up too.
    pub const REFUSED4: u64 = 1;
    /// As [`TableHeader::REFUSED4`], for IPv6 addresses.
    pub const REFUSED6: u64 = 2;
    /// Nothing known.
    pub const EMPTY: Self = Self {
        active: 0,
        default_ipv4: 0,
        default_ipv6: Ipv6::UNSPECIFIED,
        refused_by_eam: 0,
        way: 0,
        reserved: [0; RESERVED],
        lengths: [Lengths {
            ipv4_count: 0,
            ipv6_count: 0,
            ipv4: [0; MAX_LENGTHS4],
            ipv6: [0; MAX_LENGTHS6],
            prefixes_with_entries: 0,
            reserved: [0; 5],
        }; 2],
        ipv4_known: [0; 1024],
        ipv6_shorter: [0; 1024],
    };
}

const _: () = {
    assert!(size_of::<Entry>() == 32);
    assert!(size_of::<Bucket>() == 64);
    assert!(size_of::<Lengths>().is_multiple_of(64));
    assert!(core::mem::offset_of!(TableHeader, lengths).is_multiple_of(64));
};

/// The word and bit of [`TableHeader::ipv4_known`] for an address (host order).
#[inline(always)]
#[must_use]
pub const fn known_bit(ipv4: u32) -> (usize, u64) {
    block_bit(ipv4 >> 16)
}

/// The word and bit of [`TableHeader::ipv6_shorter`] for an address.
#[inline(always)]
#[must_use]
pub const fn shorter_bit(ipv6: Ipv6) -> (usize, u64) {
    block_bit((ipv6.hi >> 48) as u32)
}

/// The word and bit of a /16, here its first 16 bits.
#[inline(always)]
#[must_use]
pub const fn block_bit(block: u32) -> (usize, u64) {
    ((block >> 6) as usize, 1 << (block & 63))
}

/// Hash of an IPv4 key. Bits 0–31 choose the first bucket, bits 32–63 the second.
#[inline(always)]
#[must_use]
pub const fn hash4(masked: u32, len: u32, seed: u64) -> u64 {
    finish((masked as u64 | ((len as u64) << 32)) ^ seed)
}

/// Hash of an IPv6 key. Bits 0–31 choose the first bucket, bits 32–63 the second.
#[inline(always)]
#[must_use]
pub const fn hash6(masked: Ipv6, len: u32, seed: u64) -> u64 {
    finish(masked.lo ^ (masked.hi ^ ((len as u64) << 56) ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29))
}

/// Spreads a key's bits over the whole word: multiply, fold, multiply, fold.
#[inline(always)]
const fn finish(key: u64) -> u64 {
    let once = (key ^ (key >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    let twice = (once ^ (once >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    twice ^ (twice >> 32)
}

/// The first bucket of a hash.
#[inline(always)]
#[must_use]
pub const fn first_bucket(hash: u64, bucket_mask: u32) -> u32 {
    hash as u32 & bucket_mask
}

/// The second bucket of a hash; may be the first again.
#[inline(always)]
#[must_use]
pub const fn second_bucket(hash: u64, bucket_mask: u32) -> u32 {
    (hash >> 32) as u32 & bucket_mask
}

impl Entry {
    /// What the first word of an entry says; the rest is zero.
    #[inline(always)]
    #[must_use]
    pub const fn of_first_word(word: u64) -> Self {
        let [a, b, c, d, len, eam_len4, eam_len6, flags] = word.to_le_bytes();
        let ipv4 = u32::from_le_bytes([a, b, c, d]);
        Self { ipv4, len, eam_len4, eam_len6, flags, ..Self::NONE }
    }
}

/// What a table looks like to a reader: the program's map, or the daemon's mapping of the same memory.
pub trait Tables {
    /// The bucket at `index` of the IPv4 table, or `None` beyond its end.
    fn bucket4(&self, index: u32) -> Option<&Bucket>;
    /// The bucket at `index` of the IPv6 table, or `None` beyond its end.
    fn bucket6(&self, index: u32) -> Option<&Bucket>;
}

/// What a look-up finds: the place of an entry, and its first word as it was then (rules 1 and 2).
#[derive(Clone, Copy, Debug)]
pub struct Found<'table> {
    word: u64,
    place: Option<&'table Entry>,
}

impl<'table> Found<'table> {
    /// There is no entry. No translation prefix of its own, and no flags.
    pub const NOTHING: Self = Self { word: ((Entry::PREFIX_DEFAULT << Entry::PREFIX_SHIFT) as u64) << 56, place: None };

    /// What lies in a place now.
    #[inline(always)]
    fn at(place: &'table Entry) -> Self {
        // SAFETY: the first word of an entry, which is aligned to words.
        Self { word: unsafe { (&raw const *place).cast::<u64>().read_volatile() }, place: Some(place) }
    }

    /// Whether there is an entry.
    #[inline(always)]
    #[must_use]
    pub const fn is_entry(&self) -> bool {
        self.place.is_some()
    }

    /// The `Entry::*` flags, with the index of the translation prefix.
    #[inline(always)]
    #[must_use]
    pub const fn flags(&self) -> u8 {
        (self.word >> 56) as u8
    }

    /// The length of its key's prefix.
    #[inline(always)]
    #[must_use]
    pub const fn prefix_len(&self) -> u32 {
        (self.word >> 32) as u8 as u32
    }

    /// What the entry remembers of its next hop, and the account.
    #[inline(always)]
    #[must_use]
    pub fn next_hop(&self) -> u64 {
        // SAFETY: a reference is valid. Volatile: not before the first word.
        self.place.map_or(0, |place| unsafe { (&raw const place.next_hop).read_volatile() })
    }

    /// Where [`Self::next_hop`] lies.
    #[inline(always)]
    #[must_use]
    pub fn next_hop_place(&self) -> Option<*const u64> {
        self.place.map(|place| &raw const place.next_hop)
    }

    /// The entry.
    #[inline(always)]
    #[must_use]
    pub fn entry(&self) -> Entry {
        Entry { ipv6: self.ipv6(), next_hop: self.next_hop(), ..Entry::of_first_word(self.word) }
    }

    #[inline(always)]
    fn ipv6(&self) -> Ipv6 {
        let Some(Entry { ipv6, .. }) = self.place else { return Ipv6::UNSPECIFIED };
        // SAFETY: as in `next_hop`.
        unsafe { Ipv6 { hi: (&raw const ipv6.hi).read_volatile(), lo: (&raw const ipv6.lo).read_volatile() } }
    }

    #[inline(always)]
    const fn is_key4(&self, masked: u32, len: u32) -> bool {
        self.word << 24 == (masked as u64 | (len as u64) << 32) << 24 && self.flags() != 0
    }

    #[inline(always)]
    fn is_key6(&self, masked: Ipv6, len: u32) -> bool {
        let ipv6 = self.ipv6();
        (ipv6.hi ^ masked.hi) | (ipv6.lo ^ masked.lo) == 0 && self.prefix_len() == len && self.flags() != 0
    }

    /// Whether the mark of this bucket's first entry says that some key of it lies in its second.
    #[inline(always)]
    const fn is_marked(&self) -> bool {
        self.word >> 40 & OVERFLOW as u64 != 0
    }
}

/// Looks an IPv4 address up with one prefix length.
#[inline(always)]
pub fn probe4(tables: &impl Tables, address: u32, len: u32, mask: u32, seed: u64) -> Found<'_> {
    let masked = address & mask32(len);
    probe(|index| tables.bucket4(index), hash4(masked, len, seed), mask, |found| found.is_key4(masked, len))
}

/// Looks an IPv6 address up with one prefix length.
#[inline(always)]
pub fn probe6(tables: &impl Tables, address: Ipv6, len: u32, mask: u32, seed: u64) -> Found<'_> {
    let masked = address.masked(len);
    probe(|index| tables.bucket6(index), hash6(masked, len, seed), mask, |found| found.is_key6(masked, len))
}

/// Looks into the first bucket of a hash, and into the second where the first is marked.
#[inline(always)]
fn probe<'table>(
    bucket: impl Fn(u32) -> Option<&'table Bucket>,
    hash: u64,
    mask: u32,
    is_key: impl Fn(&Found<'table>) -> bool,
) -> Found<'table> {
    let Some(Bucket { entries: [first, second] }) = bucket(first_bucket(hash, mask)) else { return Found::NOTHING };
    let first = Found::at(first);
    if is_key(&first) {
        return first;
    }
    let second = Found::at(second);
    if is_key(&second) {
        return second;
    }
    if !first.is_marked() {
        return Found::NOTHING;
    }
    let Some(Bucket { entries: [third, fourth] }) = bucket(second_bucket(hash, mask)) else { return Found::NOTHING };
    let third = Found::at(third);
    if is_key(&third) {
        return third;
    }
    let fourth = Found::at(fourth);
    if is_key(&fourth) { fourth } else { Found::NOTHING }
}

const _: () =
    assert!(cfg!(target_endian = "little"), "the words of an entry are taken apart as on little-endian machines");

#[cfg(feature = "user")]
mod pod {
    // SAFETY: repr(C), integers only, no implicit padding (sizes asserted above).
    unsafe impl aya::Pod for super::Bucket {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::TableHeader {}
}
