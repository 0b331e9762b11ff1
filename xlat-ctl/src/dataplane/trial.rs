//! A second loading of the program in force, to run packets through that nobody has sent.
//!
//! It is made of the same object with the same settings, so that it has the same instructions, which their tags show; and it
//! works on the same tables, interfaces and next hops, by the maps that the instance in force has pinned. What a run moves, it
//! has for itself: counters, rate limits, the events for the log, the scratch record, the array of programs. So a run shows what
//! a packet would meet at this moment, and no counter of the relay moves.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use aya::{
    Ebpf,
    maps::{Array, MapData, MapError, PerCpuArray, PerCpuValues, ProgramArray},
};
use xlat_common::{counters::Counters, interface::MAX_IFINDEX, next_hop, programs, settings::Settings};

use super::{
    DataPlane,
    error::DataPlaneError,
    next_hops::NEXT_HOPS,
    object::{self, map},
    pins::Pins,
    program::run_once,
    table::Memory as _,
    ways::DESTINATIONS,
};

/// The maps of the instance in force that a trial works on.
const SHARED: [&str; 5] = ["TABLE4", "TABLE6", "STATE", "VLANS", "MACS"];

/// The second loading.
pub(super) struct Trial {
    ebpf: Ebpf,
    counters: PerCpuArray<MapData, Counters>,
    /// Until when ICMP errors, and events for the log, are paid for; 0: there has been none.
    limits: Array<MapData, u64>,
    /// The kernel empties an array of programs when the last reference from user space goes.
    _tail_calls: ProgramArray<MapData>,
}

/// What became of a packet that nobody has sent.
#[derive(Clone, Debug)]
pub struct Tried {
    /// The XDP action.
    pub action: u32,
    /// The frame as the program left it.
    pub frame: Vec<u8>,
    /// What the run counted: of the one packet.
    pub counters: Counters,
    /// Whether the way out was remembered (`xlat_common::next_hop`), so that the routing table was not asked.
    pub remembered: bool,
}

/// The tags of the two loadings' entry programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tags {
    /// Of the program in force.
    pub in_force: String,
    /// Of the second loading.
    pub trial: String,
}

impl Trial {
    fn load(live: &Ebpf, settings: &Settings, pins: &Pins, maps: &[(&str, PathBuf)]) -> Result<Self, DataPlaneError> {
        for (name, path) in maps {
            if !path.exists() {
                let place = pins.directory().display();
                return Err(DataPlaneError::Object(format!(
                    "map {name} is no more pinned below {place}: `xlat-ctl reload` makes a new instance"
                )));
            }
        }
        let object::Loaded { mut ebpf, tail_calls, .. } = object::load(crate::OBJECT, settings, None, maps)?;
        let counters = map::<PerCpuArray<_, _>>(&mut ebpf, "COUNTERS")?;
        let limits = map::<Array<_, _>>(&mut ebpf, "LIMITS")?;
        for name in programs::TAIL_CALLS.iter().map(|(name, _)| *name).chain([programs::ENTRY]) {
            let (in_force, trial) = (tag(live, name), tag(&ebpf, name));
            if in_force.is_empty() || in_force != trial {
                return Err(DataPlaneError::Object(format!(
                    "the program {name} in force has the tag {in_force}, loaded once more it has {trial}: they would not do the same"
                )));
            }
        }
        Ok(Self { ebpf, counters, limits, _tail_calls: tail_calls })
    }

    fn run(&mut self, frame: &[u8], ifindex: u32) -> Result<(u32, Vec<u8>, Counters), DataPlaneError> {
        set_to_zero(&mut self.counters)?;
        for place in 0..self.limits.len() {
            let failed = |error: MapError| DataPlaneError::new("set the trial's rates back", &error);
            self.limits.set(place, 0, 0).map_err(failed)?;
        }
        let (action, frame) = run_once(self.ebpf.program(programs::ENTRY), frame, ifindex)?;
        let each =
            self.counters.get(&0, 0).map_err(|error| DataPlaneError::new("read the trial's counters", &error))?;
        let mut counters = Counters::ZERO;
        each.iter().for_each(|cpu| counters.add(cpu));
        Ok((action, frame, counters))
    }
}

/// Hash of a program's instructions, hexadecimal; empty: there is no such program.
fn tag(ebpf: &Ebpf, name: &str) -> String {
    let info = ebpf.program(name).and_then(|program| program.info().ok());
    info.map_or_else(String::new, |info| format!("{:016x}", info.tag()))
}

/// Sets every CPU's counters to zero.
pub(super) fn set_to_zero(counters: &mut PerCpuArray<MapData, Counters>) -> Result<(), DataPlaneError> {
    let failed = |error: &dyn std::fmt::Display| DataPlaneError::Kernel {
        what: "set the counters to zero".to_owned(),
        reason: error.to_string(),
    };
    let cpus = aya::util::nr_cpus().map_err(|(_, error)| failed(&error))?;
    let zeros = PerCpuValues::try_from(vec![Counters::ZERO; cpus]).map_err(|error| failed(&error))?;
    counters.set(0, zeros, 0).map_err(|error| failed(&error))
}

impl DataPlane {
    /// Loads the program once more, if that has not been done, and gives the tags of both.
    ///
    /// # Errors
    /// The kernel refuses, or the instructions are not the same.
    pub fn prepare_trial(&mut self) -> Result<Tags, DataPlaneError> {
        if self.trial.is_none() {
            let (Some(pins), Some(instance)) = (&self.pins, &self.instance) else {
                return Err(DataPlaneError::Object("a trial takes maps that are pinned".to_owned()));
            };
            let maps = SHARED.map(|name| (name, pins.map_path(instance, name)));
            self.trial = Some(Box::new(Trial::load(&self.ebpf, &self.settings, pins, &maps)?));
        }
        let trial = self.trial.as_ref().map_or_else(String::new, |trial| tag(&trial.ebpf, programs::ENTRY));
        Ok(Tags { in_force: tag(&self.ebpf, programs::ENTRY), trial })
    }

    /// Runs the program on a frame that nobody has sent, as if it had arrived at an interface. `destination`: the IPv4 address,
    /// host order, by which a next hop would be remembered; what is remembered of it is put back as it was. No counter of the
    /// relay moves.
    ///
    /// # Errors
    /// As [`Self::prepare_trial`] and [`Self::test_run`].
    pub fn try_frame(&mut self, frame: &[u8], ifindex: u32, destination: Option<u32>) -> Result<Tried, DataPlaneError> {
        self.prepare_trial()?;
        let words = destination.map_or_else(Vec::new, |address| self.remembered_words(address));
        let is_of = |word, holds: u64| match word {
            Word::Table4(_) => true,
            Word::State(_) => destination.is_some_and(|address| keys(address).contains(&next_hop::destination(holds))),
        };
        let before: Vec<u64> = words.iter().map(|word| self.word(*word)).collect();
        let Some(trial) = &mut self.trial else {
            return Err(DataPlaneError::Object("there is no trial".to_owned()));
        };
        let (action, frame, counters) = trial.run(frame, ifindex)?;
        let mut remembered = false;
        for (word, before) in words.into_iter().zip(before) {
            let after = self.word(word);
            if after == before {
                remembered |= is_of(word, before) && self.leads_to(before, &frame);
            } else {
                self.put_back(word, after, before);
            }
        }
        // What is there may be outdated, or of a way that is not remembered any more: the routing table was not asked.
        let remembered = remembered && counters.route_lookups == 0;
        Ok(Tried { action, frame, counters, remembered })
    }

    /// The words in which the next hop of an IPv4 address may be remembered.
    fn remembered_words(&self, address: u32) -> Vec<Word> {
        let entry = self.table.next_hop_word(address).map(Word::Table4);
        let sets = keys(address).map(|key| DESTINATIONS + next_hop::set(key) as usize);
        let words = sets.into_iter().flat_map(|set| set..set + next_hop::WAYS as usize).map(Word::State);
        entry.into_iter().chain(words).collect()
    }

    fn word(&self, word: Word) -> u64 {
        self.place(word).load(Relaxed)
    }

    fn place(&self, word: Word) -> &AtomicU64 {
        match word {
            Word::Table4(index) => &self.table.words4()[index],
            Word::State(index) => &self.state.words()[index],
        }
    }

    /// Takes back what a run has remembered, unless a packet has stored something else meanwhile.
    fn put_back(&self, word: Word, after: u64, before: u64) {
        let _ = self.place(word).compare_exchange(after, before, Relaxed, Relaxed);
    }

    /// Whether a remembered word's next hop is the one that a frame was addressed to.
    fn leads_to(&self, word: u64, frame: &[u8]) -> bool {
        let place = (word as u32 & (next_hop::PLACES - 1)) as usize;
        let (ifindex, mac) = next_hop::unpack(self.word(Word::State(NEXT_HOPS + place)));
        place != 0 && ifindex < MAX_IFINDEX && frame.get(..6) == Some(&mac)
    }
}

/// What a packet to an IPv4 address (host order), or to what it maps to, is remembered by without an entry of its own.
const fn keys(address: u32) -> [u64; 2] {
    [next_hop::ipv4(address), next_hop::mapped(address)]
}

/// A word of the maps.
#[derive(Clone, Copy)]
enum Word {
    /// Of the IPv4 table.
    Table4(usize),
    /// Of the record beside the tables.
    State(usize),
}
