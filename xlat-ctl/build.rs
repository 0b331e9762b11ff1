//! Compiles the XDP program and places its object where the library embeds it.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

/// Variables that the outer cargo sets for this script or for its own rustc, and that would change the inner build.
const DISTURBING: &[&str] = &[
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_MAKEFLAGS",
    "CARGO_TARGET_DIR",
    "CLIPPY_ARGS",
    "CLIPPY_CONF_DIR",
    "RUSTC",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTDOC",
    "RUSTFLAGS",
];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("{sentence}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let workspace = workspace();
    watch(&workspace);
    check_tools()?;
    let target_dir = target_dir(&workspace);
    compile(&workspace, &target_dir)?;
    let object = target_dir.join("bpfel-unknown-none/ebpf/xlat");
    let copy = PathBuf::from(env_var("OUT_DIR")).join("xlat.o");
    fs::copy(&object, &copy)
        .map_err(|error| format!("cannot copy {} to {}: {error}", object.display(), copy.display()))?;
    Ok(())
}

/// Cargo always sets the variables that this script reads through here.
fn env_var(name: &str) -> OsString {
    env::var_os(name).unwrap_or_else(|| panic!("cargo did not set {name} for the build script"))
}

fn workspace() -> PathBuf {
    let mut path = PathBuf::from(env_var("CARGO_MANIFEST_DIR"));
    path.pop();
    path
}

/// One target directory for the eBPF crate, whichever profile or tool builds this one: debug, release and clippy
/// share it.
fn target_dir(workspace: &Path) -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), |dir| workspace.join(dir)).join("ebpf")
}

fn watch(workspace: &Path) {
    for path in [
        ".cargo/config.toml",
        "Cargo.lock",
        "Cargo.toml",
        "rust-toolchain.toml",
        "xlat-common/Cargo.toml",
        "xlat-common/src",
        "xlat-ctl/build.rs",
        "xlat-ebpf/Cargo.toml",
        "xlat-ebpf/src",
    ] {
        println!("cargo::rerun-if-changed={}", workspace.join(path).display());
    }
    println!("cargo::rerun-if-env-changed=CARGO_TARGET_DIR");
}

/// Both tools are checked here because rustc and cargo name neither the cause nor the cure when one is missing.
fn check_tools() -> Result<(), String> {
    let cure = "run `cargo xtask setup`, which installs it";
    if Command::new("bpf-linker").arg("--version").output().is_err() {
        return Err(format!("the eBPF program cannot be linked: bpf-linker is not on PATH; {cure}"));
    }
    let sysroot = Command::new(env_var("RUSTC"))
        .args(["--print", "sysroot"])
        .output()
        .map_err(|error| format!("cannot run rustc to find its sysroot: {error}"))?;
    let sysroot = PathBuf::from(String::from_utf8_lossy(&sysroot.stdout).trim());
    let library = sysroot.join("lib/rustlib/src/rust/library");
    if !library.join("core/src/lib.rs").exists() {
        return Err(format!(
            "the eBPF program cannot be built: the standard library's source is not in {}; {cure}",
            library.display()
        ));
    }
    Ok(())
}

/// The flags for the BPF target stand in `.cargo/config.toml`, found from the workspace's directory.
/// `RUSTC_BOOTSTRAP` lets the stable compiler take `-Z build-std`: there is no prebuilt `core` for the BPF target.
fn compile(workspace: &Path, target_dir: &Path) -> Result<(), String> {
    let mut cargo = Command::new(env_var("CARGO"));
    for variable in DISTURBING {
        cargo.env_remove(variable);
    }
    cargo
        .current_dir(workspace)
        .env("RUSTC_BOOTSTRAP", "1")
        .args(["build", "--quiet", "--package", "xlat-ebpf", "--bin", "xlat", "--profile", "ebpf"])
        .args(if env::var_os("CARGO_FEATURE_OTHER_LAYOUT").is_some() {
            &["--features", "other-layout"][..]
        } else {
            &[]
        })
        .args(["-Z", "build-std=core", "--target", "bpfel-unknown-none", "--target-dir"])
        .arg(target_dir);
    let status = cargo.status().map_err(|error| format!("cannot run {cargo:?}: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("the eBPF program did not build ({status}): see the errors above"))
    }
}
