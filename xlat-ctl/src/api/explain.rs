//! `POST /v1/explain`: what becomes of a packet that nobody has sent.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::reason::Reason;

/// A packet to be explained.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Explain {
    /// The packet from its IP header on, in hexadecimal.
    pub packet: String,
    /// The interface that it arrives by; without it, the attached one that the route back to its source leads to, else the first.
    #[serde(default)]
    pub interface: Option<String>,
}

/// One decision on a packet's way, as the rule book makes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Step {
    /// A word for the rule; for one that drops the packet, the reason's name.
    pub rule: String,
    /// The RFC's section, or that of docs/translation.md.
    pub source: String,
    /// The setting or list that decides it, where one does.
    pub by: Option<String>,
    /// What was decided, and from what.
    pub text: String,
}

/// One field of the packet before and after. What a family has no such field for is `None`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// As it arrived.
    pub before: Option<String>,
    /// As it leaves.
    pub after: Option<String>,
    /// Whether the two differ.
    pub changed: bool,
}

/// The way out of a packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WayOut {
    /// The interface.
    pub interface: Option<String>,
    /// The next hop's address; `None`: the destination is on the link, or nothing is known.
    pub next_hop: Option<String>,
    /// Its link-layer address, as the frame has it.
    pub next_hop_mac: Option<String>,
    /// Bytes.
    pub mtu: Option<u32>,
    /// `remembered` (the next-hop cache), `routing_table` or `kernel` (it forwards the packet).
    pub by: String,
}

/// Where the packet was run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Trial {
    /// The tag of the program in force: the hash of its instructions.
    pub tag: String,
    /// The tag of the same program loaded once more, which the packet was run through.
    pub trial_tag: String,
}

/// What becomes of the packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Explained {
    /// The interface that it is taken to arrive by.
    pub interface: String,
    /// What the program did: `transmitted`, `redirected`, `to_kernel`, `fragmented`, `dropped` or `passed`.
    pub verdict: String,
    /// The XDP action.
    pub action: String,
    /// Why it was dropped.
    pub reason: Option<Reason>,
    /// Whether the packet that is left is the answer to its sender.
    pub answered: bool,
    /// The decisions, in their order, by the rule book.
    pub steps: Vec<Step>,
    /// Both packets, field by field.
    pub fields: Vec<Field>,
    /// Where it goes.
    pub way_out: Option<WayOut>,
    /// Where it was run.
    pub program: Trial,
    /// Whether the program did what the rule book says.
    pub agrees: bool,
    /// Where they differ: each a bug.
    pub differences: Vec<String>,
    /// The packet as it arrived, from its IP header on, in hexadecimal.
    pub packet: String,
    /// The packet as the program left it, or its answer, in hexadecimal; `None`: nothing is sent.
    pub result: Option<String>,
}
