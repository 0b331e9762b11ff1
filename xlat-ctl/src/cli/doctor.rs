//! `xlat-ctl doctor`

use std::{fs, path::Path, thread, time::Duration};

use serde::Serialize;
use xlat_common::reason::DropReason;

use super::{Common, Failed, client, output};
use crate::{
    api::{Attachment, EamList, Stats, Status},
    config,
    doctor::{self, Daemon, Finding, Seen},
};

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    checks: Vec<&'static str>,
    findings: Vec<Finding>,
}

pub(super) fn doctor(path: &Path, common: &Common) -> Result<(), Failed> {
    let config = config::load(path).map_err(|error| error.to_string())?.config;
    let daemon = daemon(common.socket.as_ref().unwrap_or(&config.control.socket));
    if let Some(daemon) = &daemon {
        expect_same_network(daemon.pid)?;
    }
    let seen = Seen::now(config, daemon).map_err(|error| error.to_string())?;
    let report = Report { checks: doctor::names().collect(), findings: doctor::examine(&seen) };
    let answer = if common.json { output::json(&report) } else { human(&report) };
    output::print(&answer);
    if report.findings.is_empty() { Ok(()) } else { Err(Failed { message: None, answer: None }) }
}

/// The machine that is looked at must be the daemon's: its socket is reached from any network namespace.
fn expect_same_network(pid: u32) -> Result<(), String> {
    let of = |process: &str| fs::read_link(format!("/proc/{process}/ns/net")).ok();
    match (of(&pid.to_string()), of("self")) {
        (Some(daemon), Some(own)) if daemon != own => Err(format!(
            "the daemon (pid {pid}) runs in another network namespace, whose interfaces and routes cannot be seen from here: \
             `nsenter --net=/proc/{pid}/ns/net xlat-ctl doctor`"
        )),
        _ => Ok(()),
    }
}

/// What the daemon says, where it runs. Where it does not, the configuration's entries are all that is known.
fn daemon(socket: &Path) -> Option<Daemon> {
    let common = Common { socket: Some(socket.to_owned()), json: false };
    let status = client::get::<Status>(&common, "/v1/status").ok()?.value;
    let pid = status.pid;
    let failed = status.interfaces.into_iter().filter(|interface| interface.state == Attachment::Failed);
    let failed = failed.map(|interface| (interface.name, interface.detail.unwrap_or_default())).collect();
    let pairs = client::get::<EamList>(&common, "/v1/eam").ok()?.value.pairs().collect();
    let before = dropped_as_internal(&common)?;
    let internal = if before == 0 {
        0
    } else {
        // Whether it goes on: what was once is no reason to look for anything.
        thread::sleep(Duration::from_secs(1));
        dropped_as_internal(&common)?.saturating_sub(before)
    };
    Some(Daemon { pid, pairs, internal, failed })
}

/// Packets that have been dropped as `internal` since counting began.
fn dropped_as_internal(common: &Common) -> Option<u64> {
    let stats = client::get::<Stats>(common, "/v1/stats").ok()?.value;
    let internal = DropReason::Internal.name();
    Some(stats.drops.iter().filter(|drops| drops.reason == internal).map(|drops| drops.packets).sum())
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
