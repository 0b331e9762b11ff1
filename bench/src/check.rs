//! What does not depend on the machine's load: the size of each program, and how much the kernel's verifier goes through.
//!
//! The bounds stand in `bench/bounds.json`. Every program of the object is in it by its name: a new one fails the check until
//! the bounds are recorded anew.

use std::{collections::BTreeMap, fmt::Write as _, path::PathBuf, time::Instant};

use anyhow::{Context as _, Result, bail};
use aya::{EbpfLoader, programs::Program};
use serde::{Deserialize, Serialize};
use xlat_common::settings::Settings;

use crate::relay;

/// How far a figure may grow past what is recorded before the check fails, in hundredths.
const TOLERANCE: u64 = 2;
/// Instructions that the verifier goes through at most (`BPF_COMPLEXITY_LIMIT_INSNS`).
const VERIFIER_LIMIT: u32 = 1_000_000;

/// One program.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Size {
    /// Instructions that the kernel keeps, branches that are off removed.
    pub(crate) instructions: u32,
    /// Instructions that the verifier went through.
    pub(crate) verified: u32,
    /// Bytes of machine code.
    pub(crate) machine_code: u32,
    /// Seconds that loading took, nearly all of it the verifier's.
    pub(crate) load_seconds: f64,
}

/// What is recorded.
#[derive(Debug, Deserialize, Serialize)]
struct Bounds {
    /// The kernel it was recorded on, without its last number: another verifier goes through other numbers of instructions.
    kernel: String,
    /// The programs by name.
    programs: BTreeMap<String, Recorded>,
}

/// What is recorded of one program.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
struct Recorded {
    instructions: u32,
    verified: u32,
}

/// Loads the programs as the bench's configuration has them, one after the other.
///
/// # Errors
/// Without root, or the kernel does not take one.
pub(crate) fn sizes() -> Result<BTreeMap<String, Size>> {
    // What an instance of the data plane has by chance is here the same in every run.
    let settings = Settings {
        abi: xlat_common::ABI_VERSION,
        bucket_mask: 1023,
        multi_buffer: 1,
        fragmenter_ifindex: 7,
        seed: 1,
        ..Settings::from(&relay::configuration()?)
    };
    let mut ebpf = EbpfLoader::new()
        .override_global("SETTINGS", &settings, true)
        .map_max_entries("TABLE4", 1024)
        .map_max_entries("TABLE6", 1024)
        .load(xlat_ctl::OBJECT)
        .context("loading the XDP object")?;
    let mut sizes = BTreeMap::new();
    for (name, program) in ebpf.programs_mut() {
        let Program::Xdp(program) = program else { continue };
        let begin = Instant::now();
        program.load().with_context(|| format!("loading the program {name}"))?;
        let load_seconds = begin.elapsed().as_secs_f64();
        let info = program.info()?;
        let size = Size {
            instructions: info.size_translated().unwrap_or(0) / 8,
            verified: info.verified_instruction_count().unwrap_or(0),
            machine_code: info.size_jitted(),
            load_seconds,
        };
        sizes.insert(name.to_owned(), size);
    }
    Ok(sizes)
}

/// Compares with what is recorded, or records.
///
/// # Errors
/// A program has grown past its bound, or has none.
pub(crate) fn run(record: bool) -> Result<()> {
    let sizes = sizes()?;
    print!("{}", table(&sizes));
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("bounds.json");
    let kernel = kernel()?;
    if record {
        let recorded = |size: &Size| Recorded { instructions: size.instructions, verified: size.verified };
        let programs = sizes.iter().map(|(name, size)| (name.clone(), recorded(size))).collect();
        let text = serde_json::to_string_pretty(&Bounds { kernel, programs })? + "\n";
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        println!("recorded in {}", path.display());
        return Ok(());
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let bounds: Bounds = serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))?;
    if bounds.kernel != kernel {
        println!(
            "the bounds are those of Linux {}, this is {kernel}: only the verifier's limit is checked",
            bounds.kernel
        );
    }
    let faults = faults(&sizes, &bounds, &kernel);
    if faults.is_empty() {
        println!("every program is within its bound");
        return Ok(());
    }
    bail!("{}\nif that is meant to be so: cargo xtask bench --check --record", faults.join("\n"))
}

fn faults(sizes: &BTreeMap<String, Size>, bounds: &Bounds, kernel: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, size) in sizes {
        if size.verified > VERIFIER_LIMIT / 2 {
            let verified = size.verified;
            faults.push(format!(
                "{name}: the verifier goes through {verified} instructions, more than half of its limit"
            ));
        }
        let Some(recorded) = bounds.programs.get(name) else {
            faults.push(format!("{name}: no bound is recorded"));
            continue;
        };
        if bounds.kernel != kernel {
            continue;
        }
        for (what, now, before) in [
            ("instructions", size.instructions, recorded.instructions),
            ("instructions for the verifier", size.verified, recorded.verified),
        ] {
            if u64::from(now) * 100 > u64::from(before) * (100 + TOLERANCE) {
                faults.push(format!("{name}: {now} {what}, recorded are {before}"));
            }
        }
    }
    let gone = bounds.programs.keys().filter(|name| !sizes.contains_key(*name));
    faults.extend(gone.map(|name| format!("{name}: recorded, but no program of the object")));
    faults
}

/// For a person.
pub(crate) fn table(sizes: &BTreeMap<String, Size>) -> String {
    let mut text =
        format!("{:26}{:>14}{:>14}{:>14}{:>12}\n", "program", "instructions", "verified", "machine code", "loading");
    for (name, size) in sizes {
        let Size { instructions, verified, machine_code, load_seconds } = size;
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name:26}{instructions:>14}{verified:>14}{machine_code:>12} B{load_seconds:>10.2} s");
    }
    text
}

/// The running kernel, its first two numbers.
fn kernel() -> Result<String> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").context("asking for the kernel's release")?;
    Ok(release.split('.').take(2).collect::<Vec<_>>().join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(instructions: u32, verified: u32) -> BTreeMap<String, Size> {
        let size = Size { instructions, verified, machine_code: 0, load_seconds: 0.0 };
        BTreeMap::from([("xlat".to_owned(), size)])
    }

    fn bounds() -> Bounds {
        let recorded = Recorded { instructions: 1000, verified: 10_000 };
        Bounds { kernel: "6.1".to_owned(), programs: BTreeMap::from([("xlat".to_owned(), recorded)]) }
    }

    #[test]
    fn growth_past_the_tolerance_is_a_fault() {
        assert!(faults(&one(1000, 10_000), &bounds(), "6.1").is_empty());
        assert!(faults(&one(1020, 10_200), &bounds(), "6.1").is_empty());
        assert_eq!(faults(&one(1021, 10_000), &bounds(), "6.1").len(), 1);
        assert_eq!(faults(&one(1021, 10_201), &bounds(), "6.1").len(), 2);
    }

    #[test]
    fn another_kernel_has_other_numbers_but_the_same_limit() {
        assert!(faults(&one(2000, 20_000), &bounds(), "6.12").is_empty());
        assert_eq!(faults(&one(2000, 600_000), &bounds(), "6.12").len(), 1);
    }

    #[test]
    fn programs_come_and_go_by_recording_only() {
        let mut sizes = one(1000, 10_000);
        let size = sizes["xlat"].clone();
        sizes.insert("xlat_more".to_owned(), size);
        assert_eq!(faults(&sizes, &bounds(), "6.1").len(), 1);
        assert_eq!(faults(&BTreeMap::new(), &bounds(), "6.1").len(), 1);
    }
}
