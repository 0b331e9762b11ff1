//! The busiest services: measured by the daemon, each time over an interval, which its answer takes.

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use super::super::{Common, client};
use crate::api::{EamRate, EamRates};

/// Services that are shown at most.
const SHOWN: usize = 10;
/// Seconds that the daemon measures at most.
const LONGEST: u64 = 20;
/// Seconds that are measured at least where it goes on and on: reading the accounts of a million entries holds up the daemon.
const LEAST: u64 = 5;
/// How long it takes to ask again where there was no answer.
const PAUSE: Duration = Duration::from_secs(5);

/// Measures once. Empty: services are not counted, or the daemon does not answer, which other calls tell.
pub(super) fn measure(common: &Common, interval: Duration) -> Vec<EamRate> {
    ask(common, interval).unwrap_or_default()
}

fn ask(common: &Common, interval: Duration) -> Option<Vec<EamRate>> {
    let seconds = interval.as_secs().clamp(1, LONGEST);
    let answer = client::get::<EamRates>(common, &format!("/v1/eam/rates?seconds={seconds}&limit={SHOWN}"));
    answer.ok().map(|answer| answer.value.entries)
}

/// The latest measurement, which a thread renews as long as the process runs.
#[derive(Debug)]
pub(super) struct Busiest(Arc<Mutex<Vec<EamRate>>>);

impl Busiest {
    /// Begins to measure.
    pub(super) fn follow(common: &Common, interval: Duration) -> Self {
        let found = Arc::new(Mutex::new(Vec::new()));
        let (common, latest) = (common.clone(), Arc::clone(&found));
        thread::spawn(move || {
            loop {
                let measured = ask(&common, interval.max(Duration::from_secs(LEAST)));
                let pause = measured.is_none();
                *latest.lock().unwrap_or_else(PoisonError::into_inner) = measured.unwrap_or_default();
                if pause {
                    thread::sleep(PAUSE);
                }
            }
        });
        Self(found)
    }

    /// What was measured last.
    pub(super) fn latest(&self) -> Vec<EamRate> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
