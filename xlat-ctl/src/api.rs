//! What the daemon and the command say to each other: JSON bodies of HTTP requests over the control socket.
//!
//! | request | body | answer |
//! |---|---|---|
//! | `GET /v1/status` | | [`Status`] |
//! | `POST /v1/reload` | | [`Reloaded`] |
//! | `GET /v1/stats` | | [`Stats`] |
//! | `GET /v1/lookup?address=ADDRESS` | | [`Lookup`] |
//! | `GET /v1/capture?…` | | lines, see [`crate::capture`] |
//! | `POST /v1/explain` | [`Explain`] | [`Explained`] |
//! | `GET /v1/eam` | | [`EamList`] |
//! | `POST /v1/eam` | [`EamAdd`] | [`EamAdded`] |
//! | `DELETE /v1/eam?prefix=PREFIX` | | [`EamDeleted`] |
//! | `PUT /v1/eam?format=FORMAT&dry_run=BOOL` | a file, see [`crate::eam_file`]; at most [`MAX_FILE`] bytes | [`Applied`] |
//! | `POST /v1/eam/rollback` | [`Rollback`] | [`Applied`] |
//! | `GET /v1/eam/find?address=ADDRESS` | | [`EamList`], the entries that cover the address, longest first |
//! | `GET /v1/eam/history?entry=PREFIX&limit=N` | | [`History`] |
//! | `GET /v1/eam/history/REVISION` | | [`Revision`] with its changes |
//! | `GET /v1/eam/rates?seconds=N&limit=N` | | [`EamRates`] |
//! | `GET /v1/eam/idle?seconds=N&limit=N` | | [`EamIdle`] |
//! | `GET /v1/share?days=N&service=PREFIX&limit=N` | | [`Share`] |
//! | `GET /v1/openapi.json` | | the description of all this (OpenAPI), as in docs/openapi.json |
//!
//! With `difference_first` `PUT /v1/eam` and `POST /v1/eam/rollback` answer with two lines ([`LINES`]): what will change, and, when it
//! has, the outcome without the changes.
//!
//! `DELETE` and `PUT` take `message` and `if_revision` in the query, as the bodies of the others do.
//!
//! Every refusal is a [`Failure`] with an HTTP status of 400 and above; only where a line was sent before, it is the second line.

mod explain;
mod usage;

use std::net::IpAddr;

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use self::{
    explain::{Explain, Explained, Field, Step, Trial, WayOut},
    usage::{
        EamIdle, EamIdleEntry, EamRate, EamRateOf, EamRates, EamTraffic, EamUsage, Rate, SHOWN_ENTRIES, Share,
        ShareDay, ShareOf, ShareService, ShareTraffic,
    },
};
use crate::eam::{self, Origin, Pair};

/// An answer that is not the one asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Failure {
    /// What happened.
    pub error: Error,
}

/// Why a request was refused or failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Error {
    /// For programs.
    pub code: Code,
    /// For people: one sentence.
    pub message: String,
}

/// Kinds of refusals and failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The request is not valid.
    Invalid,
    /// The call exists, but not with this method.
    MethodNotAllowed,
    /// There is no such thing.
    NotFound,
    /// It contradicts what is there.
    Conflict,
    /// The table is full.
    Full,
    /// The table is not at the revision that the request names.
    Stale,
    /// The request is longer than the daemon reads.
    TooLarge,
    /// The request did not arrive in time.
    Timeout,
    /// The daemon could not do it.
    Failed,
}

impl Code {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Invalid,
        Self::MethodNotAllowed,
        Self::NotFound,
        Self::Conflict,
        Self::Full,
        Self::Stale,
        Self::TooLarge,
        Self::Timeout,
        Self::Failed,
    ];
}

/// How much of what the configuration asks for is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reloaded {
    /// What is doubtful in it, in sentences.
    pub warnings: Vec<String>,
}

/// The loaded XDP program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
    /// Nanoseconds that the program on the interfaces has run; 0: the kernel does not measure it
    /// (`kernel.bpf_stats_enabled`).
    #[serde(default)]
    pub run_time_nanoseconds: u64,
    /// How often it has run meanwhile.
    #[serde(default)]
    pub runs: u64,
}

/// The table of explicit address mappings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TableStatus {
    /// Number of the latest change.
    pub revision: u64,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Attachment {
    /// The program is attached.
    Attached,
    /// There is no such interface yet.
    Waiting,
    /// The program could not be attached; it is tried again.
    Failed,
    /// It needs no program of its own: that on the device below it, or on its bond, sees its packets.
    Covered,
}

/// One interface, or a pattern that matches none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Eam {
    /// IPv4 prefix, a single address as /32.
    #[schema(value_type = String)]
    pub ipv4: Ipv4Net,
    /// IPv6 prefix, a single address as /128.
    #[schema(value_type = String)]
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

/// The media type of an answer of several lines, each a JSON text.
pub const LINES: &str = "application/x-ndjson";
/// Longest body of `PUT /v1/eam`, in bytes.
pub const MAX_FILE: usize = 256 << 20;
/// Changes that an answer to `PUT /v1/eam` and `POST /v1/eam/rollback` shows.
pub const SHOWN_CHANGES: usize = 10_000;

/// All entries, in the order of their IPv4 prefixes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EamList {
    /// Number of the change that made the table what it is.
    pub revision: u64,
    /// The entries.
    pub entries: Vec<Eam>,
}

impl EamList {
    /// The mappings alone.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = Pair> {
        self.entries.iter().filter_map(|entry| Pair::new(entry.ipv4, entry.ipv6).ok())
    }
}

/// An entry to be added.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EamAdd {
    /// IPv4 address or prefix.
    #[schema(example = "198.51.100.11")]
    pub ipv4: String,
    /// IPv6 address or prefix.
    #[schema(example = "2001:db8:5e1:1::11")]
    pub ipv6: String,
    /// One line of at most [`eam::MAX_COMMENT`] bytes.
    #[serde(default)]
    pub comment: String,
    /// What the history shall say of the change: one line of at most [`eam::MAX_COMMENT`] bytes.
    #[serde(default)]
    pub message: String,
    /// Only if the table is at this revision.
    #[serde(default)]
    pub if_revision: Option<u64>,
}

/// An entry that was added, durable and in force in both directions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EamAdded {
    /// Number of the change.
    pub revision: u64,
    /// The entry.
    pub entry: Eam,
    /// What is doubtful about it, in sentences.
    pub warnings: Vec<String>,
}

/// An entry that was deleted, durably and in both directions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EamDeleted {
    /// Number of the change.
    pub revision: u64,
    /// The entry.
    pub entry: Eam,
}

/// A revision to go back to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    /// The table becomes what it was after this revision.
    pub revision: u64,
    /// Only tell what would change.
    #[serde(default)]
    pub dry_run: bool,
    /// Tell what will change before it does: the answer is two lines of JSON then, unless it is refused at once or nothing is to
    /// change. The first is what a dry run would answer, the second the outcome without the changes, or an error.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub difference_first: bool,
    /// What the history shall say of the change.
    #[serde(default)]
    pub message: String,
    /// Only if the table is at this revision.
    #[serde(default)]
    pub if_revision: Option<u64>,
}

/// What a file or a rollback has changed, or would.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Applied {
    /// Revision of the table after it.
    pub revision: u64,
    /// Nothing was changed: it was only asked what would be.
    pub dry_run: bool,
    /// Entries added.
    pub added: u64,
    /// Entries removed.
    pub removed: u64,
    /// Entries that have another comment.
    pub changed: u64,
    /// Entries that were there already.
    pub unchanged: u64,
    /// Lines that are static entries of the configuration.
    pub static_lines: u64,
    /// The changes in the order of their IPv4 prefixes, at most [`SHOWN_CHANGES`] of them.
    pub changes: Vec<Change>,
    /// How many more there are.
    pub omitted: u64,
    /// What is doubtful about the new entries, in sentences.
    pub warnings: Vec<String>,
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum ChangeKind {
    /// It was added.
    #[serde(rename = "+")]
    Added,
    /// It was removed.
    #[serde(rename = "-")]
    Removed,
    /// It has another comment.
    #[serde(rename = "~")]
    Changed,
}

/// A change of one entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Change {
    /// What became of it.
    pub kind: ChangeKind,
    /// IPv4 prefix.
    #[schema(value_type = String)]
    pub ipv4: Ipv4Net,
    /// IPv6 prefix.
    #[schema(value_type = String)]
    pub ipv6: Ipv6Net,
    /// Where the entry comes from.
    pub origin: Origin,
    /// Its comment, after the change if that is there.
    #[serde(default)]
    pub comment: String,
    /// The comment it had, where that changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment_before: Option<String>,
}

/// Who made a change: the program at the other end of the control socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Author {
    /// The user's number, if the kernel told it.
    pub uid: Option<u32>,
    /// The user's name, or empty.
    pub user: String,
    /// The program's process number, if the kernel told it.
    pub pid: Option<i32>,
}

/// One change of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Revision {
    /// Its number: each change has the next.
    pub revision: u64,
    /// When the machine's clock said it was (UTC, RFC 3339). The order is the numbers' alone.
    pub time: String,
    /// Who made it.
    pub author: Author,
    /// `add`, `del`, `apply`, `rollback`; `create` and `restore` of the store.
    pub verb: String,
    /// The author's words about it.
    pub message: String,
    /// Entries added.
    pub added: u64,
    /// Entries removed.
    pub removed: u64,
    /// Entries that have another comment.
    pub changed: u64,
    /// Dynamic entries after it.
    pub entries: u64,
    /// The changes, where they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
}

/// The latest changes, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct History {
    /// The changes.
    pub revisions: Vec<Revision>,
}

/// By which rule an address is translated or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Lookup {
    /// The address asked for.
    #[schema(value_type = String)]
    pub address: IpAddr,
    /// What it becomes; `None`: it is not translated.
    #[schema(value_type = Option<String>)]
    pub result: Option<IpAddr>,
    /// Why.
    pub rule: Rule,
    /// The EAM that applies.
    pub eam: Option<Eam>,
    /// The translation prefix that applies.
    #[schema(value_type = Option<String>)]
    pub prefix: Option<Ipv6Net>,
    /// One sentence for people.
    pub detail: String,
    /// What it becomes under other translation prefixes (`[[prefix_for]]`).
    pub alternatives: Vec<Alternative>,
}

/// What an address becomes under another translation prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Alternative {
    /// The prefix.
    #[schema(value_type = String)]
    pub prefix: Ipv6Net,
    /// What the address becomes.
    #[schema(value_type = String)]
    pub result: IpAddr,
    /// When, in words.
    pub when: String,
}

/// Counters since the program was loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
    /// Packets for which the routing table was asked, their next hop not being remembered.
    #[serde(default)]
    pub route_lookups: u64,
    /// Events that the rate limit kept out of the log.
    pub events_suppressed: u64,
    /// What the interfaces with the program count themselves; what their drivers count, from when the interfaces came.
    #[serde(default)]
    pub interfaces: Vec<InterfaceTraffic>,
}

/// What an interface counts, all its traffic, translated or not (`ip -s link`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InterfaceTraffic {
    /// Name of the interface.
    pub name: String,
    /// Packets that it received.
    pub received_packets: u64,
    /// Bytes that it received, link-layer headers included.
    pub received_bytes: u64,
    /// Packets that it lost on the way in: no room, or not for it.
    pub received_dropped: u64,
    /// Packets that it sent.
    pub sent_packets: u64,
    /// Bytes that it sent, link-layer headers included.
    pub sent_bytes: u64,
    /// Packets that it did not send.
    pub sent_dropped: u64,
}

/// Packets and bytes of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Drops {
    /// The reason's name, as in metrics.
    pub reason: String,
    /// Packets.
    pub packets: u64,
    /// What the reason means.
    pub text: String,
}
