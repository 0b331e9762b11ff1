//! `xlat-ctl eam add | del | list | find | apply | export | history | show | rollback`

mod apply;
mod history;
mod usage;

use clap::{Args, Subcommand};

use super::{
    Common, Failed,
    client::{self, escaped},
    output::{self, Align, count, table},
};
use crate::{
    api::{Eam, EamAdd, EamAdded, EamDeleted, EamList},
    eam::{self, Entry, Origin, Pair},
    eam_file::{self, Format},
};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Add an entry; it is durable and in force in both directions when the command returns
    #[command(
        after_help = "An address without length is one address. The part after the IPv4 prefix may not be longer than \
        the part after the IPv6 prefix.\n\nExamples:\n  \
        xlat-ctl eam add 198.51.100.10 2001:db8:5e1:1::10 --comment www\n  \
        xlat-ctl eam add 198.51.100.16/28 2001:db8:5e1:2::/124 --message \"ticket 4711\""
    )]
    Add(Add),
    /// Delete the entry that has exactly this prefix
    #[command(after_help = "Entries of the configuration (static) are deleted there.\n\nExamples:\n  \
        xlat-ctl eam del 198.51.100.10\n  xlat-ctl eam del 2001:db8:5e1:2::/124 --if-revision 17")]
    Del(Del),
    /// List the entries in the order of their IPv4 prefixes
    #[command(
        after_help = "`--rates` takes accounting.services = true in the configuration. An entry's totals go from the time \
        when it was first counted.\n\nExamples:\n  xlat-ctl eam list\n  xlat-ctl eam list --csv > eam.csv\n  \
        xlat-ctl eam list --rates --seconds 5 --limit 10"
    )]
    List(List),
    /// Show the entries that nobody has used for some time: IPv4 addresses to give back
    #[command(
        after_help = "It takes accounting.services = true in the configuration. An entry that has been counted for a \
        shorter time than the one given is not called idle; how many there are is told.\n\nExamples:\n  \
        xlat-ctl eam idle --for 30d\n  xlat-ctl eam idle --for 12h --json"
    )]
    Idle(usage::Idle),
    /// Show the entries that cover an address, the one that counts first
    #[command(after_help = "Example:\n  xlat-ctl eam find 198.51.100.10")]
    Find(Find),
    /// Make the dynamic entries those of a file, all at once
    #[command(
        after_help = "The file has lines `ipv4,ipv6[,comment]`, or is JSON or TOML as `eam export` writes it. The \
        difference is shown first; on a terminal the command asks before it goes on. One bad line refuses the file. Static \
        entries stay; a line that is one is accepted.\n\nExamples:\n  \
        xlat-ctl eam apply eam.csv --dry-run\n  generate | xlat-ctl eam apply - --message nightly"
    )]
    Apply(apply::Apply),
    /// Print the table as a file that `eam apply` reads
    #[command(after_help = "Example:\n  xlat-ctl eam export --format json > eam.json")]
    Export(Export),
    /// Show the latest changes: when, by whom, how many entries
    #[command(after_help = "Examples:\n  xlat-ctl eam history --limit 5\n  \
        xlat-ctl eam history --entry 198.51.100.10")]
    History(history::History),
    /// Show one change with its entries
    #[command(after_help = "Example:\n  xlat-ctl eam show 17")]
    Show(history::Show),
    /// Make the table what it was after a change, as a change of its own
    #[command(after_help = "Examples:\n  xlat-ctl eam rollback 17 --dry-run\n  xlat-ctl eam rollback 17 --yes")]
    Rollback(apply::Rollback),
}

/// What every change takes.
#[derive(Clone, Debug, Args)]
pub(super) struct Change {
    /// What the history shall say about the change
    #[arg(long, short, value_name = "TEXT", default_value = "", hide_default_value = true)]
    message: String,
    /// Change only if the table is at this revision
    #[arg(long, value_name = "N")]
    if_revision: Option<u64>,
}

impl Change {
    /// The part of a query that says it.
    fn query(&self) -> String {
        let condition = self.if_revision.map_or_else(String::new, |revision| format!("&if_revision={revision}"));
        format!("&message={}{condition}", escaped(&self.message))
    }
}

#[derive(Debug, Args)]
pub(super) struct Add {
    /// IPv4 address or prefix
    #[arg(value_name = "IPV4[/LEN]", value_parser = ipv4)]
    ipv4: String,
    /// IPv6 address or prefix
    #[arg(value_name = "IPV6[/LEN]", value_parser = ipv6)]
    ipv6: String,
    /// A word for people, shown in lists
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    comment: String,
    #[command(flatten)]
    change: Change,
}

#[derive(Debug, Args)]
pub(super) struct Del {
    /// IPv4 or IPv6 prefix of the entry
    #[arg(value_name = "IPV4[/LEN] | IPV6[/LEN]", value_parser = either)]
    prefix: String,
    #[command(flatten)]
    change: Change,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Print lines `ipv4,ipv6,comment,origin` with a heading
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Measure, and show the busiest entries with their rates, totals and last use
    #[arg(long, conflicts_with = "csv")]
    rates: bool,
    /// How long to measure
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=20), requires = "rates", conflicts_with = "csv")]
    seconds: u64,
    /// How many entries to show
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=10_000), requires = "rates", conflicts_with = "csv")]
    limit: u64,
}

#[derive(Debug, Args)]
pub(super) struct Find {
    /// IPv4 or IPv6 address
    #[arg(value_parser = super::lookup::address)]
    address: std::net::IpAddr,
}

#[derive(Debug, Args)]
pub(super) struct Export {
    /// How to write it: csv where nothing is said, json with --json
    #[arg(long, value_enum)]
    format: Option<Format>,
}

/// Text that cannot be read is wrong usage; what can be read is for the daemon to judge.
fn unless_syntax<T>(text: &str, read: Result<T, eam::PrefixError>) -> Result<String, String> {
    match read {
        Err(error) if error.is_syntax() => Err(error.to_string()),
        _ => Ok(text.to_owned()),
    }
}

fn ipv4(text: &str) -> Result<String, String> {
    unless_syntax(text, eam::parse_ipv4(text))
}

fn ipv6(text: &str) -> Result<String, String> {
    unless_syntax(text, eam::parse_ipv6(text))
}

/// A prefix of either family, as [`unless_syntax`] has it.
pub(super) fn either(text: &str) -> Result<String, String> {
    if text.contains(':') { ipv6(text) } else { ipv4(text) }
}

pub(super) fn eam(common: &Common, verb: Verb) -> Result<(), Failed> {
    match verb {
        Verb::Add(Add { ipv4, ipv6, comment, change: Change { message, if_revision } }) => {
            let body = EamAdd { ipv4, ipv6, comment, message, if_revision };
            let answer = client::post::<EamAdded>(common, "/v1/eam", &body)?;
            answer.print(common, |added| format!("added {} (revision {})\n", pair(&added.entry), added.revision));
            output::warn(common, &answer.value.warnings);
        }
        Verb::Del(Del { prefix, change }) => {
            let path = format!("/v1/eam?prefix={}{}", escaped(&prefix), change.query());
            let said =
                |deleted: &EamDeleted| format!("deleted {} (revision {})\n", pair(&deleted.entry), deleted.revision);
            let answer = client::delete::<EamDeleted>(common, &path)?;
            answer.print(common, said);
            output::warn(common, &answer.value.warnings);
        }
        Verb::List(List { csv: true, .. }) => export(common, Some(Format::Csv))?,
        Verb::List(List { rates: true, seconds, limit, .. }) => usage::rates(common, seconds, limit)?,
        Verb::Idle(idle) => usage::idle(common, &idle)?,
        Verb::List(List { .. }) => client::get::<EamList>(common, "/v1/eam")?.print(common, human),
        Verb::Find(Find { address }) => {
            let path = format!("/v1/eam/find?address={address}");
            client::get::<EamList>(common, &path)?.print(common, |list| {
                if list.entries.is_empty() { format!("no entry covers {address}\n") } else { rows(list) }
            });
        }
        Verb::Export(Export { format }) => export(common, format)?,
        Verb::Apply(apply) => apply::apply(common, &apply)?,
        Verb::Rollback(rollback) => apply::roll_back(common, &rollback)?,
        Verb::History(history) => history::history(common, &history)?,
        Verb::Show(show) => history::show(common, &show)?,
    }
    Ok(())
}

fn export(common: &Common, format: Option<Format>) -> Result<(), Failed> {
    let format = format.unwrap_or(if common.json { Format::Json } else { Format::Csv });
    let list = client::get::<EamList>(common, "/v1/eam")?.value;
    let entry = |entry: Eam| {
        Some(Entry {
            pair: Pair::new(entry.ipv4, entry.ipv6).ok()?,
            comment: entry.comment.into(),
            origin: entry.origin,
        })
    };
    let entries: Option<Vec<Entry>> = list.entries.into_iter().map(entry).collect();
    let entries = entries.ok_or_else(|| "the daemon's table cannot be read (another version?)".to_owned())?;
    output::print_file(&eam_file::write(entries.iter(), format));
    Ok(())
}

fn pair(entry: &Eam) -> String {
    format!("{} ↔ {}", eam::short4(entry.ipv4), eam::short6(entry.ipv6))
}

fn origin(entry: &Eam) -> &'static str {
    match entry.origin {
        Origin::Static => "static",
        Origin::Dynamic => "dynamic",
    }
}

fn human(list: &EamList) -> String {
    let shown = if list.entries.is_empty() { "the table is empty\n".to_owned() } else { rows(list) };
    format!("{shown}\n{}, revision {}\n", count(list.entries.len(), "entry", "entries"), list.revision)
}

fn rows(list: &EamList) -> String {
    let row = |entry: &Eam| {
        vec![entry.ipv4.to_string(), entry.ipv6.to_string(), origin(entry).to_owned(), entry.comment.clone()]
    };
    let columns = [("IPV4", Align::Left), ("IPV6", Align::Left), ("ORIGIN", Align::Left), ("COMMENT", Align::Left)];
    table(&columns, &list.entries.iter().map(row).collect::<Vec<_>>())
}
