//! `cargo xtask setup`: installs what is missing on a machine that has Rust, and says what it does.
//!
//! Idempotent; where nothing is missing it only looks, and is silent.

use anyhow::{Context, Result, bail};

use crate::shell::{self, capture, command, find_program, show};

mod apt;
mod cargo_tools;
mod emulator;
mod programs;
mod prometheus;
mod python;
mod rust_src;

pub(crate) use self::{apt::PrivateApt, cargo_tools::path as cargo_tool};

/// The version whose output the eBPF build is tested with; it uses the LLVM inside the pinned rustc.
const BPF_LINKER: &str = "0.10.3";

/// Says one step of the setup.
pub(crate) fn say(message: &str) {
    eprintln!("setup: {message}");
}

/// All that any verb needs.
pub(crate) fn everything() -> Result<()> {
    toolchain()?;
    programs::install_missing()?;
    of_the_tests()?;
    say("nothing is missing");
    Ok(())
}

/// What compiling takes.
pub(crate) fn toolchain() -> Result<()> {
    rust_src::install_if_missing()?;
    bpf_linker()
}

/// What the tests and the demo take beside the toolchain.
pub(crate) fn for_running() -> Result<()> {
    toolchain()?;
    programs::install_missing()?;
    bpffs()
}

/// What the tests take beside that, and the demo does not.
pub(crate) fn for_testing() -> Result<()> {
    for_running()?;
    of_the_tests()
}

/// What rustup's minimal profile leaves out.
fn components() -> Result<()> {
    for (subcommand, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        if command("cargo", [subcommand, "--version"]).output().is_ok_and(|output| output.status.success()) {
            continue;
        }
        say(&format!("getting {component} by rustup"));
        show(&mut command("rustup", ["component", "add", component]))
            .with_context(|| format!("`cargo {subcommand}` is not there; by hand: rustup component add {component}"))?;
    }
    Ok(())
}

fn of_the_tests() -> Result<()> {
    components()?;
    programs::install_promtool_if_missing()?;
    prometheus::install_if_missing()?;
    python::install_if_missing()
}

/// What the test of the status page takes beside what the demo takes.
pub(crate) fn for_browser() -> Result<()> {
    for_running()?;
    match find_program("chromium") {
        Some(_) => Ok(()),
        None => programs::install_packages(&["chromium"]),
    }
}

/// What the bench takes beside that.
pub(crate) fn for_bench() -> Result<()> {
    for_running()?;
    programs::install_missing_for_bench()
}

/// What compiling a module of the kernel takes.
pub(crate) fn for_modules() -> Result<()> {
    programs::install_missing_for_modules()
}

/// What packaging takes beside the toolchain.
pub(crate) fn for_packaging() -> Result<()> {
    toolchain()?;
    programs::install_missing_for_packaging()?;
    cargo_tools::install_missing()
}

/// What a virtual machine takes. What runs in it is the caller's.
pub(crate) fn for_vm() -> Result<()> {
    emulator::install_if_missing()
}

fn bpf_linker() -> Result<()> {
    let wanted = format!("bpf-linker {BPF_LINKER}");
    if capture(&mut command("bpf-linker", ["--version"])).is_ok_and(|version| version.trim() == wanted) {
        return Ok(());
    }
    say(&format!("installing {wanted} with `cargo install` (about 90 seconds on two cores)"));
    show(&mut shell::cargo(["install", "--locked", "--force", "--version", BPF_LINKER, "bpf-linker"]))
        .with_context(|| format!("installing {wanted}; it needs a C compiler and the crates registry"))?;
    if find_program("bpf-linker").is_none() {
        bail!("{wanted} is installed, but not on PATH: add cargo's bin directory (usually ~/.cargo/bin) to PATH");
    }
    Ok(())
}

/// The relay pins its programs and maps in this file system; most distributions mount it at boot.
fn bpffs() -> Result<()> {
    const MOUNT_POINT: &str = "/sys/fs/bpf";
    let mounts = std::fs::read_to_string("/proc/self/mounts").context("reading the list of mounts")?;
    if mounts.lines().any(|line| line.split(' ').nth(1) == Some(MOUNT_POINT)) || !shell::is_root() {
        return Ok(());
    }
    say(&format!("mounting the BPF file system at {MOUNT_POINT}, until the next boot"));
    show(&mut command("mount", ["-t", "bpf", "bpf", MOUNT_POINT])).context("the kernel may be built without BPF")
}
