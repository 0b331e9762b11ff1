//! How much each EAM is used: a database of its own, `usage.db`, in the state directory. What is in it are statistics: where it
//! cannot be read it is put aside and begun anew, and never keeps a relay from starting.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::{self, OpenOptions},
    io::ErrorKind,
    mem,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OptionalExtension as _, params};
use tracing::{error, warn};
use xlat_common::counters::Traffic;

use super::{now, owner::give, share};
use crate::eam::{self, Pair};

/// Name of the database in the state directory.
pub(super) const NAME: &str = "usage.db";
/// Version of its table.
const VERSION: i64 = 1;
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS usage (
        ipv4 TEXT NOT NULL, ipv6 TEXT NOT NULL, since INTEGER NOT NULL, last INTEGER NOT NULL,
        packets_four_to_six INTEGER NOT NULL, bytes_four_to_six INTEGER NOT NULL,
        packets_six_to_four INTEGER NOT NULL, bytes_six_to_four INTEGER NOT NULL,
        PRIMARY KEY (ipv4, ipv6)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS share (
        day INTEGER NOT NULL, ipv4 TEXT NOT NULL, ipv6 TEXT NOT NULL,
        translated_packets_to INTEGER NOT NULL, translated_bytes_to INTEGER NOT NULL,
        translated_packets_from INTEGER NOT NULL, translated_bytes_from INTEGER NOT NULL,
        native_packets_to INTEGER NOT NULL, native_bytes_to INTEGER NOT NULL,
        native_packets_from INTEGER NOT NULL, native_bytes_from INTEGER NOT NULL,
        PRIMARY KEY (day, ipv4, ipv6)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS observed (one INTEGER PRIMARY KEY, since INTEGER NOT NULL, until INTEGER NOT NULL);
";
/// What keeps it from being written for a while.
const PASSING: [ErrorCode; 4] =
    [ErrorCode::DiskFull, ErrorCode::ReadOnly, ErrorCode::DatabaseBusy, ErrorCode::DatabaseLocked];
/// How long another program that holds the database is waited for: the data plane's owner waits, too.
const BUSY: Duration = Duration::from_millis(50);
/// Seconds without counting after which it is not known any more that an entry is not used.
pub(in crate::daemon) const GAP: i64 = 86_400;
/// Seconds by which a clock may be behind what it was when the last counts were written. More is a clock that is wrong now, or was.
const BEHIND: i64 = 60;

/// What is known of one EAM's use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::daemon) struct Use {
    /// Since when it is counted, in seconds since 1970.
    pub(in crate::daemon) since: i64,
    /// When it was last seen to be used, in seconds since 1970; 0: never.
    pub(in crate::daemon) last: i64,
    /// In all, by direction.
    pub(in crate::daemon) traffic: [Traffic; 2],
}

/// What is to be written at a time.
#[derive(Debug, Default)]
pub(in crate::daemon) struct Batch {
    /// Rows as they are to be.
    pub(in crate::daemon) rows: HashMap<Pair, Use>,
    /// Rows that are to go, before the others come.
    pub(in crate::daemon) gone: HashSet<Pair>,
    /// Days, in days since 1970, and their rows as they are to be.
    pub(in crate::daemon) days: BTreeMap<i64, Vec<share::Row>>,
    /// Since when there has been no long gap, if that has changed.
    pub(in crate::daemon) observed: Option<i64>,
}

impl Batch {
    /// One day alone.
    pub(in crate::daemon) fn of_day(day: i64, rows: Vec<share::Row>) -> Self {
        Self { days: BTreeMap::from([(day, rows)]), ..Self::default() }
    }

    /// Adds what came later.
    fn merge(&mut self, later: Self) {
        for pair in later.gone {
            self.rows.remove(&pair);
            self.gone.insert(pair);
        }
        self.rows.extend(later.rows);
        self.days.extend(later.days);
        self.observed = later.observed.or(self.observed);
    }
}

/// What was in the database.
#[derive(Debug, Default)]
pub(in crate::daemon) struct Known {
    /// By entry.
    pub(in crate::daemon) rows: HashMap<Pair, Use>,
    /// Since when there has been no gap of more than a day in the counting, in seconds since 1970.
    pub(in crate::daemon) observed: i64,
    /// The share of IPv6 on the day that it is.
    pub(in crate::daemon) today: Vec<share::Row>,
}

/// The database, written by a thread of its own. What has been given to it is on its way to the disk when it is dropped.
#[derive(Debug)]
pub(in crate::daemon) struct Uses {
    batches: Option<SyncSender<Batch>>,
    /// What the thread could not take: a slow disk keeps it busy.
    waiting: Batch,
    writer: Option<JoinHandle<()>>,
}

impl Uses {
    /// Opens the database of a state directory and reads it.
    ///
    /// # Errors
    /// One sentence: it can be neither opened nor made.
    pub(in crate::daemon) fn open(directory: &Path) -> Result<(Self, Known), String> {
        let path = directory.join(NAME);
        let (connection, known) = match open(&path) {
            Ok(opened) => opened,
            // It may be sound: the disk is full or read-only, another program holds it.
            Err(Unusable::Now(error)) => return Err(format!("cannot open {}: {error}", path.display())),
            Err(error) => {
                let aside = put_aside(&path, &error.name())?;
                warn!("{}: {error}; it is put aside as {}, and counting begins anew", path.display(), aside.display());
                open(&path).map_err(|error| format!("cannot make {}: {error}", path.display()))?
            }
        };
        let (batches, queue) = sync_channel(1);
        let write = move || keep(connection, &path, &queue);
        let writer = thread::Builder::new().name("usage".to_owned()).spawn(write);
        let writer = writer.map_err(|error| format!("cannot start a thread: {}", crate::plain(&error)))?;
        Ok((Self { batches: Some(batches), waiting: Batch::default(), writer: Some(writer) }, known))
    }

    /// Has a batch written, now or with the next.
    pub(in crate::daemon) fn write(&mut self, batch: Batch) {
        self.waiting.merge(batch);
        let Some(batches) = &self.batches else { return };
        match batches.try_send(mem::take(&mut self.waiting)) {
            Ok(()) => {}
            Err(TrySendError::Full(batch)) => self.waiting = batch,
            Err(TrySendError::Disconnected(_)) => {
                error!("the thread that writes {NAME} has ended: its counts are lost when the daemon ends");
            }
        }
    }
}

impl Drop for Uses {
    fn drop(&mut self) {
        if let Some(batches) = self.batches.take() {
            // That the thread has ended has been told.
            let _ = batches.send(mem::take(&mut self.waiting));
        }
        if let Some(writer) = self.writer.take() {
            // A panic has been told where it was.
            let _ = writer.join();
        }
    }
}

/// Why the database is of no use to this daemon.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("a newer xlat has written it (version {0} of its tables, this one knows {VERSION})")]
    Newer(i64),
    #[error("{0}")]
    Damaged(rusqlite::Error),
    #[error("{0}")]
    Now(rusqlite::Error),
}

impl From<rusqlite::Error> for Unusable {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            // `None`: a value of another kind than was written.
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) | None => Self::Damaged(error),
            Some(_) => Self::Now(error),
        }
    }
}

impl Unusable {
    /// What it is called where it is put aside.
    fn name(&self) -> String {
        match self {
            // To be put back when that release runs again.
            Self::Newer(version) => format!("db.version-{version}"),
            Self::Damaged(_) | Self::Now(_) => "db.damaged".to_owned(),
        }
    }
}

/// Makes an empty file that belongs to the owner of its directory: SQLite gives the files beside it to the same.
fn make_if_missing(path: &Path) {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match made.and_then(|_| give(path)) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            warn!("cannot make {}: {}", path.display(), crate::plain(&error));
        }
        _ => {}
    }
}

fn open(path: &Path) -> Result<(Connection, Known), Unusable> {
    make_if_missing(path);
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    let version: i64 = connection.query_row("PRAGMA user_version", (), |row| row.get(0))?;
    if version > VERSION {
        return Err(Unusable::Newer(version));
    }
    connection.execute_batch("PRAGMA synchronous = NORMAL")?;
    if version < VERSION {
        connection.execute_batch(&format!("PRAGMA journal_mode = WAL; PRAGMA user_version = {VERSION}"))?;
    }
    // Writes nothing where they are.
    connection.execute_batch(TABLES)?;
    let known = read(&connection)?;
    Ok((connection, known))
}

fn read(connection: &Connection) -> rusqlite::Result<Known> {
    let mut rows = HashMap::new();
    let mut statement = connection.prepare("SELECT * FROM usage")?;
    let mut found = statement.query(())?;
    while let Some(row) = found.next()? {
        let (ipv4, ipv6) = (row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?);
        let nets = eam::parse_ipv4(ipv4).ok().zip(eam::parse_ipv6(ipv6).ok());
        let Some(pair) = nets.and_then(|(ipv4, ipv6)| Pair::new(ipv4, ipv6).ok()) else { continue };
        let traffic = |at| Ok::<_, rusqlite::Error>(Traffic { packets: row.get(at)?, bytes: row.get(at + 1)? });
        rows.insert(pair, Use { since: row.get(2)?, last: row.get(3)?, traffic: [traffic(4)?, traffic(6)?] });
    }
    let observed = connection.query_row("SELECT since, until FROM observed", (), |row| Ok((row.get(0)?, row.get(1)?)));
    let observed = observed.optional()?;
    let now = now();
    let is_gapless = |until: i64| (-BEHIND..=GAP).contains(&(now - until));
    let observed = observed.filter(|(_, until)| is_gapless(*until)).map_or(now, |(since, _): (i64, i64)| since);
    match connection.execute("INSERT OR REPLACE INTO observed VALUES (1, ?1, ?2)", [observed, now]) {
        // What is there can be read all the same, and is written with the next counts.
        Err(error) if error.sqlite_error_code().is_some_and(|code| PASSING.contains(&code)) => {
            warn!("{NAME} cannot be written for now: {error}");
        }
        written => drop(written?),
    }
    let today = share::of_day(connection, now.div_euclid(share::DAY))?;
    Ok(Known { rows, observed, today })
}

/// Gives the database another name, which no other has yet. SQLite has written back what was in its log, if it could be read.
fn put_aside(path: &Path, name: &str) -> Result<PathBuf, String> {
    let names = std::iter::once(name.to_owned()).chain((2..).map(|number| format!("{name}-{number}")));
    let mut places = names.map(|name| path.with_extension(name));
    let aside = places.find(|place| !place.exists()).unwrap_or_else(|| path.with_extension(name));
    for suffix in ["-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        // Of another database by then.
        let _ = fs::remove_file(PathBuf::from(name));
    }
    match fs::rename(path, &aside) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(format!("cannot put {} aside: {}", path.display(), crate::plain(&error)))
        }
        _ => Ok(aside),
    }
}

fn keep(mut connection: Connection, path: &Path, queue: &Receiver<Batch>) {
    let mut unwritten = Batch::default();
    while let Ok(batch) = queue.recv() {
        if let Err(error) = write_with(&mut connection, &mut unwritten, batch) {
            error!("cannot write {}: {error}; it is tried again with the next counts", path.display());
        }
    }
}

/// Writes a batch and what could not be written before, or keeps both for the next.
fn write_with(connection: &mut Connection, unwritten: &mut Batch, batch: Batch) -> rusqlite::Result<()> {
    unwritten.merge(batch);
    write(connection, unwritten)?;
    *unwritten = Batch::default();
    Ok(())
}

fn write(connection: &mut Connection, batch: &Batch) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    {
        let mut remove = transaction.prepare_cached("DELETE FROM usage WHERE ipv4 = ?1 AND ipv6 = ?2")?;
        for pair in &batch.gone {
            remove.execute([pair.ipv4().to_string(), pair.ipv6().to_string()])?;
        }
        let mut put =
            transaction.prepare_cached("INSERT OR REPLACE INTO usage VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?;
        for (pair, Use { since, last, traffic: [four_to_six, six_to_four] }) in &batch.rows {
            let (ipv4, ipv6) = (pair.ipv4().to_string(), pair.ipv6().to_string());
            // SQLite's numbers have 63 bits.
            let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
            put.execute(params![
                ipv4,
                ipv6,
                since,
                last,
                number(four_to_six.packets),
                number(four_to_six.bytes),
                number(six_to_four.packets),
                number(six_to_four.bytes),
            ])?;
        }
    }
    for (day, rows) in &batch.days {
        share::write(&transaction, *day, rows)?;
    }
    if let Some(since) = batch.observed {
        transaction.execute("UPDATE observed SET since = ?1", [since])?;
    }
    let until = "INSERT INTO observed VALUES (1, ?1, ?1) ON CONFLICT DO UPDATE SET until = ?1";
    transaction.execute(until, [now()])?;
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(last: u8) -> Pair {
        let ipv4 = format!("198.51.100.{last}/32").parse().unwrap();
        Pair::new(ipv4, format!("2001:db8::{last:x}/128").parse().unwrap()).unwrap()
    }

    fn used(packets: u64) -> Use {
        Use { since: 7, last: 9, traffic: [Traffic { packets, bytes: 10 * packets }, Traffic { packets: 1, bytes: 2 }] }
    }

    fn rows<const N: usize>(rows: [(u8, u64); N]) -> Batch {
        Batch { rows: rows.map(|(last, packets)| (pair(last), used(packets))).into(), ..Batch::default() }
    }

    #[test]
    fn what_was_written_is_there_again() {
        let directory = tempfile::tempdir().unwrap();
        let (mut uses, known) = Uses::open(directory.path()).unwrap();
        assert!(known.rows.is_empty());
        uses.write(rows([(1, 5), (2, 6)]));
        uses.write(Batch { gone: HashSet::from([pair(2)]), ..rows([(1, 50)]) });
        drop(uses);
        let (_, again) = Uses::open(directory.path()).unwrap();
        assert_eq!(again.observed, known.observed);
        assert_eq!(again.rows, HashMap::from([(pair(1), used(50))]));
    }

    /// As on a full disk: the database cannot be written for a while.
    #[test]
    fn what_could_not_be_written_is_written_with_the_next_counts() {
        let directory = tempfile::tempdir().unwrap();
        let (mut uses, _) = Uses::open(directory.path()).unwrap();
        uses.write(rows([(1, 5), (2, 6)]));
        drop(uses);
        let (mut connection, known) = open(&directory.path().join(NAME)).unwrap();
        assert_eq!(known.rows.len(), 2);
        connection.pragma_update(None, "query_only", true).unwrap();
        let mut unwritten = Batch::default();
        let day = Batch::of_day(7, vec![(Some(pair(1)), share::Row::default().1)]);
        write_with(&mut connection, &mut unwritten, day).unwrap_err();
        let changes = Batch { gone: HashSet::from([pair(2)]), observed: Some(3), ..rows([(3, 7)]) };
        write_with(&mut connection, &mut unwritten, changes).unwrap_err();
        connection.pragma_update(None, "query_only", false).unwrap();
        let last = Batch { gone: HashSet::from([pair(3)]), ..rows([(1, 50), (2, 60)]) };
        write_with(&mut connection, &mut unwritten, last).unwrap();
        assert!(unwritten.rows.is_empty() && unwritten.days.is_empty(), "it would be written again and again");
        let known = read(&connection).unwrap();
        assert_eq!(known.rows, HashMap::from([(pair(1), used(50)), (pair(2), used(60))]));
        assert_eq!((known.observed, share::of_day(&connection, 7).unwrap().len()), (3, 1));
    }

    #[test]
    fn what_cannot_be_read_is_put_aside() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(NAME), "no database at all, and longer than the header of one; ".repeat(40))
            .unwrap();
        let (mut uses, known) = Uses::open(directory.path()).unwrap();
        assert!(known.rows.is_empty() && directory.path().join("usage.db.damaged").exists());
        uses.write(rows([(1, 5)]));
        drop(uses);
        assert_eq!(Uses::open(directory.path()).unwrap().1.rows.len(), 1);
    }

    /// As on a full disk, with the SQLite error of one.
    #[test]
    fn what_cannot_be_written_now_is_read_and_stays_where_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(NAME);
        let (mut uses, _) = Uses::open(directory.path()).unwrap();
        uses.write(rows([(1, 5)]));
        drop(uses);
        let connection = Connection::open(&path).unwrap();
        connection.pragma_update(None, "query_only", true).unwrap();
        assert_eq!(read(&connection).unwrap().rows.len(), 1);
        drop(connection);
        // Another program holds it.
        let other = Connection::open(&path).unwrap();
        other.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").unwrap();
        let said = Uses::open(directory.path()).unwrap_err();
        assert!(said.contains("usage.db: database is locked"), "{said}");
        drop(other);
        assert_eq!(Uses::open(directory.path()).unwrap().1.rows.len(), 1);
        assert!(!directory.path().join("usage.db.damaged").exists());
    }

    #[test]
    fn what_was_put_aside_once_stays_where_it_is() {
        let directory = tempfile::tempdir().unwrap();
        for text in ["first", "second"] {
            fs::write(directory.path().join(NAME), format!("{text}, no database, longer than its header; ").repeat(40))
                .unwrap();
            drop(Uses::open(directory.path()).unwrap());
        }
        for (name, text) in [("usage.db.damaged", "first"), ("usage.db.damaged-2", "second")] {
            assert!(fs::read_to_string(directory.path().join(name)).unwrap().starts_with(text), "{name}");
        }
    }

    #[test]
    fn what_a_newer_release_has_written_is_kept_for_it() {
        let directory = tempfile::tempdir().unwrap();
        let (mut uses, _) = Uses::open(directory.path()).unwrap();
        uses.write(rows([(1, 5)]));
        drop(uses);
        let set = |version: i64, name: &str| {
            let database = Connection::open(directory.path().join(name)).unwrap();
            database.pragma_update(None, "user_version", version).unwrap();
        };
        set(VERSION + 1, NAME);
        assert!(Uses::open(directory.path()).unwrap().1.rows.is_empty());
        let aside = format!("usage.db.version-{}", VERSION + 1);
        set(VERSION, &aside);
        fs::rename(directory.path().join(aside), directory.path().join(NAME)).unwrap();
        assert_eq!(Uses::open(directory.path()).unwrap().1.rows.len(), 1);
    }

    #[test]
    fn a_gap_of_more_than_a_day_begins_the_observation_anew() {
        let directory = tempfile::tempdir().unwrap();
        drop(Uses::open(directory.path()).unwrap());
        let age = |seconds: i64| {
            let database = Connection::open(directory.path().join(NAME)).unwrap();
            let times = [now() - 1_000_000, now() - seconds];
            database.execute("UPDATE observed SET since = ?1, until = ?2", times).unwrap();
        };
        age(GAP - 60);
        assert!(Uses::open(directory.path()).unwrap().1.observed <= now() - 1_000_000);
        age(GAP + 60);
        assert!(Uses::open(directory.path()).unwrap().1.observed >= now() - 60);
        // The clock was ahead then, or is behind now.
        age(-GAP);
        assert!(Uses::open(directory.path()).unwrap().1.observed >= now() - 60);
    }
}
