//! Drop reasons for people: what each means, who usually causes it, what to do. The one place from which `xlat-ctl reason`,
//! `xlat-ctl explain` and docs/drop-reasons.md come; names and one-line texts are [`DropReason`]'s.

mod entries;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use xlat_common::reason::DropReason;

pub use self::entries::entry;

/// What an operator should know of one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it means, more than the one line of [`DropReason::text`]: what was looked at, and what was found.
    pub meaning: &'static str,
    /// Who usually causes it.
    pub cause: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
    /// What the sender is told.
    pub answer: Answer,
    /// Where it is written: RFC sections and settings.
    pub source: &'static str,
    /// The section of docs/translation.md with the rule.
    pub section: &'static str,
}

/// What the sender of a dropped packet is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing.
    Silent,
    /// An ICMP error, as words; subject to `[icmp] errors` and its rate.
    Icmp(&'static str),
}

impl Answer {
    /// In words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Silent => "nothing",
            Self::Icmp(text) => text,
        }
    }
}

/// A reason with its entry, as `xlat-ctl reason --json` and `explain --json` give it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Reason {
    /// The name in metrics, counters and logs.
    pub name: String,
    /// One sentence.
    pub text: String,
    /// What was looked at, and what was found.
    pub meaning: String,
    /// Who usually causes it.
    pub cause: String,
    /// What to do about it.
    pub remedy: String,
    /// What the sender is told.
    pub answer: String,
    /// RFC sections and settings.
    pub source: String,
    /// The section of docs/translation.md with the rule.
    pub section: String,
}

impl From<DropReason> for Reason {
    fn from(reason: DropReason) -> Self {
        let Entry { meaning, cause, remedy, answer, source, section } = entry(reason);
        Self {
            name: reason.name().to_owned(),
            text: reason.text().to_owned(),
            meaning: meaning.to_owned(),
            cause: cause.to_owned(),
            remedy: remedy.to_owned(),
            answer: answer.text().to_owned(),
            source: source.to_owned(),
            section: section.to_owned(),
        }
    }
}

/// The reason with this name.
///
/// # Errors
/// There is none: a sentence with the names that are most like it.
pub fn find(name: &str) -> Result<DropReason, String> {
    if let Some(reason) = DropReason::from_name(name) {
        return Ok(reason);
    }
    let near = near(name);
    let hint = if near.is_empty() {
        "`xlat-ctl reason` lists them".to_owned()
    } else {
        format!("did you mean {}? `xlat-ctl reason` lists all", near.join(" or "))
    };
    Err(format!("reason {name}: there is no such drop reason; {hint}"))
}

/// How the program's events about dropped packets begin, and the reason that each is about.
const EVENTS: [(&str, DropReason); 3] = [
    ("dropped a UDP packet without checksum", DropReason::UdpChecksumZero),
    ("dropped a fragment of a UDP packet without checksum", DropReason::UdpChecksumZeroFragment),
    ("dropped an IPv6 packet with an extension header after its Fragment Header", DropReason::FragmentExtension),
];

/// What the log adds to an event of the program: where there is more to read.
#[must_use]
pub fn of_event(text: &str) -> String {
    let found = EVENTS.iter().find(|(begin, _)| text.starts_with(begin));
    found.map_or_else(String::new, |(_, reason)| format!(" (`xlat-ctl reason {}`)", reason.name()))
}

/// The names that are most like this one, best first, at most three.
fn near(name: &str) -> Vec<&'static str> {
    const LIKE: f64 = 0.75;
    let name = name.to_lowercase().replace('-', "_");
    let likeness = |known: &str| {
        let contained = name.len() > 2 && known.contains(&name);
        if contained { 1.0 } else { strsim::jaro_winkler(&name, known) }
    };
    let mut found: Vec<(f64, &str)> = DropReason::ALL.iter().map(|r| (likeness(r.name()), r.name())).collect();
    found.retain(|(likeness, _)| *likeness >= LIKE);
    found.sort_by(|one, other| other.0.total_cmp(&one.0));
    found.into_iter().map(|(_, name)| name).take(3).collect()
}

/// Head of docs/drop-reasons.md.
const HEAD: &str = "\
# Drop reasons

Every packet that xlat drops is counted for one reason: in `xlat-ctl stats`, in `xlat_drops_total{reason=…}` and in
`xlat-ctl explain`. This page is what `xlat-ctl reason NAME` prints, for each of them. The rules themselves are in
[translation.md](translation.md).

A rate that stays at a few a second is the Internet's usual noise. One that begins with a change of yours, or that follows
a customer's complaint, is worth `xlat-ctl explain` with the packet in question.
";

/// docs/drop-reasons.md, whole: `xlat-ctl reason --markdown` prints it.
#[must_use]
pub fn page() -> String {
    let mut page = format!("{HEAD}\n| reason | in one sentence | the sender is told |\n|---|---|---|\n");
    for reason in DropReason::ALL {
        let (name, answer) = (reason.name(), entry(*reason).answer.text());
        writeln!(page, "| [`{name}`](#{name}) | {} | {answer} |", reason.text()).expect("a String takes everything");
    }
    for reason in DropReason::ALL {
        let Entry { meaning, cause, remedy, source, section, .. } = entry(*reason);
        let text = format!(
            "\n## {}\n\n{}\n\n- **What it means**: {meaning}\n- **Who causes it**: {cause}\n- **What to do**: {remedy}\n\
             - **Where it is written**: {source}; [translation.md](translation.md) section {section}\n",
            reason.name(),
            reason.text()
        );
        page.push_str(&text);
    }
    page
}
