//! The real program as the subject of a run.

use std::collections::HashMap;

use anyhow::{Context as _, Result, bail};
use nix::net::if_::if_nametoindex;
use xlat_common::counters::{Counters, Verdict as Counted};
use xlat_common::reason::DropReason;

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
        let mut relay = Relay::load_as(&named.toml(), named.single_buffer)
            .with_context(|| format!("loading the relay `{}`", named.name))?;
        relay.enter()?;
        let arrival = |name: &str| -> Result<Arrival> {
            let interface = world::interface(name);
            let ifindex = if_nametoindex(name).with_context(|| format!("looking for the interface {name}"))?;
            Ok(Arrival { ifindex, mac: interface.mac, gateway_mac: interface.gateway_mac })
        };
        let arrivals = [arrival(named.arrival4)?, arrival(named.arrival6)?];
        let counters = relay.dataplane().counters()?;
        Ok(Self { relay, arrivals, counters })
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
