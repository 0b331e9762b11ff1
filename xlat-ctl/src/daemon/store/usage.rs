//! How much each EAM is used: a database of its own, `usage.db`, in the state directory. What is in it are statistics: where it
//! cannot be read it is put aside and begun anew, and never keeps a relay from starting.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, Sender, channel},
    thread::{self, JoinHandle},
};

use rusqlite::{Connection, OptionalExtension as _, params};
use tracing::{error, warn};
use xlat_common::counters::Traffic;

use super::{now, share};
use crate::eam::{self, Pair};

/// Name of the database in the state directory.
pub(super) const NAME: &str = "usage.db";
/// Version of its table.
const VERSION: i64 = 1;
const TABLE: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
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
    PRAGMA user_version = 1;
";
/// Seconds without counting after which it is not known any more that an entry is not used.
const GAP: i64 = 86_400;

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
    pub(in crate::daemon) rows: Vec<(Pair, Use)>,
    /// Rows that are to go, before the others come.
    pub(in crate::daemon) gone: Vec<Pair>,
    /// A day, in days since 1970, and its rows as they are to be.
    pub(in crate::daemon) day: Option<(i64, Vec<share::Row>)>,
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
    batches: Option<Sender<Batch>>,
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
            Err(error) => {
                let aside = put_aside(&path, error.name())?;
                warn!("{}: {error}; it is put aside as {}, and counting begins anew", path.display(), aside.display());
                open(&path).map_err(|error| format!("cannot make {}: {error}", path.display()))?
            }
        };
        let (batches, queue) = channel();
        let write = move || keep(connection, &path, &queue);
        let writer = thread::Builder::new().name("usage".to_owned()).spawn(write);
        let writer = writer.map_err(|error| format!("cannot start a thread: {}", crate::plain(&error)))?;
        Ok((Self { batches: Some(batches), writer: Some(writer) }, known))
    }

    /// Has a batch written.
    pub(in crate::daemon) fn write(&self, batch: Batch) {
        if let Some(batches) = &self.batches
            && batches.send(batch).is_err()
        {
            error!("the thread that writes {NAME} has ended: its counts are lost when the daemon ends");
        }
    }
}

impl Drop for Uses {
    fn drop(&mut self) {
        self.batches = None;
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
    Damaged(#[from] rusqlite::Error),
}

impl Unusable {
    /// What it is called where it is put aside.
    fn name(&self) -> String {
        match self {
            // To be put back when that release runs again.
            Self::Newer(version) => format!("db.version-{version}"),
            Self::Damaged(_) => "db.damaged".to_owned(),
        }
    }
}

fn open(path: &Path) -> Result<(Connection, Known), Unusable> {
    let connection = Connection::open(path)?;
    let version: i64 = connection.query_row("PRAGMA user_version", (), |row| row.get(0))?;
    if version > VERSION {
        return Err(Unusable::Newer(version));
    }
    let known = read(&connection)?;
    Ok((connection, known))
}

fn read(connection: &Connection) -> rusqlite::Result<Known> {
    connection.execute_batch(TABLE)?;
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
    let observed = observed.filter(|(_, until)| now - until <= GAP).map_or(now, |(since, _): (i64, i64)| since);
    connection.execute("INSERT OR REPLACE INTO observed VALUES (1, ?1, ?2)", [observed, now])?;
    let today = share::of_day(connection, now.div_euclid(share::DAY))?;
    Ok(Known { rows, observed, today })
}

/// Gives the database another name. SQLite has written back what was in its log, if it could be read.
fn put_aside(path: &Path, name: String) -> Result<PathBuf, String> {
    let aside = path.with_extension(name);
    for suffix in ["-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        // Of another database by then.
        let _ = fs::remove_file(PathBuf::from(name));
    }
    match fs::rename(path, &aside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("cannot put {} aside: {}", path.display(), crate::plain(&error)))
        }
        _ => Ok(aside),
    }
}

fn keep(mut connection: Connection, path: &Path, queue: &Receiver<Batch>) {
    while let Ok(batch) = queue.recv() {
        if let Err(error) = write(&mut connection, &batch) {
            error!("cannot write {}: {error}; the totals are written again when they have grown", path.display());
        }
    }
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
    if let Some((day, rows)) = &batch.day {
        share::write(&transaction, *day, rows)?;
    }
    transaction.execute("UPDATE observed SET until = ?1", [now()])?;
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

    #[test]
    fn what_was_written_is_there_again() {
        let directory = tempfile::tempdir().unwrap();
        let (uses, known) = Uses::open(directory.path()).unwrap();
        assert!(known.rows.is_empty());
        uses.write(Batch { rows: vec![(pair(1), used(5)), (pair(2), used(6))], ..Batch::default() });
        uses.write(Batch { rows: vec![(pair(1), used(50))], gone: vec![pair(2)], ..Batch::default() });
        drop(uses);
        let (_, again) = Uses::open(directory.path()).unwrap();
        assert_eq!(again.observed, known.observed);
        assert_eq!(again.rows, HashMap::from([(pair(1), used(50))]));
    }

    #[test]
    fn what_cannot_be_read_is_put_aside() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(NAME), "no database at all, and longer than the header of one; ".repeat(40))
            .unwrap();
        let (uses, known) = Uses::open(directory.path()).unwrap();
        assert!(known.rows.is_empty() && directory.path().join("usage.db.damaged").exists());
        uses.write(Batch { rows: vec![(pair(1), used(5))], ..Batch::default() });
        drop(uses);
        assert_eq!(Uses::open(directory.path()).unwrap().1.rows.len(), 1);
    }

    #[test]
    fn what_a_newer_release_has_written_is_kept_for_it() {
        let directory = tempfile::tempdir().unwrap();
        let (uses, _) = Uses::open(directory.path()).unwrap();
        uses.write(Batch { rows: vec![(pair(1), used(5))], ..Batch::default() });
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
    }
}
