//! From a file or an old revision to the difference from the table.

use std::{
    collections::{HashMap, HashSet},
    iter::Peekable,
};

use ipnet::{Ipv4Net, Ipv6Net};

use super::doubles::Doubles;
use crate::{
    api,
    daemon::store::{Difference, Step},
    eam::{Comment, Entry, Origin, Pair, Table, short4, short6},
    eam_file::Line,
};

/// What a file asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) difference: Difference,
    /// For each added entry its line.
    pub(super) lines: Vec<u32>,
    pub(super) unchanged: u64,
    pub(super) static_lines: u64,
}

/// A line that is refused, and why.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadLine {
    pub(super) line: u32,
    pub(super) text: String,
}

fn bad(line: &Line, text: String) -> BadLine {
    BadLine { line: line.number, text: format!("{}: {text}", line.pair) }
}

impl Plan {
    /// What has to change so that the dynamic entries are the lines: those of the table, and `doubles` of its static ones.
    pub(super) fn new(table: &Table, doubles: &Doubles, mut lines: Vec<Line>) -> Result<Self, BadLine> {
        // Of two entries with the same prefix the later is the wrong one; on one line of JSON may be many.
        lines.sort_by_key(|line| line.pair.ipv4());
        if let Some([first, second]) = lines.array_windows().find(|[one, two]| one.pair.ipv4() == two.pair.ipv4()) {
            let text = format!("line {} has the IPv4 prefix {} already", first.number, short4(second.pair.ipv4()));
            return Err(bad(second, text));
        }
        let mut plan = Self::default();
        let mut unnamed = doubles.clone();
        let mut entries = table.iter().peekable();
        // Those that are added are collected where all the lines were: another list of a million would be as large.
        let added = lines.into_iter().filter_map(|line| {
            plan.remove_before(&mut entries, Some(line.pair.ipv4()));
            match entries.next_if(|entry| entry.pair.ipv4() == line.pair.ipv4()) {
                None => Some(Ok(line)),
                Some(entry) if entry.pair == line.pair => {
                    unnamed.remove(&entry.pair);
                    plan.keep(entry, line);
                    None
                }
                Some(entry) if entry.origin == Origin::Static => {
                    let text = format!("the static entry {entry} has the IPv4 prefix {}", short4(entry.pair.ipv4()));
                    Some(Err(bad(&line, text)))
                }
                Some(entry) => {
                    plan.difference.removed.push(entry.clone());
                    Some(Ok(line))
                }
            }
        });
        let mut added: Vec<Line> = added.collect::<Result<_, _>>()?;
        added.shrink_to_fit();
        plan.remove_before(&mut entries, None);
        plan.check_ipv6(table, &added)?;
        // Not before: the static entries that they double stay.
        plan.difference.removed.extend(unnamed.into_iter().map(|(pair, comment)| dynamic(pair, comment)));
        plan.difference.removed.sort_unstable_by_key(|entry| entry.pair.ipv4());
        plan.lines = added.iter().map(|line| line.number).collect();
        plan.difference.added = added.into_iter().map(entry).collect();
        Ok(plan)
    }

    fn remove_before<'table>(
        &mut self,
        entries: &mut Peekable<impl Iterator<Item = &'table Entry>>,
        end: Option<Ipv4Net>,
    ) {
        while let Some(entry) = entries.next_if(|entry| end.is_none_or(|end| entry.pair.ipv4() < end)) {
            if entry.origin == Origin::Dynamic {
                self.difference.removed.push(entry.clone());
            }
        }
    }

    fn keep(&mut self, entry: &Entry, line: Line) {
        if entry.origin == Origin::Static {
            self.static_lines += 1;
        } else if entry.comment == line.comment {
            self.unchanged += 1;
        } else {
            self.difference.changed.push((self::entry(line), entry.comment.clone()));
        }
    }

    /// No two entries may have the same IPv6 prefix, in the file or with what stays.
    fn check_ipv6(&self, table: &Table, added: &[Line]) -> Result<(), BadLine> {
        let removed: HashSet<Ipv4Net> = self.difference.removed.iter().map(|entry| entry.pair.ipv4()).collect();
        for line in added {
            let ipv6 = line.pair.ipv6();
            if let Some(entry) = table.get_ipv6(ipv6).filter(|entry| !removed.contains(&entry.pair.ipv4())) {
                let what = if entry.origin == Origin::Static { "the static entry" } else { "the entry" };
                return Err(bad(line, format!("{what} {entry} has the IPv6 prefix {}", short6(ipv6))));
            }
        }
        let mut prefixes: Vec<(Ipv6Net, u32)> = added.iter().map(|line| (line.pair.ipv6(), line.number)).collect();
        prefixes.sort_unstable();
        match prefixes.array_windows().find(|[(one, _), (two, _)]| one == two) {
            Some(&[(_, first), (ipv6, second)]) => {
                let is_second = |line: &&Line| line.number == second && line.pair.ipv6() == ipv6;
                let line = added.iter().rfind(is_second).expect("it is one of them");
                Err(bad(line, format!("line {first} has the IPv6 prefix {} too", short6(ipv6))))
            }
            None => Ok(()),
        }
    }
}

fn entry(line: Line) -> Entry {
    dynamic(line.pair, line.comment)
}

const fn dynamic(pair: Pair, comment: Comment) -> Entry {
    Entry { pair, comment, origin: Origin::Dynamic }
}

/// What has to change so that the latest changes are undone; `steps`: the latest first; `doubles`: the entries made by command
/// that the table has as static ones.
///
/// # Errors
/// An entry that would come back has a prefix that another one has.
pub(super) fn undo(table: &Table, doubles: &Doubles, steps: Vec<Step>) -> Result<Difference, String> {
    let mut before: HashMap<Pair, Option<Comment>> = HashMap::new();
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
    difference.removed.sort_unstable_by_key(|entry| entry.pair.ipv4());
    difference.added.sort_unstable_by_key(|entry| entry.pair.ipv4());
    difference.changed.sort_unstable_by_key(|(entry, _)| entry.pair.ipv4());
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

/// The table's way from before a difference to after it, or back.
#[derive(Clone, Copy)]
pub(super) struct Reshaping<'change> {
    pub(super) removed: &'change [Entry],
    pub(super) added: &'change [Entry],
    changed: &'change [(Entry, Comment)],
    is_back: bool,
}

impl Reshaping<'_> {
    /// The way back.
    pub(super) fn reversed(self) -> Self {
        Self { removed: self.added, added: self.removed, is_back: !self.is_back, ..self }
    }

    /// Makes the table what it will be, in this process's memory.
    pub(super) fn reshape(self, table: &mut Table) {
        let mut removed = 0;
        for entry in self.removed {
            removed += usize::from(table.remove(&entry.pair).is_some());
        }
        debug_assert_eq!(removed, self.removed.len());
        for (entry, before) in self.changed {
            let comment = if self.is_back { before } else { &entry.comment };
            table.set_comment(&entry.pair, comment.clone());
        }
        if self.added.len() > table.len() {
            // As a whole it is faster made, and smaller.
            let all = std::mem::take(table).into_entries().chain(self.added.iter().cloned()).collect();
            let made = Table::from_entries(all);
            debug_assert!(made.is_ok());
            *table = made.unwrap_or_default();
            return;
        }
        for entry in self.added {
            let inserted = table.insert(entry.clone());
            debug_assert_eq!(inserted, Ok(()));
        }
    }
}

impl Difference {
    /// What it makes of the table.
    pub(super) fn forth(&self) -> Reshaping<'_> {
        let Self { removed, added, changed } = self;
        Reshaping { removed, added, changed, is_back: false }
    }

    /// The changes for people, in the order of their IPv4 prefixes, and how many more there are.
    pub(super) fn shown(&self) -> (Vec<api::Change>, u64) {
        let of = |kind, entry: &Entry, before: Option<&Comment>| api::Change {
            kind,
            ipv4: entry.pair.ipv4(),
            ipv6: entry.pair.ipv6(),
            origin: entry.origin,
            comment: entry.comment.to_string(),
            comment_before: before.map(ToString::to_string),
        };
        const MOST: usize = api::SHOWN_CHANGES;
        debug_assert!(self.removed.is_sorted_by_key(|entry| entry.pair.ipv4()));
        debug_assert!(self.added.is_sorted_by_key(|entry| entry.pair.ipv4()));
        debug_assert!(self.changed.is_sorted_by_key(|(entry, _)| entry.pair.ipv4()));
        let removed = self.removed.iter().map(|entry| (entry, api::ChangeKind::Removed, None));
        let added = self.added.iter().map(|entry| (entry, api::ChangeKind::Added, None));
        let changed = self.changed.iter().map(|(entry, before)| (entry, api::ChangeKind::Changed, Some(before)));
        let mut first: Vec<_> = removed.take(MOST).chain(added.take(MOST)).chain(changed.take(MOST)).collect();
        // Stable: what has gone stands before what comes in its place.
        first.sort_by_key(|(entry, ..)| entry.pair.ipv4());
        first.truncate(MOST);
        let omitted = (self.len() - first.len()) as u64;
        (first.into_iter().map(|(entry, kind, before)| of(kind, entry, before)).collect(), omitted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eam::{parse_ipv4, parse_ipv6};

    fn pair(ipv4: &str, ipv6: &str) -> Pair {
        Pair::new(parse_ipv4(ipv4).unwrap(), parse_ipv6(ipv6).unwrap()).unwrap()
    }

    fn entry(number: u32) -> Entry {
        let pair = pair(&format!("192.0.2.{number}"), &format!("2001:db8::{number:x}"));
        Entry { pair, comment: number.to_string().into(), origin: Origin::Dynamic }
    }

    fn entries(table: &Table) -> Vec<Entry> {
        table.iter().cloned().collect()
    }

    #[test]
    fn an_entry_that_a_static_one_covers_is_still_one_made_by_command() {
        let table = Table::from_entries(vec![Entry { origin: Origin::Static, ..entry(1) }]).unwrap();
        let doubles = Doubles::from([(entry(1).pair, "1".into())]);
        let line = Line { number: 1, pair: entry(1).pair, comment: "other".into() };
        assert_eq!(Plan::new(&table, &doubles, vec![line]).unwrap().difference, Difference::default());
        let gone = Plan::new(&table, &doubles, Vec::new()).unwrap().difference;
        assert_eq!(gone, Difference { removed: vec![entry(1)], ..Difference::default() });
        // The static one stays, and with it what it is in the way of.
        let pair = pair("192.0.2.2", "2001:db8::1");
        let refused = Plan::new(&table, &doubles, vec![Line { number: 1, pair, comment: "".into() }]);
        assert!(refused.unwrap_err().text.contains("the static entry 192.0.2.1"));
    }

    #[test]
    fn a_doubled_prefix_is_told_of_the_entries_that_have_it() {
        let line = |number, ipv4, ipv6| Line { number, pair: pair(ipv4, ipv6), comment: Comment::default() };
        let refusal = |lines| Plan::new(&Table::default(), &Doubles::new(), lines).unwrap_err();
        // As JSON comes from programs: all on one line.
        let innocent = line(1, "192.0.2.1", "2001:db8::1");
        let told =
            refusal(vec![innocent.clone(), line(1, "192.0.2.2", "2001:db8::9"), line(1, "192.0.2.3", "2001:db8::9")]);
        assert_eq!(
            (told.line, &*told.text),
            (1, "192.0.2.3 ↔ 2001:db8::9: line 1 has the IPv6 prefix 2001:db8::9 too")
        );
        let told =
            refusal(vec![innocent.clone(), line(1, "192.0.2.9", "2001:db8::9"), line(1, "192.0.2.9", "2001:db8::8")]);
        assert_eq!(told.text, "192.0.2.9 ↔ 2001:db8::8: line 1 has the IPv4 prefix 192.0.2.9 already");
        let told = refusal(vec![line(7, "192.0.2.2", "2001:db8::9"), line(5, "192.0.2.3", "2001:db8::9"), innocent]);
        assert_eq!(
            (told.line, &*told.text),
            (7, "192.0.2.2 ↔ 2001:db8::9: line 5 has the IPv6 prefix 2001:db8::9 too")
        );
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
                changed: vec![(Entry { comment: "other".into(), ..entry(1) }, "1".into())],
            };
            difference.forth().reshape(&mut table);
            let mut wanted: Vec<Entry> = before.chain(added).skip(1).map(entry).collect();
            wanted[0].comment = "other".into();
            assert_eq!(entries(&table), wanted);
            difference.forth().reversed().reshape(&mut table);
            assert_eq!(entries(&table), of_before);
        }
    }
}
