//! What there is only so much of: connections, files in memory, tables that are being read. A client that stalls keeps its share
//! for some seconds while there is enough for all, and next to no time while others wait.

use std::{
    future::Future,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use tokio::{
    sync::{AcquireError, Semaphore, SemaphorePermit},
    time::{Duration, Instant, sleep},
};

/// How long a client may stall while others wait.
pub(super) const HURRY: Duration = Duration::from_millis(250);

/// So many shares.
pub(super) struct Scarce {
    shares: Semaphore,
    waiting: AtomicUsize,
}

impl Scarce {
    pub(super) const fn new(shares: usize) -> Self {
        Self { shares: Semaphore::const_new(shares), waiting: AtomicUsize::new(0) }
    }

    /// Waits for so many shares, and has those who stall hurry meanwhile.
    ///
    /// # Errors
    /// There are none any more: the daemon is stopping.
    pub(super) async fn acquire(&self, shares: u32) -> Result<SemaphorePermit<'_>, AcquireError> {
        if let Ok(permit) = self.shares.try_acquire_many(shares) {
            return Ok(permit);
        }
        let _waiting = self.waiting();
        self.shares.acquire_many(shares).await
    }

    /// Somebody waits, as long as this lives, for a share or for what those who have one are to give up.
    pub(super) fn waiting(&self) -> Counted<'_> {
        Counted::new(&self.waiting)
    }

    /// Whether anybody waits for a share.
    pub(super) fn is_wanted(&self) -> bool {
        self.waiting.load(Relaxed) > 0
    }

    /// Waits for what a client that has a share is to do: `most` at the longest, [`HURRY`] while others wait. `None`: it stalls.
    pub(super) async fn bear<T>(&self, most: Duration, step: impl Future<Output = T>) -> Option<T> {
        let end = Instant::now() + most;
        tokio::pin!(step);
        loop {
            tokio::select! {
                done = &mut step => return Some(done),
                () = sleep(HURRY) => if self.is_wanted() || Instant::now() >= end { return None },
            }
        }
    }
}

/// One of those who are counted, as long as it lives.
pub(super) struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    pub(super) fn new(all: &'a AtomicUsize) -> Self {
        all.fetch_add(1, Relaxed);
        Self(all)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
