//! `cargo xtask bench --control`: what the daemon's work takes, by the number of entries.

use anyhow::Result;

use crate::{
    setup,
    shell::{cargo, require_root, show},
};

/// Runs it with optimisation, and shows what it measured.
pub(crate) fn run() -> Result<()> {
    require_root("the benchmark")?;
    setup::for_running()?;
    let test = ["test", "--locked", "--release", "--package", "xlat-tests", "--test", "lab_limits"];
    show(cargo(test).args(["--", "--ignored", "--nocapture"]))
}
