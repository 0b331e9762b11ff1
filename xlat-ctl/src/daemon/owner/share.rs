//! How far is IPv6: what the services' traffic is translated from and to, beside what is IPv6 from end to end, day by day.

use std::{
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
pub(in crate::daemon) fn day_of(seconds: i64) -> i64 {
    seconds.div_euclid(DAY)
}

/// What has been counted on the day that it is.
#[derive(Clone, Debug, Default)]
pub(in crate::daemon) struct Today {
    /// Which, in days since 1970.
    pub(in crate::daemon) day: i64,
    /// Of all services.
    pub(in crate::daemon) whole: Counted,
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
        self.whole.add(counted);
        if let Some(sum) = self.services.get_mut(pair) {
            sum.add(counted);
        } else if self.services.len() < MOST {
            self.services.insert(*pair, *counted);
        }
    }

    /// Of one service.
    pub(in crate::daemon) fn of(&self, pair: &Pair) -> Counted {
        self.services.get(pair).copied().unwrap_or_default()
    }

    /// The services with the most bytes.
    pub(in crate::daemon) fn busiest(&self, most: usize) -> Vec<(Pair, Counted)> {
        let mut all: Vec<_> = self.services.iter().map(|(pair, counted)| (*pair, *counted)).collect();
        all.sort_unstable_by_key(|(pair, counted)| (std::cmp::Reverse(counted.bytes()), pair.ipv4()));
        all.truncate(most);
        all
    }

    /// As the store keeps it.
    pub(super) fn rows(&self) -> Vec<Row> {
        let services = self.busiest(STORED).into_iter().map(|(pair, counted)| (Some(pair), counted));
        [(None, self.whole)].into_iter().chain(services).collect()
    }
}

/// What the owner knows of the share; the days before are in the store.
#[derive(Debug)]
pub(in crate::daemon) struct Shared {
    /// The day that it is.
    pub(in crate::daemon) today: Today,
    /// The service that is asked for.
    pub(in crate::daemon) service: Option<Pair>,
    /// Where the store is.
    pub(in crate::daemon) directory: PathBuf,
}

impl Relay {
    /// What has been counted today, and the entry that a prefix names.
    pub(super) fn share(&mut self, service: Option<Prefix>) -> Result<Shared, Refusal> {
        self.collect_usage();
        let service = service.map(|prefix| self.entry_named(prefix).map(|entry| entry.pair)).transpose()?;
        let off = "native IPv6 is not counted: set accounting.native = true and reload";
        let today = self.usage.as_ref().and_then(|usage| usage.today.clone());
        let today = today.ok_or_else(|| refusal(Code::Conflict, format!("share: {off}")))?;
        Ok(Shared { today, service, directory: self.config.state.directory.clone() })
    }

    fn entry_named(&self, prefix: Prefix) -> Result<&crate::eam::Entry, Refusal> {
        let (text, entry) = match prefix {
            Prefix::Ipv4(net) => (crate::eam::short4(net), self.table.get_ipv4(net)),
            Prefix::Ipv6(net) => (crate::eam::short6(net), self.table.get_ipv6(net)),
        };
        entry.ok_or_else(|| refusal(Code::NotFound, format!("share: no entry has the prefix {text}")))
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
