//! What is on a wire, judged by tshark: a decoder that has nothing to do with xlat.

use std::{
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::namespace::{Namespace, Running};

/// Everything tshark objects to: a bad checksum of any header, a bad length, a malformed packet.
const FAULTS: &str = "ip.checksum.status == 0 || tcp.checksum.status == 0 || udp.checksum.status == 0 \
    || icmp.checksum.status == 0 || icmpv6.checksum.status == 0 || icmp.ext.checksum_bad || dccp.checksum.status == 0 \
    || ip.bogus_ip_length || ip.bogus_header_length || ipv6.plen_exceeds_framing || udp.length.bad \
    || tcp.bogus_header_length || _ws.malformed";

/// A tcpdump that is running.
#[derive(Debug)]
pub struct Capture {
    tcpdump: Running,
    directory: TempDir,
}

impl Capture {
    /// Begins to listen on an interface.
    ///
    /// # Errors
    /// tcpdump does not start.
    pub fn start(machine: &Namespace, interface: &str) -> Result<Self> {
        let directory = tempfile::tempdir().context("making a directory for a capture")?;
        let file = directory.path().join("packets.pcap");
        let log = directory.path().join("log");
        let arguments = [
            "-i",
            interface,
            "-U",
            "--immediate-mode",
            "-Z",
            "root",
            "-B",
            "65536",
            "-s",
            "0",
            "-w",
            &file.to_string_lossy(),
        ];
        let mut tcpdump = machine.start("tcpdump", &arguments, &log)?;
        let begin = Instant::now();
        while !std::fs::read_to_string(&log).unwrap_or_default().contains("listening on") {
            if tcpdump.ended()?.is_some() || begin.elapsed() > Duration::from_secs(10) {
                bail!("tcpdump does not listen: {}", std::fs::read_to_string(&log).unwrap_or_default());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(Self { tcpdump, directory })
    }

    /// Ends listening.
    ///
    /// # Errors
    /// tcpdump does not end.
    pub fn stop(mut self) -> Result<Captured> {
        thread::sleep(Duration::from_millis(200));
        self.tcpdump.terminate(Signal::SIGINT)?;
        Ok(Captured { file: self.directory.path().join("packets.pcap"), _directory: self.directory })
    }
}

/// What was on the wire.
#[derive(Debug)]
pub struct Captured {
    file: PathBuf,
    _directory: TempDir,
}

impl Captured {
    /// One line for each packet that tshark's display filter selects.
    ///
    /// # Panics
    /// tshark does not run, or does not know the filter.
    #[must_use]
    pub fn select(&self, filter: &str) -> Vec<String> {
        tshark(&self.file, filter)
    }

    /// Fails if tshark finds a fault in a packet, or finds fewer packets than that.
    ///
    /// # Panics
    /// It does, or does not run.
    pub fn expect_no_fault(&self, least: usize) {
        expect_no_fault(&self.file, least);
    }
}

/// Fails if tshark finds a fault in a packet of a file, or finds fewer packets than that in it.
///
/// # Panics
/// It does, or does not run.
pub fn expect_no_fault(file: &std::path::Path, least: usize) {
    let all = tshark(file, "ip || ipv6").len();
    assert!(all >= least, "only {all} packets were on the wire, {least} at least were expected");
    let faults = tshark(file, FAULTS);
    assert!(faults.is_empty(), "tshark finds fault with {} of {all} packets:\n{}", faults.len(), faults.join("\n"));
}

/// One line for each packet of a file that tshark's display filter selects.
///
/// # Panics
/// tshark does not run, or does not know the filter.
#[must_use]
pub fn tshark(file: &std::path::Path, filter: &str) -> Vec<String> {
    let mut command = Command::new("tshark");
    command.args(["-n", "-r"]).arg(file);
    for preference in ["ip.check_checksum", "tcp.check_checksum", "udp.check_checksum"] {
        command.args(["-o", &format!("{preference}:TRUE")]);
    }
    command.args(["-Y", filter]);
    let output = command.output().expect("starting `tshark` (package tshark)");
    assert!(output.status.success(), "tshark failed: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}
