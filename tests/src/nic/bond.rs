//! A bond of one NIC of the relay, and a VLAN sub-interface on it.

use std::thread::sleep;

use anyhow::{Context as _, Result, ensure};

use super::{
    Found,
    bench::{Bench, SERVER_SEEN},
    steps::{LINK, mode_of, statistics},
    vlan::answers,
};

/// The relay attached to a bond: native where the driver takes a program, generic elsewhere.
pub(super) fn bond(bench: &mut Bench) -> Result<Found> {
    // Of Debian's kernels a module, which the first bond loads.
    let said = bench.relay.run("ip link add bond0 type bond mode active-backup miimon 100");
    if !said.success {
        return Ok(Found::Refused(format!("this machine makes no bond: {}", said.stderr.trim())));
    }
    bench.daemon()?.stop()?;
    let done = with_bond(bench);
    bench.daemon = None;
    let _ = bench.client.ip("link del far0.7");
    let _ = bench.relay.ip("link del bond0.7");
    bench.relay.ip("link del bond0")?;
    bench.relay.ip("link set nic0 up")?;
    bench.relay.ip("addr replace 203.0.113.1/24 dev nic0")?;
    sleep(LINK);
    bench.routes()?;
    bench.start()?;
    bench.ping(56).context("without the bond again")?;
    done.map(Found::Works)
}

fn with_bond(bench: &mut Bench) -> Result<String> {
    let relay = &bench.relay;
    relay.ip("link set nic0 down")?;
    relay.ip("addr flush dev nic0")?;
    relay.ip("link set nic0 master bond0")?;
    relay.ip("link set bond0 up")?;
    relay.ip("addr add 203.0.113.1/24 dev bond0")?;
    sleep(LINK);
    bench.start_on(&["bond0", "nic1"])?;
    let mode = mode_of(bench, "bond0")?;
    bench.ping(56)?;
    bench.ping(1400)?;
    statistics(bench)?;
    error_names_the_bond(bench)?;
    vlan(bench).context("a VLAN on the bond")?;
    Ok(format!("{mode}, and a VLAN on it"))
}

/// An error of the relay's own has the bond's address, which the NIC does not have.
fn error_names_the_bond(bench: &Bench) -> Result<()> {
    let said = bench.client.run(&format!("ping -n -c 3 -i 0.2 -W 1 -t 1 {SERVER_SEEN}"));
    ensure!(
        said.stdout.contains("From 203.0.113.1") && said.stdout.contains("Time to live exceeded"),
        "no Time Exceeded from the bond's address: {}{}",
        said.stdout,
        said.stderr
    );
    Ok(())
}

fn vlan(bench: &Bench) -> Result<()> {
    let Bench { client, relay, .. } = bench;
    // Tags that the NIC takes out are not seen by XDP.
    let _ = relay.run("ethtool -K nic0 rxvlan off");
    relay.ip("link add link bond0 name bond0.7 type vlan id 7")?;
    relay.ip("addr add 192.0.2.1/24 dev bond0.7")?;
    relay.ip("link set bond0.7 up")?;
    client.ip("link add link far0 name far0.7 type vlan id 7")?;
    client.ip("addr add 192.0.2.7/24 dev far0.7")?;
    client.ip("link set far0.7 up")?;
    client.ip("route replace default via 192.0.2.1")?;
    sleep(LINK);
    let before = bench.echoes()?;
    let log = tempfile::NamedTempFile::new()?;
    let ping = ["-n", "-i", "0.2", "-c", "10", "-I", "192.0.2.7", SERVER_SEEN];
    let running = client.start("ping", &ping, log.path())?;
    sleep(LINK);
    drop(running);
    client.ip("route replace default via 203.0.113.1")?;
    let (answers, counted) = (answers(log.path())?, bench.echoes()? - before);
    ensure!(answers >= 9 && counted >= 18, "of 10 echoes {answers} were answered, and {counted} packets translated");
    Ok(())
}
