//! The file `acknowledged`: the latest revision that a command was told of.
//!
//! The database cannot tell that its end is missing: a log that is cut off, or whose last page is unreadable, is simply
//! shorter to it, and what remains is valid. The number beside it shows what has been lost.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::{checksum::Hasher, open::put_in_place, owner};

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
    /// Opens the file and reads the revision in it; `None`: there is no file.
    pub(super) fn open(directory: &Path) -> io::Result<Option<(Self, u64)>> {
        let path = directory.join(NAME);
        let file = match OpenOptions::new().read(true).write(true).custom_flags(libc::O_DSYNC).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let known = read(&file)?;
        Ok(Some((Self { path, file }, known)))
    }

    /// Makes the file with a revision, there as a whole or not at all: an empty one has lost what was in it.
    pub(super) fn make(directory: &Path, revision: u64) -> io::Result<Self> {
        let path = directory.join(NAME);
        let new = path.with_extension("new");
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        let mut file =
            options.read(true).write(true).create_new(true).mode(0o600).custom_flags(libc::O_DSYNC).open(&new)?;
        owner::give(&new)?;
        file.write_all(text(revision).as_bytes())?;
        put_in_place(&new, &path)?;
        Ok(Self { path, file })
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

fn read(file: &File) -> io::Result<u64> {
    let damaged = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what);
    match file.metadata()?.len() {
        0 => return Err(damaged("it is empty")),
        len if len < LEN as u64 => return Err(damaged("its end is missing")),
        _ => {}
    }
    let mut bytes = [0; LEN];
    file.read_exact_at(&mut bytes, 0)?;
    let revision: Option<u64> = str::from_utf8(&bytes[..20]).ok().and_then(|digits| digits.parse().ok());
    match revision {
        Some(revision) if text(revision).as_bytes() == bytes => Ok(revision),
        _ => Err(damaged("its checksum is wrong")),
    }
}
