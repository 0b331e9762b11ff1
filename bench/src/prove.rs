//! The long form of the proof that no change costs a packet (`xlat_tests::lab::prove`): packets are made and watched for inside
//! the kernel, which leaves the CPUs to the relay.

use std::{
    collections::HashMap,
    net::Ipv6Addr,
    os::fd::{AsFd as _, AsRawFd as _},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use aya::{
    Ebpf, EbpfLoader, TestRun as _, TestRunAttrs, TestRunOptions,
    maps::{Array, Map},
    programs::{Xdp, xdp::XdpMode},
};
use memmap2::{MmapOptions, MmapRaw};
use nix::{net::if_::if_nametoindex, unistd::Pid};
use xlat_bench_common::{
    NUMBERED_FRAMES, NUMBERED_WORDS, NUMBERS, NUMBERS_PER_PAGE, Numbered, Numbering, TWICE, fingerprint,
};
use xlat_tests::lab::{Load, MIXED, Namespace, NumberedFrame, Plan, Seen, prove};

use crate::{
    programs::{OBJECT, program},
    rates::load::be_urgent,
};

/// Frames of one call, fewer than a veth holds.
const MOST: u64 = 128;
/// Frames that are sent on together.
const BATCH: u32 = 64;
/// How late frames may be sent: call by call, each of which the relay has handled before the next.
const MOST_LATE: Duration = Duration::from_millis(20);
/// Between two looks at the clock.
const NAP: Duration = Duration::from_micros(150);

/// Goes through it; panics where it fails.
pub(crate) fn run() {
    prove(Plan { reloads: 100, applies: 100, singles: 200, kills: 20, upgrades: 5, least: 0.98 }, KernelLoad::start);
}

/// A load from inside the kernel.
struct KernelLoad {
    sent: Arc<AtomicU64>,
    done: Arc<AtomicBool>,
    sender: JoinHandle<Result<Duration>>,
    frames: Vec<NumberedFrame>,
    numbers: MmapRaw,
    /// What notes the packets, as long as it lives.
    _watcher: Ebpf,
}

impl KernelLoad {
    fn start(from: (&Namespace, &str), to: (&Namespace, &str), frames: Vec<NumberedFrame>, rate: u32) -> Result<Self> {
        ensure!(frames.len() <= NUMBERED_FRAMES as usize, "{} frames are too many", frames.len());
        let mut watcher = load("note", NUMBERS / NUMBERS_PER_PAGE)?;
        to.0.inside(|| attach(&mut watcher, "note", to.1))?;
        let Some(Map::Array(map)) = watcher.map("NUMBERS") else { bail!("the object has no array NUMBERS") };
        let numbers = MmapOptions::new().len(NUMBERS as usize * 4).map_raw(map.fd().as_fd().as_raw_fd())?;
        let sender = sender(from, &frames, rate)?;
        let (sent, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let sender = {
            let (sent, done) = (Arc::clone(&sent), Arc::clone(&done));
            // A thread that is born here stays in this namespace.
            from.0.inside(move || thread::spawn(move || send(&sender, rate, &sent, &done)))
        };
        Ok(Self { sent, done, sender, frames, numbers, _watcher: watcher })
    }
}

impl Load for KernelLoad {
    fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    fn finish(self) -> Result<Seen> {
        self.done.store(true, Relaxed);
        let time = self.sender.join().expect("the sender")?;
        // What is on its way takes less.
        thread::sleep(Duration::from_millis(200));
        let known: Vec<HashMap<u32, u8>> = self.frames.iter().map(expected).collect();
        let verdict = |number: usize| {
            // SAFETY: within the mapping; no program writes any more.
            match unsafe { *self.numbers.as_ptr().cast::<u32>().add(number) } {
                0 => 0,
                TWICE => 255,
                print => known[number % known.len()].get(&print).copied().unwrap_or(MIXED),
            }
        };
        let verdicts = (0..self.sent.load(Relaxed) as usize).map(verdict).collect();
        Ok(Seen { verdicts, overflow: 0, time })
    }
}

/// The fingerprints that a frame may come with.
fn expected(frame: &NumberedFrame) -> HashMap<u32, u8> {
    let halves = |address: Ipv6Addr| [(address.to_bits() >> 64) as u64, address.to_bits() as u64];
    let print = |source, destination| fingerprint(halves(source), halves(destination));
    frame.becomes.iter().map(|(source, destination, verdict)| (print(*source, *destination), *verdict)).collect()
}

fn load(name: &str, pages: u32) -> Result<Ebpf> {
    let mut ebpf = EbpfLoader::new().map_max_entries("NUMBERS", pages).load(OBJECT).context("loading XDP programs")?;
    program(&mut ebpf, name)?.load().with_context(|| format!("loading the program {name}"))?;
    Ok(ebpf)
}

fn attach(ebpf: &mut Ebpf, name: &str, interface: &str) -> Result<()> {
    program(ebpf, name)?
        .attach_to_if_index(if_nametoindex(interface)?, XdpMode::Driver)
        .with_context(|| format!("attaching the program {name} to {interface}"))?;
    Ok(())
}

/// What sends the frames, attached to a link of its own: `BPF_PROG_TEST_RUN` is slow for a program that is attached nowhere.
fn sender(from: (&Namespace, &str), frames: &[NumberedFrame], rate: u32) -> Result<Ebpf> {
    ensure!(rate > 0, "no packets a second");
    let mut ebpf = load("number", 1)?;
    let mut numbered = Array::<_, Numbered>::try_from(ebpf.take_map("NUMBERED").context("no map NUMBERED")?)?;
    for (index, frame) in frames.iter().enumerate() {
        let mut bytes = [0; NUMBERED_WORDS * 8];
        ensure!(frame.bytes.len() <= bytes.len(), "a frame of {} bytes is too long", frame.bytes.len());
        bytes[..frame.bytes.len()].copy_from_slice(&frame.bytes);
        let words = std::array::from_fn(|word| u64::from_ne_bytes(std::array::from_fn(|byte| bytes[word * 8 + byte])));
        numbered.set(index as u32, Numbered { bytes: words, sum: frame.sum, reserved: 0 }, 0)?;
    }
    let mut numbering = Array::<_, Numbering>::try_from(ebpf.take_map("NUMBERING").context("no map NUMBERING")?)?;
    from.0.ip("link add s0 type veth peer name t0")?;
    from.0.inside(|| {
        let into = if_nametoindex(from.1)?;
        numbering.set(0, Numbering { next: 0, into, frames: frames.len() as u32 }, 0)?;
        attach(&mut ebpf, "number", "s0")
    })?;
    Ok(ebpf)
}

/// Sends until it is told to stop. What it is later with than [`MOST_LATE`] is left out.
fn send(ebpf: &Ebpf, rate: u32, sent: &AtomicU64, done: &AtomicBool) -> Result<Duration> {
    be_urgent(Pid::from_raw(0))?;
    let program = <&Xdp>::try_from(ebpf.program("number").context("no program number")?)?;
    let frame = [0; NUMBERED_WORDS * 8];
    let begin = Instant::now();
    let (mut number, mut start) = (0, begin);
    while !done.load(Relaxed) && number + MOST < u64::from(NUMBERS) {
        let due = (start.elapsed().as_secs_f64() * f64::from(rate)) as u64;
        if due < u64::from(BATCH) {
            thread::sleep(NAP);
            continue;
        }
        let count = due.min(MOST) / u64::from(BATCH) * u64::from(BATCH);
        start += Duration::from_secs_f64(count as f64 / f64::from(rate));
        start = start.max(Instant::now().checked_sub(MOST_LATE).unwrap_or(begin));
        let attrs = TestRunAttrs::new().xdp_live_frames(BATCH);
        let options = TestRunOptions { data_in: Some(&frame), repeat: count as u32, attrs, ..TestRunOptions::new() };
        program.test_run(options).context("sending frames")?;
        number += count;
        sent.store(number, Relaxed);
    }
    ensure!(
        done.load(Relaxed),
        "numbers ran out after {number} packets, and the changes went on: without traffic they prove nothing"
    );
    Ok(begin.elapsed())
}
