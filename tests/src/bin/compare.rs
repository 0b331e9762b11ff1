//! The same packets through xlat and Jool, in a virtual machine that has both: `cargo xtask compare`.
//!
//! `compare ROWS PACKETS` prints a line for each packet that they treat differently, tabs between: where it is from, what xlat
//! and Jool do, the fields that differ, the packet. The last line counts.

use std::{collections::BTreeMap, path::Path, process::ExitCode};

use anyhow::{Context as _, Result, anyhow};
use ipnet::{Ipv4Net, Ipv6Net};
use xlat_ctl::config;
use xlat_tests::{
    compare::{
        outcome::{difference, kind},
        rows,
        wire::Wire,
    },
    fuzz::{configs, corpus, generate, random::Random},
    harness::settings,
    lab::{Daemon, Jool},
    reference::{Family, hex},
};

/// Where random packets come from: the same every time.
const SEED: u64 = 7;
/// What both are told: the plain translator of RFC 7915, for which the translation prefix alone is enough, as Jool is.
const CHANGES: &str = "
translation.scope = 'all'
control.socket = 'SOCKET'
state.directory = 'STATE'
";

/// xlat and Jool with the same table.
struct Pair {
    xlat: Wire,
    jool: Wire,
    _daemon: Daemon,
    _jool: Jool,
    totals: BTreeMap<&'static str, u64>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let [file, packets] = arguments else {
        return Err(anyhow!("`compare ROWS PACKETS` is run by `cargo xtask compare`"));
    };
    let packets: u64 = packets.parse().with_context(|| format!("{packets}: no number"))?;
    let mut pair = Pair::new(&settings(CHANGES))?;
    for row in rows::read(Path::new(file))? {
        let is_ipv6 = row.arrives_by.starts_with("v6");
        pair.send(&format!("{} ({})", row.name, row.section), &row.arrives_by, &row.packet, is_ipv6)?;
    }
    let named = configs::all().into_iter().find(|named| named.name == "default").context("no default configuration")?;
    drop(pair);
    let text = settings(CHANGES);
    let mut table: toml::Table = text.parse().context("the settings")?;
    let own: toml::Table = named.toml().parse().context("the fuzzer's configuration")?;
    table.insert("eam".to_owned(), own["eam"].clone());
    let mut pair = Pair::new(&table.to_string())?;
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (number, entry) in corpus::read(&directory)?.iter().enumerate() {
        pair.send_of(&format!("corpus {}", number + 1), entry.family, &entry.packet)?;
    }
    let mut random = Random::new(SEED);
    for number in 0..packets {
        let (family, packet) = generate::packet(&mut random, &named.config);
        pair.send_of(&format!("random {number}"), family, &packet)?;
    }
    Ok(())
}

impl Pair {
    fn new(text: &str) -> Result<Self> {
        let checked = config::parse(text).map_err(|problems| {
            let lines: Vec<&str> = problems.iter().map(|problem| problem.text.as_str()).collect();
            anyhow!("the configuration is refused: {}", lines.join("; "))
        })?;
        let config = checked.config;
        let (xlat, jool) = (Wire::new()?, Wire::new()?);
        let daemon = Daemon::start(&xlat.machine, text)?;
        let eams: Vec<(Ipv4Net, Ipv6Net)> =
            config.eams.iter().map(|entry| (entry.pair.ipv4(), entry.pair.ipv6())).collect();
        let prefix = *config.translation.prefixes.first().context("no translation prefix")?;
        let instance = Jool::start(&jool.machine, prefix, &eams, config.icmp.ipv4_pool.first().copied())?;
        Ok(Self { xlat, jool, _daemon: daemon, _jool: instance, totals: BTreeMap::new() })
    }

    fn send_of(&mut self, name: &str, family: Family, packet: &[u8]) -> Result<()> {
        let is_ipv6 = matches!(family, Family::Ipv6);
        self.send(name, if is_ipv6 { "v6" } else { "v4" }, packet, is_ipv6)
    }

    fn send(&mut self, name: &str, arrives_by: &str, packet: &[u8], is_ipv6: bool) -> Result<()> {
        let xlat = self.xlat.exchange(arrives_by, packet, is_ipv6)?;
        let jool = self.jool.exchange(arrives_by, packet, is_ipv6)?;
        let found = difference(packet, &xlat, &jool);
        let same = found.as_ref().is_some_and(Vec::is_empty);
        *self.totals.entry(if same { "same" } else { "different" }).or_default() += 1;
        if !same {
            let fields = found.unwrap_or_default();
            let fields: Vec<String> = fields.iter().map(|(name, one, other)| field(name, one, other)).collect();
            let (xlat, jool) = (kind(packet, is_ipv6, &xlat), kind(packet, is_ipv6, &jool));
            println!("{name}\t{xlat}\t{jool}\t{}\t{}", fields.join("; "), hex(packet));
        }
        Ok(())
    }
}

/// A field that differs; of long ones where.
fn field(name: &str, one: &str, other: &str) -> String {
    const LONG: usize = 40;
    if one.len().max(other.len()) <= LONG {
        return format!("{name}: {one} | {other}");
    }
    let place = one.bytes().zip(other.bytes()).position(|(one, other)| one != other);
    let byte = place.unwrap_or(one.len().min(other.len())) / 2;
    format!("{name}: from byte {byte} of {} | {}", one.len() / 2, other.len() / 2)
}

impl Drop for Pair {
    fn drop(&mut self) {
        println!("totals\t{:?}", self.totals);
    }
}
