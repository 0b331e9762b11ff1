//! `xlat-ctl share`

use std::{fs, path::PathBuf};

use clap::Args;

use super::{
    Common, Failed, client,
    output::{Align, count, size, table},
};
use crate::{api, eam, plot};

pub(super) const HELP: &str = "It takes accounting.native = true in the configuration, and native IPv6 packets that pass the \
    relay: those that go another way are not seen. Days are those of UTC and are kept for two years.\n\n\
    Examples:\n  \
    xlat-ctl share\n  \
    xlat-ctl share --days 365 --plot share.svg\n  \
    xlat-ctl share --service 198.51.100.10";

#[derive(Debug, Args)]
pub(super) struct Share {
    /// How many days, the present one among them
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=731))]
    days: u64,
    /// One service alone: the IPv4 or IPv6 prefix of its entry
    #[arg(long, value_name = "PREFIX", value_parser = super::eam::either)]
    service: Option<String>,
    /// How many services to show, those with the most bytes
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    limit: u64,
    /// Write the days as a picture (SVG), too
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

/// Shows the share, and draws it.
pub(super) fn share(common: &Common, share: &Share) -> Result<(), Failed> {
    let service =
        share.service.as_deref().map_or_else(String::new, |prefix| format!("&service={}", client::escaped(prefix)));
    let answer =
        client::get::<api::Share>(common, &format!("/v1/share?days={}&limit={}{service}", share.days, share.limit))?;
    if let Some(path) = &share.plot {
        let written = fs::write(path, plot::svg(&answer.value.days) + "\n");
        written.map_err(|error| format!("cannot write {}: {}", path.display(), crate::plain(&error)))?;
    }
    answer.print(common, human);
    Ok(())
}

fn per_cent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{share:.1} %"))
}

fn cells(traffic: &api::ShareOf) -> [String; 6] {
    let bytes = |of: &api::ShareTraffic| size(of.to_service.bytes + of.from_service.bytes);
    [
        per_cent(plot::of_packets(traffic)),
        traffic.translated.to_service.packets.to_string(),
        traffic.native.to_service.packets.to_string(),
        per_cent(plot::of_bytes(traffic)),
        bytes(&traffic.translated),
        bytes(&traffic.native),
    ]
}

fn rows(first: &'static str, rows: &[Vec<String>]) -> String {
    let right = |name| (name, Align::Right);
    let columns = [
        (first, Align::Left),
        right("IPv6 OF PACKETS"),
        right("TRANSLATED"),
        right("NATIVE"),
        right("IPv6 OF BYTES"),
        right("TRANSLATED"),
        right("NATIVE"),
    ];
    table(&columns, rows)
}

fn human(answer: &api::Share) -> String {
    let row = |name: String, traffic: &api::ShareOf| [name].into_iter().chain(cells(traffic)).collect::<Vec<_>>();
    let days = answer.days.iter().map(|day| row(day.day.clone(), &day.traffic));
    let days: Vec<_> = days.chain([row("total".to_owned(), &answer.total)]).collect();
    let mut text = rows("DAY", &days);
    if !answer.services.is_empty() {
        let name =
            |service: &api::ShareService| format!("{} ↔ {}", eam::short4(service.ipv4), eam::short6(service.ipv6));
        let services: Vec<_> = answer.services.iter().map(|service| row(name(service), &service.traffic)).collect();
        text.push('\n');
        text.push_str(&rows("SERVICE", &services));
    }
    text.push_str("\nPackets are those that arrive at services; bytes are those of both directions.\n");
    if answer.omitted > 0 {
        let omitted = answer.omitted as usize;
        let (services, are) = (count(omitted, "service has", "services have"), if omitted == 1 { "is" } else { "are" });
        text.push_str(&format!("{services} traffic and {are} not shown (--limit)\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_service_that_is_not_shown_is_one() {
        let total = api::ShareOf::default();
        let mut answer = api::Share { days: Vec::new(), total, services: Vec::new(), omitted: 1 };
        assert!(human(&answer).ends_with("\n1 service has traffic and is not shown (--limit)\n"));
        answer.omitted = 2;
        assert!(human(&answer).ends_with("\n2 services have traffic and are not shown (--limit)\n"));
    }
}
