//! One relay under test.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError},
};

use anyhow::{Context as _, Result, anyhow, bail};
use tokio::runtime::Runtime;
use xlat_common::{counters::Counters, reason::DropReason, settings::Settings};
use xlat_ctl::{
    config::{self, Config},
    dataplane::{DataPlane, Eam, Filters, LoadOptions, Pins, Sink, TableInput, Ways, XdpMode},
    netlink::{self, Machine},
};

use super::world::{self, World};
use crate::notation::Frame;

/// What the program says is to be done with the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// `XDP_ABORTED`: a fault of the program.
    Aborted,
    /// `XDP_DROP`
    Drop,
    /// `XDP_PASS`
    Pass,
    /// `XDP_TX`
    Transmit,
    /// `XDP_REDIRECT`
    Redirect,
}

/// What became of one frame.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The program's word.
    pub verdict: Verdict,
    /// The frame as the program left it.
    pub frame: Vec<u8>,
    /// Why it was dropped, if it was.
    pub reason: Option<DropReason>,
    /// What this frame added to the counters.
    pub counters: Counters,
}

/// A configuration of the relay under test: [`BASE`] with the keys of `changes`, which is TOML, in place of its own.
///
/// # Panics
/// `changes` is no TOML.
#[must_use]
pub fn settings(changes: &str) -> String {
    let mut table: toml::Table = BASE.parse().expect("the base configuration is TOML");
    let changes: toml::Table = changes.parse().unwrap_or_else(|error| panic!("settings `{changes}`: {error}"));
    merge(&mut table, changes);
    table.to_string()
}

/// The relay that rows speak of when they name no settings.
const BASE: &str = r#"
[dataplane]
interfaces = ["v4", "v6", "v4-*", "v6-*"]
max_eams = 64
[translation]
prefixes = ["2001:db8:6464::/96"]
[icmp]
errors = "on"
ipv4_pool = ["203.0.113.8"]
[control]
group = "root"

[[eam]]
ipv4 = "198.51.100.10"
ipv6 = "2001:db8:5e1:1::10"
[[eam]]
ipv4 = "198.51.100.11"
ipv6 = "2001:db8:5e1:1::11"
[[eam]]
ipv4 = "198.51.100.77"
ipv6 = "2001:db8:5e1:77::77"
[[eam]]
ipv4 = "198.51.100.80"
ipv6 = "2001:db8:5e1:1280::80"
[[eam]]
ipv4 = "198.51.100.81"
ipv6 = "2001:db8:5e1:1400::81"
[[eam]]
ipv4 = "198.51.100.82"
ipv6 = "2001:db8:5e1:8::82"
[[eam]]
ipv4 = "198.51.100.83"
ipv6 = "2001:db8:5e1:10::83"
[[eam]]
ipv4 = "198.51.100.84"
ipv6 = "2001:db8:5e1:9::84"
[[eam]]
ipv4 = "198.51.100.86"
ipv6 = "2001:db8:5e1:dead::86"
[[eam]]
ipv4 = "198.51.100.90"
ipv6 = "2001:db8:5e1:9000::90"
"#;

fn merge(into: &mut toml::Table, from: toml::Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(toml::Value::Table(into)), toml::Value::Table(value)) => merge(into, value),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// The relays of this process, by their configuration: each is loaded once.
static RELAYS: LazyLock<Mutex<HashMap<String, Shared>>> = LazyLock::new(Mutex::default);

type Shared = Arc<OnceLock<Result<Mutex<Relay>, String>>>;

/// The runtime on which `xlat_ctl` follows netlink and reads the program's log.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("starting the tokio runtime"));

/// The real program, loaded with one configuration, on its own machine.
pub struct Relay {
    dataplane: DataPlane,
    machine: Machine,
    world: World,
}

impl Relay {
    /// Does something with the relay that has this configuration, alone: no other test uses it meanwhile.
    ///
    /// # Panics
    /// The relay cannot be made: one sentence says what is missing.
    pub fn with<T>(configuration: &str, action: impl FnOnce(&mut Self) -> T) -> T {
        let shared = {
            let mut relays = RELAYS.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(relays.entry(configuration.to_owned()).or_default())
        };
        let relay = shared.get_or_init(|| {
            Self::load(configuration).map(Mutex::new).map_err(|error| format!("no relay to test: {error:#}"))
        });
        let relay = relay.as_ref().unwrap_or_else(|error| panic!("{error}"));
        // A failed row leaves the relay as it was: the program keeps no state of packets.
        action(&mut relay.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Loads the program with this configuration on a machine of its own.
    ///
    /// # Errors
    /// No root, no BPF, or the configuration is refused.
    pub fn load(configuration: &str) -> Result<Self> {
        Self::load_as(configuration, false)
    }

    /// Ways that never change: every next hop is remembered.
    fn unchanging() -> Option<Ways> {
        let ways = Ways::default();
        ways.changed(true);
        Some(ways)
    }

    /// As [`Self::load`], with next hops remembered as `ways` says.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_with(configuration: &str, ways: Option<Ways>) -> Result<Self> {
        Self::load_options(configuration, LoadOptions { ways, ..LoadOptions::default() })
    }

    /// As [`Self::load`]; `single_buffer`: as on a kernel before Linux 5.18.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_as(configuration: &str, single_buffer: bool) -> Result<Self> {
        Self::load_options(
            configuration,
            LoadOptions { single_buffer, ways: Self::unchanging(), ..LoadOptions::default() },
        )
    }

    /// As [`Self::load_as`], pinned as the daemon's is.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_pinned(configuration: &str, single_buffer: bool, pins: Arc<Pins>) -> Result<Self> {
        let (ways, pins) = (Self::unchanging(), Some(pins));
        Self::load_options(configuration, LoadOptions { single_buffer, ways, pins, ..LoadOptions::default() })
    }

    /// Makes these the captures in force.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn capture(&mut self, filters: &Filters, sink: &Sink) -> Result<()> {
        let _runtime = RUNTIME.enter();
        Ok(self.dataplane.set_captures(filters, sink)?)
    }

    fn load_options(configuration: &str, options: LoadOptions) -> Result<Self> {
        let checked = config::parse(configuration).map_err(|problems| {
            let lines: Vec<&str> = problems.iter().map(|problem| problem.text.as_str()).collect();
            anyhow!("the configuration is refused: {}\n{configuration}", lines.join("; "))
        })?;
        let config = checked.config;
        let world = World::new()?;
        // A thread of its own: a thread that has been in the world's namespace stays there.
        std::thread::scope(|scope| {
            scope
                .spawn(|| Self::load_in(config, world, options))
                .join()
                .unwrap_or_else(|_| bail!("loading the program panicked"))
        })
    }

    fn load_in(config: Config, world: World, options: LoadOptions) -> Result<Self> {
        world.enter()?;
        let _runtime = RUNTIME.enter();
        let ask = || netlink::snapshot().map(world::as_told).context("asking the kernel for its interfaces");
        let mut machine = ask()?;
        let options = LoadOptions {
            max_eams: config.dataplane.max_eams,
            accounts: config.accounting.services,
            native: config.accounting.native,
            prefix_of_interface: config.interface_prefixes(),
            ..options
        };
        let mut dataplane = DataPlane::load(&Settings::from(&config), &options)
            .context("loading the XDP program (these tests need root and a kernel with BPF)")?;
        dataplane.update_machine(&machine).context("telling the program of the machine")?;
        dataplane.replace_table(&table(&config), &machine).context("filling the table")?;
        for interface in &machine.interfaces {
            if config.dataplane.interfaces.iter().any(|pattern| pattern.matches(&interface.name)) {
                dataplane
                    .attach(interface.ifindex, &interface.name, XdpMode::Auto)
                    .with_context(|| format!("attaching the program to {}", interface.name))?;
            }
        }
        // The interfaces can do more with the program on them, and the fragmenter is there.
        machine = ask()?;
        dataplane.update_machine(&machine).context("telling the program of the machine")?;
        Ok(Self { dataplane, machine, world })
    }

    /// Sends one frame through the program, as if it came in by an interface of the machine.
    ///
    /// # Errors
    /// The kernel refuses to run the program.
    pub fn run(&mut self, frame: &Frame) -> Result<Outcome> {
        let name = frame.arrives_by.unwrap_or(if frame.ether_type == 0x86dd { "v6" } else { "v4" });
        let arrival = world::interface(name);
        let there = self.machine.interfaces.iter().find(|interface| interface.name == name);
        let ifindex = there.with_context(|| format!("no interface {name}"))?.ifindex;
        let bytes = frame.bytes(arrival.mac, arrival.gateway_mac);
        let Self { dataplane, world, .. } = self;
        // The interface is looked up in the namespace of the thread that asks.
        std::thread::scope(|scope| {
            let run = scope.spawn(move || {
                world.enter()?;
                let before = dataplane.counters()?;
                let (action, frame) = dataplane.test_run(&bytes, ifindex)?;
                let counters = difference(&dataplane.counters()?, &before);
                Ok(Outcome { verdict: verdict(action), frame, reason: reason(&counters), counters })
            });
            run.join().unwrap_or_else(|_| bail!("running the program panicked"))
        })
    }

    /// An `ip` command on the relay's machine.
    ///
    /// # Errors
    /// What `ip` says.
    pub fn ip(&self, command: &str) -> Result<()> {
        let world = &self.world;
        std::thread::scope(|scope| {
            let run = scope.spawn(|| {
                world.enter()?;
                world::ip_batch(&format!("{command}\n"))
            });
            run.join().unwrap_or_else(|_| bail!("running `ip {command}` panicked"))
        })
    }

    /// Tells the program of another machine than it is on: its own with changes.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn tell(&mut self, change: impl FnOnce(&mut Machine)) -> Result<()> {
        change(&mut self.machine);
        self.dataplane.update_machine(&self.machine).context("telling the program of the machine")
    }

    /// Brings the calling thread into the namespace of the relay's machine, where it stays.
    ///
    /// # Errors
    /// Without root.
    pub fn enter(&self) -> Result<()> {
        self.world.enter()
    }

    /// The data plane itself, for what only few tests do.
    pub fn dataplane(&mut self) -> &mut DataPlane {
        &mut self.dataplane
    }
}

fn table(config: &Config) -> TableInput {
    let eam = |entry: &xlat_ctl::eam::Entry| Eam {
        ipv4: entry.pair.ipv4(),
        ipv6: entry.pair.ipv6(),
        prefix: config.prefix_of(&entry.pair),
    };
    TableInput {
        eams: config.eams.iter().map(eam).collect(),
        deny4: config.deny.ipv4.clone(),
        deny6: config.deny.ipv6.clone(),
    }
}

fn verdict(action: u32) -> Verdict {
    match action {
        1 => Verdict::Drop,
        2 => Verdict::Pass,
        3 => Verdict::Transmit,
        4 => Verdict::Redirect,
        _ => Verdict::Aborted,
    }
}

fn difference(after: &Counters, before: &Counters) -> Counters {
    let mut difference = Counters::ZERO;
    for (at, cell) in difference.traffic.iter_mut().enumerate() {
        cell.packets = after.traffic[at].packets - before.traffic[at].packets;
        cell.bytes = after.traffic[at].bytes - before.traffic[at].bytes;
    }
    for (at, count) in difference.drops.iter_mut().enumerate() {
        *count = after.drops[at] - before.drops[at];
    }
    difference.errors_sent = after.errors_sent - before.errors_sent;
    difference.errors_suppressed = after.errors_suppressed - before.errors_suppressed;
    difference.passed_other = after.passed_other - before.passed_other;
    difference.hairpinned = after.hairpinned - before.hairpinned;
    difference.route_lookups = after.route_lookups - before.route_lookups;
    difference.events_suppressed = after.events_suppressed - before.events_suppressed;
    difference
}

fn reason(counters: &Counters) -> Option<DropReason> {
    DropReason::ALL.iter().copied().find(|reason| counters.drops(*reason) > 0)
}
