//! The program's rare events, into the daemon's log.

use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{Level, Log, Metadata, Record};
use tokio::{io::unix::AsyncFd, runtime::Handle, task::JoinHandle};
use tracing::{debug, error, info, trace, warn};

use crate::reason;

/// Writes records of the program as events of the daemon, target `xlat::dataplane`.
struct Events;

impl Log for Events {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let text = record.args().to_string();
        let text = format!("{text}{}", reason::of_event(&text));
        match record.level() {
            Level::Error => error!(target: "xlat::dataplane", "{text}"),
            Level::Warn => warn!(target: "xlat::dataplane", "{text}"),
            Level::Info => info!(target: "xlat::dataplane", "{text}"),
            Level::Debug => debug!(target: "xlat::dataplane", "{text}"),
            Level::Trace => trace!(target: "xlat::dataplane", "{text}"),
        }
    }

    fn flush(&self) {}
}

/// The reading of the program's events. It ends when this is dropped.
pub(super) struct Reader(JoinHandle<()>);

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts reading. `None`: there is no runtime to do it in, or the program says nothing.
pub(super) fn read(ebpf: &mut Ebpf) -> Option<Reader> {
    let runtime = Handle::try_current().ok()?;
    let logger = EbpfLogger::init_with_logger(ebpf, Events)
        .inspect_err(|error| warn!("the data plane's events are not logged: {error}"))
        .ok()?;
    // SAFETY: the logger owns its map and gives out the same descriptor all its life.
    let mut logger = unsafe { AsyncFd::register(logger) }
        .inspect_err(|error| warn!("the data plane's events are not logged: {error}"))
        .ok()?;
    Some(Reader(runtime.spawn(async move {
        while let Ok(mut ready) = logger.readable_mut().await {
            ready.get_inner_mut().flush();
            ready.clear_ready();
        }
    })))
}
