//! What the binary is made of: bills of materials in CycloneDX, and the licences of all crates with their texts.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};

use super::{Packaging, place};
use crate::{
    setup::cargo_tool,
    shell::{capture, cargo, command, show, workspace},
};

/// The crates whose bills and licences are told: the program, and the eBPF object inside it.
const CRATES: [&str; 2] = ["xlat-ctl", "xlat-ebpf"];
/// The list of licences, which is compressed where it is installed.
pub(super) const LICENCES: &str = "third-party-licences.txt";

fn bill_name(package: &str) -> String {
    format!("{package}.cdx.json")
}

impl Packaging {
    /// Writes all into a directory.
    pub(super) fn bills(&self, directory: &Path) -> Result<()> {
        self.materials(directory)?;
        self.licences(&directory.join(LICENCES))
    }

    fn materials(&self, directory: &Path) -> Result<()> {
        // The tool writes one beside the manifest of every crate of the workspace.
        const NAME: &str = "xlat-package-bill";
        let mut tool = command(&cargo_tool("cargo-cyclonedx").to_string_lossy(), ["cyclonedx", "--format", "json"]);
        tool.args(["--no-build-deps", "--spec-version", "1.5", "--quiet", "--override-filename", NAME]);
        let done = show(tool.env("SOURCE_DATE_EPOCH", &self.epoch));
        // As cargo writes it in a URL.
        let here = format!("path+file://{}/", workspace().display()).replace(' ', "%20");
        for member in members()? {
            let written = Path::new(&member).join(format!("{NAME}.json"));
            let Ok(text) = fs::read_to_string(&written) else { continue };
            fs::remove_file(&written).with_context(|| format!("removing {}", written.display()))?;
            let package = member.rsplit('/').next().unwrap_or_default();
            if CRATES.contains(&package) {
                fs::write(directory.join(bill_name(package)), text.replace(&here, "path:"))?;
            }
        }
        done?;
        for package in CRATES {
            ensure!(directory.join(bill_name(package)).exists(), "cargo-cyclonedx wrote no bill of {package}");
        }
        Ok(())
    }

    fn licences(&self, file: &Path) -> Result<()> {
        let mut lists = String::new();
        for package in CRATES {
            let mut tool =
                command(&cargo_tool("cargo-about").to_string_lossy(), ["about", "generate", "--locked", "--fail"]);
            tool.args(["--config", "contrib/licences/about.toml", "--manifest-path", &format!("{package}/Cargo.toml")]);
            tool.arg("--output-file").arg(file).arg("contrib/licences/list.hbs");
            capture(&mut tool).with_context(|| format!("listing the licences of the crates in {package}"))?;
            let list = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
            lists += &format!("The libraries that {package} contains, by licence.\n\n{list}\n");
        }
        fs::write(file, lists).with_context(|| format!("writing {}", file.display()))
    }

    /// Copies them to the results.
    pub(super) fn copy_lists(&self, root: &Path) -> Result<()> {
        let names = CRATES.map(bill_name).into_iter().chain([format!("{LICENCES}.gz")]);
        for name in names {
            let version = &self.version;
            place(&root.join("usr/share/doc/xlat").join(&name), &self.out.join(format!("xlat-{version}-{name}")))?;
        }
        Ok(())
    }
}

/// The directories of the workspace's crates.
fn members() -> Result<Vec<String>> {
    let metadata = capture(&mut cargo(["metadata", "--no-deps", "--locked", "--format-version", "1"]))?;
    let manifests = metadata.split("\"manifest_path\":\"").skip(1);
    Ok(manifests.filter_map(|rest| Some(rest.split_once("/Cargo.toml\"")?.0.to_owned())).collect())
}
