//! Whose the files of a state directory are.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, lchown},
    path::Path,
};

use super::{Doing, StoreError};

/// Gives a file that root has made to the owner of its directory: the daemon of tomorrow need not be root.
pub(super) fn give_to_owner(file: &Path) -> Result<(), StoreError> {
    give(file).map_err(|error| StoreError::io(Doing::Write, file, &error))
}

/// As [`give_to_owner`], with the error of the system.
pub(super) fn give(file: &Path) -> io::Result<()> {
    let Some(directory) = file.parent().filter(|_| nix::unistd::geteuid().is_root()) else { return Ok(()) };
    let (owner, own) = (fs::metadata(directory)?, fs::symlink_metadata(file)?);
    // Not what a link leads to, which may be anything.
    if !own.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"));
    }
    if (own.uid(), own.gid()) == (owner.uid(), owner.gid()) {
        return Ok(());
    }
    lchown(file, Some(owner.uid()), Some(owner.gid()))
}
