//! The packets that xlat and Jool treat differently, and the verdict on each.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use super::{
    case::Case,
    outcome::{Change, Sent, difference, kind},
    settings,
};
use crate::reference::{Config, Family, Outcome, translate};

/// A packet that the two treat differently.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The packet, and what was sent for it.
    pub case: Case,
    /// What xlat did.
    pub xlat: String,
    /// What Jool did.
    pub jool: String,
    /// The fields that differ, where both did the same otherwise.
    pub changes: Vec<Change>,
    /// What the second translator of the tests says of the packet: the reason of a drop, for example.
    pub reason: String,
}

impl Difference {
    /// The differing fields' names, joined by commas.
    #[must_use]
    pub fn names(&self) -> String {
        self.changes.iter().map(|(name, ..)| name.as_str()).collect::<Vec<_>>().join(", ")
    }
}

/// The differences among cases.
///
/// # Errors
/// The settings cannot be read.
pub fn differences(cases: Vec<Case>) -> Result<Vec<Difference>> {
    let (of_rows, of_fuzzing) = (settings::of_rows()?.reference, settings::of_fuzzing()?.reference);
    let found = cases.into_iter().filter_map(|case| {
        let config = if case.section.is_empty() { &of_fuzzing } else { &of_rows };
        of(config, case)
    });
    Ok(found.collect())
}

fn of(config: &Config, case: Case) -> Option<Difference> {
    let changes = case.jool.as_ref().and_then(|jool| difference(&case.packet, &case.xlat, jool));
    if changes.as_ref().is_some_and(Vec::is_empty) {
        return None;
    }
    let is_ipv6 = case.is_ipv6();
    let kind = |sent: &[Sent]| kind(&case.packet, is_ipv6, sent);
    let (xlat, jool) = (kind(&case.xlat), case.jool.as_ref().map_or_else(|| "hangs".to_owned(), |sent| kind(sent)));
    let reason = reason(config, &case);
    Some(Difference { xlat, jool, changes: changes.unwrap_or_default(), reason, case })
}

fn reason(config: &Config, case: &Case) -> String {
    let family = if case.is_ipv6() { Family::Ipv6 } else { Family::Ipv4 };
    match translate(config, family, &case.packet) {
        Outcome::Pass => "passed".to_owned(),
        Outcome::Drop(reason) | Outcome::Refuse { reason, .. } => reason.to_owned(),
        Outcome::Fragment => "fragmented".to_owned(),
        Outcome::Translate(_) | Outcome::ToKernelTranslated(_) => "translated".to_owned(),
    }
}

/// Reads a file of cases.
///
/// # Errors
/// A line is no case.
pub fn read(text: &str) -> Result<Vec<Case>> {
    let parse = |(number, line): (usize, &str)| Case::parse(line).with_context(|| format!("line {}", number + 1));
    text.lines().enumerate().map(parse).collect()
}

/// How many differences there are of each sort, with the names of some.
#[must_use]
pub fn groups(differences: &[Difference]) -> BTreeMap<[String; 4], Vec<&Difference>> {
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for found in differences {
        let key = [found.xlat.clone(), found.jool.clone(), found.reason.clone(), found.names()];
        groups.entry(key).or_default().push(found);
    }
    groups
}
