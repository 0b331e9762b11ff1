//! `cargo xtask bench`: xlat measured beside its alternatives.

use anyhow::Result;

use crate::{
    setup,
    shell::{cargo, require_root, show},
};

/// Builds the bench and hands it `arguments`: with optimisation if it is to measure, as the tests are built if it only checks.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    require_root("the bench")?;
    setup::for_running()?;
    let profile = if arguments.contains(&"--check") { "dev" } else { "measure" };
    if arguments.contains(&"--control") {
        // The bench starts the command that lies beside it.
        let command =
            ["build", "--locked", "--quiet", "--profile", profile, "--package", "xlat-ctl", "--bin", "xlat-ctl"];
        show(&mut cargo(command))?;
    }
    let program =
        ["run", "--locked", "--quiet", "--profile", profile, "--package", "xlat-bench", "--bin", "bench", "--"];
    show(cargo(program).args(arguments))
}

/// Whether the programs are within their bounds.
pub(crate) fn check() -> Result<()> {
    run(&["--check"])
}
