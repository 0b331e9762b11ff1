//! All figures of a run, and their table.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::{Deserialize, Serialize};

use crate::{
    bulk, check, control, ns, rates,
    stats::Spread,
    targets::{Target, targets},
};

/// All figures.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Report {
    /// The machine, in words.
    pub(crate) machine: String,
    /// The programs by name.
    pub(crate) programs: BTreeMap<String, check::Size>,
    /// Nanoseconds of one packet.
    pub(crate) ns: Option<ns::Report>,
    /// Packets a second.
    pub(crate) rates: Vec<rates::Row>,
    /// Loss and latency.
    pub(crate) load: Vec<rates::load::Row>,
    /// The control plane.
    pub(crate) control: Option<control::Report>,
    /// TCP in bulk.
    pub(crate) bulk: Vec<bulk::Row>,
}

impl Report {
    /// This one, with what it lacks from another.
    pub(crate) fn over(self, before: Self) -> Self {
        Self {
            machine: self.machine,
            programs: if self.programs.is_empty() { before.programs } else { self.programs },
            ns: self.ns.or(before.ns),
            rates: if self.rates.is_empty() { before.rates } else { self.rates },
            load: if self.load.is_empty() { before.load } else { self.load },
            control: self.control.or(before.control),
            bulk: if self.bulk.is_empty() { before.bulk } else { self.bulk },
        }
    }

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
        if !self.load.is_empty() {
            let _ = load_table(&mut text, &self.load);
        }
        if let Some(control) = &self.control {
            text += &control::table(control);
        }
        if !self.bulk.is_empty() {
            let _ = bulk_table(&mut text, &self.bulk);
        }
        if !self.programs.is_empty() {
            let _ = write!(text, "\nPrograms\n\n{}", check::table(&self.programs));
        }
        let _ = targets_table(&mut text, &targets(self));
        text
    }
}

fn bulk_table(text: &mut String, bulk: &[bulk::Row]) -> std::fmt::Result {
    writeln!(text, "\nTCP in bulk (iperf3), Gbit/s: median (least to greatest)\n")?;
    for row in bulk {
        let links = if row.segments { "links with segments of 64 KiB" } else { "links with frames as on a wire" };
        writeln!(text, "{:10}{links:34}{:.2}", row.subject, row.gbits)?;
    }
    Ok(())
}

fn targets_table(text: &mut String, targets: &[Target]) -> std::fmt::Result {
    if targets.iter().all(|target| target.measured.is_none()) {
        return Ok(());
    }
    writeln!(text, "\n{:84}measured", "to reach")?;
    for target in targets.iter().filter(|target| target.measured.is_some()) {
        writeln!(text, "{:74}{:10}{:28}{}", target.what, target.wanted, target.measured(), target.verdict())?;
    }
    Ok(())
}

fn load_table(text: &mut String, load: &[rates::load::Row]) -> std::fmt::Result {
    writeln!(text, "\nLoss and latency, load and relay on a CPU each: median (least to greatest)\n")?;
    writeln!(
        text,
        "{:4}{:17}{:24}{:24}{:24}{:24}{:24}lost meanwhile, %",
        "way", "subject", "zero loss, Mpps", "median, us", "99 %, us", "median over redirect", "99 % over redirect"
    )?;
    for row in load {
        write!(text, "{:4}{:17}{}", row.way, row.subject, width(row.zero_loss, 2, 24))?;
        if row.median.median > 0.0 {
            let [median, p99] = [row.median, row.p99].map(|time| width(time, 1, 24));
            let [median_over, p99_over] = [row.median_over, row.p99_over].map(|over| width(over, 2, 24));
            write!(text, "{median}{p99}{median_over}{p99_over}{:.3}", 100.0 * row.lost.median)?;
        }
        writeln!(text)?;
    }
    Ok(())
}

fn rates_table(text: &mut String, rates: &[rates::Row]) -> std::fmt::Result {
    writeln!(text, "\nMillion packets a second in the rig: median (least to greatest)\n")?;
    writeln!(
        text,
        "{:4}{:40}{:17}{:>5} {:23}{:8}{:17}{:8}ratio",
        "way", "scene", "subject", "CPUs", "Mpps", "arrived", "over", "arrived"
    )?;
    for row in rates {
        writeln!(
            text,
            "{:4}{:40}{:17}{:>5} {}{:<8.3}{:17}{:<8.3}{}",
            row.way,
            row.scene,
            row.subject,
            row.cpus,
            width(row.mpps, 2, 23),
            row.arrived.median,
            row.over,
            row.over_arrived.median,
            width(row.ratio, 2, 22)
        )?;
    }
    Ok(())
}

fn ns_table(text: &mut String, ns: &ns::Report) -> std::fmt::Result {
    let mib = ns.memory_bytes >> 20;
    writeln!(text, "Nanoseconds of one packet (BPF_PROG_TEST_RUN): median (least to greatest)\n")?;
    writeln!(text, "bare XDP_TX                                     {}", width(ns.transmit, 1, 26))?;
    writeln!(text, "one dependent read of a random line in {mib:>3} MiB  {}", width(ns.memory, 1, 26))?;
    for floor in &ns.floors {
        let (ns, over) = (width(floor.ns, 1, 26), width(floor.over_transmit, 2, 22));
        writeln!(text, "{:48}{ns} {over}", format!("{} {}", floor.way, floor.what))?;
    }
    writeln!(text)?;
    writeln!(
        text,
        "{:4}{:40}{:10}{:27}{:23}{:22}reads more than UDP",
        "way", "scene", "verdict", "ns", "over bare XDP_TX", "over UDP"
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

/// This machine in words: kernel, processor, CPUs, and TAYGA's package.
pub(crate) fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let release = read("/proc/sys/kernel/osrelease");
    let number = release.split(['-', '+']).next().unwrap_or_default().trim().to_owned();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).unwrap_or_default().1;
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let asked = std::process::Command::new("dpkg-query").args(["--show", "--showformat=${Version}", "tayga"]).output();
    let tayga = asked
        .ok()
        .filter(|output| output.status.success())
        .map(|output| format!(", TAYGA {}", String::from_utf8_lossy(&output.stdout).trim()));
    format!("Linux {number}, {model}, {cpus} CPUs{}", tayga.unwrap_or_default())
}
