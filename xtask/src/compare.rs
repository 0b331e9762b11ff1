//! `cargo xtask compare`: xlat beside Jool, in one virtual machine.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context as _, Result, bail};

use crate::{
    setup,
    shell::{cargo, require_root, show, target_dir, workspace},
    vm::{self, Jool},
};

const HELP: &str = "\
cargo xtask compare [packets|judge|rates]: xlat beside Jool, which it fetches and compiles for the virtual machine's kernel.

  packets  the packets of the conformance table, the fuzzer's corpus and 2000 random ones through both; writes what they treat
           differently, and which of the two is right, to docs/comparison.md and docs/comparison.json
  judge    writes that again from what the last run has recorded
  rates    packets a second of both, and of plain Linux forwarding, in one boot, as ratios; writes docs/comparison.md

Without a word packets and rates.
";

/// Random packets.
const PACKETS: &str = "2000";
/// How often each scene is measured.
const ROUNDS: &str = "5";
/// How long either may take under software emulation.
const LONGEST: Duration = Duration::from_secs(3600);
/// What the rates stand between in the document.
const BEGIN: &str = "<!-- compare rates begins -->\n";
const END: &str = "<!-- compare rates ends -->";

/// Reads the arguments and does what they say.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    match arguments {
        [] => {
            let guest = Guest::new()?;
            guest.packets()?;
            guest.rates()
        }
        ["packets"] => Guest::new()?.packets(),
        ["judge"] => judge(),
        ["rates"] => Guest::new()?.rates(),
        ["-h" | "--help"] => {
            print!("{HELP}");
            Ok(())
        }
        _ => bail!("`compare {}` is not understood:\n\n{HELP}", arguments.join(" ")),
    }
}

/// A virtual machine with both.
struct Guest {
    options: vm::Options,
    environment: [String; 3],
}

impl Guest {
    fn new() -> Result<Self> {
        require_root("the comparison")?;
        setup::for_bench()?;
        setup::for_vm()?;
        // All that takes time is in the kernel: how the rest is compiled does not matter.
        let programs = ["--package", "xlat-ctl", "--package", "xlat-tests", "--package", "xlat-bench"];
        let names = ["--bin", "xlat-ctl", "--bin", "compare", "--bin", "bench"];
        show(cargo(["build", "--locked", "--quiet"]).args(programs).args(names))?;
        let options = vm::Options { timeout: LONGEST, ..vm::Options::default() };
        let jool = Jool::get(&options)?.environment();
        let command = format!("XLAT_CTL={}", built("xlat-ctl").display());
        Ok(Self { options, environment: ["env".to_owned(), jool, command] })
    }

    /// Runs one of the programs, and gives what it printed.
    fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let program = built(program).to_string_lossy().into_owned();
        let words = self.environment.iter().map(String::as_str).chain([program.as_str()]);
        let words: Vec<&str> = words.chain(arguments.iter().copied()).collect();
        let (code, output) = vm::capture_command(&self.options, &words)?;
        if code != 0 {
            bail!("it ended with {code} in the virtual machine: {}", last_lines(&output));
        }
        Ok(output)
    }

    fn packets(&self) -> Result<()> {
        let recorded = self.run("compare", &["record", &rows()?, PACKETS])?;
        fs::write(cases(), recorded).with_context(|| format!("writing {}", cases().display()))?;
        judge()
    }

    fn rates(&self) -> Result<()> {
        let table = self.run("bench", &["--jool", "--rounds", ROUNDS])?;
        print!("{table}");
        let place = document();
        let text = fs::read_to_string(&place).with_context(|| format!("reading {}", place.display()))?;
        let (Some(begin), Some(end)) = (text.find(BEGIN), text.find(END)) else {
            bail!("{} lacks the lines between which the rates stand: {BEGIN}{END}", place.display());
        };
        let text = format!("{}\n{table}\n{}", &text[..begin + BEGIN.len()], &text[end..]);
        fs::write(&place, text).with_context(|| format!("writing {}", place.display()))
    }
}

/// A program of this build.
fn built(name: &str) -> PathBuf {
    target_dir().join("debug").join(name)
}

/// What the last run has recorded.
fn cases() -> PathBuf {
    target_dir().join("vm/cases")
}

fn document() -> PathBuf {
    workspace().join("docs/comparison.md")
}

fn judge() -> Result<()> {
    show(&mut cargo(["build", "--locked", "--quiet", "--package", "xlat-tests", "--bin", "compare"]))?;
    let (cases, document) = (cases(), document());
    let arguments = ["judge".as_ref(), cases.as_os_str(), document.as_os_str()];
    show(Command::new(built("compare")).args(arguments))
}

fn last_lines(output: &str) -> String {
    const MOST: usize = 5;
    let lines: Vec<&str> = output.lines().collect();
    lines[lines.len().saturating_sub(MOST)..].join("\n")
}

/// Has the conformance table write down its packets; gives the file.
fn rows() -> Result<String> {
    let file = target_dir().join("vm/rows");
    if file.exists() {
        fs::remove_file(&file)?;
    }
    let test = ["test", "--locked", "--quiet", "--package", "xlat-tests", "--test", "conformance"];
    show(cargo(test).env("XLAT_ROWS", &file))?;
    Ok(file.to_string_lossy().into_owned())
}
