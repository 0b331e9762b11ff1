//! The standard library's source, of which `-Z build-std` compiles `core` for the BPF target.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use super::{apt::PrivateApt, say};
use crate::shell::{capture, command, find_program};

/// The suites of Debian that may have a package of a recent rustc, the smallest lists first.
const SUITES: &[&str] = &["trixie-backports", "forky-backports", "testing", "unstable", "stable", "experimental"];

/// A way to get the source of a version to its place.
type Install = fn(&str, &Path) -> Result<()>;

/// Puts the source where rustc looks for it, from the first place that has it in exactly rustc's version.
pub(crate) fn install_if_missing() -> Result<()> {
    let place = place()?;
    if present(&place) {
        return Ok(());
    }
    let version = rustc_version()?;
    say(&format!("the standard library's source of rustc {version} is not in {}", place.display()));
    let sources: [(&str, Install); 2] =
        [("`rustup component add rust-src`", from_rustup), ("Debian's package rust-src", from_debian)];
    for (name, install) in sources {
        say(&format!("getting it by {name}"));
        match install(&version, &place) {
            Ok(()) if present(&place) => return Ok(()),
            Ok(()) => say(&format!("{name} gave no source at that place")),
            Err(error) => say(&format!("{name} did not work: {error:#}")),
        }
    }
    bail!(
        "the standard library's source is missing, and could not be had as told above. Make either way work, or place \
         the directory `library` of Rust {version}'s source at {}, so that {}/core/src/lib.rs exists",
        place.display(),
        place.display()
    )
}

fn place() -> Result<PathBuf> {
    let sysroot = capture(&mut command("rustc", ["--print", "sysroot"]))?;
    Ok(Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library"))
}

fn present(place: &Path) -> bool {
    place.join("core/src/lib.rs").exists() && place.join("Cargo.lock").exists()
}

fn rustc_version() -> Result<String> {
    let text = capture(&mut command("rustc", ["--version", "--verbose"]))?;
    let release = text.lines().find_map(|line| line.strip_prefix("release: "));
    Ok(release.context("`rustc --version --verbose` names no release")?.to_owned())
}

fn from_rustup(_version: &str, _place: &Path) -> Result<()> {
    if find_program("rustup").is_none() {
        bail!("rustup is not on this machine");
    }
    capture(&mut command("rustup", ["component", "add", "rust-src"])).map(|_| ())
}

fn from_debian(version: &str, place: &Path) -> Result<()> {
    if find_program("apt-get").is_none() || find_program("dpkg-deb").is_none() {
        bail!("this machine has no apt-get and dpkg-deb");
    }
    let apt = PrivateApt::new()?;
    for suite in SUITES {
        let Some(package) = package_in(&apt, suite, version) else { continue };
        say(&format!("unpacking rust-src {package} of Debian's {suite}; the system's packages stay as they are"));
        let unpacked = apt.unpack("rust-src", &package)?;
        return move_library(&unpacked.join(format!("usr/src/rustc-{version}/library")), place);
    }
    bail!("no suite of {} has rust-src {version}", SUITES.join(", "))
}

/// The package of exactly this rustc version, if the suite exists and has it.
fn package_in(apt: &PrivateApt, suite: &str, version: &str) -> Option<String> {
    say(&format!("looking for rust-src {version} in Debian's {suite}"));
    let versions = apt.update(suite).and_then(|()| apt.versions("rust-src"));
    let versions = versions.inspect_err(|error| say(&format!("{suite}: {error:#}"))).ok()?;
    versions.into_iter().find(|package| upstream(package) == version)
}

/// The upstream part of a Debian version: `1.95.0+dfsg1-1~bpo13+1` is of `1.95.0`.
fn upstream(package_version: &str) -> &str {
    let without_epoch = package_version.split_once(':').map_or(package_version, |(_epoch, rest)| rest);
    without_epoch.split(['+', '-', '~']).next().unwrap_or(without_epoch)
}

/// Copies beside the place first, so that an interrupted setup leaves nothing that looks finished.
fn move_library(library: &Path, place: &Path) -> Result<()> {
    let parent = place.parent().context("the sysroot has no parent directory")?;
    let partial = parent.join("library.partial");
    fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
    let (from, to) = (library.to_string_lossy(), partial.to_string_lossy());
    capture(&mut command("rm", ["-rf", &to]))?;
    capture(&mut command("cp", ["--recursive", &from, &to]))?;
    fs::rename(&partial, place).with_context(|| format!("placing the source at {}", place.display()))
}

#[cfg(test)]
mod tests {
    use super::upstream;

    #[test]
    fn debian_versions_name_their_upstream_release() {
        assert_eq!(upstream("1.95.0+dfsg1-1~bpo13+1"), "1.95.0");
        assert_eq!(upstream("2:1.63.0-2"), "1.63.0");
        assert_eq!(upstream("1.95.0~beta.2+dfsg1-1"), "1.95.0");
    }
}
