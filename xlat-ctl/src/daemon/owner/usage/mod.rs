//! How much each EAM is used: the data plane's accounts, collected every few seconds, kept in the store.

mod answers;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    mem,
    path::Path,
    time::{Duration, Instant},
};

use tracing::{debug, error, warn};
use xlat_common::{account::Record, counters::Traffic};

pub(in crate::daemon) use self::answers::UsageForMetrics;
use super::{
    eams::dataplane_eam,
    relay::Relay,
    share::{Today, day_of},
};
use crate::{
    daemon::{
        store::{Batch, GAP, Use, Uses, now},
        time::utc,
    },
    dataplane::{self, Counted, DataPlane},
    eam::Pair,
};

/// How long it takes until what was collected is on the disk.
const WRITTEN: Duration = Duration::from_secs(60);
/// How long until a store that could not be opened is tried again.
const AGAIN: Duration = Duration::from_secs(60);
/// A measurement that nobody has ended is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(120);

/// One EAM, and its use up to the latest collecting.
struct Kept {
    pair: Pair,
    used: Use,
    /// Whether the store has something else.
    changed: bool,
    /// What has passed natively while this daemon runs, by direction. Most have nothing.
    native: Option<Box<Record>>,
}

/// What has been counted of each account since a moment.
struct Interval {
    begun: Instant,
    records: HashMap<u32, Record>,
}

impl Interval {
    fn new() -> Self {
        Self { begun: Instant::now(), records: HashMap::new() }
    }

    /// The accounts with the most bytes.
    fn busiest(&self, most: usize) -> Vec<u32> {
        let bytes = |record: &Record| record.traffic.iter().map(|traffic| traffic.bytes).sum::<u64>();
        // Account 0 is of packets that no EAM maps.
        let eams = self.records.iter().filter(|(account, _)| **account != 0);
        let mut all: Vec<(u64, u32)> = eams.map(|(account, record)| (bytes(record), *account)).collect();
        all.sort_unstable_by(|one, other| other.0.cmp(&one.0).then(one.1.cmp(&other.1)));
        all.into_iter().take(most).map(|(_, account)| account).collect()
    }
}

/// The use of every EAM in the table.
pub(super) struct Usage {
    /// By account.
    kept: Vec<Option<Kept>>,
    /// EAMs that the store still has.
    gone: HashSet<Pair>,
    /// What was known of the EAMs that the change in hand has removed: it may be taken back.
    leaving: HashMap<Pair, Kept>,
    uses: Uses,
    /// Since when there has been no long gap in the counting.
    observed: i64,
    /// When that was last looked at: by the clock that may be set, and by the one that may not.
    looked: (i64, Instant),
    written: Instant,
    /// The latest interval between two collectings by the clock, and the one that runs.
    latest: Vec<u32>,
    running: Interval,
    /// `None`: what passes natively is not counted.
    pub(super) today: Option<Today>,
    /// Of all, while this daemon runs.
    native: Record,
    measurements: HashMap<u64, Interval>,
    next_measurement: u64,
    /// What EAMs had in all when this daemon's metrics showed them first.
    shown_from: HashMap<Pair, [Traffic; 2]>,
}

impl Usage {
    fn new(uses: Uses, today: Option<Today>, now: i64) -> Self {
        Self {
            kept: Vec::new(),
            gone: HashSet::new(),
            leaving: HashMap::new(),
            uses,
            observed: now,
            looked: (now, Instant::now()),
            written: Instant::now(),
            latest: Vec::new(),
            running: Interval::new(),
            today,
            native: Record::default(),
            measurements: HashMap::new(),
            next_measurement: 0,
            shown_from: HashMap::new(),
        }
    }

    fn add(&mut self, account: u32, counted: &Counted, now: i64) {
        self.add_native(account, counted);
        let record = counted.translated;
        if record == Record::default() {
            return;
        }
        for interval in self.measurements.values_mut().chain([&mut self.running]) {
            *interval.records.entry(account).or_default() += record;
        }
        if let Some(kept) = self.kept.get_mut(account as usize).and_then(Option::as_mut) {
            kept.used.traffic.iter_mut().zip(record.traffic).for_each(|(sum, more)| *sum += more);
            // A clock that is behind makes nothing idle.
            kept.used.last = kept.used.last.max(now);
            kept.changed = true;
        }
    }

    /// What an instance before the one in force has counted.
    fn add_carried(&mut self, dataplane: &DataPlane, carried: Vec<(Option<dataplane::Eam>, Counted)>, now: i64) {
        for (eam, counted) in carried {
            if let Some(eam) = eam {
                self.add(dataplane.account(&eam), &counted, now);
            }
        }
    }

    fn add_native(&mut self, account: u32, counted: &Counted) {
        let Some(today) = &mut self.today else { return };
        let Some(kept) = self.kept.get_mut(account as usize).and_then(Option::as_mut) else { return };
        today.add(&kept.pair, counted);
        if counted.native != Record::default() {
            self.native += counted.native;
            **kept.native.get_or_insert_default() += counted.native;
        }
    }

    /// Begins another day when the clock has come to it, with what is known of it; writes the one before. A clock that is set back
    /// by less than a day begins none.
    fn turn_day(&mut self, directory: &Path, now: i64) {
        let Some(today) = &mut self.today else { return };
        let (before, day) = (today.day, day_of(now));
        if day > before || day < before - 1 {
            if day < before {
                warn!(
                    "the clock has been set back to {}: the share of IPv6 counts for that day from here on",
                    utc(now)
                );
            }
            let ended = mem::replace(today, Today::stored(directory, day));
            self.uses.write(Batch::of_day(ended.day, ended.rows()));
        }
    }

    /// Begins the observation anew where the clock has jumped: times from before it mean nothing beside those after it. (Or the
    /// machine has slept, and nothing was counted.)
    fn follow_clock(&mut self, now: i64) {
        let (then, looked) = mem::replace(&mut self.looked, (now, Instant::now()));
        let passed = i64::try_from(looked.elapsed().as_secs()).unwrap_or(i64::MAX);
        if (now - then - passed).abs() > GAP {
            warn!("the clock has jumped from {} to {}: `eam idle` begins anew", utc(then), utc(now));
            self.observed = now;
            self.uses.write(Batch { observed: Some(now), ..Batch::default() });
        }
    }

    fn put(&mut self, account: u32, kept: Kept) {
        if account == 0 {
            return;
        }
        let at = account as usize;
        if self.kept.len() <= at {
            self.kept.resize_with(at + 1, || None);
        }
        self.kept[at] = Some(kept);
    }

    fn take(&mut self, account: u32) {
        if let Some(kept) = self.kept.get_mut(account as usize).and_then(Option::take) {
            self.gone.insert(kept.pair);
            self.shown_from.remove(&kept.pair);
            self.leaving.insert(kept.pair, kept);
        }
        for interval in self.measurements.values_mut().chain([&mut self.running]) {
            interval.records.remove(&account);
        }
        self.latest.retain(|other| *other != account);
    }

    /// Writes what has changed.
    fn write(&mut self) {
        let changed = self.kept.iter_mut().flatten().filter(|kept| kept.changed);
        let taken = changed.map(|kept| {
            kept.changed = false;
            (kept.pair, kept.used)
        });
        let rows = taken.collect();
        let days = self.today.iter().map(|today| (today.day, today.rows())).collect::<BTreeMap<_, _>>();
        self.uses.write(Batch { rows, gone: mem::take(&mut self.gone), days, observed: None });
        self.written = Instant::now();
    }

    /// What is known of an EAM that comes into the table: nothing, unless the change that removed it has been refused.
    fn coming(&mut self, pair: Pair, now: i64) -> Kept {
        match self.leaving.remove(&pair) {
            Some(kept) => {
                self.gone.remove(&pair);
                Kept { changed: true, ..kept }
            }
            None => Kept { pair, used: Use { since: now, ..Use::default() }, changed: true, native: None },
        }
    }

    /// What an EAM has had since this daemon's metrics showed it first. Totals go back by a minute where a daemon is killed, and
    /// to Prometheus a counter that goes back began anew: the whole total would count once more.
    fn since_shown(&mut self, account: u32) -> Option<(Pair, Counted)> {
        let Kept { pair, used, native, .. } = self.kept.get(account as usize)?.as_ref()?;
        let from = self.shown_from.entry(*pair).or_insert(used.traffic);
        let mut translated = Record { traffic: used.traffic };
        for (traffic, from) in translated.traffic.iter_mut().zip(from) {
            traffic.packets -= from.packets;
            traffic.bytes -= from.bytes;
        }
        Some((*pair, Counted { translated, native: native.as_deref().copied().unwrap_or_default() }))
    }

    fn of(&self, account: u32) -> Option<&Kept> {
        self.kept.get(account as usize)?.as_ref()
    }
}

impl Relay {
    /// Begins, ends or goes on with the use of each EAM, for a data plane that is in force from here on. Everything that the one
    /// before has counted has been collected, or carried over.
    pub(super) fn follow_usage(&mut self) {
        let begun = Instant::now();
        let now = now();
        self.usage_tried = begun;
        let before = match (self.usage.take(), self.config.accounting.services) {
            (None, false) => return,
            (Some(mut usage), false) => return usage.write(),
            (before, true) => before,
        };
        let mut numbers = HashMap::new();
        let (mut rows, before): (HashMap<Pair, Kept>, Usage) = match before {
            Some(mut usage) => {
                let mut rows = HashMap::with_capacity(usage.kept.len());
                for (account, kept) in mem::take(&mut usage.kept).into_iter().enumerate() {
                    let Some(kept) = kept else { continue };
                    numbers.insert(kept.pair, account as u32);
                    rows.insert(kept.pair, kept);
                }
                (rows, usage)
            }
            None => match Uses::open(&self.config.state.directory) {
                Ok((uses, known)) => {
                    let kept = |(pair, used)| (pair, Kept { pair, used, changed: false, native: None });
                    let today = Today::new(day_of(now), known.today);
                    let usage = Usage { observed: known.observed, ..Usage::new(uses, Some(today), now) };
                    (known.rows.into_iter().map(kept).collect(), usage)
                }
                Err(reason) => return error!("nothing is known of the use of each EAM: {reason}"),
            },
        };
        let Usage { mut uses, observed, gone, leaving, today, native, .. } = before;
        let Usage { measurements, next_measurement, running, mut shown_from, .. } = before;
        let today = match (today, self.config.accounting.native) {
            (Some(today), false) => {
                uses.write(Batch::of_day(today.day, today.rows()));
                None
            }
            (None, true) => Some(Today::stored(&self.config.state.directory, day_of(now))),
            (today, _) => today,
        };
        let carried = self.dataplane.take_carried_accounts();
        shown_from.retain(|pair, _| self.table.get_ipv4(pair.ipv4()).is_some_and(|entry| entry.pair == *pair));
        let new = Usage::new(uses, today, now);
        let mut usage = Usage { gone, leaving, observed, native, next_measurement, shown_from, ..new };
        let mut renumbered = HashMap::new();
        for entry in self.table.iter() {
            let pair = entry.pair;
            let account = self.dataplane.account(&dataplane_eam(&self.config, &pair));
            let kept = rows.remove(&pair).unwrap_or_else(|| usage.coming(pair, now));
            usage.put(account, kept);
            if let Some(number) = numbers.get(&pair) {
                renumbered.insert(*number, account);
            }
        }
        let renumber = |interval: Interval| Interval {
            records: interval
                .records
                .into_iter()
                .filter_map(|(at, record)| Some((*renumbered.get(&at)?, record)))
                .collect(),
            ..interval
        };
        usage.running = renumber(running);
        usage.measurements = measurements.into_iter().map(|(id, interval)| (id, renumber(interval))).collect();
        usage.gone.extend(rows.keys());
        if usage.leaving.is_empty() {
            usage.leaving = rows;
        } else {
            usage.leaving.extend(rows);
        }
        usage.add_carried(&self.dataplane, carried, now);
        debug!("the use of {} EAMs is followed after {:.1?}", usage.kept.len(), begun.elapsed());
        self.usage = Some(usage);
    }

    /// What was removed does not come again: the change is durable, or another begins.
    pub(super) fn settle_usage(&mut self) {
        if let Some(usage) = &mut self.usage {
            usage.leaving = HashMap::new();
        }
    }

    /// Reads what has been counted since the last time.
    pub(super) fn collect_usage(&mut self) {
        let Some(usage) = &mut self.usage else { return };
        let (begun, now) = (Instant::now(), now());
        usage.follow_clock(now);
        usage.turn_day(&self.config.state.directory, now);
        // Of an instance before this one, whose place was taken late on one of the interfaces.
        let carried = self.dataplane.take_carried_accounts();
        usage.add_carried(&self.dataplane, carried, now);
        self.dataplane.collect_accounts(|account, counted| usage.add(account, counted, now));
        debug!("the accounts of {} EAMs are collected in {:.1?}", usage.kept.len(), begun.elapsed());
    }

    /// What the clock asks for: collects, and from time to time writes.
    pub(super) fn usage_by_the_clock(&mut self) {
        if self.usage.is_none() && self.config.accounting.services && self.usage_tried.elapsed() >= AGAIN {
            self.follow_usage();
        }
        self.collect_usage();
        let busiest = self.config.accounting.busiest as usize;
        let Some(usage) = &mut self.usage else { return };
        usage.latest = mem::replace(&mut usage.running, Interval::new()).busiest(busiest);
        usage.measurements.retain(|_, interval| interval.begun.elapsed() < FORGOTTEN);
        if usage.written.elapsed() >= WRITTEN {
            usage.write();
        }
    }

    /// Has everything on the disk before the daemon ends.
    pub(super) fn end_usage(&mut self) {
        self.collect_usage();
        if let Some(mut usage) = self.usage.take() {
            usage.write();
        }
    }

    /// An EAM has come into the table.
    pub(super) fn usage_of_added(&mut self, pair: Pair, eam: &dataplane::Eam) {
        let account = self.dataplane.account(eam);
        if let Some(usage) = &mut self.usage {
            let kept = usage.coming(pair, now());
            usage.put(account, kept);
        }
    }

    /// An EAM has gone from the table.
    pub(super) fn usage_of_removed(&mut self, account: u32, rest: &Counted) {
        if let Some(usage) = &mut self.usage {
            usage.add(account, rest, now());
            usage.take(account);
        }
    }
}

#[cfg(test)]
mod tests {
    use xlat_common::counters::Traffic;

    use super::*;
    use crate::daemon::store::share::{self, DAY};

    fn counted(packets: u64) -> Counted {
        let native = Record { traffic: [Traffic { packets, bytes: 100 * packets }, Traffic::default()] };
        Counted { translated: Record::default(), native }
    }

    #[test]
    fn what_a_refused_change_has_removed_is_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let (uses, _) = Uses::open(directory.path()).unwrap();
        let pair = Pair::new("198.51.100.10/32".parse().unwrap(), "2001:db8::10/128".parse().unwrap()).unwrap();
        let mut usage = Usage::new(uses, None, 100);
        let used = Use { since: 7, last: 9, ..Use::default() };
        usage.put(1, Kept { pair, used, changed: false, native: None });
        usage.take(1);
        let kept = usage.coming(pair, 100);
        assert_eq!((kept.used, kept.changed, usage.gone.len()), (used, true, 0));
        usage.put(2, kept);
        usage.take(2);
        usage.leaving.clear();
        assert_eq!((usage.coming(pair, 100).used.since, usage.gone.len()), (100, 1), "it is another entry");
    }

    /// As after a kill, which loses the latest minute of the totals.
    #[test]
    fn metrics_count_from_when_they_are_first_shown() {
        let directory = tempfile::tempdir().unwrap();
        let (uses, _) = Uses::open(directory.path()).unwrap();
        let pair = Pair::new("198.51.100.10/32".parse().unwrap(), "2001:db8::10/128".parse().unwrap()).unwrap();
        let mut usage = Usage::new(uses, None, 100);
        let known = Traffic { packets: 1000, bytes: 100_000 };
        usage.put(1, Kept { pair, used: Use { traffic: [known; 2], ..Use::default() }, changed: false, native: None });
        let shown = |usage: &mut Usage| usage.since_shown(1).unwrap().1.translated.traffic.map(|way| way.packets);
        assert_eq!(shown(&mut usage), [0, 0]);
        let record = counted(7).native;
        usage.add(1, &Counted { translated: record, native: Record::default() }, 101);
        assert_eq!(shown(&mut usage), [7, 0]);
        usage.take(1);
        let kept = usage.coming(pair, 102);
        usage.put(1, kept);
        assert_eq!(shown(&mut usage), [0, 0], "it went and came again");
        assert!(usage.since_shown(2).is_none());
    }

    #[test]
    fn a_day_is_written_when_another_begins_and_a_clock_set_back_by_hours_begins_none() {
        let directory = tempfile::tempdir().unwrap();
        let (uses, _) = Uses::open(directory.path()).unwrap();
        let pair = Pair::new("198.51.100.10/32".parse().unwrap(), "2001:db8::10/128".parse().unwrap()).unwrap();
        let mut usage = Usage::new(uses, Some(Today::new(7, Vec::new())), 7 * DAY);
        usage.put(1, Kept { pair, used: Use::default(), changed: false, native: None });
        for (now, packets) in [(7 * DAY, 1), (8 * DAY - 1, 2), (6 * DAY, 4), (8 * DAY, 8)] {
            usage.turn_day(directory.path(), now);
            usage.add(1, &counted(packets), now);
        }
        assert_eq!(usage.native, counted(15).native);
        usage.write();
        drop(usage);
        let (days, services) = share::read(directory.path(), 0, 9, None, true).unwrap();
        assert_eq!(days.into_iter().collect::<Vec<_>>(), [(7, counted(7)), (8, counted(8))]);
        assert_eq!(services, [(Some(pair), counted(15))]);
    }

    /// At a boot without a clock of its own: a day long ago, until the time is known, and then one of which much is known.
    #[test]
    fn a_clock_that_is_put_right_loses_no_day() {
        let directory = tempfile::tempdir().unwrap();
        let pair = Pair::new("198.51.100.10/32".parse().unwrap(), "2001:db8::10/128".parse().unwrap()).unwrap();
        let packets = |packets| counted(packets).native.traffic[0].packets;
        let (uses, _) = Uses::open(directory.path()).unwrap();
        let mut usage = Usage::new(uses, Some(Today::new(100, Vec::new())), 100 * DAY);
        usage.put(1, Kept { pair, used: Use::default(), changed: false, native: None });
        usage.add(1, &counted(5), 100 * DAY);
        usage.write();
        drop(usage);
        let (uses, _) = Uses::open(directory.path()).unwrap();
        let mut usage = Usage::new(uses, Some(Today::new(7, Vec::new())), 7 * DAY);
        usage.put(1, Kept { pair, used: Use { last: 99 * DAY, ..Use::default() }, changed: false, native: None });
        for (now, counts) in [(7 * DAY + 1, 1), (100 * DAY + 9, 2), (100 * DAY + 10, 3), (90 * DAY, 4)] {
            usage.follow_clock(now);
            usage.turn_day(directory.path(), now);
            usage.add(1, &counted(counts), now);
            assert!(usage.kept[1].as_ref().unwrap().used.last >= 99 * DAY, "the clock makes it idle");
        }
        assert_eq!(usage.observed, 90 * DAY, "it is not known what was used before");
        usage.write();
        drop(usage);
        let (days, _) = share::read(directory.path(), 0, 999, None, true).unwrap();
        let days: Vec<_> = days.into_iter().map(|(day, counted)| (day, counted.native.traffic[0].packets)).collect();
        assert_eq!(days, [(7, packets(1)), (90, packets(4)), (100, packets(5 + 2 + 3))]);
    }
}
