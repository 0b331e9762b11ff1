//! The one owner of the data plane. Every change goes through its thread, one after the other, so that no two of them can
//! ever meet: what a request finds is what the request before it left.

mod canary;
mod captures;
mod difference;
mod doubles;
mod eams;
mod explain;
mod follow;
mod instance;
mod losses;
mod ready;
mod relay;
mod reload;
mod share;
mod status;
mod usage;

use std::{
    fmt,
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot, watch},
};
use xlat_common::{capture::Tally, counters::Counters};

use self::relay::Relay;
pub(super) use self::{
    captures::{Ask as CaptureAsk, Capturing, Event as CaptureEvent},
    relay::Kernel,
    share::{Shared, busiest_first},
    usage::UsageForMetrics,
};
use super::{author::Author, notify, store::Reader};
use crate::{
    api::{self, Code, Lookup, Status},
    config::{Config, OnEnd},
    eam::{self, Entry},
    eam_file::Line,
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
    Ready(Reply<Result<(), String>>),
    Explain(Vec<u8>, Option<String>, Reply<Result<Box<api::Explained>, Refusal>>),
    Revision(Reply<u64>),
    List(Reply<(u64, Vec<Entry>)>),
    Find(IpAddr, Reply<api::EamList>),
    Add {
        entry: Entry,
        ask: Ask,
        reply: Reply<Result<api::EamAdded, Refusal>>,
    },
    Remove {
        prefix: Prefix,
        ask: Ask,
        reply: Reply<Result<api::EamDeleted, Refusal>>,
    },
    Apply {
        lines: Vec<Line>,
        manner: Manner,
        ask: Ask,
        reply: Reply<Result<api::Applied, Refusal>>,
    },
    RollBack {
        revision: u64,
        manner: Manner,
        ask: Ask,
        reply: Reply<Result<api::Applied, Refusal>>,
    },
    Capture(CaptureAsk, Reply<Result<Capturing, Refusal>>),
    /// End a capture, by its number.
    EndCapture(u64, Reply<Option<Tally>>),
    /// Read what has been counted for single EAMs.
    Usage,
    BeginRates(Reply<Result<u64, Refusal>>),
    EndRates(u64, usize, Reply<Result<api::EamRates, Refusal>>),
    Idle(u64, usize, Reply<Result<api::EamIdle, Refusal>>),
    UsageForMetrics(Reply<UsageForMetrics>),
    /// What has been counted today, of the entry that is named or of all, and whether of each.
    Share(Option<Prefix>, bool, Reply<Result<Shared, Refusal>>),
    /// The machine changed: look at the latest snapshot.
    Machine,
    /// Try again what could not be attached.
    Retry,
    /// Make the configuration file the one in force.
    Reload(Author, Reply<Result<Vec<String>, Refusal>>),
    Stop(Ending, Reply<OnEnd>),
}

/// Why the daemon ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ending {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGUSR1: another daemon is to follow.
    Restart,
    /// It cannot go on.
    Failure,
}

/// Who asks for a change, and on what condition.
#[derive(Clone, Debug, Default)]
pub(super) struct Ask {
    pub(super) author: Author,
    /// The author's words about it.
    pub(super) message: String,
    /// Only if the table is at this revision.
    pub(super) if_revision: Option<u64>,
}

/// How a change of the whole table is made.
pub(super) struct Manner {
    /// Only to tell what would change.
    pub(super) dry_run: bool,
    /// Who is to be told what will change before it does.
    pub(super) tell: Option<Tell>,
}

/// The way to who is told what will change.
pub(super) struct Tell {
    pub(super) difference: oneshot::Sender<api::Applied>,
    /// Says that it is on its way to the client.
    pub(super) sent: std::sync::mpsc::Receiver<()>,
}

impl Tell {
    /// The change waits for this time at most: a client that does not read delays nobody.
    const PATIENCE: Duration = Duration::from_millis(100);

    /// Tells it, and waits until it is on its way.
    fn tell(self, difference: api::Applied) {
        // Who does not listen any more has asked for the change all the same.
        if self.difference.send(difference).is_ok() {
            let _ = self.sent.recv_timeout(Self::patience());
        }
    }

    /// A test that has the daemon killed afterwards is to see what was told, however slow the machine is.
    fn patience() -> Duration {
        let is_killed = cfg!(debug_assertions) && std::env::var_os("XLAT_CRASH_AT").is_some();
        if is_killed { 100 * Self::PATIENCE } else { Self::PATIENCE }
    }
}

/// A prefix of either family that names an entry.
#[derive(Clone, Copy, Debug)]
pub(super) enum Prefix {
    Ipv4(ipnet::Ipv4Net),
    Ipv6(ipnet::Ipv6Net),
}

impl fmt::Display for Prefix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipv4(net) => formatter.write_str(&eam::short4(*net)),
            Self::Ipv6(net) => formatter.write_str(&eam::short6(*net)),
        }
    }
}

impl Prefix {
    /// The entry with exactly this prefix.
    pub(super) fn entry(self, table: &eam::Table) -> Option<&Entry> {
        match self {
            Self::Ipv4(net) => table.get_ipv4(net),
            Self::Ipv6(net) => table.get_ipv6(net),
        }
    }

    /// Where the store keeps it, and how.
    pub(super) fn column(self) -> (&'static str, String) {
        match self {
            Self::Ipv4(net) => ("ipv4", net.to_string()),
            Self::Ipv6(net) => ("ipv6", net.to_string()),
        }
    }
}

/// The way to the owner.
#[derive(Clone)]
pub(super) struct Owner {
    requests: mpsc::Sender<Request>,
    started: Instant,
    /// The history, which is read without the owner. `None` in tests.
    history: Option<Reader>,
}

impl Owner {
    /// Loads the program, fills its table, attaches it where the configuration says, and then serves requests.
    ///
    /// The second value resolves when the owner's thread has ended, for whatever reason.
    pub(super) async fn start(
        config: Config,
        config_path: PathBuf,
        machine: watch::Receiver<Arc<Machine>>,
        kernel: Kernel,
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
            match Relay::load(config, config_path, machine, kernel, started) {
                Ok(relay) => {
                    // The other side waits until this arrives.
                    let _ = ready.send(Ok(relay.history()));
                    relay.serve(queue);
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                }
            }
        })?;
        let loaded = loaded.await.map_err(|_| anyhow::anyhow!("the data plane's thread ended while loading"))?;
        Ok((Self { requests, started, history: Some(loaded?) }, ended))
    }

    /// An owner that answers nothing, for tests of what does not get as far.
    #[cfg(test)]
    pub(super) fn without_data_plane() -> Self {
        Self { requests: mpsc::channel(1).0, started: Instant::now(), history: None }
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, Refusal> {
        let stopping = || refusal(Code::Failed, "the daemon is stopping");
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())
    }

    pub(super) fn uptime(&self) -> Duration {
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

    /// Whether the relay is ready for traffic; if not, why.
    pub(super) async fn ready(&self) -> Result<(), Refusal> {
        self.ask(Request::Ready).await?.map_err(|reason| refusal(Code::Failed, reason))
    }

    /// What becomes of a packet, from its IP header on, that arrives by an interface.
    pub(super) async fn explain(
        &self,
        packet: Vec<u8>,
        interface: Option<String>,
    ) -> Result<Box<api::Explained>, Refusal> {
        self.ask(|reply| Request::Explain(packet, interface, reply)).await?
    }

    /// The revision and the entries, in the order of their IPv4 prefixes.
    pub(super) async fn revision(&self) -> Result<u64, Refusal> {
        self.ask(Request::Revision).await
    }

    pub(super) async fn list(&self) -> Result<(u64, Vec<Entry>), Refusal> {
        self.ask(Request::List).await
    }

    pub(super) async fn find(&self, address: IpAddr) -> Result<api::EamList, Refusal> {
        self.ask(|reply| Request::Find(address, reply)).await
    }

    pub(super) async fn add(&self, entry: Entry, ask: Ask) -> Result<api::EamAdded, Refusal> {
        self.ask(|reply| Request::Add { entry, ask, reply }).await?
    }

    pub(super) async fn remove(&self, prefix: Prefix, ask: Ask) -> Result<api::EamDeleted, Refusal> {
        self.ask(|reply| Request::Remove { prefix, ask, reply }).await?
    }

    pub(super) async fn apply(&self, lines: Vec<Line>, manner: Manner, ask: Ask) -> Result<api::Applied, Refusal> {
        self.ask(|reply| Request::Apply { lines, manner, ask, reply }).await?
    }

    pub(super) async fn roll_back(&self, revision: u64, manner: Manner, ask: Ask) -> Result<api::Applied, Refusal> {
        self.ask(|reply| Request::RollBack { revision, manner, ask, reply }).await?
    }

    /// The history, to be read on a thread that may wait.
    pub(super) fn history(&self) -> Result<Reader, Refusal> {
        self.history.clone().ok_or_else(|| refusal(Code::Failed, "the daemon has no store"))
    }

    pub(super) async fn capture(&self, ask: CaptureAsk) -> Result<Capturing, Refusal> {
        self.ask(|reply| Request::Capture(ask, reply)).await?
    }

    /// Ends a capture; gives what it has counted. `None`: it has ended before.
    pub(super) async fn end_capture(&self, id: u64) -> Option<Tally> {
        self.ask(|reply| Request::EndCapture(id, reply)).await.ok().flatten()
    }

    /// The busiest entries over some time, which is waited for.
    pub(super) async fn rates(&self, time: Duration, limit: usize) -> Result<api::EamRates, Refusal> {
        let measurement = self.ask(Request::BeginRates).await??;
        tokio::time::sleep(time).await;
        self.ask(|reply| Request::EndRates(measurement, limit, reply)).await?
    }

    /// Entries that have not been used for so many seconds.
    pub(super) async fn idle(&self, seconds: u64, limit: usize) -> Result<api::EamIdle, Refusal> {
        self.ask(|reply| Request::Idle(seconds, limit, reply)).await?
    }

    /// What the metrics page shows of single entries.
    pub(super) async fn usage_for_metrics(&self) -> Result<UsageForMetrics, Refusal> {
        self.ask(Request::UsageForMetrics).await
    }

    /// What has been counted today, translated and native: see [`Shared`].
    pub(super) async fn share(&self, service: Option<Prefix>, by_service: bool) -> Result<Shared, Refusal> {
        self.ask(|reply| Request::Share(service, by_service, reply)).await?
    }

    /// Has the owner read what has been counted for single entries.
    pub(super) async fn collect_usage(&self) {
        let _ = self.requests.send(Request::Usage).await;
    }

    /// Tells the owner that there is a new snapshot of the machine.
    pub(super) async fn machine_changed(&self) {
        let _ = self.requests.send(Request::Machine).await;
    }

    /// Has the owner try again what could not be attached.
    pub(super) async fn retry(&self) {
        let _ = self.requests.send(Request::Retry).await;
    }

    /// Has the owner take the configuration file as it is at this moment. Gives what is doubtful in it.
    pub(super) async fn reload(&self, author: Author) -> Result<Vec<String>, Refusal> {
        let owner = self.clone();
        // Whoever has asked may go away meanwhile; the service manager is told of the end all the same.
        let reload = tokio::spawn(async move {
            notify::reloading();
            let outcome = owner.ask(|reply| Request::Reload(author, reply)).await;
            notify::ready();
            outcome?
        });
        reload.await.unwrap_or_else(|_| Err(refusal(Code::Failed, "the daemon's task for this ended")))
    }

    /// Ends the owner's thread. Gives what became of the data plane.
    pub(super) async fn stop(&self, ending: Ending) -> OnEnd {
        // A thread that has ended already has kept it.
        self.ask(|reply| Request::Stop(ending, reply)).await.unwrap_or(OnEnd::Keep)
    }
}
