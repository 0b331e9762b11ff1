//! Jool for the kernel of a virtual machine: Debian's packages, unpacked and compiled, never installed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::{kernels::Kernel, qemu::directory};
use crate::{
    setup::{self, PrivateApt, say},
    shell::{capture, command},
};

/// What is compared with, and the libraries of its command.
const PACKAGES: [&str; 4] = ["jool-dkms", "jool-tools", "libnl-3-200", "libnl-genl-3-200"];
/// The release that has both Jool and the kernel.
const SUITE: &str = "bookworm";

/// Gives the directory with modules, command and libraries.
///
/// # Errors
/// Debian does not have it, or it does not compile.
pub(crate) fn get(kernel: &Kernel) -> Result<PathBuf> {
    let place = directory().join("jool").join(&kernel.release);
    if place.exists() {
        return Ok(place);
    }
    setup::for_modules()?;
    say(&format!("compiling Jool for Linux {} at {}; nothing is installed", kernel.release, place.display()));
    let apt = PrivateApt::new()?;
    apt.update(SUITE)?;
    let release = &kernel.release;
    let common = release.replace("-amd64", "-common");
    let series = release.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
    let of_the_kernel =
        [format!("linux-headers-{release}"), format!("linux-headers-{common}"), format!("linux-kbuild-{series}")];
    let mut unpacked = PathBuf::new();
    for package in PACKAGES.into_iter().chain(of_the_kernel.iter().map(String::as_str)) {
        let versions = apt.versions(package)?;
        let version = versions.first().with_context(|| format!("Debian's {SUITE} has no package {package}"))?;
        unpacked = apt.unpack(package, version)?;
    }
    let partial = place.with_extension("partial");
    fs::create_dir_all(&partial).with_context(|| format!("making {}", partial.display()))?;
    compile(&unpacked, release, &partial)?;
    fs::rename(&partial, &place).with_context(|| format!("placing Jool at {}", place.display()))?;
    Ok(place)
}

fn compile(unpacked: &Path, release: &str, to: &Path) -> Result<()> {
    let headers = unpacked.join("usr/src").join(format!("linux-headers-{release}"));
    // It names the other package's place in an installed system.
    let makefile = headers.join("Makefile");
    let text = fs::read_to_string(&makefile).with_context(|| format!("reading {}", makefile.display()))?;
    let sources = unpacked.join("usr/src");
    fs::write(&makefile, text.replace("/usr/src", &sources.to_string_lossy()))?;
    let entries = fs::read_dir(&sources)?.map(|entry| Ok(entry?.path()));
    let entries: Vec<PathBuf> = entries.collect::<Result<_>>()?;
    let is_jool =
        |path: &&PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("jool-dkms"));
    let jool = entries.iter().find(is_jool).context("jool-dkms has no sources in it")?.join("src/mod");
    for (part, module) in [("common", "jool_common.ko"), ("siit", "jool_siit.ko")] {
        let modules = format!("M={}", jool.join(part).display());
        capture(&mut command("make", ["-s", "-C", &headers.to_string_lossy(), &modules, "CC=gcc", "modules"]))
            .context("compiling Jool")?;
        copy(&jool.join(part).join(module), to)?;
    }
    copy(&unpacked.join("usr/bin/jool_siit"), to)?;
    let libraries = [unpacked.join("usr/lib/x86_64-linux-gnu"), unpacked.join("lib/x86_64-linux-gnu")];
    for name in ["libnl-3.so.200", "libnl-genl-3.so.200"] {
        let library = libraries.iter().map(|directory| directory.join(name)).find(|path| path.exists());
        copy(&library.with_context(|| format!("the packages have no {name}"))?, to)?;
    }
    Ok(())
}

fn copy(file: &Path, to: &Path) -> Result<()> {
    let name = file.file_name().context("a file has a name")?;
    fs::copy(file, to.join(name)).with_context(|| format!("copying {}", file.display())).map(|_| ())
}
