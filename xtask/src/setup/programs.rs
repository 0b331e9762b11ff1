//! The programs that the tests and the demo call.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::{apt::PrivateApt, say};
use crate::{
    interrupt,
    shell::{self, command, find_program, show},
};

/// Each program with the Debian package that has it.
const PROGRAMS: &[(&str, &str)] = &[
    ("bpftool", "bpftool"),
    ("curl", "curl"),
    ("ethtool", "ethtool"),
    ("faketime", "faketime"),
    ("ip", "iproute2"),
    ("iperf3", "iperf3"),
    ("mkfs.ext4", "e2fsprogs"),
    ("mtr", "mtr-tiny"),
    ("nsenter", "util-linux"),
    ("ping", "iputils-ping"),
    ("setpriv", "util-linux"),
    ("systemd-analyze", "systemd"),
    ("systemd-sysusers", "systemd"),
    ("tcpdump", "tcpdump"),
    ("tracepath", "iputils-tracepath"),
    ("traceroute", "traceroute"),
    ("tshark", "tshark"),
];

/// What the bench needs beside them: a file, with the Debian package that has it. Only the bench asks for it.
const OF_THE_BENCH: &[(&str, &str)] =
    &[("/usr/sbin/tayga", "tayga"), ("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf", "fonts-dejavu-core")];

/// What compiling a module of the kernel needs, likewise.
const OF_MODULES: &[(&str, &str)] = &[("/usr/bin/gcc", "gcc"), ("/usr/bin/make", "make")];

/// What packaging needs beside them, likewise: `man` is lintian's.
const OF_PACKAGING: &[(&str, &str)] = &[
    ("/usr/bin/lintian", "lintian"),
    ("/usr/bin/dpkg-parsechangelog", "dpkg-dev"),
    ("/usr/bin/man", "man-db"),
    ("/usr/bin/mmdebstrap", "mmdebstrap"),
    ("/usr/bin/xz", "xz-utils"),
];

/// The checker of metrics pages. Its package is a server that starts at boot, so this one program is taken out of it.
const PROMTOOL: &str = "/usr/local/bin/promtool";

/// Installs the Debian packages of the programs that are not here.
pub(crate) fn install_missing() -> Result<()> {
    let missing: Vec<_> = PROGRAMS.iter().filter(|(program, _)| find_program(program).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let programs: Vec<&str> = missing.iter().map(|(program, _)| *program).collect();
    let packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    require_apt_and_root(&programs, &packages)?;
    install(&packages)
}

/// Places promtool where nobody has: only the tests call it.
pub(super) fn install_promtool_if_missing() -> Result<()> {
    if find_program("promtool").is_some() {
        return Ok(());
    }
    require_apt_and_root(&["promtool"], &["prometheus"])?;
    install_promtool().context("installing promtool; by hand: place it in a directory of PATH")
}

/// Installs what only the bench needs: the translator that xlat is compared with, and the font of the plots.
pub(crate) fn install_missing_for_bench() -> Result<()> {
    install_missing_files(OF_THE_BENCH)
}

/// Installs what compiling a module of the kernel needs.
pub(crate) fn install_missing_for_modules() -> Result<()> {
    install_missing_files(OF_MODULES)
}

/// Installs what only packaging needs.
pub(crate) fn install_missing_for_packaging() -> Result<()> {
    install_missing_files(OF_PACKAGING)
}

fn install_missing_files(wanted: &[(&str, &str)]) -> Result<()> {
    let missing = wanted.iter().filter(|(file, _)| !Path::new(file).exists());
    let (files, packages): (Vec<&str>, Vec<&str>) = missing.copied().unzip();
    if packages.is_empty() {
        return Ok(());
    }
    require_apt_and_root(&files, &packages)?;
    install(&packages)
}

/// Installs Debian packages.
pub(super) fn install_packages(packages: &[&str]) -> Result<()> {
    require_apt_and_root(packages, packages)?;
    install(packages)
}

pub(super) fn require_apt_and_root(programs: &[&str], packages: &[&str]) -> Result<()> {
    let has_apt = find_program("apt-get").is_some();
    if has_apt && shell::is_root() {
        return Ok(());
    }
    let (programs, packages) = (programs.join(" "), packages.join(" "));
    let cure = if has_apt {
        format!("run the same as root, or install Debian's packages {packages} yourself")
    } else {
        format!("this machine has no apt-get: install what Debian packages as {packages} in its own way")
    };
    bail!("what the tests, the demo or the bench call is not on this machine: {programs}; {cure}")
}

fn install(packages: &[&str]) -> Result<()> {
    say(&format!("installing the Debian packages {}", packages.join(" ")));
    show(&mut apt_get(&["update"])).context("updating apt's package lists")?;
    let _no_service_starts = ServicesStayOff::new()?;
    show(apt_get(&["install", "--yes", "--no-install-recommends"]).args(packages)).with_context(|| {
        format!(
            "installing {}; by hand: apt-get install --no-install-recommends {}",
            packages.join(" "),
            packages.join(" ")
        )
    })
}

fn apt_get(arguments: &[&str]) -> Command {
    let mut apt_get = command("apt-get", ["--quiet", "--quiet"]);
    apt_get.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    apt_get
}

fn install_promtool() -> Result<()> {
    say(&format!("placing promtool at {PROMTOOL}, out of Debian's package prometheus; the server is not installed"));
    let apt = PrivateApt::new()?;
    apt.update_own_release()?;
    let version = apt.versions("prometheus")?.into_iter().next().context("no package prometheus in this release")?;
    let program = apt.unpack("prometheus", &version)?.join("usr/bin/promtool");
    let partial = format!("{PROMTOOL}.partial");
    fs::copy(&program, &partial)
        .and_then(|_| fs::rename(&partial, PROMTOOL))
        .with_context(|| format!("copying it to {PROMTOOL}"))
}

/// Ends with what Debian's scripts take for "not allowed".
const POLICY: &str = "#!/bin/sh\n# `cargo xtask setup`: no service starts while it installs packages.\nexit 101\n";

/// A policy that keeps Debian's packages from starting their services, unless the machine has a policy of its own.
pub(super) struct ServicesStayOff {
    policy: Option<PathBuf>,
    /// Whether signals are caught for this alone.
    catches: bool,
}

impl ServicesStayOff {
    pub(super) fn new() -> Result<Self> {
        let policy = Path::new("/usr/sbin/policy-rc.d");
        // An installation that was killed may have left it here.
        if policy.exists() && fs::read_to_string(policy).ok().as_deref() != Some(POLICY) {
            return Ok(Self { policy: None, catches: false });
        }
        // Ctrl-C ends the package client, too, whose failure is told.
        let guard = Self { policy: Some(policy.to_owned()), catches: interrupt::catch() };
        fs::write(policy, POLICY).with_context(|| format!("writing {}", policy.display()))?;
        show(&mut command("chmod", ["755", &policy.to_string_lossy()]))?;
        Ok(guard)
    }
}

impl Drop for ServicesStayOff {
    fn drop(&mut self) {
        if let Some(policy) = &self.policy {
            // The worst of a failure is that later packages do not start their services; nothing else can be done.
            let _ = fs::remove_file(policy);
        }
        if self.catches {
            interrupt::release();
        }
    }
}
