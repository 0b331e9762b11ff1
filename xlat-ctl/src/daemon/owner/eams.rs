//! What changes the table of explicit address mappings.
//!
//! Every change goes the same way: it is judged; written to the store, but not yet for good; put in force; made durable; told.
//! A failure on the way takes back what was done before it. If the daemon is killed, what counts is what was made durable:
//! the daemon that starts next makes the data plane's table what the store says.

use std::{net::IpAddr, time::Instant};

use tracing::{debug, error, info, warn};

use super::{
    Ask, Manner, Prefix, Refusal,
    difference::{Plan, Reshaping, undo},
    doubles::Doubles,
    refusal,
    relay::Relay,
};
use crate::{
    api::{self, Applied, Code},
    config::Config,
    crash,
    daemon::store::{Change, Difference, Store},
    dataplane::{self, DataPlaneError, TableInput},
    eam::{self, Entry, Origin, Pair},
    eam_file::Line,
};

/// Warnings that one change gives at most.
const MOST_WARNINGS: usize = 100;

impl Relay {
    pub(super) fn add(&mut self, entry: Entry, ask: &Ask) -> Result<api::EamAdded, Refusal> {
        let pair = entry.pair;
        let named = |text: String| format!("eam add {} {}: {text}", eam::short4(pair.ipv4()), eam::short6(pair.ipv6()));
        self.expect_revision(ask, &named)?;
        self.table.admit(&pair).map_err(|text| refusal(Code::Conflict, named(text)))?;
        self.expect_room(1, 0).map_err(|text| refusal(Code::Full, named(text)))?;
        if let Some(text) = self.forbidden(&pair) {
            return Err(refusal(Code::Conflict, named(text)));
        }
        let mut warnings = self.config.doubts(&self.table, &pair);
        let difference = Difference { added: vec![entry], ..Difference::default() };
        let revision = self.change("add", ask, &difference).map_err(|text| refusal(Code::Failed, named(text)))?;
        info!("EAM {} added by {} (revision {revision})", difference.added[0], ask.author);
        warnings.extend(self.not_yet_everywhere());
        warnings.iter().for_each(|warning| warn!("{warning}"));
        Ok(api::EamAdded { revision, entry: api::Eam::from(&difference.added[0]), warnings })
    }

    pub(super) fn remove(&mut self, prefix: Prefix, ask: &Ask) -> Result<api::EamDeleted, Refusal> {
        let named = |more: String| format!("eam del {prefix}: {more}");
        self.expect_revision(ask, &named)?;
        let Some(entry) = prefix.entry(&self.table).cloned() else {
            let around = match prefix {
                Prefix::Ipv4(net) => self.table.covering_ipv4(net).next(),
                Prefix::Ipv6(net) => self.table.covering_ipv6(net).next(),
            };
            let hint = around.map_or_else(String::new, |entry| format!("; it lies within the entry {entry}"));
            return Err(refusal(Code::NotFound, named(format!("no entry has this prefix{hint}"))));
        };
        if entry.origin == Origin::Static {
            let file = self.config_path.display();
            let mut sentence = format!("{entry} is a static entry: remove it from {file} and reload");
            if self.doubles.contains_key(&entry.pair) {
                sentence.push_str("; it was made by command, too: after that, delete it again");
            }
            return Err(refusal(Code::Conflict, named(sentence)));
        }
        let difference = Difference { removed: vec![entry.clone()], ..Difference::default() };
        let revision = self.change("del", ask, &difference).map_err(|text| refusal(Code::Failed, named(text)))?;
        info!("EAM {entry} deleted by {} (revision {revision})", ask.author);
        Ok(api::EamDeleted { revision, entry: api::Eam::from(&entry), warnings: self.not_yet_everywhere() })
    }

    /// Makes the dynamic entries those of a file, as one change.
    pub(super) fn apply(&mut self, lines: Vec<Line>, manner: Manner, ask: &Ask) -> Result<Applied, Refusal> {
        let named = |text: String| format!("eam apply: {text}");
        self.expect_revision(ask, &named)?;
        let plan = Plan::new(&self.table, &self.doubles, lines)
            .map_err(|bad| refusal(Code::Conflict, named(format!("line {}: {}", bad.line, bad.text))))?;
        for (entry, line) in plan.difference.added.iter().zip(&plan.lines) {
            if let Some(text) = self.forbidden(&entry.pair) {
                return Err(refusal(Code::Conflict, named(format!("line {line}: {text}"))));
            }
        }
        let Plan { difference, unchanged, static_lines, .. } = plan;
        let begun = Applied { unchanged, static_lines, ..Applied::default() };
        self.change_all("apply", &difference, begun, manner, ask, &named)
    }

    /// Makes the dynamic entries what they were after a revision, as one change.
    pub(super) fn roll_back(&mut self, revision: u64, manner: Manner, ask: &Ask) -> Result<Applied, Refusal> {
        let named = |text: String| format!("eam rollback {revision}: {text}");
        self.expect_revision(ask, &named)?;
        let failed = |error: crate::daemon::store::StoreError| refusal(Code::Failed, named(error.to_string()));
        let (oldest, latest) = self.store.remembered().map_err(failed)?;
        // What was before the oldest change is known, too.
        let oldest = oldest.saturating_sub(1);
        if !(oldest..=latest).contains(&revision) {
            let text = format!("the history goes from revision {oldest} to {latest}");
            return Err(refusal(Code::NotFound, named(text)));
        }
        let is_known = if revision == oldest {
            // Before a restore there was another table.
            !self.store.is_restore(revision + 1).map_err(failed)?
        } else {
            self.store.has(revision).map_err(failed)?
        };
        if !is_known {
            let text = "a restore has put an older revision in the place of this one, which is lost".to_owned();
            return Err(refusal(Code::NotFound, named(text)));
        }
        let steps = self.store.since(revision).map_err(failed)?;
        let difference =
            undo(&self.table, &self.doubles, steps).map_err(|text| refusal(Code::Conflict, named(text)))?;
        if let Some(text) = difference.added.iter().find_map(|entry| self.forbidden(&entry.pair)) {
            return Err(refusal(Code::Conflict, named(text)));
        }
        self.change_all("rollback", &difference, Applied::default(), manner, ask, &named)
    }

    fn change_all(
        &mut self,
        verb: &'static str,
        difference: &Difference,
        begun: Applied,
        manner: Manner,
        ask: &Ask,
        named: &dyn Fn(String) -> String,
    ) -> Result<Applied, Refusal> {
        let in_table = self.in_table(difference);
        self.expect_room(in_table.added.len(), in_table.removed.len())
            .map_err(|text| refusal(Code::Full, named(text)))?;
        let (changes, omitted) = difference.shown();
        let mut applied = Applied {
            revision: self.store.revision(),
            dry_run: manner.dry_run,
            added: difference.added.len() as u64,
            removed: difference.removed.len() as u64,
            changed: difference.changed.len() as u64,
            changes,
            omitted,
            ..begun
        };
        if difference.is_empty() {
            return Ok(applied);
        }
        if manner.dry_run {
            in_table.forth().reshape(&mut self.table);
            applied.warnings = self.doubts(difference);
            in_table.forth().reversed().reshape(&mut self.table);
            return Ok(applied);
        }
        if let Some(tell) = manner.tell {
            tell.tell(Applied { dry_run: true, ..applied.clone() });
        }
        applied.revision = self.change(verb, ask, difference).map_err(|text| refusal(Code::Failed, named(text)))?;
        applied.warnings = self.doubts(difference);
        applied.warnings.extend(self.not_yet_everywhere());
        let Applied { revision, added, removed, changed, .. } = applied;
        info!("{verb} by {}: {added} added, {removed} removed, {changed} changed (revision {revision})", ask.author);
        Ok(applied)
    }

    /// The way of every change. Gives its revision, or why nothing has changed.
    fn change(&mut self, verb: &'static str, ask: &Ask, difference: &Difference) -> Result<u64, String> {
        crash::point("begun");
        self.settle_usage();
        let begun = Instant::now();
        let change = Change { verb, origin: Origin::Dynamic, author: &ask.author, message: &ask.message, difference };
        let revision = self.store.prepare(&change).map_err(|error| format!("the change cannot be kept: {error}"))?;
        crash::point("written");
        let written = begun.elapsed();
        let in_table = self.in_table(difference);
        if let Err(error) = self.put_in_force(in_table.forth()) {
            self.store.abandon();
            return Err(error);
        }
        crash::point("in-force");
        let in_force = begun.elapsed() - written;
        if let Err(error) = self.store.commit() {
            if let Err(error) = self.put_in_force(in_table.forth().reversed()) {
                error!("a refused change is still in force, `xlat-ctl reload` takes it back: {error}");
            }
            return Err(format!("the change cannot be kept: {error}"));
        }
        crash::point("acknowledged");
        self.follow_doubles(difference);
        self.settle_usage();
        let durable = begun.elapsed() - written - in_force;
        debug!("revision {revision}: written in {written:.1?}, in force in {in_force:.1?}, durable in {durable:.1?}");
        Ok(revision)
    }

    /// Changes the table in memory and the data plane's, both or none. A single entry comes or goes in the table that is in
    /// force; more of them come with a whole new program instance, so that no packet meets a mixture.
    fn put_in_force(&mut self, change: Reshaping<'_>) -> Result<(), String> {
        change.reshape(&mut self.table);
        let words = |error: DataPlaneError| error.to_string();
        let outcome = match (change.removed, change.added) {
            ([], []) => Ok(()),
            ([], [entry]) => {
                let eam = dataplane_eam(&self.config, &entry.pair);
                let inserted = self.dataplane.insert_eam(&eam).map_err(words);
                inserted.map(|()| self.usage_of_added(entry.pair, &eam))
            }
            ([entry], []) => {
                let removed = self.dataplane.remove_eam(&dataplane_eam(&self.config, &entry.pair)).map_err(words);
                removed.map(|(account, rest)| self.usage_of_removed(account, &rest))
            }
            _ => self.swap(Some(change)).map_err(|error| format!("{error:#}")),
        };
        outcome.inspect_err(|_| change.reversed().reshape(&mut self.table))
    }

    fn expect_revision(&self, ask: &Ask, named: &dyn Fn(String) -> String) -> Result<(), Refusal> {
        let present = self.store.revision();
        match ask.if_revision {
            Some(expected) if expected != present => {
                let text = format!("the table is at revision {present}, not {expected}: nothing is changed");
                Err(refusal(Code::Stale, named(text)))
            }
            _ => Ok(()),
        }
    }

    fn expect_room(&self, added: usize, removed: usize) -> Result<(), String> {
        let most = self.config.dataplane.max_eams;
        let wanted = self.table.len() + added - removed;
        // A table that is too large already may become smaller.
        if wanted <= usize::try_from(most).unwrap_or(usize::MAX) || added <= removed {
            return Ok(());
        }
        Err(format!("{wanted} entries are too many: the table is made for dataplane.max_eams = {most}"))
    }

    /// Why an entry may not be added: the configuration or the machine forbids it.
    fn forbidden(&self, pair: &Pair) -> Option<String> {
        self.config.forbids(pair).or_else(|| self.own_address_within(pair))
    }

    /// Where an instance before this one, with a table of its own, is still attached.
    fn not_yet_everywhere(&self) -> Vec<String> {
        if !self.take_over_is_due {
            return Vec::new();
        }
        let old = |reason| format!("the table of before may still be in force on an interface: {reason}");
        self.not_attached().into_iter().map(old).collect()
    }

    /// What is doubtful about entries that are in the table.
    fn doubts(&self, difference: &Difference) -> Vec<String> {
        if !self.table.can_overlap() {
            return Vec::new();
        }
        self.table.overlaps_of(difference.added.iter().map(|entry| &entry.pair), MOST_WARNINGS)
    }

    /// One of the machine's own addresses that an EAM covers: they stay with the machine.
    fn own_address_within(&self, pair: &Pair) -> Option<String> {
        let machine = self.machine.borrow();
        let (address, interface) = machine.addresses().find(|(address, _)| match address {
            IpAddr::V4(address) => pair.ipv4().contains(address),
            IpAddr::V6(address) => pair.ipv6().contains(address),
        })?;
        Some(format!("{pair} covers {address}, the relay's own address on {interface}, which is never translated"))
    }

    /// The entries that cover an address, longest first.
    pub(super) fn find(&self, address: IpAddr) -> api::EamList {
        let entries = match address {
            IpAddr::V4(address) => self.table.covering_ipv4(address.into()).map(api::Eam::from).collect(),
            IpAddr::V6(address) => self.table.covering_ipv6(address.into()).map(api::Eam::from).collect(),
        };
        api::EamList { revision: self.store.revision(), entries }
    }
}

/// The static entries of the configuration and the dynamic ones of the store, as one table; and the dynamic ones that are
/// static, too.
pub(super) fn registry(config: &Config, store: &Store, dynamic: Vec<Entry>) -> anyhow::Result<(eam::Table, Doubles)> {
    let mut fixed = eam::Table::default();
    for entry in &config.eams {
        fixed.insert(entry.clone()).map_err(anyhow::Error::msg)?;
    }
    let mut all = Vec::with_capacity(config.eams.len() + dynamic.len());
    let mut doubles = Doubles::new();
    for entry in dynamic {
        let in_the_way = [fixed.get_ipv4(entry.pair.ipv4()), fixed.get_ipv6(entry.pair.ipv6())];
        match in_the_way.into_iter().flatten().next() {
            Some(other) if other.pair == entry.pair => {
                info!("{entry} is static, and was made by command, too");
                doubles.insert(entry.pair, entry.comment);
            }
            Some(other) => anyhow::bail!(
                "the static entry {other} has a prefix of the dynamic entry {entry} (revision {} of the store): take the \
                 static entry out of the configuration, or start without it and delete the dynamic one with `xlat-ctl eam \
                 del {}`",
                store.revision(),
                eam::short4(entry.pair.ipv4()),
            ),
            None => all.push(entry),
        }
    }
    all.extend(config.eams.iter().cloned());
    Ok((eam::Table::from_entries(all).map_err(anyhow::Error::msg)?, doubles))
}

pub(super) fn dataplane_eam(config: &Config, pair: &Pair) -> dataplane::Eam {
    dataplane::Eam { ipv4: pair.ipv4(), ipv6: pair.ipv6(), prefix: config.prefix_of(pair) }
}

pub(super) fn table_input(config: &Config, table: &eam::Table) -> TableInput {
    TableInput {
        eams: table.iter().map(|entry| dataplane_eam(config, &entry.pair)).collect(),
        deny4: config.deny.ipv4.clone(),
        deny6: config.deny.ipv6.clone(),
    }
}
