//! Putting a good copy in the place of the store, without a daemon.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{
    BACKUP, Checksum, DATABASE, Doing, Lock, StoreError, Version, Witness,
    backup::{self, Copied},
    now,
    open::{check_pages, connect, exists, put_in_place, read_table, write_ahead},
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
    /// The latest revision that the store before had acknowledged, if that can be read.
    pub(crate) acknowledged: Option<u64>,
    /// The latest revision of the store before, as far as that is known.
    pub(crate) had: Option<u64>,
    /// Where the files of that store are.
    pub(crate) aside: Vec<PathBuf>,
    /// What is wrong with the copy's history; its table is sound.
    pub(crate) history: Option<String>,
}

impl Restored {
    /// The revisions that are not in the table any more, first and last.
    pub(crate) fn lost(&self) -> Option<(u64, u64)> {
        self.had.filter(|had| *had > self.of).map(|had| (self.of + 1, had))
    }
}

/// Puts the copy at `from`, or the directory's own backup, in the place of the store.
///
/// `anyway`: even if the store is sound and at least as new.
///
/// # Errors
/// A daemon uses the directory, the copy is missing or damaged, the store is sound and at least as new, or the disk refuses;
/// nothing is changed then.
pub(crate) fn restore(directory: &Path, from: Option<&Path>, anyway: bool) -> Result<Restored, StoreError> {
    let _lock = Lock::take(directory)?;
    let own = directory.join(BACKUP);
    let from = from.unwrap_or(&own);
    let path = directory.join(DATABASE);
    let new = path.with_extension("db.new");
    let _ = fs::remove_file(&new);
    if !exists(from)? {
        return Err(StoreError::Cannot(format!(
            "cannot open the store {}: there is no such file; name a copy with `--from FILE`",
            from.display()
        )));
    }
    let source = connect(from, false)?;
    check_pages(&source, from)?;
    let version = read_table(&source, from, drop)?;
    let (acknowledged, had) = replaceable(directory, &path, (from, version.revision), anyway)?;
    let Copied { history, .. } = backup::copy(&source, from, &new)?;
    drop(source);
    let revision = had.unwrap_or(0).max(version.revision) + 1;
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
    write_ahead(&written, &new)?;
    row.insert(&written).map_err(|error| StoreError::sqlite(Doing::Write, &new, &error))?;
    written.close().map_err(|(_, error)| StoreError::sqlite(Doing::Write, &new, &error))?;
    let aside = move_aside(&path, revision)?;
    put_in_place(&new, &path).map_err(|error| StoreError::io(Doing::Make, &path, &error))?;
    let witness = Witness::make(directory, revision);
    witness.map_err(|error| StoreError::io(Doing::Write, &directory.join(super::witness::NAME), &error))?;
    let Version { revision: of, entries, .. } = version;
    let history = history.map(|damage| damage.to_string());
    Ok(Restored { from: from.to_owned(), of, revision, entries, acknowledged, had, aside, history })
}

/// Whether the store may be replaced by a copy, here its file and revision. Gives the acknowledged revision
/// and the store's latest one, as far as they are known.
fn replaceable(
    directory: &Path,
    path: &Path,
    copy: (&Path, u64),
    anyway: bool,
) -> Result<(Option<u64>, Option<u64>), StoreError> {
    let (acknowledged, spoilt) = match Witness::open(directory) {
        Ok(known) => (known.map(|(_, known)| known), false),
        // It is made anew.
        Err(error) if error.kind() == ErrorKind::InvalidData => (None, true),
        Err(error) => return Err(StoreError::io(Doing::Open, &directory.join(super::witness::NAME), &error)),
    };
    if !exists(path)? {
        return Ok((acknowledged, acknowledged));
    }
    let (of, whole) = match examine(path) {
        Ok(of) => (Some(of), !spoilt && acknowledged.is_none_or(|known| known <= of)),
        Err(StoreError::Damaged { .. }) => (None, false),
        Err(_) if anyway => (None, false),
        Err(StoreError::Cannot(why)) => {
            return Err(StoreError::Cannot(format!("{why}; `--anyway` puts the copy in its place even so")));
        }
    };
    match of {
        Some(of) if whole && of >= copy.1 && !anyway => Err(StoreError::Cannot(format!(
            "the store {} is sound and has revision {of}, the copy {} has revision {}: start the daemon with the store as it is, \
             or go back to the copy with `--anyway`",
            path.display(),
            copy.0.display(),
            copy.1
        ))),
        // Sound, but without the last of what was acknowledged, and still newer than the copy.
        Some(of) if of > copy.1 && !anyway && !is_same(path, copy.0) => Err(StoreError::Cannot(format!(
            "the table of {0} is sound and has revision {of}, the copy {1} only revision {2}: take the newer one with \
             `--from {0}`, or the copy even so with `--anyway`",
            path.display(),
            copy.0.display(),
            copy.1
        ))),
        of => Ok((acknowledged, acknowledged.max(of))),
    }
}

/// The latest revision of a store whose pages and table are sound.
fn examine(path: &Path) -> Result<u64, StoreError> {
    let connection = connect(path, false)?;
    check_pages(&connection, path)?;
    read_table(&connection, path, drop).map(|version| version.revision)
}

fn is_same(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino())).ok();
    place(one).is_some() && place(one) == place(other)
}

/// Keeps what was there, under names by which SQLite finds a database's log: somebody may want to look at it.
fn move_aside(path: &Path, revision: u64) -> Result<Vec<PathBuf>, StoreError> {
    let named = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let mut moved = Vec::new();
    for part in ["", "-wal", "-shm"] {
        let (file, to) = (named(part), named(&format!(".damaged-{revision}{part}")));
        match fs::rename(&file, &to) {
            Ok(()) => moved.push(to),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(StoreError::io(Doing::Write, &file, &error)),
        }
    }
    Ok(moved)
}
