//! The control plane: what the daemon and its command take, with tables of several sizes.
//!
//! Everything but the filling of the data plane is measured from outside, on the real daemon and with the real command, whose
//! own start is in its figures.

use std::{
    fmt::Write as _,
    fs,
    io::{BufWriter, Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use xlat_tests::lab::{Namespace, Running};

use crate::{
    address::eam_list,
    progress::Progress,
    relay::Relay,
    rig::{self, MTU, Rig, Shape},
    scene::{Table, thousands},
    stats::Spread,
};

/// Entries that two files differ in.
const DIFFERENCES: usize = 1_000;
/// Single additions that are measured.
const ADDITIONS: u32 = 1_000;
/// Metrics pages that are fetched, beside the first.
const SCRAPES: usize = 5;
/// Between them: an answer of before is not readiness any more, and canaries are sent for each page.
const BETWEEN_SCRAPES: Duration = Duration::from_millis(1100);
/// Starts that are measured.
const STARTS: usize = 5;
/// The longest that anything may take.
const PATIENCE: Duration = Duration::from_secs(180);
/// More entries than one relay would have.
const BEYOND: u32 = 10_000_000;

/// Where a daemon's maps and links are pinned; the bench's process number follows.
const PINS: &str = "/sys/fs/bpf/xlat-bench-";

const CONFIGURATION: &str = r#"
[dataplane]
interfaces = ["clients", "services"]
max_eams = MAX
pin_directory = "PIN_DIRECTORY"
[translation]
prefixes = ["2001:db8:6464::/96"]
[state]
directory = "STATE/state"
[control]
socket = "STATE/xlat.sock"
group = "root"
[metrics]
listen = "127.0.0.1:9464"
"#;

/// The figures of one table. Seconds, if not said otherwise.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Row {
    /// Entries.
    pub(crate) eams: u32,
    /// From the start of the process until `status` says that it translates.
    pub(crate) cold_start: Spread,
    /// `apply` of the whole table to an empty daemon.
    pub(crate) apply_all: f64,
    /// `apply` of a file that differs in 1,000 entries.
    pub(crate) apply_differences: Spread,
    /// Median of `eam add`, milliseconds.
    pub(crate) add_median: f64,
    /// 99th percentile of `eam add`, milliseconds.
    pub(crate) add_p99: f64,
    /// Memory of the daemon's own, MiB.
    pub(crate) memory: f64,
    /// The same with the look-up tables that it has mapped, MiB.
    pub(crate) resident: f64,
    /// The most there ever was after a start, MiB.
    pub(crate) peak: f64,
    /// The most there was while the whole table was applied to an empty daemon, with two generations of the look-up tables, MiB.
    #[serde(default)]
    pub(crate) peak_of_whole: f64,
    /// The most there was while all other changes above were made, with two generations of the look-up tables, MiB.
    #[serde(default)]
    pub(crate) peak_of_differences: f64,
    /// Filling the look-up tables.
    pub(crate) filling: Spread,
    /// Memory of the look-up tables, MiB.
    pub(crate) tables: f64,
    /// A metrics page, milliseconds.
    pub(crate) scrape: Spread,
    /// Milliseconds of the first one, for which the canaries' program is loaded.
    first_scrape: f64,
}

/// What became of more entries than one relay would have.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Beyond {
    /// Entries.
    pub(crate) eams: u32,
    /// Seconds that loading the program with empty tables took.
    pub(crate) loading: f64,
    /// Seconds that filling the tables took.
    pub(crate) filling: f64,
    /// Memory of the look-up tables, MiB.
    pub(crate) tables: f64,
    /// Whether the first, the middle and the last entry translate.
    pub(crate) translates: bool,
}

/// All of them.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Report {
    /// One for each size of the table.
    pub(crate) rows: Vec<Row>,
    /// Beyond a relay's.
    pub(crate) beyond: Option<Beyond>,
}

/// Measures tables of so many entries.
///
/// # Errors
/// Without root, or the command is not beside the bench.
pub(crate) fn run(quick: bool) -> Result<Report> {
    let sizes: &[u32] = if quick { &[1_000, 100_000] } else { &[1_000, 10_000, 100_000, 1_000_000] };
    let mut progress = Progress::new("control plane", sizes.len() + 1);
    let mut rows = Vec::new();
    for eams in sizes {
        progress.step(&format!("{} EAMs", thousands(*eams)));
        rows.push(row(*eams, &progress).with_context(|| format!("with {} EAMs", thousands(*eams)))?);
    }
    progress.step(&format!("{} EAMs", thousands(BEYOND)));
    let beyond = if quick { None } else { Some(beyond()?) };
    progress.end();
    Ok(Report { rows, beyond })
}

fn row(eams: u32, progress: &Progress) -> Result<Row> {
    let table = Table { eams, lengths: 1 };
    let say = |what: &str| progress.say(&format!("{} EAMs: {what}", thousands(eams)));
    let outside = Namespace::new()?;
    let rig = Rig::new(&outside, 0, Shape { one_arm: false, mtu: MTU, xdp_outside: true })?;
    say("filling the data plane");
    let mut filling = Vec::new();
    let mut tables = 0.0;
    for _ in 0..STARTS {
        let filled = Relay::fill(&rig, table)?;
        filling.push(filled.filling);
        tables = filled.table_bytes as f64 / f64::from(1 << 20);
    }
    say("writing the files");
    let site = Site::new(eams)?;
    let (before, after) = (site.directory.path().join("before.csv"), site.directory.path().join("after.csv"));
    write_table(&before, table, 0)?;
    write_table(&after, table, DIFFERENCES.min(eams as usize / 2))?;
    say("applying the whole table");
    let mut daemon = site.start(&rig)?.0;
    let apply_all = site.timed(&format!("eam apply --yes {}", before.display()))?;
    let whole = Memory::of(daemon.id())?;
    Memory::forget_peak(daemon.id())?;
    say("applying differences");
    let mut differences = Vec::new();
    for file in [&after, &before, &after, &before, &after, &before] {
        differences.push(site.timed(&format!("eam apply --yes {}", file.display()))?);
    }
    say("adding single entries");
    let mut additions = Vec::new();
    for number in 0..ADDITIONS {
        let ipv4 = Ipv4Addr::from_bits(u32::from_be_bytes([18, 0, 0, 0]) + number);
        additions.push(1e3 * site.timed(&format!("eam add {ipv4} 2001:db8:add::{number:x}"))?);
    }
    additions.sort_by(f64::total_cmp);
    let changed = Memory::of(daemon.id())?;
    say("starting again");
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        daemon.terminate(Signal::SIGTERM)?;
        let (again, took) = site.start(&rig)?;
        daemon = again;
        starts.push(took);
    }
    say("fetching metrics");
    let first_scrape = rig.relay.inside(scrape)?;
    let next = |_| {
        thread::sleep(BETWEEN_SCRAPES);
        rig.relay.inside(scrape)
    };
    let scrapes = (0..SCRAPES).map(next).collect::<Result<Vec<_>>>()?;
    let memory = Memory::of(daemon.id())?;
    daemon.terminate(Signal::SIGTERM)?;
    Ok(Row {
        eams,
        cold_start: Spread::of(starts),
        apply_all,
        apply_differences: Spread::of(differences),
        add_median: additions[additions.len() / 2],
        add_p99: additions[additions.len() * 99 / 100],
        memory: memory.own,
        resident: memory.resident,
        peak: memory.peak,
        peak_of_whole: whole.peak,
        peak_of_differences: changed.peak,
        filling: Spread::of(filling),
        tables,
        scrape: Spread::of(scrapes),
        first_scrape,
    })
}

fn beyond() -> Result<Beyond> {
    let outside = Namespace::new()?;
    let rig = Rig::new(&outside, 0, Shape { one_arm: false, mtu: MTU, xdp_outside: true })?;
    let filled = Relay::fill(&rig, Table { eams: BEYOND, lengths: 1 })?;
    Ok(Beyond {
        eams: BEYOND,
        loading: filled.loading,
        filling: filled.filling,
        tables: filled.table_bytes as f64 / f64::from(1 << 20),
        translates: filled.translates,
    })
}

/// A table as a file; the last `other` entries with other IPv6 addresses.
fn write_table(path: &Path, table: Table, other: usize) -> Result<()> {
    let file = fs::File::create(path).with_context(|| format!("making {}", path.display()))?;
    let mut file = BufWriter::new(file);
    let eams = eam_list(table);
    for (number, eam) in eams.iter().enumerate() {
        let ipv6 = eam.ipv6.addr();
        let ipv6 = if number + other < eams.len() { ipv6 } else { (ipv6.to_bits() | 1 << 40).into() };
        writeln!(file, "{},{ipv6},service {number}", eam.ipv4.addr())?;
    }
    file.flush().with_context(|| format!("writing {}", path.display()))
}

/// Where a daemon keeps its things; nothing of it is left when this is dropped.
struct Site {
    directory: TempDir,
    pins: PathBuf,
    command: PathBuf,
}

impl Site {
    fn new(eams: u32) -> Result<Self> {
        let directory = tempfile::tempdir().context("making a directory for the daemon")?;
        remove_leftovers();
        let pins = PathBuf::from(format!("{PINS}{}", std::process::id()));
        let text = CONFIGURATION
            .replace("MAX", &(eams + ADDITIONS).max(65_536).to_string())
            .replace("PIN_DIRECTORY", &pins.to_string_lossy())
            .replace("STATE", &directory.path().to_string_lossy());
        fs::write(directory.path().join("xlat.toml"), text).context("writing the configuration")?;
        let command = std::env::current_exe().context("looking for the bench's own file")?.with_file_name("xlat-ctl");
        if !command.exists() {
            bail!("{} is not there: `cargo xtask bench --control` builds it", command.display());
        }
        Ok(Self { directory, pins, command })
    }

    /// Starts the daemon; gives the seconds until it translates.
    fn start(&self, rig: &Rig) -> Result<(Running, f64)> {
        let config = self.directory.path().join("xlat.toml");
        let log = self.directory.path().join("log");
        let begin = Instant::now();
        let arguments = ["run", "--config", &config.to_string_lossy()];
        let mut daemon = rig::start(&rig.relay, &self.command.to_string_lossy(), &arguments, &log)?;
        loop {
            if self.ctl("status").is_ok() {
                return Ok((daemon, begin.elapsed().as_secs_f64()));
            }
            if daemon.ended()?.is_some() || begin.elapsed() > PATIENCE {
                let said = fs::read_to_string(&log).unwrap_or_default();
                bail!("the daemon has ended, or does not translate; it said:\n{said}");
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Runs the command where the operator's shell would: it reaches the daemon by a path, from any network namespace.
    fn ctl(&self, arguments: &str) -> Result<()> {
        let socket = self.directory.path().join("xlat.sock");
        let socket = socket.to_string_lossy();
        let words: Vec<&str> = ["--socket", &socket].into_iter().chain(arguments.split(' ')).collect();
        let output =
            Command::new(&self.command).args(words).stdin(Stdio::null()).output().context("starting the command")?;
        if !output.status.success() {
            bail!("`xlat-ctl {arguments}` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }

    /// Seconds that a command took.
    fn timed(&self, arguments: &str) -> Result<f64> {
        let begin = Instant::now();
        self.ctl(arguments)?;
        Ok(begin.elapsed().as_secs_f64())
    }
}

/// Removes what benches that were killed have left pinned.
fn remove_leftovers() {
    let (directory, name) = PINS.rsplit_once('/').unwrap_or_default();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let file = entry.file_name();
        let process = file.to_str().and_then(|file| file.strip_prefix(name)?.parse::<u32>().ok());
        if process.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists())
            && let Err(error) = xlat_ctl::dataplane::remove_pinned(&entry.path())
        {
            eprintln!("{} is left behind: {error}", entry.path().display());
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Err(error) = xlat_ctl::dataplane::remove_pinned(&self.pins) {
            eprintln!("{} is left behind: {error}", self.pins.display());
        }
    }
}

/// Milliseconds that a metrics page took.
fn scrape() -> Result<f64> {
    let begin = Instant::now();
    let mut connection = TcpStream::connect("127.0.0.1:9464").context("connecting to the metrics page")?;
    connection.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut page = String::new();
    connection.read_to_string(&mut page)?;
    if !page.starts_with("HTTP/1.1 200") || !page.contains("xlat_") {
        bail!("this is no metrics page: {}", page.lines().next().unwrap_or_default());
    }
    Ok(begin.elapsed().as_secs_f64() * 1e3)
}

/// Memory of a process, MiB.
struct Memory {
    own: f64,
    resident: f64,
    peak: f64,
}

impl Memory {
    /// Has the kernel begin anew with the most that there was (proc_pid_clear_refs(5)).
    fn forget_peak(process: u32) -> Result<()> {
        let path = format!("/proc/{process}/clear_refs");
        fs::write(&path, "5").with_context(|| format!("writing to {path}"))
    }

    fn of(process: u32) -> Result<Self> {
        let path = format!("/proc/{process}/status");
        let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        let mib = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            let kib: Option<f64> = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            kib.map(|kib| kib / 1024.0).with_context(|| format!("no {key} in {path}"))
        };
        Ok(Self { own: mib("RssAnon")?, resident: mib("VmRSS")?, peak: mib("VmHWM")? })
    }
}

/// For a person.
pub(crate) fn table(report: &Report) -> String {
    let mut text = String::from("\nControl plane: median (least to greatest)\n\n");
    let mut line = |name: &str, of: &dyn Fn(&Row) -> String| {
        let cells: Vec<String> = report.rows.iter().map(|row| format!("{:26}", of(row))).collect();
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name:44}{}", cells.concat().trim_end());
    };
    line("EAMs", &|row| thousands(row.eams));
    line("cold start to translating, s", &|row| format!("{:.2}", row.cold_start));
    line("apply of the whole table, s", &|row| format!("{:.2}", row.apply_all));
    line("apply with 1,000 differences, s", &|row| format!("{:.2}", row.apply_differences));
    line("eam add, ms: median, 99th percentile", &|row| format!("{:.1}, {:.1}", row.add_median, row.add_p99));
    line("memory of the daemon, MiB", &|row| format!("{:.0}", row.memory));
    line("the same with the mapped tables, MiB", &|row| format!("{:.0} (peak {:.0})", row.resident, row.peak));
    line("… at most while the table is applied, MiB", &|row| format!("{:.0}", row.peak_of_whole));
    line("… at most while 1,000 differences are, MiB", &|row| format!("{:.0}", row.peak_of_differences));
    line("filling the data plane, s", &|row| format!("{:.3}", row.filling));
    line("tables of the data plane, MiB", &|row| format!("{:.0}", row.tables));
    line("metrics page, ms", &|row| format!("{:.2}", row.scrape));
    line("the first metrics page, ms", &|row| format!("{:.0}", row.first_scrape));
    if let Some(beyond) = &report.beyond {
        let Beyond { eams, loading, filling, tables, translates } = beyond;
        let eams = thousands(*eams);
        let whether = if *translates { "translate" } else { "do NOT translate" };
        let _ = writeln!(
            text,
            "\n{eams} EAMs: loaded in {loading:.2} s, filled in {filling:.2} s, tables of {tables:.0} MiB; they {whether}"
        );
    }
    text
}
