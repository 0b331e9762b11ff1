//! Debian's kernels: found in its suites, unpacked under `target/vm`, never installed.

use std::{
    cmp::Ordering,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use super::qemu::directory;
use crate::{
    setup::{PrivateApt, say},
    shell::{capture, command, remove_leftovers},
};

/// The suites that are looked through. The oldest has Linux 5.10, the last the newest one.
const SUITES: [&str; 4] = ["bullseye", "bookworm", "bookworm-backports", "trixie-backports"];

/// Where a kernel's older packages put the kernel itself.
const BOOT: &str = "boot";

/// A kernel under `target/vm/kernels`.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// `6.1.0-50-amd64`, as `uname -r` says it.
    pub(crate) release: String,
    /// Where its packages are unpacked.
    root: PathBuf,
}

impl Kernel {
    /// Gets the kernel of a version `X.Y`, or the `newest`: the newest that there was when it was first asked for, so that
    /// results change only when `target/vm` is removed.
    pub(crate) fn get(version: &str) -> Result<Self> {
        let known = cached()?;
        let noted = fs::read_to_string(note_of_newest()).unwrap_or_default();
        let wanted =
            |release: &&String| if version == "newest" { **release == noted } else { series(release) == version };
        if let Some(release) = known.iter().rfind(wanted) {
            return Ok(Self::at(release));
        }
        let (suite, release) = find(version)?;
        let kernel = Self::at(&release);
        if !known.contains(&release) {
            kernel.fetch(suite)?;
        }
        if version == "newest" {
            fs::write(note_of_newest(), &release).context("noting which kernel is the newest")?;
        }
        Ok(kernel)
    }

    fn at(release: &str) -> Self {
        Self { release: release.to_owned(), root: kernels().join(release) }
    }

    /// The compressed kernel: beside its modules in the newer packages.
    pub(crate) fn image(&self) -> PathBuf {
        let beside = self.modules().join("vmlinuz");
        if beside.exists() { beside } else { self.root.join(BOOT).join(format!("vmlinuz-{}", self.release)) }
    }

    /// Its modules.
    pub(crate) fn modules(&self) -> PathBuf {
        self.root.join("lib/modules").join(&self.release)
    }

    /// The files of a module and of all that it needs, in the order of loading. Empty: it is part of the kernel.
    pub(crate) fn module_files(&self, module: &str) -> Result<Vec<PathBuf>> {
        let root = self.root.to_string_lossy();
        let arguments = ["--dirname", &root, "--set-version", &self.release, "--show-depends", module];
        let said = capture(&mut command("modprobe", arguments))?;
        let file = |line: &str| line.strip_prefix("insmod ").map(|path| PathBuf::from(path.trim()));
        Ok(said.lines().filter_map(file).collect())
    }

    /// Unpacks it beside its place and moves it there when it is whole.
    fn fetch(&self, suite: &str) -> Result<()> {
        let Self { release, root } = self;
        say(&format!("unpacking Linux {release} of Debian's {suite} to {}; nothing is installed", root.display()));
        let apt = PrivateApt::new()?;
        apt.update(suite)?;
        let mut unpacked = None;
        // The newer packages of a kernel are divided, and the one named after the image is empty.
        for part in ["linux-image", "linux-base", "linux-binary", "linux-modules"] {
            let package = format!("{part}-{release}");
            if let Some(version) = apt.versions(&package)?.first() {
                unpacked = Some(apt.unpack(&package, version)?);
            }
        }
        let unpacked = unpacked.with_context(|| format!("{suite} has no package linux-image-{release}"))?;
        remove_leftovers(&kernels(), "partial-");
        let partial = kernels().join(format!("partial-{}", std::process::id()));
        let lib = if unpacked.join("lib/modules").exists() { "lib/modules" } else { "usr/lib/modules" };
        fs::create_dir_all(partial.join("lib"))?;
        if unpacked.join(BOOT).exists() {
            move_tree(&unpacked.join(BOOT), &partial.join(BOOT))?;
        }
        move_tree(&unpacked.join(lib), &partial.join("lib/modules"))?;
        capture(&mut command("depmod", ["--basedir", &partial.to_string_lossy(), release]))?;
        fs::rename(&partial, root).with_context(|| format!("placing the kernel at {}", root.display()))
    }
}

fn move_tree(from: &Path, to: &Path) -> Result<()> {
    capture(&mut command("cp", ["--recursive", &from.to_string_lossy(), &to.to_string_lossy()])).map(|_| ())
}

fn kernels() -> PathBuf {
    directory().join("kernels")
}

/// The kernels that are unpacked already, the oldest first.
fn cached() -> Result<Vec<String>> {
    let Ok(entries) = fs::read_dir(kernels()) else { return Ok(Vec::new()) };
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut releases: Vec<String> = names.collect::<Result<_>>()?;
    releases.retain(|name| !name.starts_with("partial"));
    releases.sort_by(|one, other| compare(one, other));
    Ok(releases)
}

fn note_of_newest() -> PathBuf {
    directory().join("newest")
}

/// What Debian has: each series with its suite and its newest release, the oldest first.
fn available() -> Result<Vec<(&'static str, String)>> {
    let apt = PrivateApt::new()?;
    let mut found: Vec<(&'static str, String)> = Vec::new();
    for suite in SUITES {
        if let Err(error) = apt.update(suite) {
            say(&format!("Debian's {suite} cannot be looked through: {error:#}"));
            continue;
        }
        for release in apt.names("linux-image-")?.iter().filter_map(|name| plain_release(name)) {
            match found.iter_mut().find(|(_, known)| series(known) == series(release)) {
                Some(known) if compare(&known.1, release) == Ordering::Less => *known = (suite, release.to_owned()),
                Some(_) => {}
                None => found.push((suite, release.to_owned())),
            }
        }
    }
    found.sort_by(|(_, one), (_, other)| compare(one, other));
    Ok(found)
}

fn find(version: &str) -> Result<(&'static str, String)> {
    say(&format!("looking for Linux {version} in Debian's {}", SUITES.join(", ")));
    let mut available = available()?;
    let wanted = |(_, release): &(&str, String)| version == "newest" || series(release) == version;
    match available.iter().rposition(wanted) {
        Some(place) => Ok(available.swap_remove(place)),
        None => {
            let known: Vec<&str> = available.iter().map(|(_, release)| series(release)).collect();
            bail!("--kernel {version}: no Debian suite in reach has it; there are {}", known.join(", "))
        }
    }
}

/// Prints what can be had.
pub(crate) fn list() -> Result<()> {
    let cached = cached()?;
    for (suite, release) in available()? {
        let here = if cached.contains(&release) { ", unpacked here" } else { "" };
        println!("{:<6} {release} ({suite}{here})", series(&release));
    }
    Ok(())
}

/// The release of a package that has the ordinary kernel in it: not the cloud one, not the real-time one, no template.
fn plain_release(package: &str) -> Option<&str> {
    let release = package.strip_prefix("linux-image-")?;
    let version = release.strip_suffix("-amd64")?;
    let is_plain = version.starts_with(|first: char| first.is_ascii_digit())
        && numbers(version).len() > 2
        && !["-rt", "-cloud"].iter().any(|kind| version.ends_with(kind));
    is_plain.then_some(release)
}

/// `6.1` of `6.1.0-50-amd64`.
fn series(release: &str) -> &str {
    release.match_indices('.').nth(1).map_or(release, |(end, _)| &release[..end])
}

/// The numbers in a release, in their order, up to the architecture.
pub(super) fn numbers(release: &str) -> Vec<u32> {
    let version = release.strip_suffix("-amd64").unwrap_or(release);
    version.split(|other: char| !other.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

fn compare(one: &str, other: &str) -> Ordering {
    numbers(one).cmp(&numbers(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_ordinary_kernels_by_their_packages() {
        assert_eq!(plain_release("linux-image-6.1.0-50-amd64"), Some("6.1.0-50-amd64"));
        assert_eq!(plain_release("linux-image-7.2.12+deb13-amd64"), Some("7.2.12+deb13-amd64"));
        for other in [
            "linux-image-amd64",
            "linux-image-6.12-amd64",
            "linux-image-6.1.0-50-cloud-amd64",
            "linux-image-6.1.0-50-rt-amd64",
            "linux-image-6.1.0-50-amd64-unsigned",
            "linux-image-amd64-signed-template",
        ] {
            assert_eq!(plain_release(other), None, "{other}");
        }
    }

    #[test]
    fn orders_releases_by_their_numbers() {
        assert_eq!(compare("6.9.1-amd64", "6.12.3-amd64"), Ordering::Less);
        assert_eq!(compare("6.1.0-9-amd64", "6.1.0-50-amd64"), Ordering::Less);
        assert_eq!(series("7.3.4+deb13-amd64"), "7.3");
    }
}
