//! `cargo xtask bench`: measures xlat beside its alternatives, in one run on one machine.

mod address;
mod bulk;
mod check;
mod control;
mod document;
mod frame;
mod ns;
mod options;
mod plot;
mod programs;
mod progress;
mod prove;
mod rates;
mod relay;
mod report;
mod rig;
mod scene;
mod schedule;
mod stats;
mod targets;

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Parser as _;

use crate::{options::Options, report::Report};

const HELP: &str = "The method is in docs/performance.md.";

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    relay::ACCOUNTING.get_or_init(|| options.accounting);
    if options.check {
        return check::run(options.record);
    }
    if options.prove {
        prove::run();
        return Ok(());
    }
    if options.jool {
        print!("{}", rates::jool::run(options.rounds(5))?);
        return Ok(());
    }
    let mut report = Report { machine: report::machine(), ..Report::default() };
    let measured = measure(options, &mut report);
    // Also where a later part could not be measured.
    print!("{}", report.table());
    measured?;
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&report)? + "\n";
        std::fs::write(file, text).with_context(|| format!("writing {}", file.display()))?;
    }
    if options.docs || options.is_whole() {
        document::write(report)?;
    }
    Ok(())
}

/// Measures what is asked for, part by part.
fn measure(options: &Options, report: &mut Report) -> Result<()> {
    if options.control || options.scene.is_none() {
        report.control = Some(control::run(options.quick)?);
    }
    if options.wants("ns") {
        let scenes = scene::for_one_packet(options.quick);
        let scenes: Vec<_> = scenes.into_iter().filter(|scene| options.wants_scene(&scene.full_name())).collect();
        if scenes.is_empty() {
            bail!("no scene has the text of `--scene {}` in its name", options.scene.as_deref().unwrap_or_default());
        }
        report.programs = check::sizes()?;
        report.ns = Some(ns::run(&scenes, options.rounds(7))?);
    }
    if options.wants("rig") {
        let plans = rates::plans(options.quick);
        let plans: Vec<_> = plans.into_iter().filter(|plan| options.wants_scene(&plan.scene.full_name())).collect();
        if plans.is_empty() {
            bail!("no scene has the text of `--scene {}` in its name", options.scene.as_deref().unwrap_or_default());
        }
        report.rates = rates::run(&plans, options.rounds(7))?;
    }
    if options.wants("load") {
        report.load = rates::load::run(options.rounds(5))?;
    }
    if options.wants("bulk") {
        report.bulk = bulk::run(options.rounds(5))?;
    }
    Ok(())
}
