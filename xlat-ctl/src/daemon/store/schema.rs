//! The tables of the database, and a revision's row.

use rusqlite::{Connection, Row, params};

use super::checksum::{Checksum, Hasher};

/// What `file` and other programs know the database by: `xlat`.
pub(super) const APPLICATION_ID: i64 = 0x786c_6174;
/// Version of the tables.
pub(super) const VERSION: i64 = 2;

/// The tables. Prefixes are texts, so that `sqlite3 eam.db 'SELECT * FROM eam'` tells an operator what is there.
const TABLES: &str = "
    CREATE TABLE eam (ipv4 TEXT PRIMARY KEY, ipv6 TEXT NOT NULL, comment TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE revision (
        revision INTEGER PRIMARY KEY, time INTEGER NOT NULL, uid INTEGER, user TEXT NOT NULL, pid INTEGER,
        verb TEXT NOT NULL, message TEXT NOT NULL,
        added INTEGER NOT NULL, removed INTEGER NOT NULL, changed INTEGER NOT NULL, entries INTEGER NOT NULL,
        table_sum INTEGER NOT NULL, changes_sum INTEGER NOT NULL, checksum INTEGER NOT NULL);
    CREATE TABLE change (
        revision INTEGER NOT NULL, number INTEGER NOT NULL, kind TEXT NOT NULL, ipv4 TEXT NOT NULL, ipv6 TEXT NOT NULL,
        comment TEXT NOT NULL, comment_before TEXT, PRIMARY KEY (revision, number)) WITHOUT ROWID;
    CREATE TABLE meta (kept INTEGER NOT NULL);
    INSERT INTO meta VALUES (0);
";

/// What version 2 added: the configuration's entries as they were at the latest revision, and the sum of their checksums; none
/// before they are noted for the first time.
const STATIC: &str = "
    CREATE TABLE static_eam (ipv4 TEXT PRIMARY KEY, ipv6 TEXT NOT NULL, comment TEXT NOT NULL) WITHOUT ROWID;
    ALTER TABLE meta ADD COLUMN static_sum INTEGER;
";

/// How every connection is used, but for the keeper's `synchronous`.
pub(super) const MANNERS: &str = "
    PRAGMA synchronous = FULL;
    PRAGMA cell_size_check = ON;
    PRAGMA temp_store = MEMORY;
    PRAGMA wal_autocheckpoint = 0;
    PRAGMA journal_size_limit = 2097152;
    PRAGMA busy_timeout = 10000;
    PRAGMA cache_size = -8192;
";

/// Makes the tables in an empty database, with revision 0.
pub(super) fn create(database: &Connection, time: i64) -> rusqlite::Result<()> {
    database.execute_batch(&format!(
        "PRAGMA journal_mode = WAL; BEGIN; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}; {TABLES} {STATIC}"
    ))?;
    let first = Revision { time, verb: "create".to_owned(), ..Revision::default() };
    first.insert(database)?;
    database.execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)")
}

/// Makes the tables of version 1 those of this version.
pub(super) fn upgrade(database: &Connection) -> rusqlite::Result<()> {
    database.execute_batch(&format!("BEGIN IMMEDIATE; {STATIC} PRAGMA user_version = {VERSION}; COMMIT"))
}

/// One row of `revision`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Revision {
    pub(super) revision: u64,
    pub(super) time: i64,
    pub(super) uid: Option<u32>,
    pub(super) user: String,
    pub(super) pid: Option<i32>,
    pub(super) verb: String,
    pub(super) message: String,
    pub(super) added: u64,
    pub(super) removed: u64,
    pub(super) changed: u64,
    /// Entries after it.
    pub(super) entries: u64,
    /// Of the entries after it.
    pub(super) table_sum: Checksum,
    /// Of its rows in `change`.
    pub(super) changes_sum: Checksum,
}

impl Revision {
    pub(super) const COLUMNS: &str = "revision, time, uid, user, pid, verb, message, added, removed, changed, entries, \
        table_sum, changes_sum, checksum";

    fn checksum(&self) -> Checksum {
        let number = |number: u64| number.cast_signed();
        let mut sum = Checksum::default();
        sum.add(
            Hasher::new()
                .number(number(self.revision))
                .number(self.time)
                .number(self.uid.map_or(-1, i64::from))
                .field(self.user.as_bytes())
                .number(self.pid.map_or(-1, i64::from))
                .field(self.verb.as_bytes())
                .field(self.message.as_bytes())
                .number(number(self.added))
                .number(number(self.removed))
                .number(number(self.changed))
                .number(number(self.entries))
                .number(self.table_sum.to_i64())
                .number(self.changes_sum.to_i64())
                .finish(),
        );
        sum
    }

    pub(super) fn insert(&self, database: &Connection) -> rusqlite::Result<()> {
        let mut statement = database.prepare_cached(
            "INSERT INTO revision VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )?;
        let values = params![
            self.revision,
            self.time,
            self.uid,
            self.user,
            self.pid,
            self.verb,
            self.message,
            self.added,
            self.removed,
            self.changed,
            self.entries,
            self.table_sum.to_i64(),
            self.changes_sum.to_i64(),
            self.checksum().to_i64(),
        ];
        statement.execute(values).map(drop)
    }

    /// Reads a row of [`Self::COLUMNS`]; the second value says whether its checksum is right.
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<(Self, bool)> {
        let revision = Self {
            revision: row.get(0)?,
            time: row.get(1)?,
            uid: row.get(2)?,
            user: row.get(3)?,
            pid: row.get(4)?,
            verb: row.get(5)?,
            message: row.get(6)?,
            added: row.get(7)?,
            removed: row.get(8)?,
            changed: row.get(9)?,
            entries: row.get(10)?,
            table_sum: Checksum::from_i64(row.get(11)?),
            changes_sum: Checksum::from_i64(row.get(12)?),
        };
        let right = revision.checksum() == Checksum::from_i64(row.get(13)?);
        Ok((revision, right))
    }
}
