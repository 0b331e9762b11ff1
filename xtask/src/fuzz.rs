//! `cargo xtask fuzz`: random packets through the real program and through the reference translator of the tests.

use anyhow::Result;

use crate::{
    setup,
    shell::{cargo, require_root, show},
};

/// Builds the fuzzer with optimisation, which makes the reference some twenty times faster, and hands it `arguments`.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    require_root("the fuzzer")?;
    setup::for_running()?;
    let program = ["run", "--locked", "--quiet", "--release", "--package", "xlat-tests", "--bin", "fuzz", "--"];
    show(cargo(program).args(arguments))
}
