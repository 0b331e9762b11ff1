//! The real program against the reference translator, a few hundred thousand packets of a fixed seed.

use std::{path::Path, thread, time::Duration};

use xlat_common::counters::{Direction, Protocol, Verdict};
use xlat_tests::{
    fuzz::{Plan, configs, corpus, program::RealProgram, run},
    harness::Relay,
};

fn kept() -> Vec<corpus::Entry> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    corpus::read(&directory).expect("a corpus that can be read")
}

/// A run leaves out what is kept for a relay that it does not have.
#[test]
fn every_packet_that_was_kept_has_its_relay() {
    let names: Vec<&str> = configs::all().iter().map(|relay| relay.name).collect();
    let kept = kept();
    assert!(!kept.is_empty(), "nothing is kept in tests/corpus");
    let lost: Vec<String> = kept.iter().filter(|entry| !names.contains(&&*entry.config)).map(corpus::line).collect();
    assert!(lost.is_empty(), "no relay of these names:\n{}", lost.join("\n"));
}

/// What a kernel sends of itself (MLD reports of interfaces that have come up) would be counted beside a packet under test.
#[test]
fn nothing_moves_that_nobody_has_sent() {
    let mut relay = Relay::load(&configs::all()[0].toml()).unwrap_or_else(|error| panic!("{error:#}"));
    thread::sleep(Duration::from_secs(3));
    let counters = relay.dataplane().counters().expect("the counters");
    let moved: Vec<String> = Direction::ALL
        .into_iter()
        .flat_map(|direction| {
            Protocol::ALL.into_iter().flat_map(move |protocol| {
                Verdict::ALL.into_iter().filter_map(move |verdict| {
                    let cell = counters.traffic(direction, protocol, verdict);
                    (cell.packets > 0).then(|| format!("{direction:?} {protocol:?} {verdict:?}: {cell:?}"))
                })
            })
        })
        .collect();
    assert!(moved.is_empty(), "{moved:?}");
}

#[test]
fn agrees_with_the_reference_translator() {
    let plan = Plan { configs: configs::all(), packets: 300_000, seed: 7915, corpus: kept(), most_disagreements: 5 };
    let report = run(&plan, &mut RealProgram::default(), &mut |_, _, _| {})
        .unwrap_or_else(|error| panic!("the program cannot be run (this test needs root and BPF): {error:#}"));
    let found: Vec<String> = report
        .disagreements
        .iter()
        .map(|found| {
            let line = corpus::line(&found.entry);
            format!("{}: {line}\n  expected {:?}\n  got {:?}", found.difference, found.expected, found.got)
        })
        .collect();
    assert!(found.is_empty(), "the translators disagree:\n{}", found.join("\n"));
}
