//! Single steps on the table's words, which the program reads at the same time.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{Relaxed, Release},
};

use xlat_common::{
    account,
    address::Ipv6,
    table::{Entry, OVERFLOW, first_bucket},
};

use super::{Place, SLOTS, WORDS, Writer};
use crate::dataplane::table::{
    family::Family,
    memory::{Grace, Memory},
};

impl<F: Family, M: Memory> Writer<F, M> {
    /// Moves an entry; its old place can be used at once.
    pub(super) fn relocate(&mut self, from: Place, to: Place, grace: &mut Grace) {
        let entry = self.load(from);
        self.publish(to, &entry);
        grace.wait();
        self.withdraw(from, grace);
        grace.wait();
        self.withdrawn.remove(&from);
    }

    /// Makes an entry visible.
    pub(super) fn publish(&mut self, place: Place, entry: &Entry) {
        let first = first_bucket(F::hash(F::key(entry), self.seed), self.mask);
        if place.bucket() != first {
            *self.overflowed.entry(first).or_insert(0) += 1;
            self.set_mark(first, true);
        }
        self.withdrawn.remove(&place);
        self.live += 1;
        self.refused += usize::from(is_refused(entry));
        self.lengths[usize::from(entry.len)] += 1;
        let words = self.memory.words();
        let at = place.index() * WORDS as usize;
        words[at + 1].store(entry.ipv6.hi, Relaxed);
        words[at + 2].store(entry.ipv6.lo, Relaxed);
        words[at + NEXT_HOP].store(entry.next_hop & account::MASK, Relaxed);
        self.store_first_word(place, entry);
    }

    /// Makes an entry invisible. Its place is not used before a grace period has passed.
    pub(super) fn withdraw(&mut self, place: Place, grace: &Grace) {
        self.clear(place, grace.passed());
    }

    pub(super) fn clear(&mut self, place: Place, passed: u64) {
        let entry = self.load(place);
        self.store_first_word(place, &Entry::NONE);
        self.withdrawn.insert(place, passed);
        self.live -= 1;
        self.refused -= usize::from(is_refused(&entry));
        self.lengths[usize::from(entry.len)] -= 1;
        let first = first_bucket(F::hash(F::key(&entry), self.seed), self.mask);
        if place.bucket() != first
            && let Some(count) = self.overflowed.get_mut(&first)
        {
            *count -= 1;
            if *count == 0 {
                self.overflowed.remove(&first);
                self.set_mark(first, false);
            }
        }
    }

    /// Replaces an entry by one that differs in the flags only.
    pub(super) fn change_flags(&mut self, place: Place, entry: &Entry) {
        self.refused -= usize::from(is_refused(&self.load_first_word(place)));
        self.refused += usize::from(is_refused(entry));
        self.store_first_word(place, entry);
    }

    pub(super) fn load_first_word(&self, place: Place) -> Entry {
        let word = self.memory.words()[place.index() * WORDS as usize].load(Relaxed);
        first_word(word)
    }

    pub(super) fn load(&self, place: Place) -> Entry {
        let words = self.memory.words();
        let at = place.index() * WORDS as usize;
        entry_of(&words[at..at + WORDS as usize])
    }

    /// Stores the word that makes an entry valid, after everything that was stored before. The bucket's mark stays.
    pub(super) fn store_first_word(&self, place: Place, entry: &Entry) {
        let mark = if place.0.is_multiple_of(SLOTS) && self.is_marked(place.bucket()) { OVERFLOW } else { 0 };
        let [a, b, c, d] = entry.ipv4.to_ne_bytes();
        let bytes = [a, b, c, d, entry.len, entry.eam_len4 & !OVERFLOW | mark, entry.eam_len6, entry.flags];
        self.memory.words()[place.index() * WORDS as usize].store(u64::from_ne_bytes(bytes), Release);
    }

    pub(super) fn mark_word(&self, bucket: u32) -> &AtomicU64 {
        &self.memory.words()[Place::new(bucket, 0).index() * WORDS as usize]
    }

    pub(super) fn is_marked(&self, bucket: u32) -> bool {
        self.mark_word(bucket).load(Relaxed).to_ne_bytes()[MARK_BYTE] & OVERFLOW != 0
    }

    pub(super) fn set_mark(&self, bucket: u32, marked: bool) {
        let word = self.mark_word(bucket);
        let mut bytes = word.load(Relaxed).to_ne_bytes();
        bytes[MARK_BYTE] = bytes[MARK_BYTE] & !OVERFLOW | if marked { OVERFLOW } else { 0 };
        word.store(u64::from_ne_bytes(bytes), Release);
    }
}

/// Whether an EAM covers the addresses of an entry, and they are refused all the same.
pub(crate) const fn is_refused(entry: &Entry) -> bool {
    entry.flags & Entry::EAM != 0 && entry.flags & (Entry::OWN | Entry::DENIED | Entry::ILLEGAL) != 0
}

/// What an entry's first word says.
pub(super) fn first_word(word: u64) -> Entry {
    let entry = Entry::of_first_word(word);
    Entry { eam_len4: entry.eam_len4 & !OVERFLOW, ..entry }
}

/// The entry in four words of a table, without what the program keeps there.
pub(super) fn entry_of(words: &[AtomicU64]) -> Entry {
    let ipv6 = Ipv6 { hi: words[1].load(Relaxed), lo: words[2].load(Relaxed) };
    let next_hop = words[NEXT_HOP].load(Relaxed) & account::MASK;
    Entry { ipv6, next_hop, ..first_word(words[0].load(Relaxed)) }
}

/// Every entry of a table's memory.
pub(crate) fn entries(words: &[AtomicU64]) -> impl Iterator<Item = Entry> {
    words.chunks_exact(WORDS as usize).map(entry_of).filter(|entry| entry.flags != 0)
}

/// Which word of an entry holds the program's own beside the account.
pub(super) const NEXT_HOP: usize = std::mem::offset_of!(Entry, next_hop) / size_of::<u64>();
/// The mark's byte in the first word of a bucket.
const MARK_BYTE: usize = std::mem::offset_of!(Entry, eam_len4);
/// The flags' byte in the first word of an entry.
pub(super) const FLAGS_BYTE: usize = std::mem::offset_of!(Entry, flags);

const _: () = {
    assert!(std::mem::offset_of!(Entry, ipv4) == 0 && std::mem::offset_of!(Entry, len) == 4);
    assert!(std::mem::offset_of!(Entry, eam_len6) == 6 && std::mem::offset_of!(Entry, flags) == 7);
    assert!(std::mem::offset_of!(Entry, ipv6) == 8 && size_of::<Entry>() == 8 * WORDS as usize);
};
