//! For build scripts: compiles an eBPF crate of this workspace, and places its object where the crate that runs it embeds it.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

/// Variables that the outer cargo sets for the build script or for its own rustc, and that would change the inner build.
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

/// What every object is made of, beside the sources of its crates.
const COMMON: &[&str] = &[".cargo/config.toml", "Cargo.lock", "Cargo.toml", "ebpf-build/src", "rust-toolchain.toml"];

/// An eBPF crate, as the crate that embeds its object knows it.
#[derive(Clone, Copy, Debug)]
pub struct Object<'a> {
    /// Name of the package.
    pub package: &'a str,
    /// Name of its binary. The object is placed in `OUT_DIR`, as this with `.o`.
    pub binary: &'a str,
    /// Features of the package to switch on.
    pub features: &'a [&'a str],
    /// Directories of the workspace with the sources of its crates.
    pub crates: &'a [&'a str],
}

impl Object<'_> {
    /// All that a build script does. Where it fails, a sentence on standard error says why.
    #[must_use]
    pub fn build(&self) -> ExitCode {
        match self.try_build() {
            Ok(()) => ExitCode::SUCCESS,
            Err(sentence) => {
                eprintln!("{sentence}");
                ExitCode::FAILURE
            }
        }
    }

    fn try_build(&self) -> Result<(), String> {
        let workspace = workspace()?;
        self.watch(&workspace);
        check_tools()?;
        let target_dir = target_dir(&workspace);
        self.compile(&workspace, &target_dir)?;
        let object = target_dir.join("bpfel-unknown-none/ebpf").join(self.binary);
        let copy = PathBuf::from(env_var("OUT_DIR")).join(format!("{}.o", self.binary));
        fs::copy(&object, &copy)
            .map_err(|error| format!("cannot copy {} to {}: {error}", object.display(), copy.display()))?;
        Ok(())
    }

    fn watch(&self, workspace: &Path) {
        let parts = |directory: &&str| ["src", "Cargo.toml"].map(|part| Path::new(directory).join(part));
        let own = self.crates.iter().flat_map(parts);
        for path in COMMON.iter().map(PathBuf::from).chain(own) {
            println!("cargo::rerun-if-changed={}", workspace.join(path).display());
        }
        println!("cargo::rerun-if-changed=build.rs");
        println!("cargo::rerun-if-env-changed=CARGO_TARGET_DIR");
    }

    /// The flags for the BPF target stand in `.cargo/config.toml`, found from the workspace's directory; these are added to them.
    /// `RUSTC_BOOTSTRAP` lets the stable compiler take `-Z build-std`: there is no prebuilt `core` for the BPF target.
    fn compile(&self, workspace: &Path, target_dir: &Path) -> Result<(), String> {
        let mut cargo = Command::new(env_var("CARGO"));
        for variable in DISTURBING {
            cargo.env_remove(variable);
        }
        let flags = remap_flags(workspace)?;
        cargo
            .current_dir(workspace)
            .env("RUSTC_BOOTSTRAP", "1")
            .args(["build", "--quiet", "--package", self.package, "--bin", self.binary, "--profile", "ebpf"])
            .args(["--features", &self.features.join(",")])
            .args(["-Z", "build-std=core", "--target", "bpfel-unknown-none"])
            .args(["--config", &format!("target.bpfel-unknown-none.rustflags={flags:?}")])
            .arg("--target-dir")
            .arg(target_dir);
        let status = cargo.status().map_err(|error| format!("cannot run {cargo:?}: {error}"))?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("the eBPF program did not build ({status}): see the errors above"))
        }
    }
}

/// Flags for rustc that take this machine's directories out of what it writes: the same sources give the same bytes wherever
/// they lie. Sources are told as `/xlat`, those of crates as `/crates`, the standard library's as `/rust`.
///
/// # Errors
/// One sentence: there is no rustc, or neither CARGO_HOME nor HOME is set.
pub fn remap_flags(workspace: &Path) -> Result<Vec<String>, String> {
    let home = env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo"));
    let cargo_home = env::var_os("CARGO_HOME").map(PathBuf::from).or(home);
    let cargo_home = cargo_home.ok_or("neither CARGO_HOME nor HOME is set: where cargo keeps crates is not known")?;
    let library = sysroot()?.join("lib/rustlib/src/rust");
    let pairs = [(workspace.to_owned(), "/xlat"), (cargo_home.join("registry/src"), "/crates"), (library, "/rust")];
    Ok(pairs.map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())).to_vec())
}

/// Cargo always sets the variables that build scripts read through here.
fn env_var(name: &str) -> OsString {
    env::var_os(name).unwrap_or_else(|| panic!("cargo did not set {name} for the build script"))
}

/// The first directory above the package that has the lock file.
fn workspace() -> Result<PathBuf, String> {
    let package = PathBuf::from(env_var("CARGO_MANIFEST_DIR"));
    let workspace = package.ancestors().find(|directory| directory.join("Cargo.lock").exists());
    workspace.map(Path::to_owned).ok_or_else(|| format!("no directory above {} has a Cargo.lock", package.display()))
}

/// One target directory for all eBPF crates, whichever profile or tool builds them: debug, release and clippy share it.
fn target_dir(workspace: &Path) -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), |dir| workspace.join(dir)).join("ebpf")
}

/// Both tools are checked here because rustc and cargo name neither the cause nor the cure when one is missing.
fn check_tools() -> Result<(), String> {
    let cure = "run `cargo xtask setup`, which installs it";
    if Command::new("bpf-linker").arg("--version").output().is_err() {
        return Err(format!("the eBPF program cannot be linked: bpf-linker is not on PATH; {cure}"));
    }
    let sysroot = sysroot()?;
    let library = sysroot.join("lib/rustlib/src/rust/library");
    if !library.join("core/src/lib.rs").exists() {
        return Err(format!(
            "the eBPF program cannot be built: the standard library's source is not in {}; {cure}",
            library.display()
        ));
    }
    Ok(())
}

/// Where the toolchain lies.
fn sysroot() -> Result<PathBuf, String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).args(["--print", "sysroot"]).output();
    let output = output.map_err(|error| format!("cannot run rustc to find its sysroot: {error}"))?;
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}
