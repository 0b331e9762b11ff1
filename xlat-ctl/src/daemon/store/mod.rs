//! Where the dynamic entries and the history of their changes live: one SQLite database, `eam.db`, in the state directory.
//!
//! A change is acknowledged when it is in the database's log on the disk and its revision is in the file `acknowledged`
//! (see [`witness`]). What is read at the start must have the checksum of the last revision, and that revision may not be
//! older than the acknowledged one: a store that lost something is refused, never used.

mod backup;
mod checksum;
mod error;
mod history;
mod lock;
mod open;
mod owner;
pub(crate) mod restore;
mod schema;
pub(in crate::daemon) mod share;
mod statics;
mod usage;
mod witness;

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use rusqlite::{Connection, params};

pub(crate) use self::error::StoreError;
use self::{backup::Keeper, checksum::Checksum, error::Doing, lock::Lock, witness::Witness};
pub(super) use self::{
    history::{Reader, Step},
    open::Claim,
    usage::{Batch, GAP, Use, Uses},
};
use super::author::Author;
use crate::{
    crash,
    eam::{Comment, Entry, Origin, Pair},
};

/// Forgotten changes that a change deletes itself.
const AT_ONCE: u64 = 1000;
/// Name of the database in the state directory.
pub(crate) const DATABASE: &str = "eam.db";
/// Name of its verified copy.
pub(crate) const BACKUP: &str = "eam.backup.db";

/// How the dynamic entries become others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) removed: Vec<Entry>,
    pub(super) added: Vec<Entry>,
    /// Entries as they will be, with the comment they had.
    pub(super) changed: Vec<(Entry, Comment)>,
}

impl Difference {
    pub(super) fn len(&self) -> usize {
        self.removed.len() + self.added.len() + self.changed.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One change of the table, to become a revision.
pub(super) struct Change<'relay> {
    /// `add`, `del`, `apply` or `rollback`; of static entries `reload` or `start`.
    pub(super) verb: &'static str,
    /// Which entries change.
    pub(super) origin: Origin,
    pub(super) author: &'relay Author,
    /// The operator's words about the change.
    pub(super) message: &'relay str,
    pub(super) difference: &'relay Difference,
}

/// What the table is at a revision, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Version {
    revision: u64,
    entries: u64,
    /// The sum of the entries' checksums.
    sum: Checksum,
}

/// The open store of a running daemon.
#[derive(Debug)]
pub(super) struct Store {
    /// Ends first: the connection that is closed last moves the log into the database, and the keeper's may only read.
    keeper: Keeper,
    path: PathBuf,
    connection: Connection,
    /// Device and inode of the database: whether the file at `path` is still the open one.
    identity: (u64, u64),
    witness: Witness,
    version: Version,
    /// What [`Self::prepare`] wrote and [`Self::commit`] will make true.
    pending: Option<Version>,
    /// Changes of single entries that the history remembers at most.
    history: u64,
    _lock: Lock,
}

impl Store {
    /// The revision of the table.
    pub(super) fn revision(&self) -> u64 {
        self.version.revision
    }

    /// The dynamic entries, as they are kept.
    ///
    /// # Errors
    /// The store cannot be read, or is damaged.
    pub(super) fn entries(&self) -> Result<Vec<Entry>, StoreError> {
        let mut entries = Vec::new();
        open::read_table(&self.connection, &self.path, |entry| entries.push(entry))?;
        Ok(entries)
    }

    /// A way to read the history beside the daemon's changes.
    pub(super) fn reader(&self) -> Reader {
        Reader::new(self.path.clone())
    }

    /// Writes a change, which [`Self::commit`] makes durable and [`Self::abandon`] forgets.
    pub(super) fn prepare(&mut self, change: &Change<'_>) -> Result<u64, StoreError> {
        self.check_place()?;
        let failed = |error: rusqlite::Error| match error {
            rusqlite::Error::StatementChangedRows(_) => {
                let what = "it does not have the entries that this daemon has in force; `xlat-ctl reload` puts its own in force";
                StoreError::new(&self.path, what)
            }
            error => StoreError::sqlite(Doing::Write, &self.path, &error),
        };
        let written = self.begin().and_then(|()| self.write(change).map_err(failed));
        match written {
            Ok(version) => {
                self.pending = Some(version);
                Ok(version.revision)
            }
            Err(error) => {
                self.abandon();
                Err(error)
            }
        }
    }

    /// Makes the prepared change durable.
    pub(super) fn commit(&mut self) -> Result<(), StoreError> {
        let Some(version) = self.pending.take() else { return Ok(()) };
        if let Err(error) = self.connection.execute_batch("COMMIT") {
            let error = StoreError::sqlite(Doing::Write, &self.path, &error);
            self.abandon();
            return Err(error);
        }
        crash::point("committed");
        self.version = version;
        // The change is durable already. Without the new word in it the file still guards all the changes before.
        if let Err(error) = self.witness.acknowledge(version.revision) {
            tracing::error!("{}", StoreError::io(Doing::Write, self.witness.path(), &error));
        }
        self.keeper.changed();
        Ok(())
    }

    /// Has the keeper copy the database if it is not the copied one.
    pub(super) fn back_up(&self) {
        self.keeper.back_up();
    }

    /// Gives back the pages of the database that it has at hand.
    pub(super) fn shrink(&self) {
        if let Err(error) = self.connection.execute_batch("PRAGMA shrink_memory") {
            tracing::warn!("{}", StoreError::sqlite(Doing::Read, &self.path, &error));
        }
    }

    /// Forgets the prepared change.
    pub(super) fn abandon(&mut self) {
        self.pending = None;
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::error!("{}", StoreError::sqlite(Doing::Write, &self.path, &error));
        }
    }

    /// A database whose file somebody removed takes changes that nobody will ever find again.
    fn check_place(&self) -> Result<(), StoreError> {
        match fs::metadata(&self.path) {
            Ok(metadata) if (metadata.dev(), metadata.ino()) == self.identity => Ok(()),
            Ok(_) => Err(StoreError::new(&self.path, "another file is in its place since the daemon started")),
            Err(error) => Err(StoreError::io(Doing::Find, &self.path, &error)),
        }
    }

    /// Begins a transaction, if the latest revision is this daemon's. The lock keeps others out, but it can be removed.
    fn begin(&self) -> Result<(), StoreError> {
        let database = &self.connection;
        let latest = database.execute_batch("BEGIN IMMEDIATE").and_then(|()| {
            database
                .prepare_cached("SELECT max(revision) FROM revision")?
                .query_row((), |row| row.get::<_, Option<u64>>(0))
        });
        let latest = latest.map_err(|error| StoreError::sqlite(Doing::Write, &self.path, &error))?;
        if latest == Some(self.version.revision) {
            return Ok(());
        }
        let what = format!(
            "somebody else has changed it (its latest revision is {}, this daemon's {}): see that no other daemon has this \
             state directory, and restart this one",
            latest.unwrap_or_default(),
            self.version.revision
        );
        Err(StoreError::new(&self.path, &what))
    }

    fn write(&self, change: &Change<'_>) -> rusqlite::Result<Version> {
        let database = &self.connection;
        let revision = self.version.revision + 1;
        let mut version = Version { revision, ..self.version };
        let mut changes = Checksum::default();
        let mut sum = match change.origin {
            Origin::Dynamic => version.sum,
            Origin::Static => statics::sum(database)?.unwrap_or_default(),
        };
        {
            let (table, [minus, plus, tilde]) = kept_as(change.origin);
            // All of a row is named: the checksum of another than is there would be taken from the sum all the same.
            let mut remove = database
                .prepare_cached(&format!("DELETE FROM {table} WHERE ipv4 = ?1 AND ipv6 = ?2 AND comment = ?3"))?;
            let mut put = database.prepare_cached(&format!("INSERT OR IGNORE INTO {table} VALUES (?1, ?2, ?3)"))?;
            let mut alter = database.prepare_cached(&format!(
                "UPDATE {table} SET comment = ?3 WHERE ipv4 = ?1 AND ipv6 = ?2 AND comment = ?4"
            ))?;
            let mut log = database.prepare_cached("INSERT INTO change VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
            let Difference { removed, added, changed } = change.difference;
            let removed = removed.iter().map(|entry| (minus, entry, None));
            let added = added.iter().map(|entry| (plus, entry, None));
            let changed = changed.iter().map(|(entry, before)| (tilde, entry, Some(before.as_str())));
            for (number, (kind, entry, before)) in removed.chain(changed).chain(added).enumerate() {
                let (ipv4, ipv6, comment) =
                    (entry.pair.ipv4().to_string(), entry.pair.ipv6().to_string(), entry.comment.as_str());
                let rows = if kind == minus {
                    remove.execute([&*ipv4, &*ipv6, comment])
                } else if kind == plus {
                    put.execute([&*ipv4, &*ipv6, comment])
                } else {
                    alter.execute(params![ipv4, ipv6, comment, before])
                }?;
                if rows != 1 {
                    return Err(rusqlite::Error::StatementChangedRows(rows));
                }
                let of = |comment: &str| checksum::entry(&ipv4, &ipv6, comment);
                if kind == minus {
                    sum.remove(of(comment));
                } else {
                    before.into_iter().for_each(|before| sum.remove(of(before)));
                    sum.add(of(comment));
                }
                changes.add(checksum::change(number, kind, &ipv4, &ipv6, comment, before));
                log.execute(params![revision, number as u64, kind, ipv4, ipv6, comment, before])?;
            }
        }
        let Difference { removed, added, changed } = change.difference;
        match change.origin {
            Origin::Dynamic => {
                version.entries = version.entries + added.len() as u64 - removed.len() as u64;
                version.sum = sum;
            }
            Origin::Static => statics::set_sum(database, sum)?,
        }
        let row = schema::Revision {
            revision,
            time: now(),
            uid: change.author.uid,
            user: change.author.user.clone(),
            pid: change.author.pid,
            verb: change.verb.to_owned(),
            message: change.message.to_owned(),
            added: added.len() as u64,
            removed: removed.len() as u64,
            changed: changed.len() as u64,
            entries: version.entries,
            table_sum: version.sum,
            changes_sum: changes,
        };
        row.insert(database)?;
        self.forget_old(change.difference.len() as u64)?;
        Ok(version)
    }

    /// Keeps the history within its bound, and the latest revision in any case. Of what is forgotten, which can be a million
    /// changes, only a few go at once; the others by the keeper.
    fn forget_old(&self, coming: u64) -> rusqlite::Result<()> {
        let database = &self.connection;
        let mut kept: u64 = database
            .prepare_cached("SELECT kept FROM meta")?
            .query_row((), |row| row.get(0))
            .map(|kept: u64| kept + coming)?;
        let mut at_once = AT_ONCE;
        while kept > self.history {
            let oldest: (u64, u64) = database
                .prepare_cached("SELECT revision, added + removed + changed FROM revision ORDER BY revision LIMIT 1")?
                .query_row((), |row| Ok((row.get(0)?, row.get(1)?)))?;
            if oldest.0 > self.version.revision {
                break;
            }
            if let Some(rest) = at_once.checked_sub(oldest.1) {
                at_once = rest;
                database.prepare_cached("DELETE FROM change WHERE revision = ?1")?.execute([oldest.0])?;
            }
            database.prepare_cached("DELETE FROM revision WHERE revision = ?1")?.execute([oldest.0])?;
            kept = kept.saturating_sub(oldest.1);
        }
        database.prepare_cached("UPDATE meta SET kept = ?1")?.execute([kept]).map(drop)
    }
}

/// The table of such entries, and the kinds of their changes in the history: gone, come, with another comment.
fn kept_as(origin: Origin) -> (&'static str, [&'static str; 3]) {
    match origin {
        Origin::Dynamic => ("eam", ["-", "+", "~"]),
        Origin::Static => ("static_eam", ["static -", "static +", "static ~"]),
    }
}

/// Seconds since 1970. Only for people: what is newer is told by revisions.
pub(super) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// The files of a database: itself and its log.
fn log_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    PathBuf::from(name)
}

/// Reads an entry as it is kept.
fn entry_of(ipv4: &str, ipv6: &str, comment: &str) -> Result<Entry, String> {
    let ipv4 = crate::eam::parse_ipv4(ipv4).map_err(|error| error.to_string())?;
    let ipv6 = crate::eam::parse_ipv6(ipv6).map_err(|error| error.to_string())?;
    let pair = Pair::new(ipv4, ipv6)?;
    Ok(Entry { pair, comment: comment.into(), origin: Origin::Dynamic })
}

#[cfg(test)]
mod tests;
