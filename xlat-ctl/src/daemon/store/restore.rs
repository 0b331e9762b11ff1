//! Putting a good copy in the place of a damaged store, without a daemon.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use super::{
    BACKUP, Checksum, DATABASE, Doing, Lock, StoreError, Witness, backup, log_of, now,
    open::{check_pages, connect, put_in_place, read_table},
    schema::Revision,
};

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Restored {
    /// The copy that was used.
    pub(crate) from: PathBuf,
    /// Its revision.
    pub(crate) of: u64,
    /// The revision it has become: no number is used twice, whatever was lost.
    pub(crate) revision: u64,
    /// Entries.
    pub(crate) entries: u64,
    /// Where the damaged files are.
    pub(crate) aside: Vec<PathBuf>,
}

/// Puts the copy at `from`, or the directory's own backup, in the place of the store.
///
/// # Errors
/// A daemon uses the directory, the copy is damaged, or the disk refuses; nothing is changed then.
pub(crate) fn restore(directory: &Path, from: Option<&Path>) -> Result<Restored, StoreError> {
    let _lock = Lock::take(directory)?;
    let own = directory.join(BACKUP);
    let from = from.unwrap_or(&own);
    let path = directory.join(DATABASE);
    let new = path.with_extension("db.new");
    let _ = fs::remove_file(&new);
    let source = connect(from, false)?;
    check_pages(&source, from)?;
    let version = read_table(&source, from, drop)?;
    backup::copy(&source, &new)?;
    drop(source);
    let known = match Witness::open(directory) {
        Ok(known) => known.map_or(0, |(_, known)| known),
        // It is made anew below.
        Err(error) if error.kind() == ErrorKind::InvalidData => 0,
        Err(error) => return Err(StoreError::io(Doing::Open, &directory.join(super::witness::NAME), &error)),
    };
    let revision = known.max(version.revision) + 1;
    let row = Revision {
        revision,
        time: now(),
        uid: Some(nix::unistd::getuid().as_raw()),
        pid: i32::try_from(std::process::id()).ok(),
        verb: "restore".to_owned(),
        message: format!("revision {} from {}", version.revision, from.display()),
        entries: version.entries,
        table_sum: version.sum,
        changes_sum: Checksum::default(),
        ..Revision::default()
    };
    let written = connect(&new, true)?;
    let journal = written.execute_batch("PRAGMA journal_mode = WAL").and_then(|()| row.insert(&written));
    journal.map_err(|error| StoreError::sqlite(Doing::Write, &new, &error))?;
    written.close().map_err(|(_, error)| StoreError::sqlite(Doing::Write, &new, &error))?;
    let aside = move_aside(&path, revision)?;
    put_in_place(&new, &path).map_err(|error| StoreError::io(Doing::Make, &path, &error))?;
    let acknowledged = Witness::make(directory, revision);
    acknowledged.map_err(|error| StoreError::io(Doing::Write, &directory.join(super::witness::NAME), &error))?;
    Ok(Restored { from: from.to_owned(), of: version.revision, revision, entries: version.entries, aside })
}

/// Keeps what is damaged: somebody may want to look at it.
fn move_aside(path: &Path, revision: u64) -> Result<Vec<PathBuf>, StoreError> {
    let mut moved = Vec::new();
    let shared = path.with_extension("db-shm");
    let _ = fs::remove_file(shared);
    for file in [path.to_owned(), log_of(path)] {
        let mut name = file.as_os_str().to_owned();
        name.push(format!(".damaged-{revision}"));
        let to = PathBuf::from(name);
        match fs::rename(&file, &to) {
            Ok(()) => moved.push(to),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(StoreError::io(Doing::Write, &file, &error)),
        }
    }
    Ok(moved)
}
