//! `xlat-ctl doctor`

use std::{fs, io, path::Path, thread, time::Duration};

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
    let socket = common.socket.clone().unwrap_or_else(|| config.control.socket.clone());
    let (daemon, silent) = match daemon(&socket) {
        Ok(daemon) => (daemon, None),
        // One that was named has to answer.
        Err(failed) if common.socket.is_some() => return Err(failed),
        Err(failed) => (None, Some(doctor::daemon_is_silent(&failed.message.unwrap_or_default()))),
    };
    if let Some(daemon) = &daemon {
        expect_same_network(daemon.pid, path, common)?;
    } else if common.socket.is_some() {
        return Err(client::no_connection(&socket, &io::Error::from(io::ErrorKind::NotFound)).into());
    }
    let seen = Seen::now(config, daemon).map_err(|error| error.to_string())?;
    let findings = silent.into_iter().chain(doctor::examine(&seen)).collect();
    let report = Report { checks: doctor::names().collect(), findings };
    let answer = if common.json { output::json(&report) } else { human(&report) };
    output::print(&answer);
    if report.findings.is_empty() { Ok(()) } else { Err(Failed { message: None, answer: None }) }
}

/// The machine that is looked at must be the daemon's: its socket is reached from any network namespace.
fn expect_same_network(pid: u32, path: &Path, common: &Common) -> Result<(), String> {
    let of = |process: &str| fs::read_link(format!("/proc/{process}/ns/net")).ok();
    match (of(&pid.to_string()), of("self")) {
        (Some(daemon), Some(own)) if daemon != own => Err(format!(
            "the daemon (pid {pid}) runs in another network namespace, whose interfaces and routes cannot be seen from here: \
             `nsenter --net=/proc/{pid}/ns/net xlat-ctl doctor --config {}{}`",
            output::quoted(path),
            common.socket.as_ref().map_or_else(String::new, |socket| format!(" --socket {}", output::quoted(socket)))
        )),
        _ => Ok(()),
    }
}

/// A daemon that has not answered in this time hangs.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the daemon says, where it runs. Where it does not, the configuration's entries are all that is known.
fn daemon(socket: &Path) -> Result<Option<Daemon>, Failed> {
    if !socket.exists() {
        return Ok(None);
    }
    let common = Common { socket: Some(socket.to_owned()), json: false };
    let status = client::get_within::<Status>(&common, "/v1/status", PATIENCE)?.value;
    let pid = status.pid;
    let failed = status.interfaces.into_iter().filter(|interface| interface.state == Attachment::Failed);
    let failed = failed.map(|interface| (interface.name, interface.detail.unwrap_or_default())).collect();
    let pairs = client::get::<EamList>(&common, "/v1/eam")?.value.pairs().collect();
    let before = dropped_as_internal(&common)?;
    let internal = if before == 0 {
        0
    } else {
        // Whether it goes on: what was once is no reason to look for anything.
        thread::sleep(Duration::from_secs(1));
        dropped_as_internal(&common)?.saturating_sub(before)
    };
    Ok(Some(Daemon { pid, pairs, internal, failed }))
}

/// Packets that have been dropped as `internal` since counting began.
fn dropped_as_internal(common: &Common) -> Result<u64, Failed> {
    let stats = client::get_within::<Stats>(common, "/v1/stats", PATIENCE)?.value;
    let internal = DropReason::Internal.name();
    Ok(stats.drops.iter().filter(|drops| drops.reason == internal).map(|drops| drops.packets).sum())
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
