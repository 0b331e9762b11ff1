//! The file `acknowledged`: the latest revision that a command was told of.
//!
//! The database cannot tell that its end is missing: a log that is cut off, or whose last page is unreadable, is simply
//! shorter to it, and what remains is valid. The number beside it shows what has been lost.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::checksum::Hasher;

/// Name of the file in the state directory.
pub(super) const NAME: &str = "acknowledged";
/// Bytes of the file: a number of 20 digits, a checksum, the spaces and the newline between. Less than a disk's sector, so
/// that it is written whole or not at all.
const LEN: usize = 20 + 1 + 16 + 1;

/// The open file.
#[derive(Debug)]
pub(super) struct Witness {
    path: PathBuf,
    file: File,
}

impl Witness {
    /// Opens or makes the file; the second value is the revision in it, `None`: it has just been made.
    pub(super) fn open(directory: &Path) -> io::Result<(Self, Option<u64>)> {
        let path = directory.join(NAME);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_DSYNC)
            .open(&path)?;
        let known = read(&file)?;
        Ok((Self { path, file }, known))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the revision, to the disk.
    pub(super) fn acknowledge(&self, revision: u64) -> io::Result<()> {
        self.file.write_all_at(text(revision).as_bytes(), 0)
    }
}

fn text(revision: u64) -> String {
    format!("{revision:020} {:016x}\n", Hasher::new().field(&revision.to_le_bytes()).finish())
}

fn read(file: &File) -> io::Result<Option<u64>> {
    let mut bytes = [0; LEN];
    if file.metadata()?.len() == 0 {
        return Ok(None);
    }
    file.read_exact_at(&mut bytes, 0)?;
    let revision: Option<u64> = str::from_utf8(&bytes[..20]).ok().and_then(|digits| digits.parse().ok());
    match revision {
        Some(revision) if text(revision).as_bytes() == bytes => Ok(Some(revision)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "its checksum is wrong")),
    }
}
