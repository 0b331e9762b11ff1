//! TCP in bulk between namespaces, by iperf3: where the kernel's own path is at its best, as it moves segments of 64 KiB.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use xlat_tests::lab::Namespace;

use crate::{
    progress::Progress,
    rates::Tayga,
    relay::{Attach, Relay},
    rig::{self, CLIENTS, SERVICES},
    scene::Table,
    stats::Spread,
};

/// Seconds of one transfer.
const SECONDS: u32 = 2;
/// The service, which also has an IPv4 address for Linux to forward to.
const SERVER: &str = "2001:db8:5e1::1000:0";
const SERVER_OWN4: &str = "20.0.0.9";
const SERVER_SEEN: &str = "16.0.0.0";

/// One way through.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Row {
    /// What forwards.
    pub(crate) subject: String,
    /// Whether the links carry large segments, or frames as on a wire.
    pub(crate) segments: bool,
    /// Gbit/s.
    pub(crate) gbits: Spread,
}

struct Path {
    subject: &'static str,
    segments: bool,
    server: &'static str,
    client: Namespace,
    end: Namespace,
    relay: Namespace,
    _xlat: Option<Relay>,
    _tayga: Option<Tayga>,
}

/// Measures all ways in turn, `rounds` times.
///
/// # Errors
/// Without root, iperf3 or TAYGA.
pub(crate) fn run(rounds: u32) -> Result<Vec<Row>> {
    let mut progress = Progress::new("TCP in bulk", rounds as usize * 4);
    let mut paths = [
        Path::new("Linux", true, SERVER_OWN4)?,
        Path::new("Linux", false, SERVER_OWN4)?,
        Path::new("xlat", false, SERVER_SEEN)?,
        Path::new("TAYGA", true, SERVER_SEEN)?,
    ];
    let mut gbits: Vec<Vec<f64>> = vec![Vec::new(); paths.len()];
    for _ in 0..rounds {
        for (path, gbits) in paths.iter_mut().zip(&mut gbits) {
            progress.step(path.subject);
            gbits.push(path.transfer().with_context(|| format!("a transfer through {}", path.subject))?);
        }
    }
    progress.end();
    let row = |(path, gbits): (&Path, Vec<f64>)| Row {
        subject: path.subject.to_owned(),
        segments: path.segments,
        gbits: Spread::of(gbits),
    };
    Ok(paths.iter().zip(gbits).map(row).collect())
}

impl Path {
    fn new(subject: &'static str, segments: bool, server: &'static str) -> Result<Self> {
        let (client, relay, end) = (Namespace::new()?, Namespace::new()?, Namespace::new()?);
        for tree in ["all", "default"] {
            relay.sysctl(&format!("ipv4/conf/{tree}/forwarding"), "1")?;
            relay.sysctl(&format!("ipv6/conf/{tree}/forwarding"), "1")?;
        }
        link(&relay, CLIENTS, &client, segments)?;
        link(&relay, SERVICES, &end, segments)?;
        client.ip("addr add 64.0.0.7/24 dev eth")?;
        client.ip("route add default via 64.0.0.1")?;
        relay.ip(&format!("addr add 64.0.0.1/24 dev {CLIENTS}"))?;
        relay.ip(&format!("addr add 20.0.0.1/24 dev {SERVICES}"))?;
        relay.ip(&format!("addr add 2001:db8:5e1::1/64 dev {SERVICES} nodad"))?;
        end.ip(&format!("addr add {SERVER_OWN4}/24 dev eth"))?;
        end.ip(&format!("addr add {SERVER}/64 dev eth nodad"))?;
        end.ip("route add default via 20.0.0.1")?;
        end.ip("route add default via 2001:db8:5e1::1")?;
        let xlat =
            if subject == "xlat" { Some(Relay::load_in(&relay, 0, Table::ONE, Attach::Everywhere)?) } else { None };
        let tayga = if subject == "TAYGA" { Some(Tayga::start(&relay)?) } else { None };
        Ok(Self { subject, segments, server, client, end, relay, _xlat: xlat, _tayga: tayga })
    }

    /// Gbit/s of one transfer.
    fn transfer(&mut self) -> Result<f64> {
        let directory = tempfile::tempdir()?;
        let _server = rig::start(&self.end, "iperf3", &["-s", "-1"], &directory.path().join("server"))?;
        thread::sleep(Duration::from_millis(300));
        let said = self.client.run(&format!("iperf3 -c {} -t {SECONDS} -J", self.server));
        if !said.success {
            let relay = self.relay.run("ip -s link").stdout;
            bail!("iperf3 failed: {}{}\n{relay}", said.stdout.trim(), said.stderr.trim());
        }
        let json: serde_json::Value = serde_json::from_str(&said.stdout).context("reading what iperf3 says")?;
        let rate = json["end"]["sum_received"]["bits_per_second"].as_f64();
        Ok(rate.context("iperf3 names no rate")? / 1e9)
    }
}

/// A link as namespaces have it, or as a wire.
fn link(relay: &Namespace, name: &str, other: &Namespace, segments: bool) -> Result<()> {
    if !segments {
        return relay.link(name, other, "eth");
    }
    relay.ip(&format!("link add name {name} type veth peer name eth netns {}", other.path()))?;
    relay.ip(&format!("link set dev {name} up"))?;
    other.ip("link set dev eth up")?;
    Ok(())
}
