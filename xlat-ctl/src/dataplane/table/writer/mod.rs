//! One hash table in shared memory, written while it is read: the writer's side of `xlat_common::table`, whose rules it
//! keeps. It knows nothing of what the entries mean.

mod steps;

use std::{
    marker::PhantomData,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use rustc_hash::{FxHashMap, FxHashSet};
use xlat_common::{
    account,
    table::{Entry, first_bucket, second_bucket},
};

use self::steps::{FLAGS_BYTE, NEXT_HOP};
pub(crate) use self::steps::{entries, is_refused};
use super::{
    family::{Family, Key},
    memory::{Grace, Memory},
};

/// Entries in a bucket.
const SLOTS: u32 = 2;
/// Words of an entry.
const WORDS: u32 = 4;
/// Of a hundred places this many are used at most. Two candidate buckets of two places can nearly always be filled to 89 %.
const FILL_PERCENT: u64 = 80;
/// How many buckets are looked at for a chain of moves that makes room.
const SEARCH: usize = 2000;

/// Buckets of a region: a mebibyte, whose pages the processor finds without going through the page tables.
const REGION: u32 = 1 << 14;
/// Entries that are replaced between two grace periods at most.
const MOST_AT_ONCE: usize = 16_384;

/// The key's address.
type Address<F> = <F as Family>::Address;

/// An entry's place: bucket and slot in one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place(u32);

impl Place {
    fn new(bucket: u32, slot: u32) -> Self {
        Self(bucket * SLOTS + slot)
    }

    fn bucket(self) -> u32 {
        self.0 / SLOTS
    }

    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// The places in two buckets.
fn places(buckets: [u32; 2]) -> impl Iterator<Item = Place> {
    buckets.into_iter().flat_map(|bucket| (0..SLOTS).map(move |slot| Place::new(bucket, slot)))
}

/// An entry to be in the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Put {
    /// The entry.
    pub(crate) entry: Entry,
    /// Where the entry with the same key is that it replaces.
    pub(crate) old: Option<Place>,
}

/// No place is left that an entry could lie in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// The table.
pub(crate) struct Writer<F: Family, M> {
    memory: M,
    mask: u32,
    seed: u64,
    /// How many entries there are of each length.
    lengths: Vec<u32>,
    /// Number of entries.
    live: usize,
    /// How many of them are of addresses that an EAM covers and that are refused all the same.
    refused: usize,
    /// For each bucket that has any: how many keys whose first bucket it is lie in their second.
    overflowed: FxHashMap<u32, u32>,
    /// Places that were withdrawn, with the number of grace periods that had passed then: not to be used before the next.
    withdrawn: FxHashMap<Place, u64>,
    family: PhantomData<F>,
}

impl<F: Family, M: Memory> Writer<F, M> {
    /// Takes over memory full of zeros. Its size is a power of two buckets.
    pub(crate) fn new(memory: M, seed: u64) -> Self {
        let buckets = memory.words().len() as u32 / (SLOTS * WORDS);
        assert!(buckets.is_power_of_two(), "a table has a power of two buckets, not {buckets}");
        Self {
            memory,
            mask: buckets - 1,
            seed,
            lengths: vec![0; F::FULL as usize + 1],
            live: 0,
            refused: 0,
            overflowed: FxHashMap::default(),
            withdrawn: FxHashMap::default(),
            family: PhantomData,
        }
    }

    /// Becomes a copy of another table, without what the program keeps in that one's entries. Nobody reads this one, whose
    /// memory is full of zeros; `false`: they are not alike, and nothing has been copied.
    pub(crate) fn copy(&mut self, other: &Self) -> bool {
        if (self.seed, self.mask, self.live) != (other.seed, other.mask, 0) {
            return false;
        }
        for (index, (to, from)) in self.words().iter().zip(other.words()).enumerate() {
            let kept = if index % WORDS as usize == NEXT_HOP { account::MASK } else { u64::MAX };
            to.store(from.load(Relaxed) & kept, Relaxed);
        }
        self.lengths.clone_from(&other.lengths);
        (self.live, self.refused) = (other.live, other.refused);
        self.overflowed.clone_from(&other.overflowed);
        true
    }

    /// The table's memory, as words: four for each place.
    pub(crate) fn words(&self) -> &[AtomicU64] {
        self.memory.words()
    }

    /// Number of entries.
    pub(crate) fn len(&self) -> usize {
        self.live
    }

    /// Whether an EAM covers any address that is denied, illegal or the relay's own.
    pub(crate) fn has_refused(&self) -> bool {
        self.refused > 0
    }

    /// Number of entries that the table can hold.
    pub(crate) fn capacity(&self) -> usize {
        ((u64::from(self.mask) + 1) * u64::from(SLOTS) * FILL_PERCENT / 100) as usize
    }

    /// Number of places.
    pub(crate) fn places(&self) -> usize {
        (self.mask as usize + 1) * SLOTS as usize
    }

    /// How many entries there are of each prefix length.
    pub(crate) fn lengths(&self) -> &[u32] {
        &self.lengths
    }

    /// Finds the entry with exactly this key.
    pub(crate) fn find(&self, key: Key<Address<F>>) -> Option<(Place, Entry)> {
        let hash = F::hash(key, self.seed);
        let first = first_bucket(hash, self.mask);
        if let Some(found) = self.find_in(first, key) {
            return Some(found);
        }
        if self.is_marked(first) { self.find_in(second_bucket(hash, self.mask), key) } else { None }
    }

    fn find_in(&self, bucket: u32, key: Key<Address<F>>) -> Option<(Place, Entry)> {
        (0..SLOTS).find_map(|slot| {
            let place = Place::new(bucket, slot);
            let entry = self.load(place);
            (entry.flags != 0 && F::key(&entry) == key).then_some((place, entry))
        })
    }

    /// The entry with the longest key around `key`, `key` itself not counted.
    pub(crate) fn parent(&self, key: Key<Address<F>>) -> Option<Entry> {
        (0..key.len)
            .rev()
            .filter(|len| self.lengths[usize::from(*len)] > 0)
            .find_map(|len| self.find(F::prefix(key.address, len)))
            .map(|(_, entry)| entry)
    }

    /// All entries.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Place, Entry)> {
        let entries = self.memory.words().chunks_exact(WORDS as usize).zip(0_u32..);
        entries.filter_map(|(words, index)| {
            let place = Place(index);
            let is_used = words[0].load(Relaxed).to_ne_bytes()[FLAGS_BYTE] != 0;
            is_used.then(|| (place, self.load(place)))
        })
    }

    /// How many regions of [`REGION`] buckets there are.
    pub(crate) fn regions(&self) -> usize {
        (self.mask / REGION) as usize + 1
    }

    /// The region in which the key's first bucket lies.
    pub(crate) fn region(&self, key: Key<Address<F>>) -> usize {
        (first_bucket(F::hash(key, self.seed), self.mask) / REGION) as usize
    }

    /// Brings the key's bucket nearer, for many look-ups in a row.
    pub(crate) fn prefetch(&self, key: Key<Address<F>>) {
        let bucket = first_bucket(F::hash(key, self.seed), self.mask);
        let word = &raw const self.memory.words()[Place::new(bucket, 0).index() * WORDS as usize];
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch touches nothing, and the address is within the memory.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(word.cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = word;
    }

    /// Puts entries in, then takes others out; if too many would be left, nothing is changed. A reader always finds the old
    /// or the new entry of a key.
    pub(crate) fn apply(&mut self, puts: &[Put], removals: &[Key<Address<F>>], grace: &mut Grace) -> Result<(), Full> {
        let added = puts.iter().filter(|put| put.old.is_none()).count();
        if self.live + added > self.capacity() + removals.len() {
            return Err(Full);
        }
        // First in, then out; only a table without room for both at once is emptied first.
        let emptied_first = self.live + added > self.capacity();
        if emptied_first {
            self.withdraw_all(removals, grace);
        }
        // While entries are being replaced, the old and the new take up room. What is in other steps may have moved.
        let step = (self.places() / 32).clamp(1, MOST_AT_ONCE);
        for (index, puts) in puts.chunks(step).enumerate() {
            self.apply_step(puts, index > 0, grace)?;
        }
        if !emptied_first {
            self.withdraw_all(removals, grace);
        }
        Ok(())
    }

    fn withdraw_all(&mut self, keys: &[Key<Address<F>>], grace: &Grace) {
        for key in keys {
            if let Some((place, _)) = self.find(*key) {
                self.withdraw(place, grace);
            }
        }
    }

    fn apply_step(&mut self, puts: &[Put], look: bool, grace: &mut Grace) -> Result<(), Full> {
        let mut puts = puts.to_vec();
        for put in puts.iter_mut().filter(|put| look && put.old.is_some()) {
            put.old = self.find(F::key(&put.entry)).map(|(place, _)| place);
        }
        let pinned: FxHashSet<Place> = puts.iter().filter_map(|put| put.old).collect();
        let mut done = Done::default();
        for put in &puts {
            if self.put(put, &pinned, &mut done, grace).is_err() {
                self.undo(&done, &pinned);
                return Err(Full);
            }
        }
        if !done.replaced.is_empty() {
            // A reader that has looked past the new place finds the old one.
            grace.wait();
            for place in done.replaced {
                self.withdraw(place, grace);
            }
        }
        Ok(())
    }

    fn put(&mut self, put: &Put, pinned: &FxHashSet<Place>, done: &mut Done<F>, grace: &mut Grace) -> Result<(), Full> {
        if let Some(old) = put.old {
            let before = self.load(old);
            if (Entry { flags: before.flags, ..put.entry }) == before {
                // Only the flags differ: one byte of one word.
                done.flagged.push((old, before));
                self.change_flags(old, &put.entry);
                return Ok(());
            }
        }
        let place = self.room(F::key(&put.entry), pinned, grace).ok_or(Full)?;
        self.publish(place, &put.entry);
        done.published.push(F::key(&put.entry));
        done.replaced.extend(put.old);
        Ok(())
    }

    /// Takes back what `put` has done.
    fn undo(&mut self, done: &Done<F>, pinned: &FxHashSet<Place>) {
        for (place, before) in &done.flagged {
            self.change_flags(*place, before);
        }
        for key in &done.published {
            let hash = F::hash(*key, self.seed);
            let buckets = [first_bucket(hash, self.mask), second_bucket(hash, self.mask)];
            let new = places(buckets).find(|place| {
                let entry = self.load(*place);
                entry.flags != 0 && F::key(&entry) == *key && !pinned.contains(place)
            });
            if let Some(place) = new {
                self.clear(place, u64::MAX);
            }
        }
    }

    /// Puts one entry into a table that nobody reads. `Ok(false)`: its key is there already.
    pub(crate) fn fill(&mut self, entry: &Entry, grace: &mut Grace) -> Result<bool, Full> {
        let key = F::key(entry);
        if self.find(key).is_some() {
            return Ok(false);
        }
        let place = self.room(key, &FxHashSet::default(), grace).ok_or(Full)?;
        self.publish(place, entry);
        Ok(true)
    }

    /// A place for a key: a free one of its buckets, or one that is made free by moving others.
    fn room(&mut self, key: Key<Address<F>>, pinned: &FxHashSet<Place>, grace: &mut Grace) -> Option<Place> {
        let hash = F::hash(key, self.seed);
        let buckets = [first_bucket(hash, self.mask), second_bucket(hash, self.mask)];
        if let Some(place) = buckets.into_iter().find_map(|bucket| self.free_in(bucket, grace)) {
            return Some(place);
        }
        if places(buckets).any(|place| self.withdrawn.contains_key(&place)) {
            self.settle(grace);
            return buckets.into_iter().find_map(|bucket| self.free_in(bucket, grace));
        }
        if let Some(place) = self.make_room(buckets, pinned, grace) {
            return Some(place);
        }
        if self.withdrawn.is_empty() {
            return None;
        }
        self.settle(grace);
        self.make_room(buckets, pinned, grace)
    }

    /// Waits until the withdrawn places can be used.
    fn settle(&mut self, grace: &mut Grace) {
        grace.wait();
        self.withdrawn.clear();
    }

    fn free_in(&self, bucket: u32, grace: &Grace) -> Option<Place> {
        (0..SLOTS).map(|slot| Place::new(bucket, slot)).find(|place| {
            self.load_first_word(*place).flags == 0
                && self.withdrawn.get(place).is_none_or(|before| *before < grace.passed())
        })
    }

    /// Looks for the shortest chain of entries that can each move to its other bucket, the last to a free place, and moves
    /// them, from the last to the first. The place that becomes free is in one of `buckets`.
    fn make_room(&mut self, buckets: [u32; 2], pinned: &FxHashSet<Place>, grace: &mut Grace) -> Option<Place> {
        /// A bucket on the way, and the entry (of the bucket before) that would move here.
        struct Step {
            bucket: u32,
            from: Option<(usize, Place)>,
        }
        let mut steps: Vec<Step> = buckets.into_iter().map(|bucket| Step { bucket, from: None }).collect();
        let mut seen: FxHashSet<u32> = buckets.into_iter().collect();
        let mut at = 0;
        let mut target = None;
        'search: while at < steps.len() && steps.len() < SEARCH {
            for slot in 0..SLOTS {
                let place = Place::new(steps[at].bucket, slot);
                let entry = self.load(place);
                if entry.flags == 0 || pinned.contains(&place) {
                    continue;
                }
                let other = self.other_bucket(&entry, place.bucket());
                if !seen.insert(other) {
                    continue;
                }
                steps.push(Step { bucket: other, from: Some((at, place)) });
                if let Some(free) = self.free_in(other, grace) {
                    target = Some((steps.len() - 1, free));
                    break 'search;
                }
            }
            at += 1;
        }
        let (mut step, mut free) = target?;
        while let Some((before, place)) = steps[step].from {
            self.relocate(place, free, grace);
            (step, free) = (before, place);
        }
        Some(free)
    }

    fn other_bucket(&self, entry: &Entry, bucket: u32) -> u32 {
        let hash = F::hash(F::key(entry), self.seed);
        let first = first_bucket(hash, self.mask);
        if first == bucket { second_bucket(hash, self.mask) } else { first }
    }
}

/// What has been done of a list of changes.
struct Done<F: Family> {
    /// Entries whose flags were changed in place, as they were.
    flagged: Vec<(Place, Entry)>,
    /// Keys of new entries.
    published: Vec<Key<Address<F>>>,
    /// Places of the entries that they replace: these keys are there twice.
    replaced: Vec<Place>,
}

impl<F: Family> Default for Done<F> {
    fn default() -> Self {
        Self { flagged: Vec::new(), published: Vec::new(), replaced: Vec::new() }
    }
}
