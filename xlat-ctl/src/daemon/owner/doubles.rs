//! Entries made by command that the configuration has too.
//!
//! The configuration's is the one in force. The other stays in the store, and is in force again when the configuration does not
//! have it any more. A file that does not name it takes it out of the store, one that does leaves it as it is; a rollback makes it
//! what it was. The table stays the same.

use std::{borrow::Cow, collections::HashMap};

use super::relay::Relay;
use crate::{
    daemon::store::Difference,
    eam::{Comment, Entry, Origin, Pair, Table},
};

/// Their comments, as they are kept in the store.
pub(super) type Doubles = HashMap<Pair, Comment>;

impl Relay {
    /// What a change of the entries made by command is in the table.
    pub(super) fn in_table<'change>(&self, difference: &'change Difference) -> Cow<'change, Difference> {
        // Nearly all relays have no static entries: then none is looked for.
        if self.config.eams.is_empty() { Cow::Borrowed(difference) } else { uncovered(&self.table, difference) }
    }

    /// Remembers what a change makes of them.
    pub(super) fn follow_doubles(&mut self, difference: &Difference) {
        let Difference { removed, added, changed } = difference;
        for entry in removed {
            self.doubles.remove(&entry.pair);
        }
        if self.config.eams.is_empty() {
            return;
        }
        let changed = changed.iter().map(|(entry, _)| entry);
        for entry in added.iter().chain(changed).filter(|entry| is_covered(&self.table, entry)) {
            self.doubles.insert(entry.pair, entry.comment.clone());
        }
    }
}

/// Whether the configuration has an entry made by command, too.
fn is_covered(table: &Table, entry: &Entry) -> bool {
    let other = table.get_ipv4(entry.pair.ipv4());
    other.is_some_and(|other| other.origin == Origin::Static && other.pair == entry.pair)
}

fn uncovered<'change>(table: &Table, difference: &'change Difference) -> Cow<'change, Difference> {
    let Difference { removed, added, changed } = difference;
    let mut all = removed.iter().chain(added).chain(changed.iter().map(|(entry, _)| entry));
    if !all.any(|entry| is_covered(table, entry)) {
        return Cow::Borrowed(difference);
    }
    let rest = |entries: &[Entry]| entries.iter().filter(|entry| !is_covered(table, entry)).cloned().collect();
    Cow::Owned(Difference {
        removed: rest(removed),
        added: rest(added),
        changed: changed.iter().filter(|(entry, _)| !is_covered(table, entry)).cloned().collect(),
    })
}
