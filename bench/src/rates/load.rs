//! Loss against load, and latency (RFC 2544 26.1 to 26.3, RFC 8219 7).
//!
//! Here load and relay have a CPU each: the generator paces itself on one, the relay's and the far end's part runs in a thread
//! of the kernel on the other, as with a NIC whose interrupts go to another CPU.

use std::{collections::BTreeSet, fs, thread, time::Duration};

use anyhow::{Context as _, Result, bail};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};
use xlat_bench_common::{Setup, time_of};

use super::{Bench, Counter, Subject, pin};
use crate::{
    programs::{Packets, Place},
    progress::Progress,
    scene::{Kind, Scene, Table, Way},
    stats::Spread,
};

/// CPU of the generator.
const GENERATOR: usize = 0;
/// CPU of the relay.
const RELAY: usize = 1;
/// Frames that are sent on together.
const BATCH: u32 = 16;
/// How long one load lasts, seconds.
const TRIAL: f64 = 0.06;
/// Loss that counts as none: on a shared machine the relay's CPU is now and then away for longer than the link's queue of 256
/// frames lasts.
const NO_LOSS: f64 = 1e-4;
/// Trials of one load; the best counts.
const TRIALS: usize = 3;
/// Steps of the search for the highest load without loss.
const STEPS: usize = 7;
/// The highest load that is tried, frames a second.
const HIGHEST: f64 = 5e6;
/// The lowest, which the generator can pace.
const LOWEST: f64 = 2e5;

/// Load and latency of one subject.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Row {
    /// `4→6` or `6→4`.
    pub(crate) way: String,
    /// What handled the packets.
    pub(crate) subject: Subject,
    /// The highest load without loss, as it was offered, million packets a second.
    pub(crate) zero_loss: Spread,
    /// The load at which latency was measured, as it was asked for: half of xlat's of the same round.
    pub(crate) load: Spread,
    /// Median latency, microseconds.
    pub(crate) median: Spread,
    /// 99th percentile, microseconds.
    pub(crate) p99: Spread,
    /// Of the frames whose latency was measured, the share that did not arrive.
    #[serde(default)]
    pub(crate) lost: Spread,
    /// Median over the bare redirect's, by round.
    pub(crate) median_over: Spread,
    /// 99th percentile over the bare redirect's, by round.
    pub(crate) p99_over: Spread,
    /// Loads as they were offered and what came through, million packets a second.
    pub(crate) curve: Vec<(f64, f64)>,
}

/// What came of a load.
#[derive(Clone, Copy)]
struct Trial {
    /// Frames that were sent, a second: where the generator cannot keep up, less than was asked for.
    offered: f64,
    /// Of those the share that did not arrive.
    loss: f64,
    /// Frames that arrived, a second.
    arrived: f64,
}

/// Measures both ways, bare redirect beside xlat and Linux.
///
/// # Errors
/// Without root or BPF, or with one CPU only.
pub(crate) fn run(rounds: u32) -> Result<Vec<Row>> {
    if thread::available_parallelism().map_or(1, usize::from) < 2 {
        bail!("loss and latency need two CPUs, one for the load and one for the relay");
    }
    let subjects = [Subject::Redirect, Subject::Xlat, Subject::Linux];
    let mut progress = Progress::new("load", rounds as usize * Way::BOTH.len() * subjects.len());
    let mut bench = Bench::new()?;
    for subject in subjects {
        bench.make(subject, Table::ONE)?;
        give_own_cpu(&bench, subject)?;
    }
    let mut rows = Vec::new();
    for way in Way::BOTH {
        let scene = Scene::plain(way, Kind::Udp);
        let mut found: Vec<Found> = subjects.map(Found::new).into();
        for _ in 0..rounds {
            for found in &mut found {
                progress.step(&format!("{way}: zero loss with {}", found.subject));
                found.zero_loss.push(bench.zero_loss(&scene, found.subject)?);
            }
            let half = found[1].zero_loss.last().copied().unwrap_or(LOWEST) / 2.0;
            for found in &mut found[..2] {
                let [median, p99, lost] = bench.latency(&scene, found.subject, half)?;
                found.load.push(half);
                found.median.push(median);
                found.p99.push(p99);
                found.lost.push(lost);
            }
        }
        for found in &mut found {
            progress.say(&format!("{way}: loss against load with {}", found.subject));
            for load in (1..=16).map(|step| f64::from(step) * 0.25e6) {
                let trial = bench.trial(&scene, found.subject, load)?;
                found.curve.push((trial.offered / 1e6, trial.arrived / 1e6));
            }
        }
        rows.extend(found.iter().map(|this| this.row(way, &found[0])));
    }
    progress.end();
    Ok(rows)
}

/// What is found of one subject, by round.
struct Found {
    subject: Subject,
    zero_loss: Vec<f64>,
    load: Vec<f64>,
    median: Vec<f64>,
    p99: Vec<f64>,
    lost: Vec<f64>,
    curve: Vec<(f64, f64)>,
}

impl Found {
    fn new(subject: Subject) -> Self {
        let new = Vec::new;
        Self { subject, zero_loss: new(), load: new(), median: new(), p99: new(), lost: new(), curve: Vec::new() }
    }

    fn row(&self, way: Way, redirect: &Self) -> Row {
        Row {
            way: way.to_string(),
            subject: self.subject,
            zero_loss: Spread::of(self.zero_loss.iter().map(|load| load / 1e6)),
            load: Spread::of(self.load.iter().map(|load| load / 1e6)),
            median: Spread::of(self.median.iter().copied()),
            p99: Spread::of(self.p99.iter().copied()),
            lost: Spread::of(self.lost.iter().copied()),
            median_over: Spread::of_pairs(&self.median, &redirect.median, |this, redirect| this / redirect),
            p99_over: Spread::of_pairs(&self.p99, &redirect.p99, |this, redirect| this / redirect),
            curve: self.curve.clone(),
        }
    }
}

impl Bench {
    /// The highest load without loss that was offered, frames a second, by halving what is asked for.
    fn zero_loss(&mut self, scene: &Scene, subject: Subject) -> Result<f64> {
        let (mut good, mut bad, mut offered) = (LOWEST, HIGHEST, LOWEST);
        for _ in 0..STEPS {
            let load = f64::midpoint(good, bad);
            let mut without_loss = None;
            for _ in 0..TRIALS {
                let trial = self.trial(scene, subject, load)?;
                if trial.loss <= NO_LOSS {
                    without_loss = Some(trial.offered);
                    break;
                }
            }
            match without_loss {
                Some(now) => (good, offered) = (load, offered.max(now)),
                None => bad = load,
            }
        }
        Ok(offered)
    }

    /// Median and 99th percentile at a load, microseconds, of the trial that lost least, and what that lost of all.
    fn latency(&mut self, scene: &Scene, subject: Subject, load: f64) -> Result<[f64; 3]> {
        let mut best: Option<[f64; 3]> = None;
        for _ in 0..TRIALS {
            let [.., loss] = best.get_or_insert([0.0, 0.0, f64::INFINITY]);
            if *loss <= NO_LOSS {
                break;
            }
            let now = self.latency_once(scene, subject, load)?;
            if now[2] < *loss {
                best = Some(now);
            }
        }
        best.context("no trial of a load was made")
    }

    fn latency_once(&mut self, scene: &Scene, subject: Subject, load: f64) -> Result<[f64; 3]> {
        self.programs.take_times()?;
        let trial = self.load(scene, subject, load, true, 4.0 * TRIAL)?;
        let times = self.programs.take_times()?;
        let quantile = |part: f64| quantile(&times, part).context("no stamped frame has arrived");
        Ok([quantile(0.5)?, quantile(0.99)?, trial.loss])
    }

    fn trial(&mut self, scene: &Scene, subject: Subject, load: f64) -> Result<Trial> {
        self.load(scene, subject, load, false, TRIAL)
    }

    /// Sends frames at a load for so many seconds.
    fn load(&mut self, scene: &Scene, subject: Subject, load: f64, stamp: bool, seconds: f64) -> Result<Trial> {
        let station = self.station(subject, scene.table);
        let (arrival, departure) = (station.arrival(scene.way), station.departure(scene.way));
        let counter = Counter::of(scene, station);
        let setup = Setup {
            generate_into: arrival.outside,
            redirect_into: departure.ifindex,
            pace: (f64::from(BATCH) / load * 1e9) as u64,
            batch: BATCH,
            stamp: stamp.into(),
            ..Setup::default()
        };
        let packets = Packets::of(scene, arrival.macs);
        self.programs.set_packets(&packets, Place::Subject)?;
        self.programs.set_up(setup, &packets, Place::Subject)?;
        let frames = (load * seconds) as u32 / BATCH * BATCH;
        let before = counter.count(self)?;
        let begin = std::time::Instant::now();
        self.outside.inside(|| {
            pin(GENERATOR)?;
            be_urgent(Pid::from_raw(0))?;
            self.programs.generate(&packets.frame(), frames, BATCH)
        })?;
        let took = begin.elapsed().as_secs_f64();
        // What is still in the queue comes through.
        thread::sleep(Duration::from_millis(5));
        let arrived = (counter.count(self)? - before).min(frames.into()) as f64;
        Ok(Trial {
            offered: f64::from(frames) / took,
            loss: 1.0 - arrived / f64::from(frames),
            arrived: arrived / took,
        })
    }
}

/// The time below which this part of all times is, microseconds.
fn quantile(times: &[u64], part: f64) -> Option<f64> {
    let all: u64 = times.iter().sum();
    let mut left = (all as f64 * part) as u64;
    for (place, count) in times.iter().enumerate() {
        if left < *count {
            return Some(time_of(place as u32) as f64 / 1000.0);
        }
        left -= count;
    }
    None
}

/// Has what arrives at a station handled by threads of the kernel's, on a CPU that the generator is not on.
fn give_own_cpu(bench: &Bench, subject: Subject) -> Result<()> {
    let before = kernel_threads()?;
    let relay = &bench.station(subject, Table::ONE).rig.relay;
    let script = "mount -t sysfs sysfs /sys && for i in clients services; do echo 1 > /sys/class/net/$i/threaded; done";
    let output = relay.command("unshare", &["--mount", "sh", "-c", script]).output().context("starting `unshare`")?;
    if !output.status.success() {
        bail!("giving the relay a CPU failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let mut cpus = CpuSet::new();
    cpus.set(RELAY)?;
    for thread in kernel_threads()?.difference(&before) {
        let pid = Pid::from_raw(*thread);
        sched_setaffinity(pid, &cpus).context("keeping the relay's thread on its CPU")?;
        be_urgent(pid)?;
    }
    Ok(())
}

/// Nothing else runs on the CPU while the thread has something to do, as with the interrupt of a NIC; 0: the calling thread.
///
/// # Errors
/// Without the privilege.
pub(crate) fn be_urgent(thread: Pid) -> Result<()> {
    let parameters = libc::sched_param { sched_priority: 10 };
    // SAFETY: the parameters live until the call returns.
    let result = unsafe { libc::sched_setscheduler(thread.as_raw(), libc::SCHED_FIFO, &raw const parameters) };
    if result != 0 {
        return Err(std::io::Error::last_os_error()).context("making a thread urgent");
    }
    Ok(())
}

/// The kernel's threads that handle packets.
fn kernel_threads() -> Result<BTreeSet<i32>> {
    let mut threads = BTreeSet::new();
    for entry in fs::read_dir("/proc").context("listing processes")? {
        let entry = entry?;
        let Some(number) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if name.starts_with("napi/clients") || name.starts_with("napi/services") {
            threads.insert(number);
        }
    }
    Ok(threads)
}

#[cfg(test)]
mod tests {
    use xlat_bench_common::{HISTOGRAM, place_of};

    use super::quantile;

    #[test]
    fn quantiles_are_within_a_128th() {
        let mut times = vec![0; HISTOGRAM as usize];
        for time in 1..=100u64 {
            times[place_of(time * 1000) as usize] += 1;
        }
        let (median, p99) = (quantile(&times, 0.5).expect("times"), quantile(&times, 0.99).expect("times"));
        assert!((50.0..52.0).contains(&median), "{median}");
        assert!((99.0..101.0).contains(&p99), "{p99}");
        assert_eq!(quantile(&[0; 4], 0.5), None);
    }
}
