//! What has to change in a table: for a rule that comes or goes, for other flags, for other lists as a whole.

use std::collections::HashSet;

use xlat_common::table::Entry;

use super::{
    TableError,
    family::{Content, Family, Key, Rule},
    full,
    memory::Memory,
    plan::{self, Specials},
    twice,
    writer::{Place, Put, Writer, is_refused},
};

/// Changes of one table.
pub(super) struct Changes<F: Family> {
    pub(super) puts: Vec<Put>,
    pub(super) removals: Vec<Key<F::Address>>,
}

impl<F: Family> Changes<F> {
    pub(super) fn check_room<M: Memory>(&self, writer: &Writer<F, M>) -> Result<(), TableError> {
        let left = writer.len() + self.added().count() - self.removals.len();
        if left > writer.capacity() { Err(full(writer)) } else { Ok(()) }
    }

    /// Keys that are not there yet.
    pub(super) fn added(&self) -> impl Iterator<Item = Key<F::Address>> {
        self.puts.iter().filter(|put| put.old.is_none()).map(|put| F::key(&put.entry))
    }

    /// Whether they bring an entry that is refused although an EAM covers it.
    pub(super) fn bring_refused(&self) -> bool {
        self.puts.iter().any(|put| is_refused(&put.entry))
    }

    /// The numbers of entries of each length, with the new ones and before any goes.
    pub(super) fn widened<M: Memory>(&self, writer: &Writer<F, M>) -> Vec<u32> {
        let mut lengths = writer.lengths().to_vec();
        self.added().for_each(|key| lengths[usize::from(key.len)] += 1);
        lengths
    }

    /// The changes that take these back.
    pub(super) fn back<M: Memory>(&self, writer: &Writer<F, M>) -> Self {
        let before = |key| writer.find(key).map(|(_, entry)| Put { entry, old: None });
        let changed = self.puts.iter().filter(|put| put.old.is_some()).filter_map(|put| before(F::key(&put.entry)));
        let gone = self.removals.iter().filter_map(|key| before(*key));
        Self { puts: changed.chain(gone).collect(), removals: self.added().collect() }
    }

    /// The entries to put, with what they replace found again.
    pub(super) fn fresh<M: Memory>(&self, writer: &Writer<F, M>) -> Vec<Put> {
        let find = |put: &Put| Put { old: writer.find(F::key(&put.entry)).map(|(place, _)| place), ..*put };
        self.puts.iter().map(find).collect()
    }
}

pub(super) fn longest<F: Family, M: Memory>(writer: &Writer<F, M>, key: Key<F::Address>) -> Content {
    match writer.find(key) {
        Some((_, entry)) => F::content(&entry),
        None => around(writer, key),
    }
}

pub(super) fn around<F: Family, M: Memory>(writer: &Writer<F, M>, key: Key<F::Address>) -> Content {
    writer.parent(key).map_or_else(Content::default, |entry| F::content(&entry).inherited())
}

/// Whether two rules have the same prefixes.
pub(super) fn is_same(one: &Rule, other: &Rule) -> bool {
    (one.ipv4, one.len4, one.ipv6, one.len6) == (other.ipv4, other.len4, other.ipv6, other.len6)
}

/// What makes the table that which follows from the lists.
pub(super) fn difference<F: Family, M: Memory>(
    writer: &Writer<F, M>,
    rules: impl Iterator<Item = Rule> + Clone,
    specials: &Specials<F>,
) -> Result<Changes<F>, TableError> {
    let mut wanted = vec![0_u64; writer.places().div_ceil(64)];
    let mut changes = Changes { puts: Vec::new(), removals: Vec::new() };
    let mut new = HashSet::new();
    plan::for_each_entry::<F, _>(rules, specials, |entry| {
        let key = F::key(&entry);
        let old = writer.find(key);
        let again = match old {
            Some((place, _)) => {
                let (word, bit) = (place.index() / 64, 1 << (place.index() % 64));
                let again = wanted[word] & bit != 0;
                wanted[word] |= bit;
                again
            }
            None => !new.insert(key),
        };
        if again {
            return Err(twice::<F>(format!("{key:?}")));
        }
        if old.is_none_or(|(_, there)| there != entry) {
            changes.puts.push(Put { entry, old: old.map(|(place, _)| place) });
        }
        Ok(())
    })?;
    let unwanted = |place: &Place| wanted[place.index() / 64] >> (place.index() % 64) & 1 == 0;
    changes.removals = writer.iter().filter(|(place, _)| unwanted(place)).map(|(_, entry)| F::key(&entry)).collect();
    Ok(changes)
}

/// The entries inside a prefix, itself not counted.
pub(super) fn inside<F: Family, M: Memory>(
    writer: &Writer<F, M>,
    outer: Key<F::Address>,
) -> impl Iterator<Item = (Place, Entry)> {
    // A whole address has nothing inside: the table need not be gone through.
    let entries = (outer.len < F::FULL).then(|| writer.iter());
    entries.into_iter().flatten().filter(move |(_, entry)| entry.len > outer.len && F::contains(outer, F::key(entry)))
}

/// What an EAM changes when it comes. `None`: there is one with this prefix.
pub(super) fn with_rule<F: Family, M: Memory>(writer: &Writer<F, M>, rule: &Rule) -> Option<Changes<F>> {
    let key = F::key_of(rule);
    let (old, flags) = match writer.find(key) {
        Some((_, entry)) if F::content(&entry).rule.is_some_and(|rule| F::key_of(&rule) == key) => return None,
        Some((place, entry)) => (Some(place), F::content(&entry).flags),
        None => (None, around(writer, key).flags),
    };
    let own = Put { entry: F::entry(key, Content { flags, rule: Some(*rule) }), old };
    let covered = inside(writer, key).filter_map(|(place, entry)| {
        let content = F::content(&entry);
        let longer = content.rule.is_some_and(|there| F::key_of(&there).len > key.len);
        let entry = F::entry(F::key(&entry), Content { rule: Some(*rule), ..content });
        (!longer).then_some(Put { entry, old: Some(place) })
    });
    Some(Changes { puts: covered.chain([own]).collect(), removals: Vec::new() })
}

/// What an EAM changes when it goes. `None`: there is none like it.
pub(super) fn without_rule<F: Family, M: Memory>(
    writer: &Writer<F, M>,
    rule: &Rule,
    specials: &Specials<F>,
) -> Option<Changes<F>> {
    let key = F::key_of(rule);
    let (place, entry) = writer.find(key)?;
    let content = F::content(&entry);
    let same = |there: Rule| is_same(&there, rule);
    if !content.rule.is_some_and(same) {
        return None;
    }
    let next = around(writer, key).rule;
    let covered = inside(writer, key).filter(|(_, entry)| F::content(entry).rule.is_some_and(same));
    let mut puts: Vec<Put> = covered
        .map(|(place, entry)| {
            let content = Content { rule: next, ..F::content(&entry) };
            Put { entry: F::entry(F::key(&entry), content), old: Some(place) }
        })
        .collect();
    let mut removals = Vec::new();
    if specials.contains_key(&key) {
        puts.push(Put { entry: F::entry(key, Content { rule: next, ..content }), old: Some(place) });
    } else {
        removals.push(key);
    }
    Some(Changes { puts, removals })
}

/// What changed flags of whole addresses change.
pub(super) fn with_specials<F: Family, M: Memory>(
    writer: &Writer<F, M>,
    keys: impl Iterator<Item = Key<F::Address>>,
    specials: &Specials<F>,
) -> Changes<F> {
    let mut changes = Changes { puts: Vec::new(), removals: Vec::new() };
    for key in keys {
        let old = writer.find(key);
        let around = around(writer, key);
        let rule = old.map_or(around.rule, |(_, entry)| F::content(&entry).rule);
        let special = specials.get(&key);
        if special.is_none() && rule.is_none_or(|rule| F::key_of(&rule) != key) {
            changes.removals.extend(old.map(|_| key));
            continue;
        }
        let entry = F::entry(key, Content { flags: around.flags | special.unwrap_or(&0), rule });
        changes.puts.push(Put { entry, old: old.map(|(place, _)| place) });
    }
    changes
}
