//! The tree that is packaged: what `/` gets.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::{Packaging, bill::LICENCES, place};
use crate::shell::{capture, cargo, command, show, workspace};

/// Files of the workspace and their places. A directory is taken with all that is in it.
const FILES: [(&str, &str); 7] = [
    ("xlat-ctl/xlat.toml", "etc/xlat/xlat.toml"),
    ("contrib/systemd/xlat.sysusers.conf", "usr/lib/sysusers.d/xlat.conf"),
    ("contrib/systemd/xlat.tmpfiles.conf", "usr/lib/tmpfiles.d/xlat.conf"),
    ("contrib/debian/copyright", "usr/share/doc/xlat/copyright"),
    ("contrib/debian/changelog", "usr/share/doc/xlat/changelog"),
    ("README.md", "usr/share/doc/xlat/README.md"),
    ("docs", "usr/share/doc/xlat/docs"),
];

/// Where the unit looks for the binary, in the sources and in the package.
const BINARY: (&str, &str) = ("/usr/local/bin/xlat-ctl", "/usr/bin/xlat-ctl");

impl Packaging {
    /// Puts the tree together; gives its directory.
    pub(super) fn stage(&self, binary: &Path) -> Result<PathBuf> {
        let root = self.profile_dir().join("root");
        if root.exists() {
            fs::remove_dir_all(&root).with_context(|| format!("emptying {}", root.display()))?;
        }
        place(binary, &root.join("usr/bin/xlat-ctl"))?;
        for (from, to) in FILES {
            for (from, to) in files(&workspace().join(from), &root.join(to))? {
                place(&from, &to)?;
            }
        }
        let unit = fs::read_to_string(workspace().join("contrib/systemd/xlat.service")).context("reading the unit")?;
        let place = root.join("usr/lib/systemd/system/xlat.service");
        fs::create_dir_all(place.parent().context("the directory of the unit")?)?;
        fs::write(&place, unit.replace(BINARY.0, BINARY.1)).context("writing the unit")?;
        let mut pages = cargo(["run", "--quiet", "--locked", "--package", "xlat-pages", "--"]);
        show(pages.arg(root.join("usr/share")))?;
        self.bills(&root.join("usr/share/doc/xlat"))?;
        compress(&root.join("usr/share"))?;
        for (_, path) in files(&root, &root)? {
            let mode = if path.ends_with("usr/bin/xlat-ctl") { 0o755 } else { 0o644 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        }
        Ok(root)
    }
}

/// Compresses what Debian's policy wants compressed, without names and times.
fn compress(share: &Path) -> Result<()> {
    let plain = [share.join("man"), share.join("doc/xlat/changelog"), share.join("doc/xlat").join(LICENCES)];
    for directory in plain {
        for (_, path) in files(&directory, &directory)? {
            show(&mut command("gzip", ["-9", "--no-name", &path.to_string_lossy()]))?;
        }
    }
    Ok(())
}

/// A file, or all files below a directory, with their places.
fn files(from: &Path, to: &Path) -> Result<Vec<(PathBuf, PathBuf)>> {
    let found = capture(&mut command("find", [&from.to_string_lossy(), "-type", "f"]))?;
    let place = |path: &str| {
        let rest = Path::new(path).strip_prefix(from).expect("it was found below it");
        let to = if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) };
        (PathBuf::from(path), to)
    };
    Ok(found.lines().map(place).collect())
}
