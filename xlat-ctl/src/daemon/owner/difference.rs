//! From a file or an old revision to the difference from the table.

use std::{
    collections::{HashMap, HashSet},
    iter::Peekable,
};

use super::doubles::Doubles;
use crate::{
    api,
    daemon::store::{Difference, Step},
    eam::{Entry, Origin, Pair, Table, short4, short6},
    eam_file::Line,
};

/// What a file asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) difference: Difference,
    /// For each added entry its line.
    pub(super) lines: Vec<usize>,
    pub(super) unchanged: u64,
    pub(super) static_lines: u64,
}

/// A line that is refused, and why.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadLine {
    pub(super) line: usize,
    pub(super) text: String,
}

fn bad(line: &Line, text: String) -> BadLine {
    BadLine { line: line.number, text: format!("{}: {text}", line.pair) }
}

fn key4(pair: &Pair) -> (u32, u8) {
    (pair.ipv4().network().to_bits(), pair.ipv4().prefix_len())
}

fn key6(pair: &Pair) -> (u128, u8) {
    (pair.ipv6().network().to_bits(), pair.ipv6().prefix_len())
}

impl Plan {
    /// What has to change so that the dynamic entries are the lines: those of the table, and `doubles` of its static ones.
    pub(super) fn new(table: &Table, doubles: &Doubles, mut lines: Vec<Line>) -> Result<Self, BadLine> {
        // Stable: of two lines with the same prefix the later is the wrong one.
        lines.sort_by_key(|line| key4(&line.pair));
        if let Some([first, second]) = lines.array_windows().find(|[one, two]| key4(&one.pair) == key4(&two.pair)) {
            let text = format!("line {} has the IPv4 prefix {} already", first.number, short4(second.pair.ipv4()));
            return Err(bad(second, text));
        }
        let mut plan = Self::default();
        let mut unnamed = doubles.clone();
        let mut added = Vec::new();
        let mut entries = table.iter().peekable();
        for line in lines {
            plan.remove_before(&mut entries, Some(key4(&line.pair)));
            match entries.next_if(|entry| key4(&entry.pair) == key4(&line.pair)) {
                None => added.push(line),
                Some(entry) if entry.pair == line.pair => {
                    unnamed.remove(&entry.pair);
                    plan.keep(entry, line);
                }
                Some(entry) if entry.origin == Origin::Static => {
                    let text = format!("the static entry {entry} has the IPv4 prefix {}", short4(entry.pair.ipv4()));
                    return Err(bad(&line, text));
                }
                Some(entry) => {
                    plan.difference.removed.push(entry.clone());
                    added.push(line);
                }
            }
        }
        plan.remove_before(&mut entries, None);
        plan.check_ipv6(table, &added)?;
        // Not before: the static entries that they double stay.
        plan.difference.removed.extend(unnamed.into_iter().map(|(pair, comment)| dynamic(pair, comment)));
        plan.difference.removed.sort_by_key(|entry| key4(&entry.pair));
        plan.lines = added.iter().map(|line| line.number).collect();
        plan.difference.added = added.into_iter().map(entry).collect();
        Ok(plan)
    }

    fn remove_before<'table>(
        &mut self,
        entries: &mut Peekable<impl Iterator<Item = &'table Entry>>,
        end: Option<(u32, u8)>,
    ) {
        while let Some(entry) = entries.next_if(|entry| end.is_none_or(|end| key4(&entry.pair) < end)) {
            if entry.origin == Origin::Dynamic {
                self.difference.removed.push(entry.clone());
            }
        }
    }

    fn keep(&mut self, entry: &Entry, line: Line) {
        if entry.origin == Origin::Static {
            self.static_lines += 1;
        } else if *entry.comment == *line.comment {
            self.unchanged += 1;
        } else {
            self.difference.changed.push((self::entry(line), entry.comment.clone()));
        }
    }

    /// No two entries may have the same IPv6 prefix, in the file or with what stays.
    fn check_ipv6(&self, table: &Table, added: &[Line]) -> Result<(), BadLine> {
        let removed: HashSet<(u32, u8)> = self.difference.removed.iter().map(|entry| key4(&entry.pair)).collect();
        let mut seen: HashMap<(u128, u8), usize> = HashMap::with_capacity(added.len());
        for line in added {
            let ipv6 = line.pair.ipv6();
            if let Some(entry) = table.get_ipv6(ipv6).filter(|entry| !removed.contains(&key4(&entry.pair))) {
                let what = if entry.origin == Origin::Static { "the static entry" } else { "the entry" };
                return Err(bad(line, format!("{what} {entry} has the IPv6 prefix {}", short6(ipv6))));
            }
            if let Some(other) = seen.insert(key6(&line.pair), line.number) {
                return Err(bad(line, format!("line {other} has the IPv6 prefix {} too", short6(ipv6))));
            }
        }
        Ok(())
    }
}

fn entry(line: Line) -> Entry {
    dynamic(line.pair, line.comment.into())
}

const fn dynamic(pair: Pair, comment: String) -> Entry {
    Entry { pair, comment, origin: Origin::Dynamic }
}

/// What has to change so that the latest changes are undone; `steps`: the latest first; `doubles`: the entries made by command
/// that the table has as static ones.
///
/// # Errors
/// An entry that would come back has a prefix that another one has.
pub(super) fn undo(table: &Table, doubles: &Doubles, steps: Vec<Step>) -> Result<Difference, String> {
    let mut before: HashMap<Pair, Option<String>> = HashMap::new();
    for step in steps {
        let (pair, comment) = step.undone();
        before.insert(pair, comment);
    }
    let mut difference = Difference::default();
    for (pair, comment) in before {
        let in_table =
            table.get_ipv4(pair.ipv4()).filter(|entry| entry.pair == pair && entry.origin == Origin::Dynamic);
        match (in_table.map(|entry| &entry.comment).or_else(|| doubles.get(&pair)), comment) {
            (Some(present), None) => difference.removed.push(dynamic(pair, present.clone())),
            (Some(present), Some(comment)) if *present != comment => {
                difference.changed.push((dynamic(pair, comment), present.clone()));
            }
            (Some(_), Some(_)) | (None, None) => {}
            (None, Some(comment)) => difference.added.push(dynamic(pair, comment)),
        }
    }
    difference.removed.sort_by_key(|entry| key4(&entry.pair));
    difference.added.sort_by_key(|entry| key4(&entry.pair));
    difference.changed.sort_by_key(|(entry, _)| key4(&entry.pair));
    let removed: HashSet<Pair> = difference.removed.iter().map(|entry| entry.pair).collect();
    for entry in &difference.added {
        let in_the_way = [table.get_ipv4(entry.pair.ipv4()), table.get_ipv6(entry.pair.ipv6())];
        let stays = |other: &&Entry| match other.origin {
            Origin::Dynamic => !removed.contains(&other.pair),
            Origin::Static => other.pair != entry.pair,
        };
        if let Some(other) = in_the_way.into_iter().flatten().find(stays) {
            return Err(format!("{entry} would come back, but the entry {other} has one of its prefixes"));
        }
    }
    Ok(difference)
}

impl Difference {
    /// What undoes it.
    pub(super) fn inverse(&self) -> Self {
        let back = |(entry, before): &(Entry, String)| {
            (Entry { comment: before.clone(), ..entry.clone() }, entry.comment.clone())
        };
        Self {
            removed: self.added.clone(),
            added: self.removed.clone(),
            changed: self.changed.iter().map(back).collect(),
        }
    }

    /// Makes the table what it will be, in this process's memory.
    pub(super) fn reshape(&self, table: &mut Table) {
        let mut removed = 0;
        for entry in &self.removed {
            removed += usize::from(table.remove(&entry.pair).is_some());
        }
        debug_assert_eq!(removed, self.removed.len());
        for (entry, _) in &self.changed {
            table.set_comment(&entry.pair, entry.comment.clone());
        }
        if self.added.len() > table.len() {
            // As a whole it is faster made, and smaller.
            let all = std::mem::take(table).into_entries().chain(self.added.iter().cloned()).collect();
            let made = Table::from_entries(all);
            debug_assert!(made.is_ok());
            *table = made.unwrap_or_default();
            return;
        }
        for entry in &self.added {
            let inserted = table.insert(entry.clone());
            debug_assert_eq!(inserted, Ok(()));
        }
    }

    /// The changes for people, in the order of their IPv4 prefixes, and how many more there are.
    pub(super) fn shown(&self) -> (Vec<api::Change>, u64) {
        let of = |kind, entry: &Entry, before: Option<&String>| api::Change {
            kind,
            ipv4: entry.pair.ipv4(),
            ipv6: entry.pair.ipv6(),
            origin: entry.origin,
            comment: entry.comment.clone(),
            comment_before: before.cloned(),
        };
        let removed = self.removed.iter().map(|entry| (entry, api::ChangeKind::Removed, None));
        let added = self.added.iter().map(|entry| (entry, api::ChangeKind::Added, None));
        let changed = self.changed.iter().map(|(entry, before)| (entry, api::ChangeKind::Changed, Some(before)));
        let mut all: Vec<_> = removed.chain(added).chain(changed).collect();
        all.sort_by_key(|(entry, ..)| key4(&entry.pair));
        let omitted = all.len().saturating_sub(api::SHOWN_CHANGES) as u64;
        all.truncate(api::SHOWN_CHANGES);
        (all.into_iter().map(|(entry, kind, before)| of(kind, entry, before)).collect(), omitted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eam::{parse_ipv4, parse_ipv6};

    fn entry(number: u32) -> Entry {
        let (ipv4, ipv6) = (format!("192.0.2.{number}"), format!("2001:db8::{number:x}"));
        let pair = Pair::new(parse_ipv4(&ipv4).unwrap(), parse_ipv6(&ipv6).unwrap()).unwrap();
        Entry { pair, comment: number.to_string(), origin: Origin::Dynamic }
    }

    fn entries(table: &Table) -> Vec<Entry> {
        table.iter().cloned().collect()
    }

    #[test]
    fn an_entry_that_a_static_one_covers_is_still_one_made_by_command() {
        let table = Table::from_entries(vec![Entry { origin: Origin::Static, ..entry(1) }]).unwrap();
        let doubles = Doubles::from([(entry(1).pair, "1".to_owned())]);
        let line = Line { number: 1, pair: entry(1).pair, comment: "other".into() };
        assert_eq!(Plan::new(&table, &doubles, vec![line]).unwrap().difference, Difference::default());
        let gone = Plan::new(&table, &doubles, Vec::new()).unwrap().difference;
        assert_eq!(gone, Difference { removed: vec![entry(1)], ..Difference::default() });
        // The static one stays, and with it what it is in the way of.
        let pair = Pair::new(parse_ipv4("192.0.2.2").unwrap(), entry(1).pair.ipv6()).unwrap();
        let refused = Plan::new(&table, &doubles, vec![Line { number: 1, pair, comment: "".into() }]);
        assert!(refused.unwrap_err().text.contains("the static entry 192.0.2.1"));
    }

    #[test]
    fn a_table_becomes_another_and_that_one_again() {
        // More than the table has are taken as a whole, fewer one by one.
        for (before, added) in [(0..10, 10..12), (0..3, 10..60)] {
            let mut table = Table::from_entries(before.clone().map(entry).collect()).unwrap();
            let of_before = entries(&table);
            let difference = Difference {
                removed: vec![entry(0)],
                added: added.clone().map(entry).collect(),
                changed: vec![(Entry { comment: "other".to_owned(), ..entry(1) }, "1".to_owned())],
            };
            difference.reshape(&mut table);
            let mut wanted: Vec<Entry> = before.chain(added).skip(1).map(entry).collect();
            wanted[0].comment = "other".to_owned();
            assert_eq!(entries(&table), wanted);
            difference.inverse().reshape(&mut table);
            assert_eq!(entries(&table), of_before);
        }
    }
}
