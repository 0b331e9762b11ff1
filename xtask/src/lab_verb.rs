//! `cargo xtask lab`: the demo's lab, to look around in.

use std::os::unix::process::CommandExt;

use anyhow::{Context, Result, bail};

use crate::{
    build, interrupt,
    lab::{self, Host, Lab},
    relay::{self, Relay},
    setup,
    shell::{require_root, target_dir},
};

const GUIDE: &str = "\
The lab is up: an IPv4-only client (203.0.113.7), the relay, and an IPv6-only server (2001:db8:5e1:1::10), which the
client knows as 198.51.100.10 and which knows the client as 2001:db8:6464::203.0.113.7. Each end serves a web page.

  cargo xtask lab exec client -- ping 198.51.100.10
  cargo xtask lab exec server -- curl http://[2001:db8:6464::203.0.113.7]/
  cargo xtask lab exec relay -- xlat-ctl status
  cargo xtask lab down
";

/// Brings the lab up or down, or runs a command in it.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    require_root("the lab")?;
    match arguments {
        ["up"] => up(),
        ["down"] => lab::down(),
        ["exec", host, "--", program, arguments @ ..] => exec(host, program, arguments),
        _ => bail!("`lab` takes `up`, `down` or `exec HOST -- COMMAND`, not `{}`", arguments.join(" ")),
    }
}

/// Makes the lab with the relay and the web servers running in it.
pub(crate) fn start() -> Result<(Lab, Relay)> {
    setup::for_running()?;
    let binary = build::release()?;
    interrupt::check()?;
    let lab = Lab::up()?;
    let relay = Relay::start(binary)?;
    let myself = std::env::current_exe().context("finding the path of xtask")?;
    for host in [Host::Client, Host::Server] {
        host.start(&myself.to_string_lossy(), &["serve"], &relay::log(host.name())?)?;
    }
    Ok((lab, relay))
}

fn up() -> Result<()> {
    interrupt::catch();
    let (lab, _relay) = start()?;
    lab.leave_up();
    print!("{GUIDE}");
    Ok(())
}

/// Becomes the command, so that its exit code and its terminal are its own. It finds `xlat-ctl` and the socket.
fn exec(host: &str, program: &str, arguments: &[&str]) -> Result<()> {
    let host = Host::ALL.into_iter().find(|candidate| candidate.name() == host);
    let host = host.context("`lab exec` knows the hosts client, relay and server")?;
    if !lab::exists(host) {
        bail!("the lab is not up: `cargo xtask lab up` makes it");
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = [target_dir().join("release")].into_iter().chain(std::env::split_paths(&path));
    let mut command = host.command(program, arguments);
    command.env("PATH", std::env::join_paths(directories)?).env("XLAT_SOCKET", relay::socket());
    command.current_dir(std::env::current_dir()?);
    Err(command.exec()).context("starting nsenter")
}
