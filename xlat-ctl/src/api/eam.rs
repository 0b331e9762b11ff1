//! The table, its changes and its history.

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::eam::{self, Origin, Pair};

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
        Self {
            ipv4: entry.pair.ipv4(),
            ipv6: entry.pair.ipv6(),
            comment: entry.comment.to_string(),
            origin: entry.origin,
        }
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
    /// An interface on which the table of before may still be in force, and why.
    #[serde(default)]
    pub warnings: Vec<String>,
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
    /// `add`, `del`, `apply`, `rollback`; `reload` and `start` for what the configuration changes; `create` and `restore` of the store.
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
    /// Changes that were asked for and are not in `changes`, which has 100,000 at most.
    #[serde(default)]
    pub omitted: u64,
}

/// The latest changes, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct History {
    /// The changes.
    pub revisions: Vec<Revision>,
}
