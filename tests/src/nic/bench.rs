//! The three machines, each a network namespace, and the daemon on the middle one.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};
use nix::unistd::Pid;

use crate::lab::{Daemon, Namespace, Said};

/// The server's address as the client knows it.
pub(super) const SERVER_SEEN: &str = "198.51.100.10";
/// The client's address as the server knows it.
pub(super) const CLIENT_SEEN: &str = "2001:db8:6464::203.0.113.7";

const CONFIGURATION: &str = r#"
[dataplane]
interfaces = INTERFACES
[translation]
prefixes = ["2001:db8:6464::/96"]
lowest_ipv6_mtu = 9000
[[eam]]
ipv4 = "198.51.100.10"
ipv6 = "2001:db8:5e1:1::10"
[state]
directory = "STATE"
[control]
socket = "SOCKET"
group = "root"
[metrics]
listen = "127.0.0.1:9464"
"#;

/// The machines, wired and addressed.
pub struct Bench {
    /// IPv4 only.
    pub client: Namespace,
    /// Between them.
    pub relay: Namespace,
    /// IPv6 only.
    pub server: Namespace,
    /// On the relay, while it runs.
    pub daemon: Option<Daemon>,
    /// How long it took from its start until it translated.
    pub start: Duration,
}

impl Bench {
    /// Makes the machines of the NICs `nic0`, `nic1`, `far0` and `far1`, or of veth pairs.
    ///
    /// # Errors
    /// A NIC is missing, or what `ip` says.
    pub fn new(is_veth: bool) -> Result<Self> {
        let (client, relay, server) = (Namespace::new()?, Namespace::new()?, Namespace::new()?);
        if is_veth {
            relay.link("nic0", &client, "far0")?;
            relay.link("nic1", &server, "far1")?;
        } else {
            for (name, machine) in [("nic0", &relay), ("nic1", &relay), ("far0", &client), ("far1", &server)] {
                give(name, machine)?;
            }
        }
        let bench = Self { client, relay, server, daemon: None, start: Duration::ZERO };
        bench.address()?;
        Ok(bench)
    }

    fn address(&self) -> Result<()> {
        let Self { client, relay, server, .. } = self;
        for tree in ["all", "default"] {
            relay.sysctl(&format!("ipv4/conf/{tree}/forwarding"), "1")?;
            relay.sysctl(&format!("ipv6/conf/{tree}/forwarding"), "1")?;
        }
        for (machine, name) in [(relay, "nic0"), (relay, "nic1"), (client, "far0"), (server, "far1")] {
            machine.ip(&format!("link set {name} up"))?;
        }
        client.ip("addr add 203.0.113.7/24 dev far0")?;
        relay.ip("addr add 203.0.113.1/24 dev nic0")?;
        relay.ip("addr add 2001:db8:fe::1/64 dev nic1 nodad")?;
        server.ip("addr add 2001:db8:fe::2/64 dev far1 nodad")?;
        server.ip("addr add 2001:db8:5e1:1::10/128 dev far1 nodad")?;
        self.routes()
    }

    /// The routes, again: a link that goes down takes its own with it.
    ///
    /// # Errors
    /// What `ip` says.
    pub fn routes(&self) -> Result<()> {
        let Self { client, relay, server, .. } = self;
        relay.ip("addr replace 2001:db8:fe::1/64 dev nic1 nodad")?;
        client.ip("route replace default via 203.0.113.1")?;
        relay.ip("route replace 2001:db8:5e1::/48 via 2001:db8:fe::2")?;
        server.ip("route replace default via 2001:db8:fe::1").map(|_| ())
    }

    /// Starts the daemon.
    ///
    /// # Errors
    /// It does not come to translate.
    pub fn start(&mut self) -> Result<()> {
        self.start_on(&["nic0", "nic1"])
    }

    /// Starts the daemon on these interfaces.
    ///
    /// # Errors
    /// It does not come to translate.
    pub fn start_on(&mut self, interfaces: &[&str]) -> Result<()> {
        self.daemon = None;
        let configuration = CONFIGURATION.replace("INTERFACES", &format!("{interfaces:?}"));
        self.daemon = Some(Daemon::start(&self.relay, &configuration)?);
        Ok(())
    }

    /// The running daemon.
    ///
    /// # Errors
    /// None runs.
    pub fn daemon(&mut self) -> Result<&mut Daemon> {
        self.daemon.as_mut().context("no daemon runs")
    }

    /// What `xlat-ctl VERB --json` prints.
    ///
    /// # Errors
    /// It fails, or prints no JSON.
    pub fn ctl(&self, verb: &str) -> Result<serde_json::Value> {
        let daemon = self.daemon.as_ref().context("no daemon runs")?;
        let said = daemon.ctl(&self.relay, &format!("{verb} --json"));
        if !said.success {
            bail!("`xlat-ctl {verb}` failed: {}", said.stderr.trim());
        }
        serde_json::from_str(&said.stdout).with_context(|| format!("reading what `xlat-ctl {verb}` printed"))
    }

    /// Translated ICMP packets, echoes and their answers, since the program was loaded.
    ///
    /// # Errors
    /// As of [`Self::ctl`].
    pub fn echoes(&self) -> Result<u64> {
        let stats = self.ctl("stats")?;
        let rows = stats["traffic"].as_array().context("`stats` names no traffic")?;
        // What the relay itself asks its neighbours, and is answered, is passed.
        let echoes = rows.iter().filter(|row| row["protocol"] == "icmp" && row["verdict"] != "passed");
        Ok(echoes.filter_map(|row| row["packets"].as_u64()).sum())
    }

    /// Echoes with `payload` bytes each, from both sides, all of which must be answered.
    ///
    /// # Errors
    /// One is not, with what `ping` says.
    pub fn ping(&self, payload: u32) -> Result<()> {
        for (machine, options, to) in [(&self.client, "-M do", SERVER_SEEN), (&self.server, "-M do", CLIENT_SEEN)] {
            // The first may meet neighbours that are still to be resolved, and a link that is just coming up.
            let warm = format!("ping -n -q -c 40 -i 0.25 -W 1 -w 20 {options} -s {payload} {to}");
            let once = warm.replace("-c 40", "-c 1");
            if !machine.run(&once).success && !machine.run(&once).success {
                bail!("{}", failed(&machine.run(&once)));
            }
            let said = machine.run(&format!("ping -n -q -c 5 -i 0.2 -W 2 {options} -s {payload} {to}"));
            if !said.success || !said.stdout.contains(" 0% packet loss") {
                bail!("{}", failed(&said));
            }
        }
        Ok(())
    }
}

fn failed(said: &Said) -> String {
    let text = format!("{}{}", said.stdout, said.stderr);
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("loss") || line.contains("rror")).collect();
    format!("`{}`: {}", said.command, if lines.is_empty() { text.trim() } else { lines[0] })
}

/// Moves a NIC of this machine into a namespace. It goes back when that is gone.
fn give(name: &str, to: &Namespace) -> Result<()> {
    if !Path::new("/sys/class/net").join(name).exists() {
        bail!("there is no NIC {name}: run this with `cargo xtask vm --nic DRIVER`, or with `--veth`");
    }
    to.adopt(name, Pid::this())
}
