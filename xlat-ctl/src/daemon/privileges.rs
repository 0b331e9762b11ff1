//! What the daemon may do: no more than it needs, from before its first thread on.

use std::collections::HashSet;

use caps::{CapSet, Capability, CapsHashSet};
use nix::{
    sys::{
        prctl::set_no_new_privs,
        resource::{Resource, setrlimit},
    },
    unistd::geteuid,
};
use tracing::{debug, warn};

/// What every daemon needs, on every kernel from Linux 5.15 on.
const NEEDED: [Capability; 4] = [
    // Maps and programs.
    Capability::CAP_BPF,
    // The verifier lets the programs compare and add to packet pointers.
    Capability::CAP_PERFMON,
    // XDP programs, links, addresses, routes, rules and their settings.
    Capability::CAP_NET_ADMIN,
    // The fragmenter's namespace; other loaders' programs by their number, to say whose they are.
    Capability::CAP_SYS_ADMIN,
];
/// What root needs beside: the files of a daemon that ran as another user, the control socket's group.
const OF_ROOT: [Capability; 2] = [Capability::CAP_DAC_OVERRIDE, Capability::CAP_CHOWN];
/// `RLIMIT_NICE` that allows the highest priority of an ordinary task, -20.
const ANY_PRIORITY: u64 = 40;

/// Gives up every capability that is not needed, for this process and all that it may ever run. To be called before there is a
/// second thread: each has capabilities of its own.
pub(super) fn shed() {
    // Both only make things better: what does not work here is no reason not to start.
    if let Err(errno) = setrlimit(Resource::RLIMIT_NICE, ANY_PRIORITY, ANY_PRIORITY) {
        debug!("the limit of priorities stays as it is: {errno}");
    }
    if let Err(error) = try_shed(&kept(geteuid().is_root())) {
        warn!("the daemon keeps capabilities that it does not need: {error}");
    }
}

fn kept(root: bool) -> CapsHashSet {
    let beside = if root { &OF_ROOT[..] } else { &[] };
    NEEDED.iter().chain(beside).copied().collect()
}

fn try_shed(kept: &CapsHashSet) -> Result<(), caps::errors::CapsError> {
    set_no_new_privs().map_err(|errno| caps::errors::CapsError::from(errno.to_string()))?;
    // Without CAP_SETPCAP the bounding set stays; but nothing new can be had any more.
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        for capability in caps::all().difference(kept) {
            if caps::has_cap(None, CapSet::Bounding, *capability).unwrap_or(false) {
                caps::drop(None, CapSet::Bounding, *capability)?;
            }
        }
    }
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    let permitted: HashSet<Capability> = caps::read(None, CapSet::Permitted)?.intersection(kept).copied().collect();
    caps::set(None, CapSet::Effective, &permitted)?;
    caps::set(None, CapSet::Permitted, &permitted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_no_more_than_six_capabilities() {
        // A thread has capabilities of its own: the other tests keep theirs.
        std::thread::spawn(|| {
            let before = caps::read(None, CapSet::Permitted).unwrap();
            let expected: CapsHashSet = before.intersection(&kept(true)).copied().collect();
            try_shed(&kept(true)).unwrap();
            assert_eq!(caps::read(None, CapSet::Permitted).unwrap(), expected);
            assert_eq!(caps::read(None, CapSet::Effective).unwrap(), expected);
            assert!(caps::read(None, CapSet::Inheritable).unwrap().is_empty());
            assert!(caps::set(None, CapSet::Effective, &HashSet::from([Capability::CAP_SYS_PTRACE])).is_err());
        })
        .join()
        .unwrap();
    }
}
