//! What is counted.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Counters since the program was first attached.
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
