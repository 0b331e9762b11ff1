//! The differential fuzzer as a program: `cargo xtask fuzz [--packets N] [--seed S] [--config NAME]`.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Instant, SystemTime};

use anyhow::{Context as _, bail};
use xlat_tests::fuzz::{Disagreement, Plan, Report, configs, corpus, program::RealProgram, run};
use xlat_tests::reference::Outcome;

const HELP: &str = "\
cargo xtask fuzz [OPTIONS]: random packets through the real XDP program and through the reference translator of the tests.

  --packets N    how many packets to make, over all configurations (1000000)
  --seed S       where they come from; the same seed makes the same packets (the clock, printed)
  --config NAME  one configuration only; `--config list` names them
  --most N       stop after this many disagreements (20)
  --keep         append what is found to tests/corpus/found.hex, to be tried first in every later run
";

fn main() -> ExitCode {
    match fuzz() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("fuzz: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether the two translators agree.
fn fuzz() -> anyhow::Result<bool> {
    let corpus_directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).context("reading the clock")?;
    let mut plan = Plan {
        configs: configs::all(),
        packets: 1_000_000,
        seed: clock.as_secs(),
        corpus: corpus::read(&corpus_directory)?,
        most_disagreements: 20,
    };
    let mut keep = false;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} needs a value"));
        let number = |text: String| text.replace('_', "").parse::<u64>().with_context(|| format!("{text}: no number"));
        match argument.as_str() {
            "--packets" => plan.packets = number(value()?)?,
            "--seed" => plan.seed = number(value()?)?,
            "--most" => plan.most_disagreements = usize::try_from(number(value()?)?)?,
            "--keep" => keep = true,
            "--config" => {
                let name = value()?;
                if name == "list" {
                    plan.configs.iter().for_each(|named| println!("{}", named.name));
                    return Ok(true);
                }
                plan.configs.retain(|named| named.name == name);
                if plan.configs.is_empty() {
                    bail!("--config {name}: there is none of that name; `--config list` names them");
                }
            }
            "--help" | "-h" => {
                print!("{HELP}");
                return Ok(true);
            }
            other => bail!("{other}: unknown\n\n{HELP}"),
        }
    }
    println!(
        "seed {}, {} packets, {} configurations, {} in the corpus",
        plan.seed,
        plan.packets,
        plan.configs.len(),
        plan.corpus.len()
    );
    let mut program = RealProgram::default();
    let started = Instant::now();
    let report = run(&plan, &mut program, &mut progress)?;
    print(&report, started);
    for disagreement in report.disagreements.iter().filter(|_| keep) {
        corpus::append(&corpus_directory, &disagreement.difference, &disagreement.entry)?;
    }
    Ok(report.disagreements.is_empty())
}

fn progress(done: u64, all: u64, started: Instant) {
    if std::io::stderr().is_terminal() {
        let rate = done as f64 / started.elapsed().as_secs_f64().max(0.001);
        eprint!("\r{done} of {all} packets, {rate:.0}/s ");
        if done == all {
            eprintln!();
        }
        let _ = std::io::stderr().flush();
    }
}

fn print(report: &Report, started: Instant) {
    for disagreement in &report.disagreements {
        print_disagreement(disagreement);
    }
    for (outcome, count) in &report.totals.outcomes {
        println!("{count:>12}  {outcome}");
    }
    let seconds = started.elapsed().as_secs_f64();
    let packets = report.totals.packets;
    let rate = packets as f64 / seconds.max(0.001);
    println!("{packets} packets in {seconds:.1} s, {rate:.0}/s: {} disagreements", report.disagreements.len());
}

fn print_disagreement(disagreement: &Disagreement) {
    let Disagreement { entry, expected, got, difference } = disagreement;
    println!("DISAGREEMENT: {difference}");
    println!("  packet:   {}", corpus::line(entry));
    println!("            {}", decode(&entry.packet));
    println!("  expected: {expected:?}");
    println!("            {}", decode_outcome(expected));
    println!("  got:      {got:?}");
    println!("            {}", decode_outcome(got));
}

fn decode_outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Translate(packet) | Outcome::ToKernelTranslated(packet) => decode(&packet.bytes),
        Outcome::Refuse { icmp, .. } => decode(icmp),
        Outcome::Pass | Outcome::Drop(_) | Outcome::Fragment => String::new(),
    }
}

/// The headers in words.
fn decode(packet: &[u8]) -> String {
    match etherparse::LaxPacketHeaders::from_ip(packet) {
        Ok(headers) => format!("{:?} {:?}", headers.net, headers.transport),
        Err(error) => error.to_string(),
    }
}
