//! The tables as the program reads them.

use std::{
    cell::RefCell,
    mem::offset_of,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Acquire},
    },
};

use xlat_common::{
    address::Ipv6,
    table::{Bucket, Entry, Found, Lengths, TableHeader, Tables, known_bit, probe4, probe6, shorter_bit},
};

use super::{super::*, SEED};

#[derive(Clone)]
pub(super) struct Shared(pub(super) Arc<[AtomicU64]>);

impl Shared {
    pub(super) fn new(bytes: usize) -> Self {
        Self((0..bytes / 8).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Memory for Shared {
    fn words(&self) -> &[AtomicU64] {
        &self.0
    }
}

/// What a program on another CPU sees.
#[derive(Clone)]
pub(super) struct Reader {
    ipv4: Shared,
    ipv6: Shared,
    pub(super) header: Shared,
    mask: u32,
    /// Buckets as they were when they were looked at.
    seen: Arena,
}

#[derive(Default)]
#[expect(clippy::vec_box, reason = "references into it outlive the vector's moves")]
pub(super) struct Arena(RefCell<Vec<Box<Bucket>>>);

impl Clone for Arena {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Reader {
    pub(super) fn bucket(&self, memory: &Shared, index: u32) -> Option<&Bucket> {
        let words = memory.0.get(index as usize * 8..)?.get(..8)?;
        let mut copy = [0_u64; 8];
        // In the order in which the program reads: the first word of an entry says whether the rest counts.
        for (to, from) in copy.iter_mut().zip(words) {
            *to = from.load(Acquire);
        }
        // SAFETY: a bucket is eight words, all bit patterns of which are valid.
        let bucket = Box::new(unsafe { std::mem::transmute::<[u64; 8], Bucket>(copy) });
        let place: *const Bucket = &raw const *bucket;
        self.seen.0.borrow_mut().push(bucket);
        // SAFETY: the box lives in `seen`, which is only emptied through `&mut self`.
        Some(unsafe { &*place })
    }

    /// The lengths in force.
    pub(super) fn lengths(&self) -> Lengths {
        let active = self.header.0[0].load(Acquire) as u32 & 1;
        let start = offset_of!(TableHeader, lengths) / 8 + active as usize * (size_of::<Lengths>() / 8);
        let mut copy = [0_u64; size_of::<Lengths>() / 8];
        for (to, from) in copy.iter_mut().zip(&self.header.0[start..]) {
            *to = from.load(Acquire);
        }
        // SAFETY: integers only, all bit patterns of which are valid.
        unsafe { std::mem::transmute(copy) }
    }

    /// Whether the /16 with this word and bit has anything. `offset`: of the field of the record beside the tables.
    pub(super) fn has(&self, offset: usize, (word, bit): (usize, u64)) -> bool {
        self.header.0[offset / 8 + word].load(Acquire) & bit != 0
    }

    pub(super) fn find4(&mut self, address: u32) -> Option<Entry> {
        self.seen.0.borrow_mut().clear();
        if !self.has(offset_of!(TableHeader, ipv4_known), known_bit(address)) {
            return None;
        }
        let lengths = self.lengths();
        let shorter = lengths.ipv4[..lengths.ipv4_count as usize].iter().map(|len| u32::from(*len));
        let all = [32].into_iter().chain(shorter);
        all.map(|len| probe4(self, address, len, self.mask, SEED)).find(Found::is_entry).map(|found| found.entry())
    }

    pub(super) fn find6(&mut self, address: Ipv6) -> Option<Entry> {
        self.seen.0.borrow_mut().clear();
        let own = probe6(self, address, 128, self.mask, SEED);
        if own.is_entry() {
            return Some(own.entry());
        }
        if !self.has(offset_of!(TableHeader, ipv6_shorter), shorter_bit(address)) {
            return None;
        }
        let lengths = self.lengths();
        let mut shorter = lengths.ipv6[..lengths.ipv6_count as usize].iter().map(|len| u32::from(*len));
        let found = shorter.find_map(|len| Some(probe6(self, address, len, self.mask, SEED)).filter(Found::is_entry));
        found.map(|found| found.entry())
    }
}

impl Tables for Reader {
    fn bucket4(&self, index: u32) -> Option<&Bucket> {
        self.bucket(&self.ipv4, index)
    }

    fn bucket6(&self, index: u32) -> Option<&Bucket> {
        self.bucket(&self.ipv6, index)
    }
}

/// An empty table, and a reader of it.
pub(super) fn table(buckets: u32, prefixes: &[&str], well_known: bool) -> (Table<Shared>, Reader) {
    let bucket_bytes = size_of::<Bucket>() * buckets as usize;
    let (ipv4, ipv6) = (Shared::new(bucket_bytes), Shared::new(bucket_bytes));
    let header = Shared::new(size_of::<TableHeader>());
    let prefixes = prefixes.iter().map(|text| text.parse().unwrap()).collect();
    let reader = Reader {
        ipv4: ipv4.clone(),
        ipv6: ipv6.clone(),
        header: header.clone(),
        mask: buckets - 1,
        seen: Arena::default(),
    };
    (Table::new((ipv4, ipv6), header, SEED, prefixes, well_known, 1 << 20), reader)
}
