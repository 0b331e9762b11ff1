//! Why the store cannot be used or changed, in sentences.

use std::{
    io,
    path::{Path, PathBuf},
};

use nix::sys::statvfs::{FsFlags, statvfs};
use rusqlite::ErrorCode;

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    Find,
    Make,
    Open,
    Read,
    Write,
}

impl Doing {
    fn words(self) -> &'static str {
        match self {
            Self::Find => "find",
            Self::Make => "make",
            Self::Open => "open",
            Self::Read => "read",
            Self::Write => "write to",
        }
    }
}

/// The store cannot do what it was asked to. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The machine does not let it.
    #[error("{0}")]
    Cannot(String),
    /// What is there is not what was written.
    #[error("the store {} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

impl StoreError {
    pub(super) fn new(path: &Path, text: &str) -> Self {
        Self::Cannot(format!("the store {} cannot be used: {text}", path.display()))
    }

    pub(super) fn damaged(path: &Path, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.into() }
    }

    pub(super) fn io(doing: Doing, path: &Path, error: &io::Error) -> Self {
        Self::Cannot(format!("cannot {} {}: {}{}", doing.words(), path.display(), crate::plain(error), hint(path)))
    }

    pub(super) fn sqlite(doing: Doing, path: &Path, error: &rusqlite::Error) -> Self {
        let words = match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt) => return Self::damaged(path, "its pages contradict each other"),
            Some(ErrorCode::NotADatabase) => return Self::damaged(path, "it is not a database"),
            Some(ErrorCode::DiskFull) => "the disk is full".to_owned(),
            Some(ErrorCode::ReadOnly) => "it is read-only".to_owned(),
            Some(ErrorCode::SystemIoFailure) => format!("the disk refuses{}", hint(path)),
            Some(ErrorCode::CannotOpen) if path.try_exists().is_ok_and(|exists| !exists) => {
                "there is no such file".to_owned()
            }
            Some(ErrorCode::CannotOpen) => format!("the file system refuses{}", hint(path)),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => "another program holds it".to_owned(),
            Some(_) => error.to_string(),
            // A value of another kind than was written.
            None => return Self::damaged(path, error.to_string()),
        };
        Self::Cannot(format!("cannot {} the store {}: {words}", doing.words(), path.display()))
    }
}

/// What SQLite does not tell: whether the disk is full or read-only.
fn hint(path: &Path) -> &'static str {
    let Some(system) = path.parent().and_then(|directory| statvfs(directory).ok()) else { return "" };
    if system.flags().contains(FsFlags::ST_RDONLY) {
        " (the file system is read-only)"
    } else if system.blocks_available() == 0 {
        " (the disk is full)"
    } else {
        ""
    }
}
