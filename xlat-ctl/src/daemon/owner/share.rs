//! How far is IPv6: what the services' traffic is translated from and to, beside what is IPv6 from end to end, day by day.

use std::{
    cmp::Reverse,
    collections::HashMap,
    path::{Path, PathBuf},
};

use tracing::error;

use super::{Prefix, Refusal, refusal, relay::Relay};
use crate::{
    api::Code,
    daemon::store::share::{self, DAY, Row},
    dataplane::Counted,
    eam::Pair,
};

/// Services that are told apart on a day: the first that are used. All others are in the whole only.
const MOST: usize = 100_000;
/// Services of a day that the store keeps: the busiest.
const STORED: usize = 1000;

/// The day of a time in seconds since 1970, UTC, as days since then.
pub(super) fn day_of(seconds: i64) -> i64 {
    seconds.div_euclid(DAY)
}

/// What has been counted on the day that it is.
#[derive(Debug, Default)]
pub(super) struct Today {
    /// Which, in days since 1970.
    pub(super) day: i64,
    /// Of all services.
    whole: Counted,
    services: HashMap<Pair, Counted>,
}

impl Today {
    /// With what the store has of it.
    pub(super) fn new(day: i64, rows: Vec<Row>) -> Self {
        let mut today = Self { day, ..Self::default() };
        for (pair, counted) in rows {
            match pair {
                None => today.whole = counted,
                Some(pair) => drop(today.services.insert(pair, counted)),
            }
        }
        today
    }

    /// As [`Self::new`], with what the store has of it by now.
    pub(super) fn stored(directory: &Path, day: i64) -> Self {
        match share::read(directory, day, day + 1, None, true) {
            Ok((days, services)) => {
                Self::new(day, days.into_values().map(|whole| (None, whole)).chain(services).collect())
            }
            Err(reason) => {
                error!("the share of IPv6 is counted from zero today: {reason}");
                Self::new(day, Vec::new())
            }
        }
    }

    /// Counts for a service.
    pub(super) fn add(&mut self, pair: &Pair, counted: &Counted) {
        self.whole += *counted;
        if let Some(sum) = self.services.get_mut(pair) {
            *sum += *counted;
        } else if self.services.len() < MOST {
            self.services.insert(*pair, *counted);
        }
    }

    /// Of one service.
    fn of(&self, pair: &Pair) -> Counted {
        self.services.get(pair).copied().unwrap_or_default()
    }

    /// As the store keeps it.
    pub(super) fn rows(&self) -> Vec<Row> {
        let services = busiest_first(self.services.iter().map(|(pair, counted)| (*pair, *counted)));
        let services = services.into_iter().take(STORED).map(|(pair, counted)| (Some(pair), counted));
        [(None, self.whole)].into_iter().chain(services).collect()
    }
}

/// Services in order, the one with the most bytes first.
pub(in crate::daemon) fn busiest_first(services: impl IntoIterator<Item = (Pair, Counted)>) -> Vec<(Pair, Counted)> {
    let mut all: Vec<_> = services.into_iter().collect();
    all.sort_unstable_by_key(|(pair, counted)| (Reverse(counted.bytes()), pair.ipv4()));
    all
}

/// What the owner knows of the share; the days before are in the store.
#[derive(Debug)]
pub(in crate::daemon) struct Shared {
    /// The day that it is, in days since 1970.
    pub(in crate::daemon) day: i64,
    /// What has been counted on it, of all or of the service that is asked for.
    pub(in crate::daemon) whole: Counted,
    /// The same by service, where that is asked for.
    pub(in crate::daemon) services: HashMap<Pair, Counted>,
    /// The service that is asked for.
    pub(in crate::daemon) service: Option<Pair>,
    /// Where the store is.
    pub(in crate::daemon) directory: PathBuf,
}

impl Relay {
    /// What has been counted today: of the entry that a prefix names, or of all, and then of each service, if that is asked for.
    pub(super) fn share(&mut self, service: Option<Prefix>, by_service: bool) -> Result<Shared, Refusal> {
        self.collect_usage();
        let pair_of = |prefix: Prefix| {
            let none = || refusal(Code::NotFound, format!("share: no entry has the prefix {prefix}"));
            prefix.entry(&self.table).map(|entry| entry.pair).ok_or_else(none)
        };
        let service = service.map(pair_of).transpose()?;
        let off =
            || refusal(Code::Conflict, "share: native IPv6 is not counted: set accounting.native = true and reload");
        let today = self.usage.as_ref().and_then(|usage| usage.today.as_ref()).ok_or_else(off)?;
        Ok(Shared {
            day: today.day,
            whole: service.map_or(today.whole, |pair| today.of(&pair)),
            services: if by_service && service.is_none() { today.services.clone() } else { HashMap::new() },
            service,
            directory: self.config.state.directory.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use xlat_common::{account::Record, counters::Traffic};

    use super::*;

    fn counted(bytes: u64) -> Counted {
        let record = Record { traffic: [Traffic { packets: 1, bytes }, Traffic::default()] };
        Counted { translated: record, native: Record::default() }
    }

    #[test]
    fn the_store_gets_the_whole_and_the_busiest() {
        let mut today = Today::new(3, Vec::new());
        let pair = |at: u32| {
            let ipv4 = ipnet::Ipv4Net::from(std::net::Ipv4Addr::from(0x0a00_0000 | at));
            Pair::new(ipv4, format!("2001:db8::{at:x}/128").parse().unwrap()).unwrap()
        };
        for at in 1..=1500 {
            today.add(&pair(at), &counted(u64::from(at)));
        }
        let rows = today.rows();
        assert_eq!(rows.len(), 1 + STORED);
        assert_eq!(rows[0].1.translated.traffic[0], Traffic { packets: 1500, bytes: 1500 * 1501 / 2 });
        assert_eq!(rows[1], (Some(pair(1500)), counted(1500)));
        assert_eq!(Today::new(3, rows).of(&pair(501)), counted(501));
    }
}
