//! `cargo xtask lint`: formatting and clippy, for every crate, warnings refused.

use anyhow::Result;

use crate::{
    setup,
    shell::{cargo, show, target_dir},
};

/// Checks formatting, then lints the host's crates, then the eBPF crates.
pub(crate) fn run() -> Result<()> {
    setup::toolchain()?;
    formatting()?;
    host_crates()?;
    ebpf_crates()
}

/// `cargo fmt`, looking only.
pub(crate) fn formatting() -> Result<()> {
    show(&mut cargo(["fmt", "--all", "--check"]))
}

/// Clippy for all that runs on this machine, tests included.
pub(crate) fn host_crates() -> Result<()> {
    let scope = ["--workspace", "--exclude", "xlat-ebpf", "--exclude", "xlat-bench-ebpf", "--all-targets"];
    show(cargo(["clippy", "--locked", "--quiet"]).args(scope).args(["--", "-D", "warnings"]))
}

/// Clippy for the XDP programs, for the target that they run on. `RUSTC_BOOTSTRAP` lets the stable compiler take
/// `-Z build-std`.
pub(crate) fn ebpf_crates() -> Result<()> {
    let target = ["--target", "bpfel-unknown-none", "-Z", "build-std=core", "--profile", "ebpf"];
    let mut clippy = cargo(["clippy", "--locked", "--quiet", "--package", "xlat-ebpf", "--package", "xlat-bench-ebpf"]);
    clippy.args(target).arg("--target-dir").arg(target_dir().join("ebpf")).env("RUSTC_BOOTSTRAP", "1");
    show(clippy.args(["--", "-D", "warnings"]))
}
