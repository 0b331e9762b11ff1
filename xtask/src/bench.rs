//! `cargo xtask bench`: xlat measured beside its alternatives.

use anyhow::Result;

use crate::{
    setup,
    shell::{cargo, require_root, show},
};

/// Builds the bench with optimisation and hands it `arguments`.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    require_root("the bench")?;
    setup::for_running()?;
    let program =
        ["run", "--locked", "--quiet", "--profile", "measure", "--package", "xlat-bench", "--bin", "bench", "--"];
    show(cargo(program).args(arguments))
}
