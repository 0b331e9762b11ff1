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
const FILES: [(&str, &str); 19] = [
    ("xlat-ctl/xlat.toml", "etc/xlat/xlat.toml"),
    ("contrib/systemd/xlat.sysusers.conf", "usr/lib/sysusers.d/xlat.conf"),
    ("contrib/systemd/xlat.tmpfiles.conf", "usr/lib/tmpfiles.d/xlat.conf"),
    ("contrib/debian/copyright", "usr/share/doc/xlat/copyright"),
    ("contrib/debian/changelog", "usr/share/doc/xlat/changelog"),
    ("README.md", "usr/share/doc/xlat/README.md"),
    ("docs", "usr/share/doc/xlat/docs"),
    ("contrib/README.md", "usr/share/doc/xlat/contrib/README.md"),
    ("contrib/grafana", "usr/share/doc/xlat/contrib/grafana"),
    ("contrib/prometheus", "usr/share/doc/xlat/contrib/prometheus"),
    ("contrib/rsyslog", "usr/share/doc/xlat/contrib/rsyslog"),
    // What the documents link to.
    ("LICENSE-APACHE", "usr/share/doc/xlat/LICENSE-APACHE"),
    ("LICENSE-MIT", "usr/share/doc/xlat/LICENSE-MIT"),
    ("contrib/licences/about.toml", "usr/share/doc/xlat/contrib/licences/about.toml"),
    ("contrib/systemd/xlat.service", "usr/share/doc/xlat/contrib/systemd/xlat.service"),
    ("tests/openapi/schemathesis.toml", "usr/share/doc/xlat/tests/openapi/schemathesis.toml"),
    ("xlat-ctl/xlat.toml", "usr/share/doc/xlat/xlat-ctl/xlat.toml"),
    ("xtask/src/package/trial.sh", "usr/share/doc/xlat/xtask/src/package/trial.sh"),
    ("contrib/systemd/xlat.service", UNIT),
];

/// The place of the unit.
const UNIT: &str = "usr/lib/systemd/system/xlat.service";

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
        for (from, to) in sources(&root)? {
            place(&from, &to)?;
        }
        let unit = root.join(UNIT);
        let text = fs::read_to_string(&unit).context("reading the unit")?;
        fs::write(&unit, text.replace(BINARY.0, BINARY.1)).context("writing the unit")?;
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

/// Each file of the workspace that is packaged, with its place below `root`.
fn sources(root: &Path) -> Result<Vec<(PathBuf, PathBuf)>> {
    let each = FILES.iter().map(|(from, to)| files(&workspace().join(from), &root.join(to)));
    Ok(each.collect::<Result<Vec<_>>>()?.concat())
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the relative links of a Markdown text lead, without their anchors.
    fn links(text: &str) -> impl Iterator<Item = &str> {
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next()?.split('#').next());
        targets.filter(|target| !target.is_empty() && !target.contains("://"))
    }

    /// A path without `..`.
    fn plain(path: &Path) -> PathBuf {
        path.components().fold(PathBuf::new(), |mut plain, part| {
            if part.as_os_str() == ".." {
                plain.pop();
            } else {
                plain.push(part);
            }
            plain
        })
    }

    #[test]
    fn every_link_of_a_packaged_document_leads_to_something_that_is_packaged() {
        let packaged = sources(Path::new("/")).expect("the files");
        let mut seen = 0;
        for (from, to) in packaged.iter().filter(|(_, to)| to.extension().is_some_and(|extension| extension == "md")) {
            let text = fs::read_to_string(from).expect("a document");
            for link in links(&text) {
                let target = plain(&to.with_file_name(link));
                let leads = packaged.iter().any(|(_, place)| place.starts_with(&target));
                assert!(leads, "{}: there is no {} in the package", to.display(), target.display());
                seen += 1;
            }
        }
        assert!(seen > 100, "only {seen} links are found");
    }
}
