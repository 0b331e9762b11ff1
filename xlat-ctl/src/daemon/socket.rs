//! The control socket's file: one daemon each, its group, and nothing left behind.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::{
        fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt},
        net::UnixStream as StdUnixStream,
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    sys::stat::{Mode, fchmod},
    unistd::{Gid, Group, chown},
};
use tokio::net::{UnixListener, UnixSocket};
use tracing::warn;

/// Clients that may wait for the daemon to accept them.
const BACKLOG: u32 = 128;

/// Why a daemon cannot have its control socket.
#[derive(Debug, thiserror::Error)]
pub(super) enum SocketError {
    #[error("another daemon{} is running on the control socket {}; stop it, or give this one its own socket", pid_text(*pid), path.display())]
    Running { path: PathBuf, pid: Option<u32> },
    #[error("the control socket {} is in use by a program that is not this relay's daemon", path.display())]
    InUse { path: PathBuf },
    #[error("the control socket cannot be at {}: something that is not a socket is there", path.display())]
    NotASocket { path: PathBuf },
    #[error("cannot {doing} {}: {}{}", path.display(), crate::plain(cause), permission_hint(cause))]
    Io { doing: &'static str, path: PathBuf, cause: io::Error },
}

fn pid_text(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (pid {pid})"))
}

fn permission_hint(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::PermissionDenied { " (the daemon is started as root)" } else { "" }
}

/// The right to the socket's path, held until dropped.
#[derive(Debug)]
pub(super) struct Claim {
    socket: PathBuf,
    lock_path: PathBuf,
    /// The lock goes with the process, whatever ends it.
    lock: Flock<File>,
    /// Whether the socket is this daemon's own, to be removed at the end.
    bound: bool,
}

impl Claim {
    /// Makes sure that no other daemon has this socket.
    pub(super) fn new(socket: &Path) -> Result<Self, SocketError> {
        if let Some(directory) = socket.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(directory)
                .map_err(|source| failed("make the directory", directory, source))?;
        }
        let lock_path = socket.with_added_extension("lock");
        let lock = loop {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o644)
                .open(&lock_path)
                .map_err(|source| failed("open the lock file", &lock_path, source))?;
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                // The daemon before may have removed the file between the two calls.
                Ok(lock) if is_at(&lock, &lock_path) => break lock,
                Ok(_) => {}
                Err((mut file, Errno::EWOULDBLOCK)) => {
                    let mut pid = String::new();
                    let read = file.read_to_string(&mut pid);
                    let pid = read.ok().and_then(|_| pid.trim().parse().ok());
                    return Err(SocketError::Running { path: socket.to_owned(), pid });
                }
                Err((_, errno)) => return Err(failed("lock", &lock_path, errno.into())),
            }
        };
        let claim = Self { socket: socket.to_owned(), lock_path, lock, bound: false };
        claim.write_pid().map_err(|source| failed("write the lock file", &claim.lock_path, source))?;
        claim.remove_stale()?;
        Ok(claim)
    }

    fn write_pid(&self) -> io::Result<()> {
        self.lock.set_len(0)?;
        writeln!(&*self.lock, "{}", std::process::id())
    }

    /// Removes what a killed daemon left. Whoever answers there is not one of ours: that one would hold the lock.
    fn remove_stale(&self) -> Result<(), SocketError> {
        let path = &self.socket;
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(failed("look at", path, source)),
            Ok(metadata) if !metadata.file_type().is_socket() => Err(SocketError::NotASocket { path: path.clone() }),
            Ok(_) if StdUnixStream::connect(path).is_ok() => Err(SocketError::InUse { path: path.clone() }),
            Ok(_) => fs::remove_file(path).map_err(|source| failed("remove the old socket", path, source)),
        }
    }

    /// Makes the socket: mode 0660, for the group if there is one of this name.
    pub(super) fn bind(&mut self, group: &str) -> Result<UnixListener, SocketError> {
        let path = &self.socket;
        let cannot_make = |source| failed("make the control socket", path, source);
        let socket = UnixSocket::new_stream().map_err(cannot_make)?;
        // The file gets the socket's own mode, so that nobody may connect before its group is set (unix(7)).
        fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR).map_err(|errno| cannot_make(errno.into()))?;
        socket.bind(path).map_err(cannot_make)?;
        self.bound = true;
        let listener = socket.listen(BACKLOG).map_err(cannot_make)?;
        if let Some(problem) = give(path, group)? {
            let has = fs::metadata(path).map_or_else(|_| Gid::current(), |metadata| Gid::from_raw(metadata.gid()));
            let who = Group::from_gid(has).ok().flatten().map_or_else(|| has.to_string(), |group| group.name);
            warn!("{problem}; meanwhile root and the group {who} may use {}", path.display());
        }
        fs::set_permissions(path, fs::Permissions::from_mode(0o660))
            .map_err(|source| failed("set the mode of", path, source))?;
        Ok(listener)
    }
}

/// Gives the socket to a group, or says why that cannot be: who is to use it is no reason to have no daemon.
fn give(path: &Path, group: &str) -> Result<Option<String>, SocketError> {
    let Ok(Some(found)) = Group::from_name(group) else {
        return Ok(Some(format!(
            "there is no group {group} (control.group): make it with `groupadd --system {group}`"
        )));
    };
    // Under the group itself the socket has it already.
    if fs::metadata(path).is_ok_and(|metadata| metadata.gid() == found.gid.as_raw()) {
        return Ok(None);
    }
    match chown(path, None, Some(found.gid)) {
        Ok(()) => Ok(None),
        Err(Errno::EPERM) => Ok(Some(format!(
            "the control socket cannot be given to the group {group} (control.group), as only root may do: have the daemon run with \
             it, by `systemctl edit xlat` with [Service] and Group={group}"
        ))),
        Err(errno) => Err(failed("set the group of", path, errno.into())),
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // The lock is held, so the files are this daemon's own; where they are gone already there is nothing to do.
        if self.bound {
            let _ = fs::remove_file(&self.socket);
        }
        let _ = fs::remove_file(&self.lock_path);
    }
}

fn failed(doing: &'static str, path: &Path, cause: io::Error) -> SocketError {
    SocketError::Io { doing, path: path.to_owned(), cause }
}

/// Whether the open file is still the one at `path`.
fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(there)) = (file.metadata(), fs::metadata(path)) else { return false };
    (open.dev(), open.ino()) == (there.dev(), there.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lets_one_daemon_have_a_socket() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/xlat.sock");
        let claim = Claim::new(&path).unwrap();
        let refused = Claim::new(&path).unwrap_err().to_string();
        assert!(refused.contains(&format!("another daemon (pid {})", std::process::id())), "{refused}");
        drop(claim);
        assert!(!directory.path().join("run/xlat.sock.lock").exists());
        Claim::new(&path).unwrap();
    }

    #[tokio::test]
    async fn replaces_what_a_killed_daemon_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("xlat.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let mut claim = Claim::new(&path).unwrap();
        let _listener = claim.bind("root").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o660);
        drop(claim);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn takes_nothing_from_another_program() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("xlat.sock");
        let other = UnixListener::bind(&path).unwrap();
        assert!(matches!(Claim::new(&path), Err(SocketError::InUse { .. })));
        assert!(path.exists());
        drop(other);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        assert!(matches!(Claim::new(&path), Err(SocketError::NotASocket { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}
