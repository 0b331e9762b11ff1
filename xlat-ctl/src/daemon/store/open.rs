//! Opening the store, and finding out whether it is what was written.

use std::{
    fs::{self, DirBuilder, File},
    io::ErrorKind,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    thread,
};

use rusqlite::{Connection, OpenFlags, config::DbConfig};
use tracing::{info, warn};

use super::{
    BACKUP, Checksum, DATABASE, Doing, Keeper, Lock, Store, StoreError, Version, Witness, backup, checksum, entry_of,
    log_of, now,
    owner::give_to_owner,
    schema::{self, Revision},
    witness,
};
use crate::eam::Entry;

/// The right to a state directory, before the store is opened.
#[derive(Debug)]
pub(in crate::daemon) struct Claim {
    directory: PathBuf,
    lock: Lock,
}

impl Claim {
    /// Makes sure that no other daemon has the directory.
    pub(in crate::daemon) fn new(directory: &Path) -> Result<Self, StoreError> {
        make_directory(directory)?;
        Ok(Self { directory: directory.to_owned(), lock: Lock::take(directory)? })
    }
}

impl Store {
    /// Opens the store of a state directory, or makes a new one where none has ever been. Gives its entries too.
    ///
    /// `history`: how many changes of single entries are remembered.
    pub(in crate::daemon) fn open(claim: Claim, history: u64) -> Result<(Self, Vec<Entry>), StoreError> {
        let Claim { directory, lock } = claim;
        let directory = directory.as_path();
        let path = directory.join(DATABASE);
        let known = directory.join(witness::NAME).exists();
        if !exists(&path)? {
            if known || exists(&log_of(&path))? || exists(&directory.join(BACKUP))? {
                return Err(offer(StoreError::damaged(&path, "it is missing, and it has been there"), directory));
            }
            create(&path)?;
            info!("{} is new: there are no dynamic entries yet", path.display());
        }
        let opened = open_and_read(directory, &path).map_err(|error| offer(error, directory))?;
        let (connection, version, entries, witness) = opened;
        let metadata = fs::metadata(&path).map_err(|error| StoreError::io(Doing::Find, &path, &error))?;
        let store = Self {
            keeper: Keeper::start(&path, backup::EVERY),
            path,
            connection,
            identity: (metadata.dev(), metadata.ino()),
            witness,
            version,
            pending: None,
            history,
            _lock: lock,
        };
        Ok((store, entries))
    }
}

pub(super) fn exists(path: &Path) -> Result<bool, StoreError> {
    path.try_exists().map_err(|error| StoreError::io(Doing::Find, path, &error))
}

/// Makes the directory itself, but not those above: where they are missing, a file system is not mounted.
fn make_directory(directory: &Path) -> Result<(), StoreError> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Ok(()) => {
            info!("made the state directory {}", directory.display());
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(_) if directory.is_dir() => Ok(()),
        Err(error) => Err(StoreError::io(Doing::Make, directory, &error)),
    }
}

/// Makes a new database, there as a whole or not at all.
fn create(path: &Path) -> Result<(), StoreError> {
    let new = path.with_extension("db.new");
    for leftover in [&new, &log_of(&new)] {
        match fs::remove_file(leftover) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(StoreError::io(Doing::Write, leftover, &error));
            }
            _ => {}
        }
    }
    let made = Connection::open(&new).and_then(|database| {
        schema::create(&database, now())?;
        database.close().map_err(|(_, error)| error)
    });
    made.map_err(|error| StoreError::sqlite(Doing::Make, &new, &error))?;
    let placed = fs::set_permissions(&new, fs::Permissions::from_mode(0o600));
    placed.map_err(|error| StoreError::io(Doing::Make, &new, &error))?;
    give_to_owner(&new)?;
    let placed = put_in_place(&new, path);
    placed.map_err(|error| StoreError::io(Doing::Make, path, &error))
}

/// Renames a finished file, durably.
pub(super) fn put_in_place(from: &Path, to: &Path) -> std::io::Result<()> {
    File::open(from)?.sync_all()?;
    fs::rename(from, to)?;
    to.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

/// Opens an existing database, with the tables of this version where it is written.
pub(super) fn connect(path: &Path, write: bool) -> Result<Connection, StoreError> {
    let (connection, version) = connect_unchanged(path, write, false)?;
    if write {
        upgrade(&connection, path, version)?;
    }
    Ok(connection)
}

fn upgrade(connection: &Connection, path: &Path, version: i64) -> Result<(), StoreError> {
    if version == schema::VERSION {
        return Ok(());
    }
    schema::upgrade(connection).map_err(|error| StoreError::sqlite(Doing::Write, path, &error))
}

/// Opens an existing database as it is; gives the version of its tables. What is only read is in all versions the same.
///
/// `keep_log`: whether the log stays when the connection is closed. Else SQLite moves into the database what it can read of it, and
/// removes it: also what lies behind a page that it cannot read, or could not this once.
fn connect_unchanged(path: &Path, write: bool, keep_log: bool) -> Result<(Connection, i64), StoreError> {
    // Beside an empty database SQLite removes the log.
    if fs::metadata(path).is_ok_and(|metadata| metadata.len() == 0) {
        return Err(StoreError::damaged(path, "it is empty"));
    }
    let access = if write { OpenFlags::SQLITE_OPEN_READ_WRITE } else { OpenFlags::SQLITE_OPEN_READ_ONLY };
    let opened = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX).and_then(|connection| {
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep_log)?;
        connection.execute_batch(schema::MANNERS)?;
        let number = |pragma: &str| connection.query_row(&format!("PRAGMA {pragma}"), (), |row| row.get::<_, i64>(0));
        Ok((number("application_id")?, number("user_version")?, connection))
    });
    match opened.map_err(|error| StoreError::sqlite(Doing::Open, path, &error))? {
        (schema::APPLICATION_ID, version @ 1..=schema::VERSION, connection) => Ok((connection, version)),
        (schema::APPLICATION_ID, version, _) if version > schema::VERSION => Err(StoreError::new(
            path,
            &format!(
                "a newer xlat has written it (version {version} of its tables, this one knows {}): run that xlat, or go \
                 back to a copy of the state directory from before",
                schema::VERSION
            ),
        )),
        _ => Err(StoreError::damaged(path, "it has no header of an xlat store")),
    }
}

/// Opens the database and reads it. What is refused stays as it is, for whoever looks at it next.
fn open_and_read(directory: &Path, path: &Path) -> Result<(Connection, Version, Vec<Entry>, Witness), StoreError> {
    let (connection, tables) = connect_unchanged(path, true, true)?;
    // SQLite's own check of its pages, on another processor meanwhile.
    let (version, entries) = thread::scope(|scope| {
        let pages = scope.spawn(|| check_pages(&connect(path, false)?, path));
        let mut entries = Vec::new();
        let version = read_table(&connection, path, |entry| entries.push(entry));
        pages.join().unwrap_or_else(|_| Err(StoreError::new(path, "its check did not end")))?;
        Ok((version?, entries))
    })?;
    let witness = acknowledged(directory, path, version.revision)?;
    let accepted = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false);
    accepted.map_err(|error| StoreError::sqlite(Doing::Open, path, &error))?;
    upgrade(&connection, path, tables)?;
    write_ahead(&connection, path)?;
    Ok((connection, version, entries, witness))
}

/// Has the database write ahead in a log, which a copy put in its place does not do by itself: what is acknowledged would not be
/// durable, and who reads the history would keep changes waiting.
pub(super) fn write_ahead(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let mode = connection.query_row("PRAGMA journal_mode = WAL", (), |row| row.get::<_, String>(0));
    match mode.map_err(|error| StoreError::sqlite(Doing::Write, path, &error))?.as_str() {
        "wal" => Ok(()),
        mode => Err(StoreError::new(path, &format!("SQLite cannot write ahead in a log there (journal_mode {mode})"))),
    }
}

/// SQLite's check of its pages.
pub(super) fn check_pages(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let said: String = connection
        .query_row("PRAGMA quick_check(1)", (), |row| row.get(0))
        .map_err(|error| StoreError::sqlite(Doing::Read, path, &error))?;
    if said == "ok" { Ok(()) } else { Err(StoreError::damaged(path, said.replace('\n', " "))) }
}

/// Reads the latest revision and the entries, which must have its checksum.
pub(super) fn read_table(
    connection: &Connection,
    path: &Path,
    mut take: impl FnMut(Entry),
) -> Result<Version, StoreError> {
    let latest = format!("SELECT {} FROM revision ORDER BY revision DESC LIMIT 1", Revision::COLUMNS);
    let (latest, right) = connection.query_row(&latest, (), Revision::read).map_err(|error| match error {
        rusqlite::Error::QueryReturnedNoRows => StoreError::damaged(path, "it has no revision"),
        error => StoreError::sqlite(Doing::Read, path, &error),
    })?;
    if !right {
        return Err(StoreError::damaged(path, format!("the checksum of revision {} is wrong", latest.revision)));
    }
    let mut version = Version { revision: latest.revision, entries: 0, sum: Checksum::default() };
    let failed = |error: rusqlite::Error| StoreError::sqlite(Doing::Read, path, &error);
    let mut statement = connection.prepare("SELECT ipv4, ipv6, comment FROM eam").map_err(failed)?;
    let mut rows = statement.query(()).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        let text = |index: usize| row.get_ref(index)?.as_str().map_err(rusqlite::Error::from);
        let (ipv4, ipv6, comment) = text(0).and_then(|ipv4| Ok((ipv4, text(1)?, text(2)?))).map_err(failed)?;
        version.sum.add(checksum::entry(ipv4, ipv6, comment));
        version.entries += 1;
        let entry = entry_of(ipv4, ipv6, comment)
            .map_err(|text| StoreError::damaged(path, format!("an entry of the table cannot be read: {text}")))?;
        take(entry);
    }
    if (version.entries, version.sum) == (latest.entries, latest.table_sum) {
        return Ok(version);
    }
    Err(StoreError::damaged(
        path,
        format!(
            "its {} entries do not have the checksum of the {} entries of revision {}",
            version.entries, latest.entries, latest.revision
        ),
    ))
}

/// Compares the database with what was acknowledged.
fn acknowledged(directory: &Path, path: &Path, revision: u64) -> Result<Witness, StoreError> {
    let file = directory.join(witness::NAME);
    let known = Witness::open(directory).map_err(|error| match error.kind() {
        ErrorKind::InvalidData => StoreError::damaged(&file, error.to_string()),
        _ => StoreError::io(Doing::Open, &file, &error),
    })?;
    let written = match known {
        Some((_, known)) if known > revision => {
            let lost = format!("its latest revision is {revision}, but revision {known} was acknowledged");
            return Err(StoreError::damaged(path, lost));
        }
        Some((witness, known)) if known == revision => return Ok(witness),
        Some((witness, known)) => {
            info!("revision {revision} was kept, {known} acknowledged: the daemon was ended in between");
            witness.acknowledge(revision).map(|()| witness)
        }
        None => {
            if revision > 0 {
                warn!("{} was missing and is made anew", file.display());
            }
            Witness::make(directory, revision)
        }
    };
    written.map_err(|error| StoreError::io(Doing::Write, &file, &error))
}

/// Adds to the news of a damage what can be done about it.
fn offer(error: StoreError, directory: &Path) -> StoreError {
    let StoreError::Damaged { path, what } = error else { return error };
    // The table itself may be sound: where only the acknowledgement is damaged, or only the end of the log is missing.
    let [copy, itself] = [BACKUP, DATABASE].map(|name| directory.join(name));
    let latest = [&copy, &itself].into_iter().filter_map(|file| Some((sound(file)?, file)));
    let cure = match latest.max_by_key(|(version, _)| version.revision) {
        Some((Version { revision, entries, .. }, file)) if *file == copy => format!(
            "the last good copy is {} with revision {revision} ({entries} entries): `xlat-ctl state restore` puts it in place",
            file.display()
        ),
        Some((Version { revision, entries, .. }, file)) => format!(
            "the table, {0}, is sound, its latest revision is {revision} ({entries} entries): `xlat-ctl state restore --from {0}` \
             takes it as it is",
            file.display()
        ),
        None => format!(
            "there is no good copy at {}: `xlat-ctl state restore --from FILE` puts one of yours in place",
            copy.display()
        ),
    };
    StoreError::Damaged { path, what: format!("{what}; nothing has been changed; {cure}") }
}

/// What a database has, if its pages and its table are sound.
pub(super) fn sound(path: &Path) -> Option<Version> {
    let connection = connect(path, false).ok()?;
    check_pages(&connection, path).ok()?;
    read_table(&connection, path, drop).ok()
}
