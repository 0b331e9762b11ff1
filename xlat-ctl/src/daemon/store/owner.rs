//! Whose the files of a state directory are.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, chown},
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
    let owner = |path: &Path| fs::metadata(path).map(|metadata| (metadata.uid(), metadata.gid()));
    let (uid, gid) = owner(directory)?;
    if owner(file)? == (uid, gid) { Ok(()) } else { chown(file, Some(uid), Some(gid)) }
}
