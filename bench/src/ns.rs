//! Nanoseconds of one packet, by `BPF_PROG_TEST_RUN`.
//!
//! A translation changes its packet, so the same frame cannot be handed in again and again. A program of the bench, `measure`,
//! writes the packet anew each time and calls the subject within the same run. What it costs itself is taken out by the same
//! run with the bare XDP_TX as its subject:
//!
//! ```text
//! figure = (measure + subject) − (measure + bare XDP_TX) + bare XDP_TX by itself
//! ```

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use rand::{SeedableRng as _, rngs::SmallRng, seq::SliceRandom as _};
use serde::Serialize;
use xlat_bench_common::{CHASES, Setup};
use xlat_common::table::Bucket;
use xlat_tests::lab::Namespace;

use crate::{
    frame::packets,
    programs::Programs,
    progress::Progress,
    relay::{Attach, Relay},
    rig::{MTU, Rig, Shape},
    scene::{Scene, Table, Way},
    schedule::schedule,
    stats::Spread,
};

/// Runs in one measurement.
const REPEAT: u32 = 50_000;
/// Runs before it, which fill the caches.
const WARM_UP: u32 = 5_000;
/// EAMs of the table whose memory is measured.
const LARGE: u32 = 1_000_000;

/// What one scene took.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// `4→6` or `6→4`.
    pub(crate) way: String,
    /// The scene's name.
    pub(crate) scene: String,
    /// What XDP was told to do with the last packet.
    pub(crate) verdict: String,
    /// Nanoseconds of a packet.
    pub(crate) ns: Spread,
    /// Over the bare XDP_TX of the same round.
    pub(crate) over_transmit: Spread,
    /// Over the plainest scene of the same way, of the same round.
    pub(crate) over_plain: Spread,
    /// More than the plainest scene of the same way, of the same round; nanoseconds.
    pub(crate) more_than_plain: Spread,
}

/// All of them.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// The bare XDP_TX, nanoseconds.
    pub(crate) transmit: Spread,
    /// One dependent read of a random cache line in memory as large as a family's table of 1,000,000 EAMs, nanoseconds.
    pub(crate) memory: Spread,
    /// Bytes of that memory.
    pub(crate) memory_bytes: u64,
    /// What `measure` costs itself, nanoseconds.
    pub(crate) writing: Spread,
    /// The scenes.
    pub(crate) rows: Vec<Row>,
}

/// The figures of one scene, by round.
struct Measured {
    scene: Scene,
    verdict: u32,
    ns: Vec<f64>,
}

/// Measures the scenes in turn, `rounds` times.
///
/// # Errors
/// Without root or BPF, or a packet fares otherwise than its scene says.
pub(crate) fn run(scenes: &[Scene], rounds: u32) -> Result<Report> {
    let outside = Namespace::new()?;
    let rig = Rig::new(&outside, 1, Shape { one_arm: false, mtu: MTU, xdp_outside: true })?;
    let lines = (LARGE.next_power_of_two() as usize).max(64);
    let mut programs = Programs::load(&outside, lines as u32)?;
    programs.set_chain(&chain(lines))?;
    // An interface gives a frame its place only if it has a program.
    programs.attach(&rig.relay, "discard", rig.a.ifindex)?;
    programs.attach(&rig.relay, "discard", rig.b.ifindex)?;
    let mut progress = Progress::new("ns per packet", rounds as usize * scenes.len());
    let mut relays = BTreeMap::new();
    for scene in scenes {
        if !relays.contains_key(&scene.table) {
            progress.say(&format!("loading a table of {} EAMs", scene.table.eams));
            let relay = Relay::load(&rig, relays.len() as u32, scene.table, Attach::Nowhere)?;
            relays.insert(scene.table, (relay.entry()?, relay));
        }
    }
    let transmit = programs.fd("transmit")?;
    programs.set_up(Setup { generate_into: rig.a.outside, redirect_into: rig.b.ifindex, ..Setup::default() })?;
    programs.reset()?;
    let mut all: Vec<Measured> =
        scenes.iter().map(|scene| Measured { scene: scene.clone(), verdict: 0, ns: Vec::new() }).collect();
    let (mut bare, mut memory, mut writing) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let base = time(&mut programs, &rig.relay, "transmit", &[0; 128], rig.a.ifindex)?.1;
        let nothing = time(&mut programs, &rig.relay, "discard", &[0; 128], rig.a.ifindex)?.1;
        let chase = time(&mut programs, &rig.relay, "chase", &[0; 128], rig.a.ifindex)?.1;
        bare.push(base);
        memory.push((chase - nothing) / f64::from(CHASES));
        for measured in &mut all {
            progress.step(&format!("{} {}", measured.scene.way, measured.scene.name));
            let arrival = if measured.scene.way == Way::FourToSix { &rig.a } else { &rig.b };
            let made = packets(&measured.scene, arrival.macs);
            programs.set_packets(&made, &schedule(&measured.scene, &made))?;
            let frame = vec![0; made[0].len as usize];
            let mut with = |subject| -> Result<(u32, f64)> {
                programs.set_subject(subject)?;
                programs.forget_frames()?;
                time(&mut programs, &rig.relay, "measure", &frame, arrival.ifindex)
            };
            let alone = with(&transmit)?.1;
            let (verdict, whole) = with(&relays[&measured.scene.table].0)?;
            if verdict == 0 {
                bail!("{} {}: the program was not called, or failed", measured.scene.way, measured.scene.name);
            }
            measured.verdict = verdict;
            measured.ns.push(whole - alone + base);
            writing.push(alone - base);
        }
    }
    progress.end();
    Ok(report(&all, &bare, &memory, &writing, lines))
}

/// One program's verdict and nanoseconds: the kernel's figure, which leaves out when something else ran, and is whole
/// nanoseconds, rounded down.
fn time(programs: &mut Programs, machine: &Namespace, name: &str, frame: &[u8], ifindex: u32) -> Result<(u32, f64)> {
    machine.inside(|| {
        programs.run(name, frame, ifindex, WARM_UP)?;
        programs.forget_frames()?;
        let (verdict, nanoseconds) = programs.run(name, frame, ifindex, REPEAT)?;
        Ok((verdict, nanoseconds as f64 + 0.5))
    })
}

/// One circle through all lines, in no order.
fn chain(lines: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..lines as u32).collect();
    order.shuffle(&mut SmallRng::seed_from_u64(1));
    let mut next = vec![0; lines];
    for (here, there) in order.iter().zip(order.iter().cycle().skip(1)) {
        next[*here as usize] = *there;
    }
    next
}

fn report(all: &[Measured], bare: &[f64], memory: &[f64], writing: &[f64], lines: usize) -> Report {
    let plain = |way: Way| {
        let plain = all.iter().find(|measured| measured.scene.way == way && is_plain(&measured.scene));
        plain.map_or(bare, |measured| &measured.ns)
    };
    let row = |measured: &Measured| Row {
        way: measured.scene.way.to_string(),
        scene: measured.scene.name.clone(),
        verdict: verdict(measured.verdict).to_owned(),
        ns: Spread::of(measured.ns.iter().copied()),
        over_transmit: Spread::of_pairs(&measured.ns, bare, |ns, bare| ns / bare),
        over_plain: Spread::of_pairs(&measured.ns, plain(measured.scene.way), |ns, plain| ns / plain),
        more_than_plain: Spread::of_pairs(&measured.ns, plain(measured.scene.way), |ns, plain| ns - plain),
    };
    Report {
        transmit: Spread::of(bare.iter().copied()),
        memory: Spread::of(memory.iter().copied()),
        memory_bytes: (lines * size_of::<Bucket>()) as u64,
        writing: Spread::of(writing.iter().copied()),
        rows: all.iter().map(row).collect(),
    }
}

fn is_plain(scene: &Scene) -> bool {
    scene.name == "UDP" && scene.table == Table::ONE
}

fn verdict(action: u32) -> &'static str {
    match action {
        1 => "drop",
        2 => "pass",
        3 => "tx",
        4 => "redirect",
        _ => "aborted",
    }
}

#[cfg(test)]
mod tests {
    use super::chain;

    #[test]
    fn the_chain_leads_through_every_line() {
        let next = chain(1000);
        let mut seen = vec![false; 1000];
        let mut line = 0;
        for _ in 0..1000 {
            seen[line] = true;
            line = next[line] as usize;
        }
        assert!(line == 0 && seen.iter().all(|seen| *seen));
    }
}
