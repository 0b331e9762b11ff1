//! `cargo xtask vm`: a command on another kernel and other NICs, in a virtual machine that has this machine's files.

use std::{path::PathBuf, time::Duration};

use anyhow::{Result, bail, ensure};

use crate::{interrupt, setup};

mod busybox;
mod initramfs;
mod jool;
mod kernels;
mod matrix;
mod nics;
mod qemu;

use self::{
    kernels::Kernel,
    nics::Nic,
    qemu::{Ended, Guest},
};

const HELP: &str = "\
cargo xtask vm [OPTIONS] -- COMMAND [ARGS]: runs a command as root in a virtual machine that has this machine's files, of
which it sees changes of its own only, and another kernel. Its output and its exit code are the command's.

  --kernel X.Y     Debian's kernel of that version; `newest`; `list` shows those there are (default 6.1)
  --nic DRIVER     two NICs of that driver, nic0 and nic1, each on a wire with another NIC, far0 and far1:
                   virtio_net, igb, vmxnet3 or e1000e (default: no NIC)
  --root DIRECTORY files of another Debian in place of this machine's, with its systemd as the first process; this machine's
                   are below /run/host
  --cpus N         (default 2)
  --memory MIB     (default 1536)
  --timeout SECS   after which the machine is switched off (default 600)
  --console        what the kernel says, too, on standard error

cargo xtask vm --all [WORD …]: tries the relay on every NIC and kernel, or on those that a word names (`6.1`, `igb`), and
writes the tables of docs/support.md. What a trial has found is kept at its end: `cargo xtask vm --tables` writes the tables of
what there is, after an interrupted run for example.
";

/// The options of a run.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// As the person named it.
    pub(crate) kernel: String,
    /// The NICs under test.
    pub(crate) nic: Option<Nic>,
    /// The files, where they are not this machine's: a Debian with systemd.
    pub(crate) root: Option<PathBuf>,
    /// Processors of the machine.
    pub(crate) cpus: u32,
    /// Memory of the machine, in MiB.
    pub(crate) memory: u32,
    /// When the machine is switched off.
    pub(crate) timeout: Duration,
    /// Whether the kernel's messages are shown.
    pub(crate) console: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            kernel: "6.1".to_owned(),
            nic: None,
            root: None,
            cpus: 2,
            memory: 1536,
            timeout: Duration::from_secs(600),
            console: false,
        }
    }
}

/// Jool's files for the kernel of a machine.
pub(crate) struct Jool(PathBuf);

impl Jool {
    /// Fetches and compiles it where it is not there.
    ///
    /// # Errors
    /// Debian does not have it, or it does not compile.
    pub(crate) fn get(options: &Options) -> Result<Self> {
        Kernel::get(&options.kernel).and_then(|kernel| jool::get(&kernel)).map(Self)
    }

    /// What tells a program in the machine where they are.
    pub(crate) fn environment(&self) -> String {
        format!("XLAT_JOOL={}", self.0.display())
    }
}

/// Reads the options and does what they say. Gives the command's exit code.
pub(crate) fn run(arguments: &[&str]) -> Result<u8> {
    if matches!(arguments, [] | ["-h" | "--help"]) {
        print!("{HELP}");
        return Ok(0);
    }
    if let ["--tables"] = arguments {
        return matrix::write_tables().map(|()| 0);
    }
    if let ["--all", only @ ..] = arguments {
        return matrix::run(only).map(|()| 0);
    }
    let (options, command) = parse(arguments)?;
    if options.kernel == "list" {
        setup::for_vm()?;
        return kernels::list().map(|()| 0);
    }
    if command.is_empty() {
        bail!("`vm` needs a command after `--`, `-- uname -r` for example");
    }
    run_command(&options, command)
}

/// Runs a command in a machine, whose output is shown as it comes. Gives its exit code.
pub(crate) fn run_command(options: &Options, command: &[&str]) -> Result<u8> {
    run_with(options, command, qemu::Output::Show).map(|(code, _)| code)
}

/// Runs a command in a machine. Gives its exit code and its output.
pub(crate) fn capture_command(options: &Options, command: &[&str]) -> Result<(u8, String)> {
    run_with(options, command, qemu::Output::Keep)
}

fn run_with(options: &Options, command: &[&str], output: qemu::Output) -> Result<(u8, String)> {
    interrupt::catch();
    setup::for_vm()?;
    let kernel = Kernel::get(&options.kernel)?;
    match (Guest { kernel: &kernel, options }).run(command, output)? {
        Ended::Command { code, output } => Ok((code, output)),
        Ended::Itself(reason) => bail!("the virtual machine ended without the command's exit code: {reason}"),
    }
}

/// The options, and what stands after `--`.
fn parse<'a>(arguments: &'a [&'a str]) -> Result<(Options, &'a [&'a str])> {
    let mut options = Options::default();
    let mut rest = arguments;
    loop {
        rest = match rest {
            [] => return Ok((options, &[])),
            ["--", command @ ..] => return Ok((options, command)),
            ["--console", rest @ ..] => {
                options.console = true;
                rest
            }
            ["--kernel", value, rest @ ..] => {
                options.kernel = (*value).to_owned();
                rest
            }
            ["--nic", value, rest @ ..] => {
                options.nic = Some(value.parse()?);
                rest
            }
            ["--root", value, rest @ ..] => {
                let root = std::path::absolute(value)?;
                ensure!(root.join("sbin/init").exists(), "--root {value}: there is no {value}/sbin/init");
                options.root = Some(root);
                rest
            }
            ["--cpus", value, rest @ ..] => {
                options.cpus = number("--cpus", value)?;
                rest
            }
            ["--memory", value, rest @ ..] => {
                options.memory = number("--memory", value)?;
                rest
            }
            ["--timeout", value, rest @ ..] => {
                options.timeout = Duration::from_secs(number("--timeout", value)?.into());
                rest
            }
            [other, ..] => bail!("`vm` does not know `{other}`, or its value is missing:\n\n{HELP}"),
        }
    }
}

fn number(option: &str, value: &str) -> Result<u32> {
    match value.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => bail!("{option} {value}: a number above 0 is needed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_after_the_dashes_is_the_command() {
        let (options, command) = parse(&["--kernel", "5.10", "--nic", "igb", "--", "ls", "--kernel"]).unwrap();
        assert_eq!((options.kernel.as_str(), options.nic), ("5.10", Some(Nic::Igb)));
        assert_eq!(command, ["ls", "--kernel"]);
    }

    #[test]
    fn names_what_it_does_not_know() {
        for (arguments, expected) in [
            (&["--nic", "ne2000"][..], "ne2000"),
            (&["--cpus", "0", "--", "ls"], "--cpus 0"),
            (&["--kernel"], "--kernel"),
        ] {
            let error = parse(arguments).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
