//! What people and the metrics page are told of the use of EAMs.

use ipnet::Ipv4Net;
use xlat_common::{account::Record, counters::Traffic};

use super::{Interval, Usage};
use crate::{
    api::{self, Code},
    daemon::{
        owner::{Refusal, eams::dataplane_eam, refusal, relay::Relay},
        store::{Use, now},
        time::utc,
    },
    dataplane::Counted,
    eam::Pair,
};

impl Relay {
    fn followed(&mut self, verb: &str) -> Result<&mut Usage, Refusal> {
        let off = if self.config.accounting.services {
            "nothing is counted for single entries as yet: usage.db could not be opened (see the log), which is tried again each minute"
        } else {
            "nothing is counted for single entries: set accounting.services = true and reload"
        };
        self.usage.as_mut().ok_or_else(|| refusal(Code::Conflict, format!("{verb}: {off}")))
    }

    /// Begins to measure rates. Gives the measurement's number.
    pub(in crate::daemon::owner) fn begin_rates(&mut self) -> Result<u64, Refusal> {
        self.collect_usage();
        let usage = self.followed("eam rates")?;
        usage.next_measurement += 1;
        usage.measurements.insert(usage.next_measurement, Interval::new());
        Ok(usage.next_measurement)
    }

    /// Ends a measurement; gives the busiest entries.
    pub(in crate::daemon::owner) fn end_rates(
        &mut self,
        measurement: u64,
        limit: usize,
    ) -> Result<api::EamRates, Refusal> {
        self.collect_usage();
        let usage = self.followed("eam rates")?;
        let interval = usage.measurements.remove(&measurement);
        let Some(interval) = interval else {
            return Err(refusal(Code::Failed, "eam rates: the measurement took too long; ask again"));
        };
        let seconds = interval.begun.elapsed().as_secs_f64();
        let busiest: Vec<u32> = interval.busiest(usize::MAX);
        let omitted = busiest.len().saturating_sub(limit) as u64;
        let records = busiest.into_iter().take(limit).map(|account| (account, interval.records[&account].traffic));
        let records: Vec<_> = records.collect();
        let entries = records.into_iter().filter_map(|(account, counted)| {
            let kept = self.usage.as_ref()?.of(account)?;
            Some(api::EamRate {
                entry: self.entry_of(&kept.pair)?,
                rates: rates(counted, seconds),
                usage: used(&kept.used),
            })
        });
        Ok(api::EamRates { seconds, entries: entries.collect(), omitted })
    }

    fn entry_of(&self, pair: &Pair) -> Option<api::Eam> {
        self.table.get_ipv4(pair.ipv4()).map(api::Eam::from)
    }

    /// Entries that have not been used for so many seconds, and how many have not been observed for as long.
    pub(in crate::daemon::owner) fn idle(&mut self, seconds: u64, limit: usize) -> Result<api::EamIdle, Refusal> {
        self.collect_usage();
        let before = now().saturating_sub(i64::try_from(seconds).unwrap_or(i64::MAX));
        let usage = self.followed("eam idle")?;
        let (mut idle, mut too_young, mut omitted) = (Vec::new(), 0, 0);
        for kept in usage.kept.iter().flatten() {
            let Use { since, last, .. } = kept.used;
            if last > before {
                continue;
            }
            if since.max(usage.observed) > before {
                too_young += 1;
            } else if idle.len() < limit {
                idle.push((kept.pair, kept.used));
            } else {
                omitted += 1;
            }
        }
        idle.sort_by_key(|(pair, _)| pair.ipv4());
        let entry =
            |(pair, kept): (Pair, Use)| Some(api::EamIdleEntry { entry: self.entry_of(&pair)?, usage: used(&kept) });
        Ok(api::EamIdle { seconds, entries: idle.into_iter().filter_map(entry).collect(), omitted, too_young })
    }

    /// The counts of the busiest entries and of those that the configuration names, for the metrics page.
    pub(in crate::daemon::owner) fn usage_for_metrics(&mut self) -> UsageForMetrics {
        self.collect_usage();
        let Some(usage) = &mut self.usage else { return UsageForMetrics::default() };
        let named = self.config.accounting.named.iter().filter_map(|net: &Ipv4Net| {
            let entry = self.table.get_ipv4(*net)?;
            Some(self.dataplane.account(&dataplane_eam(&self.config, &entry.pair)))
        });
        let mut accounts: Vec<u32> = named.chain(usage.latest.iter().copied()).collect();
        accounts.sort_unstable();
        accounts.dedup();
        UsageForMetrics {
            eams: accounts.into_iter().filter_map(|account| usage.since_shown(account)).collect(),
            native: usage.today.is_some().then_some(usage.native),
        }
    }
}

/// What the metrics page shows of single entries.
#[derive(Debug, Default)]
pub(in crate::daemon) struct UsageForMetrics {
    /// The busiest and the named ones: translated, and native.
    pub(in crate::daemon) eams: Vec<(Pair, Counted)>,
    /// What has passed natively to and from all services. `None`: it is not counted.
    pub(in crate::daemon) native: Option<Record>,
}

fn used(used: &Use) -> api::EamUsage {
    let [four_to_six, six_to_four] = traffic(used.traffic);
    let last_used = (used.last != 0).then(|| utc(used.last));
    api::EamUsage { since: utc(used.since), last_used, four_to_six, six_to_four }
}

fn rates([four_to_six, six_to_four]: [Traffic; 2], seconds: f64) -> api::EamRateOf {
    let rate = |Traffic { packets, bytes }: Traffic| api::Rate {
        packets_per_second: packets as f64 / seconds,
        bits_per_second: 8.0 * bytes as f64 / seconds,
    };
    api::EamRateOf { four_to_six: rate(four_to_six), six_to_four: rate(six_to_four) }
}

fn traffic([four_to_six, six_to_four]: [Traffic; 2]) -> [api::EamTraffic; 2] {
    [four_to_six, six_to_four].map(|Traffic { packets, bytes }| api::EamTraffic { packets, bytes })
}
