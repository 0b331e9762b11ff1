//! Packets a second through the rig.
//!
//! One thread on one CPU makes frames and sends them into the relay's link; the kernel runs the relay and the far end on the
//! same CPU, between two batches. So a figure is what one CPU does with a packet from end to end, generator and far end
//! included, which are the same for all that are compared.

pub(crate) mod jool;
pub(crate) mod load;
mod plan;
mod station;

use std::{
    collections::BTreeMap,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};
use xlat_bench_common::Setup;
use xlat_tests::lab::Namespace;

pub(crate) use self::{
    plan::{Over, Plan, plans},
    station::{Station, Subject, Tayga},
};
use crate::{
    programs::{Packets, Place, Programs},
    progress::Progress,
    scene::{Kind, Scene, Table, Way},
    schedule::population,
    stats::Spread,
};

/// How long frames are sent in one measurement.
const SLICE: Duration = Duration::from_millis(30);
/// How often what is compared is measured in turn in one round; the fastest time counts, which is the least disturbed.
const TURNS: usize = 2;
/// More addresses than that are measured for longer, and in one turn.
const MANY: u32 = 20_000;
/// How long one call to the kernel is to last, seconds: less than the time after which another process gets the CPU.
const CALL: f64 = 1.5e-3;
/// Fewest and most frames of a call.
const FRAMES: (u32, u32) = (512, 8_192);
/// Frames that are sent on together.
pub(crate) const BATCH: u32 = 64;

/// One scene with one subject.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Row {
    /// `4→6` or `6→4`.
    pub(crate) way: String,
    /// The scene's name.
    pub(crate) scene: String,
    /// What handled the packets.
    pub(crate) subject: Subject,
    /// How many CPUs sent.
    pub(crate) cpus: usize,
    /// Million packets a second that came to the far end; of a flood: that were handled.
    pub(crate) mpps: Spread,
    /// Of those sent.
    pub(crate) arrived: Spread,
    /// What it is compared with.
    pub(crate) over: String,
    /// Million packets a second of that.
    pub(crate) over_mpps: Spread,
    /// Of those sent to that.
    #[serde(default)]
    pub(crate) over_arrived: Spread,
    /// The ratio, by round.
    pub(crate) ratio: Spread,
}

/// What came of sending for a while.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Slice {
    /// Frames.
    pub(crate) sent: u64,
    /// Frames; of a flood those that were handled.
    pub(crate) arrived: u64,
    /// Frames that came to the far end in a second.
    pub(crate) per_second: f64,
}

impl Slice {
    fn keep_faster(&mut self, other: Self) {
        if other.per_second > self.per_second {
            *self = other;
        }
    }

    fn mpps(self) -> f64 {
        self.per_second / 1e6
    }

    /// Of what was sent, what arrived. Neighbours talk on the links, too: more than all is all.
    fn share(self) -> f64 {
        (self.arrived as f64 / self.sent as f64).min(1.0)
    }
}

/// The stations with what sends to them.
pub(crate) struct Bench {
    pub(crate) programs: Programs,
    pub(crate) outside: Namespace,
    stations: BTreeMap<(Subject, Table), Station>,
}

impl Bench {
    /// Nothing but the outside.
    ///
    /// # Errors
    /// Without root or BPF.
    pub(crate) fn new() -> Result<Self> {
        let outside = Namespace::new()?;
        let programs = Programs::load(&outside, 64)?;
        Ok(Self { programs, outside, stations: BTreeMap::new() })
    }

    /// Makes a station if it is not there.
    ///
    /// # Errors
    /// Without root, BPF or TAYGA.
    pub(crate) fn make(&mut self, subject: Subject, table: Table) -> Result<()> {
        let key = key(subject, table);
        if !self.stations.contains_key(&key) {
            let number = self.stations.len() as u32;
            let station = Station::new(&mut self.programs, &self.outside, number, subject, key.1);
            let station = station.with_context(|| format!("making the relay with {subject}"))?;
            self.stations.insert(key, station);
        }
        Ok(())
    }

    /// A station that has been made.
    pub(crate) fn station(&self, subject: Subject, table: Table) -> &Station {
        &self.stations[&key(subject, table)]
    }

    /// Sends a scene's packets to a station for a while, from as many CPUs.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn slice(&mut self, scene: &Scene, subject: Subject, cpus: usize, time: Over) -> Result<Slice> {
        let station = &self.stations[&key(subject, scene.table)];
        let (arrival, departure) = (station.arrival(scene.way), station.departure(scene.way));
        let packets = Packets::of(scene, arrival.macs);
        self.programs.set_packets(&packets, Place::Subject)?;
        let setup = Setup {
            generate_into: arrival.outside,
            redirect_into: departure.ifindex,
            batch: BATCH,
            ..Setup::default()
        };
        self.programs.set_up(setup, &packets, Place::Subject)?;
        let counter = Counter::of(scene, station);
        let frame = packets.frame();
        let barrier = Barrier::new(cpus);
        let (programs, outside) = (&self.programs, &self.outside);
        // What a cache can hold of many addresses is in it before the measurement begins.
        let many = population(scene);
        let (warm_up, least) = if many > MANY { (many, u64::from(many / 2)) } else { (FRAMES.1, 0) };
        self.outside.inside(|| self.programs.generate(&frame, warm_up, BATCH))?;
        let begin = counter.count(self)?;
        let runs = thread::scope(|scope| {
            let barrier = &barrier;
            let frame = &frame;
            let workers: Vec<_> =
                (0..cpus).map(|cpu| scope.spawn(move || send(programs, outside, frame, barrier, cpu, least))).collect();
            let join = |worker: thread::ScopedJoinHandle<'_, Result<Sent>>| {
                worker.join().unwrap_or_else(|_| bail!("the generator panicked"))
            };
            workers.into_iter().map(join).collect::<Result<Vec<_>>>()
        })?;
        let arrived = counter.count(self)? - begin;
        let sent = runs.iter().map(|run| run.frames).sum();
        let per_second = match time {
            Over::Clock => arrived as f64 / runs.iter().map(|run| run.seconds).fold(0.0, f64::max),
            Over::Calls => runs.iter().map(|run| run.per_second).sum::<f64>() * (arrived as f64 / sent as f64).min(1.0),
        };
        Ok(Slice { sent, arrived, per_second })
    }
}

/// What one CPU has sent.
struct Sent {
    /// How many.
    frames: u64,
    /// From the first call to the end of the last.
    seconds: f64,
    /// Frames a second over [`Over::Calls`].
    per_second: f64,
}

/// Sends for a while from one CPU, and at least so many frames.
fn send(
    programs: &Programs,
    outside: &Namespace,
    frame: &[u8],
    barrier: &Barrier,
    cpu: usize,
    least: u64,
) -> Result<Sent> {
    outside.enter();
    let pinned = pin(cpu);
    // The others wait for this one, whatever became of it.
    barrier.wait();
    pinned?;
    let begin = Instant::now();
    let (mut each, mut sent, mut frames) = (Vec::new(), 0, FRAMES.0);
    let mut fastest = f64::INFINITY;
    while begin.elapsed() < SLICE || sent < least {
        let call = Instant::now();
        programs.generate(frame, frames, BATCH)?;
        let seconds = call.elapsed().as_secs_f64() / f64::from(frames);
        each.push(seconds);
        sent += u64::from(frames);
        fastest = fastest.min(seconds);
        frames = ((CALL / fastest) as u32).clamp(FRAMES.0, FRAMES.1) / BATCH * BATCH;
    }
    let seconds = begin.elapsed().as_secs_f64();
    each.sort_by(f64::total_cmp);
    Ok(Sent { frames: sent, seconds, per_second: 1.0 / each[each.len() / 4] })
}

/// Keeps the calling thread on one CPU.
///
/// # Errors
/// There is no such CPU.
pub(crate) fn pin(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("keeping a thread on CPU {cpu}"))
}

/// Tables matter to xlat only.
fn key(subject: Subject, table: Table) -> (Subject, Table) {
    (subject, if subject == Subject::Xlat { table } else { Table::ONE })
}

/// Where packets are counted.
pub(crate) enum Counter {
    /// By the program at the far end, the packets of this family.
    Sink { ipv4: bool },
    /// By the far end's interface.
    Outside(String),
    /// By the relay's interface: those that were handled, whatever became of them.
    Inside(&'static str, Subject, Table),
}

impl Counter {
    pub(crate) fn of(scene: &Scene, station: &Station) -> Self {
        let flood = matches!(scene.kind, Kind::Untranslatable | Kind::Denied | Kind::Malformed | Kind::Expired);
        match station.subject {
            _ if flood => Self::Inside(station.arrival(scene.way).name, station.subject, scene.table),
            Subject::Xlat | Subject::XlatOneArm => Self::Sink { ipv4: scene.way == Way::SixToFour },
            Subject::Transmit | Subject::Redirect => Self::Sink { ipv4: scene.way == Way::FourToSix },
            _ => Self::Outside(station.departure(scene.way).outside_name.clone()),
        }
    }

    pub(crate) fn count(&self, bench: &Bench) -> Result<u64> {
        match self {
            Self::Sink { ipv4 } => {
                let arrived = bench.programs.arrived()?;
                Ok(if *ipv4 { arrived.ipv4 } else { arrived.ipv6 })
            }
            Self::Outside(name) => bench.outside.inside(|| station::received(name)),
            Self::Inside(name, subject, table) => {
                bench.station(*subject, *table).rig.relay.inside(|| station::received(name))
            }
        }
    }
}

/// Measures what is planned in turn, `rounds` times.
///
/// # Errors
/// Without root, BPF or TAYGA.
pub(crate) fn run(plans: &[Plan], rounds: u32) -> Result<Vec<Row>> {
    let (cpus, there) =
        (plans.iter().map(|plan| plan.cpus).max(), thread::available_parallelism().map_or(1, usize::from));
    if let Some(cpus) = cpus.filter(|cpus| *cpus > there) {
        bail!("packets a second are measured with {cpus} CPUs, too, of which this process may use {there}");
    }
    let mut progress = Progress::new("packets a second", rounds as usize * plans.len());
    let mut bench = Bench::new()?;
    for plan in plans {
        for subject in [plan.subject, plan.over] {
            progress.say(&format!("making the relay with {subject}, {} EAMs", plan.scene.table.eams));
            bench.make(subject, plan.scene.table)?;
        }
    }
    let mut measured: Vec<Vec<(Slice, Slice)>> = plans.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (plan, measured) in plans.iter().zip(&mut measured) {
            progress.step(&format!("{} {}: {}", plan.scene.way, plan.scene.name, plan.subject));
            let (mut over, mut subject) = (Slice::default(), Slice::default());
            for _ in 0..if population(&plan.scene) > MANY { 1 } else { TURNS } {
                over.keep_faster(bench.slice(&plan.scene, plan.over, 1, plan.time())?);
                subject.keep_faster(bench.slice(&plan.scene, plan.subject, plan.cpus, plan.time())?);
            }
            if subject.arrived == 0 || over.arrived == 0 {
                let which = if subject.arrived == 0 { plan.subject } else { plan.over };
                bail!("{}: nothing of what was sent came through with {which}", plan.scene.full_name());
            }
            measured.push((subject, over));
        }
    }
    progress.end();
    Ok(plans.iter().zip(&measured).map(|(plan, measured)| row(plan, measured)).collect())
}

fn row(plan: &Plan, measured: &[(Slice, Slice)]) -> Row {
    let of = |of: fn(&(Slice, Slice)) -> f64| Spread::of(measured.iter().map(of));
    Row {
        way: plan.scene.way.to_string(),
        scene: plan.scene.name.clone(),
        subject: plan.subject,
        cpus: plan.cpus,
        mpps: of(|(subject, _)| subject.mpps()),
        arrived: of(|(subject, _)| subject.share()),
        over: if plan.cpus > 1 { "one CPU".to_owned() } else { plan.over.to_string() },
        over_mpps: of(|(_, over)| over.mpps()),
        over_arrived: of(|(_, over)| over.share()),
        ratio: of(|(subject, over)| subject.mpps() / over.mpps()),
    }
}
