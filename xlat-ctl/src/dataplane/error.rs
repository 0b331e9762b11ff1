//! What can go wrong, in words for a person.

use std::io;

use aya::{EbpfError, maps::MapError, programs::ProgramError};

pub use super::table::TableError;
use crate::{netlink::NetlinkError, plain};

/// Why the data plane could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum DataPlaneError {
    /// A capability is missing.
    #[error("cannot {what}: no permission: {}", missing_capabilities())]
    Permission {
        /// What was being done.
        what: String,
    },
    /// The kernel has no BPF.
    #[error("cannot {what}: this kernel has no BPF (it needs CONFIG_BPF_SYSCALL, and Linux 5.15 or newer)")]
    NoBpf {
        /// What was being done.
        what: String,
    },
    /// Memory.
    #[error(
        "cannot {what}: not enough memory: lower dataplane.max_eams, or raise the memory limit of the daemon's cgroup"
    )]
    Memory {
        /// What was being done.
        what: String,
    },
    /// The kernel's verifier does not accept a program.
    #[error("the kernel does not accept the program {program}: {reason}; the verifier's last words:\n{log}")]
    Verifier {
        /// The program's name.
        program: String,
        /// The kernel's reason.
        reason: String,
        /// The end of its log.
        log: String,
    },
    /// The embedded object and this code do not belong together.
    #[error("the embedded program is not the one that this daemon was made for: {0}")]
    Object(String),
    /// Anything else that the kernel refuses.
    #[error("cannot {what}: {reason}")]
    Kernel {
        /// What was being done.
        what: String,
        /// The kernel's reason.
        reason: String,
    },
    /// The tables.
    #[error(transparent)]
    Table(#[from] TableError),
    /// Netlink.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// The fragmenter cannot be set up.
    #[error("the fragmenter (the veth pair {name}) cannot be set up: {reason}")]
    Fragmenter {
        /// Name of its near end.
        name: String,
        /// What is in the way.
        reason: String,
    },
    /// Somebody has undone the fragmenter.
    #[error("the fragmenter (the veth pair {name}) is lost: {reason}")]
    FragmenterLost {
        /// Name of its near end.
        name: String,
        /// What has become of it.
        reason: String,
    },
    /// There is no BPF file system to pin anything in.
    #[error(
        "{} is not in a BPF file system, in which the program is kept when the daemon ends: mount one \
         (`mount -t bpf bpf /sys/fs/bpf`), or set dataplane.pin_directory to a place in one; `ip netns exec` hides what is \
         mounted there, `nsenter --net=/run/netns/NAME` does not",
        directory.display()
    )]
    NoBpffs {
        /// The place.
        directory: std::path::PathBuf,
    },
    /// Another daemon has the directory.
    #[error(
        "another daemon uses {}: stop it, or give this one its own dataplane.pin_directory",
        directory.display()
    )]
    PinsInUse {
        /// The place.
        directory: std::path::PathBuf,
    },
    /// Something cannot be pinned, or what is pinned cannot be used.
    #[error("cannot {what}: {reason}")]
    Pins {
        /// What was being done.
        what: String,
        /// The reason.
        reason: String,
    },
    /// Nothing is attached there.
    #[error("the program is not attached to interface {0}")]
    NotAttached(u32),
}

/// Why the program is not attached to an interface.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// Somebody else's program is there. It is left alone.
    #[error(
        "{interface} carries another XDP program already: {program} ({mode} mode); detach it first: {}",
        detach_advice(interface, *mode == "generic")
    )]
    Occupied {
        /// Name of the interface.
        interface: String,
        /// Id, name and tag of the program.
        program: String,
        /// "native" or "generic".
        mode: &'static str,
    },
    /// The interface has gone.
    #[error("interface {interface} is not there any more")]
    Gone {
        /// Its name.
        interface: String,
    },
    /// Its index is too large.
    #[error(
        "interface {interface} has the index {ifindex}; only indices below {} can be used",
        xlat_common::interface::MAX_IFINDEX
    )]
    Index {
        /// Its name.
        interface: String,
        /// Its index.
        ifindex: u32,
    },
    /// A capability is missing.
    #[error("cannot attach to {interface}: no permission: {}", missing_capabilities())]
    Permission {
        /// Its name.
        interface: String,
    },
    /// Something is in the way that cannot be seen there: it may go.
    #[error(
        "cannot attach to {interface} in {mode} mode: {reason}: another program was just there, or is on a device on top of it or below"
    )]
    Busy {
        /// Its name.
        interface: String,
        /// "native" or "generic".
        mode: &'static str,
        /// The kernel's reason.
        reason: String,
    },
    /// The driver or the kernel refuses.
    #[error("cannot attach to {interface} in {mode} mode: {reason}")]
    Refused {
        /// Its name.
        interface: String,
        /// "native" or "generic".
        mode: &'static str,
        /// The kernel's reason.
        reason: String,
    },
    /// The fragmenter, which comes to work with the first interface.
    #[error(transparent)]
    DataPlane(#[from] DataPlaneError),
}

/// How somebody else's program is taken off an interface.
#[must_use]
pub fn detach_advice(interface: &str, is_generic: bool) -> String {
    let word = if is_generic { "xdpgeneric" } else { "xdp" };
    format!(
        "by the tool that it belongs to, or by `ip link set dev {interface} {word} off`; where the kernel answers that a BPF link is \
         active: `bpftool link show` lists it, and `bpftool link detach id ID` takes it off"
    )
}

/// The error number behind an error of the loader, and the words for it.
pub(super) fn cause(error: &(dyn std::error::Error + 'static)) -> (Option<i32>, String) {
    if let Some(error) = error.downcast_ref::<aya::sys::NetlinkError>() {
        return (error.raw_os_error(), error.to_string());
    }
    let deeper = match error.downcast_ref::<io::Error>() {
        Some(error) => return (error.raw_os_error(), plain(error)),
        None => error.source(),
    };
    deeper.map_or_else(|| (None, error.to_string()), cause)
}

impl DataPlaneError {
    /// From an error of the loader. `what` completes "cannot …".
    pub(super) fn new(what: &str, error: &(dyn std::error::Error + 'static)) -> Self {
        let what = what.to_owned();
        match cause(error) {
            (Some(libc::EPERM | libc::EACCES), _) => Self::Permission { what },
            (Some(libc::ENOSYS), _) => Self::NoBpf { what },
            (Some(libc::ENOMEM), _) => Self::Memory { what },
            (_, reason) => Self::Kernel { what, reason },
        }
    }

    /// From an error of loading one program.
    pub(super) fn of_program(program: &str, error: &ProgramError) -> Self {
        let what = format!("load the program {program}");
        let ProgramError::LoadError { io_error, verifier_log } = error else { return Self::new(&what, error) };
        let log = verifier_log.to_string();
        // Without CAP_BPF the verifier is not even asked; with it, EACCES and EINVAL are its verdict.
        if log.trim().is_empty() || io_error.raw_os_error() == Some(libc::EPERM) {
            return Self::new(&what, error);
        }
        Self::Verifier { program: program.to_owned(), reason: plain(io_error), log: last_lines(&log, 12) }
    }
}

impl From<EbpfError> for DataPlaneError {
    fn from(error: EbpfError) -> Self {
        match error {
            EbpfError::ParseError(_) | EbpfError::BtfError(_) | EbpfError::RelocationError(_) => {
                Self::Object(error.to_string())
            }
            EbpfError::MapError(MapError::CreateError { ref name, .. }) => {
                Self::new(&format!("make the map {name}"), &error)
            }
            other => Self::new("load the program", &other),
        }
    }
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// Refuses to begin without the capabilities that all of it needs: half-way the kernel only says that something is not
/// permitted.
pub(super) fn check_capabilities() -> Result<(), DataPlaneError> {
    let what = "set the data plane up".to_owned();
    if missing(effective_capabilities()).is_empty() { Ok(()) } else { Err(DataPlaneError::Permission { what }) }
}

fn effective_capabilities() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|text| u64::from_str_radix(text.trim(), 16).ok()).unwrap_or(0)
}

/// Which of the capabilities that the daemon needs are not there.
fn missing(effective: u64) -> Vec<&'static str> {
    /// Their numbers, from `linux/capability.h`; the last stands for the two before it as well.
    const NEEDED: [(u32, &str); 4] =
        [(12, "CAP_NET_ADMIN"), (39, "CAP_BPF"), (38, "CAP_PERFMON"), (SYS_ADMIN, "CAP_SYS_ADMIN")];
    const SYS_ADMIN: u32 = 21;
    const NET_ADMIN: u32 = 12;
    let has = |number: u32| effective >> number & 1 != 0;
    let covered = |number: u32| has(number) || number != NET_ADMIN && has(SYS_ADMIN);
    NEEDED.iter().filter(|(number, _)| !covered(*number)).map(|(_, name)| *name).collect()
}

fn missing_capabilities() -> String {
    let missing = missing(effective_capabilities());
    if missing.is_empty() {
        "the process has every capability it needs, so something else forbids it (a security module, a read-only \
         /proc/sys, a container's seccomp filter)"
            .to_owned()
    } else {
        format!("the process lacks {}: run it as root, or give it these capabilities", missing.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_capabilities_that_are_missing() {
        assert_eq!(missing(0), ["CAP_NET_ADMIN", "CAP_BPF", "CAP_PERFMON", "CAP_SYS_ADMIN"]);
        assert_eq!(missing(u64::MAX), [""; 0]);
        assert_eq!(missing(1 << 21), ["CAP_NET_ADMIN"]);
        assert_eq!(missing(1 << 12 | 1 << 39), ["CAP_PERFMON", "CAP_SYS_ADMIN"]);
    }

    #[test]
    fn finds_the_kernels_words_behind_an_error() {
        let inner = io::Error::from_raw_os_error(libc::ENOMEM);
        let error = MapError::CreateError { name: "TABLE4".to_owned(), io_error: inner };
        assert_eq!(cause(&error), (Some(libc::ENOMEM), "Cannot allocate memory".to_owned()));
        let text = DataPlaneError::from(EbpfError::MapError(error)).to_string();
        assert!(text.starts_with("cannot make the map TABLE4: not enough memory"), "{text}");
    }
}
