//! `xlat-ctl doctor`

use std::path::Path;

use serde::Serialize;
use xlat_common::reason::DropReason;

use super::{Common, Failed, client, output};
use crate::{
    api::{EamList, Stats, Status},
    config::{self, Config},
    doctor::{self, Daemon, Finding, Seen},
};

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    checks: Vec<&'static str>,
    findings: Vec<Finding>,
}

pub(super) fn doctor(path: &Path, json: bool) -> Result<(), Failed> {
    let config = config::load(path).map_err(|error| error.to_string())?.config;
    let daemon = daemon(&config);
    let seen = Seen::now(config, daemon).map_err(|error| error.to_string())?;
    let report = Report { checks: doctor::names().collect(), findings: doctor::examine(&seen) };
    let answer = if json { output::json(&report) } else { human(&report) };
    output::print(&answer);
    if report.findings.is_empty() { Ok(()) } else { Err(Failed { message: None, answer: None }) }
}

/// What the daemon says, where it runs. Where it does not, the configuration's entries are all that is known.
fn daemon(config: &Config) -> Option<Daemon> {
    let common = Common { socket: Some(config.control.socket.clone()), json: false };
    let pid = client::get::<Status>(&common, "/v1/status").ok()?.value.pid;
    let pairs = client::get::<EamList>(&common, "/v1/eam").ok()?.value.pairs().collect();
    let stats = client::get::<Stats>(&common, "/v1/stats").ok()?.value;
    let internal = DropReason::Internal.name();
    let internal = stats.drops.iter().filter(|drops| drops.reason == internal).map(|drops| drops.packets).sum();
    Some(Daemon { pid, pairs, internal })
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
