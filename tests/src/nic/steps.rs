//! The steps, in their order; each leaves the relay as it found it.

use std::{
    net::SocketAddr,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use aya::programs::loaded_programs;

use super::{
    Found,
    bench::{Bench, SERVER_SEEN},
    bond::bond,
    vlan::vlan,
};
use crate::lab::{TcpServer, random_bytes};

/// A step: its name and what it does.
pub type Step = (&'static str, fn(&mut Bench) -> Result<Found>);

/// All of them.
pub const STEPS: &[Step] = &[
    ("attach", attach),
    ("verifier", verifier),
    ("echo", echo),
    ("tcp", tcp),
    ("statistics", statistics),
    ("vlan", vlan),
    ("link down and up", link_down_and_up),
    ("mtu while attached", mtu_while_attached),
    ("jumbo while attached", jumbo_while_attached),
    ("jumbo from the start", jumbo_from_the_start),
    ("channels", channels),
    ("bond", bond),
    ("daemon killed", daemon_killed),
    ("detach", detach),
];

/// How long an emulated link takes to come up at most.
pub(super) const LINK: Duration = Duration::from_secs(4);

fn attach(bench: &mut Bench) -> Result<Found> {
    let begin = Instant::now();
    bench.start()?;
    bench.start = begin.elapsed();
    Ok(Found::Works(modes(bench)?))
}

/// What the verifier went through for the programs that are loaded, and how long they took to load.
fn verifier(bench: &mut Bench) -> Result<Found> {
    let programs: Vec<_> = loaded_programs()
        .filter_map(Result::ok)
        .filter(|program| program.name_as_str().is_some_and(|name| name.starts_with("xlat")))
        .collect();
    ensure!(!programs.is_empty(), "no program is loaded");
    // Since Linux 5.16.
    let counts: Vec<u64> = programs.iter().filter_map(|info| Some(info.verified_instruction_count()?.into())).collect();
    let told = match counts.iter().max() {
        Some(most) => format!("{} instructions, {most} for the largest", counts.iter().sum::<u64>()),
        None => "the kernel does not tell the instructions".to_owned(),
    };
    Ok(Found::Works(format!("{} programs, {told}; ready after {:.1} s", programs.len(), bench.start.as_secs_f64())))
}

fn modes(bench: &Bench) -> Result<String> {
    let status = bench.ctl("status")?;
    let interfaces = status["interfaces"].as_array().context("`status` names no interfaces")?;
    let modes: Vec<&str> = interfaces.iter().map(|interface| interface["mode"].as_str().unwrap_or("none")).collect();
    ensure!(modes.iter().all(|mode| *mode == modes[0]), "the modes differ: {modes:?}");
    Ok(modes[0].to_owned())
}

/// How the program is attached to one interface.
pub(super) fn mode_of(bench: &Bench, name: &str) -> Result<String> {
    let status = bench.ctl("status")?;
    let interfaces = status["interfaces"].as_array().context("`status` names no interfaces")?;
    let there = interfaces.iter().find(|interface| interface["name"] == name).context("`status` does not name it")?;
    let mode = there["mode"].as_str().with_context(|| format!("{name} is not attached: {there}"))?;
    Ok(mode.to_owned())
}

fn echo(bench: &mut Bench) -> Result<Found> {
    sleep(LINK);
    bench.ping(56)?;
    bench.ping(1400)?;
    Ok(Found::Works(String::new()))
}

fn tcp(bench: &mut Bench) -> Result<Found> {
    const LENGTH: usize = 2 << 20;
    let server = SocketAddr::from(([0x2001, 0xdb8, 0x5e1, 1, 0, 0, 0, 0x10], 80));
    TcpServer::start(&bench.server, server, random_bytes(LENGTH, 7))?;
    let url = format!("http://{SERVER_SEEN}/");
    let said = bench.client.run(&format!(
        "curl --silent --show-error --fail --max-time 60 --output /dev/null --write-out %{{size_download}} {url}"
    ));
    ensure!(
        said.stdout.trim() == LENGTH.to_string(),
        "a download of {LENGTH} bytes gave {}{}",
        said.stdout,
        said.stderr
    );
    Ok(Found::Works(String::new()))
}

pub(super) fn statistics(bench: &mut Bench) -> Result<Found> {
    let before = bench.echoes()?;
    let said = bench.client.run(&format!("ping -n -q -c 10 -i 0.2 {SERVER_SEEN}"));
    ensure!(said.success, "`{}` failed: {}", said.command, said.stdout);
    let counted = bench.echoes()? - before;
    // A late answer to an echo of the step before may be among them.
    ensure!((20..=22).contains(&counted), "10 echoes and their answers were counted as {counted} packets");
    Ok(Found::Works(String::new()))
}

fn link_down_and_up(bench: &mut Bench) -> Result<Found> {
    for name in ["nic0", "nic1"] {
        bench.relay.ip(&format!("link set {name} down"))?;
        bench.relay.ip(&format!("link set {name} up"))?;
    }
    sleep(LINK);
    bench.routes()?;
    bench.ping(56)?;
    Ok(Found::Works(String::new()))
}

/// Sets the MTU of all four ends. Gives the words of one that refuses: with a veth, the far one may, for the program at this one.
fn set_mtu(bench: &Bench, mtu: u32) -> Result<Option<String>> {
    let ends = [(&bench.client, "far0"), (&bench.server, "far1"), (&bench.relay, "nic0"), (&bench.relay, "nic1")];
    let mut set = ends.iter().map(|(machine, name)| machine.ip(&format!("link set {name} mtu {mtu}")));
    let refused = set.find_map(Result::err).map(|error| format!("{error:#}"));
    sleep(LINK);
    bench.routes()?;
    Ok(refused)
}

fn mtu_while_attached(bench: &mut Bench) -> Result<Found> {
    let refused = set_mtu(bench, 1400)?;
    if refused.is_none() {
        bench.ping(1300)?;
    }
    match set_mtu(bench, 1500)?.or(refused) {
        Some(words) => Ok(Found::Refused(words)),
        None => bench.ping(1400).map(|()| Found::Works(String::new())),
    }
}

/// Bytes of an echo that fills most of a jumbo frame.
const JUMBO: u32 = 8000;

fn jumbo_while_attached(bench: &mut Bench) -> Result<Found> {
    let refused = set_mtu(bench, 9000)?;
    let done = if refused.is_none() { bench.ping(JUMBO) } else { Ok(()) };
    set_mtu(bench, 1500)?;
    done?;
    Ok(refused.map_or_else(|| Found::Works(String::new()), Found::Refused))
}

fn jumbo_from_the_start(bench: &mut Bench) -> Result<Found> {
    bench.daemon()?.stop()?;
    if let Some(words) = set_mtu(bench, 9000)? {
        set_mtu(bench, 1500)?;
        bench.start()?;
        return Ok(Found::Refused(words));
    }
    bench.start()?;
    sleep(LINK);
    let mode = modes(bench)?;
    let done = bench.ping(JUMBO);
    let why = bench.daemon()?.log();
    bench.daemon()?.stop()?;
    set_mtu(bench, 1500)?;
    bench.start()?;
    done?;
    let why = why.lines().find(|line| line.contains("takes no XDP program") || line.contains("native mode:"));
    Ok(Found::Works(format!("{mode}{}", why.map(|line| format!(": {}", line.trim())).unwrap_or_default())))
}

fn channels(bench: &mut Bench) -> Result<Found> {
    let said = bench.relay.run("ethtool -l nic0");
    let numbers: Vec<u32> =
        said.stdout.lines().filter_map(|line| line.strip_prefix("Combined:")?.trim().parse().ok()).collect();
    let [most, now] = numbers[..] else {
        return Ok(Found::Refused(said.stderr.lines().next().unwrap_or("no combined channels").trim().to_owned()));
    };
    if most < 2 {
        return Ok(Found::Refused(format!("the NIC has {most} channel only")));
    }
    let other = if now == most { 1 } else { most };
    let said = bench.relay.run(&format!("ethtool -L nic0 combined {other}"));
    if !said.success {
        return Ok(Found::Refused(said.stderr.trim().to_owned()));
    }
    sleep(LINK);
    let done = bench.ping(56);
    let back = bench.relay.run(&format!("ethtool -L nic0 combined {now}"));
    sleep(LINK);
    done?;
    ensure!(back.success, "{}", back.stderr.trim());
    bench.ping(56)?;
    Ok(Found::Works(format!("{now} → {other} → {now}")))
}

fn daemon_killed(bench: &mut Bench) -> Result<Found> {
    bench.daemon()?.kill()?;
    bench.ping(56).context("without a daemon")?;
    let Bench { daemon, relay, .. } = bench;
    daemon.as_mut().context("a daemon")?.start_again(relay, &[])?;
    bench.ping(56).context("with the next daemon")?;
    Ok(Found::Works(String::new()))
}

fn detach(bench: &mut Bench) -> Result<Found> {
    bench.daemon()?.stop()?;
    sleep(LINK);
    let links = bench.relay.ip("-details link show")?;
    if links.contains("prog/xdp") || links.contains("xlat0") {
        bail!("something is left: {links}");
    }
    let said = bench.client.run("ping -n -q -c 3 -i 0.2 203.0.113.1");
    ensure!(said.success, "the relay cannot be reached: {}", said.stdout);
    Ok(Found::Works(String::new()))
}
