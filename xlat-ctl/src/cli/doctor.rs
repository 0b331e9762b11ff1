//! `xlat-ctl doctor`

use std::path::Path;

use serde::Serialize;

use super::{Failed, output};
use crate::{
    config,
    doctor::{self, Finding, Seen},
};

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    checks: Vec<&'static str>,
    findings: Vec<Finding>,
}

pub(super) fn doctor(path: &Path, json: bool) -> Result<(), Failed> {
    let config = config::load(path).map_err(|error| error.to_string())?.config;
    let seen = Seen::now(config).map_err(|error| error.to_string())?;
    let report = Report { checks: doctor::names().collect(), findings: doctor::examine(&seen) };
    let answer = if json { output::json(&report) } else { human(&report) };
    output::print(&answer);
    if report.findings.is_empty() { Ok(()) } else { Err(Failed { message: None, answer: None }) }
}

fn human(report: &Report) -> String {
    let mut text = String::new();
    for Finding { check, serious, problem, remedy } in &report.findings {
        let word = if *serious { "wrong" } else { "hint" };
        text.push_str(&format!("{word:<5}  {check}: {problem}\n       mend: {remedy}\n"));
    }
    if report.findings.is_empty() {
        text.push_str(&format!("nothing found: {}\n", report.checks.join(", ")));
    }
    text
}
