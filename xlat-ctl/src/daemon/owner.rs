//! The one owner of the data plane. Every change goes through its thread, one after the other, so that no two of them can
//! ever meet: what a request finds is what the request before it left.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::PathBuf,
    process,
    sync::Arc,
    thread,
    time::Instant,
};

use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot, watch},
};
use tracing::{error, info, warn};
use xlat_common::{counters::Counters, settings::Settings};

use super::{
    lookup::Rules,
    store::{Store, StoreError},
};
use crate::{
    api::{self, Attachment, Code, InterfaceStatus, Lookup, State, Status},
    config::{Config, Pattern},
    dataplane::{self, DataPlane, DataPlaneError, LoadOptions, TableInput, XdpMode},
    eam::{self, Entry, Origin, Pair},
    netlink::Machine,
};

/// Requests that may wait for their turn.
const QUEUE: usize = 256;

/// A refusal or failure, as it goes over the control socket.
pub(super) type Refusal = api::Error;

pub(super) fn refusal(code: Code, message: impl Into<String>) -> Refusal {
    Refusal { code, message: message.into() }
}

type Reply<T> = oneshot::Sender<T>;

/// What can be asked of the owner.
enum Request {
    Status(Reply<Status>),
    Counters(Reply<Result<Counters, Refusal>>),
    Lookup(IpAddr, Reply<Lookup>),
    List(Reply<Vec<api::Eam>>),
    Add {
        entry: Entry,
        author: String,
        reply: Reply<Result<api::EamAdded, Refusal>>,
    },
    Remove {
        prefix: Prefix,
        author: String,
        reply: Reply<Result<api::Eam, Refusal>>,
    },
    /// The machine changed: look at the latest snapshot.
    Machine,
    /// Try again what could not be attached.
    Retry,
    Stop(Reply<()>),
}

/// A prefix of either family that names an entry.
#[derive(Clone, Copy, Debug)]
pub(super) enum Prefix {
    Ipv4(ipnet::Ipv4Net),
    Ipv6(ipnet::Ipv6Net),
}

/// The way to the owner.
#[derive(Clone)]
pub(super) struct Owner {
    requests: mpsc::Sender<Request>,
    started: Instant,
}

impl Owner {
    /// Loads the program, fills its table, attaches it where the configuration says, and then serves requests.
    ///
    /// The second value resolves when the owner's thread has ended, for whatever reason.
    pub(super) async fn start(
        config: Config,
        config_path: PathBuf,
        machine: watch::Receiver<Arc<Machine>>,
        store: Box<dyn Store>,
    ) -> anyhow::Result<(Self, oneshot::Receiver<()>)> {
        let started = Instant::now();
        let (requests, queue) = mpsc::channel(QUEUE);
        let (ready, loaded) = oneshot::channel();
        let (alive, ended) = oneshot::channel::<()>();
        let runtime = Handle::current();
        thread::Builder::new().name("owner".to_owned()).spawn(move || {
            // The data plane's log reader is a task of the runtime.
            let _runtime = runtime.enter();
            let _alive = alive;
            match Relay::load(config, config_path, machine, store, started) {
                Ok(relay) => {
                    // The other side waits until this arrives.
                    let _ = ready.send(Ok(()));
                    relay.serve(queue);
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                }
            }
        })?;
        loaded.await.map_err(|_| anyhow::anyhow!("the data plane's thread ended while loading"))??;
        Ok((Self { requests, started }, ended))
    }

    /// An owner that answers nothing, for tests of what does not get as far.
    #[cfg(test)]
    pub(super) fn without_data_plane() -> Self {
        Self { requests: mpsc::channel(1).0, started: Instant::now() }
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, Refusal> {
        let stopping = || refusal(Code::Failed, "the daemon is stopping");
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())
    }

    pub(super) fn uptime(&self) -> std::time::Duration {
        self.started.elapsed()
    }

    pub(super) async fn status(&self) -> Result<Status, Refusal> {
        self.ask(Request::Status).await
    }

    pub(super) async fn counters(&self) -> Result<Counters, Refusal> {
        self.ask(Request::Counters).await?
    }

    pub(super) async fn lookup(&self, address: IpAddr) -> Result<Lookup, Refusal> {
        self.ask(|reply| Request::Lookup(address, reply)).await
    }

    pub(super) async fn list(&self) -> Result<Vec<api::Eam>, Refusal> {
        self.ask(Request::List).await
    }

    pub(super) async fn add(&self, entry: Entry, author: String) -> Result<api::EamAdded, Refusal> {
        self.ask(|reply| Request::Add { entry, author, reply }).await?
    }

    pub(super) async fn remove(&self, prefix: Prefix, author: String) -> Result<api::Eam, Refusal> {
        self.ask(|reply| Request::Remove { prefix, author, reply }).await?
    }

    /// Tells the owner that there is a new snapshot of the machine.
    pub(super) async fn machine_changed(&self) {
        let _ = self.requests.send(Request::Machine).await;
    }

    /// Has the owner try again what could not be attached.
    pub(super) async fn retry(&self) {
        let _ = self.requests.send(Request::Retry).await;
    }

    /// Detaches the program everywhere and ends the owner's thread.
    pub(super) async fn stop(&self) {
        let _ = self.ask(Request::Stop).await;
    }
}

/// What became of one interface that the configuration names.
struct Link {
    name: String,
    outcome: Result<XdpMode, String>,
}

/// The data plane and everything that is decided about it.
struct Relay {
    config: Config,
    config_path: PathBuf,
    dataplane: DataPlane,
    table: eam::Table,
    store: Box<dyn Store>,
    machine: watch::Receiver<Arc<Machine>>,
    /// By ifindex.
    links: BTreeMap<u32, Link>,
    /// Patterns that matched no interface when they were last looked at.
    waiting: Vec<Pattern>,
    /// The machine's own addresses that are also a service's.
    shadowed: BTreeSet<IpAddr>,
    started: Instant,
}

impl Relay {
    fn load(
        config: Config,
        config_path: PathBuf,
        mut machine: watch::Receiver<Arc<Machine>>,
        mut store: Box<dyn Store>,
        started: Instant,
    ) -> anyhow::Result<Self> {
        let table = registry(&config, store.as_mut())?;
        let settings = Settings::from(&config);
        let options = LoadOptions {
            max_eams: config.dataplane.max_eams,
            prefix_of_interface: config.interface_prefixes(),
            ..LoadOptions::default()
        };
        let mut dataplane = DataPlane::load(&settings, &options)?;
        let snapshot = Arc::clone(&machine.borrow_and_update());
        dataplane.update_machine(&snapshot)?;
        dataplane.replace_table(&table_input(&config, &table), &snapshot)?;
        info!("table filled: {} static and {} dynamic entries", config.eams.len(), table.len() - config.eams.len());
        let mut relay = Self {
            config,
            config_path,
            dataplane,
            table,
            store,
            machine,
            links: BTreeMap::new(),
            waiting: Vec::new(),
            shadowed: BTreeSet::new(),
            started,
        };
        relay.note_shadowed(&snapshot);
        relay.follow(&snapshot, true);
        Ok(relay)
    }

    fn serve(mut self, mut queue: mpsc::Receiver<Request>) {
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
                Request::List(reply) => drop(reply.send(self.table.iter().map(api::Eam::from).collect())),
                Request::Add { entry, author, reply } => drop(reply.send(self.add(entry, &author))),
                Request::Remove { prefix, author, reply } => drop(reply.send(self.remove(prefix, &author))),
                Request::Machine => self.machine_changed(),
                Request::Retry => {
                    let snapshot = Arc::clone(&self.machine.borrow());
                    self.follow(&snapshot, false);
                }
                Request::Stop(reply) => {
                    self.detach_all();
                    drop(self);
                    let _ = reply.send(());
                    return;
                }
            }
        }
        self.detach_all();
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
                IpAddr::V4(address) => self.table.get_ipv4(address.into()),
                IpAddr::V6(address) => self.table.get_ipv6(address.into()),
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
            let wanted = self.config.dataplane.interfaces.iter().any(|pattern| pattern.matches(name));
            let attached = self.links.get(&ifindex).is_some_and(|link| link.outcome.is_ok());
            if wanted && !attached && !self.dataplane.is_own_interface(ifindex) {
                self.attach(ifindex, name);
            }
        }
        self.note_missing(machine);
    }

    fn forget_gone(&mut self, machine: &Machine) {
        let patterns = &self.config.dataplane.interfaces;
        let dataplane = &mut self.dataplane;
        self.links.retain(|ifindex, link| {
            let there = machine.interfaces.iter().find(|interface| interface.ifindex == *ifindex);
            match there {
                Some(interface) if patterns.iter().any(|pattern| pattern.matches(&interface.name)) => {
                    if interface.name != link.name {
                        info!("interface {} is renamed {}", link.name, interface.name);
                        link.name.clone_from(&interface.name);
                    }
                    return true;
                }
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

    fn add(&mut self, entry: Entry, author: &str) -> Result<api::EamAdded, Refusal> {
        let pair = entry.pair;
        let named = |text: String| format!("eam add {} {}: {text}", eam::short4(pair.ipv4()), eam::short6(pair.ipv6()));
        self.table.admit(&pair).map_err(|text| refusal(Code::Conflict, named(text)))?;
        let most = self.config.dataplane.max_eams;
        if self.table.len() >= usize::try_from(most).unwrap_or(usize::MAX) {
            let text = format!("the table is full: it was made for dataplane.max_eams = {most} entries");
            return Err(refusal(Code::Full, named(text)));
        }
        let mut warnings = self.config.doubts(&self.table, &pair);
        warnings.extend(self.own_address_within(&pair));
        self.dataplane
            .insert_eam(&dataplane_eam(&self.config, &pair))
            .map_err(|error| refusal(Code::Failed, named(error.to_string())))?;
        if let Err(StoreError(text)) = self.store.insert(&entry) {
            if let Err(error) = self.dataplane.remove_eam(&dataplane_eam(&self.config, &pair)) {
                error!("the refused entry {pair} is still in force: {error}");
            }
            return Err(refusal(Code::Failed, named(format!("the entry cannot be kept: {text}"))));
        }
        info!("EAM {entry} added by {author}");
        for warning in &warnings {
            warn!("{warning}");
        }
        let added = api::EamAdded { entry: api::Eam::from(&entry), warnings };
        self.table.insert(entry).map_err(|text| refusal(Code::Conflict, named(text)))?;
        Ok(added)
    }

    fn remove(&mut self, prefix: Prefix, author: &str) -> Result<api::Eam, Refusal> {
        let (text, found) = match prefix {
            Prefix::Ipv4(net) => (eam::short4(net), self.table.get_ipv4(net)),
            Prefix::Ipv6(net) => (eam::short6(net), self.table.get_ipv6(net)),
        };
        let Some(entry) = found.cloned() else {
            let around = match prefix {
                Prefix::Ipv4(net) => self.table.covering_ipv4(net).next(),
                Prefix::Ipv6(net) => self.table.covering_ipv6(net).next(),
            };
            let hint = around.map_or_else(String::new, |entry| format!("; it lies within the entry {entry}"));
            return Err(refusal(Code::NotFound, format!("eam del {text}: no entry has this prefix{hint}")));
        };
        if entry.origin == Origin::Static {
            let sentence = format!(
                "eam del {text}: {entry} is a static entry: remove it from {} and restart the daemon",
                self.config_path.display()
            );
            return Err(refusal(Code::Conflict, sentence));
        }
        self.store
            .remove(&entry)
            .map_err(|error| refusal(Code::Failed, format!("eam del {text}: the change cannot be kept: {error}")))?;
        if let Err(error) = self.dataplane.remove_eam(&dataplane_eam(&self.config, &entry.pair)) {
            if let Err(StoreError(text)) = self.store.insert(&entry) {
                error!("the entry {entry} is in force, but will be gone after a restart: {text}");
            }
            return Err(refusal(Code::Failed, format!("eam del {text}: {error}")));
        }
        self.table.remove(&entry.pair);
        info!("EAM {entry} deleted by {author}");
        Ok(api::Eam::from(&entry))
    }

    /// The machine's own addresses that an EAM covers: they stay with the machine.
    fn own_address_within(&self, pair: &Pair) -> Option<String> {
        let machine = self.machine.borrow();
        let (address, interface) = machine.addresses().find(|(address, _)| match address {
            IpAddr::V4(address) => pair.ipv4().contains(address),
            IpAddr::V6(address) => pair.ipv6().contains(address),
        })?;
        Some(format!("{pair} covers {address}, the relay's own address on {interface}, which is never translated"))
    }

    fn look_up(&self, address: IpAddr) -> Lookup {
        let machine = self.machine.borrow();
        let own = |address: IpAddr| {
            machine.addresses().find(|(own, _)| *own == address).map(|(_, interface)| interface.to_owned())
        };
        Rules { config: &self.config, table: &self.table, own: &own }.look_up(address)
    }

    fn status(&self) -> Status {
        let program = self.dataplane.program_info();
        let entries = self.table.len() as u64;
        let static_entries = self.config.eams.len() as u64;
        let interfaces = self.interfaces();
        let attached = interfaces.iter().filter(|interface| interface.state == Attachment::Attached).count();
        Status {
            state: match attached {
                0 => State::Detached,
                some if some == interfaces.len() => State::Attached,
                _ => State::Degraded,
            },
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: process::id(),
            uptime_seconds: self.started.elapsed().as_secs(),
            config: self.config_path.display().to_string(),
            program: api::Program {
                id: program.id,
                tag: program.tag,
                name: program.name,
                jited_bytes: program.jited_bytes.into(),
                verified_instructions: program.instructions.into(),
                memory_bytes: program.memory.into(),
            },
            table: api::TableStatus {
                entries,
                static_entries,
                dynamic_entries: entries - static_entries,
                max_entries: self.config.dataplane.max_eams.into(),
                bytes: program.table_bytes,
            },
            interfaces,
        }
    }

    fn interfaces(&self) -> Vec<InterfaceStatus> {
        let wanted = self.config.dataplane.xdp_mode;
        let links = self.links.iter().map(|(ifindex, link)| InterfaceStatus {
            name: link.name.clone(),
            ifindex: Some(*ifindex),
            state: if link.outcome.is_ok() { Attachment::Attached } else { Attachment::Failed },
            mode: link.outcome.as_ref().ok().map(|mode| mode_name(*mode).to_owned()),
            detail: match &link.outcome {
                Ok(XdpMode::Generic) if wanted == XdpMode::Auto => {
                    Some("the driver takes no XDP program: slower".to_owned())
                }
                Ok(_) => None,
                Err(reason) => Some(reason.clone()),
            },
        });
        let waiting = self.waiting.iter().map(|pattern| InterfaceStatus {
            name: pattern.to_string(),
            ifindex: None,
            state: Attachment::Waiting,
            mode: None,
            detail: Some(waiting_sentence(pattern)),
        });
        let mut all: Vec<InterfaceStatus> = links.chain(waiting).collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }
}

fn waiting_sentence(pattern: &Pattern) -> String {
    if pattern.is_glob() {
        format!("no interface matches {pattern} yet: waiting for one")
    } else {
        format!("interface {pattern} is not there: waiting for it")
    }
}

/// The word for a mode in force.
pub(super) fn mode_name(mode: XdpMode) -> &'static str {
    match mode {
        XdpMode::Auto => "auto",
        XdpMode::Native => "native",
        XdpMode::Generic => "generic",
    }
}

/// The static entries of the configuration and the dynamic ones of the store, as one table.
fn registry(config: &Config, store: &mut dyn Store) -> anyhow::Result<eam::Table> {
    let mut table = eam::Table::default();
    for entry in config.eams.iter().cloned().chain(store.entries()?) {
        table.insert(entry).map_err(anyhow::Error::msg)?;
    }
    Ok(table)
}

fn dataplane_eam(config: &Config, pair: &Pair) -> dataplane::Eam {
    dataplane::Eam { ipv4: pair.ipv4(), ipv6: pair.ipv6(), prefix: config.prefix_of(pair) }
}

fn table_input(config: &Config, table: &eam::Table) -> TableInput {
    TableInput {
        eams: table.iter().map(|entry| dataplane_eam(config, &entry.pair)).collect(),
        deny4: config.deny.ipv4.clone(),
        deny6: config.deny.ipv6.clone(),
    }
}
