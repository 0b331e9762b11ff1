//! The table in which overlaps show.

use std::{
    borrow::Borrow,
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet, HashSet},
    net::{Ipv4Addr, Ipv6Addr},
    ops::Bound,
    thread,
};

use ipnet::{Ipv4Net, Ipv6Net};

use super::{Comment, Entry, Pair, short4, short6};

/// The entries, found by either prefix.
#[derive(Clone, Debug, Default)]
pub struct Table {
    by_ipv4: BTreeSet<ByIpv4>,
    /// Of an IPv6 prefix the IPv4 prefix.
    by_ipv6: BTreeMap<Ipv6Net, Ipv4Net>,
    /// How many entries have each prefix length: only lengths that are there are looked for.
    lens4: Lens<33>,
    lens6: Lens<129>,
}

/// An entry as it is sorted and found by its IPv4 prefix, which is not kept a second time as its key.
#[derive(Clone, Debug)]
struct ByIpv4(Entry);

impl Borrow<Ipv4Net> for ByIpv4 {
    fn borrow(&self) -> &Ipv4Net {
        &self.0.pair.ipv4
    }
}

impl PartialEq for ByIpv4 {
    fn eq(&self, other: &Self) -> bool {
        self.0.pair.ipv4 == other.0.pair.ipv4
    }
}

impl Eq for ByIpv4 {}

impl PartialOrd for ByIpv4 {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByIpv4 {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.pair.ipv4.cmp(&other.0.pair.ipv4)
    }
}

#[derive(Clone, Debug)]
struct Lens<const COUNT: usize>([u32; COUNT]);

impl<const COUNT: usize> Default for Lens<COUNT> {
    fn default() -> Self {
        Self([0; COUNT])
    }
}

impl<const COUNT: usize> Lens<COUNT> {
    /// The lengths up to `most` that are there, longest first.
    fn up_to(&self, most: u8) -> impl Iterator<Item = u8> {
        (0..=most).rev().filter(|len| self.0[usize::from(*len)] > 0)
    }

    fn different(&self) -> usize {
        self.0.iter().filter(|count| **count > 0).count()
    }
}

impl Table {
    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_ipv4.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_ipv4.is_empty()
    }

    /// The entries in the order of their IPv4 prefixes.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.by_ipv4.iter().map(|ByIpv4(entry)| entry)
    }

    /// All entries, in the order of their IPv4 prefixes, from behind one of them around to it.
    pub fn iter_behind(&self, prefix: Option<Ipv4Net>) -> impl Iterator<Item = &Entry> {
        let from = prefix.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = self.by_ipv4.range((from, Bound::Unbounded));
        let rest = prefix.into_iter().flat_map(|prefix| self.by_ipv4.range(..=prefix));
        behind.chain(rest).map(|ByIpv4(entry)| entry)
    }

    /// The entries themselves, in the order of their IPv4 prefixes.
    pub fn into_entries(self) -> impl Iterator<Item = Entry> {
        self.by_ipv4.into_iter().map(|ByIpv4(entry)| entry)
    }

    /// The entry with exactly this IPv4 prefix.
    #[must_use]
    pub fn get_ipv4(&self, net: Ipv4Net) -> Option<&Entry> {
        self.by_ipv4.get(&net.trunc()).map(|ByIpv4(entry)| entry)
    }

    /// The entry with exactly this IPv6 prefix.
    #[must_use]
    pub fn get_ipv6(&self, net: Ipv6Net) -> Option<&Entry> {
        self.get_ipv4(*self.by_ipv6.get(&net.trunc())?)
    }

    /// The entries whose IPv4 prefix holds all of `net`, longest first, `net` itself included.
    pub fn covering_ipv4(&self, net: Ipv4Net) -> impl Iterator<Item = &Entry> {
        self.lens4
            .up_to(net.prefix_len())
            .filter_map(move |len| self.get_ipv4(Ipv4Net::new(net.addr(), len).expect("a shorter length is valid")))
    }

    /// The entries whose IPv6 prefix holds all of `net`, longest first, `net` itself included.
    pub fn covering_ipv6(&self, net: Ipv6Net) -> impl Iterator<Item = &Entry> {
        self.lens6
            .up_to(net.prefix_len())
            .filter_map(move |len| self.get_ipv6(Ipv6Net::new(net.addr(), len).expect("a shorter length is valid")))
    }

    /// The entry with the longest IPv4 prefix that holds the address.
    #[must_use]
    pub fn longest_ipv4(&self, address: Ipv4Addr) -> Option<&Entry> {
        self.covering_ipv4(address.into()).next()
    }

    /// The entry with the longest IPv6 prefix that holds the address.
    #[must_use]
    pub fn longest_ipv6(&self, address: Ipv6Addr) -> Option<&Entry> {
        self.covering_ipv6(address.into()).next()
    }

    /// Whether `pair` may be added: an entry with the same IPv4 or the same IPv6 prefix excludes it.
    ///
    /// # Errors
    /// One sentence that names the entry in the way.
    pub fn admit(&self, pair: &Pair) -> Result<(), String> {
        match (self.get_ipv4(pair.ipv4), self.get_ipv6(pair.ipv6)) {
            (Some(entry), _) if entry.pair == *pair => Err(format!("this entry is there already: {entry}")),
            (Some(entry), _) => Err(format!("another entry has the IPv4 prefix {}: {entry}", short4(pair.ipv4))),
            (_, Some(entry)) => Err(format!("another entry has the IPv6 prefix {}: {entry}", short6(pair.ipv6))),
            (None, None) => Ok(()),
        }
    }

    /// All entries at once, faster than one by one.
    ///
    /// # Errors
    /// Two have the same prefix: one sentence that names both.
    pub fn from_entries(entries: Vec<Entry>) -> Result<Self, String> {
        let count = entries.len();
        // The same memory: nothing is copied.
        let mut entries: Vec<ByIpv4> = entries.into_iter().map(ByIpv4).collect();
        entries.sort_unstable();
        let mut table = Self::default();
        for ByIpv4(entry) in &entries {
            table.lens4.0[usize::from(entry.pair.ipv4.prefix_len())] += 1;
            table.lens6.0[usize::from(entry.pair.ipv6.prefix_len())] += 1;
        }
        if entries.array_windows().any(|[one, two]| one == two) {
            return Self::one_by_one(entries.into_iter().map(|ByIpv4(entry)| entry));
        }
        let pairs: Vec<_> = entries.iter().map(|ByIpv4(entry)| (entry.pair.ipv6, entry.pair.ipv4)).collect();
        (table.by_ipv4, table.by_ipv6) = thread::scope(|scope| {
            let ipv6 = scope.spawn(|| pairs.into_iter().collect());
            (entries.into_iter().collect(), ipv6.join().expect("the other half does not panic"))
        });
        if table.by_ipv6.len() == count { Ok(table) } else { Self::one_by_one(table.into_entries()) }
    }

    /// As [`Self::from_entries`], to name two that have the same prefix.
    fn one_by_one(entries: impl IntoIterator<Item = Entry>) -> Result<Self, String> {
        let mut table = Self::default();
        entries.into_iter().try_for_each(|entry| table.insert(entry))?;
        Ok(table)
    }

    /// Whether one prefix can lie within another: not when all have one length.
    #[must_use]
    pub fn can_overlap(&self) -> bool {
        self.lens4.different() > 1 || self.lens6.different() > 1
    }

    /// Gives an entry another comment, and the old one back.
    pub fn set_comment(&mut self, pair: &Pair, comment: Comment) -> Option<Comment> {
        let old = self.get_ipv4(pair.ipv4).filter(|entry| entry.pair == *pair)?;
        let entry = Entry { comment, ..old.clone() };
        self.by_ipv4.replace(ByIpv4(entry)).map(|ByIpv4(old)| old.comment)
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// As [`Self::admit`]; nothing is changed.
    pub fn insert(&mut self, entry: Entry) -> Result<(), String> {
        self.admit(&entry.pair)?;
        self.lens4.0[usize::from(entry.pair.ipv4.prefix_len())] += 1;
        self.lens6.0[usize::from(entry.pair.ipv6.prefix_len())] += 1;
        self.by_ipv6.insert(entry.pair.ipv6, entry.pair.ipv4);
        self.by_ipv4.insert(ByIpv4(entry));
        Ok(())
    }

    /// Removes the entry with exactly these prefixes.
    pub fn remove(&mut self, pair: &Pair) -> Option<Entry> {
        if self.get_ipv4(pair.ipv4)?.pair != *pair {
            return None;
        }
        self.lens4.0[usize::from(pair.ipv4.prefix_len())] -= 1;
        self.lens6.0[usize::from(pair.ipv6.prefix_len())] -= 1;
        self.by_ipv6.remove(&pair.ipv6);
        self.by_ipv4.take(&pair.ipv4).map(|ByIpv4(entry)| entry)
    }

    /// How many overlaps of one entry are worth telling.
    pub const MOST_OVERLAPS: usize = 3;

    /// The overlaps with other entries, each as one sentence with both entries: where one makes a mapping asymmetric (RFC 7757 5) with
    /// an address that does not come back as itself. At most `most` sentences.
    #[must_use]
    pub fn overlaps(&self, pair: &Pair, most: usize) -> Vec<String> {
        self.overlapping(pair, most).into_iter().map(|(entry, example)| overlap(pair, entry, example)).collect()
    }

    /// The overlaps of several entries that are in the table, each told once, however many of its two entries are asked for: at most
    /// [`Self::MOST_OVERLAPS`] of an entry and `most` in all.
    #[must_use]
    pub fn overlaps_of<'pairs>(&self, pairs: impl Iterator<Item = &'pairs Pair>, most: usize) -> Vec<String> {
        let mut told: HashSet<(Pair, Pair)> = HashSet::new();
        let mut found = Vec::new();
        for pair in pairs {
            for (entry, example) in self.overlapping(pair, Self::MOST_OVERLAPS) {
                if found.len() == most {
                    return found;
                }
                if !told.contains(&(entry.pair, *pair)) && told.insert((*pair, entry.pair)) {
                    found.push(overlap(pair, entry, example));
                }
            }
        }
        found
    }

    /// The entries that a pair overlaps, with an example of where that makes a mapping asymmetric.
    fn overlapping(&self, pair: &Pair, most: usize) -> Vec<(&Entry, Option<String>)> {
        let above = self.covering_ipv4(pair.ipv4).chain(self.covering_ipv6(pair.ipv6));
        let (last4, last6) = (Ipv4Net::from(pair.ipv4.broadcast()), Ipv6Net::from(pair.ipv6.broadcast()));
        let below4 = self.by_ipv4.range(pair.ipv4..=last4).map(|ByIpv4(entry)| entry);
        let below6 = self.by_ipv6.range(pair.ipv6..=last6).filter_map(|(_, ipv4)| self.get_ipv4(*ipv4));
        let wider = above.map(|entry| (entry, asymmetry(&entry.pair, pair)));
        let narrower = below4.chain(below6).map(|entry| (entry, asymmetry(pair, &entry.pair)));
        let mut found: Vec<(&Entry, Option<String>)> = Vec::new();
        for (entry, example) in wider.chain(narrower).filter(|(entry, _)| entry.pair != *pair) {
            match found.iter().position(|(other, _)| other.pair == entry.pair) {
                Some(index) => found[index].1 = found[index].1.take().or(example),
                None if found.len() == most => break,
                None => found.push((entry, example)),
            }
        }
        found
    }
}

/// The sentence on an overlap.
fn overlap(pair: &Pair, entry: &Entry, example: Option<String>) -> String {
    let what = match example {
        Some(example) => format!("{example} (RFC 7757 section 5)"),
        None => "where they overlap, the longer prefix counts (RFC 7757 section 3.3)".to_owned(),
    };
    format!("{pair} overlaps the entry {entry}: {what}")
}

/// An address that the pair of the wider prefix translates one way and the pair of the narrower prefix, being the longer
/// match, translates back to something else.
fn asymmetry(wide: &Pair, narrow: &Pair) -> Option<String> {
    if wide.ipv4.contains(&narrow.ipv4) {
        for through in [narrow.ipv4.network(), narrow.ipv4.broadcast()] {
            let (from, back) = (wide.to_ipv6(through), narrow.to_ipv6(through));
            let by_wide = !narrow.ipv6.contains(&from) || wide.ipv6.prefix_len() > narrow.ipv6.prefix_len();
            if from != back && by_wide {
                return Some(format!("{from} becomes {through}, which comes back as {back}"));
            }
        }
    }
    if wide.ipv6.contains(&narrow.ipv6) {
        for through in [narrow.ipv6.network(), narrow.ipv6.broadcast()] {
            let (from, back) = (wide.to_ipv4(through), narrow.to_ipv4(through));
            let by_wide = !narrow.ipv4.contains(&from) || wide.ipv4.prefix_len() > narrow.ipv4.prefix_len();
            if from != back && wide.to_ipv6(from) == through && by_wide {
                return Some(format!("{from} becomes {through}, which comes back as {back}"));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eam::{Origin, parse_ipv4, parse_ipv6};

    fn pair(ipv4: &str, ipv6: &str) -> Pair {
        Pair::new(parse_ipv4(ipv4).unwrap(), parse_ipv6(ipv6).unwrap()).unwrap()
    }

    fn entry(ipv4: &str, ipv6: &str) -> Entry {
        Entry { pair: pair(ipv4, ipv6), comment: Comment::default(), origin: Origin::Dynamic }
    }

    #[test]
    fn refuses_identical_prefixes_and_names_the_entry() {
        let mut table = Table::default();
        table.insert(entry("198.51.100.8", "2001:db8::1")).unwrap();
        assert_eq!(
            table.insert(entry("198.51.100.8", "2001:db8::1")).unwrap_err(),
            "this entry is there already: 198.51.100.8 ↔ 2001:db8::1"
        );
        assert_eq!(
            table.insert(entry("198.51.100.9", "2001:db8::1")).unwrap_err(),
            "another entry has the IPv6 prefix 2001:db8::1: 198.51.100.8 ↔ 2001:db8::1"
        );
        assert_eq!(
            table.insert(entry("198.51.100.8", "2001:db8::2")).unwrap_err(),
            "another entry has the IPv4 prefix 198.51.100.8: 198.51.100.8 ↔ 2001:db8::1"
        );
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn goes_around_from_behind_an_entry() {
        let mut table = Table::default();
        for number in 1..=3 {
            table.insert(entry(&format!("192.0.2.{number}"), &format!("2001:db8::{number}"))).unwrap();
        }
        let order = |behind: Option<&str>| -> Vec<String> {
            let entries = table.iter_behind(behind.map(|text| parse_ipv4(text).unwrap()));
            entries.map(|entry| entry.pair.ipv4().network().to_string()).collect()
        };
        let [one, two, three] = ["192.0.2.1", "192.0.2.2", "192.0.2.3"];
        assert_eq!(order(None), [one, two, three]);
        assert_eq!(order(Some(one)), [two, three, one]);
        assert_eq!(order(Some(three)), [one, two, three]);
        // One that is not there any more.
        assert_eq!(order(Some("192.0.2.2/31")), [two, three, one]);
    }

    #[test]
    fn warns_of_the_asymmetry_of_rfc_7757_figure_2() {
        let mut table = Table::default();
        table.insert(entry("0.0.0.0/0", "2001:db8:ff00::/40")).unwrap();
        let narrow = pair("198.51.100.64", "2001:db8::abcd");
        let expected = "198.51.100.64 ↔ 2001:db8::abcd overlaps the entry 0.0.0.0/0 ↔ 2001:db8:ff00::/40: \
             2001:db8:ffc6:3364:4000:: becomes 198.51.100.64, which comes back as 2001:db8::abcd (RFC 7757 section 5)";
        assert_eq!(table.overlaps(&narrow, 10), [expected]);

        let mut table = Table::default();
        table.insert(entry("198.51.100.64", "2001:db8::abcd")).unwrap();
        let wide = pair("0.0.0.0/0", "2001:db8:ff00::/40");
        assert_eq!(table.overlaps(&wide, 10).len(), 1);
    }

    #[test]
    fn warns_of_overlapping_ipv6_prefixes() {
        let mut table = Table::default();
        table.insert(entry("192.0.2.0/24", "2001:db8::/120")).unwrap();
        let warnings = table.overlaps(&pair("198.51.100.1", "2001:db8::5"), 10);
        assert_eq!(
            warnings,
            ["198.51.100.1 ↔ 2001:db8::5 overlaps the entry 192.0.2.0/24 ↔ 2001:db8::/120: \
             192.0.2.5 becomes 2001:db8::5, which comes back as 198.51.100.1 (RFC 7757 section 5)"]
        );
    }

    #[test]
    fn says_of_an_overlap_that_changes_nothing_which_entry_counts() {
        let mut table = Table::default();
        table.insert(entry("192.0.2.0/24", "2001:db8::/120")).unwrap();
        assert_eq!(
            table.overlaps(&pair("192.0.2.5", "2001:db8::5"), 10),
            ["192.0.2.5 ↔ 2001:db8::5 overlaps the entry 192.0.2.0/24 ↔ 2001:db8::/120: \
             where they overlap, the longer prefix counts (RFC 7757 section 3.3)"]
        );
        assert_eq!(table.overlaps(&pair("192.0.2.0/28", "2001:db8::/124"), 10).len(), 1);
        assert!(table.overlaps(&pair("192.0.3.5", "2001:db8::100"), 10).is_empty());
    }

    #[test]
    fn warns_where_the_narrower_ipv4_prefix_has_the_wider_ipv6_prefix() {
        let mut table = Table::default();
        table.insert(entry("192.0.2.0/24", "2001:db8::/120")).unwrap();
        assert_eq!(
            table.overlaps(&pair("192.0.2.16/28", "2001:db8::/64"), 1),
            ["192.0.2.16/28 ↔ 2001:db8::/64 overlaps the entry 192.0.2.0/24 ↔ 2001:db8::/120: \
             2001:db8::10 becomes 192.0.2.16, which comes back as 2001:db8:: (RFC 7757 section 5)"]
        );
    }

    #[test]
    fn tells_an_overlap_of_two_entries_once() {
        let mut table = Table::default();
        for (ipv4, ipv6) in [
            ("192.0.2.0/24", "2001:db8::/120"),
            ("192.0.2.5", "2001:db8:1::5"),
            ("192.0.2.6", "2001:db8::6"),
            // One prefix is within the other entry's, the other around it.
            ("198.51.100.0/24", "2001:db8:2::/120"),
            ("198.51.100.16/28", "2001:db8:2::/64"),
        ] {
            table.insert(entry(ipv4, ipv6)).unwrap();
        }
        let pairs: Vec<Pair> = table.iter().map(|entry| entry.pair).collect();
        let told = table.overlaps_of(pairs.iter(), 100);
        assert_eq!(told.len(), 3, "{told:#?}");
        assert_eq!(table.overlaps_of(pairs.iter().rev(), 100).len(), 3);
        assert_eq!(table.overlaps_of(pairs[1..2].iter(), 100).len(), 1);
        assert_eq!(table.overlaps_of(pairs.iter(), 2).len(), 2);
    }

    #[test]
    fn finds_the_longest_match_in_either_family() {
        let mut table = Table::default();
        table.insert(entry("192.0.2.0/24", "2001:db8::/120")).unwrap();
        table.insert(entry("192.0.2.5", "2001:db8:1::5")).unwrap();
        assert_eq!(table.longest_ipv4("192.0.2.5".parse().unwrap()).unwrap().pair, pair("192.0.2.5", "2001:db8:1::5"));
        let wide = pair("192.0.2.0/24", "2001:db8::/120");
        assert_eq!(table.longest_ipv4("192.0.2.6".parse().unwrap()).unwrap().pair, wide);
        assert_eq!(table.longest_ipv6("2001:db8::6".parse().unwrap()).unwrap().pair, wide);
        assert!(table.longest_ipv6("2001:db8::1:0".parse().unwrap()).is_none());
        assert!(table.remove(&pair("192.0.2.5", "2001:db8:1::6")).is_none());
        assert!(table.remove(&pair("192.0.2.5", "2001:db8:1::5")).is_some());
        assert_eq!(table.longest_ipv4("192.0.2.5".parse().unwrap()).unwrap().pair, wide);
    }
}
