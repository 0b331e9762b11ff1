//! The files that are handed out: a Debian package, a tarball, and the sums of all.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use super::{PROFILE, Packaging};
use crate::{
    setup::cargo_tool,
    shell::{capture, command, show},
};

impl Packaging {
    /// Makes a Debian package of what is staged; gives its path.
    pub(super) fn deb(&self, directory: &Path, arguments: &[&str]) -> Result<PathBuf> {
        let mut tool = command(&cargo_tool("cargo-deb").to_string_lossy(), ["--package", "xlat-ctl", "--no-build"]);
        tool.args(["--no-strip", "--locked", "--quiet", "--profile", PROFILE, "--output"])
            .arg(directory)
            .args(arguments);
        tool.env("CARGO_TARGET_DIR", &self.build).env("SOURCE_DATE_EPOCH", &self.epoch);
        let said = capture(&mut tool).context("packing the Debian package")?;
        Ok(PathBuf::from(said.lines().last().context("cargo-deb names no package")?.trim()))
    }

    /// Makes a tarball of what is staged, for other systems: unpacked in `/`, or file by file.
    pub(super) fn tarball(&self, root: &Path) -> Result<()> {
        let name = format!("xlat-{}-{}-linux", self.version, std::env::consts::ARCH);
        let archive = self.out.join(format!("{name}.tar"));
        let mut tar = command("tar", ["--create", "--sort=name", "--format=gnu", "--owner=0", "--group=0"]);
        tar.args(["--numeric-owner", "--mode=u=rwX,go=rX", &format!("--mtime=@{}", self.epoch)]);
        tar.args([&format!("--transform=s,^\\.,{name},"), "--directory"])
            .arg(root)
            .arg("--file")
            .arg(&archive)
            .arg(".");
        show(&mut tar)?;
        // More threads would cut the stream by the number of CPUs.
        show(&mut command("xz", ["--force", "-9", "--threads=1", &archive.to_string_lossy()]))
    }

    /// Writes `SHA256SUMS` of all results.
    pub(super) fn sums(&self) -> Result<()> {
        let entries = fs::read_dir(&self.out)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        let mut names: Vec<String> = entries.collect::<Result<_>>()?;
        names.sort();
        let sums = capture(command("sha256sum", names).current_dir(&self.out))?;
        fs::write(self.out.join("SHA256SUMS"), sums).context("writing SHA256SUMS")
    }
}

/// Has lintian look at a package: neither errors nor warnings.
pub(super) fn lintian(deb: &Path) -> Result<()> {
    let mut lintian = command("lintian", ["--allow-root", "--tag-display-limit", "0", "--fail-on", "error,warning"]);
    let output = lintian.arg(deb).output().context("starting lintian")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if !output.status.success() || said.lines().any(|line| line.starts_with("E:") || line.starts_with("W:")) {
        bail!("lintian finds fault with {}:\n{}", deb.display(), said.trim());
    }
    Ok(())
}
