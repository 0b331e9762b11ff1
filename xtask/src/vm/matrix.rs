//! `cargo xtask vm --all`: every kernel and NIC of the matrix, and the tables of docs/support.md that come of it.

use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{
    Options,
    kernels::{Kernel, numbers},
    nics::Nic,
    qemu::{Ended, Guest, Output},
};
use crate::{
    interrupt, setup,
    shell::{capture, cargo, show, target_dir, workspace},
};

/// The kernels of the matrix, the oldest first.
const KERNELS: [&str; 4] = ["5.10", "6.1", "6.12", "newest"];
/// The drivers; the first needs no NIC.
const DRIVERS: [&str; 5] = ["veth", "virtio_net", "igb", "vmxnet3", "e1000e"];
/// The one that needs no NIC, with which the conformance rows go.
const WITHOUT_NIC: &str = DRIVERS[0];
/// The rows that are tried on each kernel, and how the test runner says that they hold.
const ROWS: &str = "every_row";
/// The first kernel that runs a program on a frame of a given interface, without which no row can be tried.
const ROWS_SINCE: [u32; 2] = [5, 15];
/// How long one trial may take under software emulation on a busy machine.
const LONGEST: Duration = Duration::from_secs(900);
/// Where the tables stand in the document.
const BEGIN: &str = "<!-- vm --all begins -->\n";
const END: &str = "<!-- vm --all ends -->\n";

/// What a trial says of each step, by the name of the trial.
type Results = BTreeMap<String, Vec<[String; 3]>>;

/// Those of `all` that are among the words; all of them, where none is.
fn named<'a>(all: &[&'a str], words: &[&str]) -> Vec<&'a str> {
    let chosen: Vec<&str> = all.iter().copied().filter(|name| words.contains(name)).collect();
    if chosen.is_empty() { all.to_vec() } else { chosen }
}

/// Runs all of it, or only the kernels and drivers that `only` names (`6.1`, `igb`), and writes the tables.
pub(crate) fn run(only: &[&str]) -> Result<()> {
    if let Some(word) = only.iter().find(|word| !KERNELS.contains(word) && !DRIVERS.contains(word)) {
        bail!("vm --all {word}: the kernels are {}, the drivers {}", KERNELS.join(", "), DRIVERS.join(", "));
    }
    interrupt::catch();
    setup::for_running()?;
    setup::for_vm()?;
    let programs = ["--package", "xlat-ctl", "--package", "xlat-tests", "--bin", "xlat-ctl", "--bin", "nic"];
    show(cargo(["build", "--locked", "--release"]).args(programs))?;
    let conformance = conformance()?;
    for version in named(&KERNELS, only) {
        let kernel = Kernel::get(version)?;
        for driver in named(&DRIVERS, only) {
            eprintln!("== {driver} on Linux {}", kernel.release);
            let mut steps = trial_of(&kernel, driver.parse().ok())?;
            if driver == WITHOUT_NIC {
                steps.push(rows_on(&kernel, &conformance)?);
            }
            // An interrupt ends the emulator as well, which says nothing of the relay.
            interrupt::check()?;
            for [step, word, words] in &steps {
                eprintln!("{step:<22} {word} {words}");
            }
            keep(&format!("{}/{driver}", kernel.release), steps)?;
        }
    }
    write_tables()
}

/// Writes the tables of all results that are kept.
pub(crate) fn write_tables() -> Result<()> {
    let text = tables(&kept_results()?);
    let place = document();
    let document = fs::read_to_string(&place).with_context(|| format!("reading {}", place.display()))?;
    fs::write(&place, replaced(&document, &text)?).with_context(|| format!("writing {}", place.display()))
}

fn trial_of(kernel: &Kernel, nic: Option<Nic>) -> Result<Vec<[String; 3]>> {
    let options = Options { nic, timeout: LONGEST, ..Options::default() };
    let release = target_dir().join("release");
    let set = format!("XLAT_CTL={}", release.join("xlat-ctl").display());
    let trial = release.join("nic").to_string_lossy().into_owned();
    let mut words = vec!["env", &set, &trial];
    words.extend(nic.is_none().then_some("--veth"));
    Ok(match (Guest { kernel, options: &options }).run(&words, Output::Keep)? {
        Ended::Command { output, .. } => output.lines().filter_map(step).collect(),
        Ended::Itself(reason) => vec![["attach".to_owned(), "fails".to_owned(), reason.replace('\n', " ")]],
    })
}

/// Builds the conformance tests; gives their program.
fn conformance() -> Result<String> {
    let words = ["test", "--locked", "--release", "--package", "xlat-tests", "--test", "conformance", "--no-run"];
    let said = capture(cargo(words).args(["--quiet", "--message-format", "json"]))?;
    let messages = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    // Cargo names the package's other programs, too, in any order.
    let mut tests = messages.filter(|message| message["target"]["kind"][0] == "test");
    let program = tests.find_map(|message| Some(message["executable"].as_str()?.to_owned()));
    program.context("cargo names no program of the conformance tests")
}

/// The conformance rows on one kernel.
fn rows_on(kernel: &Kernel, conformance: &str) -> Result<[String; 3]> {
    let result = |word: &str, said: String| Ok(["conformance".to_owned(), word.to_owned(), said]);
    if numbers(&kernel.release) < ROWS_SINCE.to_vec() {
        let [major, minor] = ROWS_SINCE;
        return result("refused", format!("running a program on a frame of an interface takes Linux {major}.{minor}"));
    }
    let options = Options { timeout: LONGEST, ..Options::default() };
    // Each of the relays that the rows are about has its files open up to the end.
    let words = ["prlimit", "--nofile=65536", conformance, ROWS, "--ignored", "--exact", "--nocapture"];
    match (Guest { kernel, options: &options }).run(&words, Output::Keep)? {
        Ended::Command { code: 0, output } => match output.lines().find(|line| line.ends_with(" rows")) {
            Some(rows) => result("works", rows.to_owned()),
            None => result("fails", "no row was tried".to_owned()),
        },
        Ended::Command { output, .. } => {
            eprintln!("{output}");
            let names = output.lines().find_map(|line| line.strip_prefix("rows that fail: "));
            result("fails", names.unwrap_or("the test ended before its end").to_owned())
        }
        Ended::Itself(reason) => result("fails", reason.replace('\n', " ")),
    }
}

/// A line of the trial: step, word, words.
fn step(line: &str) -> Option<[String; 3]> {
    let mut parts = line.splitn(3, '\t').map(str::to_owned);
    Some([parts.next()?, parts.next()?, parts.next()?])
}

fn document() -> PathBuf {
    workspace().join("docs/support.md")
}

/// The results that the tables are made of, so that a part can be tried again: a line for each step, kernel/driver before it.
fn results() -> PathBuf {
    workspace().join("docs/support.tsv")
}

/// Keeps the results of one trial, in the place of those that it had before.
fn keep(trial: &str, steps: Vec<[String; 3]>) -> Result<()> {
    let mut all = if results().exists() { kept_results()? } else { Results::new() };
    all.insert(trial.to_owned(), steps);
    fs::write(results(), lines(&all)).with_context(|| format!("writing {}", results().display()))
}

fn lines(all: &Results) -> String {
    let of = |(trial, steps): (&String, &Vec<[String; 3]>)| -> String {
        steps.iter().map(|step| format!("{trial}\t{}\n", step.join("\t"))).collect()
    };
    all.iter().map(of).collect()
}

/// The results of all trials so far.
fn kept_results() -> Result<Results> {
    let place = results();
    let text = fs::read_to_string(&place).with_context(|| format!("reading {}: no trial was run", place.display()))?;
    Ok(read(&text))
}

fn read(text: &str) -> Results {
    let mut all = Results::new();
    for (trial, rest) in text.lines().filter_map(|line| line.split_once('\t')) {
        all.entry(trial.to_owned()).or_default().extend(step(rest));
    }
    all
}

/// A driver and what its trial said.
type Column<'a> = (&'a str, &'a Vec<[String; 3]>);

/// One table for each kernel: a row for each step, a column for each driver; then what was refused, in words.
fn tables(all: &Results) -> String {
    let mut by_kernel: BTreeMap<Vec<u32>, (&str, Vec<Column<'_>>)> = BTreeMap::new();
    for (name, steps) in all {
        let Some((kernel, driver)) = name.split_once('/') else { continue };
        let place = by_kernel.entry(numbers(kernel)).or_insert((kernel, Vec::new()));
        place.1.push((driver, steps));
    }
    let mut text = String::new();
    for (kernel, drivers) in by_kernel.values() {
        text.push_str(&format!("\n### Linux {kernel}\n\n|"));
        drivers.iter().for_each(|(driver, _)| text.push_str(&format!(" | {driver}")));
        text.push_str(&format!(" |\n|---|{}\n", "---|".repeat(drivers.len())));
        let mut names: Vec<&str> = Vec::new();
        for [name, ..] in drivers.iter().flat_map(|(_, steps)| steps.iter()) {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        let mut remarks = Vec::new();
        for name in names {
            text.push_str(&format!("| {name}"));
            for (driver, steps) in drivers {
                let found = steps.iter().find(|step| step[0] == name);
                let cell =
                    found.map_or("–".to_owned(), |[_, word, words]| cell(driver, name, word, words, &mut remarks));
                text.push_str(&format!(" | {cell}"));
            }
            text.push_str(" |\n");
        }
        text.push('\n');
        remarks.iter().for_each(|remark| text.push_str(&format!("- {remark}\n")));
    }
    text
}

/// A cell of the table. Long words become a remark below it.
fn cell(driver: &str, name: &str, word: &str, words: &str, remarks: &mut Vec<String>) -> String {
    const SHORT: usize = 14;
    match (word, words) {
        ("works", "") => "yes".to_owned(),
        ("works", words) if words.chars().count() <= SHORT => words.to_owned(),
        (word, words) => {
            remarks.push(format!("{driver}, {name}: {words}"));
            if word == "works" {
                "yes, see below"
            } else if word == "refused" {
                "refused"
            } else {
                "**fails**"
            }
            .to_owned()
        }
    }
}

/// The document with other tables.
fn replaced(document: &str, tables: &str) -> Result<String> {
    let (Some(begin), Some(end)) = (document.find(BEGIN), document.find(END)) else {
        bail!("docs/support.md lacks the lines between which the tables stand: {BEGIN}{END}");
    };
    Ok(format!("{}{tables}\n{}", &document[..begin + BEGIN.len()], &document[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_row_for_each_step_and_tells_of_refusals() {
        let steps = |word: &str, words: &str| vec![["attach".to_owned(), word.to_owned(), words.to_owned()]];
        let all = Results::from([
            ("6.1.0-9-amd64/igb".to_owned(), steps("works", "native")),
            ("6.1.0-9-amd64/veth".to_owned(), steps("refused", "the driver wants something else")),
        ]);
        let text = tables(&all);
        assert!(text.contains("| attach | native | refused |\n"), "{text}");
        assert!(text.contains("- veth, attach: the driver wants something else\n"), "{text}");
    }

    #[test]
    fn results_are_read_as_they_were_written() {
        let step = |words: [&str; 3]| words.map(str::to_owned);
        let all = Results::from([
            ("6.1.0-1-amd64/igb".to_owned(), vec![step(["attach", "works", "native"]), step(["echo", "works", ""])]),
            ("6.1.0-1-amd64/veth".to_owned(), vec![step(["echo", "fails", "a tab\tin it"])]),
        ]);
        assert_eq!(read(&lines(&all)), all);
    }

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let document = format!("before\n{BEGIN}old\n{END}after\n");
        assert_eq!(replaced(&document, "new\n").unwrap(), format!("before\n{BEGIN}new\n\n{END}after\n"));
    }
}
