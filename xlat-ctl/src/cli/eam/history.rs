//! `xlat-ctl eam history | show`

use clap::Args;

use super::{
    super::{
        Common, Failed,
        client::{self, escaped},
        output::{Align, table},
    },
    either,
};
use crate::{
    api::{self, Author, ChangeKind, Revision},
    eam::{self, Origin},
};

#[derive(Debug, Args)]
pub(in crate::cli) struct History {
    /// Only changes of the entry with this prefix
    #[arg(long, value_name = "PREFIX", value_parser = either)]
    entry: Option<String>,
    /// Most changes to show
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    limit: u64,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Show {
    /// The change's number
    #[arg(value_name = "REVISION")]
    revision: u64,
}

pub(super) fn history(common: &Common, history: &History) -> Result<(), Failed> {
    let entry = history.entry.as_ref().map_or_else(String::new, |entry| format!("&entry={}", escaped(entry)));
    let path = format!("/v1/eam/history?limit={}{entry}", history.limit);
    client::get::<api::History>(common, &path)?.print(common, |history| {
        if history.revisions.is_empty() { "no change is remembered\n".to_owned() } else { rows(&history.revisions) }
    });
    Ok(())
}

pub(super) fn show(common: &Common, show: &Show) -> Result<(), Failed> {
    client::get::<Revision>(common, &format!("/v1/eam/history/{}", show.revision))?.print(common, |revision| {
        let changes: String = revision.changes.iter().map(line).collect();
        let more = match revision.omitted {
            0 => String::new(),
            more => format!("… and {more} more\n"),
        };
        format!("{}{changes}{more}", rows(std::slice::from_ref(revision)))
    });
    Ok(())
}

fn rows(revisions: &[Revision]) -> String {
    let columns = [
        ("REVISION", Align::Right),
        ("TIME", Align::Left),
        ("BY", Align::Left),
        ("WHAT", Align::Left),
        ("+", Align::Right),
        ("-", Align::Right),
        ("~", Align::Right),
        ("DYNAMIC", Align::Right),
        ("MESSAGE", Align::Left),
    ];
    let row = |revision: &Revision| {
        let Revision { added, removed, changed, entries, .. } = revision;
        let numbers = [added, removed, changed, entries].map(u64::to_string);
        let mut row =
            vec![revision.revision.to_string(), revision.time.clone(), by(&revision.author), revision.verb.clone()];
        row.extend(numbers);
        row.push(revision.message.clone());
        row
    };
    table(&columns, &revisions.iter().map(row).collect::<Vec<_>>())
}

fn by(author: &Author) -> String {
    let user = match (author.uid, author.user.as_str()) {
        (None, _) => return "-".to_owned(),
        (Some(uid), "") => format!("uid {uid}"),
        (Some(_), user) => user.to_owned(),
    };
    author.pid.map_or(user.clone(), |pid| format!("{user} (pid {pid})"))
}

/// One changed entry.
pub(super) fn line(change: &api::Change) -> String {
    let kind = match change.kind {
        ChangeKind::Added => '+',
        ChangeKind::Removed => '-',
        ChangeKind::Changed => '~',
    };
    let quoted = |comment: &str| if comment.is_empty() { String::new() } else { format!("  “{comment}”") };
    let before = change.comment_before.as_ref().map_or_else(String::new, |before| format!("  “{before}” →"));
    let (ipv4, ipv6) = (eam::short4(change.ipv4), eam::short6(change.ipv6));
    let fixed = if change.origin == Origin::Static { "  (static)" } else { "" };
    format!("{kind} {ipv4} ↔ {ipv6}{before}{}{fixed}\n", quoted(&change.comment))
}
