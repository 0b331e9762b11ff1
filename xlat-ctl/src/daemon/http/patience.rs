//! How long a connection may last.

use std::{future::Future, sync::Arc};

use tokio::{
    sync::watch,
    time::{Duration, Instant, sleep_until},
};

/// When a connection is closed, whatever it does. Calls whose answer takes longer put it off.
#[derive(Clone, Debug)]
pub(super) struct Patience(Arc<watch::Sender<Instant>>);

impl Patience {
    /// So long from this moment on.
    pub(super) fn new(time: Duration) -> Self {
        Self(Arc::new(watch::Sender::new(Instant::now() + time)))
    }

    /// Puts it off to `moment`, if that is later.
    pub(super) fn until(&self, moment: Instant) {
        self.0.send_if_modified(|end| {
            let later = moment > *end;
            *end = moment.max(*end);
            later
        });
    }

    /// Waits for `work` as long as that. `None`: it took longer.
    pub(super) async fn wait<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut end = self.0.subscribe();
        tokio::pin!(work);
        loop {
            let moment = *end.borrow_and_update();
            tokio::select! {
                done = &mut work => return Some(done),
                () = sleep_until(moment) => return None,
                // The sender is `self`, so there is no other news.
                _ = end.changed() => {}
            }
        }
    }
}
