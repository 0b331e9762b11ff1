//! The real daemon on the relay, and the command that talks with it.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::namespace::{Namespace, Running, Said};

/// How long the daemon may take until `status` says that it translates. In an emulated machine the verifier takes its time.
fn longest_start() -> Duration {
    Duration::from_secs(if std::env::var_os("XLAT_VM").is_some() { 180 } else { 30 })
}

/// A running daemon; it is killed when this is dropped.
#[derive(Debug)]
pub struct Daemon {
    process: Running,
    directory: TempDir,
    pins: Pins,
}

/// A pin directory of a test's own; nothing is left in it when this is dropped.
#[derive(Debug)]
struct Pins(PathBuf);

impl Pins {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(PathBuf::from(format!("/sys/fs/bpf/xlat-test-{}-{number}", std::process::id())))
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        if let Err(error) = xlat_ctl::dataplane::remove_pinned(&self.0) {
            eprintln!("{} is left behind: {error}", self.0.display());
        }
    }
}

/// The `xlat-ctl` command of this build; or the one that `XLAT_CTL` names, where nothing can be built.
///
/// # Errors
/// It does not compile.
pub fn command_path() -> Result<PathBuf> {
    static PATH: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    PATH.get_or_init(|| build().map_err(|error| format!("{error:#}"))).clone().map_err(anyhow::Error::msg)
}

/// The command of a build whose maps have another layout, as a later release may have it.
///
/// # Errors
/// It does not compile.
pub fn other_layout_path() -> Result<PathBuf> {
    static PATH: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let build = || {
        // Both builds come to lie in the same place: this one is put aside, and the other made again.
        let built = build_with(&["--features", "other-layout"])?;
        let aside = built.with_file_name("xlat-ctl-other-layout");
        std::fs::copy(&built, &aside).context("putting the other build aside")?;
        build_with(&[])?;
        Ok::<_, anyhow::Error>(aside)
    };
    // Nobody may find it while it is the wrong one.
    command_path()?;
    PATH.get_or_init(|| build().map_err(|error| format!("{error:#}"))).clone().map_err(anyhow::Error::msg)
}

/// Tests of one crate cannot ask cargo for the binary of another, so it is built where this test was.
fn build() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("XLAT_CTL") {
        return Ok(path.into());
    }
    build_with(&[])
}

fn build_with(arguments: &[&str]) -> Result<PathBuf> {
    let program = std::env::current_exe().context("looking for this program's own file")?;
    // target/PROFILE/deps/lab-0123456789abcdef, target/PROFILE/bench
    let mut directories = program.ancestors().skip(1).filter(|directory| !directory.ends_with("deps"));
    let profile = directories.next().context("this program lies in no target directory")?;
    let target = profile.parent().context("this program lies in no target directory")?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--quiet", "--locked", "--package", "xlat-ctl", "--bin", "xlat-ctl", "--target-dir"])
        .arg(target)
        .args(arguments);
    if let Some(name) = profile.file_name().filter(|name| *name != "debug") {
        cargo.arg("--profile").arg(name);
    }
    let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().context("starting cargo")?;
    if !output.status.success() {
        bail!("xlat-ctl does not compile:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(profile.join("xlat-ctl"))
}

impl Daemon {
    /// Starts the daemon and waits until it translates. `SOCKET` and `STATE` in the configuration become its own; it is pinned in a
    /// directory of its own.
    ///
    /// # Errors
    /// It ends, or does not translate in time: what it said.
    pub fn start(relay: &Namespace, configuration: &str) -> Result<Self> {
        let mut this = Self::begin(relay, configuration)?;
        this.wait_until_ready(relay)?;
        Ok(this)
    }

    /// As [`Self::start`], without waiting for anything.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn begin(relay: &Namespace, configuration: &str) -> Result<Self> {
        let directory = tempfile::tempdir().context("making a directory for the daemon")?;
        let socket = directory.path().join("xlat.sock");
        let pins = Pins::new();
        let text = configuration
            .replace("SOCKET", &socket.to_string_lossy())
            .replace("STATE", &directory.path().join("state").to_string_lossy())
            .replace("[dataplane]", &format!("[dataplane]\npin_directory = \"{}\"", pins.0.display()));
        std::fs::write(directory.path().join("xlat.toml"), text).context("writing the configuration")?;
        let process = Self::run(relay, &command_path()?, directory.path(), &[])?;
        Ok(Self { process, directory, pins })
    }

    fn run(relay: &Namespace, command: &Path, directory: &Path, environment: &[(&str, &str)]) -> Result<Running> {
        let configuration = directory.join("xlat.toml");
        let set = environment.iter().map(|(name, value)| format!("{name}={value}"));
        let command = [command.to_string_lossy().into_owned(), "run".to_owned(), "--config".to_owned()];
        let words: Vec<String> = set.chain(command).chain([configuration.to_string_lossy().into_owned()]).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        relay.start("env", &words, &directory.join("log"))
    }

    /// Starts it again with the same configuration and state, after it has ended, and waits until it translates.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_again(&mut self, relay: &Namespace, environment: &[(&str, &str)]) -> Result<()> {
        self.process = Self::run(relay, &command_path()?, self.directory.path(), environment)?;
        self.wait_until_ready(relay)
    }

    /// As [`Self::start_again`], with another build of the command.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_other(&mut self, relay: &Namespace, command: &Path) -> Result<()> {
        self.process = Self::run(relay, command, self.directory.path(), &[])?;
        self.wait_until_ready(relay)
    }

    /// Its state directory.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// It has not after ten seconds.
    pub fn wait_for_end(&mut self) -> Result<std::process::ExitStatus> {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.process.ended()? {
                return Ok(status);
            }
            if begin.elapsed() > Duration::from_secs(10) {
                bail!("the daemon has not ended; it said:\n{}", self.log());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Where it is pinned.
    #[must_use]
    pub fn pins(&self) -> &Path {
        &self.pins.0
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Asks it to end with another signal than SIGTERM.
    ///
    /// # Errors
    /// It does not, or not cleanly.
    pub fn stop_by(&mut self, signal: Signal) -> Result<()> {
        let status = self.process.terminate(signal)?;
        if !status.success() {
            bail!("the daemon ended with {status}; it said:\n{}", self.log());
        }
        Ok(())
    }

    fn wait_until_ready(&mut self, relay: &Namespace) -> Result<()> {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.process.ended()? {
                bail!("the daemon ended at its start ({status}); it said:\n{}", self.log());
            }
            let said = self.ctl(relay, "status");
            if said.success {
                return Ok(());
            }
            if begin.elapsed() > longest_start() {
                bail!("the daemon is not ready after {:?}: {}; it said:\n{}", begin.elapsed(), said.stderr, self.log());
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// An `xlat-ctl` command to this daemon.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn ctl(&self, relay: &Namespace, arguments: &str) -> Said {
        let path = command_path().expect("the daemon runs from it");
        relay.run(&format!("{} --socket {} {arguments}", path.display(), self.socket().display()))
    }

    /// Its control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("xlat.sock")
    }

    /// The file with its configuration.
    #[must_use]
    pub fn configuration(&self) -> PathBuf {
        self.directory.path().join("xlat.toml")
    }

    /// What it has said so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// A directory that goes with the daemon.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Asks it to end.
    ///
    /// # Errors
    /// It does not, or not cleanly.
    pub fn stop(&mut self) -> Result<()> {
        self.stop_by(Signal::SIGTERM)
    }

    /// Kills it, as a fault would.
    ///
    /// # Errors
    /// It cannot be killed.
    pub fn kill(&mut self) -> Result<()> {
        self.process.terminate(Signal::SIGKILL).map(|_| ())
    }
}
