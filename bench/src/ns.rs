//! Nanoseconds of one packet, by `BPF_PROG_TEST_RUN`.
//!
//! A translation changes its packet, so the same frame cannot be handed in again and again. A program of the bench, `measure`,
//! writes the packet anew each time and calls the subject within the same run. What it costs itself is taken out by the same
//! run with the bare XDP_TX as its subject:
//!
//! ```text
//! figure = (measure + subject) − (measure + bare XDP_TX) + bare XDP_TX by itself
//! ```

use std::{collections::BTreeMap, time::Instant};

use anyhow::{Result, bail};
use aya::programs::ProgramFd;
use rand::{SeedableRng as _, rngs::SmallRng, seq::SliceRandom as _};
use serde::{Deserialize, Serialize};
use xlat_bench_common::{CHASES, Setup};
use xlat_common::table::Bucket;
use xlat_tests::lab::Namespace;

use crate::{
    programs::{Packets, Place, Programs},
    progress::Progress,
    relay::{Attach, Relay},
    rig::{MTU, Rig, Shape},
    scene::{Kind, Scene, Table, Way},
    schedule::population,
    stats::Spread,
};

/// Fewest runs of one measurement.
const REPEAT: u32 = 20_000;
/// Fewest runs before it, which fill the caches.
const WARM_UP: u32 = 5_000;
/// Most of both: a second or so.
const MOST: u32 = 1 << 21;
/// How often what belongs together is measured in turn; the least time counts, which is the least disturbed.
const TURNS: usize = 12;
/// Programs of the bench that do less than a translator, and what that is.
const FLOORS: [(&str, &str); 2] =
    [("redirect", "a redirect, nothing else"), ("rewrite", "new headers and a redirect, nothing else")];
/// EAMs of the table whose memory is measured.
const LARGE: u32 = 1_000_000;

/// What one scene took.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Row {
    /// `4→6` or `6→4`.
    pub(crate) way: String,
    /// The scene's name.
    pub(crate) scene: String,
    /// What XDP was told to do with the last packet.
    pub(crate) verdict: String,
    /// Nanoseconds of a packet.
    pub(crate) ns: Spread,
    /// Over the bare XDP_TX, measured side by side.
    pub(crate) over_transmit: Spread,
    /// Over the plainest scene of the same way, measured side by side.
    pub(crate) over_plain: Spread,
    /// More than that, in dependent reads of memory, measured side by side.
    pub(crate) reads_more: Spread,
}

/// All of them.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Report {
    /// The bare XDP_TX, nanoseconds.
    pub(crate) transmit: Spread,
    /// One dependent read of a random cache line in memory as large as a family's table of 1,000,000 EAMs, nanoseconds.
    pub(crate) memory: Spread,
    /// Bytes of that memory.
    pub(crate) memory_bytes: u64,
    /// What `measure` costs itself, nanoseconds.
    pub(crate) writing: Spread,
    /// Of UDP each way: a bare redirect, and new headers and a redirect without knowing or computing anything, which no
    /// translator is faster than.
    #[serde(default)]
    pub(crate) floors: Vec<Floor>,
    /// The scenes.
    pub(crate) rows: Vec<Row>,
}

/// What the least that a translator has to do takes.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Floor {
    /// `4→6` or `6→4`.
    pub(crate) way: String,
    /// What is done.
    #[serde(default)]
    pub(crate) what: String,
    /// Nanoseconds of a packet.
    pub(crate) ns: Spread,
    /// Over the bare XDP_TX, measured side by side.
    pub(crate) over_transmit: Spread,
}

/// The figures of one scene.
struct Measured {
    scene: Scene,
    verdict: u32,
    rounds: Vec<Round>,
}

/// What was measured side by side, nanoseconds of one packet.
#[derive(Clone, Copy)]
struct Round {
    transmit: f64,
    writing: f64,
    memory: f64,
    plain: f64,
    scene: f64,
}

/// What measuring takes.
struct Bench {
    programs: Programs,
    rig: Rig,
    relays: BTreeMap<Table, (ProgramFd, Relay)>,
    transmit: ProgramFd,
    _outside: Namespace,
}

/// Measures the scenes in turn, `rounds` times.
///
/// # Errors
/// Without root or BPF, or a program fails.
pub(crate) fn run(scenes: &[Scene], rounds: u32) -> Result<Report> {
    let lines = LARGE.next_power_of_two() as usize;
    let mut progress = Progress::new("ns per packet", rounds as usize * scenes.len());
    let mut bench = Bench::new(scenes, lines, &progress)?;
    let mut all: Vec<Measured> =
        scenes.iter().map(|scene| Measured { scene: scene.clone(), verdict: 0, rounds: Vec::new() }).collect();
    for _ in 0..rounds {
        for measured in &mut all {
            progress.step(&measured.scene.full_name());
            let (verdict, round) = bench.round(&measured.scene)?;
            measured.verdict = verdict;
            measured.rounds.push(round);
        }
    }
    progress.end();
    let mut floors = Vec::new();
    for way in Way::BOTH {
        for (program, what) in FLOORS {
            floors.push(bench.floor(way, program, what, rounds)?);
        }
    }
    Ok(Report { floors, ..report(&all, lines) })
}

impl Bench {
    fn new(scenes: &[Scene], lines: usize, progress: &Progress) -> Result<Self> {
        let outside = Namespace::new()?;
        let rig = Rig::new(&outside, 1, Shape { one_arm: false, mtu: MTU, xdp_outside: true })?;
        let mut programs = Programs::load(&outside, lines as u32)?;
        programs.set_chain(&chain(lines))?;
        // An interface gives a frame its place only if it has a program.
        programs.attach(&rig.relay, "discard", rig.a.ifindex)?;
        programs.attach(&rig.relay, "discard", rig.b.ifindex)?;
        let mut relays = BTreeMap::new();
        for table in scenes.iter().map(|scene| scene.table).chain([Table::ONE]) {
            if !relays.contains_key(&table) {
                progress.say(&format!("loading a table of {} EAMs", table.eams));
                let relay = Relay::load(&rig, relays.len() as u32, table, Attach::Nowhere)?;
                relays.insert(table, (relay.entry()?, relay));
            }
        }
        programs.reset()?;
        let transmit = programs.fd("transmit")?;
        Ok(Self { programs, rig, relays, transmit, _outside: outside })
    }

    fn round(&mut self, scene: &Scene) -> Result<(u32, Round)> {
        let arm = if scene.way == Way::FourToSix { &self.rig.a } else { &self.rig.b };
        let (macs, ifindex) = (arm.macs, arm.ifindex);
        let plain = Packets::of(&Scene::plain(scene.way, Kind::Udp), macs);
        let packets = Packets::of(scene, macs);
        self.programs.set_packets(&plain, Place::Yardstick)?;
        self.programs.set_packets(&packets, Place::Subject)?;
        let population = population(scene);
        let warm_up = (4 * population).clamp(WARM_UP, MOST);
        let turns = if population > REPEAT { 1 } else { TURNS };
        let repeat = (2 * population).clamp(REPEAT, MOST);
        let mut least = [f64::INFINITY; 6];
        let mut verdict = 0;
        for _ in 0..turns {
            let transmit = self.time("transmit", &[0; 128], ifindex, WARM_UP, REPEAT)?.1;
            let discard = self.time("discard", &[0; 128], ifindex, WARM_UP, REPEAT)?.1;
            let memory = self.time("chase", &[0; 128], ifindex, WARM_UP, REPEAT)?.1 - discard;
            let mut with = |subject: Option<Table>, packets: &Packets, place, warm_up, repeat| -> Result<(u32, f64)> {
                self.programs.set_up(Setup::default(), packets, place)?;
                self.programs.set_subject(subject.map_or(&self.transmit, |table| &self.relays[&table].0))?;
                self.time("measure", &packets.frame(), ifindex, warm_up, repeat)
            };
            let plain_writing = with(None, &plain, Place::Yardstick, WARM_UP, REPEAT)?.1;
            let plain = with(Some(Table::ONE), &plain, Place::Yardstick, WARM_UP, REPEAT)?.1;
            let writing = with(None, &packets, Place::Subject, WARM_UP, REPEAT)?.1;
            let (action, whole) = with(Some(scene.table), &packets, Place::Subject, warm_up, repeat)?;
            verdict = action;
            for (least, now) in least.iter_mut().zip([transmit, memory, plain_writing, plain, writing, whole]) {
                *least = least.min(now);
            }
        }
        let (wanted, found) = (scene.kind.verdict(), self::verdict(verdict));
        if found != wanted {
            bail!("{}: the verdict is {found}, not {wanted}: this is another scene", scene.full_name());
        }
        let [transmit, memory, plain_writing, plain, writing, whole] = least;
        let round = Round {
            transmit,
            writing: writing - transmit,
            memory: memory / f64::from(CHASES),
            plain: plain - plain_writing + transmit,
            scene: whole - writing + transmit,
        };
        Ok((verdict, round))
    }

    /// What one of [`FLOORS`] takes.
    fn floor(&mut self, way: Way, program: &str, what: &str, rounds: u32) -> Result<Floor> {
        let arm = if way == Way::FourToSix { &self.rig.a } else { &self.rig.b };
        let (macs, ifindex) = (arm.macs, arm.ifindex);
        let packets = Packets::of(&Scene::plain(way, Kind::Udp), macs);
        self.programs.set_packets(&packets, Place::Subject)?;
        let redirect_into = if way == Way::FourToSix { self.rig.b.ifindex } else { self.rig.a.ifindex };
        self.programs.set_up(Setup { redirect_into, ..Setup::default() }, &packets, Place::Subject)?;
        let subjects = [self.transmit.try_clone()?, self.programs.fd(program)?];
        let (mut ns, mut over) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let mut least = [f64::INFINITY; 3];
            for _ in 0..TURNS {
                let bare = self.time("transmit", &[0; 128], ifindex, WARM_UP, REPEAT)?.1;
                let mut with = |subject| {
                    self.programs.set_subject(subject)?;
                    self.time("measure", &packets.frame(), ifindex, WARM_UP, REPEAT)
                };
                let (writing, (action, whole)) = (with(&subjects[0])?.1, with(&subjects[1])?);
                if verdict(action) != "redirect" {
                    bail!("the program {program} gave the verdict {}", verdict(action));
                }
                for (least, now) in least.iter_mut().zip([bare, writing, whole]) {
                    *least = least.min(now);
                }
            }
            let [bare, writing, whole] = least;
            ns.push(whole - writing + bare);
            over.push((whole - writing + bare) / bare);
        }
        Ok(Floor { way: way.to_string(), what: what.to_owned(), ns: Spread::of(ns), over_transmit: Spread::of(over) })
    }

    /// One program's verdict and nanoseconds.
    fn time(&mut self, name: &str, frame: &[u8], ifindex: u32, warm_up: u32, repeat: u32) -> Result<(u32, f64)> {
        let Self { programs, rig, .. } = self;
        rig.relay.inside(|| {
            programs.forget_frames()?;
            programs.run(name, frame, ifindex, warm_up)?;
            programs.forget_frames()?;
            let begin = Instant::now();
            let (verdict, whole) = programs.run(name, frame, ifindex, repeat)?;
            let exact = begin.elapsed().as_secs_f64() * 1e9 / f64::from(repeat);
            // The kernel leaves out when something else ran, but rounds down: the clock counts where both agree.
            let whole = whole as f64;
            Ok((verdict, if (whole..=whole + 1.0).contains(&exact) { exact } else { whole + 0.5 }))
        })
    }
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

fn report(all: &[Measured], lines: usize) -> Report {
    let every = |of: fn(&Round) -> f64| Spread::of(all.iter().flat_map(|measured| &measured.rounds).map(of));
    let row = |measured: &Measured| {
        let each = |of: fn(&Round) -> f64| Spread::of(measured.rounds.iter().map(of));
        Row {
            way: measured.scene.way.to_string(),
            scene: measured.scene.name.clone(),
            verdict: verdict(measured.verdict).to_owned(),
            ns: each(|round| round.scene),
            over_transmit: each(|round| round.scene / round.transmit),
            over_plain: each(|round| round.scene / round.plain),
            reads_more: each(|round| (round.scene - round.plain) / round.memory),
        }
    };
    Report {
        transmit: every(|round| round.transmit),
        memory: every(|round| round.memory),
        memory_bytes: (lines * size_of::<Bucket>()) as u64,
        writing: every(|round| round.writing),
        floors: Vec::new(),
        rows: all.iter().map(row).collect(),
    }
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
