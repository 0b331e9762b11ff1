//! The same packets through xlat and Jool: `cargo xtask compare packets`.
//!
//! `compare record ROWS PACKETS`, in a virtual machine that has both, prints a line for each packet ([`Case`]). `compare
//! judge CASES` reads those lines.

use std::{fs, path::Path, process::ExitCode};

use anyhow::{Context as _, Result, bail};
use xlat_tests::{
    compare::{
        case::{Case, is_endless},
        judge, rows,
        settings::{self, Settings},
        wire::Wire,
    },
    fuzz::{corpus, generate, random::Random},
    lab::{Daemon, Jool},
    reference::Family,
};

/// Where random packets come from: the same every time.
const SEED: u64 = 7;

/// xlat and Jool with the same table.
struct Pair {
    xlat: Wire,
    jool: Wire,
    _daemon: Daemon,
    _jool: Jool,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Result<()> {
    match arguments {
        ["record", rows, packets] => {
            record(Path::new(rows), packets.parse().with_context(|| format!("{packets}: no number"))?)
        }
        ["judge", cases] => print_judgement(Path::new(cases)),
        _ => bail!("`compare record ROWS PACKETS` and `compare judge CASES` are run by `cargo xtask compare`"),
    }
}

fn record(file: &Path, packets: u64) -> Result<()> {
    let pair = Pair::new(&settings::of_rows()?)?;
    for row in rows::read(file)? {
        pair.send(&row.name, &row.section, &row.arrives_by, &row.packet)?;
    }
    drop(pair);
    let pair = Pair::new(&settings::of_fuzzing()?)?;
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (number, entry) in corpus::read(&directory)?.iter().enumerate() {
        pair.send_of(&format!("corpus {}", number + 1), entry.family, &entry.packet)?;
    }
    let named = settings::default_relay()?;
    let mut random = Random::new(SEED);
    for number in 1..=packets {
        let (family, packet) = generate::packet(&mut random, &named.config);
        pair.send_of(&format!("random {number}"), family, &packet)?;
    }
    Ok(())
}

fn print_judgement(file: &Path) -> Result<()> {
    let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let found = judge::differences(judge::read(&text)?)?;
    for ([xlat, jool, reason, names], all) in judge::groups(&found) {
        println!("{:5} xlat {xlat} | Jool {jool} | {reason} | {names}", all.len());
        for example in all.iter().take(4) {
            println!("        {} ({}) {:?}", example.case.name, example.case.section, example.changes);
        }
    }
    Ok(())
}

impl Pair {
    fn new(settings: &Settings) -> Result<Self> {
        let (xlat, jool) = (Wire::new()?, Wire::new()?);
        let daemon = Daemon::start(&xlat.machine, &settings.xlat)?;
        let instance = Jool::start(&jool.machine, settings.prefix, &settings.eams, settings.ipv4_pool)?;
        Ok(Self { xlat, jool, _daemon: daemon, _jool: instance })
    }

    fn send_of(&self, name: &str, family: Family, packet: &[u8]) -> Result<()> {
        self.send(name, "", if family == Family::Ipv6 { "v6" } else { "v4" }, packet)
    }

    fn send(&self, name: &str, section: &str, arrives_by: &str, packet: &[u8]) -> Result<()> {
        let is_ipv6 = arrives_by.starts_with("v6");
        self.xlat.send(arrives_by, packet, is_ipv6)?;
        let is_given = !is_endless(packet);
        if is_given {
            self.jool.send(arrives_by, packet, is_ipv6)?;
        }
        let xlat = self.xlat.listen()?;
        // It has had as long.
        let jool = if is_given { Some(self.jool.heard()?) } else { None };
        let [name, section, arrives_by] = [name, section, arrives_by].map(str::to_owned);
        println!("{}", Case { name, section, arrives_by, packet: packet.to_vec(), xlat, jool }.line());
        Ok(())
    }
}
