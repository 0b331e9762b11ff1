//! The daemon: loads the data plane, attaches it where the configuration says, and serves the control socket and the
//! metrics page until it is told to stop.

mod author;
mod http;
mod log;
mod lookup;
mod metrics;
mod owner;
mod socket;
pub(crate) mod store;
mod time;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::{oneshot, watch},
    time::{MissedTickBehavior, interval},
};
use tracing::{error, info, warn};

use self::{owner::Owner, socket::Claim};
use crate::{
    config::{self, Checked, Config},
    netlink,
};

/// How often an interface that could not be attached to is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// Threads for clients and events; the data plane's owner has its own.
const THREADS: usize = 2;

/// Runs the daemon until it is told to stop.
#[must_use]
pub fn run(config_path: &Path, socket: Option<PathBuf>) -> ExitCode {
    log::set_up();
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
    }
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
    let metrics = TcpListener::bind(listen)
        .await
        .map_err(|error| anyhow!("cannot listen on metrics.listen = \"{listen}\": {}", crate::plain(&error)))?;
    let mut machine = netlink::watch().await.context("cannot read the machine's interfaces")?;
    let control = config.control.clone();
    let (owner, ended) = Owner::start(config, config_path.to_owned(), machine.clone()).await?;
    let outcome = match claim.bind(&control.group) {
        Ok(listener) => {
            let tasks = [
                tokio::spawn(http::serve_control(listener, owner.clone())),
                tokio::spawn(http::serve_metrics(metrics, owner.clone())),
            ];
            info!("ready: control socket {}, metrics http://{listen}/metrics", control.socket.display());
            let outcome = until_stopped(&mut signals, &owner, &mut machine, ended).await;
            for task in tasks {
                task.abort();
            }
            outcome
        }
        Err(error) => Err(error.into()),
    };
    owner.stop().await;
    drop(claim);
    if outcome.is_ok() {
        info!("stopped: nothing is attached, nothing is left behind");
    }
    outcome
}

/// Follows the machine until a signal, or until the daemon cannot go on.
async fn until_stopped<T>(
    signals: &mut Signals,
    owner: &Owner,
    machine: &mut watch::Receiver<T>,
    mut ended: oneshot::Receiver<()>,
) -> anyhow::Result<()> {
    let mut retry = interval(RETRY);
    retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            name = signals.next() => {
                info!("{name}: stopping");
                return Ok(());
            }
            changed = machine.changed() => match changed {
                Ok(()) => owner.machine_changed().await,
                Err(_) => bail!("the kernel's news of interfaces and addresses have ended: the daemon cannot go on"),
            },
            _ = retry.tick() => owner.retry().await,
            _ = &mut ended => bail!("the data plane's thread has ended: the daemon cannot go on"),
        }
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen to signals");
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
