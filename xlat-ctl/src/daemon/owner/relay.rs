//! The relay: the data plane, what is decided about it, and who asks for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Instant,
};

use tokio::sync::{mpsc, watch};
use tracing::{debug, error, info, warn};

use super::{
    Ending, Request,
    captures::Captures,
    difference::Reshaping,
    doubles::Doubles,
    eams,
    follow::{Covered, Link},
    instance::{filled, load_program},
    ready::Readiness,
    refusal,
    usage::Usage,
};
use crate::{
    api::Code,
    choice,
    config::{self, Config, OnEnd, Pattern},
    daemon::{
        memory,
        store::{Claim, Reader, Store, StoreError},
    },
    dataplane::{DataPlane, DataPlaneError, Pins, Ways, XdpMode},
    eam,
    netlink::{Interface, Machine},
};

/// A table of so many entries is copied without much ado.
const SMALL: usize = 10_000;

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
    pub(super) fragmenter_is_lost: Option<Instant>,
    /// Whether an interface still has the program of before.
    pub(super) take_over_is_due: bool,
    pub(super) started: Instant,
    pub(super) captures: Captures,
    pub(super) readiness: Readiness,
    /// `None`: nothing is counted for single EAMs.
    pub(super) usage: Option<Usage>,
    /// When its store was last to be opened.
    pub(super) usage_tried: Instant,
    kernel: Kernel,
}

/// What every program instance shares.
pub(in crate::daemon) struct Kernel {
    /// Where they are pinned.
    pub(in crate::daemon) pins: Arc<Pins>,
    /// Who tells them of changes of packets' ways.
    pub(in crate::daemon) ways: Ways,
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
            let opening = scope.spawn(|| open_table(claim, &config, &config_path));
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
            fragmenter_is_lost: None,
            take_over_is_due: false,
            started,
            captures: Captures::new(),
            readiness: Readiness::default(),
            usage: None,
            usage_tried: started,
            kernel,
        };
        relay.note_shadowed(&snapshot);
        let patterns = &relay.config.dataplane.interfaces;
        let is_covered = |ifindex| {
            let interface = snapshot.interface(ifindex);
            interface.is_some_and(|interface| choice::covered_by(patterns, &snapshot, interface).is_some())
        };
        relay.dataplane.release_pinned(is_covered);
        relay.follow(&snapshot, true);
        relay.finish_take_over(&snapshot);
        relay.follow_usage();
        relay.settle_usage();
        relay.judge_start();
        relay.store.back_up();
        relay.give_memory_back();
        Ok(relay)
    }

    /// Puts a new program instance, made of the configuration and the table as they are, in the place of the one in force: no
    /// packet meets a mixture of the two. Where anything fails, the old one stays. `difference`: all that has changed since the
    /// one in force was made or last changed.
    pub(super) fn swap(&mut self, difference: Option<Reshaping<'_>>) -> anyhow::Result<()> {
        let machine = Arc::clone(&self.machine.borrow());
        self.dataplane.mend_pins()?;
        let before = difference.map(|difference| (&self.dataplane, difference));
        let dataplane =
            load_program(&self.config, &self.kernel, Some(&self.dataplane), before.map(|(old, _)| old.seed()))?;
        let mut dataplane = filled(dataplane, &self.config, &self.table, &machine, before)?;
        // All of that takes its time, in which the machine may have changed.
        let machine = Arc::clone(&self.machine.borrow());
        if let Err(error) = dataplane.update_machine(&machine) {
            dataplane.discard();
            return Err(error.into());
        }
        // Where another program has its place, this instance could be attached nowhere.
        if self.dataplane.has_fragmenter()
            && let Err(error) = dataplane.start_fragmenter()
        {
            dataplane.discard();
            return Err(error.into());
        }
        let mut old = std::mem::replace(&mut self.dataplane, dataplane);
        self.dataplane.carry_accounts(old.take_carried_accounts());
        self.release_other_modes(&mut old);
        self.release_covered(&mut old, &machine);
        self.links.clear();
        self.carry_captures(&old);
        self.follow(&machine, true);
        self.finish_take_over(&machine);
        if self.take_over_is_due
            && let Err(error) = self.dataplane.let_go_of(&old)
        {
            error!("{error}");
        }
        self.follow_usage();
        self.carry_capture_tallies(&old);
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

    /// Takes the program off what another device covers from here on: the kernel has none below or on top of it meanwhile.
    fn release_covered(&self, old: &mut DataPlane, machine: &Machine) {
        let patterns = &self.config.dataplane.interfaces;
        let is_covered = |interface: &&Interface| choice::covered_by(patterns, machine, interface).is_some();
        for attached in old.attached() {
            if let Some(interface) = machine.interface(attached.ifindex).filter(is_covered) {
                warn!("{}: the program goes to another device, packets go untranslated for a moment", interface.name);
                if let Err(error) = old.leave(attached.ifindex) {
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
                Request::Apply { lines, manner, ask, reply } => {
                    drop(reply.send(self.apply(lines, manner, &ask)));
                    self.give_memory_back();
                }
                Request::RollBack { revision, manner, ask, reply } => {
                    drop(reply.send(self.roll_back(revision, manner, &ask)));
                    self.give_memory_back();
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
                Request::Reload(author, reply) => {
                    drop(reply.send(self.reload(&author)));
                    self.give_memory_back();
                }
                Request::Stop(ending, reply) => {
                    let _ = reply.send(self.end(ending));
                    return;
                }
            }
        }
        self.end(Ending::Failure);
    }

    /// After what goes through the whole table, where that is worth its time, for which the next request waits.
    fn give_memory_back(&self) {
        if self.table.len() > SMALL {
            self.store.shrink();
            memory::give_back();
        }
    }

    /// The history of the table, to be read without the relay.
    pub(super) fn history(&self) -> Reader {
        self.store.reader()
    }
}

/// Opens the store, and makes the table of it and the configuration.
fn open_table(claim: Claim, config: &Config, config_path: &Path) -> anyhow::Result<(Store, eam::Table, Doubles)> {
    let begun = Instant::now();
    let (store, dynamic) = Store::open(claim, config.state.history).map_err(|error| match error {
        StoreError::Damaged { .. } if config_path != Path::new(config::DEFAULT_PATH) => {
            anyhow::anyhow!("{error} (for this configuration: with `--config {}`)", config_path.display())
        }
        error => error.into(),
    })?;
    let read = begun.elapsed();
    let (table, doubles) = eams::registry(config, &store, dynamic)?;
    debug!("store read in {read:.1?}, table made in {:.1?}", begun.elapsed() - read);
    Ok((store, table, doubles))
}
