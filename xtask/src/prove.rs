//! `cargo xtask prove`: the long form of the proof that no change costs a packet.

use anyhow::Result;

use crate::{
    setup,
    shell::{cargo, require_root, show},
};

/// Runs it with optimisation, and shows what it measured.
pub(crate) fn run() -> Result<()> {
    require_root("the proof")?;
    setup::for_running()?;
    let build = ["build", "--locked", "--quiet", "--profile", "measure", "--package", "xlat-ctl", "--bin", "xlat-ctl"];
    show(&mut cargo(build))?;
    let run = ["run", "--locked", "--quiet", "--profile", "measure", "--package", "xlat-bench", "--bin", "bench"];
    show(cargo(run).args(["--", "--prove"]))
}
