//! `xlat-ctl stats`

use std::{
    io::{self, IsTerminal},
    thread,
    time::Duration,
};

use clap::Args;

use super::{
    Common, Failed, client,
    output::{self, Align, rate, table},
};
use crate::api;

/// Moves the cursor to the top and clears the terminal.
const CLEAR: &str = "\x1b[H\x1b[2J";

#[derive(Debug, Args)]
pub(super) struct Stats {
    /// Repeat every second, or every so many seconds, with rates
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "1",
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    watch: Option<u64>,
}

pub(super) fn stats(common: &Common, stats: &Stats) -> Result<(), Failed> {
    let read = || client::get::<api::Stats>(common, "/v1/stats");
    let first = read()?;
    let Some(seconds) = stats.watch else {
        first.print(common, |stats| human(stats, None));
        return Ok(());
    };
    let mut before = first.value;
    let clear = if io::stdout().is_terminal() { CLEAR } else { "" };
    if common.json {
        output::print(&line(&before));
    } else {
        output::print(&format!("{clear}{}", human(&before, None)));
    }
    loop {
        thread::sleep(Duration::from_secs(seconds));
        let after = read()?.value;
        if common.json {
            output::print(&line(&after));
        } else {
            let gap = if clear.is_empty() { "\n" } else { clear };
            output::print(&format!("{gap}{}", human(&after, Some(&before))));
        }
        before = after;
    }
}

fn line(stats: &api::Stats) -> String {
    let mut text = serde_json::to_string(stats).expect("an answer has only string keys");
    text.push('\n');
    text
}

/// How much came between two readings, for each second.
struct Rates<'stats> {
    before: &'stats api::Stats,
    seconds: f64,
}

impl Rates<'_> {
    fn of(&self, after: u64, before: u64) -> String {
        rate(after.saturating_sub(before) as f64 / self.seconds)
    }
}

fn human(stats: &api::Stats, before: Option<&api::Stats>) -> String {
    // A daemon that was restarted between two readings counts from zero again.
    let rates = before.filter(|before| before.uptime_milliseconds < stats.uptime_milliseconds).map(|before| Rates {
        before,
        seconds: (stats.uptime_milliseconds - before.uptime_milliseconds) as f64 / 1000.0,
    });
    let sections = [
        traffic(stats, rates.as_ref()),
        drops(stats, rates.as_ref()),
        others(stats),
        interfaces(stats, rates.as_ref()),
    ];
    let shown: Vec<String> = sections.into_iter().filter(|section| !section.is_empty()).collect();
    if shown.is_empty() { "nothing counted yet\n".to_owned() } else { shown.join("\n") }
}

fn traffic(stats: &api::Stats, rates: Option<&Rates<'_>>) -> String {
    let counted = stats.traffic.iter().enumerate().filter(|(_, cell)| cell.packets > 0);
    let rows: Vec<Vec<String>> = counted
        .map(|(index, cell)| {
            let mut row = vec![
                cell.direction.clone(),
                cell.protocol.clone(),
                cell.verdict.clone(),
                cell.packets.to_string(),
                cell.bytes.to_string(),
            ];
            if let Some(rates) = rates {
                let (packets, bytes) =
                    rates.before.traffic.get(index).map_or((0, 0), |before| (before.packets, before.bytes));
                row.push(rates.of(cell.packets, packets));
                row.push(rates.of(cell.bytes.saturating_mul(8), bytes.saturating_mul(8)));
            }
            row
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let mut columns = vec![
        ("DIRECTION", Align::Left),
        ("PROTOCOL", Align::Left),
        ("VERDICT", Align::Left),
        ("PACKETS", Align::Right),
        ("BYTES", Align::Right),
    ];
    if rates.is_some() {
        columns.extend([("PACKETS/S", Align::Right), ("BIT/S", Align::Right)]);
    }
    table(&columns, &rows)
}

fn drops(stats: &api::Stats, rates: Option<&Rates<'_>>) -> String {
    let counted = stats.drops.iter().enumerate().filter(|(_, drops)| drops.packets > 0);
    let rows: Vec<Vec<String>> = counted
        .map(|(index, drops)| {
            let mut row = vec![drops.reason.clone(), drops.packets.to_string()];
            if let Some(rates) = rates {
                let before = rates.before.drops.get(index).map_or(0, |before| before.packets);
                row.push(rates.of(drops.packets, before));
            }
            row.push(drops.text.clone());
            row
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let mut columns = vec![("DROPPED FOR", Align::Left), ("PACKETS", Align::Right)];
    if rates.is_some() {
        columns.push(("PACKETS/S", Align::Right));
    }
    columns.push(("MEANING", Align::Left));
    table(&columns, &rows)
}

fn others(stats: &api::Stats) -> String {
    let rows: Vec<Vec<String>> = [
        ("ICMP errors sent", stats.icmp_errors_sent),
        ("ICMP errors suppressed", stats.icmp_errors_suppressed),
        ("frames passed (not IP, or not for this machine)", stats.passed_other),
        ("packets from service to service (hairpin)", stats.hairpinned),
        ("packets for which the routing table was asked", stats.route_lookups),
        ("events kept out of the log", stats.events_suppressed),
    ]
    .into_iter()
    .filter(|(_, number)| *number > 0)
    .map(|(name, number)| vec![name.to_owned(), number.to_string()])
    .collect();
    if rows.is_empty() { String::new() } else { table(&[("OTHER", Align::Left), ("NUMBER", Align::Right)], &rows) }
}

/// What the interfaces count, in packets a second where there are two readings.
fn interfaces(stats: &api::Stats, rates: Option<&Rates<'_>>) -> String {
    let counts = |interface: &api::InterfaceTraffic| {
        [
            interface.received_packets,
            interface.received_bytes,
            interface.received_dropped,
            interface.sent_packets,
            interface.sent_bytes,
            interface.sent_dropped,
        ]
    };
    let row = |interface: &api::InterfaceTraffic| {
        let mut row = vec![interface.name.clone()];
        row.extend(counts(interface).map(|count| count.to_string()));
        if let Some(rates) = rates {
            let before = rates.before.interfaces.iter().find(|before| before.name == interface.name);
            let before = counts(before.unwrap_or(interface));
            row.extend([0, 3].map(|at| rates.of(counts(interface)[at], before[at])));
        }
        row
    };
    let rows: Vec<Vec<String>> = stats.interfaces.iter().map(row).collect();
    let mut columns = vec![("INTERFACE", Align::Left)];
    columns.extend(["IN", "BYTES", "DROPPED", "OUT", "BYTES", "DROPPED"].map(|name| (name, Align::Right)));
    if rates.is_some() {
        columns.extend([("IN/S", Align::Right), ("OUT/S", Align::Right)]);
    }
    if rows.is_empty() { String::new() } else { table(&columns, &rows) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(uptime_milliseconds: u64, packets: u64) -> api::Stats {
        let cell = |verdict: &str, packets| api::Traffic {
            direction: "four_to_six".to_owned(),
            protocol: "tcp".to_owned(),
            verdict: verdict.to_owned(),
            packets,
            bytes: packets * 100,
        };
        api::Stats {
            uptime_milliseconds,
            traffic: vec![cell("transmitted", packets), cell("redirected", 0)],
            drops: vec![api::Drops {
                reason: "igmp".to_owned(),
                packets: 3,
                text: "IGMP is not translated.".to_owned(),
            }],
            ..api::Stats::default()
        }
    }

    #[test]
    fn shows_only_what_was_counted() {
        assert_eq!(human(&api::Stats::default(), None), "nothing counted yet\n");
        assert_eq!(
            human(&reading(1000, 5), None),
            "DIRECTION    PROTOCOL  VERDICT      PACKETS  BYTES\n\
             four_to_six  tcp       transmitted        5    500\n\
             \n\
             DROPPED FOR  PACKETS  MEANING\n\
             igmp               3  IGMP is not translated.\n"
        );
    }

    #[test]
    fn shows_rates_between_two_readings() {
        let text = human(&reading(3000, 4005), Some(&reading(1000, 5)));
        assert!(text.contains("PACKETS/S"), "{text}");
        assert!(text.contains("2.0 k") && text.contains("1.6 M"), "{text}");
    }

    #[test]
    fn shows_no_rates_after_a_restart() {
        assert!(!human(&reading(1000, 5), Some(&reading(9000, 500))).contains("PACKETS/S"));
    }
}
