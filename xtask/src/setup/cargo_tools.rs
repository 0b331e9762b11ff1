//! Cargo's subcommands that packaging calls: in the target directory, in one version each, and in nobody's way.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::say;
use crate::shell::{cargo, show, target_dir};

/// Name, version and features of each.
const TOOLS: [(&str, &str, &str); 3] =
    [("cargo-deb", "3.8.0", ""), ("cargo-cyclonedx", "0.5.9", ""), ("cargo-about", "0.9.3", "cli")];

/// Where a tool is.
pub(crate) fn path(tool: &str) -> PathBuf {
    root().join("bin").join(tool)
}

fn root() -> PathBuf {
    target_dir().join("tools")
}

/// Installs those that are not there in that version.
pub(crate) fn install_missing() -> Result<()> {
    for (name, version, features) in TOOLS {
        // `cargo install` notes what it has installed, and from where.
        let noted = std::fs::read_to_string(root().join(".crates.toml")).unwrap_or_default();
        if noted.contains(&format!("\"{name} {version} (")) && path(name).exists() {
            continue;
        }
        say(&format!("installing {name} {version} in {} (some minutes)", root().display()));
        let mut install = cargo(["install", "--quiet", "--locked", "--force", "--version", version, name]);
        install.arg("--root").arg(root()).args(["--features", features]);
        // Their own profiles make a build of three minutes one of ten.
        install.env("CARGO_PROFILE_RELEASE_LTO", "off").env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
        install.env("CARGO_TARGET_DIR", root().join("build"));
        show(&mut install).with_context(|| format!("installing {name} {version}"))?;
    }
    Ok(())
}
