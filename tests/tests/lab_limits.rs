//! What the daemon's work takes with a thousand to a million entries, against the limits. It is run by
//! `cargo xtask bench --control`, as it takes minutes and is only worth something with optimisation.

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use xlat_tests::lab::{Daemon, Lab};

/// Changes of single entries of which the 99th percentile is taken.
const CHANGES: usize = 1000;
/// Entries in which two files differ.
const DIFFERENCES: u32 = 1000;
/// How often each thing is measured.
const ROUNDS: usize = 3;

/// What is measured, its limit with a million entries, and the unit of both.
#[derive(Clone, Copy)]
struct What {
    name: &'static str,
    limit: Option<f64>,
    unit: &'static str,
}

const START: What = What { name: "start until it translates", limit: Some(3.0), unit: "s" };
const FILL: What = What { name: "of this, the look-up tables", limit: Some(0.3), unit: "s" };
const FIRST: What = What { name: "first apply", limit: None, unit: "s" };
const APPLY: What = What { name: "apply, 1,000 differences", limit: Some(2.0), unit: "s" };
const MEDIAN: What = What { name: "eam add, median", limit: None, unit: "ms" };
const P99: What = What { name: "eam add, 99th percentile", limit: Some(10.0), unit: "ms" };
const MEMORY: What = What { name: "daemon's memory, tables included", limit: Some(400.0), unit: "MiB" };
const PEAK: What = What { name: "its most, during an apply", limit: None, unit: "MiB" };
const TABLES: What = What { name: "memory of the look-up tables", limit: Some(160.0), unit: "MiB" };
const SCRAPE: What = What { name: "metrics page", limit: Some(50.0), unit: "ms" };

/// An IPv6 address that looks like any other, always the same for a number.
fn address(number: u32, salt: u64) -> String {
    let mut word = (u64::from(number) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt;
    word = (word ^ (word >> 31)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    let [a, b, c, d] = [word >> 48, word >> 32, word >> 16, word].map(|part| part & 0xffff | 1);
    format!("2001:db8:{:x}:{a:x}:{b:x}:{c:x}:{d:x}:{:x}", 0x100 + (number >> 16), number & 0xffff)
}

/// A table of so many entries, with comments; `DIFFERENCES` of them are others with each salt.
fn table(entries: u32, salt: u64) -> String {
    let mut text = String::new();
    for number in 0..entries {
        let spread = 0x0b00_0000 + number * 67;
        let [a, b, c, d] = spread.to_be_bytes();
        let salt = if number % (entries / DIFFERENCES) == 0 && number / (entries / DIFFERENCES) < DIFFERENCES {
            salt
        } else {
            0
        };
        writeln!(text, "{a}.{b}.{c}.{d},{},service {number}", address(number, salt)).expect("a string has room");
    }
    text
}

/// Asks the control socket as a program would, over one connection.
struct Client(BufReader<UnixStream>);

impl Client {
    fn add(&mut self, ipv4: &str, ipv6: &str) -> Duration {
        let body = format!("{{\"ipv4\":\"{ipv4}\",\"ipv6\":\"{ipv6}\"}}");
        let head = format!("POST /v1/eam HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
        let begin = Instant::now();
        self.0.get_mut().write_all((head + &body).as_bytes()).expect("a request");
        let (mut line, mut status, mut length) = (String::new(), String::new(), 0);
        loop {
            line.clear();
            self.0.read_line(&mut line).expect("an answer");
            let text = line.trim().to_ascii_lowercase();
            if text.is_empty() {
                break;
            }
            if let Some(value) = text.strip_prefix("content-length: ") {
                length = value.parse().expect("a number");
            }
            if status.is_empty() {
                status = text;
            }
        }
        let mut answer = vec![0; length];
        self.0.read_exact(&mut answer).expect("an answer");
        let taken = begin.elapsed();
        assert!(status.contains(" 201 "), "{status}: {}", String::from_utf8_lossy(&answer));
        taken
    }
}

/// A line of `/proc/PID/status`, in MiB.
fn memory(pid: &str, name: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).expect("a line");
    line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") / 1024.0
}

/// All measurements with one number of entries: what, and each value.
fn measure(entries: u32) -> Vec<(What, Vec<f64>)> {
    let lab = Lab::new().expect("a lab");
    let room = format!("[dataplane]\nmax_eams = {}", entries + 20_000);
    let text = Lab::configuration().replace("[dataplane]", &room);
    let mut daemon = Daemon::start(&lab.relay, &text).expect("a daemon");
    let files = [0, 1].map(|salt| {
        let path = daemon.directory().join(format!("{salt}.csv"));
        fs::write(&path, table(entries, salt * 77)).expect("a file");
        path.display().to_string()
    });
    let apply = |daemon: &Daemon, file: &str| {
        let begin = Instant::now();
        daemon.ctl(&lab.relay, &format!("eam apply --yes {file}")).ok();
        begin.elapsed().as_secs_f64()
    };
    let first = apply(&daemon, &files[0]);
    let mut starts = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        daemon.stop().expect("a clean end");
        let begin = Instant::now();
        daemon.start_again(&lab.relay, &[("XLAT_LOG", "debug")]).expect("it starts");
        starts.0.push(begin.elapsed().as_secs_f64());
        starts.1.push(fill_time(&daemon.log()));
    }
    let status: serde_json::Value = serde_json::from_str(&daemon.ctl(&lab.relay, "status --json").ok()).expect("JSON");
    let pid = status["pid"].to_string();
    let mut memories = vec![memory(&pid, "VmRSS")];
    let mut client = Client(BufReader::new(UnixStream::connect(daemon.socket()).expect("a connection")));
    let (mut medians, mut percentiles) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let mut times: Vec<f64> = (0..CHANGES)
            .map(|number| {
                let ipv4 = format!("100.{}.{}.{}", 64 + round, number / 250, 1 + number % 250);
                client.add(&ipv4, &format!("2001:db8:ffff:{round:x}::{number:x}")).as_secs_f64() * 1000.0
            })
            .collect();
        times.sort_by(f64::total_cmp);
        medians.push(times[CHANGES / 2]);
        percentiles.push(times[CHANGES * 99 / 100]);
    }
    // What was added alone goes again, so that the files differ in what they should.
    apply(&daemon, &files[0]);
    let applies: Vec<f64> = (1..=ROUNDS).map(|round| apply(&daemon, &files[round % 2])).collect();
    memories.push(memory(&pid, "VmRSS"));
    let scrapes = (0..ROUNDS).map(|_| {
        let said = lab.relay.run("curl -s -o /dev/null -w %{time_total} http://127.0.0.1:9464/metrics").ok();
        said.trim().parse::<f64>().expect("seconds") * 1000.0
    });
    vec![
        (START, starts.0),
        (FILL, starts.1),
        (FIRST, vec![first]),
        (APPLY, applies),
        (MEDIAN, medians),
        (P99, percentiles),
        (MEMORY, memories),
        (PEAK, vec![memory(&pid, "VmHWM")]),
        (TABLES, vec![status["table"]["bytes"].as_f64().expect("a number") / f64::from(1 << 20)]),
        (SCRAPE, scrapes.collect()),
    ]
}

/// Seconds, from the daemon's log: `N entries filled in 123.4ms`.
fn fill_time(log: &str) -> f64 {
    let text = log.lines().rev().find_map(|line| line.split_once(" entries filled in ")).expect("a line of the log").1;
    let text = text.trim();
    let number = |unit: &str| text.strip_suffix(unit).and_then(|number| number.parse::<f64>().ok());
    let (milli, micro) = (number("ms").map(|ms| ms / 1e3), number("µs").map(|us| us / 1e6));
    milli.or(micro).or_else(|| number("s")).unwrap_or_else(|| panic!("no time: {text}"))
}

fn spread(values: &[f64]) -> String {
    let least = values.iter().copied().fold(f64::MAX, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    let digits = |value: f64| if value < 10.0 { format!("{value:.2}") } else { format!("{value:.0}") };
    if digits(least) == digits(most) { digits(least) } else { format!("{} to {}", digits(least), digits(most)) }
}

#[test]
#[ignore = "it takes minutes: `cargo xtask bench --control`"]
fn the_limits_hold_with_a_million_entries() {
    let sizes = [1000, 10_000, 100_000, 1_000_000];
    let measured: Vec<_> = sizes.iter().map(|entries| measure(*entries)).collect();
    let mut over = Vec::new();
    println!("\n| | {} | limit |", sizes.map(|size| size.to_string()).join(" | "));
    println!("|---|{}---|", "---|".repeat(sizes.len()));
    for (row, (what, largest)) in measured[sizes.len() - 1].iter().enumerate() {
        let cells: Vec<String> = measured.iter().map(|column| spread(&column[row].1)).collect();
        let limit = what.limit.map_or_else(String::new, |limit| format!("{limit} {}", what.unit));
        println!("| {}, {} | {} | {limit} |", what.name, what.unit, cells.join(" | "));
        let mut sorted = largest.clone();
        sorted.sort_by(f64::total_cmp);
        if what.limit.is_some_and(|limit| sorted[sorted.len() / 2] > limit) {
            over.push(what.name);
        }
    }
    assert!(over.is_empty(), "over their limits (median): {over:?}");
}
