//! The Python programs that tests call, in a virtual environment of their own under `target/`.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use super::{programs, say};
use crate::shell::{capture, command, show, target_dir};

/// What is installed, with versions.
const REQUIREMENTS: &str = include_str!("../../../tests/openapi/requirements.txt");

/// Makes the environment and installs what is listed, where it is not there as it is listed.
pub(crate) fn install_if_missing() -> Result<()> {
    let environment = target_dir().join("venv");
    // What was installed is written down at the end: an environment that was left half made is made again.
    let installed = environment.join("requirements.txt");
    if fs::read_to_string(&installed).is_ok_and(|text| text == REQUIREMENTS) {
        return Ok(());
    }
    if capture(&mut command("python3", ["-c", "import ensurepip, venv"])).is_err() {
        programs::install_packages(&["python3", "python3-venv"])?;
    }
    say(&format!("installing schemathesis from PyPI into {}", environment.display()));
    let path = environment.to_string_lossy();
    show(&mut command("python3", ["-m", "venv", "--clear", &path])).context("making a Python environment")?;
    let wanted = environment.join("wanted.txt");
    write(&wanted)?;
    let pip = environment.join("bin/pip").to_string_lossy().into_owned();
    let quiet = ["install", "--quiet", "--disable-pip-version-check", "--no-deps", "--requirement"];
    show(command(&pip, quiet).arg(&wanted)).context("installing schemathesis with pip; it needs PyPI")?;
    write(&installed)
}

fn write(path: &Path) -> Result<()> {
    fs::write(path, REQUIREMENTS).with_context(|| format!("writing {}", path.display()))
}
