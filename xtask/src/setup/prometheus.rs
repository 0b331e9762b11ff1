//! The Prometheus server, which a test has scrape the daemon.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use anyhow::{Context, Result};

use super::{apt::PrivateApt, programs, say};
use crate::shell::find_program;

/// Its package starts it at boot, so this one program is taken out of it.
const SERVER: &str = "/usr/local/bin/prometheus";

/// Places the server where there is none.
pub(crate) fn install_if_missing() -> Result<()> {
    if find_program("prometheus").is_some() {
        return Ok(());
    }
    programs::require_apt_and_root(&["prometheus"], &["prometheus"])?;
    say(&format!("placing prometheus at {SERVER}, out of Debian's package; nothing of it is started"));
    place().context("installing prometheus")
}

fn place() -> Result<()> {
    let apt = PrivateApt::new()?;
    apt.update_own_release()?;
    let version = apt.versions("prometheus")?.into_iter().next().context("no package prometheus in this release")?;
    let program = apt.unpack("prometheus", &version)?.join("usr/bin/prometheus");
    // Under its own name only when it is whole.
    let partial = Path::new(SERVER).with_extension("partial");
    fs::copy(&program, &partial).with_context(|| format!("copying it to {}", partial.display()))?;
    fs::set_permissions(&partial, fs::Permissions::from_mode(0o755))?;
    fs::rename(&partial, SERVER).with_context(|| format!("placing {SERVER}"))
}
