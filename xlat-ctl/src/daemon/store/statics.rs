//! The configuration's entries as they were at the latest revision: so that the history tells what a changed file changed.

use std::collections::HashMap;

use rusqlite::Connection;
use tracing::warn;

use super::{Author, Change, Checksum, Difference, Doing, Store, StoreError, checksum, entry_of};
use crate::eam::{Entry, Origin};

impl Store {
    /// Makes a revision of what has changed in static entries since the latest one. `None`: nothing has, or it is not known
    /// what they were.
    pub(in crate::daemon) fn note_static(
        &mut self,
        verb: &'static str,
        author: &Author,
        entries: &[Entry],
    ) -> Result<Option<u64>, StoreError> {
        let failed = |error: rusqlite::Error| StoreError::sqlite(Doing::Write, &self.path, &error);
        let known = read(&self.connection).unwrap_or_else(|error| {
            warn!("{}: what the static entries were is not known any more: {error}", self.path.display());
            None
        });
        let Some(known) = known else {
            write_all(&mut self.connection, entries).map_err(failed)?;
            return Ok(None);
        };
        let difference = difference(known, entries);
        if difference.is_empty() {
            return Ok(None);
        }
        let change = Change { verb, origin: Origin::Static, author, message: "", difference: &difference };
        let revision = self.prepare(&change)?;
        self.commit().map(|()| Some(revision))
    }
}

/// The sum of the static entries' checksums; `None`: they have not been noted yet.
pub(super) fn sum(database: &Connection) -> rusqlite::Result<Option<Checksum>> {
    let sum: Option<i64> = database.query_row("SELECT static_sum FROM meta", (), |row| row.get(0))?;
    Ok(sum.map(Checksum::from_i64))
}

pub(super) fn set_sum(database: &Connection, sum: Checksum) -> rusqlite::Result<()> {
    database.execute("UPDATE meta SET static_sum = ?1", [sum.to_i64()]).map(drop)
}

fn read(database: &Connection) -> Result<Option<Vec<Entry>>, String> {
    let text = |error: rusqlite::Error| error.to_string();
    let Some(expected) = sum(database).map_err(text)? else { return Ok(None) };
    let mut statement = database.prepare("SELECT ipv4, ipv6, comment FROM static_eam").map_err(text)?;
    let rows = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).map_err(text)?;
    let rows: Vec<(String, String, String)> = rows.collect::<Result<_, _>>().map_err(text)?;
    let mut sum = Checksum::default();
    rows.iter().for_each(|(ipv4, ipv6, comment)| sum.add(checksum::entry(ipv4, ipv6, comment)));
    if sum != expected {
        return Err("their checksum is wrong".to_owned());
    }
    let fixed = |entry: Entry| Entry { origin: Origin::Static, ..entry };
    rows.iter()
        .map(|(ipv4, ipv6, comment)| entry_of(ipv4, ipv6, comment).map(fixed))
        .collect::<Result<_, _>>()
        .map(Some)
}

fn write_all(database: &mut Connection, entries: &[Entry]) -> rusqlite::Result<()> {
    let transaction = database.transaction()?;
    transaction.execute("DELETE FROM static_eam", ())?;
    let mut sum = Checksum::default();
    for Entry { pair, comment, .. } in entries {
        let (ipv4, ipv6) = (pair.ipv4().to_string(), pair.ipv6().to_string());
        transaction.prepare_cached("INSERT INTO static_eam VALUES (?1, ?2, ?3)")?.execute([
            &ipv4,
            &ipv6,
            comment.as_str(),
        ])?;
        sum.add(checksum::entry(&ipv4, &ipv6, comment));
    }
    set_sum(&transaction, sum)?;
    transaction.commit()
}

fn difference(before: Vec<Entry>, after: &[Entry]) -> Difference {
    let mut before: HashMap<_, _> = before.into_iter().map(|entry| (entry.pair, entry)).collect();
    let mut difference = Difference::default();
    for entry in after {
        match before.remove(&entry.pair) {
            None => difference.added.push(entry.clone()),
            Some(old) if old.comment != entry.comment => difference.changed.push((entry.clone(), old.comment)),
            Some(_) => {}
        }
    }
    difference.removed = before.into_values().collect();
    difference.removed.sort_by_key(|entry| entry.pair.ipv4());
    difference
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::ChangeKind,
        daemon::store::{Claim, DATABASE},
        eam::{Pair, parse_ipv4, parse_ipv6},
    };

    fn entry(number: u8, comment: &str) -> Entry {
        let ipv4 = parse_ipv4(&format!("192.0.2.{number}")).unwrap();
        let ipv6 = parse_ipv6(&format!("2001:db8:5e1::{number:x}")).unwrap();
        Entry { pair: Pair::new(ipv4, ipv6).unwrap(), comment: comment.into(), origin: Origin::Static }
    }

    fn open(directory: &tempfile::TempDir) -> (Store, Vec<Entry>) {
        Store::open(Claim::new(directory.path()).unwrap(), 1000).unwrap()
    }

    #[test]
    fn changes_of_the_file_become_revisions_that_no_rollback_undoes() {
        let directory = tempfile::tempdir().unwrap();
        let author = Author { uid: Some(0), user: "root".to_owned(), pid: Some(1) };
        let (mut store, _) = open(&directory);
        let note = |store: &mut Store, entries: &[Entry]| store.note_static("reload", &author, entries).unwrap();
        assert_eq!(note(&mut store, &[entry(1, "one"), entry(2, "two")]), None);
        assert_eq!(note(&mut store, &[entry(2, "two"), entry(1, "one")]), None);
        assert_eq!(note(&mut store, &[entry(2, "zwei"), entry(3, "")]), Some(1));
        drop(store);
        let (mut store, dynamic) = open(&directory);
        assert!(dynamic.is_empty());
        assert_eq!(note(&mut store, &[entry(2, "zwei"), entry(3, "")]), None);
        assert_eq!(note(&mut store, &[]), Some(2));
        let shown = store.reader().show(1).unwrap().unwrap();
        assert_eq!((shown.verb.as_str(), shown.added, shown.removed, shown.changed), ("reload", 1, 1, 1));
        assert_eq!((shown.entries, shown.author.user.as_str()), (0, "root"));
        let kinds: Vec<_> = shown.changes.iter().map(|change| (change.kind, change.origin)).collect();
        let all = [ChangeKind::Removed, ChangeKind::Changed, ChangeKind::Added];
        assert_eq!(kinds, all.map(|kind| (kind, Origin::Static)));
        assert!(store.since(0).unwrap().is_empty());
    }

    #[test]
    fn a_store_of_version_1_is_taken_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        drop(open(&directory));
        let database = Connection::open(directory.path().join(DATABASE)).unwrap();
        let back = "DROP TABLE static_eam; ALTER TABLE meta DROP COLUMN static_sum; PRAGMA user_version = 1";
        database.execute_batch(back).unwrap();
        drop(database);
        let (mut store, _) = open(&directory);
        assert_eq!(store.note_static("start", &Author::default(), &[entry(1, "")]).unwrap(), None);
        assert_eq!(store.note_static("start", &Author::default(), &[]).unwrap(), Some(1));
    }

    #[test]
    fn spoilt_static_entries_are_noted_anew() {
        let directory = tempfile::tempdir().unwrap();
        let (mut store, _) = open(&directory);
        store.note_static("start", &Author::default(), &[entry(1, "")]).unwrap();
        store.connection.execute("UPDATE static_eam SET comment = 'spoilt'", ()).unwrap();
        assert_eq!(store.note_static("start", &Author::default(), &[entry(1, "")]).unwrap(), None);
        assert_eq!(store.note_static("start", &Author::default(), &[entry(2, "")]).unwrap(), Some(1));
    }
}
