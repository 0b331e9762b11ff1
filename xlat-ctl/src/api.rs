//! What the daemon and the command say to each other: JSON bodies of HTTP requests over the control socket.
//!
//! | request | body | answer |
//! |---|---|---|
//! | `GET /v1/status` | | [`Status`] |
//! | `POST /v1/reload` | | [`Reloaded`] |
//! | `GET /v1/stats` | | [`Stats`] |
//! | `GET /v1/lookup?address=ADDRESS` | | [`Lookup`] |
//! | `GET /v1/eam` | | [`EamList`] |
//! | `POST /v1/eam` | [`EamAdd`] | [`EamAdded`] |
//! | `DELETE /v1/eam?prefix=PREFIX` | | [`Eam`], the entry that was deleted |
//!
//! Every refusal is a [`Failure`] with an HTTP status of 400 and above.

use std::net::IpAddr;

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::eam::{self, Origin};

/// An answer that is not the one asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What happened.
    pub error: Error,
}

/// Why a request was refused or failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// For programs.
    pub code: Code,
    /// For people: one sentence.
    pub message: String,
}

/// Kinds of refusals and failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The request is not valid.
    Invalid,
    /// There is no such thing.
    NotFound,
    /// It contradicts what is there.
    Conflict,
    /// The table is full.
    Full,
    /// The request is longer than the daemon reads.
    TooLarge,
    /// The request did not arrive in time.
    Timeout,
    /// The daemon could not do it.
    Failed,
}

/// How much of what the configuration asks for is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The program is attached to every configured interface.
    Attached,
    /// The program is attached to some of them.
    Degraded,
    /// The program is attached to none.
    Detached,
}

/// The answer to `status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// How much of what the configuration asks for is in force.
    pub state: State,
    /// Version of the daemon.
    pub version: String,
    /// Process number of the daemon.
    pub pid: u32,
    /// Seconds since the daemon started.
    pub uptime_seconds: u64,
    /// Path of the configuration it was started with.
    pub config: String,
    /// The loaded XDP program.
    pub program: Program,
    /// The table of explicit address mappings.
    pub table: TableStatus,
    /// The configured interfaces.
    pub interfaces: Vec<InterfaceStatus>,
}

/// The configuration file is in force as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// What is doubtful in it, in sentences.
    pub warnings: Vec<String>,
}

/// The loaded XDP program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// The kernel's number of it, as `bpftool prog` shows it.
    pub id: u32,
    /// Hash of its instructions, as the kernel computes it.
    pub tag: String,
    /// Its name.
    pub name: String,
    /// Bytes of machine code.
    pub jited_bytes: u64,
    /// Instructions that the verifier looked at; 0: the kernel does not tell.
    pub verified_instructions: u64,
    /// Bytes of memory the program takes.
    pub memory_bytes: u64,
}

/// The table of explicit address mappings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableStatus {
    /// Entries in all.
    pub entries: u64,
    /// Those of the configuration.
    pub static_entries: u64,
    /// Those added by command.
    pub dynamic_entries: u64,
    /// Most entries it can hold.
    pub max_entries: u64,
    /// Bytes of memory it takes.
    pub bytes: u64,
}

/// What became of a configured interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attachment {
    /// The program is attached.
    Attached,
    /// There is no such interface yet.
    Waiting,
    /// The program could not be attached; it is tried again.
    Failed,
}

/// One interface, or a pattern that matches none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceStatus {
    /// Name of the interface, or the pattern.
    pub name: String,
    /// The kernel's number of it, when it is there.
    pub ifindex: Option<u32>,
    /// What became of it.
    pub state: Attachment,
    /// `native` or `generic`, when attached.
    pub mode: Option<String>,
    /// What an operator should know, when there is something.
    pub detail: Option<String>,
}

/// One entry of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Eam {
    /// IPv4 prefix, a single address as /32.
    pub ipv4: Ipv4Net,
    /// IPv6 prefix, a single address as /128.
    pub ipv6: Ipv6Net,
    /// The operator's words, or empty.
    #[serde(default)]
    pub comment: String,
    /// Where the entry comes from.
    pub origin: Origin,
}

impl From<&eam::Entry> for Eam {
    fn from(entry: &eam::Entry) -> Self {
        Self { ipv4: entry.pair.ipv4(), ipv6: entry.pair.ipv6(), comment: entry.comment.clone(), origin: entry.origin }
    }
}

/// All entries, in the order of their IPv4 prefixes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EamList {
    /// The entries.
    pub entries: Vec<Eam>,
}

/// An entry to be added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EamAdd {
    /// IPv4 address or prefix.
    pub ipv4: String,
    /// IPv6 address or prefix.
    pub ipv6: String,
    /// One line of at most [`eam::MAX_COMMENT`] bytes.
    #[serde(default)]
    pub comment: String,
}

/// An entry that was added, in force in both directions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EamAdded {
    /// The entry.
    pub entry: Eam,
    /// What is doubtful about it, in sentences.
    pub warnings: Vec<String>,
}

/// By which rule an address is translated or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// An EAM.
    Eam,
    /// A translation prefix.
    Prefix,
    /// An address of the relay itself, never translated.
    Own,
    /// In the operator's deny list.
    Denied,
    /// Loopback, link-local, multicast and so on.
    Illegal,
    /// A non-global IPv4 address and the well-known prefix (RFC 6052 3.1).
    WellKnownPrefix,
    /// Nothing matches.
    None,
}

/// What an address translates to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lookup {
    /// The address asked for.
    pub address: IpAddr,
    /// What it becomes; `None`: it is not translated.
    pub result: Option<IpAddr>,
    /// Why.
    pub rule: Rule,
    /// The EAM that applies.
    pub eam: Option<Eam>,
    /// The translation prefix that applies.
    pub prefix: Option<Ipv6Net>,
    /// One sentence for people.
    pub detail: String,
    /// What it becomes under other translation prefixes (`[[prefix_for]]`).
    pub alternatives: Vec<Alternative>,
}

/// What an address becomes under another translation prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alternative {
    /// The prefix.
    pub prefix: Ipv6Net,
    /// What the address becomes.
    pub result: IpAddr,
    /// When, in words.
    pub when: String,
}

/// Counters since the program was loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Milliseconds since the daemon started: the clock for rates.
    pub uptime_milliseconds: u64,
    /// Every combination of direction, protocol and verdict.
    pub traffic: Vec<Traffic>,
    /// Every drop reason.
    pub drops: Vec<Drops>,
    /// ICMP errors of the relay's own that were sent.
    pub icmp_errors_sent: u64,
    /// ICMP errors of the relay's own that rate or setting suppressed.
    pub icmp_errors_suppressed: u64,
    /// Frames passed to the kernel that are neither IPv4 nor IPv6, or not for this machine.
    pub passed_other: u64,
    /// Packets translated twice (RFC 7757 4).
    pub hairpinned: u64,
    /// Events that the rate limit kept out of the log.
    pub events_suppressed: u64,
}

/// Packets and bytes of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// `four_to_six` or `six_to_four`.
    pub direction: String,
    /// `tcp`, `udp`, `icmp` or `other`.
    pub protocol: String,
    /// `transmitted`, `redirected`, `to_kernel`, `fragmented`, `dropped` or `passed`.
    pub verdict: String,
    /// Packets.
    pub packets: u64,
    /// Bytes of the IP packets as they arrived.
    pub bytes: u64,
}

/// Packets dropped for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drops {
    /// The reason's name, as in metrics.
    pub reason: String,
    /// Packets.
    pub packets: u64,
    /// What the reason means.
    pub text: String,
}
