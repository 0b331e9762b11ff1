//! `xlat-ctl eam apply | rollback`: changes of the whole table.

use std::{
    fs::File,
    io::{self, IsTerminal, Read, Write},
    path::{Path, PathBuf},
};

use clap::Args;

use super::{
    super::{
        Common, Failed, client,
        output::{self, count},
    },
    Change, history,
};
use crate::{
    api::{self, Applied},
    eam_file::Format,
};

#[derive(Debug, Args)]
pub(in crate::cli) struct Apply {
    /// The file; `-`: standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Its format; told by the name (`.csv`, `.json`, `.toml`) or the content when it is not given
    #[arg(long, value_enum)]
    format: Option<Format>,
    #[command(flatten)]
    manner: Manner,
    #[command(flatten)]
    change: Change,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Rollback {
    /// The table becomes what it was after this change
    #[arg(value_name = "REVISION")]
    revision: u64,
    #[command(flatten)]
    manner: Manner,
    #[command(flatten)]
    change: Change,
}

/// How a change of the whole table is made.
#[derive(Debug, Args)]
struct Manner {
    /// Show the difference and change nothing
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

impl Manner {
    /// Whether a person is there to be asked.
    fn asks(&self, common: &Common, input_is_free: bool) -> bool {
        // The difference may go down a pipe, the question does not.
        let person = input_is_free && io::stdin().is_terminal() && io::stderr().is_terminal();
        person && !self.yes && !self.dry_run && !common.json
    }
}

pub(super) fn apply(common: &Common, apply: &Apply) -> Result<(), Failed> {
    let from_input = apply.file == Path::new("-");
    let bytes = read(&apply.file, from_input)?;
    let format = apply.format.or_else(|| Format::of_name(&apply.file));
    let format = format.map_or_else(String::new, |format| format!("&format={format}"));
    let call = |dry_run: bool, change: &Change, told: Told<'_>| {
        let first = if told.is_some() { "&difference_first=true" } else { "" };
        let path = format!("/v1/eam?dry_run={dry_run}{first}{format}{}", change.query());
        client::put_file(common, &path, bytes.clone(), told).map_err(|failed| named(failed, &apply.file))
    };
    run(common, &apply.manner, &apply.change, !from_input, &call)
}

pub(super) fn roll_back(common: &Common, rollback: &Rollback) -> Result<(), Failed> {
    let call = |dry_run: bool, change: &Change, told: Told<'_>| {
        let Change { message, if_revision } = change.clone();
        let (revision, difference_first) = (rollback.revision, told.is_some());
        let body = api::Rollback { revision, dry_run, difference_first, message, if_revision };
        client::post_told(common, "/v1/eam/rollback", &body, told)
    };
    run(common, &rollback.manner, &rollback.change, true, &call)
}

/// The daemon does not know what the file is called.
fn named(failed: Failed, file: &Path) -> Failed {
    let message = failed.message.map(|message| match message.strip_prefix("eam apply: ") {
        Some(what) => format!("eam apply {}: {what}", file.display()),
        None => message,
    });
    Failed { message, ..failed }
}

type Told<'call> = client::Told<'call, Applied>;
type Call<'run> = dyn Fn(bool, &Change, Told<'_>) -> Result<client::Answer<Applied>, Failed> + 'run;

fn run(common: &Common, manner: &Manner, change: &Change, input_is_free: bool, call: &Call<'_>) -> Result<(), Failed> {
    if !manner.asks(common, input_is_free) {
        let mut shown = false;
        let mut show = |applied: Applied| {
            output::print_before(&difference(&applied));
            shown = true;
        };
        let told: Told<'_> = if common.json { None } else { Some(&mut show) };
        let answer = call(manner.dry_run, change, told)?;
        answer.print(common, |applied| {
            let before = if shown { String::new() } else { difference(applied) };
            before + &outcome(applied)
        });
        output::warn(common, &answer.value.warnings);
        return Ok(());
    }
    let shown = call(true, change, None)?.value;
    output::print(&difference(&shown));
    output::warn(common, &shown.warnings);
    if shown.added + shown.removed + shown.changed == 0 {
        output::print(&outcome(&shown));
        return Ok(());
    }
    if !confirmed(&shown)? {
        return Err("nothing is changed".to_owned().into());
    }
    // What was shown is what is done.
    let change = Change { message: change.message.clone(), if_revision: Some(shown.revision) };
    let done = call(false, &change, None)?.value;
    output::print_done(&outcome(&done));
    for warning in done.warnings.iter().filter(|warning| !shown.warnings.contains(warning)) {
        output::complain(&format!("warning: {warning}"));
    }
    Ok(())
}

fn read(file: &Path, from_input: bool) -> Result<hyper::body::Bytes, String> {
    let cannot = |error: &io::Error| format!("cannot read {}: {}", file.display(), crate::plain(error));
    let mut bytes = Vec::new();
    // One more byte than allowed tells that it is too long.
    let most = api::MAX_FILE as u64 + 1;
    let done = if from_input {
        io::stdin().lock().take(most).read_to_end(&mut bytes)
    } else {
        File::open(file).and_then(|file| file.take(most).read_to_end(&mut bytes))
    };
    done.map_err(|error| cannot(&error))?;
    if bytes.len() > api::MAX_FILE {
        return Err(format!("{} is longer than {} MiB", file.display(), api::MAX_FILE >> 20));
    }
    Ok(bytes.into())
}

fn confirmed(shown: &Applied) -> Result<bool, String> {
    let removed = count(usize::try_from(shown.removed).unwrap_or(usize::MAX), "entry", "entries");
    let mut answer = String::new();
    let asked = write!(io::stderr(), "{}. {removed} will be gone. Go on? [y/N] ", summary(shown));
    asked.and_then(|()| io::stdin().read_line(&mut answer)).map_err(|error| crate::plain(&error))?;
    Ok(["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()))
}

fn difference(applied: &Applied) -> String {
    let mut text: String = applied.changes.iter().map(history::line).collect();
    if applied.omitted > 0 {
        let omitted = usize::try_from(applied.omitted).unwrap_or(usize::MAX);
        text.push_str(&format!("… and {}\n", count(omitted, "more change", "more changes")));
    }
    text
}

fn summary(applied: &Applied) -> String {
    let Applied { added, removed, changed, unchanged, static_lines, .. } = applied;
    let mut text = format!("{added} added, {removed} removed, {changed} with another comment");
    if unchanged + static_lines > 0 {
        text.push_str(&format!("; {unchanged} as they were, {static_lines} static"));
    }
    text
}

fn outcome(applied: &Applied) -> String {
    let Applied { revision, dry_run, added, removed, changed, .. } = applied;
    let place = match (dry_run, added + removed + changed) {
        (true, _) => format!("nothing is changed: a dry run at revision {revision}"),
        (false, 0) => format!("nothing to do at revision {revision}"),
        (false, _) => format!("revision {revision}"),
    };
    format!("{} ({place})\n", summary(applied))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_change_that_is_not_shown_is_one() {
        let mut applied = Applied {
            revision: 7,
            dry_run: true,
            added: 1,
            removed: 0,
            changed: 0,
            unchanged: 0,
            static_lines: 0,
            changes: Vec::new(),
            omitted: 1,
            warnings: Vec::new(),
        };
        assert_eq!(difference(&applied), "… and 1 more change\n");
        applied.omitted = 2;
        assert_eq!(difference(&applied), "… and 2 more changes\n");
    }

    #[test]
    fn an_error_names_the_file() {
        for (said, expected) in [
            ("eam apply: line 3: x: y", "eam apply /tmp/eam.csv: line 3: x: y"),
            ("cannot reach the daemon", "cannot reach the daemon"),
        ] {
            let failed = named(Failed::from(said.to_owned()), Path::new("/tmp/eam.csv"));
            assert_eq!(failed.message.as_deref(), Some(expected));
        }
    }
}
