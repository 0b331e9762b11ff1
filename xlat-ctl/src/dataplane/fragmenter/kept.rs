//! What is kept of a fragmenter when its daemon has ended, seen from outside.

use std::{fs::File, path::Path};

use tracing::warn;

use super::{FAR, Fragmenter, NAME, text};
use crate::{
    dataplane::namespaces,
    netlink::{NetlinkError, links::Links},
    plain,
};

/// Removes what a data plane that is pinned in `pin_directory` has kept of its fragmenter. Where the relay is in another network
/// namespace than the caller, its rules stay, and so do those of the relay that may be in this one.
pub(in crate::dataplane) fn remove_kept(pin_directory: &Path) {
    let kept = namespaces::place(pin_directory);
    let elsewhere = is_elsewhere(pin_directory);
    if let Err(reason) = namespaces::expect_own(&kept, FAR) {
        warn!("{reason}; it is left alone");
    } else if kept.exists() {
        // Where this cannot be done, the pair goes with its namespace, a moment later.
        match Fragmenter::take_over_kept(NAME, &kept) {
            Ok(fragmenter) => fragmenter.remove(),
            Err(_) => {
                if elsewhere && let Err(reason) = remove_far(&kept) {
                    warn!("the pair whose far end is in {} cannot be removed: {reason}", kept.display());
                }
                namespaces::forget(&kept);
            }
        }
    }
    if elsewhere {
        return;
    }
    let remove_rules = || -> Result<(), NetlinkError> {
        let mut links = Links::open()?;
        links.led_prefixes()?.into_iter().try_for_each(|prefix| links.forget_own_errors(prefix))
    };
    if let Err(error) = remove_rules() {
        warn!("{error}");
    }
}

/// Whether what is kept of the fragmenter of a relay that is pinned in `pin_directory` has its near end in another network namespace
/// than the caller's: one end of a veth pair never outlives the other.
pub(in crate::dataplane) fn is_elsewhere(pin_directory: &Path) -> bool {
    let kept = namespaces::place(pin_directory);
    if !namespaces::is_kept(&kept) || namespaces::expect_own(&kept, FAR).is_err() {
        return false;
    }
    let Ok(far_mac) = in_kept(&kept, |far| far.find(FAR).map(|(_, mac)| mac)) else { return false };
    match Links::open().and_then(|mut links| links.find(NAME)) {
        Ok((_, mac)) => mac != far_mac,
        Err(error) => error.raw_os_error() == Some(libc::ENODEV),
    }
}

/// Removes the far end, and with it the near end, wherever that is.
fn remove_far(kept: &Path) -> Result<(), String> {
    in_kept(kept, |far| {
        let (ifindex, _) = far.find(FAR)?;
        far.delete(ifindex)
    })
}

/// Does something with the interfaces of a kept namespace.
fn in_kept<T: Send>(
    kept: &Path,
    action: impl FnOnce(&mut Links) -> Result<T, NetlinkError> + Send,
) -> Result<T, String> {
    let namespace = File::open(kept).map_err(|error| plain(&error))?;
    namespaces::inside(&namespace, || Links::open().and_then(|mut links| action(&mut links)).map_err(text))
}
