//! The tables against a naive model, and under the eyes of readers on other threads.

mod model;
mod reader;

use std::{
    collections::{BTreeMap, HashSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
    thread,
};

use proptest::prelude::*;
use xlat_common::{
    account,
    table::{Entry, LEN4_MASK},
};

use super::{super::TableInput, *};

use model::{Model, any_eam, change, compare, perform, said4, said6, without_clashes};
use reader::{Reader, table};

const SEED: u64 = 0x1234_5678_9abc_def1;

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

/// A refused insertion gives no account back that another EAM would get, too.
#[test]
fn an_eam_that_is_there_already_keeps_its_account() {
    let (mut table, _) = table(256, &["2001:db8:6464::/96"], false);
    let mut grace = grace();
    let eam = |last: u8| Eam {
        ipv4: format!("192.0.2.{last}/32").parse().unwrap(),
        ipv6: format!("2001:db8::{last}/128").parse().unwrap(),
        prefix: None,
    };
    table.insert(&eam(1), &mut grace).unwrap();
    table.insert(&eam(1), &mut grace).unwrap_err();
    table.insert(&eam(2), &mut grace).unwrap();
    let accounts = [table.account(&eam(1)), table.account(&eam(2))];
    assert!(!accounts.contains(&0) && accounts[0] != accounts[1], "{accounts:?}");
}

/// What operators do all day is done at once: to wait for readers takes as long as the busiest CPU lets one wait.
#[test]
fn an_eam_that_nothing_forbids_comes_and_goes_without_waiting() {
    let (mut table, _) = table(256, &["2001:db8:6464::/96"], false);
    let mut grace = grace();
    table.insert(&eam_of("192.0.2.1/32", "2001:db8::1/128"), &mut grace).unwrap();
    let waits = grace.passed();
    let second = eam_of("192.0.2.2/32", "2001:db8::2/128");
    table.insert(&second, &mut grace).unwrap();
    table.remove(&second, &mut grace).unwrap();
    assert_eq!(grace.passed(), waits);
    // Readers may still be about to ask for it.
    let own = eam_of("192.0.2.3/32", "2001:db8::3/128");
    table.set_own(HashSet::from([IpAddr::from([192, 0, 2, 3])]), &mut grace).unwrap();
    table.insert(&own, &mut grace).unwrap();
    let waits = grace.passed();
    table.remove(&own, &mut grace).unwrap();
    assert!(grace.passed() > waits);
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
