//! What docs/comparison.md and docs/comparison.json say about the packets.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::{
    case::Case,
    judge::{Difference, differences},
    verdicts::{self, Right, VERDICTS, Verdict},
};

/// Where a packet is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Origin {
    Table,
    Corpus,
    Random,
}

impl Origin {
    const ALL: [Self; 3] = [Self::Table, Self::Corpus, Self::Random];

    fn of(case: &Case) -> Self {
        match (case.section.is_empty(), case.name.starts_with("corpus")) {
            (false, _) => Self::Table,
            (true, true) => Self::Corpus,
            (true, false) => Self::Random,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Table => "conformance table",
            Self::Corpus => "corpus",
            Self::Random => "random",
        }
    }
}

/// Numbers by origin, in the order of [`Origin::ALL`].
type Numbers = [usize; 3];

fn numbers<'a>(cases: impl Iterator<Item = &'a Case>) -> Numbers {
    cases.fold(Numbers::default(), |mut numbers, case| {
        numbers[Origin::of(case) as usize] += 1;
        numbers
    })
}

/// All cases with their verdicts.
#[derive(Debug)]
pub struct Report {
    sent: Numbers,
    /// The differences of each verdict, in the order of [`VERDICTS`].
    judged: Vec<(&'static Verdict, Vec<Difference>)>,
    /// Random packets that are treated differently for reasons that no verdict is about.
    unjudged: usize,
}

impl Report {
    /// Judges cases.
    ///
    /// # Errors
    /// A difference without a verdict, but for random packets; a verdict without a difference.
    pub fn new(cases: Vec<Case>) -> Result<Self> {
        let sent = numbers(cases.iter());
        let mut judged: Vec<(&Verdict, Vec<Difference>)> =
            VERDICTS.iter().map(|verdict| (verdict, Vec::new())).collect();
        let (mut others, mut unjudged) = (Vec::new(), 0);
        for difference in differences(cases)? {
            match verdicts::place(&difference) {
                Some(place) => judged[place].1.push(difference),
                None if Origin::of(&difference.case) == Origin::Random => unjudged += 1,
                None => others.push(difference),
            }
        }
        if !others.is_empty() {
            bail!("{} differences have no verdict in tests/src/compare/verdicts.rs:\n{}", others.len(), lines(&others));
        }
        if let Some((verdict, _)) = judged.iter().find(|(_, differences)| differences.is_empty()) {
            bail!("no packet shows a difference in \"{}\": remove that verdict or add a packet", verdict.packets);
        }
        Ok(Self { sent, judged, unjudged })
    }

    /// The tables of docs/comparison.md.
    #[must_use]
    pub fn markdown(&self) -> String {
        let all = || self.judged.iter().flat_map(|(_, differences)| differences);
        let different = numbers(all().map(|difference| &difference.case));
        let mut text = "\n| packets | sent | treated differently |\n|---|---|---|\n".to_owned();
        for origin in Origin::ALL {
            let (sent, different) = (self.sent[origin as usize], different[origin as usize]);
            let _ = writeln!(text, "| {} | {sent} | {different} |", origin.name());
        }
        let _ = writeln!(text, "\nOf the random ones {} more are treated differently, and not judged.", self.unjudged);
        for (right, title) in [
            (Right::Xlat, "Where xlat is right"),
            (Right::Jool, "Where Jool is right"),
            (Right::Both, "Where either is allowed"),
        ] {
            let _ = write!(
                text,
                "\n### {title}\n\n| packets | number | xlat | Jool | section | |\n|---|---|---|---|---|---|\n"
            );
            for (verdict, differences) in self.judged.iter().filter(|(verdict, _)| verdict.right == right) {
                let Verdict { packets, section, why, .. } = verdict;
                let (xlat, jool) = (deeds(differences, |of| &of.xlat), deeds(differences, |of| &of.jool));
                let number = differences.len();
                let _ = writeln!(text, "| {packets} | {number} | {xlat} | {jool} | {section} | {why} |");
            }
        }
        text
    }

    /// The same with every row of the conformance table, for programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let verdicts = self.judged.iter().map(|(verdict, differences)| {
            let Verdict { packets, right, section, why, .. } = verdict;
            json!({
                "packets": packets,
                "right": format!("{right:?}").to_lowercase(),
                "section": section,
                "why": why,
                "numbers": by_origin(numbers(differences.iter().map(|difference| &difference.case))),
                "rows": rows(differences),
            })
        });
        json!({ "sent": by_origin(self.sent), "not judged": self.unjudged, "differences": verdicts.collect::<Vec<_>>() })
    }
}

fn by_origin(numbers: Numbers) -> Value {
    Origin::ALL.iter().map(|&origin| (origin.name().to_owned(), json!(numbers[origin as usize]))).collect()
}

/// Each thing that was done, once.
fn deeds(differences: &[Difference], of: fn(&Difference) -> &String) -> String {
    let all: BTreeSet<&str> = differences.iter().map(|difference| of(difference).as_str()).collect();
    all.into_iter().collect::<Vec<_>>().join("; ")
}

/// The rows of the conformance table among differences, those of one name and outcome together.
fn rows(differences: &[Difference]) -> Vec<Value> {
    let mut rows: BTreeMap<[String; 5], u32> = BTreeMap::new();
    for Difference { case, xlat, jool, changes, .. } in differences {
        // Which packets it is that stop a machine is for Jool's maintainers first.
        if Origin::of(case) == Origin::Table && jool != "hangs" {
            let fields: Vec<&str> = changes.iter().map(|(name, ..)| name.as_str()).collect();
            let key = [case.name.clone(), case.section.clone(), xlat.clone(), jool.clone(), fields.join(", ")];
            *rows.entry(key).or_default() += 1;
        }
    }
    let row = |([row, section, xlat, jool, fields], packets): ([String; 5], u32)| json!({ "row": row, "section": section, "packets": packets, "xlat": xlat, "jool": jool, "fields": fields });
    rows.into_iter().map(row).collect()
}

/// Differences in words, the first ones.
fn lines(differences: &[Difference]) -> String {
    const MOST: usize = 40;
    let line = |of: &Difference| {
        let Difference { case, xlat, jool, reason, changes } = of;
        let fields: Vec<String> = changes.iter().map(|(name, one, other)| change(name, one, other)).collect();
        let (name, fields) = (&case.name, fields.join("; "));
        format!("{name}: xlat {xlat}, Jool {jool} ({reason}); {fields}\n  {}\n", crate::reference::hex(&case.packet))
    };
    differences.iter().take(MOST).map(line).collect()
}

/// A field that differs; of long ones where.
fn change(name: &str, one: &str, other: &str) -> String {
    const LONG: usize = 40;
    if one.len().max(other.len()) <= LONG {
        return format!("{name} {one} | {other}");
    }
    let place = one.bytes().zip(other.bytes()).position(|(one, other)| one != other);
    let byte = place.unwrap_or(one.len().min(other.len())) / 2;
    format!("{name} from byte {byte} of {} | {}", one.len() / 2, other.len() / 2)
}
