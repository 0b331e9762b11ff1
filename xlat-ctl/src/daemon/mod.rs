//! The daemon: loads the data plane, attaches it where the configuration says, and serves the control socket and the
//! metrics page until it is told to stop.

mod author;
mod explain;
#[expect(unused_qualifications, reason = "utoipa's macros write whole paths")]
mod http;
pub(crate) mod log;
pub(crate) mod lookup;
mod memory;
mod metrics;
mod notify;
mod owner;
mod privileges;
mod socket;
pub(crate) mod store;
mod time;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use nix::sys::socket::{setsockopt, sockopt};
use tokio::{
    net::{TcpListener, TcpSocket},
    signal::unix::{Signal, SignalKind, signal},
    sync::{oneshot, watch},
    time::{MissedTickBehavior, interval, sleep},
};
use tracing::{error, info, warn};

use self::{
    author::Author,
    owner::{Ending, Kernel, Owner},
    socket::Claim,
};
use crate::{
    config::{self, Checked, Config, OnEnd},
    dataplane::{Pins, Ways},
    netlink::{self, Machine},
};

/// How often it is looked whether the program is still attached, and tried again where it could not be.
const RETRY: Duration = Duration::from_secs(1);
/// How often it is read what has been counted for single EAMs.
const USAGE: Duration = Duration::from_secs(10);
/// Threads for clients and events; the data plane's owner has its own.
const THREADS: usize = 2;

/// Runs the daemon until it is told to stop.
#[must_use]
pub fn run(config_path: &Path, socket: Option<PathBuf>) -> ExitCode {
    log::set_up();
    memory::keep_large_lists_apart();
    match try_run(config_path, socket) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            for line in format!("{error:#}").lines() {
                error!("{line}");
            }
            ExitCode::FAILURE
        }
    }
}

fn try_run(config_path: &Path, socket: Option<PathBuf>) -> anyhow::Result<()> {
    // Whoever reads it in `status` or in the log is in another directory.
    let config_path = &std::path::absolute(config_path).context("cannot find the working directory")?;
    let Checked { mut config, warnings, .. } = config::load(config_path)?;
    for warning in &warnings {
        warn!("{}", config::place(config_path, warning));
    }
    if let Some(socket) = socket {
        config.control.socket = config::socket(&socket).map_err(|text| anyhow!("--socket {text}"))?;
        config.control.is_named = true;
    }
    privileges::shed();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .context("cannot start the daemon's threads")?;
    runtime.block_on(relay(config, config_path))
}

async fn relay(config: Config, config_path: &Path) -> anyhow::Result<()> {
    // From here on a signal does not end the process at once: what is attached is detached first.
    let mut signals = Signals::new()?;
    info!("xlat {} starts with {}", env!("CARGO_PKG_VERSION"), config_path.display());
    let mut claim = Claim::new(&config.control.socket)?;
    let listen = config.metrics.listen;
    let metrics = listen_on(listen)
        .map_err(|error| anyhow!("cannot listen on metrics.listen = \"{listen}\": {}", crate::plain(&error)))?;
    let pins = Arc::new(Pins::open(&config.dataplane.pin_directory)?);
    say_what_is_there(&pins);
    let ways = Ways::default();
    tokio::spawn(follow_ways(ways.clone()));
    let kernel = Kernel { pins, ways };
    let mut machine = netlink::watch().await.context("cannot read the machine's interfaces")?;
    if !is_of(listen.ip(), &machine.borrow()) {
        warn!("metrics.listen = \"{listen}\": the machine has no such address; it is answered on as soon as it has");
    }
    let control = config.control.clone();
    let (owner, ended) = Owner::start(config, config_path.to_owned(), machine.clone(), kernel).await?;
    let outcome = match claim.bind(&control.group) {
        Ok(listener) => {
            let tasks = [
                tokio::spawn(http::serve_control(listener, owner.clone())),
                tokio::spawn(http::serve_metrics(metrics, owner.clone())),
                tokio::spawn(notify::keep_alive(owner.clone())),
            ];
            info!("ready: control socket {}, metrics http://{listen}/metrics", control.socket.display());
            notify::ready();
            let outcome = until_stopped(&mut signals, &owner, &mut machine, ended).await;
            for task in tasks {
                task.abort();
            }
            outcome
        }
        Err(error) => Err(error.into()),
    };
    notify::stopping();
    let end = owner.stop(*outcome.as_ref().unwrap_or(&Ending::Failure)).await;
    http::captures_told().await;
    drop(claim);
    match (&outcome, end) {
        (Ok(_), OnEnd::Detach) => info!("stopped: nothing is attached, nothing is left behind"),
        (Ok(_), OnEnd::Keep) => info!("stopped: packets go on being translated; `xlat-ctl detach` ends that"),
        (Err(_), _) => error!("packets go on being translated without a daemon; `xlat-ctl detach` ends that"),
    }
    outcome.map(|_| ())
}

/// Listens, also on an address that the machine has not got yet: at a boot, addresses come when they come.
fn listen_on(listen: SocketAddr) -> io::Result<TcpListener> {
    /// Connections that may wait to be accepted.
    const BACKLOG: u32 = 1024;
    let socket = if listen.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    setsockopt(&socket, sockopt::IpFreebind, &true)?;
    socket.set_reuseaddr(true)?;
    socket.bind(listen)?;
    socket.listen(BACKLOG)
}

/// Whether packets to an address reach the machine.
fn is_of(address: IpAddr, machine: &Machine) -> bool {
    address.is_unspecified() || address.is_loopback() || machine.addresses().any(|(own, _)| own == address)
}

/// Has program instances forget the next hops that they have cached whenever a way may have changed, and only then.
async fn follow_ways(ways: Ways) {
    let tell = |told: netlink::Ways| match told {
        netlink::Ways::Unchanged => ways.unchanged(),
        told => ways.changed(told == netlink::Ways::ByDestination),
    };
    let mut said = false;
    while let Err(error) = netlink::follow_ways(&tell, |ifindex| ways.redirects_to(ifindex)).await {
        ways.changed(false);
        if !std::mem::replace(&mut said, true) {
            warn!(
                "routes and neighbours are not followed, the way of each packet is asked for: {error}; trying again every second"
            );
        }
        sleep(RETRY).await;
    }
}

/// Tells of a data plane that works without a daemon.
fn say_what_is_there(pins: &Pins) {
    let links = pins.links().len();
    if links > 0 {
        let place = pins.directory().display();
        info!(
            "{place}: a program instance of before is attached ({links} links): it translates until this one takes over"
        );
    }
}

/// Follows the machine until a signal, or until the daemon cannot go on.
async fn until_stopped<T>(
    signals: &mut Signals,
    owner: &Owner,
    machine: &mut watch::Receiver<T>,
    mut ended: oneshot::Receiver<()>,
) -> anyhow::Result<Ending> {
    let mut retry = interval(RETRY);
    retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut usage = interval(USAGE);
    usage.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            (name, ending) = signals.next() => match ending {
                Some(ending) => {
                    info!("{name}: stopping");
                    return Ok(ending);
                }
                None => reload(owner, name).await,
            },
            changed = machine.changed() => match changed {
                Ok(()) => owner.machine_changed().await,
                Err(_) => bail!("the kernel's news of interfaces and addresses have ended: the daemon cannot go on"),
            },
            _ = usage.tick() => owner.collect_usage().await,
            _ = retry.tick() => owner.retry().await,
            _ = &mut ended => bail!("the data plane's thread has ended: the daemon cannot go on"),
        }
    }
}

/// Has the configuration file read again; what comes of it is for the log.
async fn reload(owner: &Owner, name: &str) {
    info!("{name}: reloading the configuration");
    match owner.reload(Author::own()).await {
        Ok(warnings) => warnings.iter().for_each(|warning| warn!("{warning}")),
        Err(refusal) => refusal.message.lines().for_each(|line| error!("{line}")),
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    restart: Signal,
    reload: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen to signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            restart: listen(SignalKind::user_defined1())?,
            reload: listen(SignalKind::hangup())?,
        })
    }

    /// The next signal's name, and how it asks the daemon to end; `None`: to reload.
    async fn next(&mut self) -> (&'static str, Option<Ending>) {
        tokio::select! {
            _ = self.terminate.recv() => ("SIGTERM", Some(Ending::Stop)),
            _ = self.interrupt.recv() => ("SIGINT", Some(Ending::Stop)),
            _ = self.restart.recv() => ("SIGUSR1", Some(Ending::Restart)),
            _ = self.reload.recv() => ("SIGHUP", None),
        }
    }
}
