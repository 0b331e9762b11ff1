//! `xlat-ctl eam list --rates` and `xlat-ctl eam idle`

use std::time::Duration;

use clap::Args;

use super::{
    super::{
        Common, Failed, client,
        output::{Align, count, duration, table},
    },
    pair,
};
use crate::api::{EamIdle, EamRate, EamRates, EamTraffic, EamUsage, Rate};

#[derive(Debug, Args)]
pub(in super::super) struct Idle {
    /// For how long nobody has used them: 30d, 12h, "1month 2days"
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    time: Duration,
    /// How many entries to show
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    limit: u64,
}

fn time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| format!("{error}; give a time such as 30d or 12h"))?;
    if time.as_secs() == 0 { Err("give at least a second".to_owned()) } else { Ok(time) }
}

/// Measures rates and shows the busiest entries.
pub(super) fn rates(common: &Common, seconds: u64, limit: u64) -> Result<(), Failed> {
    let path = format!("/v1/eam/rates?seconds={seconds}&limit={limit}");
    client::get::<EamRates>(common, &path)?.print(common, human_rates);
    Ok(())
}

/// Shows what nobody uses.
pub(super) fn idle(common: &Common, idle: &Idle) -> Result<(), Failed> {
    let path = format!("/v1/eam/idle?seconds={}&limit={}", idle.time.as_secs(), idle.limit);
    client::get::<EamIdle>(common, &path)?.print(common, human_idle);
    Ok(())
}

/// A number with the prefix of its thousands, as operators write rates.
fn si(value: f64, unit: &str) -> String {
    let (scale, prefix) = match value {
        1e9.. => (1e9, "G"),
        1e6.. => (1e6, "M"),
        1e3.. => (1e3, "k"),
        _ => (1.0, ""),
    };
    format!("{:.1} {prefix}{unit}", value / scale)
}

fn rate(Rate { packets_per_second, bits_per_second }: Rate) -> [String; 2] {
    [si(packets_per_second, "p/s"), si(bits_per_second, "b/s")]
}

fn last_used(usage: &EamUsage) -> String {
    usage.last_used.clone().unwrap_or_else(|| format!("not since {}", usage.since))
}

fn total(EamTraffic { packets, bytes }: EamTraffic) -> [String; 2] {
    [packets.to_string(), bytes.to_string()]
}

fn is_or_are(number: u64) -> &'static str {
    if number == 1 { "is" } else { "are" }
}

fn human_rates(answer: &EamRates) -> String {
    let left = |name| (name, Align::Left);
    let right = |name| (name, Align::Right);
    let columns = [
        left("ENTRY"),
        right("4→6"),
        right(""),
        right("6→4"),
        right(""),
        right("PACKETS 4→6"),
        right("BYTES"),
        right("PACKETS 6→4"),
        right("BYTES"),
        left("LAST USED"),
    ];
    let row = |EamRate { entry, rates, usage }: &EamRate| {
        let cells =
            [rate(rates.four_to_six), rate(rates.six_to_four), total(usage.four_to_six), total(usage.six_to_four)];
        std::iter::once(pair(entry)).chain(cells.concat()).chain([last_used(usage)]).collect()
    };
    let rows: Vec<Vec<String>> = answer.entries.iter().map(row).collect();
    let shown = if rows.is_empty() { "no entry has been used\n".to_owned() } else { table(&columns, &rows) };
    let more = match answer.omitted {
        0 => String::new(),
        omitted => format!(", {omitted} more {} not shown (--limit)", is_or_are(omitted)),
    };
    format!("{shown}\n{} used in {:.1} s{more}\n", count(rows.len(), "entry", "entries"), answer.seconds)
}

fn human_idle(answer: &EamIdle) -> String {
    let columns = [("ENTRY", Align::Left), ("LAST USED", Align::Left), ("COMMENT", Align::Left)];
    let row =
        |idle: &crate::api::EamIdleEntry| vec![pair(&idle.entry), last_used(&idle.usage), idle.entry.comment.clone()];
    let rows: Vec<Vec<String>> = answer.entries.iter().map(row).collect();
    let mut text = if rows.is_empty() { String::new() } else { table(&columns, &rows) + "\n" };
    let found = rows.len() as u64 + answer.omitted;
    let verb = if found == 1 { "entry has" } else { "entries have" };
    text.push_str(&format!("{found} {verb} not been used for {}\n", duration(answer.seconds)));
    if answer.omitted > 0 {
        text.push_str(&format!("{} of them {} not shown\n", answer.omitted, is_or_are(answer.omitted)));
    }
    if answer.too_young > 0 {
        let young = answer.too_young;
        let (have, are) = (if young == 1 { "has" } else { "have" }, is_or_are(young));
        text.push_str(&format!(
            "{young} more without use {have} been counted for a shorter time and {are} not called idle\n"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        assert_eq!(time("30d").unwrap().as_secs(), 30 * 86_400);
        assert_eq!(time("12h").unwrap().as_secs(), 43_200);
        assert!(time("soon").unwrap_err().contains("30d"));
        assert!(time("10ms").is_err());
    }

    #[test]
    fn one_is_one() {
        let rates = EamRates { seconds: 1.0, entries: Vec::new(), omitted: 1 };
        assert!(human_rates(&rates).ends_with("0 entries used in 1.0 s, 1 more is not shown (--limit)\n"));
        let idle = EamIdle { seconds: 60, entries: Vec::new(), omitted: 1, too_young: 1 };
        assert!(human_idle(&idle).ends_with(
            "\n1 of them is not shown\n1 more without use has been counted for a shorter time and is not called idle\n"
        ));
        let idle = EamIdle { omitted: 2, too_young: 2, ..idle };
        assert!(human_idle(&idle).ends_with(
            "\n2 of them are not shown\n2 more without use have been counted for a shorter time and are not called idle\n"
        ));
    }

    #[test]
    fn rates_have_prefixes() {
        assert_eq!(si(999.0, "b/s"), "999.0 b/s");
        assert_eq!(si(1_250_000.0, "b/s"), "1.2 Mb/s");
    }
}
