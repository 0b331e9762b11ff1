//! The record beside the tables: which lengths there are, and where anything can be known at all.

use std::{
    mem::offset_of,
    sync::atomic::Ordering::{Relaxed, Release},
};

use ipnet::Ipv6Net;
use xlat_common::{
    address::Ipv6,
    table::{Lengths, TableHeader, block_bit},
};

use super::{
    family::{Family, Key, V6},
    memory::{Grace, Memory},
};

const WORD: usize = size_of::<u64>();
/// /16 prefixes of an address space.
const BLOCKS: usize = 1 << 16;

/// The writer's side of [`TableHeader`].
pub(crate) struct Header<M> {
    memory: M,
    /// What is in the memory.
    shadow: Box<TableHeader>,
    /// Where the IPv4 table has anything.
    known4: Blocks,
    /// Where the IPv6 table has what.
    touching: Touching,
    /// How many grace periods had passed at the last switch of the lengths.
    switched: Option<u64>,
}

/// What an entry does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Comes,
    Goes,
}

impl Step {
    fn take(self, count: &mut u32) {
        *count = match self {
            Self::Comes => *count + 1,
            Self::Goes => *count - 1,
        };
    }
}

/// The /16 prefixes of an address space: of how many entries each has a part.
#[derive(Clone, Default)]
struct Blocks {
    counts: Vec<u32>,
    /// A bit for each that has any.
    bits: Vec<u64>,
}

impl Blocks {
    fn new() -> Self {
        Self { counts: vec![0; BLOCKS], bits: vec![0; BLOCKS / 64] }
    }

    /// Counts an entry; `first` is the /16 that its prefix, `len` bits long, begins in.
    fn count(&mut self, first: u32, len: u8, step: Step) {
        for block in first..first + (1 << 16_u8.saturating_sub(len)) {
            let count = &mut self.counts[block as usize];
            step.take(count);
            let (word, bit) = block_bit(block);
            let before = self.bits[word];
            self.bits[word] = if *count > 0 { before | bit } else { before & !bit };
        }
    }
}

/// What the IPv6 table has where.
#[derive(Clone, Default)]
pub(crate) struct Touching {
    /// For each translation prefix: how many entries lie in it or around it.
    prefixes: Vec<(Ipv6Net, u32)>,
    /// Where there is anything but single addresses.
    shorter: Blocks,
}

impl Touching {
    /// Counts an entry.
    pub(crate) fn count(&mut self, key: Key<Ipv6>, step: Step) {
        if key.len < V6::FULL {
            self.shorter.count((key.address.hi >> 48) as u32, key.len, step);
        }
        for (prefix, count) in &mut self.prefixes {
            let len = u32::from(prefix.prefix_len().min(key.len));
            if key.address.masked(len) == Ipv6::from(prefix.network()).masked(len) {
                step.take(count);
            }
        }
    }

    /// Bit `i`: there is something in translation prefix `i`.
    fn bits(&self) -> u32 {
        self.prefixes.iter().enumerate().fold(0, |bits, (index, (_, count))| bits | u32::from(*count > 0) << index)
    }
}

impl<M: Memory> Header<M> {
    /// Takes over memory full of zeros.
    pub(crate) fn new(memory: M, prefixes: Vec<Ipv6Net>) -> Self {
        let prefixes = prefixes.into_iter().map(|prefix| (prefix, 0)).collect();
        let touching = Touching { prefixes, shorter: Blocks::new() };
        let shadow = Box::new(TableHeader::EMPTY);
        Self { memory, shadow, known4: Blocks::new(), touching, switched: None }
    }

    /// Becomes a copy of the record beside another table, which has the same translation prefixes. Nobody reads this one.
    pub(crate) fn copy(&mut self, other: &Self) {
        self.shadow.clone_from(&other.shadow);
        self.known4.clone_from(&other.known4);
        self.touching.clone_from(&other.touching);
        self.flush(0, offset_of!(TableHeader, way));
        self.flush(offset_of!(TableHeader, lengths), size_of::<TableHeader>());
    }

    /// Sources of ICMP errors where the interface has none. IPv4 in host order; 0 and `::`: none.
    pub(crate) fn set_default_addresses(&mut self, ipv4: u32, ipv6: Ipv6) {
        self.shadow.default_ipv4 = ipv4;
        self.shadow.default_ipv6 = ipv6;
        self.flush(0, offset_of!(TableHeader, way));
    }

    /// What [`Self::set_refused_by_eam`] has said last.
    pub(crate) fn refused_by_eam(&self) -> u64 {
        self.shadow.refused_by_eam
    }

    /// Whether addresses that EAMs give must be looked up too: bits of [`TableHeader::refused_by_eam`].
    pub(crate) fn set_refused_by_eam(&mut self, bits: u64) {
        self.shadow.refused_by_eam = bits;
        self.flush(offset_of!(TableHeader, refused_by_eam), offset_of!(TableHeader, way));
    }

    /// Counts an entry of the IPv4 table: to be called before it comes and after it has gone. It is seen with the next
    /// [`Self::set_lengths`].
    pub(crate) fn count4(&mut self, key: Key<u32>, step: Step) {
        self.known4.count(key.address >> 16, key.len, step);
    }

    /// As [`Self::count4`], of the IPv6 table.
    pub(crate) fn count6(&mut self, key: Key<Ipv6>, step: Step) {
        self.touching.count(key, step);
    }

    /// The counts of the IPv6 table, to be taken away and put back by who fills it at one go.
    pub(crate) fn touching(&mut self) -> &mut Touching {
        &mut self.touching
    }

    /// Says which lengths there are, from the numbers of entries of each, and where.
    pub(crate) fn set_lengths(&mut self, ipv4: &[u32], ipv6: &[u32], grace: &mut Grace) {
        self.show_blocks();
        let active = (self.shadow.active & 1) as usize;
        let mut new = Lengths { ipv4: [0; _], ipv6: [0; _], ..self.shadow.lengths[active] };
        new.ipv4_count = list(ipv4, &mut new.ipv4);
        new.ipv6_count = list(ipv6, &mut new.ipv6);
        new.prefixes_with_entries = self.touching.bits();
        if new == self.shadow.lengths[active] {
            return;
        }
        if self.switched.is_some_and(|before| before >= grace.passed()) {
            // A reader may still be at work with what is overwritten.
            grace.wait();
        }
        let next = 1 - active;
        self.shadow.lengths[next] = new;
        let start = offset_of!(TableHeader, lengths) + next * size_of::<Lengths>();
        self.flush(start, start + size_of::<Lengths>());
        self.shadow.active = next as u32;
        self.flush(0, WORD);
        self.switched = Some(grace.passed());
    }

    /// Says in which /16 prefixes there is anything.
    fn show_blocks(&mut self) {
        let shadow = &mut *self.shadow;
        let mut changed = Vec::new();
        for (shown, blocks, offset) in [
            (&mut shadow.ipv4_known, &self.known4, offset_of!(TableHeader, ipv4_known)),
            (&mut shadow.ipv6_shorter, &self.touching.shorter, offset_of!(TableHeader, ipv6_shorter)),
        ] {
            for (word, (shown, bits)) in shown.iter_mut().zip(&blocks.bits).enumerate().filter(|(_, (a, b))| a != b) {
                *shown = *bits;
                changed.push(offset + word * WORD);
            }
        }
        changed.into_iter().for_each(|start| self.flush(start, start + WORD));
    }

    /// Stores the bytes from `start` to `end` of the shadow, the last of them last.
    fn flush(&self, start: usize, end: usize) {
        let header: *const TableHeader = &raw const *self.shadow;
        let words = self.memory.words();
        let last = end.div_ceil(WORD) - 1;
        for (index, to) in words.iter().enumerate().take(last + 1).skip(start / WORD) {
            // SAFETY: within the shadow, which is a multiple of words long, aligned to 64 bytes and has no padding.
            let word = unsafe { header.cast::<u64>().add(index).read() };
            to.store(word, if index == last { Release } else { Relaxed });
        }
    }
}

const _: () = assert!(
    size_of::<TableHeader>().is_multiple_of(WORD)
        && offset_of!(TableHeader, lengths).is_multiple_of(WORD)
        && size_of::<Lengths>().is_multiple_of(WORD)
        && offset_of!(TableHeader, ipv4_known).is_multiple_of(WORD)
        && offset_of!(TableHeader, ipv6_shorter).is_multiple_of(WORD)
);

/// The lengths that occur, longest first, without the full one. Gives their number.
fn list(counts: &[u32], lengths: &mut [u8]) -> u32 {
    let shorter = &counts[..counts.len() - 1];
    let present = shorter.iter().enumerate().rev().filter(|(_, count)| **count > 0);
    let mut number = 0;
    for (place, (len, _)) in lengths.iter_mut().zip(present) {
        *place = len as u8;
        number += 1;
    }
    number
}
