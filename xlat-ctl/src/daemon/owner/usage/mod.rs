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
    eam::{Pair, Table},
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

/// What is known of EAMs, by themselves.
type Rows = HashMap<Pair, Kept>;

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
    leaving: Rows,
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

    /// What the store knows: rows, which have no accounts yet, and all else.
    ///
    /// # Errors
    /// One sentence: the store can be neither opened nor made.
    fn stored(directory: &Path, now: i64) -> Result<(Rows, Self), String> {
        let (uses, known) = Uses::open(directory)?;
        let kept = |(pair, used)| (pair, Kept { pair, used, changed: false, native: None });
        let today = Today::new(day_of(now), known.today);
        let usage = Self { observed: known.observed, ..Self::new(uses, Some(today), now) };
        Ok((known.rows.into_iter().map(kept).collect(), usage))
    }

    /// Takes all rows out of the accounts; gives the accounts' numbers, too.
    fn take_rows(&mut self) -> (Rows, HashMap<Pair, u32>) {
        let mut numbers = HashMap::new();
        let mut rows = HashMap::with_capacity(self.kept.len());
        for (account, kept) in mem::take(&mut self.kept).into_iter().enumerate() {
            let Some(kept) = kept else { continue };
            numbers.insert(kept.pair, account as u32);
            rows.insert(kept.pair, kept);
        }
        (rows, numbers)
    }

    /// Begins or ends the day of what passes natively, where it is to be counted from here on or no more.
    fn count_native(&mut self, wanted: bool, directory: &Path, now: i64) {
        match (self.today.take(), wanted) {
            (Some(today), false) => self.uses.write(Batch::of_day(today.day, today.rows())),
            (None, true) => self.today = Some(Today::stored(directory, day_of(now))),
            (today, _) => self.today = today,
        }
    }

    /// Gives each entry of the table the account that it has from here on. `rows`: what is known of entries, of which those that
    /// are not in the table leave; `numbers`: the accounts they had.
    fn number(
        &mut self,
        mut rows: Rows,
        numbers: &HashMap<Pair, u32>,
        table: &Table,
        account_of: impl Fn(&Pair) -> u32,
        now: i64,
    ) {
        self.shown_from.retain(|pair, _| table.get_ipv4(pair.ipv4()).is_some_and(|entry| entry.pair == *pair));
        let mut renumbered = HashMap::new();
        for entry in table.iter() {
            let pair = entry.pair;
            let account = account_of(&pair);
            let kept = rows.remove(&pair).unwrap_or_else(|| self.coming(pair, now));
            self.put(account, kept);
            if let Some(number) = numbers.get(&pair) {
                renumbered.insert(*number, account);
            }
        }
        for interval in self.measurements.values_mut().chain([&mut self.running]) {
            let records = mem::take(&mut interval.records).into_iter();
            interval.records = records.filter_map(|(at, record)| Some((*renumbered.get(&at)?, record))).collect();
        }
        self.latest = self.latest.iter().filter_map(|account| renumbered.get(account).copied()).collect();
        self.gone.extend(rows.keys());
        if self.leaving.is_empty() {
            self.leaving = rows;
        } else {
            self.leaving.extend(rows);
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
        let (rows, numbers, mut usage) = match before {
            Some(mut usage) => {
                let (rows, numbers) = usage.take_rows();
                (rows, numbers, usage)
            }
            None => match Usage::stored(&self.config.state.directory, now) {
                Ok((rows, usage)) => (rows, HashMap::new(), usage),
                Err(reason) => return error!("nothing is known of the use of each EAM: {reason}"),
            },
        };
        usage.count_native(self.config.accounting.native, &self.config.state.directory, now);
        let carried = self.dataplane.take_carried_accounts();
        let account_of = |pair: &Pair| self.dataplane.account(&dataplane_eam(&self.config, pair));
        usage.number(rows, &numbers, &self.table, account_of, now);
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
mod tests;
