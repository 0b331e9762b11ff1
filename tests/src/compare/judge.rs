//! The packets that xlat and Jool treat differently, and the verdict on each.

use anyhow::{Context as _, Result};

use super::{
    case::Case,
    outcome::{Change, Sent, difference, kind},
    settings,
    view::View,
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
    /// The packet, read; `None`: its headers cannot be read.
    #[must_use]
    pub fn view(&self) -> Option<View<'_>> {
        View::of(&self.case.packet)
    }

    /// Whether xlat did the one and Jool the other.
    #[must_use]
    pub fn did(&self, xlat: &str, jool: &str) -> bool {
        self.xlat == xlat && self.jool == jool
    }

    /// Whether the packet is of a row with these words in its name.
    #[must_use]
    pub fn is_named(&self, words: &str) -> bool {
        self.case.name.contains(words)
    }

    /// Whether both did the same, and no other fields than these differ.
    #[must_use]
    pub fn only(&self, names: &[&str]) -> bool {
        self.xlat == self.jool && self.changes.iter().all(|(name, ..)| names.contains(&name.as_str()))
    }

    /// Whether the UDP checksums that were sent, in hexadecimal digits, are these.
    #[must_use]
    pub fn has_udp_checksums(&self, xlat: &str, jool: &str) -> bool {
        let is_udp = self.view().is_some_and(|view| view.protocol == 17 && view.offset == 0);
        let is = |payload: &str, checksum: &str| payload.get(12..16) == Some(checksum);
        is_udp && self.changes.iter().all(|(_, one, other)| is(one, xlat) && is(other, jool))
    }

    /// Whether of the TOS Jool has kept only what routing looks at.
    #[must_use]
    pub fn has_masked_tos(&self) -> bool {
        self.changes.iter().any(is_masked_tos)
    }

    /// Bytes 4 to 7 of the ICMP header.
    #[must_use]
    pub fn icmp_rest(&self) -> Option<&[u8]> {
        self.view().and_then(|view| view.payload.get(4..8))
    }

    /// Whether Jool sent no length attribute (RFC 4884) where xlat did.
    #[must_use]
    pub fn drops_extension(&self) -> bool {
        self.changes
            .iter()
            .any(|(name, one, other)| name == "ICMP rest of header" && one != "00000000" && other == "00000000")
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
    let mut changes = changes.unwrap_or_default();
    if changes.len() > 1 {
        // A difference of its own, which is no reason not to see the other.
        changes.retain(|change| !is_masked_tos(change));
    }
    let is_ipv6 = case.is_ipv6();
    let kind = |sent: &[Sent]| kind(&case.packet, is_ipv6, sent);
    let (xlat, jool) = (kind(&case.xlat), case.jool.as_ref().map_or_else(|| "hangs".to_owned(), |sent| kind(sent)));
    let reason = reason(config, &case);
    Some(Difference { xlat, jool, changes, reason, case })
}

fn is_masked_tos((name, one, other): &Change) -> bool {
    const ROUTING: u8 = 0x1c;
    let value = |text: &str| u8::from_str_radix(text.trim_start_matches("0x"), 16);
    name == "TOS" && matches!((value(one), value(other)), (Ok(one), Ok(other)) if other == one & ROUTING)
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
