//! What is on a wire, judged by tshark: a decoder that has nothing to do with xlat.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
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

/// What it objects to in a packet by itself. Of an ICMP error that is its headers and its own checksum: the packet in error may
/// end anywhere, and tshark reads extensions in one family only.
const FAULTS_ALONE: &str = "ip.checksum.status == 0 || ip.bogus_ip_length || ip.bogus_header_length \
    || ipv6.plen_exceeds_framing#1 || icmp.checksum.status#1 == 0 || icmpv6.checksum.status#1 == 0";

/// Its word for a packet by itself: the checksum over the whole of it is right. A UDP Length of 0 is that of a jumbogram in IPv6
/// alone.
const SOUND: &str = "icmp.checksum.status#1 == 1 || icmpv6.checksum.status#1 == 1 || (!icmp && !icmpv6 \
    && (tcp.checksum.status == 1 || (udp.checksum.status == 1 && udp.length > 0) || dccp.checksum.status == 1))";

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
pub fn expect_no_fault(file: &Path, least: usize) {
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
pub fn tshark(file: &Path, filter: &str) -> Vec<String> {
    output_of(tshark_on(file).args(["-Y", filter])).lines().map(str::to_owned).collect()
}

/// tshark with the preferences that have it check all checksums. What it would read above UDP and TCP by a port that the
/// kernel has chosen at random is taken for the data that it is.
fn tshark_on(file: &Path) -> Command {
    let mut command = Command::new("tshark");
    command.args(["-n", "-r"]).arg(file);
    for transport in ["udp", "tcp"] {
        command.args(["-d", &format!("{transport}.port==0-65535,data")]);
    }
    for preference in ["ip.check_checksum", "tcp.check_checksum", "udp.check_checksum"] {
        command.args(["-o", &format!("{preference}:TRUE")]);
    }
    command
}

fn output_of(command: &mut Command) -> String {
    let output = command.output().expect("starting `tshark` (package tshark)");
    assert!(output.status.success(), "tshark failed: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Writes packets, each from its IP header on, as a file that tshark reads.
///
/// # Errors
/// The file cannot be written.
pub fn write_packets(file: &Path, packets: &[Vec<u8>]) -> Result<()> {
    /// libpcap's `LINKTYPE_RAW`: IPv4 or IPv6, as the first byte says.
    const RAW: u32 = 101;
    let mut bytes = Vec::new();
    // Magic number, version 2.4, two unused words, the most bytes of a packet, the link type.
    for word in [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, RAW] {
        bytes.extend_from_slice(&u32::to_ne_bytes(word));
    }
    for packet in packets {
        let len = u32::try_from(packet.len()).context("a packet of more than 4 GiB")?;
        // Seconds and microseconds, the bytes that follow, the bytes that were there.
        for word in [0, 0, len, len] {
            bytes.extend_from_slice(&word.to_ne_bytes());
        }
        bytes.extend_from_slice(packet);
    }
    std::fs::write(file, bytes).with_context(|| format!("writing {}", file.display()))
}

/// The packets of a file whose checksum tshark has found right and with which it finds no fault, by their place in the file.
/// Fragments are judged as they are, for the others may not be in it.
///
/// # Panics
/// tshark does not run.
#[must_use]
pub fn sound_packets(file: &Path) -> BTreeSet<usize> {
    let filter = format!("({SOUND}) && !({FAULTS_ALONE} || (!icmp && !icmpv6 && ({FAULTS})))");
    let mut command = tshark_on(file);
    for preference in ["ip.defragment", "ipv6.defragment"] {
        command.args(["-o", &format!("{preference}:FALSE")]);
    }
    command.args(["-Y", &filter, "-T", "fields", "-e", "frame.number"]);
    output_of(&mut command)
        .lines()
        .map(|line| line.parse::<usize>().expect("tshark's number of a packet") - 1)
        .collect()
}
