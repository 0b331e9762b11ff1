//! Following the machine: any news from the kernel is answered by a new snapshot.

use std::{sync::Arc, time::Duration};

use rtnetlink::sys::protocols::{NETLINK_GENERIC, NETLINK_ROUTE};
use tokio::{io::unix::AsyncFd, sync::watch, time::sleep};
use tracing::warn;

use super::{
    machine::{Machine, Observer},
    socket::{NetlinkError, Socket},
};

/// News that come together are answered together.
const SETTLE: Duration = Duration::from_millis(5);
/// After a snapshot that failed, the next is tried this much later.
const RETRY: Duration = Duration::from_secs(1);
/// So often a snapshot is taken without news: of some settings, `disable_ipv6` for one, the kernel does not always tell.
const UNTOLD: Duration = Duration::from_secs(5);

/// The machine as it is.
///
/// # Errors
/// The kernel cannot be asked.
pub fn snapshot() -> Result<Machine, NetlinkError> {
    Observer::open()?.snapshot()
}

/// The machine as it is, and from then on every change of it. The watching ends when the last receiver is dropped.
///
/// # Errors
/// The kernel cannot be asked.
pub async fn watch() -> Result<watch::Receiver<Arc<Machine>>, NetlinkError> {
    let mut observer = Observer::open()?;
    // The subscriptions stand before the first snapshot: what changes after it is news.
    let links = async_socket(news_of_links()?)?;
    let features = observer.features_group().map(|group| async_socket(news_of_features(group)?)).transpose()?;
    let (sender, receiver) = watch::channel(Arc::new(observer.snapshot()?));
    tokio::spawn(follow(observer, links, features, sender));
    Ok(receiver)
}

fn news_of_links() -> Result<Socket, NetlinkError> {
    let mut socket = Socket::open(NETLINK_ROUTE)?;
    for group in [
        libc::RTNLGRP_LINK,
        libc::RTNLGRP_IPV4_IFADDR,
        libc::RTNLGRP_IPV6_IFADDR,
        libc::RTNLGRP_IPV6_IFINFO,
        libc::RTNLGRP_IPV6_NETCONF,
    ] {
        socket.subscribe(group)?;
    }
    Ok(socket)
}

fn news_of_features(group: u32) -> Result<Socket, NetlinkError> {
    let mut socket = Socket::open(NETLINK_GENERIC)?;
    socket.subscribe(group)?;
    Ok(socket)
}

fn async_socket(socket: Socket) -> Result<AsyncFd<Socket>, NetlinkError> {
    socket.set_non_blocking()?;
    // SAFETY: the socket is owned by what is registered, open and the same all its life.
    unsafe { AsyncFd::register(socket) }.map_err(|error| NetlinkError::Open(error.into()))
}

async fn follow(
    mut observer: Observer,
    links: AsyncFd<Socket>,
    features: Option<AsyncFd<Socket>>,
    sender: watch::Sender<Arc<Machine>>,
) {
    let mut again = false;
    loop {
        tokio::select! {
            () = sender.closed() => return,
            () = sleep(if again { RETRY } else { UNTOLD }) => {}
            () = news(&links) => {}
            () = async { news(features.as_ref().expect("checked by the condition")).await }, if features.is_some() => {}
        }
        sleep(SETTLE).await;
        again = match observer.snapshot() {
            Ok(machine) => {
                sender.send_if_modified(|known| {
                    let changed = **known != machine;
                    if changed {
                        *known = Arc::new(machine);
                    }
                    changed
                });
                false
            }
            Err(error) => {
                warn!("the machine's interfaces and addresses may be out of date: {error}");
                true
            }
        };
    }
}

/// Returns when something has arrived. Lost news need no care of their own: the snapshot that follows has everything.
async fn news(socket: &AsyncFd<Socket>) {
    let Ok(mut ready) = socket.readable().await else { return std::future::pending().await };
    match socket.get_ref().drain() {
        Ok(lost) => {
            if lost {
                warn!("the kernel had more news of interfaces than were read in time: looking at all of them again");
            }
            ready.clear_ready();
        }
        Err(error) => {
            warn!("cannot read the kernel's news of interfaces: {error}");
            sleep(RETRY).await;
        }
    }
}
