//! What the service manager is told (sd_notify(3)): ready, reloading, stopping, alive. Without one, nothing is told to nobody.

use nix::time::{ClockId, clock_gettime};
use sd_notify::NotifyState;
use tokio::time::interval;
use tracing::warn;

use super::owner::Owner;

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!("the service manager cannot be told: {}", crate::plain(&error));
    }
}

/// The daemon translates and answers.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// A new configuration is being taken; [`ready`] ends it.
pub(super) fn reloading() {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |now| i128::from(now.tv_sec()) * 1_000_000 + i128::from(now.tv_nsec()) / 1000);
    tell(&[NotifyState::Reloading, NotifyState::MonotonicUsec(now)]);
}

/// The daemon ends.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Tells that the daemon is alive as often as the service manager wants to hear it: after the data plane's owner has answered.
pub(super) async fn keep_alive(owner: Owner) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    let mut due = interval(limit / 3);
    loop {
        due.tick().await;
        if owner.status().await.is_ok() {
            tell(&[NotifyState::Watchdog]);
        }
    }
}
