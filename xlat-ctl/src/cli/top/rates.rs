//! What is shown: rates between two readings.

use serde::Serialize;

use crate::api::{InterfaceTraffic, Stats, Status, Traffic};

/// What the daemon says at one moment.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) status: Status,
    pub(super) stats: Stats,
}

/// Everything that is shown.
#[derive(Debug, Serialize)]
pub(super) struct View {
    /// The daemon as it describes itself.
    pub(super) status: Status,
    /// Seconds that the rates are over; 0: there are none yet.
    pub(super) seconds: f64,
    /// Translated packets.
    pub(super) directions: Vec<Direction>,
    /// Packets by verdict, both directions.
    pub(super) verdicts: Vec<Rate>,
    /// Reasons for drops, those that move first.
    pub(super) drops: Vec<Drops>,
    /// ICMP errors of the relay's own.
    pub(super) icmp_errors_sent: Rate,
    /// The share of translated packets whose next hop was remembered, from 0 to 1.
    pub(super) next_hops_remembered: Option<f64>,
    /// What the interfaces count.
    pub(super) interfaces: Vec<InterfaceRate>,
    /// The time of XDP, where the kernel measures it.
    pub(super) xdp: Option<XdpTime>,
}

/// One direction.
#[derive(Debug, Serialize)]
pub(super) struct Direction {
    /// All protocols.
    #[serde(flatten)]
    pub(super) all: Rate,
    /// Each of them.
    pub(super) protocols: Vec<Rate>,
}

/// A number of packets that grows.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Rate {
    pub(super) name: String,
    pub(super) packets: u64,
    pub(super) packets_per_second: f64,
    pub(super) bits_per_second: f64,
}

/// What one interface counts, translated or not.
#[derive(Clone, Debug, Serialize)]
pub(super) struct InterfaceRate {
    pub(super) name: String,
    pub(super) received: Rate,
    pub(super) sent: Rate,
}

/// Packets that were dropped for one reason.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Drops {
    #[serde(flatten)]
    pub(super) rate: Rate,
    /// What it means.
    pub(super) text: String,
    /// Whether it has begun since the first reading.
    pub(super) new: bool,
}

/// How long the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct XdpTime {
    /// Of one CPU: 1.5 is one and a half CPUs.
    pub(super) cpus: f64,
    /// Nanoseconds for a frame.
    pub(super) nanoseconds: f64,
}

/// Verdicts with which a packet leaves translated. What the fragmenter gets comes back and is counted again.
const TRANSLATED: [&str; 3] = ["transmitted", "redirected", "to_kernel"];

/// Two readings, and the time between them.
struct Pair<'reading> {
    after: &'reading Reading,
    /// Counts of before, and seconds since; `None`: rates would be wrong, of a first reading or another daemon.
    before: Option<(&'reading Reading, f64)>,
}

impl View {
    /// From the latest reading, the one before it, and the first of all.
    pub(super) fn new(after: &Reading, before: Option<&Reading>, first: &Reading) -> Self {
        let milliseconds = |reading: &Reading| reading.stats.uptime_milliseconds;
        let same =
            |before: &&Reading| before.status.pid == after.status.pid && milliseconds(before) < milliseconds(after);
        let before =
            before.filter(same).map(|before| (before, (milliseconds(after) - milliseconds(before)) as f64 / 1000.0));
        let pair = Pair { after, before };
        Self {
            status: after.status.clone(),
            seconds: before.map_or(0.0, |(_, seconds)| seconds),
            directions: pair.directions(),
            verdicts: pair.verdicts(),
            drops: pair.drops(first),
            icmp_errors_sent: pair.rate("icmp_errors_sent", |stats| (stats.icmp_errors_sent, 0)),
            next_hops_remembered: pair.next_hops_remembered(),
            interfaces: pair.interfaces(),
            xdp: pair.xdp(),
        }
    }
}

impl Pair<'_> {
    /// The rate of what `count` gives, packets and bytes.
    fn rate(&self, name: &str, count: impl Fn(&Stats) -> (u64, u64)) -> Rate {
        let (packets, bytes) = count(&self.after.stats);
        let mut rate = Rate { name: name.to_owned(), packets, ..Rate::default() };
        if let Some((before, seconds)) = self.before {
            let (old_packets, old_bytes) = count(&before.stats);
            rate.packets_per_second = packets.saturating_sub(old_packets) as f64 / seconds;
            rate.bits_per_second = bytes.saturating_sub(old_bytes) as f64 * 8.0 / seconds;
        }
        rate
    }

    /// The same of all cells that are so.
    fn traffic(&self, name: &str, is_so: impl Fn(&Traffic) -> bool) -> Rate {
        self.rate(name, |stats| {
            let cells = stats.traffic.iter().filter(|cell| is_so(cell));
            cells.fold((0, 0), |(packets, bytes), cell| (packets + cell.packets, bytes + cell.bytes))
        })
    }

    fn directions(&self) -> Vec<Direction> {
        let names = unique(self.after.stats.traffic.iter().map(|cell| cell.direction.as_str()));
        let protocols = unique(self.after.stats.traffic.iter().map(|cell| cell.protocol.as_str()));
        let counts = |cell: &Traffic, direction: &str| {
            cell.direction == direction && TRANSLATED.contains(&cell.verdict.as_str())
        };
        let direction = |direction: &&str| Direction {
            all: self.traffic(direction, |cell| counts(cell, direction)),
            protocols: protocols
                .iter()
                .map(|protocol| self.traffic(protocol, |cell| counts(cell, direction) && cell.protocol == *protocol))
                .collect(),
        };
        names.iter().map(direction).collect()
    }

    fn verdicts(&self) -> Vec<Rate> {
        let names = unique(self.after.stats.traffic.iter().map(|cell| cell.verdict.as_str()));
        names.iter().map(|verdict| self.traffic(verdict, |cell| cell.verdict == *verdict)).collect()
    }

    fn drops(&self, first: &Reading) -> Vec<Drops> {
        let dropped = |stats: &Stats, reason: &str| {
            stats.drops.iter().find(|drops| drops.reason == reason).map_or(0, |drops| drops.packets)
        };
        let all = self.after.stats.drops.iter().filter(|drops| drops.packets > 0);
        let mut all: Vec<Drops> = all
            .map(|drops| Drops {
                rate: self.rate(&drops.reason, |stats| (dropped(stats, &drops.reason), 0)),
                text: drops.text.clone(),
                new: dropped(&first.stats, &drops.reason) == 0,
            })
            .collect();
        all.sort_by(|one, other| {
            let key = |drops: &Drops| (drops.rate.packets_per_second, drops.rate.packets as f64);
            key(other).partial_cmp(&key(one)).unwrap_or(std::cmp::Ordering::Equal)
        });
        all
    }

    /// A packet that is translated asks the routing table once at most, and few that are dropped do.
    fn next_hops_remembered(&self) -> Option<f64> {
        let (before, _) = self.before?;
        let translated = |stats: &Stats| {
            let cells = stats.traffic.iter().filter(|cell| TRANSLATED.contains(&cell.verdict.as_str()));
            cells.map(|cell| cell.packets).sum::<u64>()
        };
        let packets =
            translated(&self.after.stats).checked_sub(translated(&before.stats)).filter(|count| *count > 0)?;
        let asked = self.after.stats.route_lookups.saturating_sub(before.stats.route_lookups);
        Some(1.0 - asked.min(packets) as f64 / packets as f64)
    }

    fn interfaces(&self) -> Vec<InterfaceRate> {
        let find = |stats: &Stats, name: &str| stats.interfaces.iter().find(|there| there.name == name).cloned();
        // One that has just come has no rate yet.
        let came = |name: &str| self.before.is_some_and(|(before, _)| find(&before.stats, name).is_none());
        let rate = |name: &str, label: &str, count: fn(&InterfaceTraffic) -> (u64, u64)| {
            let rate = self.rate(label, |stats| find(stats, name).map_or((0, 0), |there| count(&there)));
            if came(name) { Rate { packets_per_second: 0.0, bits_per_second: 0.0, ..rate } } else { rate }
        };
        let interfaces = self.after.stats.interfaces.iter().map(|interface| InterfaceRate {
            name: interface.name.clone(),
            received: rate(&interface.name, "received", |there| (there.received_packets, there.received_bytes)),
            sent: rate(&interface.name, "sent", |there| (there.sent_packets, there.sent_bytes)),
        });
        interfaces.collect()
    }

    fn xdp(&self) -> Option<XdpTime> {
        let (before, seconds) = self.before?;
        let (after, before) = (&self.after.status.program, &before.status.program);
        // Another program counts from zero.
        let time = after.run_time_nanoseconds.checked_sub(before.run_time_nanoseconds)?;
        let runs = after.runs.checked_sub(before.runs).filter(|runs| *runs > 0 && after.id == before.id)?;
        Some(XdpTime { cpus: time as f64 / 1e9 / seconds, nanoseconds: time as f64 / runs as f64 })
    }
}

/// Each name once, in the order of the first of each.
fn unique<'name>(names: impl Iterator<Item = &'name str>) -> Vec<&'name str> {
    let mut all = Vec::new();
    for name in names {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    all
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Two readings of a relay in a lab, a second apart, of clients that ping and fetch, some with a TTL that ends there.
    pub(in crate::cli::top) fn readings() -> [Reading; 2] {
        [include_str!("testdata/before.json"), include_str!("testdata/after.json")].map(|text| {
            let value: serde_json::Value = serde_json::from_str(text).unwrap();
            let part = |name: &str| value[name].clone();
            Reading {
                status: serde_json::from_value(part("status")).unwrap(),
                stats: serde_json::from_value(part("stats")).unwrap(),
            }
        })
    }

    #[test]
    fn has_no_rates_of_one_reading_or_of_two_daemons() {
        let [mut before, after] = readings();
        assert_eq!(View::new(&after, None, &after).seconds, 0.0);
        before.status.pid += 1;
        let view = View::new(&after, Some(&before), &before);
        assert_eq!((view.seconds, view.directions[0].all.packets_per_second), (0.0, 0.0));
    }

    #[test]
    fn adds_up_and_marks_what_is_new() {
        let [before, after] = readings();
        let view = View::new(&after, Some(&before), &before);
        for direction in &view.directions {
            let sum: f64 = direction.protocols.iter().map(|rate| rate.packets_per_second).sum();
            assert!((sum - direction.all.packets_per_second).abs() < 1e-6 && sum > 0.0, "{direction:?}");
        }
        assert!(view.drops.iter().any(|drops| drops.new && drops.rate.packets_per_second > 0.0), "{:?}", view.drops);
        assert!(!View::new(&after, Some(&before), &after).drops.iter().any(|drops| drops.new));
    }

    #[test]
    fn knows_the_time_of_the_same_program_alone() {
        let [mut before, mut after] = readings();
        before.status.program.run_time_nanoseconds = 1_000_000;
        after.status.program.run_time_nanoseconds = 101_000_000;
        (before.status.program.runs, after.status.program.runs) = (1_000, 1_001_000);
        let view = View::new(&after, Some(&before), &before);
        let xdp = view.xdp.expect("a time");
        assert!((xdp.nanoseconds - 100.0).abs() < 1e-6 && (xdp.cpus * view.seconds - 0.1).abs() < 1e-6, "{xdp:?}");
        after.status.program.id += 1;
        assert_eq!(View::new(&after, Some(&before), &before).xdp, None);
    }
}
