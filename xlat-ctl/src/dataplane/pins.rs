//! What outlives the daemon: the program's places on the interfaces and the maps of its instances, pinned in a BPF file system.
//!
//! ```text
//! pin_directory/          mode 0700, locked by the daemon that uses it
//!   links/IFINDEX         the program's place on an interface; the kernel keeps it there until it is unpinned
//!   instance-N-abiV/MAP   a program instance: its maps (what its programs keep alive, and what the next daemon asks of it)
//! ```
//!
//! A new instance takes over from an old one by updating each link, one atomic step. Only then is the old one removed.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use aya::{
    Ebpf,
    maps::{Map, MapData, PerCpuArray},
    programs::links::{FdLink, LinkError, PinnedLink},
};
use nix::{
    fcntl::{Flock, FlockArg},
    sys::statfs::{BPF_FS_MAGIC, SYSFS_MAGIC, statfs},
    unistd::{Gid, Uid, chown},
};
use tracing::{debug, warn};
use xlat_common::{ABI_VERSION, counters::Counters};

use super::{
    error::{DataPlaneError, cause},
    fragmenter,
};
use crate::plain;

/// Where the links are.
const LINKS: &str = "links";
/// What the name of an instance's directory begins with.
const INSTANCE: &str = "instance-";

/// The directory, locked.
#[derive(Debug)]
pub struct Pins {
    directory: PathBuf,
    /// Whether the directories stay though nothing is pinned in them.
    stays: bool,
    /// The lock goes with the process, whatever ends it.
    _lock: Flock<File>,
}

/// A program instance that is pinned.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Instance {
    number: u64,
    abi: u32,
}

impl Instance {
    fn read(name: &str) -> Option<Self> {
        let (number, abi) = name.strip_prefix(INSTANCE)?.split_once("-abi")?;
        Some(Self { number: number.parse().ok()?, abi: abi.parse().ok()? })
    }

    /// Instances that are made later have larger ones.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    fn name(&self) -> String {
        format!("{INSTANCE}{}-abi{}", self.number, self.abi)
    }
}

fn failed(doing: &str, path: &Path, error: &io::Error) -> DataPlaneError {
    DataPlaneError::Pins { what: format!("{doing} {}", path.display()), reason: plain(error) }
}

/// As [`failed`], for an error of the BPF library.
fn pins_error(doing: &str, path: &Path, error: &(dyn std::error::Error + 'static)) -> DataPlaneError {
    DataPlaneError::Pins { what: format!("{doing} {}", path.display()), reason: cause(error).1 }
}

/// Whether an open file is what a path leads to.
fn is_at(file: &File, path: &Path) -> bool {
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let (open, there) = (file.metadata().map(identity), fs::metadata(path).map(identity));
    matches!((open, there), (Ok(open), Ok(there)) if open == there)
}

impl Pins {
    /// Makes the directory if it is not there, and locks it.
    ///
    /// # Errors
    /// There is no BPF file system at that place, or another daemon uses the directory.
    pub fn open(directory: &Path) -> Result<Self, DataPlaneError> {
        // Where sysfs alone is, as `ip netns exec` has it, no directory can be made, and the kernel does not say why.
        make_private(directory).map_err(|error| {
            let above = directory.ancestors().find(|above| above.exists()).and_then(|above| statfs(above).ok());
            let is_sysfs = above.is_some_and(|found| found.filesystem_type() == SYSFS_MAGIC);
            if is_sysfs { DataPlaneError::NoBpffs { directory: directory.to_owned() } } else { error }
        })?;
        let magic = statfs(directory).map_err(|errno| failed("look at", directory, &errno.into()))?.filesystem_type();
        if magic != BPF_FS_MAGIC {
            // Nothing is left of the attempt.
            let _ = fs::remove_dir(directory);
            return Err(DataPlaneError::NoBpffs { directory: directory.to_owned() });
        }
        make_private(&directory.join(LINKS))?;
        let file = File::open(directory).map_err(|error| failed("open", directory, &error))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            // Whoever had it may have removed the directory meanwhile.
            Ok(lock) if !is_at(&lock, directory) => Self::open(directory),
            Ok(lock) => Ok(Self { directory: directory.to_owned(), stays: false, _lock: lock }),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => {
                Err(DataPlaneError::PinsInUse { directory: directory.to_owned() })
            }
            Err((_, errno)) => Err(failed("lock", directory, &errno.into())),
        }
    }

    /// Whether the relay that is pinned in a directory is in another network namespace than the caller, as far as that can be told: by
    /// its fragmenter, if it is kept.
    #[must_use]
    pub fn are_of_another_namespace(directory: &Path) -> bool {
        fragmenter::is_elsewhere(directory)
    }

    /// Gives the directories, and all that is pinned in them, to a user. They stay when `self` goes.
    ///
    /// # Errors
    /// Permissions.
    pub(super) fn hand_over(mut self, user: Uid, group: Gid) -> Result<(), DataPlaneError> {
        self.stays = true;
        let give = |path: &Path| {
            chown(path, Some(user), Some(group)).map_err(|errno| failed("set the owner of", path, &errno.into()))
        };
        give(&self.directory)?;
        for name in names(&self.directory) {
            let path = self.directory.join(name);
            give(&path)?;
            names(&path).iter().try_for_each(|name| give(&path.join(name)))?;
        }
        Ok(())
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where the maps of an instance are.
    pub(super) fn place(&self, instance: &Instance) -> PathBuf {
        self.directory.join(instance.name())
    }

    /// Interfaces (by index) on which a link is pinned, be it in force or not.
    #[must_use]
    pub fn links(&self) -> Vec<u32> {
        names(&self.directory.join(LINKS)).iter().filter_map(|name| name.parse().ok()).collect()
    }

    /// The instances that are pinned, oldest first.
    pub(super) fn instances(&self) -> Vec<Instance> {
        let mut all: Vec<Instance> = names(&self.directory).iter().filter_map(|name| Instance::read(name)).collect();
        all.sort();
        all
    }

    /// Pins the maps of a new instance.
    pub(super) fn pin_instance(&self, ebpf: &Ebpf) -> Result<Instance, DataPlaneError> {
        let number = self.instances().last().map_or(1, |last| last.number + 1);
        let instance = Instance { number, abi: ABI_VERSION };
        let path = self.directory.join(instance.name());
        make_private(&path)?;
        for (name, map) in ebpf.maps() {
            // The names of sections begin with a dot, which no name in a BPF file system may have in it.
            let place = path.join(name.replace('.', "_"));
            if let Err(error) = map.pin(&place) {
                self.remove_instance(&instance);
                return Err(pins_error("pin the map", &place, &error));
            }
        }
        Ok(instance)
    }

    /// Where a map of an instance is pinned.
    pub(super) fn map_path(&self, instance: &Instance, name: &str) -> PathBuf {
        self.directory.join(instance.name()).join(name)
    }

    /// Removes an instance's pins: what nobody holds any more goes.
    pub(super) fn remove_instance(&self, instance: &Instance) {
        let path = self.directory.join(instance.name());
        for name in names(&path) {
            remove(&path.join(name));
        }
        if let Err(error) = fs::remove_dir(&path) {
            warn!("{}", failed("remove", &path, &error));
        }
    }

    /// What an instance has counted, and what it took over from those before it. `None`: it counts in another way.
    pub(super) fn counters_of(&self, instance: &Instance) -> Option<Counters> {
        if instance.abi != ABI_VERSION {
            return None;
        }
        let map = |name: &str| MapData::from_pin(self.directory.join(instance.name()).join(name)).ok();
        let mut sum = carried(&Map::Array(map("CARRIED")?))?;
        let counters = PerCpuArray::<MapData, Counters>::try_from(Map::PerCpuArray(map("COUNTERS")?)).ok()?;
        for counters in counters.get(&0, 0).ok()?.iter() {
            sum.add(counters);
        }
        Some(sum)
    }

    /// The latest instance (by its number) whose counts one of these has taken over; 0: none.
    pub(super) fn taken_over_by(&self, instances: &[Instance]) -> u64 {
        let known = instances.iter().filter(|instance| instance.abi == ABI_VERSION);
        let maps = known.filter_map(|instance| MapData::from_pin(self.map_path(instance, "CARRIED")).ok());
        maps.filter_map(|map| Some(carried(&Map::Array(map))?.identification)).max().unwrap_or(0)
    }

    fn link_path(&self, ifindex: u32) -> PathBuf {
        self.directory.join(LINKS).join(ifindex.to_string())
    }

    /// The pinned link of an interface, with the id of the program that it keeps there. `None`: there is none.
    pub(super) fn link(&self, ifindex: u32) -> Result<Option<(FdLink, u32)>, DataPlaneError> {
        let path = self.link_path(ifindex);
        if !path.exists() {
            return Ok(None);
        }
        let open = || {
            let link = FdLink::from(PinnedLink::from_pin(&path)?);
            let program = link.info()?.program_id();
            Ok((link, program))
        };
        let failed = |error: LinkError| pins_error("open the link", &path, &error);
        open().map(Some).map_err(failed)
    }

    /// Has the kernel keep a link when this process ends.
    pub(super) fn pin_link(&self, ifindex: u32, link: FdLink) -> Result<FdLink, DataPlaneError> {
        let path = self.link_path(ifindex);
        link.pin(&path).map(FdLink::from).map_err(|error| pins_error("pin the link", &path, &error))
    }

    /// Makes the directory of the links again, if somebody has removed it.
    pub(super) fn make_links(&self) -> Result<(), DataPlaneError> {
        make_private(&self.directory.join(LINKS))
    }

    /// Unpins the link of an interface. If nobody else holds it, the program is detached.
    pub(super) fn unpin_link(&self, ifindex: u32) {
        debug!("the link of interface {ifindex} is unpinned");
        remove(&self.link_path(ifindex));
    }

    /// Removes everything: the program is detached everywhere, and goes.
    pub fn remove_all(&self) {
        for ifindex in self.links() {
            self.unpin_link(ifindex);
        }
        for instance in self.instances() {
            self.remove_instance(&instance);
        }
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        // Only empty directories go: where something is pinned, they stay.
        let _ = fs::remove_dir(self.directory.join(LINKS)).and_then(|()| fs::remove_dir(&self.directory));
    }
}

/// What an instance took over from those before it.
fn carried(map: &Map) -> Option<Counters> {
    let array = aya::maps::Array::<&MapData, Counters>::try_from(map).ok()?;
    array.get(&0, 0).ok()
}

fn make_private(directory: &Path) -> Result<(), DataPlaneError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .and_then(|()| fs::set_permissions(directory, fs::Permissions::from_mode(0o700)))
        .map_err(|error| failed("make the directory", directory, &error))
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        warn!("{}", failed("remove", path, &error));
    }
}

#[cfg(test)]
mod tests {
    use super::Instance;

    #[test]
    fn reads_the_names_that_it_gives() {
        let instance = Instance { number: 17, abi: 3 };
        assert_eq!(Instance::read(&instance.name()), Some(instance));
        assert_eq!(Instance::read("links"), None);
        assert_eq!(Instance::read("instance-1"), None);
    }
}
