//! The tables against a naive model, and under the eyes of readers on other threads.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashSet},
    mem::offset_of,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Acquire, Relaxed, SeqCst},
        },
    },
    thread,
};

use ipnet::{Ipv4Net, Ipv6Net};
use proptest::prelude::*;
use xlat_common::{
    account,
    address::Ipv6,
    table::{Bucket, Entry, Found, LEN4_MASK, Lengths, TableHeader, Tables, known_bit, probe4, probe6, shorter_bit},
};

use super::{super::TableInput, *};

const SEED: u64 = 0x1234_5678_9abc_def1;

#[derive(Clone)]
struct Shared(Arc<[AtomicU64]>);

impl Shared {
    fn new(bytes: usize) -> Self {
        Self((0..bytes / 8).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Memory for Shared {
    fn words(&self) -> &[AtomicU64] {
        &self.0
    }
}

/// What a program on another CPU sees.
#[derive(Clone)]
struct Reader {
    ipv4: Shared,
    ipv6: Shared,
    header: Shared,
    mask: u32,
    /// Buckets as they were when they were looked at.
    seen: Arena,
}

#[derive(Default)]
#[expect(clippy::vec_box, reason = "references into it outlive the vector's moves")]
struct Arena(RefCell<Vec<Box<Bucket>>>);

impl Clone for Arena {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Reader {
    fn bucket(&self, memory: &Shared, index: u32) -> Option<&Bucket> {
        let words = memory.0.get(index as usize * 8..)?.get(..8)?;
        let mut copy = [0_u64; 8];
        // In the order in which the program reads: the first word of an entry says whether the rest counts.
        for (to, from) in copy.iter_mut().zip(words) {
            *to = from.load(Acquire);
        }
        // SAFETY: a bucket is eight words, all bit patterns of which are valid.
        let bucket = Box::new(unsafe { std::mem::transmute::<[u64; 8], Bucket>(copy) });
        let place: *const Bucket = &raw const *bucket;
        self.seen.0.borrow_mut().push(bucket);
        // SAFETY: the box lives in `seen`, which is only emptied through `&mut self`.
        Some(unsafe { &*place })
    }

    /// The lengths in force.
    fn lengths(&self) -> Lengths {
        let active = self.header.0[0].load(Acquire) as u32 & 1;
        let start = offset_of!(TableHeader, lengths) / 8 + active as usize * (size_of::<Lengths>() / 8);
        let mut copy = [0_u64; size_of::<Lengths>() / 8];
        for (to, from) in copy.iter_mut().zip(&self.header.0[start..]) {
            *to = from.load(Acquire);
        }
        // SAFETY: integers only, all bit patterns of which are valid.
        unsafe { std::mem::transmute(copy) }
    }

    /// Whether the /16 with this word and bit has anything. `offset`: of the field of the record beside the tables.
    fn has(&self, offset: usize, (word, bit): (usize, u64)) -> bool {
        self.header.0[offset / 8 + word].load(Acquire) & bit != 0
    }

    fn find4(&mut self, address: u32) -> Option<Entry> {
        self.seen.0.borrow_mut().clear();
        if !self.has(offset_of!(TableHeader, ipv4_known), known_bit(address)) {
            return None;
        }
        let lengths = self.lengths();
        let shorter = lengths.ipv4[..lengths.ipv4_count as usize].iter().map(|len| u32::from(*len));
        let all = [32].into_iter().chain(shorter);
        all.map(|len| probe4(self, address, len, self.mask, SEED)).find(Found::is_entry).map(|found| found.entry())
    }

    fn find6(&mut self, address: Ipv6) -> Option<Entry> {
        self.seen.0.borrow_mut().clear();
        let own = probe6(self, address, 128, self.mask, SEED);
        if own.is_entry() {
            return Some(own.entry());
        }
        if !self.has(offset_of!(TableHeader, ipv6_shorter), shorter_bit(address)) {
            return None;
        }
        let lengths = self.lengths();
        let mut shorter = lengths.ipv6[..lengths.ipv6_count as usize].iter().map(|len| u32::from(*len));
        let found = shorter.find_map(|len| Some(probe6(self, address, len, self.mask, SEED)).filter(Found::is_entry));
        found.map(|found| found.entry())
    }
}

impl Tables for Reader {
    fn bucket4(&self, index: u32) -> Option<&Bucket> {
        self.bucket(&self.ipv4, index)
    }

    fn bucket6(&self, index: u32) -> Option<&Bucket> {
        self.bucket(&self.ipv6, index)
    }
}

fn table(buckets: u32, prefixes: &[&str], well_known: bool) -> (Table<Shared>, Reader) {
    let bucket_bytes = size_of::<Bucket>() * buckets as usize;
    let (ipv4, ipv6) = (Shared::new(bucket_bytes), Shared::new(bucket_bytes));
    let header = Shared::new(size_of::<TableHeader>());
    let prefixes = prefixes.iter().map(|text| text.parse().unwrap()).collect();
    let reader = Reader {
        ipv4: ipv4.clone(),
        ipv6: ipv6.clone(),
        header: header.clone(),
        mask: buckets - 1,
        seen: Arena::default(),
    };
    (Table::new((ipv4, ipv6), header, SEED, prefixes, well_known, 1 << 20), reader)
}

fn grace() -> Grace {
    let mut grace = Grace::new(|| {});
    grace.set_readers(true);
    grace
}

fn eam_of(ipv4: &str, ipv6: &str) -> Eam {
    Eam { ipv4: ipv4.parse().unwrap(), ipv6: ipv6.parse().unwrap(), prefix: None }
}

fn input(eams: &[Eam]) -> TableInput {
    TableInput { eams: eams.to_vec(), deny4: Vec::new(), deny6: Vec::new() }
}

/// The lists, looked through from end to end for every question.
#[derive(Clone, Default)]
struct Model {
    eams: Vec<Eam>,
    deny4: Vec<Ipv4Net>,
    deny6: Vec<Ipv6Net>,
    own: HashSet<IpAddr>,
    well_known: bool,
}

impl Model {
    /// Flags and EAM of an IPv4 address; the EAM as the entry has it.
    fn ipv4(&self, address: Ipv4Addr) -> (u8, Option<Eam>) {
        let illegal = ["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4"];
        let non_global = [
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
        ];
        let within = |nets: &[&str]| nets.iter().any(|net| net.parse::<Ipv4Net>().unwrap().contains(&address));
        let mut flags = 0;
        flags |= if within(&illegal) { Entry::ILLEGAL } else { 0 };
        flags |= if self.well_known && within(&non_global) { Entry::NON_GLOBAL } else { 0 };
        flags |= if self.deny4.iter().any(|net| net.contains(&address)) { Entry::DENIED } else { 0 };
        flags |= if self.own.contains(&address.into()) { Entry::OWN } else { 0 };
        let eam = self.eams.iter().filter(|eam| eam.ipv4.contains(&address)).max_by_key(|eam| eam.ipv4.prefix_len());
        (flags, eam.copied())
    }

    fn ipv6(&self, address: Ipv6Addr) -> (u8, Option<Eam>) {
        let illegal = ["::/128", "::1/128", "fe80::/10", "ff00::/8"];
        let mut flags = 0;
        if illegal.iter().any(|net| net.parse::<Ipv6Net>().unwrap().contains(&address)) {
            flags |= Entry::ILLEGAL;
        }
        flags |= if self.deny6.iter().any(|net| net.contains(&address)) { Entry::DENIED } else { 0 };
        flags |= if self.own.contains(&address.into()) { Entry::OWN } else { 0 };
        let eam = self.eams.iter().filter(|eam| eam.ipv6.contains(&address)).max_by_key(|eam| eam.ipv6.prefix_len());
        (flags, eam.copied())
    }

    fn clashes(&self, eam: &Eam) -> bool {
        self.eams.iter().any(|there| there.ipv4 == eam.ipv4 || there.ipv6 == eam.ipv6)
    }

    fn input(&self) -> TableInput {
        TableInput { eams: self.eams.clone(), deny4: self.deny4.clone(), deny6: self.deny6.clone() }
    }
}

fn said4(entry: Option<Entry>) -> (u8, Option<Eam>) {
    entry.map_or((0, None), |entry| {
        let content = V4::content(&entry);
        (content.flags, content.rule.and_then(eam))
    })
}

fn said6(entry: Option<Entry>) -> (u8, Option<Eam>) {
    entry.map_or((0, None), |entry| {
        let content = V6::content(&entry);
        (content.flags, content.rule.and_then(eam))
    })
}

/// Compares everything at the edges of everything.
fn compare(model: &Model, table: &Table<Shared>, reader: &mut Reader) {
    let mut addresses4: Vec<u32> = vec![0, 0x0808_0808, 0x7f00_0001, 0xa9fe_0101, 0xe000_0001, u32::MAX, 0x0a01_0203];
    let mut addresses6: Vec<u128> = vec![0, 1, 2, 0xfe80 << 112, 0xff02 << 112, 0x2001_0db8 << 96];
    for net in model.eams.iter().map(|eam| eam.ipv4).chain(model.deny4.iter().copied()) {
        let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
        addresses4.extend([first, last, first.wrapping_sub(1), last.wrapping_add(1), first | ((last - first) / 2)]);
    }
    for net in model.eams.iter().map(|eam| eam.ipv6).chain(model.deny6.iter().copied()) {
        let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
        addresses6.extend([first, last, first.wrapping_sub(1), last.wrapping_add(1), first | ((last - first) / 2)]);
    }
    for address in &model.own {
        match address {
            IpAddr::V4(address) => addresses4.push(address.to_bits()),
            IpAddr::V6(address) => addresses6.push(address.to_bits()),
        }
    }
    let is_refused =
        |(flags, eam): (u8, Option<Eam>)| eam.is_some() && flags & (Entry::OWN | Entry::DENIED | Entry::ILLEGAL) != 0;
    // Of two prefixes of which one lies in the other, the first address of the inner one is in both.
    let refused4 = addresses4.iter().any(|address| is_refused(model.ipv4((*address).into())));
    let refused6 = addresses6.iter().any(|address| is_refused(model.ipv6((*address).into())));
    let bits = reader.header.0[offset_of!(TableHeader, refused_by_eam) / 8].load(Acquire);
    assert_eq!((bits & TableHeader::REFUSED4 != 0, bits & TableHeader::REFUSED6 != 0), (refused4, refused6));
    for address in addresses4 {
        let expected = model.ipv4(address.into());
        assert_eq!(said4(reader.find4(address)), expected, "{}", Ipv4Addr::from(address));
        let known = table.lookup(Ipv4Addr::from(address).into());
        assert_eq!((known.flags & !Entry::EAM, known.eam), expected);
    }
    for address in addresses6 {
        let address = Ipv6Addr::from(address);
        let expected = model.ipv6(address);
        assert_eq!(said6(reader.find6(address.into())), expected, "{address}");
        let known = table.lookup(address.into());
        assert_eq!((known.flags & !Entry::EAM, known.eam), expected);
    }
}

#[derive(Clone, Debug)]
enum Change {
    Insert(Eam),
    Remove(prop::sample::Index),
    Own(Vec<IpAddr>),
    Replace(Vec<Eam>, Vec<Ipv4Net>, Vec<Ipv6Net>),
}

/// Few distinct bits, so that prefixes lie in each other.
fn net4() -> impl Strategy<Value = Ipv4Net> {
    let len = prop_oneof![5 => Just(32_u8), 3 => 20_u8..32, 1 => 0_u8..20];
    (0_u32..64, len).prop_map(|(bits, len)| Ipv4Net::new((0xc000_0000 | (bits * 0x101)).into(), len).unwrap().trunc())
}

fn net6(shortest: u8) -> impl Strategy<Value = Ipv6Net> {
    let len = prop_oneof![5 => Just(128_u8), 3 => 96_u8..128, 1 => 0_u8..96];
    (0_u128..64, len).prop_map(move |(bits, len)| {
        Ipv6Net::new(((0x2001_0db8 << 96) | (bits * 0x101)).into(), len.max(shortest)).unwrap().trunc()
    })
}

fn any_eam() -> impl Strategy<Value = Eam> {
    let prefix = prop_oneof![Just(None), (0_u8..7).prop_map(Some)];
    (net4(), net6(0), prefix)
        .prop_filter("the IPv4 suffix is no longer than the IPv6 suffix", |(ipv4, ipv6, _)| {
            32 - ipv4.prefix_len() <= 128 - ipv6.prefix_len()
        })
        .prop_map(|(ipv4, ipv6, prefix)| Eam { ipv4, ipv6, prefix })
}

fn own() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (0_u32..64).prop_map(|bits| Ipv4Addr::from(0xc000_0000 | (bits * 0x101)).into()),
        (0_u128..64).prop_map(|bits| Ipv6Addr::from((0x2001_0db8 << 96) | (bits * 0x101)).into()),
        Just(Ipv4Addr::LOCALHOST.into()),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let lists = (
        prop::collection::vec(any_eam(), 0..12),
        prop::collection::vec(net4(), 0..3),
        prop::collection::vec(net6(8), 0..3),
    );
    prop_oneof![
        6 => any_eam().prop_map(Change::Insert),
        4 => any::<prop::sample::Index>().prop_map(Change::Remove),
        1 => prop::collection::vec(own(), 0..4).prop_map(Change::Own),
        1 => lists.prop_map(|(eams, deny4, deny6)| Change::Replace(eams, deny4, deny6)),
    ]
}

fn without_clashes(eams: Vec<Eam>) -> Vec<Eam> {
    let mut model = Model::default();
    for eam in eams {
        if !model.clashes(&eam) {
            model.eams.push(eam);
        }
    }
    model.eams
}

fn perform(change: Change, model: &mut Model, table: &mut Table<Shared>, grace: &mut Grace) {
    match change {
        Change::Insert(eam) => {
            let clash = model.clashes(&eam);
            match table.insert(&eam, grace) {
                Ok(()) => {
                    assert!(!clash, "{eam:?} was taken");
                    model.eams.push(eam);
                }
                Err(error) => assert!(clash || matches!(error, TableError::Full { .. }), "{error}"),
            }
        }
        Change::Remove(_) if model.eams.is_empty() => {
            assert!(table.remove(&eam_of("192.0.2.1/32", "2001:db8::9/128"), grace).is_err());
        }
        Change::Remove(index) => {
            let eam = model.eams.remove(index.index(model.eams.len()));
            table.remove(&eam, grace).unwrap();
            assert!(table.remove(&eam, grace).is_err());
        }
        Change::Own(own) => {
            let own: HashSet<IpAddr> = own.into_iter().collect();
            table.set_own(own.clone(), grace).unwrap();
            model.own = own;
        }
        Change::Replace(eams, deny4, deny6) => {
            let next = Model { eams: without_clashes(eams), deny4, deny6, ..model.clone() };
            table.replace(&next.input(), next.own.clone(), grace).unwrap();
            *model = next;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_copy_with_changes_says_what_the_lists_say(
        before in prop::collection::vec(change(), 1..20),
        removed in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
        added in prop::collection::vec(any_eam(), 0..3),
        after in prop::collection::vec(change(), 0..10),
    ) {
        let (mut old, mut old_reader) = table(256, &["2001:db8:6464::/96", "64:ff9b::/96"], true);
        let mut model = Model { well_known: true, ..Model::default() };
        let mut grace = grace();
        old.replace(&model.input(), HashSet::new(), &mut grace).unwrap();
        for change in before {
            perform(change, &mut model, &mut old, &mut grace);
        }
        let old_model = model.clone();
        let mut removed_eams = Vec::new();
        for index in removed {
            if !model.eams.is_empty() {
                removed_eams.push(model.eams.remove(index.index(model.eams.len())));
            }
        }
        let added: Vec<Eam> = without_clashes(added).into_iter().filter(|eam| !model.clashes(eam)).collect();
        model.eams.extend(&added);
        // The program's own in the entries of the old table.
        for word in old.ipv4.words().iter().chain(old.ipv6.words()).skip(3).step_by(4) {
            word.fetch_or(!account::MASK, Relaxed);
        }
        let (mut new, mut reader) = table(256, &["2001:db8:6464::/96", "64:ff9b::/96"], true);
        let mut unread = Grace::new(|| {});
        prop_assert!(new.copy(&old, &removed_eams, &added, &mut unread).unwrap());
        let mut next_hops = new.ipv4.words().iter().chain(new.ipv6.words()).skip(3).step_by(4);
        prop_assert!(next_hops.all(|word| word.load(Relaxed) & !account::MASK == 0));
        compare(&model, &new, &mut reader);
        compare(&old_model, &old, &mut old_reader);
        let accounts: Vec<u32> = model.eams.iter().map(|eam| new.account(eam)).collect();
        prop_assert!(!accounts.contains(&0) && accounts.iter().collect::<HashSet<_>>().len() == accounts.len());
        for change in after {
            perform(change, &mut model, &mut new, &mut grace);
            compare(&model, &new, &mut reader);
        }
    }

    #[test]
    fn says_what_the_lists_say(changes in prop::collection::vec(change(), 1..40), well_known: bool, filled: bool) {
        let (mut table, mut reader) = table(256, &["2001:db8:6464::/96", "64:ff9b::/96"], well_known);
        let mut model = Model { well_known, ..Model::default() };
        let mut grace = grace();
        if filled {
            table.replace(&model.input(), HashSet::new(), &mut grace).unwrap();
        }
        for change in changes {
            perform(change, &mut model, &mut table, &mut grace);
            if filled || table.ipv4.find(Key { address: 0, len: 8 }).is_some() {
                compare(&model, &table, &mut reader);
            }
        }
    }
}

#[test]
fn a_table_is_full_before_anything_is_changed() {
    let (mut table, mut reader) = table(64, &[], false);
    let mut grace = grace();
    let mut model = Model::default();
    table.replace(&model.input(), HashSet::new(), &mut grace).unwrap();
    let mut refused = 0;
    for number in 0..300_u32 {
        let eam = Eam {
            ipv4: Ipv4Addr::from(0xc000_0000 + number).into(),
            ipv6: Ipv6Addr::from(0x2001_0db8 << 96 | u128::from(number)).into(),
            prefix: None,
        };
        match table.insert(&eam, &mut grace) {
            Ok(()) => model.eams.push(eam),
            Err(TableError::Full { capacity, .. }) => {
                assert_eq!(capacity, 102);
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused > 190 && model.eams.len() > 90, "{} entries in, {refused} refused", model.eams.len());
    compare(&model, &table, &mut reader);

    let mut larger = model.clone();
    larger.eams.extend((0..100).map(|number| Eam {
        ipv4: Ipv4Addr::from(0xc100_0000 + number).into(),
        ipv6: Ipv6Addr::from(0x2001_0db9 << 96 | u128::from(number)).into(),
        prefix: None,
    }));
    assert!(table.replace(&larger.input(), HashSet::new(), &mut grace).is_err());
    compare(&model, &table, &mut reader);

    // Every target changes at once in a table that has hardly a free place.
    for eam in &mut model.eams {
        eam.ipv6 = Ipv6Addr::from(eam.ipv6.addr().to_bits() | 1 << 64).into();
    }
    table.replace(&model.input(), HashSet::new(), &mut grace).unwrap();
    compare(&model, &table, &mut reader);

    for eam in std::mem::take(&mut model.eams) {
        table.remove(&eam, &mut grace).unwrap();
    }
    compare(&model, &table, &mut reader);
    assert_eq!((table.ipv4.len(), table.ipv6.len()), (5, 4));
}

#[test]
fn only_what_is_alike_is_copied() {
    let (mut old, _) = table(64, &[], false);
    let mut grace = Grace::new(|| {});
    let eams = [eam_of("192.0.2.1/32", "2001:db8::1/128"), eam_of("192.0.2.2/32", "2001:db8::2/128")];
    old.replace(&input(&eams[..1]), HashSet::new(), &mut grace).unwrap();
    let (mut larger, _) = table(128, &[], false);
    assert!(!larger.copy(&old, &[], &[], &mut grace).unwrap());
    let (mut filled, _) = table(64, &[], false);
    filled.replace(&input(&eams), HashSet::new(), &mut grace).unwrap();
    assert!(!filled.copy(&old, &[], &[], &mut grace).unwrap());
    let (mut other, _) = table(64, &[], false);
    assert!(matches!(other.copy(&old, &eams[1..], &[], &mut grace), Err(TableError::Missing { .. })));
    // What a failed copy leaves can be made right.
    other.replace(&input(&eams[1..]), HashSet::new(), &mut grace).unwrap();
    assert_eq!(other.lookup(IpAddr::from([192, 0, 2, 1])).eam, None);
    assert_eq!(other.lookup(IpAddr::from([192, 0, 2, 2])).eam, Some(eams[1]));
}

#[test]
fn few_single_addresses_are_worth_copying() {
    let (mut table, _) = table(1024, &[], false);
    let single = |number: u32| Eam {
        ipv4: Ipv4Addr::from(0xc000_0000 + number).into(),
        ipv6: Ipv6Addr::from(0x2001_0db8 << 96 | u128::from(number)).into(),
        prefix: None,
    };
    let eams: Vec<Eam> = (0..800).map(single).collect();
    table.replace(&input(&eams), HashSet::new(), &mut Grace::new(|| {})).unwrap();
    assert!(table.is_worth_copying(&eams[..50], &eams[..50]));
    assert!(!table.is_worth_copying(&eams[..100], &eams[..100]));
    let wide = [eam_of("10.0.0.0/8", "2001:db8::/64"); 9];
    assert!(table.is_worth_copying(&wide[..4], &wide[..4]));
    assert!(!table.is_worth_copying(&wide, &[]));
}

#[test]
fn refuses_two_eams_with_one_prefix() {
    let (mut table, _) = table(64, &[], false);
    let mut grace = grace();
    let eams = [eam_of("192.0.2.1/32", "2001:db8::1/128"), eam_of("192.0.2.1/32", "2001:db8::2/128")];
    assert!(matches!(table.replace(&input(&eams), HashSet::new(), &mut grace), Err(TableError::Twice { .. })));
    assert_eq!(table.ipv4.len() + table.ipv6.len(), 0);
    table.replace(&input(&eams[..1]), HashSet::new(), &mut grace).unwrap();
    assert!(matches!(table.insert(&eams[1], &mut grace), Err(TableError::Twice { .. })));
    assert!(matches!(table.remove(&eams[1], &mut grace), Err(TableError::Missing { .. })));
}

#[test]
fn notes_which_translation_prefixes_hold_entries() {
    let (mut table, reader) = table(64, &["2001:db8:6464::/96", "64:ff9b::/96"], false);
    let mut grace = grace();
    let bits = |reader: &Reader| reader.lengths().prefixes_with_entries;
    let eam = eam_of("192.0.2.1/32", "2001:db8:6464::1/128");
    table.replace(&input(&[]), HashSet::new(), &mut grace).unwrap();
    assert_eq!(bits(&reader), 0);
    table.insert(&eam, &mut grace).unwrap();
    assert_eq!(bits(&reader), 0b01);
    table.set_own(HashSet::from(["64:ff9b::102:304".parse().unwrap()]), &mut grace).unwrap();
    assert_eq!(bits(&reader), 0b11);
    table.remove(&eam, &mut grace).unwrap();
    assert_eq!(bits(&reader), 0b10);
    // A prefix around a translation prefix holds for the addresses inside.
    table.insert(&eam_of("198.51.100.0/24", "2001:db8::/32"), &mut grace).unwrap();
    assert_eq!(bits(&reader), 0b11);
}

/// Readers that can be waited for, as the kernel's can.
#[derive(Clone, Default)]
struct Rounds(Arc<[AtomicU64; 2]>);

impl Rounds {
    fn wait(&self) {
        let before: Vec<u64> = self.0.iter().map(|round| round.load(SeqCst)).collect();
        for (round, before) in self.0.iter().zip(before) {
            // Odd: at work.
            while before % 2 == 1 && round.load(SeqCst) == before {
                thread::yield_now();
            }
        }
    }
}

/// Every address always has a mapping that is right: one that stands still, one whose target changes, and one whose
/// place changes because others come and go.
#[test]
fn readers_never_miss_an_entry_and_never_see_a_mixture() {
    let (mut table, reader) = table(64, &[], false);
    let rounds = Rounds::default();
    let waiting = rounds.clone();
    let mut grace = Grace::new(move || waiting.wait());
    grace.set_readers(true);
    let fixed: Vec<Eam> = (0..40)
        .map(|number| Eam {
            ipv4: Ipv4Addr::from(0xc000_0200 + number).into(),
            ipv6: Ipv6Addr::from(0x2001_0dba << 96 | u128::from(number)).into(),
            prefix: None,
        })
        .collect();
    let target = |number: u32, version: u32| Eam {
        ipv4: Ipv4Addr::from(0xc633_6400 + number).into(),
        ipv6: Ipv6Addr::from(
            0x2001_0db8 << 96 | u128::from(version) << 64 | u128::from(version) << 32 | u128::from(number),
        )
        .into(),
        prefix: Some((version % 7) as u8),
    };
    let changing = |version: u32| (0..10).map(move |number| target(number, version));
    let lists = |version: u32| input(&fixed.iter().copied().chain(changing(version)).collect::<Vec<_>>());
    table.replace(&lists(0), HashSet::new(), &mut grace).unwrap();

    let stop = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..2)
        .map(|number| {
            let (mut reader, rounds, stop, fixed) = (reader.clone(), rounds.clone(), stop.clone(), fixed.clone());
            thread::spawn(move || {
                let mut looks = 0_u64;
                while !stop.load(Relaxed) {
                    rounds.0[number].fetch_add(1, SeqCst);
                    for eam in &fixed {
                        let found = reader.find4(eam.ipv4.addr().to_bits()).expect("an entry is missed");
                        assert_eq!(found.ipv6, Ipv6::from(eam.ipv6.addr()));
                        let found = reader.find6(eam.ipv6.addr().into()).expect("an entry is missed");
                        assert_eq!(found.ipv4, eam.ipv4.addr().to_bits());
                    }
                    for number in 0..10 {
                        let found = reader.find4(0xc633_6400 + number).expect("an entry is missed");
                        let version = found.ipv6.hi as u32;
                        assert_eq!(found.ipv6.lo, u64::from(version) << 32 | u64::from(number), "a mixture");
                        assert_eq!(u32::from(found.flags >> Entry::PREFIX_SHIFT), version % 7, "a mixture");
                        assert_eq!(found.eam_len4 & LEN4_MASK, 32);
                    }
                    rounds.0[number].fetch_add(1, SeqCst);
                    looks += 1;
                }
                looks
            })
        })
        .collect();

    let passing: BTreeMap<u32, Eam> = (0..40)
        .map(|number| {
            let eam = Eam {
                ipv4: Ipv4Addr::from(0xcb00_7100 + number).into(),
                ipv6: Ipv6Addr::from(0x2001_0db9 << 96 | u128::from(number)).into(),
                prefix: None,
            };
            (number, eam)
        })
        .collect();
    for version in 1..=60 {
        for eam in passing.values() {
            // Full now and then: that is part of the trial.
            let _ = table.insert(eam, &mut grace);
        }
        if version % 3 == 0 {
            table.replace(&lists(version), HashSet::new(), &mut grace).unwrap();
        } else {
            for eam in passing.values() {
                let _ = table.remove(eam, &mut grace);
            }
        }
        if version % 10 == 0 {
            // A length that comes and goes makes the readers' list of lengths change under them.
            let wide = eam_of("203.0.0.0/16", "2001:db9:1::/64");
            table.insert(&wide, &mut grace).unwrap();
            table.remove(&wide, &mut grace).unwrap();
        }
    }
    stop.store(true, Relaxed);
    for reader in readers {
        assert!(reader.join().unwrap() > 10);
    }
}

#[test]
fn sizes_the_table_for_the_eams_and_some_more() {
    assert_eq!(buckets_for(1, 0), 1024);
    assert_eq!(buckets_for(1_000_000, 0), 1 << 20);
    assert_eq!(buckets_for(1 << 20, 0), 1 << 20);
}

/// `cargo test --release -p xlat-ctl fills_a_million -- --ignored --nocapture` tells how long it takes.
#[test]
fn fills_a_million() {
    let count: u32 = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };
    let (mut table, mut reader) = table(buckets_for(count, 0), &["2001:db8:6464::/96"], true);
    let mut grace = Grace::new(|| {});
    let eams: Vec<Eam> = (0..count)
        .map(|number| Eam {
            ipv4: Ipv4Addr::from(number.wrapping_mul(0x9e37_79b1)).into(),
            ipv6: Ipv6Addr::from(0x2001_0db8 << 96 | u128::from(number.wrapping_mul(0x85eb_ca6b))).into(),
            prefix: None,
        })
        .collect();
    let lists = input(&eams);
    let start = std::time::Instant::now();
    table.replace(&lists, HashSet::new(), &mut grace).unwrap();
    println!("{count} EAMs filled in in {:?}", start.elapsed());
    grace.set_readers(true);
    let start = std::time::Instant::now();
    table.replace(&lists, HashSet::new(), &mut grace).unwrap();
    println!("{count} EAMs compared in {:?}", start.elapsed());
    let start = std::time::Instant::now();
    table.remove(&eams[7], &mut grace).unwrap();
    table.insert(&eams[7], &mut grace).unwrap();
    println!("one out and in in {:?}", start.elapsed());
    let start = std::time::Instant::now();
    let wide = eam_of("9.9.0.0/16", "2001:db8:1::/64");
    table.insert(&wide, &mut grace).unwrap();
    println!(
        "a prefix with {} inside in {:?}",
        changes::inside(&table.ipv4, V4::key_of(&rule(&wide, 0))).count(),
        start.elapsed()
    );
    table.remove(&wide, &mut grace).unwrap();
    for eam in eams.iter().step_by(97) {
        assert_eq!(said4(reader.find4(eam.ipv4.addr().to_bits())).1, Some(*eam));
        assert_eq!(said6(reader.find6(eam.ipv6.addr().into())).1, Some(*eam));
    }
}
