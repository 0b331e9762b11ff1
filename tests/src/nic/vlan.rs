//! VLAN sub-interfaces on a NIC of the relay: made, and gone, while the daemon runs and packets flow.

use std::{
    fs,
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{
    Found,
    bench::{Bench, SERVER_SEEN},
};

/// How soon the relay has to have followed a change of its machine.
const SOON: Duration = Duration::from_secs(1);

/// Echoes through a sub-interface that is made, goes, and is made again. Without it none is answered.
pub(super) fn vlan(bench: &mut Bench) -> Result<Found> {
    // Tags that the NIC takes out are not seen by XDP. Not every driver lets that be switched.
    let said = bench.relay.run("ethtool -K nic0 rxvlan off");
    if !said.success && !said.stderr.contains("Could not change any") {
        return Ok(Found::Refused(format!("rxvlan cannot be switched off: {}", said.stderr.trim())));
    }
    let done = come_and_go(bench);
    let _ = bench.client.ip("link del far0.7");
    let _ = bench.relay.ip("link del nic0.7");
    let _ = bench.client.ip("route replace default via 203.0.113.1");
    done.map(Found::Works)
}

/// The client sends through the VLAN all the time; its neighbour entry is fixed, so that only the relay is waited for.
fn come_and_go(bench: &Bench) -> Result<String> {
    let Bench { client, relay, .. } = bench;
    client.ip("link add link far0 name far0.7 type vlan id 7")?;
    client.ip("addr add 192.0.2.7/24 dev far0.7")?;
    client.ip("link set far0.7 up")?;
    client.ip("route replace default via 192.0.2.1")?;
    let shown: serde_json::Value = serde_json::from_str(&relay.ip("-json link show dev nic0")?)?;
    let address = shown[0]["address"].as_str().context("`ip` names no address of nic0")?;
    client.ip(&format!("neigh replace 192.0.2.1 lladdr {address} dev far0.7 nud permanent"))?;
    let log = tempfile::NamedTempFile::new()?;
    let _load = client.start("ping", &["-n", "-i", "0.02", "-I", "192.0.2.7", SERVER_SEEN], log.path())?;
    let first = answered(bench, log.path())?;
    relay.ip("link del nic0.7")?;
    sleep(SOON);
    let before = answers(log.path())?;
    sleep(SOON);
    let late = answers(log.path())? - before;
    ensure!(late == 0, "{late} echoes of a VLAN whose sub-interface is gone were answered");
    let again = answered(bench, log.path())?;
    Ok(format!("answered {} ms after it is made, {} ms when made again", first.as_millis(), again.as_millis()))
}

/// Makes the relay's sub-interface. Gives how long it took from then until an echo was answered through it.
fn answered(bench: &Bench, log: &Path) -> Result<Duration> {
    let before = answers(log)?;
    bench.relay.ip("link add link nic0 name nic0.7 type vlan id 7")?;
    bench.relay.ip("addr add 192.0.2.1/24 dev nic0.7")?;
    bench.relay.ip("link set nic0.7 up")?;
    let begin = Instant::now();
    while answers(log)? == before {
        ensure!(
            begin.elapsed() < 10 * SOON,
            "no echo is answered within {:?} of the sub-interface's making",
            10 * SOON
        );
        sleep(Duration::from_millis(5));
    }
    let time = begin.elapsed();
    ensure!(
        time <= SOON,
        "the first echo is answered {time:.1?} after the sub-interface is made, which is more than {SOON:?}"
    );
    Ok(time)
}

/// The answers that `ping` has written down.
pub(super) fn answers(log: &Path) -> Result<usize> {
    Ok(fs::read_to_string(log)?.matches("bytes from").count())
}
