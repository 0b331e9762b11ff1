//! The real daemon, on the lab's relay, with the ready configuration `docs/examples/demo.toml`.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    interrupt,
    lab::{Host, RUNTIME_DIRECTORY},
    shell::{capture, target_dir, workspace},
};

/// The configuration, from the workspace's top.
pub(crate) const CONFIGURATION: &str = "docs/examples/demo.toml";

/// How long the daemon may take until `status` says that it translates.
const START: Duration = Duration::from_secs(20);

/// The daemon of the lab and the command that talks to it.
pub(crate) struct Relay {
    daemon: Child,
    binary: PathBuf,
}

impl Relay {
    /// Starts the daemon and waits until it translates; on failure tells what it said.
    pub(crate) fn start(binary: PathBuf) -> Result<Self> {
        let configuration = workspace().join(CONFIGURATION);
        let arguments = ["run", "--config", &configuration.to_string_lossy()];
        let daemon = Host::Relay.start(&binary.to_string_lossy(), &arguments, &log("relay")?)?;
        let mut this = Self { daemon, binary };
        this.wait_until_ready()?;
        Ok(this)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let begin = Instant::now();
        loop {
            interrupt::check()?;
            if let Some(status) = self.daemon.try_wait()? {
                bail!("the relay ended at its start ({status}); it said:\n{}", said()?);
            }
            match capture(&mut self.xlat_ctl(&["status"])) {
                Ok(_) => return Ok(()),
                Err(error) if begin.elapsed() > START => {
                    bail!("the relay is not ready after {} s: {error:#}; it said:\n{}", START.as_secs(), said()?)
                }
                Err(_) => sleep(Duration::from_millis(100)),
            }
        }
    }

    /// An `xlat-ctl` command to this daemon.
    pub(crate) fn xlat_ctl(&self, arguments: &[&str]) -> Command {
        let mut command = Host::Relay.command(&self.binary.to_string_lossy(), arguments);
        command.env("XLAT_SOCKET", socket());
        command
    }

    /// Fails unless the daemon ended by itself, without an error, when the lab was taken down.
    pub(crate) fn check_end(mut self) -> Result<()> {
        let status = self.daemon.wait().context("waiting for the daemon to end")?;
        if !status.success() {
            bail!("the daemon did not end cleanly ({status}); its log is {}", log("relay")?.display());
        }
        Ok(())
    }
}

/// The control socket that the configuration names.
pub(crate) fn socket() -> String {
    format!("{RUNTIME_DIRECTORY}/xlat.sock")
}

fn said() -> Result<String> {
    let path = log("relay")?;
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    Ok(text.trim_end().to_owned())
}

/// The file with what a program of the lab said.
pub(crate) fn log(name: &str) -> Result<PathBuf> {
    let directory = target_dir().join("demo");
    fs::create_dir_all(&directory).with_context(|| format!("making {}", directory.display()))?;
    Ok(directory.join(format!("{name}.log")))
}
