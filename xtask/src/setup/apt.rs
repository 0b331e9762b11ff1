//! Debian's package client, kept from touching the system's own lists where a package is only unpacked.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::shell::{capture, command};

/// The keyring that signs Debian's own suites.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A private corner of apt: its own sources, lists and cache in one directory, which goes when this is dropped.
pub(crate) struct PrivateApt {
    directory: TempDir,
}

impl PrivateApt {
    /// Makes the directory, and a configuration that keeps apt inside it.
    pub(crate) fn new() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("xlat-apt-").tempdir().context("making a directory for apt")?;
        let this = Self { directory };
        for part in ["state/lists/partial", "cache/archives/partial", "unpacked"] {
            let path = this.directory.path().join(part);
            fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
        }
        // The hooks would clean the system's cache; contents, translations and differences are not needed.
        let configuration = format!(
            "#clear APT::Update;\n#clear DPkg::Post-Invoke;\n#clear Acquire::IndexTargets::deb::DEP-11;\n\
             APT::Sandbox::User \"root\";\nAcquire::Languages \"none\";\nAcquire::PDiffs \"false\";\n\
             Dir::State \"{root}/state\";\nDir::Cache \"{root}/cache\";\n\
             Dir::Etc::SourceList \"{root}/sources.list\";\nDir::Etc::SourceParts \"-\";\n",
            root = this.directory.path().display()
        );
        this.write("apt.conf", &configuration)?;
        Ok(this)
    }

    /// Fetches the package lists of one suite of Debian from the archives that this machine uses.
    pub(crate) fn update(&self, suite: &str) -> Result<()> {
        self.update_all(&[suite])
    }

    fn update_all(&self, suites: &[&str]) -> Result<()> {
        self.list_sources(suites)?;
        self.run("apt-get", &["--quiet", "--quiet", "update"]).map(|_| ())
    }

    fn list_sources(&self, suites: &[&str]) -> Result<()> {
        let signed_by = if Path::new(KEYRING).exists() { format!("[signed-by={KEYRING}] ") } else { String::new() };
        let archives = archives()?;
        let line = |(archive, suite): (&String, &&str)| format!("deb {signed_by}{archive} {suite} main\n");
        let pairs = archives.iter().flat_map(|archive| suites.iter().map(move |suite| (archive, suite)));
        let lines: Vec<String> = pairs.map(line).collect();
        self.write("sources.list", &lines.concat())
    }

    /// Makes a root directory with the essential packages of this machine's release, and others. Needs root.
    pub(crate) fn bootstrap(&self, root: &Path, packages: &[&str]) -> Result<()> {
        let codename = codename()?;
        self.list_sources(&[&codename])?;
        let mut bootstrap =
            command("mmdebstrap", ["--quiet", "--variant=minbase", "--aptopt=APT::Sandbox::User \"root\""]);
        bootstrap.arg(format!("--include={}", packages.join(",")));
        // What this machine's apt is told about the way to its archives holds here, too.
        let own = capture(&mut command("apt-config", ["dump"]))?;
        let is_of_the_way = |line: &&str| line.starts_with("Acquire::") && !line.starts_with("Acquire::IndexTargets");
        let own: Vec<String> = own.lines().filter(is_of_the_way).map(|line| format!("{line}\n")).collect();
        self.write("acquire.conf", &own.concat())?;
        bootstrap.arg(format!("--aptopt={}", self.directory.path().join("acquire.conf").display()));
        capture(bootstrap.arg(codename).arg(root).arg(self.directory.path().join("sources.list"))).map(|_| ())
    }

    /// Fetches the package lists of the release that this machine runs.
    pub(crate) fn update_own_release(&self) -> Result<()> {
        self.update(&codename()?)
    }

    /// Fetches the package lists of that release and of its backports, and gives the name of the latter.
    pub(crate) fn update_with_backports(&self) -> Result<String> {
        let codename = codename()?;
        let backports = format!("{codename}-backports");
        self.update_all(&[&codename, &backports])?;
        Ok(backports)
    }

    /// The versions of a package in the lists that [`Self::update`] fetched.
    pub(crate) fn versions(&self, package: &str) -> Result<Vec<String>> {
        let table = self.run("apt-cache", &["madison", package])?;
        Ok(table.lines().filter_map(|line| line.split('|').nth(1)).map(|version| version.trim().to_owned()).collect())
    }

    /// The names of the packages in those lists that begin so.
    pub(crate) fn names(&self, prefix: &str) -> Result<Vec<String>> {
        Ok(self.run("apt-cache", &["pkgnames", prefix])?.lines().map(str::to_owned).collect())
    }

    /// Downloads one version of a package and unpacks it, without installing anything; gives the directory.
    pub(crate) fn unpack(&self, package: &str, version: &str) -> Result<PathBuf> {
        self.run("apt-get", &["--quiet", "--quiet", "download", &format!("{package}={version}")])?;
        let unpacked = self.directory.path().join("unpacked");
        for entry in fs::read_dir(self.directory.path())? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "deb") {
                capture(&mut command("dpkg-deb", ["-x", &path.to_string_lossy(), &unpacked.to_string_lossy()]))?;
            }
        }
        Ok(unpacked)
    }

    /// Installs packages into the system, of `suite` where that is given and has them. Needs root.
    pub(crate) fn install(&self, packages: &[&str], suite: Option<&str>) -> Result<()> {
        let options = ["--quiet", "--quiet", "--yes", "--no-install-recommends"];
        let target: Vec<&str> = suite.map(|suite| ["--target-release", suite]).into_iter().flatten().collect();
        self.run("apt-get", &[&["install"], &options[..], &target, packages].concat()).map(|_| ())
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.directory.path().join(name);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    }

    /// A plain user may do all of this: nothing outside the private directory is written.
    fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let configuration = self.directory.path().join("apt.conf");
        let mut command = command(program, ["--config-file", &configuration.to_string_lossy()]);
        command.args(arguments).current_dir(self.directory.path());
        capture(command.env("LC_ALL", "C").env("DEBIAN_FRONTEND", "noninteractive"))
    }
}

/// Where this machine gets its own release's `main` from, in whatever form its source lists are written.
fn archives() -> Result<Vec<String>> {
    // The code name, since lists may name a suite (`stable`).
    let format = "$(CODENAME) $(COMPONENT) $(REPO_URI)";
    let targets = capture(&mut command("apt-get", ["indextargets", "--format", format, "Created-By: Packages"]))
        .context("asking apt for this machine's package sources")?;
    let codename = codename()?;
    let mut archives = Vec::new();
    for line in targets.lines() {
        if let [release, "main", uri] = line.split(' ').collect::<Vec<_>>()[..]
            && release == codename
            && !archives.iter().any(|known| known == uri)
        {
            archives.push(uri.to_owned());
        }
    }
    if archives.is_empty() {
        anyhow::bail!("apt on this machine has no source for `main` of {codename}");
    }
    Ok(archives)
}

fn codename() -> Result<String> {
    let release = fs::read_to_string("/etc/os-release").context("reading /etc/os-release")?;
    let codename = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    Ok(codename.context("/etc/os-release names no VERSION_CODENAME")?.trim_matches('"').to_owned())
}
