//! Network namespaces that outlive the process: a mount keeps each, where `ip netns` looks for them.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::AsFd,
        unix::{ffi::OsStrExt, fs::MetadataExt},
    },
    path::{Path, PathBuf},
    thread,
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
    sys::statfs::{FsType, statfs},
    unistd::{AccessFlags, eaccess},
};
use tracing::warn;

use crate::{netlink, plain};

/// Where `ip netns` keeps namespaces.
const DIRECTORY: &str = "/run/netns";
/// `NSFS_MAGIC`: the file system of namespaces.
const NAMESPACES: FsType = FsType(0x6e73_6673);

/// The longest name of a file, in bytes.
const MOST_NAME: usize = 255;

/// The place of the namespace of the relay that is pinned in `pin_directory`: `ip netns` lists it by the directory's path in its
/// file system, as `xlat-fragmenter` for the default. An operator's own namespace may well be called `xlat`. No two directories
/// have the same place: a slash is `%2f`, as in a URL, and a path that is too long ends in `%-` and its hash.
pub(super) fn place(pin_directory: &Path) -> PathBuf {
    let relative = pin_directory.strip_prefix("/sys/fs/bpf").unwrap_or(pin_directory);
    // Without what makes no difference, such as a slash at the end.
    let relative: PathBuf = relative.components().collect();
    let path = relative.as_os_str().as_bytes();
    let mut name = String::new();
    for byte in path {
        match byte {
            byte if byte.is_ascii_graphic() && !b"%/".contains(byte) => name.push(char::from(*byte)),
            byte => name.push_str(&format!("%{byte:02x}")),
        }
    }
    const END: &str = "-fragmenter";
    if name.len() + END.len() > MOST_NAME {
        name.truncate(MOST_NAME - END.len() - "%-".len() - 16);
        name.push_str(&format!("%-{:016x}", fnv1a(path)));
    }
    Path::new(DIRECTORY).join(name + END)
}

/// FNV-1a: another release has to give the same hash.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Refuses what is kept at `path` if it is somebody else's: an interface is up in it that is not `own`.
///
/// # Errors
/// Which, and what to do.
pub(super) fn expect_own(path: &Path, own: &str) -> Result<(), String> {
    if !is_kept(path) {
        return Ok(());
    }
    let cannot = |error: &io::Error| format!("cannot open {}: {}", path.display(), plain(error));
    let namespace = File::open(path).map_err(|error| cannot(&error))?;
    let machine = inside(&namespace, || netlink::snapshot().map_err(|error| error.to_string()))?;
    // Tunnels that the kernel makes in every namespace are down.
    match machine.interfaces.iter().find(|there| there.up && there.name != "lo" && there.name != own) {
        None => Ok(()),
        Some(other) => Err(format!(
            "the network namespace {} has the interface {} and is not the relay's: give it another name, or the relay another \
             dataplane.pin_directory, whose name this one follows",
            path.display(),
            other.name
        )),
    }
}

/// Keeps the calling thread's network namespace at `path`. Whether that is possible: not in a container without the right to mount.
pub(super) fn keep(path: &Path) -> bool {
    let kept = fs::create_dir_all(DIRECTORY).and_then(|()| File::create(path)).and_then(|_| {
        let source = Some("/proc/thread-self/ns/net");
        mount(source, path, None::<&str>, MsFlags::MS_BIND, None::<&str>).map_err(io::Error::from)
    });
    if let Err(error) = &kept {
        warn!(
            "the fragmenter will not outlive the daemon: cannot keep its network namespace at {}: {}",
            path.display(),
            plain(error)
        );
        let _ = fs::remove_file(path);
    }
    kept.is_ok()
}

/// Keeps a namespace at `path`, if nothing is kept there. Whether it is kept.
pub(super) fn keep_again(namespace: &File, path: &Path) -> bool {
    if is_kept(path) {
        let inode = |metadata: io::Result<fs::Metadata>| metadata.map(|metadata| metadata.ino()).ok();
        return inode(namespace.metadata()) == inode(fs::metadata(path));
    }
    may_keep() && inside(namespace, || Ok(keep(path))).unwrap_or(false)
}

/// Whether a namespace is kept at `path`.
pub(super) fn is_kept(path: &Path) -> bool {
    statfs(path).is_ok_and(|found| found.filesystem_type() == NAMESPACES)
}

/// Whether this process may keep and forget namespaces. If not, somebody with more rights has prepared one for it.
pub(super) fn may_keep() -> bool {
    match eaccess(DIRECTORY, AccessFlags::W_OK) {
        Err(nix::Error::ENOENT) => eaccess("/run", AccessFlags::W_OK).is_ok(),
        other => other.is_ok(),
    }
}

/// Keeps a new, empty namespace at `path`, if there is none.
///
/// # Errors
/// Permissions; it is said on the log which. The namespace there is somebody else's ([`expect_own`]).
pub(super) fn prepare(path: &Path, own: &str) -> Result<(), String> {
    if is_kept(path) {
        return expect_own(path, own);
    }
    let make = || {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| plain(&errno.into()))?;
        if keep(path) { Ok(()) } else { Err("it cannot be kept".to_owned()) }
    };
    thread::scope(|scope| scope.spawn(make).join()).unwrap_or_else(|_| Err("its thread ended early".to_owned()))
}

/// Moves the calling thread into the namespace that is kept at `path`, or into a new one where there is none.
pub(super) fn enter(path: Option<&Path>) -> io::Result<()> {
    match path.filter(|path| is_kept(path)) {
        Some(path) => Ok(setns(File::open(path)?.as_fd(), CloneFlags::CLONE_NEWNET)?),
        None => Ok(unshare(CloneFlags::CLONE_NEWNET)?),
    }
}

/// Gives up what is kept at `path`. What it held goes when nobody else is in it.
pub(super) fn forget(path: &Path) {
    if !may_keep() {
        return;
    }
    match umount2(path, MntFlags::MNT_DETACH) {
        // It is no mount: the file alone is left, of a machine that has been restarted.
        Ok(()) | Err(nix::Error::EINVAL) => {}
        Err(errno) => warn!("cannot unmount {}: {}", path.display(), plain(&errno.into())),
    }
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        warn!("cannot remove {}: {}", path.display(), plain(&error));
    }
}

/// Does something inside a network namespace, on a thread of its own.
pub(super) fn inside<T: Send>(
    namespace: &File,
    action: impl FnOnce() -> Result<T, String> + Send,
) -> Result<T, String> {
    let run = || {
        setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET).map_err(|errno| plain(&errno.into()))?;
        action()
    };
    thread::scope(|scope| scope.spawn(run).join()).unwrap_or_else(|_| Err("its thread ended early".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_a_namespace_after_its_relay() {
        for (directory, name) in [
            ("/sys/fs/bpf/xlat", "xlat"),
            ("/sys/fs/bpf/xlat/", "xlat"),
            ("/sys/fs/bpf/xlat-b", "xlat-b"),
            ("/sys/fs/bpf/a/b", "a%2fb"),
            ("/sys/fs/bpf/a%2fb", "a%252fb"),
            ("/sys/fs/bpf/a b", "a%20b"),
            ("/mnt/bpf/x", "%2fmnt%2fbpf%2fx"),
        ] {
            assert_eq!(place(Path::new(directory)), Path::new(DIRECTORY).join(format!("{name}-fragmenter")));
        }
    }

    #[test]
    fn no_two_relays_have_the_same_namespace() {
        let long = format!("/sys/fs/bpf/{}", "long/".repeat(100));
        let mut directories: Vec<String> =
            ["h-c/x", "h-c-x", "h/c/x", "h--c-x", "h-/c", "h/-c", "h%2fc", "h/c", "sys/fs/bpf/h-c/x"]
                .iter()
                .map(|name| format!("/sys/fs/bpf/{name}"))
                .collect();
        directories.extend([format!("{long}x"), format!("{long}y"), "/h-c/x".to_owned(), "/h-c-x".to_owned()]);
        let places: std::collections::HashSet<PathBuf> =
            directories.iter().map(|directory| place(Path::new(directory))).collect();
        assert_eq!(places.len(), directories.len(), "{places:#?}");
        let longest = places.iter().filter_map(|place| place.file_name()).map(std::ffi::OsStr::len).max();
        assert_eq!(longest, Some(MOST_NAME));
    }
}
