//! What the daemon and the command say to each other of captures: `GET /v1/capture` with a [`Query`], answered by a [`Line`] of JSON
//! after the other until it ends or the client goes.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use utoipa::{IntoParams, ToSchema};
use xlat_common::capture::{MAX_SNAPLEN, MIN_SNAPLEN};

/// Bytes of each frame that are kept: whatever the query may ask for.
pub const SNAPLEN: std::ops::RangeInclusive<u32> = MIN_SNAPLEN..=MAX_SNAPLEN;
/// Packets a second, whatever the query may ask for.
pub const RATE: std::ops::RangeInclusive<u32> = 1..=100_000;
/// Seconds that a capture lasts, whatever the query may ask for: a day at most.
pub const DURATION: std::ops::RangeInclusive<u64> = 1..=86_400;

/// What is to be captured. All conditions hold together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Query {
    /// The interface that packets arrive at; any if there is none.
    #[serde(rename = "in")]
    pub interface: Option<String>,
    /// An address or prefix of either family, source or destination, before or after translation; a single address also by what
    /// it translates to.
    pub host: Option<String>,
    /// Dropped packets alone.
    pub drops: bool,
    /// The reasons for a drop that count, names with commas between them; any if there is none.
    pub reason: Option<String>,
    /// Packets after which it ends.
    #[param(minimum = 1)]
    pub count: Option<u64>,
    /// Seconds after which it ends; 600 when nothing is said.
    #[param(minimum = 1, maximum = 86400)]
    pub duration: u64,
    /// Bytes of each frame that are kept; 2048 when nothing is said.
    #[param(minimum = 64, maximum = 2048)]
    pub snaplen: u32,
    /// Packets a second that are shown, 1000 when nothing is said; what is more is counted.
    #[param(minimum = 1, maximum = 100000)]
    pub rate: u32,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            interface: None,
            host: None,
            drops: false,
            reason: None,
            count: None,
            duration: 600,
            snaplen: MAX_SNAPLEN,
            rate: 1000,
        }
    }
}

/// A line of the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = CaptureLine)]
pub enum Line {
    /// The first: packets are captured from here on.
    Begin(Begin),
    /// A packet.
    Packet(Box<Packet>),
    /// Every second or so.
    Progress(Progress),
    /// The last.
    End(End),
}

/// A capture has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = CaptureBegin)]
pub struct Begin {
    /// Version of the daemon.
    pub version: String,
    /// Interfaces that packets may arrive at.
    pub interfaces: Vec<String>,
}

/// A packet before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = CapturePacket)]
pub struct Packet {
    /// Its number in this capture, from 1.
    pub number: u64,
    /// When it arrived, nanoseconds since 1970.
    pub time: u64,
    /// How long the program had it, nanoseconds.
    pub took: u64,
    /// `four_to_six` or `six_to_four`; nothing where it is no IP packet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<String>,
    /// As in `stats`, or `passed_other`.
    pub verdict: String,
    /// Why it was dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether its sender was told: then `after` is the ICMP error.
    pub answered: bool,
    /// As it arrived.
    pub before: Frame,
    /// As it left; nothing where it was dropped, or left as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Frame>,
}

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = CaptureFrame)]
pub struct Frame {
    /// The interface. Of one that left, the interface with its source address; nothing where the kernel forwards it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Its bytes.
    pub len: u32,
    /// The first of them, in Base64.
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    #[schema(value_type = String)]
    pub data: Vec<u8>,
}

/// What has been counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = CaptureProgress)]
pub struct Progress {
    /// Packets shown.
    pub shown: u64,
    /// Packets that the filter let through.
    pub matched: u64,
    /// Of them, not shown: over the rate.
    pub over_rate: u64,
    /// Of them, not shown: a buffer was full, the kernel's or the daemon's.
    pub lost: u64,
}

/// A capture has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = CaptureEnd)]
pub struct End {
    /// Why, in a sentence.
    pub reason: String,
    /// Whether it is an end that was asked for.
    pub complete: bool,
    /// What was counted.
    pub progress: Progress,
}

fn to_base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD.decode(text).map_err(|error| de::Error::custom(format!("a frame is not in Base64: {error}")))
}
