//! `cargo xtask package --test`: the package in a virtual machine with Debian and its systemd, from its installation to its
//! purge. What is tried, in which order, is in `trial.sh`.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use super::Packaging;
use crate::{
    setup::{self, PrivateApt, say},
    shell::{require_root, target_dir},
    vm,
};

/// What Debian has to have beside its essential packages.
const PACKAGES: [&str; 7] =
    ["ethtool", "init-system-helpers", "iproute2", "iputils-ping", "kmod", "systemd", "systemd-sysv"];

impl Packaging {
    /// Tries the package in `out`, and a later version of the same.
    pub(super) fn try_out(&self, deb: &Path) -> Result<()> {
        require_root("the trial of the package")?;
        setup::for_vm()?;
        let root = debian()?;
        let directory = target_dir().join("package/trial");
        fs::create_dir_all(&directory).with_context(|| format!("making {}", directory.display()))?;
        let script = directory.join("trial.sh");
        fs::write(&script, include_str!("trial.sh")).context("writing the script")?;
        let later = self.deb(&directory.join("later.deb"), &["--deb-version", &format!("{}+later", self.version)])?;
        let seen = |path: &Path| format!("/run/host{}", path.display());
        let words = ["sh".to_owned(), seen(&script), seen(deb), seen(&later)];
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let options = vm::Options {
            root: Some(root),
            memory: 2048,
            timeout: Duration::from_secs(1800),
            ..vm::Options::default()
        };
        match vm::run_command(&options, &words)? {
            0 => Ok(()),
            code => bail!("the trial of the package failed (exit code {code}): see above"),
        }
    }
}

/// A small Debian of this machine's release, made once.
fn debian() -> Result<PathBuf> {
    let root = target_dir().join("vm/debian");
    if root.exists() {
        return Ok(root);
    }
    say(&format!("making a small Debian in {}; nothing is installed", root.display()));
    let apt = PrivateApt::new()?;
    let partial = root.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial).with_context(|| format!("removing {}", partial.display()))?;
    }
    fs::create_dir_all(&partial).with_context(|| format!("making {}", partial.display()))?;
    apt.bootstrap(&partial, &PACKAGES)?;
    ensure!(partial.join("sbin/init").exists(), "{} has no init", partial.display());
    fs::rename(&partial, &root).context("placing the small Debian")?;
    Ok(root)
}
