//! Jool's stateless translator on a machine, to be compared with: Debian's module and command, which `cargo xtask compare`
//! fetches and compiles for the kernel of a virtual machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use ipnet::{Ipv4Net, Ipv6Net};

use super::Namespace;

/// Where its files lie: modules, command, the command's libraries.
const FILES: &str = "XLAT_JOOL";
/// Modules of the kernel's own that Jool's need.
const NEEDED: [&str; 5] = ["x_tables", "ip_tables", "ip6_tables", "nf_defrag_ipv4", "nf_defrag_ipv6"];

/// An instance of Jool, which goes with its machine's namespace.
#[derive(Debug)]
pub struct Jool(());

impl Jool {
    /// Starts it with a translation prefix, a table, and a prefix for the errors of routers without a mapping (RFC 6791). All
    /// other settings are Jool's defaults.
    ///
    /// # Errors
    /// `XLAT_JOOL` is not set, the kernel is not the one that the modules are for, or what Jool's command says.
    pub fn start(
        machine: &Namespace,
        pool6: Ipv6Net,
        eams: &[(Ipv4Net, Ipv6Net)],
        pool4: Option<Ipv4Net>,
    ) -> Result<Self> {
        let files = std::env::var_os(FILES).map(PathBuf::from).with_context(|| {
            format!(
                "{FILES} does not name Jool's files: `cargo xtask compare` runs this in a virtual machine that has them"
            )
        })?;
        load(&files)?;
        let say = |arguments: &str| {
            let libraries = format!("LD_LIBRARY_PATH={}", files.display());
            let said = machine.run(&format!("env {libraries} {}/jool_siit {arguments}", files.display()));
            if !said.success {
                bail!("`jool_siit {arguments}` failed: {}{}", said.stdout.trim(), said.stderr.trim());
            }
            Ok(())
        };
        say(&format!("instance add --netfilter --pool6 {pool6}"))?;
        for (ipv4, ipv6) in eams {
            // Without the word it refuses prefixes that overlap.
            say(&format!("eamt add --force {ipv4} {ipv6}"))?;
        }
        if let Some(pool4) = pool4 {
            say(&format!("global update rfc6791v4-prefix {pool4}"))?;
        }
        Ok(Self(()))
    }
}

fn load(files: &Path) -> Result<()> {
    if Path::new("/sys/module/jool_siit").exists() {
        return Ok(());
    }
    run(Command::new("modprobe").arg("--all").args(NEEDED))?;
    for module in ["jool_common.ko", "jool_siit.ko"] {
        run(Command::new("insmod").arg(files.join(module)))?;
    }
    Ok(())
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("starting {}", command.get_program().display()))?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
