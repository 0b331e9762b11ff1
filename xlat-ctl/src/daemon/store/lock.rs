//! One daemon for each state directory.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

use super::{
    error::{Doing, StoreError},
    owner::give_to_owner,
};

/// Name of the file in the state directory.
pub(super) const NAME: &str = "lock";

/// The right to a state directory. It goes with the process, whatever ends it.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "held, not used")] Flock<File>);

impl Lock {
    /// Takes the right, or says who has it.
    pub(super) fn take(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join(NAME);
        let mut options = OpenOptions::new();
        // Not what a link leads to: it is written to.
        options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        let file = options.open(&path).map_err(|error| StoreError::io(Doing::Open, &path, &error))?;
        give_to_owner(&path)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => {
                let written = lock.set_len(0).and_then(|()| writeln!(&*lock, "{}", std::process::id()));
                // Whose it is, is only a courtesy; a full disk is told of by what matters.
                drop(written);
                Ok(Self(lock))
            }
            Err((mut file, Errno::EWOULDBLOCK)) => {
                let mut pid = String::new();
                let _ = file.read_to_string(&mut pid);
                let who = pid.trim().parse::<u32>().map_or_else(|_| String::new(), |pid| format!(" (pid {pid})"));
                Err(StoreError::Cannot(format!(
                    "the state directory {} belongs to another daemon{who}; give this one its own, [state] directory",
                    directory.display()
                )))
            }
            Err((_, errno)) => Err(StoreError::io(Doing::Open, &path, &errno.into())),
        }
    }
}
