//! `cargo xtask build`: the one binary, XDP program included.

use std::path::PathBuf;

use anyhow::Result;

use crate::{
    setup,
    shell::{cargo, show, target_dir},
};

/// Compiles `xlat-ctl` in release mode and says where it is.
pub(crate) fn run() -> Result<()> {
    let binary = release()?;
    println!("{}", binary.display());
    Ok(())
}

/// Compiles `xlat-ctl` in release mode; gives its path.
pub(crate) fn release() -> Result<PathBuf> {
    setup::toolchain()?;
    show(&mut cargo(["build", "--locked", "--release", "--package", "xlat-ctl"]))?;
    Ok(target_dir().join("release/xlat-ctl"))
}
