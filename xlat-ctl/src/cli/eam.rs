//! `xlat-ctl eam add | del | list`

use clap::{Args, Subcommand};

use super::{
    Common, Failed,
    client::{self, escaped},
    output::{self, Align, table},
};
use crate::{
    api::{Eam, EamAdd, EamAdded, EamList},
    eam::{self, Origin},
};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Add an entry; it is in force in both directions when the command returns
    #[command(
        after_help = "An address without length is one address. The part after the IPv4 prefix may not be longer than \
        the part after the IPv6 prefix.\n\nExamples:\n  \
        xlat-ctl eam add 198.51.100.10 2001:db8:5e1:1::10 --comment www\n  \
        xlat-ctl eam add 198.51.100.16/28 2001:db8:5e1:2::/124"
    )]
    Add(Add),
    /// Delete the entry that has exactly this prefix
    #[command(after_help = "Entries of the configuration (static) are deleted there.\n\nExamples:\n  \
        xlat-ctl eam del 198.51.100.10\n  xlat-ctl eam del 2001:db8:5e1:2::/124")]
    Del(Del),
    /// List the entries in the order of their IPv4 prefixes
    #[command(after_help = "Examples:\n  xlat-ctl eam list\n  xlat-ctl eam list --csv > eam.csv")]
    List(List),
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
}

#[derive(Debug, Args)]
pub(super) struct Del {
    /// IPv4 or IPv6 prefix of the entry
    #[arg(value_name = "IPV4[/LEN] | IPV6[/LEN]", value_parser = either)]
    prefix: String,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Print lines `ipv4,ipv6,comment,origin` with a heading
    #[arg(long, conflicts_with = "json")]
    csv: bool,
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

fn either(text: &str) -> Result<String, String> {
    if text.contains(':') { ipv6(text) } else { ipv4(text) }
}

pub(super) fn eam(common: &Common, verb: Verb) -> Result<(), Failed> {
    match verb {
        Verb::Add(add) => {
            let body = EamAdd { ipv4: add.ipv4, ipv6: add.ipv6, comment: add.comment };
            let answer = client::post::<EamAdded>(common, "/v1/eam", &body)?;
            answer.print(common, |added| format!("added {}\n", pair(&added.entry)));
            for warning in answer.value.warnings.iter().filter(|_| !common.json) {
                output::complain(&format!("warning: {warning}"));
            }
        }
        Verb::Del(del) => {
            let path = format!("/v1/eam?prefix={}", escaped(&del.prefix));
            client::delete::<Eam>(common, &path)?.print(common, |entry| format!("deleted {}\n", pair(entry)));
        }
        Verb::List(list) => {
            let human = if list.csv { csv } else { human };
            client::get::<EamList>(common, "/v1/eam")?.print(common, human);
        }
    }
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
    if list.entries.is_empty() {
        return "the table is empty\n".to_owned();
    }
    let row = |entry: &Eam| {
        vec![entry.ipv4.to_string(), entry.ipv6.to_string(), origin(entry).to_owned(), entry.comment.clone()]
    };
    let columns = [("IPV4", Align::Left), ("IPV6", Align::Left), ("ORIGIN", Align::Left), ("COMMENT", Align::Left)];
    table(&columns, &list.entries.iter().map(row).collect::<Vec<_>>())
}

fn csv(list: &EamList) -> String {
    let mut text = "ipv4,ipv6,comment,origin\n".to_owned();
    for entry in &list.entries {
        text.push_str(&format!("{},{},{},{}\n", entry.ipv4, entry.ipv6, field(&entry.comment), origin(entry)));
    }
    text
}

/// A field of a CSV line (RFC 4180 2).
fn field(value: &str) -> String {
    if value.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", value.replace('"', "\"\""))
    } else {
        value.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_comments_in_csv() {
        let entry = Eam {
            ipv4: "192.0.2.1/32".parse().unwrap(),
            ipv6: "2001:db8::1/128".parse().unwrap(),
            comment: "the \"old\" one, really".to_owned(),
            origin: Origin::Dynamic,
        };
        assert_eq!(
            csv(&EamList { entries: vec![entry] }),
            "ipv4,ipv6,comment,origin\n192.0.2.1/32,2001:db8::1/128,\"the \"\"old\"\" one, really\",dynamic\n"
        );
    }
}
