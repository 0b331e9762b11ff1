//! The loop: a packet, both translators, the comparison; and what is left of a packet when all that does not matter is gone.

use std::collections::BTreeMap;
use std::time::Instant;

use super::configs::Named;
use super::corpus::Entry;
use super::generate;
use super::random::Random;
use crate::reference::{Config, Family, Outcome, same, translate};

/// The translator that is compared with the reference.
pub trait Subject {
    /// Makes it the relay of this configuration.
    ///
    /// # Errors
    ///
    /// The program cannot be set up.
    fn configure(&mut self, relay: &Named) -> anyhow::Result<()>;

    /// What it does with a packet from the IP header on.
    ///
    /// # Errors
    ///
    /// The program cannot be run, or ended in a way that is no outcome.
    fn run(&mut self, family: Family, packet: &[u8]) -> anyhow::Result<Outcome>;
}

/// What a run is to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The relays to fuzz.
    pub configs: Vec<Named>,
    /// Packets to make, over all configurations.
    pub packets: u64,
    /// Where the numbers come from.
    pub seed: u64,
    /// Packets to try first.
    pub corpus: Vec<Entry>,
    /// End after this many disagreements.
    pub most_disagreements: usize,
}

/// A packet on which the two translators differ, made as small as it can be.
#[derive(Clone, Debug)]
pub struct Disagreement {
    /// The packet and its configuration.
    pub entry: Entry,
    /// What the reference says.
    pub expected: Outcome,
    /// What the program did.
    pub got: Outcome,
    /// The difference in words.
    pub difference: String,
}

/// How often each outcome came.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Packets compared.
    pub packets: u64,
    /// By the outcome's name and reason.
    pub outcomes: BTreeMap<String, u64>,
}

/// What a run found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The packets that differ, in the order they were found.
    pub disagreements: Vec<Disagreement>,
    /// Counts, to see that every rule was reached.
    pub totals: Totals,
}

/// The packets between two changes of configuration.
const BATCH: u64 = 20_000;

/// Runs the corpus, then packets of every configuration in turn. `progress` is told the packets done and those to do.
///
/// # Errors
///
/// The subject cannot be set up or run.
pub fn run(
    plan: &Plan,
    subject: &mut dyn Subject,
    progress: &mut dyn FnMut(u64, u64, Instant),
) -> anyhow::Result<Report> {
    let started = Instant::now();
    let mut report = Report::default();
    for named in &plan.configs {
        let entries: Vec<&Entry> = plan.corpus.iter().filter(|entry| entry.config == named.name).collect();
        if entries.is_empty() {
            continue;
        }
        subject.configure(named)?;
        for entry in entries {
            try_packet(named, subject, entry.family, &entry.packet, &mut report)?;
        }
    }
    let mut left = plan.packets;
    let mut round = 0;
    while left > 0 && !plan.configs.is_empty() {
        let share = (plan.packets / plan.configs.len() as u64).clamp(1, BATCH);
        for named in &plan.configs {
            let batch = share.min(left);
            if batch == 0 {
                break;
            }
            subject.configure(named)?;
            // Each batch has a seed of its own, so that a configuration alone repeats what it got among all.
            let mut seeds = Random::new(plan.seed ^ round << 32);
            let mut random = Random::new(seeds.bits() ^ name_hash(named.name));
            for number in 0..batch {
                let (family, packet) = generate::packet(&mut random, &named.config);
                try_packet(named, subject, family, &packet, &mut report)?;
                if report.disagreements.len() >= plan.most_disagreements {
                    return Ok(report);
                }
                if number % 1024 == 0 {
                    progress(plan.packets - left + number, plan.packets, started);
                }
            }
            left -= batch;
        }
        round += 1;
    }
    progress(plan.packets, plan.packets, started);
    Ok(report)
}

fn name_hash(name: &str) -> u64 {
    name.bytes().fold(0, |hash, byte| Random::new(hash ^ u64::from(byte)).bits())
}

fn try_packet(
    named: &Named,
    subject: &mut dyn Subject,
    family: Family,
    packet: &[u8],
    report: &mut Report,
) -> anyhow::Result<()> {
    let expected = translate(&named.config, family, packet);
    report.totals.packets += 1;
    *report.totals.outcomes.entry(name_of(&expected)).or_default() += 1;
    let got = outcome(subject, &expected, family, packet)?;
    if same(&expected, &got).is_ok() {
        return Ok(());
    }
    let packet = minimise(&named.config, subject, family, packet.to_vec())?;
    let expected = translate(&named.config, family, &packet);
    let got = outcome(subject, &expected, family, &packet)?;
    let difference = same(&expected, &got).err().unwrap_or_else(|| "gone when tried again".to_owned());
    let entry = Entry { config: named.name.to_owned(), family, packet };
    report.disagreements.push(Disagreement { entry, expected, got, difference });
    Ok(())
}

/// What the subject makes of a packet. One that is translated goes through twice: once as the first to its destination, once by the
/// next hop that is remembered then. The second time counts if the first was right.
fn outcome(subject: &mut dyn Subject, expected: &Outcome, family: Family, packet: &[u8]) -> anyhow::Result<Outcome> {
    let first = subject.run(family, packet)?;
    if matches!(first, Outcome::Translate(_)) && same(expected, &first).is_ok() {
        return subject.run(family, packet);
    }
    Ok(first)
}

fn name_of(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Pass => "pass".to_owned(),
        Outcome::Drop(reason) => format!("drop {reason}"),
        Outcome::Refuse { reason, .. } => format!("refuse {reason}"),
        Outcome::Translate(_) => "translate".to_owned(),
        Outcome::Fragment => "fragment".to_owned(),
        Outcome::ToKernelTranslated(_) => "translate, to the kernel".to_owned(),
    }
}

/// Cuts the end off and sets bytes to 0 while the two still differ in the same way.
fn minimise(
    config: &Config,
    subject: &mut dyn Subject,
    family: Family,
    mut packet: Vec<u8>,
) -> anyhow::Result<Vec<u8>> {
    let kind = |subject: &mut dyn Subject, packet: &[u8]| -> anyhow::Result<Option<(String, String)>> {
        let expected = translate(config, family, packet);
        let got = outcome(subject, &expected, family, packet)?;
        Ok(same(&expected, &got).is_err().then(|| (name_of(&expected), name_of(&got))))
    };
    let Some(wanted) = kind(subject, &packet)? else { return Ok(packet) };
    let mut step = packet.len() / 2;
    while step > 0 {
        while packet.len() > step && kind(subject, &packet[..packet.len() - step])?.as_ref() == Some(&wanted) {
            packet.truncate(packet.len() - step);
        }
        step /= 2;
    }
    for at in 0..packet.len() {
        let byte = packet[at];
        if byte != 0 {
            packet[at] = 0;
            if kind(subject, &packet)?.as_ref() != Some(&wanted) {
                packet[at] = byte;
            }
        }
    }
    Ok(packet)
}
