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

mod eam;
mod explain;
mod stats;
mod usage;

use std::net::IpAddr;

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use self::{
    eam::{
        Applied, Author, Change, ChangeKind, Eam, EamAdd, EamAdded, EamDeleted, EamList, History, LINES, MAX_FILE,
        Revision, Rollback, SHOWN_CHANGES,
    },
    explain::{Explain, Explained, Field, Step, Trial, WayOut},
    stats::{Drops, InterfaceTraffic, Stats, Traffic},
    usage::{
        EamIdle, EamIdleEntry, EamRate, EamRateOf, EamRates, EamTraffic, EamUsage, Rate, SHOWN_ENTRIES, Share,
        ShareDay, ShareOf, ShareService, ShareTraffic,
    },
};

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
