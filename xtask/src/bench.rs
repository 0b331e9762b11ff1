//! `cargo xtask bench`: xlat measured beside its alternatives.

use anyhow::Result;

use crate::{
    setup,
    shell::{cargo, require_root, show},
};

/// Builds the bench with optimisation and hands it `arguments`.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    if arguments.contains(&"--check") {
        return check(arguments);
    }
    require_root("the bench")?;
    setup::for_bench()?;
    // The bench starts the command that lies beside it.
    let command =
        ["build", "--locked", "--quiet", "--profile", "measure", "--package", "xlat-ctl", "--bin", "xlat-ctl"];
    show(&mut cargo(command))?;
    let program =
        ["run", "--locked", "--quiet", "--profile", "measure", "--package", "xlat-bench", "--bin", "bench", "--"];
    show(cargo(program).args(arguments))
}

/// Whether the programs are within their bounds. It measures no time, so the bench is built as the tests are.
pub(crate) fn check(arguments: &[&str]) -> Result<()> {
    require_root("the bench")?;
    setup::for_running()?;
    let program = ["run", "--locked", "--quiet", "--package", "xlat-bench", "--bin", "bench", "--"];
    show(cargo(program).args(arguments))
}
