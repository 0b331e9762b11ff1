//! `cargo xtask test`: everything that has to hold before a change is good.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::{
    bench, lint, setup,
    shell::{cargo, require_root, show},
};

/// Runs every stage in turn and stops at the first that fails; `arguments` go to `cargo test`.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    require_root("the test suite")?;
    let mut stages = Stages::default();
    stages.run("setup", setup::for_testing)?;
    stages.run("formatting", lint::formatting)?;
    stages.run("clippy", lint::host_crates)?;
    stages.run("clippy for the eBPF crates", lint::ebpf_crates)?;
    stages.run("compiling the tests", || tests(&["--no-run", "--quiet"]))?;
    stages.run("size of the XDP programs", || bench::check(&["--check"]))?;
    stages.run("tests", || tests(arguments))
}

/// All crates in one go, cheapest first, and to the end: a run tells of every test that fails.
fn tests(arguments: &[&str]) -> Result<()> {
    let packages = ["xtask", "xlat-common", "xlat-bench-common", "xlat-ctl", "xlat-pages", "xlat-bench", "xlat-tests"];
    let scope = packages.iter().flat_map(|package| ["--package", package]);
    show(cargo(["test", "--locked", "--no-fail-fast"]).args(scope).args(arguments))
}

/// The stages so far with the time that each took.
#[derive(Default)]
struct Stages(Vec<(&'static str, Duration)>);

impl Stages {
    fn run(&mut self, name: &'static str, stage: impl FnOnce() -> Result<()>) -> Result<()> {
        eprintln!("== {name}");
        let begin = Instant::now();
        let result = stage();
        self.0.push((name, begin.elapsed()));
        result.with_context(|| format!("the stage `{name}` failed"))
    }
}

impl Drop for Stages {
    fn drop(&mut self) {
        for (name, duration) in &self.0 {
            eprintln!("{:>8.1} s  {name}", duration.as_secs_f64());
        }
    }
}
