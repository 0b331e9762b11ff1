//! The same packets through xlat and Jool: `cargo xtask compare packets`.
//!
//! `compare record ROWS PACKETS`, in a virtual machine that has both, prints a line for each packet ([`Case`]). `compare
//! judge CASES DOCUMENT` reads those lines and writes down which of the two is right.

use std::{fs, path::Path, process::ExitCode};

use anyhow::{Context as _, Result, bail};
use xlat_tests::{
    compare::{
        case::{Case, is_endless},
        judge,
        report::Report,
        rows,
        settings::{self, Settings},
        wire::Wire,
    },
    fuzz::{corpus, generate, random::Random},
    lab::{Daemon, Jool},
    reference::Family,
};

/// Where random packets come from: the same every time.
const SEED: u64 = 7;
/// What the tables stand between in the document.
const BEGIN: &str = "<!-- compare packets begins -->\n";
const END: &str = "<!-- compare packets ends -->";

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
        ["judge", cases, document] => write_down(Path::new(cases), Path::new(document)),
        _ => bail!("`compare record ROWS PACKETS` and `compare judge CASES DOCUMENT` are run by `cargo xtask compare`"),
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

/// Writes what the cases show into the document, between two lines of it, and beside it for programs.
fn write_down(cases: &Path, document: &Path) -> Result<()> {
    let text = fs::read_to_string(cases).with_context(|| format!("reading {}", cases.display()))?;
    let report = Report::new(judge::read(&text)?)?;
    let json = serde_json::to_string_pretty(&report.json())? + "\n";
    let beside = document.with_extension("json");
    fs::write(&beside, json).with_context(|| format!("writing {}", beside.display()))?;
    let text = fs::read_to_string(document).with_context(|| format!("reading {}", document.display()))?;
    let (Some(begin), Some(end)) = (text.find(BEGIN), text.find(END)) else {
        bail!("{} lacks the lines between which the tables stand: {BEGIN} and {END}", document.display());
    };
    let text = format!("{}{}\n{}", &text[..begin + BEGIN.len()], report.markdown(), &text[end..]);
    fs::write(document, text).with_context(|| format!("writing {}", document.display()))
}

impl Pair {
    fn new(settings: &Settings) -> Result<Self> {
        let (xlat, jool) = (Wire::new()?, Wire::new()?);
        let daemon = Daemon::start(&xlat.machine, &settings.xlat)?;
        let instance = Jool::start(&jool.machine, settings.prefix, &settings.eams, settings.ipv4_pool)?;
        Ok(Self { xlat, jool, _daemon: daemon, _jool: instance })
    }

    /// Sends a packet by an interface of its family that is large enough for it.
    fn send_of(&self, name: &str, family: Family, packet: &[u8]) -> Result<()> {
        const ETHERNET: usize = 1500;
        let arrives_by = match (family, packet.len() <= ETHERNET) {
            (Family::Ipv4, true) => "v4",
            (Family::Ipv4, false) => "v4-9000",
            (Family::Ipv6, true) => "v6",
            (Family::Ipv6, false) => "v6-9000",
        };
        self.send(name, "", arrives_by, packet)
    }

    fn send(&self, name: &str, section: &str, arrives_by: &str, packet: &[u8]) -> Result<()> {
        let is_ipv6 = arrives_by.starts_with("v6");
        self.xlat.send(arrives_by, packet, is_ipv6).with_context(|| name.to_owned())?;
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
