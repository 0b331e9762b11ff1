//! One row of the conformance table: a packet, and what the relay makes of it.

use std::fmt::Write as _;

use xlat_common::counters::{Counters, Direction, Protocol};

use super::{
    relay::{Outcome, Relay, Verdict, settings},
    world::{self, Interface, PORT},
};
use crate::compare::rows;
use crate::notation::{Frame, Host, Packet, checksum, ip4, ip6};

/// A host of the IPv4 Internet, behind `v4`.
pub const CLIENT: Host = Host { v4: "203.0.113.7", v6: "2001:db8:6464::203.0.113.7" };
/// A router of the IPv4 Internet.
pub const ROUTER: Host = Host { v4: "203.0.113.1", v6: "2001:db8:6464::203.0.113.1" };
/// An IPv4 host behind the link with an MTU of 1000.
pub const CLIENT_1000: Host = Host { v4: "203.0.113.65", v6: "2001:db8:6464::203.0.113.65" };
/// An IPv4 host behind the link with an MTU of 9000.
pub const CLIENT_9000: Host = Host { v4: "203.0.113.129", v6: "2001:db8:6464::203.0.113.129" };
/// An IPv4 host behind VLAN 7.
pub const CLIENT_VLAN: Host = Host { v4: "203.0.113.161", v6: "2001:db8:6464::203.0.113.161" };
/// An IPv4 host behind a gateway whose link-layer address is unknown.
pub const CLIENT_UNRESOLVED: Host = Host { v4: "203.0.113.193", v6: "2001:db8:6464::203.0.113.193" };
/// An IPv4 host without a route to it.
pub const CLIENT_UNREACHABLE: Host = Host { v4: "203.0.113.225", v6: "2001:db8:6464::203.0.113.225" };
/// The IPv6-only service, behind `v6`.
pub const SERVER: Host = Host { v4: "198.51.100.10", v6: "2001:db8:5e1:1::10" };
/// Another service.
pub const SERVER2: Host = Host { v4: "198.51.100.11", v6: "2001:db8:5e1:1::11" };
/// A service behind a gateway whose link-layer address is unknown.
pub const SERVER_UNRESOLVED: Host = Host { v4: "198.51.100.77", v6: "2001:db8:5e1:77::77" };
/// A service behind the link with an MTU of 1280.
pub const SERVER_1280: Host = Host { v4: "198.51.100.80", v6: "2001:db8:5e1:1280::80" };
/// A service behind the link with an MTU of 1400.
pub const SERVER_1400: Host = Host { v4: "198.51.100.81", v6: "2001:db8:5e1:1400::81" };
/// A service behind VLAN 8.
pub const SERVER_VLAN: Host = Host { v4: "198.51.100.82", v6: "2001:db8:5e1:8::82" };
/// A service behind VLAN 10 within service VLAN 9.
pub const SERVER_TWO_VLANS: Host = Host { v4: "198.51.100.83", v6: "2001:db8:5e1:10::83" };
/// A service behind service VLAN 9.
pub const SERVER_SERVICE_VLAN: Host = Host { v4: "198.51.100.84", v6: "2001:db8:5e1:9::84" };
/// A service without a route to it.
pub const SERVER_UNREACHABLE: Host = Host { v4: "198.51.100.86", v6: "2001:db8:5e1:dead::86" };
/// A service behind the link with an MTU of 9000.
pub const SERVER_9000: Host = Host { v4: "198.51.100.90", v6: "2001:db8:5e1:9000::90" };
/// The one IPv4 address in the pool for ICMPv6 errors from routers without a mapping (RFC 6791).
pub const POOL: &str = "203.0.113.8";
/// An IPv6 router without a mapping.
pub const ROUTER6: &str = "2001:db8:1234::1";
/// The relay's own address on `v4`.
pub const RELAY4: &str = "198.18.4.254";
/// The relay's own address on `v6`.
pub const RELAY6: &str = "2001:db8:fe:6::1";

/// What a row expects.
#[derive(Clone, Debug)]
pub enum Expected {
    /// Translated and sent on: see [`becomes`].
    Becomes(Packet),
    /// Translated and given to the kernel: see [`to_kernel`].
    ToKernel(Packet),
    /// Dropped, and the sender told: see [`answered`].
    Answered(&'static str, Packet),
    /// Dropped in silence: see [`dropped`].
    Dropped(&'static str),
    /// Given to the kernel as it came: see [`passed`].
    Passed,
    /// Given to the fragmenter: see [`fragmented`].
    Fragmented,
}

/// It is translated into this packet and leaves towards its destination. TTL or Hop Limit are one less than usual where the
/// row does not say another; the IPv4 Identification may be any where the row does not say it.
#[must_use]
pub fn becomes(packet: Packet) -> Expected {
    Expected::Becomes(packet)
}

/// It is translated into this packet, whose TTL or Hop Limit is as it was, and the kernel gets it.
#[must_use]
pub fn to_kernel(packet: Packet) -> Expected {
    Expected::ToKernel(packet)
}

/// It is dropped for this reason, and this answer goes back.
#[must_use]
pub fn answered(reason: &'static str, packet: Packet) -> Expected {
    Expected::Answered(reason, packet)
}

/// It is dropped for this reason, in silence.
#[must_use]
pub fn dropped(reason: &'static str) -> Expected {
    Expected::Dropped(reason)
}

/// The kernel gets it byte for byte as it came.
#[must_use]
pub fn passed() -> Expected {
    Expected::Passed
}

/// The fragmenter gets it.
#[must_use]
pub fn fragmented() -> Expected {
    Expected::Fragmented
}

/// Bytes of the shortest Ethernet frame, without its checksum.
const LEAST_FRAME: usize = 60;

/// Runs a row: `changes` to the settings in TOML, the frame, what is expected. Twice: as the first packet to its destination, and
/// where the next hops of client and server are remembered, so that the fast path has its say. What is translated is padded then, as
/// Ethernet pads short frames: the fast path takes none that are shorter.
///
/// # Panics
/// It comes out otherwise: what, and where it differs.
pub fn check(name: &str, section: &str, changes: &str, frame: impl Into<Frame>, expected: &Expected) {
    let frame = frame.into();
    if changes.is_empty() && frame.is_plain() && frame.arrives_by != Some(PORT) {
        rows::record(name, section, &frame);
    }
    let ordinary = [ip4(CLIENT, SERVER).udp(4711, 53, b"?"), ip6(SERVER, CLIENT).udp(53, 4711, b"!")].map(Frame::from);
    for time in ["first", "later"] {
        let outcome = Relay::with(&settings(changes), |relay| {
            for frame in ordinary.iter().filter(|_| time == "later") {
                relay.run(frame)?;
            }
            let pad = time == "later" && matches!(expected, Expected::Becomes(_));
            let zeros = vec![0; if pad { LEAST_FRAME.saturating_sub(frame.packet.len() + 14) } else { 0 }];
            relay.run(&if zeros.is_empty() { frame.clone() } else { frame.clone().padded_with(&zeros) })
        })
        .unwrap_or_else(|error| panic!("{name}: the program could not be run: {error:#}"));
        if let Err(difference) = compare(&frame, expected, &outcome) {
            panic!("{name} ({section}), {time}: {difference}");
        }
    }
}

/// Whether the outcome is the expected one.
///
/// # Errors
/// The difference, in words and bytes.
pub fn compare(frame: &Frame, expected: &Expected, outcome: &Outcome) -> Result<(), String> {
    let arrival = world::interface(frame.arrives_by.unwrap_or(if frame.ether_type == 0x86dd { "v6" } else { "v4" }));
    let came = frame.bytes(arrival.mac, arrival.gateway_mac);
    match expected {
        Expected::Becomes(packet) => {
            let packet = packet.clone().forwarded();
            expect_verdict(outcome, None, verdict_towards(&packet, arrival))?;
            expect_frame(&packet, &way_of(&packet), outcome)
        }
        Expected::ToKernel(packet) => {
            expect_verdict(outcome, None, Verdict::Pass)?;
            let link = Link { to: arrival.mac, from: arrival.gateway_mac, tags: frame.tags.clone() };
            expect_frame(packet, &link, outcome)
        }
        Expected::Answered(reason, packet) => {
            expect_verdict(outcome, Some(reason), verdict_towards(packet, arrival))?;
            expect_frame(&packet.clone().with_id_if_none(0), &way_of(packet), outcome)
        }
        Expected::Dropped(reason) => expect_verdict(outcome, Some(reason), Verdict::Drop),
        Expected::Passed => {
            expect_verdict(outcome, None, Verdict::Pass)?;
            same_bytes(&came, &outcome.frame)
        }
        Expected::Fragmented => {
            expect_verdict(outcome, None, Verdict::Redirect)?;
            same_bytes(&frame.packet, outcome.frame.get(14..).unwrap_or_default())?;
            match packets(&outcome.counters, xlat_common::counters::Verdict::Fragmented) {
                1 => Ok(()),
                other => Err(format!("it left, but {other} packets are counted as given to the fragmenter")),
            }
        }
    }
}

/// The packets of one verdict, over both directions and all protocols.
#[must_use]
pub fn packets(counters: &Counters, verdict: xlat_common::counters::Verdict) -> u64 {
    let cells = Direction::ALL.iter().flat_map(|direction| Protocol::ALL.map(|protocol| (*direction, protocol)));
    cells.map(|(direction, protocol)| counters.traffic(direction, protocol, verdict).packets).sum()
}

struct Link {
    to: [u8; 6],
    from: [u8; 6],
    tags: Vec<(u16, u16)>,
}

fn way_of(packet: &Packet) -> Link {
    let way = world::way_out(packet.destination());
    Link { to: way.gateway_mac, from: way.mac, tags: way.tags.to_vec() }
}

fn verdict_towards(packet: &Packet, arrival: &Interface) -> Verdict {
    let way = world::way_out(packet.destination());
    if way.device == arrival.device { Verdict::Transmit } else { Verdict::Redirect }
}

fn expect_verdict(outcome: &Outcome, reason: Option<&str>, verdict: Verdict) -> Result<(), String> {
    let got = outcome.reason.map(xlat_common::reason::DropReason::name);
    if outcome.verdict == verdict && got == reason {
        return Ok(());
    }
    let word = |reason: Option<&str>| reason.map_or_else(String::new, |reason| format!(" ({reason})"));
    Err(format!(
        "expected {verdict:?}{}, got {:?}{} with\n{}",
        word(reason),
        outcome.verdict,
        word(got),
        dump(&outcome.frame, None)
    ))
}

fn expect_frame(packet: &Packet, link: &Link, outcome: &Outcome) -> Result<(), String> {
    let mut bytes = packet.bytes();
    let mut frame = Frame::new(if packet.is_v6() { 0x86dd } else { 0x0800 }, &[]);
    frame.tags.clone_from(&link.tags);
    let header = frame.bytes(link.to, link.from);
    if packet.any_identification()
        && let Some(identification) = outcome.frame.get(header.len() + 4..header.len() + 6)
    {
        bytes[4..6].copy_from_slice(identification);
        bytes[10..12].copy_from_slice(&[0, 0]);
        let sum = checksum(&[&bytes[..20]]);
        bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    same_bytes(&[header, bytes].concat(), &outcome.frame)
}

fn same_bytes(expected: &[u8], got: &[u8]) -> Result<(), String> {
    if expected == got {
        return Ok(());
    }
    let first = expected.iter().zip(got).position(|(a, b)| a != b).unwrap_or(expected.len().min(got.len()));
    Err(format!(
        "frames differ from byte {first} on, {} bytes expected, {} got\nexpected\n{}got\n{}",
        expected.len(),
        got.len(),
        dump(expected, Some(got)),
        dump(got, Some(expected))
    ))
}

/// Sixteen bytes a line; those that differ from the other's are marked.
fn dump(bytes: &[u8], other: Option<&[u8]>) -> String {
    const MOST: usize = 320;
    let mut text = String::new();
    for (line, chunk) in bytes.chunks(16).enumerate() {
        let at = line * 16;
        let differs = other.is_some_and(|other| other.get(at..at + chunk.len()) != Some(chunk));
        if at >= MOST && !differs {
            continue;
        }
        write!(text, "  {at:4} ").expect("writing to a string");
        for (column, byte) in chunk.iter().enumerate() {
            let marked = other.is_some_and(|other| other.get(at + column) != Some(byte));
            write!(text, "{}{byte:02x}", if marked { '*' } else { ' ' }).expect("writing to a string");
        }
        text.push('\n');
    }
    text
}

/// A row in the list of all.
#[derive(Debug)]
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// Sends its packet, and panics where the outcome is another.
    pub check: fn(),
}

inventory::collect!(Row);

/// Checks every row, and says how many there are.
///
/// # Errors
/// The names of those that fail.
pub fn check_all() -> Result<usize, Vec<&'static str>> {
    let rows = || inventory::iter::<Row>.into_iter();
    let failed: Vec<&str> =
        rows().filter(|row| std::panic::catch_unwind(row.check).is_err()).map(|row| row.name).collect();
    if failed.is_empty() { Ok(rows().count()) } else { Err(failed) }
}

#[doc(hidden)]
pub use inventory::submit;

/// Rows of the conformance table: a name that says the behaviour, the section that asks for it, settings if they are not the
/// usual ones (in TOML), and a packet `=>` what becomes of it. Each row is a test of its own.
#[macro_export]
macro_rules! rows {
    ($($(#[doc = $doc:literal])* $name:ident $section:literal $(with $settings:tt)? : $frame:expr => $expected:expr;)+) => {$(
        $(#[doc = $doc])*
        #[test]
        fn $name() {
            let changes: &[&str] = &[$($settings)?];
            $crate::harness::row::check(stringify!($name), $section, &changes.concat(), $frame, &$expected);
        }
        $crate::harness::row::submit!($crate::harness::row::Row {
            name: stringify!($name),
            check: $name,
        });
    )+};
}
