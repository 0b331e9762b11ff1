//! How much single entries are used, and how far IPv6 is.

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Eam;

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EamTraffic {
    /// Packets.
    pub packets: u64,
    /// Bytes of the IP packets as they arrived.
    pub bytes: u64,
}

/// How much an entry has been used since it is counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EamUsage {
    /// Since when it is counted (UTC, RFC 3339).
    pub since: String,
    /// When it was last used, to some ten seconds (UTC, RFC 3339); `null`: not since then.
    pub last_used: Option<String>,
    /// IPv4 to IPv6.
    pub four_to_six: EamTraffic,
    /// IPv6 to IPv4.
    pub six_to_four: EamTraffic,
}

/// Packets and bits a second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Rate {
    /// Packets a second.
    pub packets_per_second: f64,
    /// Bits of the IP packets a second.
    pub bits_per_second: f64,
}

/// Both directions' rates.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EamRateOf {
    /// IPv4 to IPv6.
    pub four_to_six: Rate,
    /// IPv6 to IPv4.
    pub six_to_four: Rate,
}

/// An entry and its rates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EamRate {
    /// The entry.
    pub entry: Eam,
    /// Its rates in the time of the measurement.
    pub rates: EamRateOf,
    /// Its use in all.
    pub usage: EamUsage,
}

/// The busiest entries, the one with the most bits first; those without a packet are left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EamRates {
    /// How long was measured.
    pub seconds: f64,
    /// The entries.
    pub entries: Vec<EamRate>,
    /// Entries with packets that are not shown.
    pub omitted: u64,
}

/// An entry that nobody uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EamIdleEntry {
    /// The entry.
    pub entry: Eam,
    /// Its use.
    pub usage: EamUsage,
}

/// Entries that nobody has used for some time, in the order of their IPv4 prefixes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EamIdle {
    /// For how long.
    pub seconds: u64,
    /// The entries.
    pub entries: Vec<EamIdleEntry>,
    /// Idle entries that are not shown.
    pub omitted: u64,
    /// Entries without use that are not called idle, as they have been counted for a shorter time than that.
    pub too_young: u64,
}

/// Traffic of one service, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ShareTraffic {
    /// Packets to the service.
    pub to_service: EamTraffic,
    /// Packets from the service.
    pub from_service: EamTraffic,
}

/// How much is translated, and how much is IPv6 from end to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ShareOf {
    /// Translated from and to IPv4.
    pub translated: ShareTraffic,
    /// IPv6 from end to end.
    pub native: ShareTraffic,
}

/// One day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ShareDay {
    /// Which, in UTC.
    #[schema(example = "2026-11-25")]
    pub day: String,
    /// Its traffic.
    #[serde(flatten)]
    pub traffic: ShareOf,
}

/// One service over the time that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ShareService {
    /// IPv4 prefix.
    #[schema(value_type = String)]
    pub ipv4: Ipv4Net,
    /// IPv6 prefix.
    #[schema(value_type = String)]
    pub ipv6: Ipv6Net,
    /// Its traffic.
    #[serde(flatten)]
    pub traffic: ShareOf,
}

/// How far is IPv6, by day and by service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Share {
    /// Days with traffic, the oldest first, up to the one that it is.
    pub days: Vec<ShareDay>,
    /// All of these days.
    pub total: ShareOf,
    /// The services with the most bytes; none where one service was asked for.
    pub services: Vec<ShareService>,
    /// Services with traffic that are not shown.
    pub omitted: u64,
}

/// Entries that `GET /v1/eam/rates` and `GET /v1/eam/idle` show at most.
pub const SHOWN_ENTRIES: u64 = 10_000;
