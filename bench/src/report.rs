//! All figures of a run, and their table.

use std::fmt::Write as _;

use serde::Serialize;

use crate::{ns, rates, stats::Spread};

/// All figures.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// Nanoseconds of one packet.
    pub(crate) ns: Option<ns::Report>,
    /// Packets a second.
    pub(crate) rates: Vec<rates::Row>,
}

impl Report {
    /// For a person.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        if let Some(ns) = &self.ns {
            // Writing to a string does not fail.
            let _ = ns_table(&mut text, ns);
        }
        if !self.rates.is_empty() {
            let _ = rates_table(&mut text, &self.rates);
        }
        text
    }
}

fn rates_table(text: &mut String, rates: &[rates::Row]) -> std::fmt::Result {
    writeln!(text, "\nMillion packets a second in the rig: median (least to greatest)\n")?;
    writeln!(
        text,
        "{:4}{:40}{:17}{:>5} {:23}{:8}{:17}{}",
        "way", "scene", "subject", "CPUs", "Mpps", "arrived", "over", "ratio"
    )?;
    for row in rates {
        writeln!(
            text,
            "{:4}{:40}{:17}{:>5} {}{:<8.3}{:17}{}",
            row.way,
            row.scene,
            row.subject,
            row.cpus,
            width(row.mpps, 2, 23),
            row.arrived.median,
            row.over,
            width(row.ratio, 2, 22)
        )?;
    }
    Ok(())
}

fn ns_table(text: &mut String, ns: &ns::Report) -> std::fmt::Result {
    let mib = ns.memory_bytes >> 20;
    writeln!(text, "Nanoseconds of one packet (BPF_PROG_TEST_RUN): median (least to greatest)\n")?;
    writeln!(text, "bare XDP_TX                                     {}", width(ns.transmit, 1, 26))?;
    writeln!(text, "one dependent read of a random line in {mib:>3} MiB  {}\n", width(ns.memory, 1, 26))?;
    writeln!(
        text,
        "{:4}{:40}{:10}{:27}{:23}{:22}{}",
        "way", "scene", "verdict", "ns", "over bare XDP_TX", "over UDP", "reads more than UDP"
    )?;
    for row in &ns.rows {
        writeln!(
            text,
            "{:4}{:40}{:10}{} {} {} {}",
            row.way,
            row.scene,
            row.verdict,
            width(row.ns, 1, 26),
            width(row.over_transmit, 2, 22),
            width(row.over_plain, 2, 21),
            width(row.reads_more, 2, 22)
        )?;
    }
    Ok(())
}

fn width(spread: Spread, places: usize, width: usize) -> String {
    format!("{:width$}", format!("{spread:.places$}"))
}
