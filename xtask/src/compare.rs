//! `cargo xtask compare`: xlat beside Jool, in one virtual machine.

use std::{fs, time::Duration};

use anyhow::{Result, bail};

use crate::{
    setup,
    shell::{cargo, require_root, show, target_dir},
    vm::{self, Jool},
};

const HELP: &str = "\
cargo xtask compare [rates|packets]: xlat beside Jool, which it fetches and compiles for the virtual machine's kernel.

  packets  the packets of the conformance table, the fuzzer's corpus and 2000 random ones through both; a line for each that they
           treat differently
  rates    packets a second of both, and of plain Linux forwarding, in one boot, as ratios

Without a word both.
";

/// Random packets.
const PACKETS: &str = "2000";
/// How often each scene is measured.
const ROUNDS: &str = "5";
/// How long either may take under software emulation.
const LONGEST: Duration = Duration::from_secs(3600);

/// Reads the arguments and does what they say.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let (packets, rates) = match arguments {
        [] => (true, true),
        ["packets"] => (true, false),
        ["rates"] => (false, true),
        ["-h" | "--help"] => {
            print!("{HELP}");
            return Ok(());
        }
        _ => bail!("`compare {}` is not understood:\n\n{HELP}", arguments.join(" ")),
    };
    require_root("the comparison")?;
    setup::for_bench()?;
    setup::for_vm()?;
    // All that takes time is in the kernel: how the rest is compiled does not matter.
    let programs = ["--package", "xlat-ctl", "--package", "xlat-tests", "--package", "xlat-bench"];
    let names = ["--bin", "xlat-ctl", "--bin", "compare", "--bin", "bench"];
    show(cargo(["build", "--locked", "--quiet"]).args(programs).args(names))?;
    let guest = vm::Options { timeout: LONGEST, ..vm::Options::default() };
    let jool = Jool::get(&guest)?;
    let place = target_dir().join("debug");
    let environment = ["env".to_owned(), jool.environment(), format!("XLAT_CTL={}", place.join("xlat-ctl").display())];
    let of = |program: &str, arguments: &[&str]| {
        let program = place.join(program).to_string_lossy().into_owned();
        let arguments = arguments.iter().map(|&argument| argument.to_owned());
        environment.iter().cloned().chain([program]).chain(arguments).collect::<Vec<_>>()
    };
    if packets {
        let rows = rows()?;
        check(vm::run_command(&guest, &words(&of("compare", &[&rows, PACKETS])))?)?;
    }
    if rates {
        check(vm::run_command(&guest, &words(&of("bench", &["--jool", "--rounds", ROUNDS])))?)?;
    }
    Ok(())
}

fn words(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

fn check(code: u8) -> Result<()> {
    if code != 0 {
        bail!("it ended with {code} in the virtual machine");
    }
    Ok(())
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
