//! The bench's own XDP programs.

use std::os::fd::{AsFd as _, AsRawFd as _};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf, EbpfLoader, TestRun as _, TestRunOptions,
    maps::{Array, MapData, PerCpuArray, PerCpuValues, ProgramArray},
    programs::{
        ProgramFd, Xdp,
        xdp::{XdpLinkId, XdpMode},
    },
    util::nr_cpus,
};
use memmap2::MmapOptions;
use xlat_bench_common::{Arrived, HISTOGRAM, STEPS, Setup, State, Step, TEMPLATES, Template};
use xlat_tests::lab::Namespace;

use crate::{
    frame::{self, Macs, Made},
    rig,
    scene::Scene,
    schedule::schedule,
};

/// Their object.
pub(crate) static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/bench.o"));

/// Each program.
pub(crate) const PROGRAMS: [&str; 8] =
    ["generate", "measure", "transmit", "redirect", "rewrite", "discard", "sink", "chase"];
/// Those that are run by themselves. `BPF_PROG_TEST_RUN` is slow (15 to 45 ms a call) for a program that is attached natively
/// nowhere.
const RUN: [&str; 5] = ["generate", "measure", "transmit", "discard", "chase"];

/// The packets of a scene.
pub(crate) struct Packets {
    /// What they are made of.
    pub(crate) made: Vec<Made>,
    /// Which follow each other; a power of two.
    pub(crate) steps: Vec<Step>,
}

impl Packets {
    /// Of a scene, with frames from and to these addresses.
    pub(crate) fn of(scene: &Scene, macs: Macs) -> Self {
        let made = frame::packets(scene, macs);
        let steps = schedule(scene, &made);
        Self { made, steps }
    }

    /// A frame that all of them fit into.
    pub(crate) fn frame(&self) -> Vec<u8> {
        vec![0; self.made.iter().map(|made| made.len as usize).max().unwrap_or(0)]
    }
}

/// Where packets are placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Those of the scene.
    Subject,
    /// One that others are compared with.
    Yardstick,
}

/// The loaded programs.
pub(crate) struct Programs {
    ebpf: Ebpf,
    templates: Array<MapData, Template>,
    setup: Array<MapData, Setup>,
    state: PerCpuArray<MapData, State>,
    arrived: PerCpuArray<MapData, Arrived>,
    times: PerCpuArray<MapData, u64>,
    subject: ProgramArray<MapData>,
}

impl Programs {
    /// Loads them, and attaches those that are run to links of their own in the outside.
    ///
    /// # Errors
    /// Without root or BPF.
    pub(crate) fn load(outside: &Namespace, chase_lines: u32) -> Result<Self> {
        let mut ebpf = EbpfLoader::new()
            .map_max_entries("CHASE", chase_lines)
            .load(OBJECT)
            .context("loading the bench's XDP programs")?;
        for name in PROGRAMS {
            program(&mut ebpf, name)?.load().with_context(|| format!("loading the bench's program {name}"))?;
        }
        let mut take =
            |name: &str| ebpf.take_map(name).with_context(|| format!("the bench's object has no map {name}"));
        let (templates, setup) = (Array::try_from(take("TEMPLATE")?)?, Array::try_from(take("SETUP")?)?);
        let (state, arrived) = (PerCpuArray::try_from(take("STATE")?)?, PerCpuArray::try_from(take("ARRIVED")?)?);
        let (times, subject) = (PerCpuArray::try_from(take("TIMES")?)?, ProgramArray::try_from(take("SUBJECT")?)?);
        let mut this = Self { ebpf, templates, setup, state, arrived, times, subject };
        for (number, name) in RUN.iter().enumerate() {
            outside.ip(&format!("link add s{number} type veth peer name t{number}"))?;
            let ifindex = rig::index(outside, &format!("s{number}"))?;
            this.attach(outside, name, ifindex)?;
        }
        Ok(this)
    }

    /// Attaches one of them; it stays until the bench ends or the interface goes.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn attach(&mut self, machine: &Namespace, name: &str, ifindex: u32) -> Result<XdpLinkId> {
        let program = program(&mut self.ebpf, name)?;
        let attach = || program.attach_to_if_index(ifindex, XdpMode::Driver);
        machine.inside(attach).with_context(|| format!("attaching the bench's program {name} to interface {ifindex}"))
    }

    /// A program, to be called by another.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn fd(&mut self, name: &str) -> Result<ProgramFd> {
        Ok(program(&mut self.ebpf, name)?.fd()?.try_clone()?)
    }

    /// Makes a program the one that is measured.
    ///
    /// # Errors
    /// It is of another kind.
    pub(crate) fn set_subject(&mut self, program: &ProgramFd) -> Result<()> {
        self.subject.set(0, program, 0).context("making the subject callable")
    }

    /// Makes these the packets to come. `place`: 0, or that of the packets that others are compared with.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn set_packets(&mut self, packets: &Packets, place: Place) -> Result<()> {
        let (first_template, first_step) = match place {
            Place::Subject => (0, 0),
            Place::Yardstick => (TEMPLATES - 1, STEPS),
        };
        for (index, made) in packets.made.iter().enumerate() {
            self.templates.set(first_template + index as u32, made.template, 0)?;
        }
        let map = self.ebpf.map("SCHEDULE").context("the bench's object has no map SCHEDULE")?;
        let aya::maps::Map::Array(map) = map else { anyhow::bail!("SCHEDULE is no array") };
        let step = |step: &Step| Step { template: first_template + step.template, ..*step };
        let limit = if place == Place::Subject { STEPS } else { 1 };
        let steps: Vec<Step> = packets.steps.iter().take(limit as usize).map(step).collect();
        let len = (first_step as usize + steps.len()) * size_of::<Step>();
        let mapping = MmapOptions::new().len(len).map_raw(map.fd().as_fd().as_raw_fd())?;
        // SAFETY: the mapping reaches to the end of what is written; no program runs meanwhile.
        unsafe {
            let begin = mapping.as_mut_ptr().cast::<Step>().add(first_step as usize);
            begin.copy_from_nonoverlapping(steps.as_ptr(), steps.len());
        }
        Ok(())
    }

    /// Lays a chain through all lines of the memory that `chase` reads: `next[line]` is the line after a line.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn set_chain(&mut self, next: &[u32]) -> Result<()> {
        const WORDS: usize = 16;
        let map = self.ebpf.map("CHASE").context("the bench's object has no map CHASE")?;
        let aya::maps::Map::Array(map) = map else { anyhow::bail!("CHASE is no array") };
        let mapping = MmapOptions::new().len(next.len() * 4 * WORDS).map_raw(map.fd().as_fd().as_raw_fd())?;
        for (line, next) in next.iter().enumerate() {
            // SAFETY: within the mapping, whose length is that of all lines; no program runs meanwhile.
            unsafe { *mapping.as_mut_ptr().cast::<u32>().add(line * WORDS) = *next };
        }
        Ok(())
    }

    /// Sets what the programs are to do with packets that have been placed.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn set_up(&mut self, setup: Setup, packets: &Packets, place: Place) -> Result<()> {
        let (first_step, step_mask) = match place {
            Place::Subject => (0, packets.steps.len() as u32 - 1),
            Place::Yardstick => (STEPS, 0),
        };
        Ok(self.setup.set(0, Setup { first_step, step_mask, ..setup }, 0)?)
    }

    /// Begins anew: frames are looked at as if never seen.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn reset(&mut self) -> Result<()> {
        let state = State { place: 0, ..State::default() };
        Ok(self.state.set(0, PerCpuValues::try_from(vec![state; cpus()?])?, 0)?)
    }

    /// Forgets where frames began, and keeps the place in the schedule.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn forget_frames(&mut self) -> Result<()> {
        let states = self.state.get(&0, 0)?;
        let states: Vec<State> = states.iter().map(|state| State { start: 0, due: 0, ..*state }).collect();
        Ok(self.state.set(0, PerCpuValues::try_from(states)?, 0)?)
    }

    /// What has arrived since the programs were loaded.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn arrived(&self) -> Result<Arrived> {
        let mut sum = Arrived::default();
        for arrived in self.arrived.get(&0, 0)?.iter() {
            sum.ipv4 += arrived.ipv4;
            sum.ipv6 += arrived.ipv6;
            sum.other += arrived.other;
        }
        Ok(sum)
    }

    /// Takes the histogram of times: how many in each place.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn take_times(&mut self) -> Result<Vec<u64>> {
        let mut counts = Vec::new();
        let zeros = vec![0; cpus()?];
        for place in 0..HISTOGRAM {
            let count = self.times.get(&place, 0)?.iter().sum();
            if count != 0 {
                self.times.set(place, PerCpuValues::try_from(zeros.clone())?, 0)?;
            }
            counts.push(count);
        }
        Ok(counts)
    }

    /// Runs a program on a frame, in the calling thread's namespace. Gives what it returned last, and the nanoseconds of one
    /// run as the kernel has them.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn run(&mut self, name: &str, frame: &[u8], ifindex: u32, repeat: u32) -> Result<(u32, u64)> {
        let context = [0, frame.len() as u32, 0, ifindex, 0, 0].map(u32::to_ne_bytes).concat();
        let options = TestRunOptions { data_in: Some(frame), ctx_in: Some(&context), repeat, ..TestRunOptions::new() };
        let run = program(&mut self.ebpf, name)?.test_run(options);
        let result = run.with_context(|| format!("running the bench's program {name}"))?;
        Ok((result.return_value, result.duration.as_nanos() as u64))
    }

    /// Sends frames through `generate`, `batch` at a time, in the calling thread's namespace.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn generate(&self, frame: &[u8], frames: u32, batch: u32) -> Result<()> {
        let program = self.ebpf.program("generate").context("the bench's object has no program generate")?;
        let program = <&Xdp>::try_from(program)?;
        let attrs = aya::TestRunAttrs::new().xdp_live_frames(batch);
        let options = TestRunOptions { data_in: Some(frame), repeat: frames, attrs, ..TestRunOptions::new() };
        program.test_run(options).context("generating frames")?;
        Ok(())
    }
}

fn cpus() -> Result<usize> {
    nr_cpus().map_err(|(_what, error)| error).context("counting CPUs")
}

/// One of an object's programs.
///
/// # Errors
/// There is none of the name.
pub(crate) fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    let program = ebpf.program_mut(name).with_context(|| format!("the bench's object has no program {name}"))?;
    Ok(program.try_into()?)
}
