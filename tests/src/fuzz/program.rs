//! The real program as the subject of a run.

use std::collections::HashMap;

use anyhow::{Context as _, Result, bail, ensure};
use nix::net::if_::if_nametoindex;
use xlat_common::counters::{Counters, Direction, Protocol, Traffic, Verdict as Counted};
use xlat_common::reason::DropReason;
use xlat_ctl::dataplane::DataPlane;

use super::Subject;
use super::configs::Named;
use crate::harness::row::packets;
use crate::harness::{Relay, world};
use crate::notation::Mac;
use crate::reference::{Family, Free, Outcome, Translated};

const ETHER_TYPE_IPV4: [u8; 2] = [0x08, 0x00];
const ETHER_TYPE_IPV6: [u8; 2] = [0x86, 0xdd];

/// The real program, an instance for every configuration, each on a machine of its own.
#[derive(Default)]
pub struct RealProgram {
    relays: HashMap<&'static str, Loaded>,
    now: Option<&'static str>,
}

struct Loaded {
    relay: Relay,
    arrivals: [Arrival; 2],
    counters: Counters,
    /// Whether it counts for each EAM.
    accounts: bool,
}

/// Which relays count for each EAM: one with each setting and shape of mapping, and some that do not.
fn is_accounting(named: &Named) -> bool {
    named.name.contains('-')
}

/// Compares what a packet has added to the accounts with what it has added to the counters.
fn accounted(dataplane: &DataPlane, before: &Counters, after: &Counters) -> Result<()> {
    let mut sums = [Traffic::default(); 2];
    let mut native = Traffic::default();
    dataplane.collect_accounts(|_, counted| {
        counted.native.traffic.into_iter().for_each(|more| native += more);
        for (sum, more) in sums.iter_mut().zip(counted.translated.traffic) {
            *sum += more;
        }
    });
    let translated = |direction, counters: &Counters| {
        let cells = Protocol::ALL.into_iter().flat_map(|protocol| {
            [Counted::Transmitted, Counted::Redirected, Counted::ToKernel]
                .map(|verdict| counters.traffic(direction, protocol, verdict))
        });
        cells.fold((0, 0), |(packets, bytes), cell| (packets + cell.packets, bytes + cell.bytes))
    };
    if native.packets > 0 {
        let passed = |counters: &Counters| {
            Protocol::ALL.into_iter().fold((0, 0), |(packets, bytes), protocol| {
                let cell = counters.traffic(Direction::SixToFour, protocol, Counted::Passed);
                (packets + cell.packets, bytes + cell.bytes)
            })
        };
        let (now, past) = (passed(after), passed(before));
        let passed = (now.0 - past.0, now.1 - past.1);
        ensure!((native.packets, native.bytes) == passed, "{passed:?} passed, counted as native: {native:?}");
    }
    for direction in Direction::ALL {
        let (packets, bytes) = translated(direction, after);
        let (packets_before, bytes_before) = translated(direction, before);
        let sum = sums[direction as usize];
        // The first pass of a hairpin is counted for its sender alone.
        let first_pass = direction == Direction::SixToFour && after.hairpinned > before.hairpinned;
        let (packets, bytes) = (packets - packets_before, bytes - bytes_before);
        let right = if first_pass { sum.packets == packets + 1 } else { (sum.packets, sum.bytes) == (packets, bytes) };
        ensure!(right, "{direction:?}: {packets} packets, {bytes} bytes translated, but in the accounts {sum:?}");
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Arrival {
    ifindex: u32,
    mac: Mac,
    gateway_mac: Mac,
}

impl RealProgram {
    fn loaded(&mut self) -> Result<&mut Loaded> {
        let name = self.now.context("no configuration")?;
        self.relays.get_mut(name).context("the configuration is not loaded")
    }
}

impl Loaded {
    fn new(named: &Named) -> Result<Self> {
        let accounting =
            format!("{}\n[accounting]\nservices = {on}\nnative = {on}\n", named.toml(), on = is_accounting(named));
        let mut relay = Relay::load_as(&accounting, named.single_buffer)
            .with_context(|| format!("loading the relay `{}`", named.name))?;
        relay.enter()?;
        let arrival = |name: &str| -> Result<Arrival> {
            let interface = world::interface(name);
            let ifindex = if_nametoindex(name).with_context(|| format!("looking for the interface {name}"))?;
            Ok(Arrival { ifindex, mac: interface.mac, gateway_mac: interface.gateway_mac })
        };
        let arrivals = [arrival(named.arrival4)?, arrival(named.arrival6)?];
        let counters = relay.dataplane().counters()?;
        Ok(Self { relay, arrivals, counters, accounts: is_accounting(named) })
    }
}

impl Subject for RealProgram {
    fn configure(&mut self, named: &Named) -> Result<()> {
        if !self.relays.contains_key(named.name) {
            self.relays.insert(named.name, Loaded::new(named)?);
        }
        self.now = Some(named.name);
        // The program looks for interfaces and routes in the namespace of the thread that runs it.
        self.loaded()?.relay.enter()
    }

    fn run(&mut self, family: Family, packet: &[u8]) -> Result<Outcome> {
        let loaded = self.loaded()?;
        let (arrival, ether_type) = match family {
            Family::Ipv4 => (loaded.arrivals[0], ETHER_TYPE_IPV4),
            Family::Ipv6 => (loaded.arrivals[1], ETHER_TYPE_IPV6),
        };
        let frame = [&arrival.mac[..], &arrival.gateway_mac, &ether_type, packet].concat();
        let (action, out) = loaded.relay.dataplane().test_run(&frame, arrival.ifindex)?;
        let counters = loaded.relay.dataplane().counters()?;
        let before = std::mem::replace(&mut loaded.counters, counters);
        if loaded.accounts {
            accounted(loaded.relay.dataplane(), &before, &counters)?;
        }
        outcome(action, &frame, &out, &before, &loaded.counters)
    }
}

/// What the program's action, the frame it left and its counters say together.
fn outcome(action: u32, frame: &[u8], out: &[u8], before: &Counters, after: &Counters) -> Result<Outcome> {
    const DROP: u32 = 1;
    const PASS: u32 = 2;
    const TRANSMIT: u32 = 3;
    const REDIRECT: u32 = 4;
    let reason = dropped_for(before, after)?;
    let translated = || -> Result<Translated> { Ok(Translated { bytes: ip_packet(out)?, free: Free::default() }) };
    match (action, reason) {
        (DROP, Some(reason)) => Ok(Outcome::Drop(reason)),
        (PASS, None) if out == frame => Ok(Outcome::Pass),
        (PASS, None) => Ok(Outcome::ToKernelTranslated(translated()?)),
        (TRANSMIT | REDIRECT, Some(reason)) => Ok(Outcome::Refuse { reason, icmp: ip_packet(out)? }),
        (REDIRECT, None) if packets(after, Counted::Fragmented) > packets(before, Counted::Fragmented) => {
            Ok(Outcome::Fragment)
        }
        (TRANSMIT | REDIRECT, None) => Ok(Outcome::Translate(translated()?)),
        _ => bail!("XDP action {action} with the drop reason {reason:?} is no outcome"),
    }
}

/// The reason that one packet more was dropped for.
fn dropped_for(before: &Counters, after: &Counters) -> Result<Option<&'static str>> {
    let mut reasons = DropReason::ALL.iter().filter(|reason| after.drops(**reason) > before.drops(**reason));
    match (reasons.next(), reasons.next()) {
        (None, _) => Ok(None),
        (Some(reason), None) if after.drops(*reason) == before.drops(*reason) + 1 => Ok(Some(reason.name())),
        _ => bail!("one packet was counted as dropped more than once"),
    }
}

/// The packet in a frame, its VLAN tags skipped.
fn ip_packet(frame: &[u8]) -> Result<Vec<u8>> {
    let mut at = 12;
    loop {
        match frame.get(at..at + 2) {
            Some([0x81, 0x00] | [0x88, 0xa8]) => at += 4,
            Some([0x08, 0x00] | [0x86, 0xdd]) => return Ok(frame[at + 2..].to_vec()),
            _ => bail!("the program left a frame that is neither IPv4 nor IPv6: {frame:02x?}"),
        }
    }
}
