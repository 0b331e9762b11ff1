//! The relay: the data plane, where it is attached, and how it follows the machine.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
    thread,
    time::Instant,
};

use tokio::sync::{mpsc, watch};
use tracing::{debug, error, info, warn};
use xlat_common::settings::Settings;

use super::{
    Ending, Request, canary,
    captures::Captures,
    doubles::Doubles,
    eams,
    ready::Readiness,
    refusal,
    status::{mode_name, waiting_sentence},
    usage::Usage,
};
use crate::{
    api::Code,
    choice,
    config::{Config, OnEnd, Pattern},
    daemon::{
        lookup::Rules,
        store::{Claim, Difference, Reader, Store},
    },
    dataplane::{self, DataPlane, DataPlaneError, LoadOptions, Pins, Ways, XdpMode},
    eam,
    netlink::{Interface, Machine},
};

/// What became of one interface that the configuration names.
pub(super) struct Link {
    pub(super) name: String,
    pub(super) outcome: Result<XdpMode, String>,
}

/// An interface that the configuration names and that gets no program, as another's sees its packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Covered {
    pub(super) name: String,
    by: String,
}

impl Covered {
    pub(super) fn reason(&self) -> String {
        format!("the program on {} sees its packets", self.by)
    }
}

/// The data plane and everything that is decided about it.
pub(super) struct Relay {
    pub(super) config: Config,
    pub(super) config_path: PathBuf,
    pub(super) dataplane: DataPlane,
    pub(super) table: eam::Table,
    /// What of the store is not in the table, as the configuration has it, too.
    pub(super) doubles: Doubles,
    pub(super) store: Store,
    pub(super) machine: watch::Receiver<Arc<Machine>>,
    /// By ifindex.
    pub(super) links: BTreeMap<u32, Link>,
    /// Patterns that matched no interface when they were last looked at.
    pub(super) waiting: Vec<Pattern>,
    /// By ifindex.
    pub(super) covered: BTreeMap<u32, Covered>,
    /// The machine's own addresses that are also a service's.
    pub(super) shadowed: BTreeSet<IpAddr>,
    /// Whether the fragmenter is lost and could not be made anew.
    pub(super) fragmenter_is_lost: bool,
    /// Whether an interface still has the program of before.
    pub(super) take_over_is_due: bool,
    pub(super) started: Instant,
    pub(super) captures: Captures,
    pub(super) readiness: Readiness,
    /// `None`: nothing is counted for single EAMs.
    pub(super) usage: Option<Usage>,
    kernel: Kernel,
}

/// What every program instance shares.
pub(in crate::daemon) struct Kernel {
    /// Where they are pinned.
    pub(in crate::daemon) pins: Arc<Pins>,
    /// Who tells them of changes of packets' ways.
    pub(in crate::daemon) ways: Ways,
}

impl canary::Subject for DataPlane {
    fn run(&self, frame: &[u8], ifindex: u32) -> Result<(u32, Vec<u8>), String> {
        self.test_run(frame, ifindex).map_err(|error| error.to_string())
    }
}

/// A new program instance, empty, attached nowhere. `before`: the one in force; `seed`: its seed, where its table is to be copied.
fn load_program(
    config: &Config,
    kernel: &Kernel,
    before: Option<&DataPlane>,
    seed: Option<u64>,
) -> Result<DataPlane, DataPlaneError> {
    let settings = Settings::from(config);
    let options = LoadOptions {
        max_eams: config.dataplane.max_eams,
        accounts: config.accounting.services,
        native: config.accounting.native,
        prefix_of_interface: config.interface_prefixes(),
        kernel_errors: config.icmp.kernel_errors,
        pins: Some(Arc::clone(&kernel.pins)),
        ways: Some(kernel.ways.clone()),
        handed_over: before.and_then(DataPlane::hand_over_fragmenter),
        seed,
        ..LoadOptions::default()
    };
    DataPlane::load(&settings, &options)
}

/// The instance in force, and in what the table to come differs from its.
type Before<'relay> = (&'relay DataPlane, &'relay Difference);

/// A program instance with its table filled, tried with canaries. One that fails is thrown away.
fn filled(
    mut dataplane: DataPlane,
    config: &Config,
    table: &eam::Table,
    machine: &Machine,
    before: Option<Before<'_>>,
) -> anyhow::Result<DataPlane> {
    match fill(&mut dataplane, config, table, machine, before) {
        Ok(canaries) => {
            debug!("a new program instance has translated {canaries} canaries rightly");
            Ok(dataplane)
        }
        Err(error) => {
            dataplane.discard();
            Err(error)
        }
    }
}

fn fill(
    dataplane: &mut DataPlane,
    config: &Config,
    table: &eam::Table,
    machine: &Machine,
    before: Option<Before<'_>>,
) -> anyhow::Result<usize> {
    // The table first: an empty one is filled, which is much faster than changing one.
    let begun = Instant::now();
    if before.is_some_and(|before| copy(dataplane, config, before)) {
        debug!("{} entries copied and changed in {:.1?}", table.len(), begun.elapsed());
    } else {
        dataplane.replace_table(&eams::table_input(config, table), machine)?;
        debug!("{} entries filled in {:.1?}", table.len(), begun.elapsed());
    }
    dataplane.update_machine(machine)?;
    spoil(dataplane, table)?;
    let own = |address: IpAddr| {
        machine.addresses().find(|(own, _)| *own == address).map(|(_, interface)| interface.to_owned())
    };
    let rules = Rules { config, table, own: &own };
    let wanted = |interface: &Interface| choice::is_wanted(&config.dataplane.interfaces, machine, interface);
    if !DataPlane::can_be_tried() {
        info!("the new program instance is not tried with canaries: that takes Linux 5.15 or newer");
        return Ok(0);
    }
    let canaries = canary::send(dataplane, &rules, machine, wanted)
        .map_err(|reason| anyhow::anyhow!("the new program instance fails its trial and is not attached: {reason}"))?;
    dataplane.reset_counters()?;
    Ok(canaries)
}

/// Has a new instance lack an entry that a test names: `XLAT_SPOIL` is a file, in which its IPv4 prefix stands as long as that is
/// wanted. Not in release builds.
fn spoil(dataplane: &mut DataPlane, table: &eam::Table) -> Result<(), DataPlaneError> {
    #[cfg(debug_assertions)]
    if let Some(file) = std::env::var_os("XLAT_SPOIL")
        && let Ok(prefix) = std::fs::read_to_string(file)
        && let Some(entry) = table.iter().find(|entry| entry.pair.ipv4().to_string() == prefix)
    {
        dataplane.remove_eam(&dataplane::Eam { ipv4: entry.pair.ipv4(), ipv6: entry.pair.ipv6(), prefix: None })?;
    }
    #[cfg(not(debug_assertions))]
    let _ = (dataplane, table);
    Ok(())
}

/// Whether the table could be had from the instance in force.
fn copy(dataplane: &mut DataPlane, config: &Config, (old, difference): Before<'_>) -> bool {
    let eams = |entries: &[eam::Entry]| -> Vec<dataplane::Eam> {
        entries.iter().map(|entry| eams::dataplane_eam(config, &entry.pair)).collect()
    };
    let copied = dataplane.copy_table(old, &eams(&difference.removed), &eams(&difference.added));
    copied.unwrap_or_else(|error| {
        warn!("the table in force is not what it should be, it is filled anew: {error}");
        false
    })
}

impl Relay {
    pub(super) fn load(
        config: Config,
        config_path: PathBuf,
        mut machine: watch::Receiver<Arc<Machine>>,
        kernel: Kernel,
        started: Instant,
    ) -> anyhow::Result<Self> {
        // Before anything of the machine is touched.
        let claim = Claim::new(&config.state.directory)?;
        // The table is read while the kernel looks at the program: both take their time.
        let (opened, loaded) = thread::scope(|scope| {
            let opening = scope.spawn(|| open_table(claim, &config));
            let loaded = load_program(&config, &kernel, None, None);
            let ended = || Err(anyhow::anyhow!("the thread that opens the store has ended"));
            (opening.join().unwrap_or_else(|_| ended()), loaded)
        });
        let snapshot = Arc::clone(&machine.borrow_and_update());
        let ((store, table, doubles), dataplane) = match (opened, loaded) {
            (Ok(opened), Ok(dataplane)) => (opened, dataplane),
            (Err(error), Ok(dataplane)) => {
                dataplane.discard();
                return Err(error);
            }
            (_, Err(error)) => return Err(error.into()),
        };
        debug!("program loaded {:.1?} after the start", started.elapsed());
        let dataplane = filled(dataplane, &config, &table, &snapshot, None)?;
        debug!("table filled {:.1?} after the start", started.elapsed());
        info!(
            "table filled: {} static and {} dynamic entries, revision {}",
            config.eams.len(),
            table.len() - config.eams.len(),
            store.revision()
        );
        store.back_up();
        let mut relay = Self {
            config,
            config_path,
            dataplane,
            table,
            doubles,
            store,
            machine,
            links: BTreeMap::new(),
            waiting: Vec::new(),
            covered: BTreeMap::new(),
            shadowed: BTreeSet::new(),
            fragmenter_is_lost: false,
            take_over_is_due: false,
            started,
            captures: Captures::new(),
            readiness: Readiness::default(),
            usage: None,
            kernel,
        };
        relay.note_shadowed(&snapshot);
        relay.follow(&snapshot, true);
        relay.finish_take_over(&snapshot);
        relay.follow_usage();
        relay.judge_start();
        Ok(relay)
    }

    /// Puts a new program instance, made of the configuration and the table as they are, in the place of the one in force: no
    /// packet meets a mixture of the two. Where anything fails, the old one stays. `difference`: all that has changed since the
    /// one in force was made or last changed.
    pub(super) fn swap(&mut self, difference: Option<&Difference>) -> anyhow::Result<()> {
        let machine = Arc::clone(&self.machine.borrow());
        self.dataplane.mend_pins()?;
        let before = difference.map(|difference| (&self.dataplane, difference));
        let dataplane =
            load_program(&self.config, &self.kernel, Some(&self.dataplane), before.map(|(old, _)| old.seed()))?;
        let dataplane = filled(dataplane, &self.config, &self.table, &machine, before)?;
        let mut old = std::mem::replace(&mut self.dataplane, dataplane);
        self.release_other_modes(&mut old);
        self.links.clear();
        self.carry_captures(&old);
        self.follow(&machine, true);
        self.finish_take_over(&machine);
        self.follow_usage();
        drop(old);
        Ok(())
    }

    /// Takes the program off where the configuration wants another mode: the kernel lets no two modes follow one another.
    fn release_other_modes(&self, old: &mut DataPlane) {
        let wanted = self.config.dataplane.xdp_mode;
        for (ifindex, link) in &self.links {
            if link.outcome.as_ref().is_ok_and(|mode| wanted != XdpMode::Auto && *mode != wanted) {
                warn!("{}: the mode of the program changes, packets go untranslated for a moment", link.name);
                if let Err(error) = old.leave(*ifindex) {
                    error!("{error}");
                }
            }
        }
    }

    /// Lets go of what was in force before, once everything is attached.
    fn finish_take_over(&mut self, machine: &Machine) {
        let patterns = &self.config.dataplane.interfaces;
        let wanted = |ifindex| {
            let interface = machine.interface(ifindex);
            interface.is_some_and(|interface| choice::is_wanted(patterns, machine, interface))
        };
        let was_due = std::mem::replace(&mut self.take_over_is_due, true);
        match self.dataplane.finish_take_over(wanted) {
            Ok(true) => self.take_over_is_due = false,
            Ok(false) if was_due => {}
            Ok(false) => warn!("an interface still has the program of before: see the errors above"),
            Err(error) => error!("{error}"),
        }
    }

    /// Ends the relay; says what becomes of the data plane.
    fn end(mut self, ending: Ending) -> OnEnd {
        self.end_captures("the daemon is stopping");
        self.end_usage();
        let end = match ending {
            Ending::Stop => self.config.dataplane.on_stop,
            Ending::Restart => self.config.dataplane.on_restart,
            // A daemon that cannot go on is no reason to cut the services off.
            Ending::Failure => OnEnd::Keep,
        };
        match end {
            OnEnd::Detach => {
                self.detach_all();
                self.dataplane.remove();
            }
            OnEnd::Keep => info!("the program stays attached and goes on translating; the next daemon takes over"),
        }
        end
    }

    pub(super) fn serve(mut self, mut queue: mpsc::Receiver<Request>) {
        // A reply that nobody waits for is not an error: the client went away.
        while let Some(request) = queue.blocking_recv() {
            match request {
                Request::Status(reply) => drop(reply.send(self.status())),
                Request::Counters(reply) => {
                    let failed =
                        |error: DataPlaneError| refusal(Code::Failed, format!("cannot read the counters: {error}"));
                    drop(reply.send(self.dataplane.counters().map_err(failed)));
                }
                Request::Lookup(address, reply) => drop(reply.send(self.look_up(address))),
                // Whoever asked may have given up meanwhile: the answer can take the loading of a program.
                Request::Ready(reply) if reply.is_closed() => {}
                Request::Ready(reply) => drop(reply.send(self.ready())),
                Request::Explain(packet, interface, reply) => {
                    drop(reply.send(self.explain(&packet, interface.as_deref())));
                }
                Request::Revision(reply) => drop(reply.send(self.store.revision())),
                Request::List(reply) => {
                    drop(reply.send((self.store.revision(), self.table.iter().cloned().collect())));
                }
                Request::Find(address, reply) => drop(reply.send(self.find(address))),
                Request::Add { entry, ask, reply } => drop(reply.send(self.add(entry, &ask))),
                Request::Remove { prefix, ask, reply } => drop(reply.send(self.remove(prefix, &ask))),
                Request::Apply { lines, manner, ask, reply } => drop(reply.send(self.apply(lines, manner, &ask))),
                Request::RollBack { revision, manner, ask, reply } => {
                    drop(reply.send(self.roll_back(revision, manner, &ask)));
                }
                Request::Capture(ask, reply) => drop(reply.send(self.begin_capture(ask))),
                Request::EndCapture(id, reply) => drop(reply.send(self.end_capture(id))),
                Request::Usage => self.usage_by_the_clock(),
                Request::BeginRates(reply) => drop(reply.send(self.begin_rates())),
                Request::EndRates(measurement, limit, reply) => drop(reply.send(self.end_rates(measurement, limit))),
                Request::Idle(seconds, limit, reply) => drop(reply.send(self.idle(seconds, limit))),
                Request::Share(service, by_service, reply) => drop(reply.send(self.share(service, by_service))),
                Request::UsageForMetrics(reply) => drop(reply.send(self.usage_for_metrics())),
                Request::Machine => self.machine_changed(),
                Request::Retry => {
                    self.look_for_losses();
                    let snapshot = Arc::clone(&self.machine.borrow());
                    self.follow(&snapshot, false);
                    if self.take_over_is_due {
                        self.finish_take_over(&snapshot);
                    }
                    self.follow_captures();
                    if let Some(taken) = self.dataplane.give_back_next_hops() {
                        info!("{taken} next hops were remembered: all are forgotten, to make room for new ones");
                    }
                }
                Request::Reload(author, reply) => drop(reply.send(self.reload(&author))),
                Request::Stop(ending, reply) => {
                    let _ = reply.send(self.end(ending));
                    return;
                }
            }
        }
        self.end(Ending::Failure);
    }

    /// The history of the table, to be read without the relay.
    pub(super) fn history(&self) -> Reader {
        self.store.reader()
    }

    fn machine_changed(&mut self) {
        let snapshot = Arc::clone(&self.machine.borrow_and_update());
        if let Err(error) = self.dataplane.update_machine(&snapshot) {
            error!("the data plane does not know the machine's latest addresses and interfaces: {error}");
        }
        self.note_shadowed(&snapshot);
        self.follow(&snapshot, true);
    }

    /// Warns when an address that an EAM maps is given to the machine itself: the service is cut off.
    fn note_shadowed(&mut self, machine: &Machine) {
        let mut shadowed = BTreeSet::new();
        for (address, interface) in machine.addresses() {
            let entry = match address {
                IpAddr::V4(address) => self.table.longest_ipv4(address),
                IpAddr::V6(address) => self.table.longest_ipv6(address),
            };
            let Some(entry) = entry else { continue };
            if !self.shadowed.contains(&address) {
                warn!("{entry} is not translated: {address} is the relay's own address on {interface}");
            }
            shadowed.insert(address);
        }
        self.shadowed = shadowed;
    }

    /// Attaches to what the configuration names and is there, and forgets what is gone.
    fn follow(&mut self, machine: &Machine, changed: bool) {
        if changed {
            self.forget_gone(machine);
        }
        for interface in &machine.interfaces {
            let (ifindex, name) = (interface.ifindex, interface.name.as_str());
            let wanted = choice::is_wanted(&self.config.dataplane.interfaces, machine, interface);
            let attached = self.links.get(&ifindex).is_some_and(|link| link.outcome.is_ok());
            if wanted && !attached && !self.dataplane.is_own_interface(ifindex) {
                self.attach(ifindex, name);
            }
        }
        self.note_missing(machine);
        self.note_covered(machine);
    }

    fn forget_gone(&mut self, machine: &Machine) {
        let patterns = &self.config.dataplane.interfaces;
        let dataplane = &mut self.dataplane;
        self.links.retain(|ifindex, link| {
            let there = machine.interfaces.iter().find(|interface| interface.ifindex == *ifindex);
            match there {
                Some(interface) if choice::is_wanted(patterns, machine, interface) => {
                    if interface.name != link.name {
                        info!("interface {} is renamed {}", link.name, interface.name);
                        link.name.clone_from(&interface.name);
                    }
                    return true;
                }
                // What covers it is told of below.
                Some(interface) if choice::is_named(patterns, interface) => {}
                Some(interface) => {
                    warn!(
                        "interface {} is renamed {}, which the configuration does not name",
                        link.name, interface.name
                    );
                }
                None => warn!("interface {} is gone", link.name),
            }
            if link.outcome.is_ok()
                && let Err(error) = dataplane.detach(*ifindex)
                && there.is_some()
            {
                error!("cannot detach from {}: {error}", link.name);
            }
            false
        });
    }

    fn attach(&mut self, ifindex: u32, name: &str) {
        let wanted = self.config.dataplane.xdp_mode;
        let outcome = self.dataplane.attach(ifindex, name, wanted).map_err(|error| error.to_string());
        let before = self.links.insert(ifindex, Link { name: name.to_owned(), outcome: outcome.clone() });
        match outcome {
            Ok(mode) => info!("attached to {name} in {} mode", mode_name(mode)),
            Err(reason) if before.is_some_and(|link| link.outcome.as_ref() == Err(&reason)) => {}
            Err(reason) => error!("{reason}; trying again every few seconds"),
        }
    }

    fn note_missing(&mut self, machine: &Machine) {
        let missing = |pattern: &&Pattern| !machine.interfaces.iter().any(|interface| pattern.matches(&interface.name));
        let waiting: Vec<Pattern> = self.config.dataplane.interfaces.iter().filter(missing).cloned().collect();
        for pattern in waiting.iter().filter(|pattern| !self.waiting.contains(pattern)) {
            warn!("{}", waiting_sentence(pattern));
        }
        self.waiting = waiting;
    }

    fn note_covered(&mut self, machine: &Machine) {
        let patterns = &self.config.dataplane.interfaces;
        let covered = machine.interfaces.iter().filter(|interface| choice::is_named(patterns, interface));
        let covered = covered.filter(|interface| !self.dataplane.is_own_interface(interface.ifindex));
        let covered: BTreeMap<u32, Covered> = covered
            .filter_map(|interface| {
                let by = choice::covered_by(patterns, machine, interface)?.name.clone();
                Some((interface.ifindex, Covered { name: interface.name.clone(), by }))
            })
            .collect();
        for (ifindex, covered) in covered.iter().filter(|(ifindex, there)| self.covered.get(ifindex) != Some(there)) {
            info!("interface {} (index {ifindex}) gets no program: {}", covered.name, covered.reason());
        }
        self.covered = covered;
    }

    fn detach_all(&mut self) {
        for (ifindex, link) in std::mem::take(&mut self.links) {
            if link.outcome.is_err() {
                continue;
            }
            match self.dataplane.detach(ifindex) {
                Ok(()) => info!("detached from {}", link.name),
                Err(error) => error!("cannot detach from {}: {error}", link.name),
            }
        }
    }
}

/// Opens the store, and makes the table of it and the configuration.
fn open_table(claim: Claim, config: &Config) -> anyhow::Result<(Store, eam::Table, Doubles)> {
    let begun = Instant::now();
    let (store, dynamic) = Store::open(claim, config.state.history)?;
    let read = begun.elapsed();
    let (table, doubles) = eams::registry(config, &store, dynamic)?;
    debug!("store read in {read:.1?}, table made in {:.1?}", begun.elapsed() - read);
    Ok((store, table, doubles))
}
