//! The real program against the reference translator, a few hundred thousand packets of a fixed seed.

use std::path::Path;

use xlat_tests::fuzz::{Plan, configs, corpus, program::RealProgram, run};

#[test]
fn agrees_with_the_reference_translator() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let plan = Plan {
        configs: configs::all(),
        packets: 300_000,
        seed: 7915,
        corpus: corpus::read(&directory).expect("a corpus that can be read"),
        most_disagreements: 5,
    };
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
