//! Running other programs: every failure names the command, how it ended and what it said.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context, Result, bail};

/// The workspace's top directory.
pub(crate) fn workspace() -> PathBuf {
    let manifest_dir = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&manifest_dir).join("..").canonicalize().expect("the directory of xtask has a parent")
}

/// Where cargo puts what it builds.
pub(crate) fn target_dir() -> PathBuf {
    let directory = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    workspace().join(directory)
}

/// A command to be run in the workspace.
pub(crate) fn command<S: AsRef<str>>(program: &str, arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(program);
    command.args(arguments.into_iter().map(|argument| argument.as_ref().to_owned())).current_dir(workspace());
    command
}

/// Cargo of the pinned toolchain, run in the workspace.
pub(crate) fn cargo<S: AsRef<str>>(arguments: impl IntoIterator<Item = S>) -> Command {
    command(&env::var("CARGO").unwrap_or_else(|_| "cargo".into()), arguments)
}

/// Runs a command whose output goes straight to the person.
pub(crate) fn show(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start `{}`", spell(command)))?;
    if !status.success() {
        bail!("`{}` failed ({status})", spell(command));
    }
    Ok(())
}

/// Runs a command and gives what it printed; its error output becomes part of the error.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let Output { status, stdout, stderr } =
        command.output().with_context(|| format!("cannot start `{}`", spell(command)))?;
    if !status.success() {
        let said = String::from_utf8_lossy(&stderr);
        bail!("`{}` failed ({status}): {}", spell(command), said.trim());
    }
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}

/// The command as a person would type it.
pub(crate) fn spell(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// Adds to PATH, for this process and all that it starts, the system directories that an ordinary user's leaves out.
pub(crate) fn add_system_directories() {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut directories: Vec<PathBuf> = env::split_paths(&path).collect();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    directories
        .extend(system.into_iter().filter(|directory| !env::split_paths(&path).any(|there| there == *directory)));
    if let Ok(path) = env::join_paths(directories) {
        // SAFETY: no other thread runs yet.
        unsafe { env::set_var("PATH", path) };
    }
}

/// Finds a program on PATH.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).map(|directory| directory.join(name)).find(|candidate| candidate.is_file())
}

/// Removes what runs of this program that were killed have left in a directory: what is named `prefix`, the number of a process
/// that is no more, and anything behind it.
pub(crate) fn remove_leftovers(directory: &Path, prefix: &str) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(rest) = name.strip_prefix(prefix) else { continue };
        let pid: String = rest.chars().take_while(char::is_ascii_digit).collect();
        if !pid.is_empty() && !Path::new("/proc").join(pid).exists() {
            // Nothing depends on it.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Whether this process may do what only root may.
pub(crate) fn is_root() -> bool {
    // SAFETY: geteuid takes nothing, touches no memory and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Refuses with a sentence where a verb needs root.
pub(crate) fn require_root(what: &str) -> Result<()> {
    if !is_root() {
        bail!("{what} makes network namespaces and loads XDP programs, which only root may: run it as root");
    }
    Ok(())
}
