//! `xlat-ctl reason`

use clap::Args;
use xlat_common::reason::DropReason;

use super::{
    Common, Failed,
    output::{self, Align},
};
use crate::reason::{self, Reason};

#[derive(Debug, Args)]
pub(super) struct Verb {
    /// A drop reason; without it, all are listed
    name: Option<String>,
    /// Print docs/drop-reasons.md
    #[arg(long, hide = true, conflicts_with = "name")]
    markdown: bool,
}

pub(super) fn reason(common: &Common, verb: &Verb) -> Result<(), Failed> {
    if verb.markdown {
        output::print(&reason::page());
        return Ok(());
    }
    let Some(name) = &verb.name else {
        let all: Vec<Reason> = DropReason::ALL.iter().map(|reason| (*reason).into()).collect();
        output::print(&if common.json { output::json(&all) } else { list(&all) });
        return Ok(());
    };
    let found = Reason::from(reason::find(name)?);
    output::print(&if common.json { output::json(&found) } else { paragraphs(&found) });
    Ok(())
}

fn list(all: &[Reason]) -> String {
    let rows: Vec<Vec<String>> = all.iter().map(|reason| vec![reason.name.clone(), reason.text.clone()]).collect();
    output::table(&[("REASON", Align::Left), ("WHAT IT MEANS", Align::Left)], &rows)
}

/// A reason with everything there is to say, as `explain` prints it too.
pub(super) fn paragraphs(reason: &Reason) -> String {
    let mut text = format!("{}: {}\n\n", reason.name, reason.text);
    for (name, value) in [
        ("what", &reason.meaning),
        ("who", &reason.cause),
        ("do", &reason.remedy),
        ("answer", &format!("the sender is told {}", reason.answer)),
        ("source", &format!("{}; docs/translation.md section {}", reason.source, reason.section)),
    ] {
        text.push_str(&output::labelled(name, value));
    }
    text
}
