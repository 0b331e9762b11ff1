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
    let test = ["test", "--locked", "--release", "--package", "xlat-tests", "--test", "lab_proof"];
    show(cargo(test).args(["--", "--ignored", "--nocapture"]))
}
