//! The one program that the first stage of the guest needs.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};

use super::qemu::directory;
use crate::setup::{PrivateApt, say};

/// Gives the static busybox under `target/vm`, out of Debian's package, which is not installed.
pub(crate) fn get() -> Result<PathBuf> {
    let place = directory().join("busybox");
    if place.exists() {
        return Ok(place);
    }
    say(&format!("placing busybox at {}, out of Debian's package busybox-static", place.display()));
    let apt = PrivateApt::new()?;
    apt.update_own_release()?;
    let versions = apt.versions("busybox-static")?;
    let version = versions.first().context("this release has no package busybox-static")?;
    let unpacked = apt.unpack("busybox-static", version)?;
    let program = ["bin/busybox", "usr/bin/busybox"].map(|path| unpacked.join(path)).into_iter().find(|p| p.exists());
    let partial = place.with_extension("partial");
    fs::create_dir_all(directory())?;
    fs::copy(program.context("the package has no busybox in it")?, &partial).context("copying busybox")?;
    fs::rename(&partial, &place).context("placing busybox")?;
    Ok(place)
}
