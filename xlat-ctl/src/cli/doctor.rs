//! `xlat-ctl doctor`

use std::path::Path;

use serde::Serialize;

use super::{Common, Failed, client, output};
use crate::{
    api::EamList,
    config::{self, Config},
    doctor::{self, Finding, Seen},
    eam::Pair,
};

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    checks: Vec<&'static str>,
    findings: Vec<Finding>,
}

pub(super) fn doctor(path: &Path, json: bool) -> Result<(), Failed> {
    let config = config::load(path).map_err(|error| error.to_string())?.config;
    let pairs = table(&config);
    let seen = Seen::now(config, pairs).map_err(|error| error.to_string())?;
    let report = Report { checks: doctor::names().collect(), findings: doctor::examine(&seen) };
    let answer = if json { output::json(&report) } else { human(&report) };
    output::print(&answer);
    if report.findings.is_empty() { Ok(()) } else { Err(Failed { message: None, answer: None }) }
}

/// The table of the daemon, where it runs. Where it does not, the configuration's entries are all that is known.
fn table(config: &Config) -> Option<Vec<Pair>> {
    let common = Common { socket: Some(config.control.socket.clone()), json: false };
    let list = client::get::<EamList>(&common, "/v1/eam").ok()?.value;
    Some(list.pairs().collect())
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
