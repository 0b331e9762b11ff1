//! `cargo xtask package`: everything that a relay is installed from, in `target/package`.
//!
//! The same sources give the same bytes; `cargo xtask release` checks that.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail};

use crate::{
    setup,
    shell::{cargo, show, target_dir, workspace},
};

mod archive;
mod bill;
mod stage;
mod trial;

const HELP: &str = "\
cargo xtask package: makes the Debian package, the tarball, the bill of materials and the list of licences, in
target/package, and has lintian look at the package.

  XLAT_CTL=FILE in the environment packages that binary, without compiling one.

  --test           also has the package installed, started, upgraded, downgraded, removed and purged in a virtual machine with
                   Debian and a real systemd, while packets flow (needs root; some ten minutes)
";

/// The profile that is packaged.
const PROFILE: &str = "dist";

/// What is the same for all that is made.
struct Packaging {
    /// Where cargo builds: flags of its own make builds of its own.
    build: PathBuf,
    /// Where the results lie.
    out: PathBuf,
    /// `0.1.0`
    version: String,
    /// Seconds since 1970 that stand for every time in what is made: those of the changelog's newest entry.
    epoch: String,
}

/// Reads the arguments and does what they say.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    match arguments {
        [] => make().map(|_| ()),
        ["--test"] => {
            let (packaging, deb) = make()?;
            packaging.try_out(&deb)
        }
        ["-h" | "--help"] => {
            print!("{HELP}");
            Ok(())
        }
        _ => bail!("`package {}` is not understood:\n\n{HELP}", arguments.join(" ")),
    }
}

/// Makes all of it; gives the Debian package.
fn make() -> Result<(Packaging, PathBuf)> {
    setup::for_packaging()?;
    let packaging = Packaging::new()?;
    let binary = packaging.compile()?;
    let root = packaging.stage(&binary)?;
    if packaging.out.exists() {
        fs::remove_dir_all(&packaging.out).with_context(|| format!("emptying {}", packaging.out.display()))?;
    }
    fs::create_dir_all(&packaging.out).with_context(|| format!("making {}", packaging.out.display()))?;
    let deb = packaging.deb(&packaging.out, &[])?;
    packaging.tarball(&root)?;
    packaging.copy_lists(&root)?;
    packaging.sums()?;
    archive::lintian(&deb)?;
    for entry in fs::read_dir(&packaging.out)? {
        let entry = entry?;
        println!("{:>9}  {}", entry.metadata()?.len(), entry.path().display());
    }
    Ok((packaging, deb))
}

impl Packaging {
    fn new() -> Result<Self> {
        let changelog = workspace().join("contrib/debian/changelog");
        let text = fs::read_to_string(&changelog).with_context(|| format!("reading {}", changelog.display()))?;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        if !text.starts_with(&format!("xlat ({version})")) {
            bail!("{} does not begin with an entry of version {version}: write one", changelog.display());
        }
        let mut dpkg = crate::shell::command("dpkg-parsechangelog", ["--show-field", "Timestamp", "--file"]);
        let epoch = match env::var("SOURCE_DATE_EPOCH") {
            Ok(epoch) => epoch,
            Err(_) => crate::shell::capture(dpkg.arg(&changelog))?.trim().to_owned(),
        };
        let base = target_dir().join("package");
        Ok(Self { build: base.join("build"), out: base.join("out"), version, epoch })
    }

    /// Compiles the binary; gives its path.
    fn compile(&self) -> Result<PathBuf> {
        if let Some(binary) = env::var_os("XLAT_CTL") {
            return Ok(binary.into());
        }
        let remap = xlat_ebpf_build::remap_flags(&workspace()).map_err(|error| anyhow!(error))?;
        // As a shell reads them: a path may have a space in it.
        let quoted = |flag: String| format!("'{}'", flag.replace('\'', r"'\''"));
        let for_c: Vec<String> =
            remap.iter().map(|flag| quoted(flag.replace("--remap-path-prefix=", "-ffile-prefix-map="))).collect();
        let mut build = cargo(["build", "--locked", "--profile", PROFILE, "--package", "xlat-ctl", "--target-dir"]);
        build.arg(&self.build);
        build.env("CARGO_ENCODED_RUSTFLAGS", remap.join("\x1f")).env("CFLAGS", for_c.join(" "));
        build.env("CC_SHELL_ESCAPED_FLAGS", "1");
        show(build.env("SOURCE_DATE_EPOCH", &self.epoch))?;
        Ok(self.profile_dir().join("xlat-ctl"))
    }

    fn profile_dir(&self) -> PathBuf {
        self.build.join(PROFILE)
    }
}

/// Copies a file, and makes its directory.
fn place(from: &Path, to: &Path) -> Result<()> {
    let text = || format!("copying {} to {}", from.display(), to.display());
    fs::create_dir_all(to.parent().with_context(text)?).with_context(text)?;
    fs::copy(from, to).with_context(text).map(|_| ())
}
