//! A packet in two lines, in the manner of tcpdump.

use std::fmt::Write as _;

use etherparse::{IcmpEchoHeader, Icmpv4Type, Icmpv6Type, LaxNetSlice, LaxSlicedPacket, TransportSlice};
use xlat_common::reason::DropReason;

use crate::capture::{Frame, Packet};

/// What became of a packet, in words.
pub(super) fn comment(packet: &Packet) -> String {
    let mut text = match &packet.direction {
        Some(direction) => format!("{direction}, {}", packet.verdict),
        None => packet.verdict.clone(),
    };
    if let Some(reason) = &packet.reason {
        let words = DropReason::from_name(reason).map_or("", DropReason::text);
        write!(text, " for {reason}: {words}").expect("a String takes everything");
        if packet.answered {
            text.push_str(" The sender is told.");
        }
    }
    text
}

/// Two lines: the packet as it arrived, and what became of it.
pub(super) fn lines(packet: &Packet) -> String {
    let time = time_of_day(packet.time);
    let arrived = format!("{time} {} in  {}", interface(&packet.before), frame(&packet.before));
    let indent = " ".repeat(time.len());
    let fate = match (&packet.reason, &packet.after) {
        (Some(reason), Some(after)) => {
            format!("dropped for {reason}, answered: {} {}", interface(after), frame(after))
        }
        (Some(reason), None) => format!("dropped for {reason}"),
        (None, Some(after)) => format!("{} out {} ({})", interface(after), frame(after), packet.verdict),
        (None, None) => packet.verdict.clone(),
    };
    format!("{arrived}\n{indent} {fate}\n")
}

fn interface(frame: &Frame) -> &str {
    frame.interface.as_deref().unwrap_or("kernel")
}

/// The local time of day, to the microsecond.
fn time_of_day(nanoseconds: u64) -> String {
    let (seconds, rest) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
    let (hour, minute, second) = local(seconds);
    format!("{hour:02}:{minute:02}:{second:02}.{:06}", rest / 1000)
}

/// Hour, minute and second of a moment, as the machine's time zone has it.
fn local(seconds: u64) -> (i32, i32, i32) {
    let time = libc::time_t::try_from(seconds).unwrap_or(libc::time_t::MAX);
    // SAFETY: all of it is integers and one pointer that may be null.
    let mut parts: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both point to whole values of their types.
    unsafe { libc::localtime_r(&raw const time, &raw mut parts) };
    (parts.tm_hour, parts.tm_min, parts.tm_sec)
}

/// What a frame is, in the words of tcpdump.
fn frame(frame: &Frame) -> String {
    let Ok(parsed) = LaxSlicedPacket::from_ethernet(&frame.data) else {
        return format!("frame of {} bytes", frame.len);
    };
    let (family, source, destination) = match &parsed.net {
        Some(LaxNetSlice::Ipv4(packet)) => {
            let header = packet.header();
            ("IP", header.source_addr().to_string(), header.destination_addr().to_string())
        }
        Some(LaxNetSlice::Ipv6(packet)) => {
            let header = packet.header();
            ("IP6", header.source_addr().to_string(), header.destination_addr().to_string())
        }
        _ => return format!("ethertype {}, length {}", ether_type(&frame.data), frame.len),
    };
    let (ports, what) = transport(parsed.transport.as_ref());
    let [from, to] = ports.map_or_else(Default::default, |ports| ports.map(|port| format!(".{port}")));
    format!("{family} {source}{from} > {destination}{to}: {what}, length {}", frame.len)
}

fn ether_type(frame: &[u8]) -> String {
    frame.get(12..14).map_or_else(|| "?".to_owned(), |bytes| format!("0x{:02x}{:02x}", bytes[0], bytes[1]))
}

/// The ports, if there are any, and what it is.
fn transport(transport: Option<&TransportSlice<'_>>) -> (Option<[u16; 2]>, String) {
    match transport {
        Some(TransportSlice::Tcp(header)) => {
            let marks = [
                (header.syn(), 'S'),
                (header.fin(), 'F'),
                (header.rst(), 'R'),
                (header.psh(), 'P'),
                (header.urg(), 'U'),
                (header.ack(), '.'),
            ];
            let flags: String = marks.into_iter().filter(|(is_set, _)| *is_set).map(|(_, mark)| mark).collect();
            let text =
                format!("Flags [{flags}], seq {}, ack {}", header.sequence_number(), header.acknowledgment_number());
            (Some([header.source_port(), header.destination_port()]), text)
        }
        Some(TransportSlice::Udp(header)) => {
            (Some([header.source_port(), header.destination_port()]), "UDP".to_owned())
        }
        Some(TransportSlice::Icmpv4(message)) => (None, icmp4(&message.icmp_type())),
        Some(TransportSlice::Icmpv6(message)) => (None, icmp6(&message.icmp_type())),
        Some(TransportSlice::Igmp(_)) => (None, "IGMP".to_owned()),
        None => (None, "no transport header".to_owned()),
    }
}

fn echo(kind: &str, header: IcmpEchoHeader) -> String {
    format!("echo {kind}, id {}, seq {}", header.id, header.seq)
}

fn icmp4(kind: &Icmpv4Type) -> String {
    match kind {
        Icmpv4Type::EchoRequest(header) => format!("ICMP {}", echo("request", *header)),
        Icmpv4Type::EchoReply(header) => format!("ICMP {}", echo("reply", *header)),
        Icmpv4Type::DestinationUnreachable(header) => {
            format!("ICMP destination unreachable, code {}", header.code_u8())
        }
        Icmpv4Type::TimeExceeded(_) => "ICMP time exceeded".to_owned(),
        Icmpv4Type::ParameterProblem(_) => "ICMP parameter problem".to_owned(),
        Icmpv4Type::Unknown { type_u8, code_u8, .. } => format!("ICMP type {type_u8}, code {code_u8}"),
        _ => "ICMP".to_owned(),
    }
}

fn icmp6(kind: &Icmpv6Type) -> String {
    match kind {
        Icmpv6Type::EchoRequest(header) => format!("ICMP6 {}", echo("request", *header)),
        Icmpv6Type::EchoReply(header) => format!("ICMP6 {}", echo("reply", *header)),
        Icmpv6Type::DestinationUnreachable(code) => format!("ICMP6 destination unreachable, code {}", code.code_u8()),
        Icmpv6Type::PacketTooBig { mtu } => format!("ICMP6 packet too big, mtu {mtu}"),
        Icmpv6Type::TimeExceeded(_) => "ICMP6 time exceeded".to_owned(),
        Icmpv6Type::ParameterProblem(_) => "ICMP6 parameter problem".to_owned(),
        Icmpv6Type::Unknown { type_u8, code_u8, .. } => format!("ICMP6 type {type_u8}, code {code_u8}"),
        _ => "ICMP6".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;

    fn frame_of(data: Vec<u8>, interface: &str) -> Frame {
        Frame { interface: Some(interface.to_owned()), len: data.len() as u32, data }
    }

    fn packet(reason: Option<&str>, translated: bool) -> Packet {
        let mut before = Vec::new();
        let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([203, 0, 113, 7], [198, 51, 100, 10], 64);
        builder.tcp(40000, 80, 17, 64000).syn().write(&mut before, &[]).unwrap();
        let mut after = Vec::new();
        let (source, destination) = ([0x20; 16], [0x30; 16]);
        let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv6(source, destination, 63);
        builder.tcp(40000, 80, 17, 64000).syn().write(&mut after, &[]).unwrap();
        Packet {
            number: 1,
            time: 1_000_000_000_123_456_000,
            took: 900,
            direction: Some("four_to_six".to_owned()),
            verdict: if reason.is_some() { "dropped" } else { "redirected" }.to_owned(),
            reason: reason.map(str::to_owned),
            answered: false,
            before: frame_of(before, "inet4"),
            after: translated.then(|| frame_of(after, "inet6")),
        }
    }

    #[test]
    fn shows_a_packet_before_and_after() {
        let text = lines(&packet(None, true));
        let (first, second) = text.split_once('\n').unwrap();
        let (_, first) = first.split_once(' ').unwrap();
        assert_eq!(first, "inet4 in  IP 203.0.113.7.40000 > 198.51.100.10.80: Flags [S], seq 17, ack 0, length 54");
        assert!(second.trim_start().starts_with("inet6 out IP6 2020:2020:"), "{second}");
        assert!(second.ends_with("length 74 (redirected)\n"), "{second}");
    }

    #[test]
    fn says_why_a_packet_was_dropped() {
        let packet = packet(Some("hop_limit_exceeded"), false);
        assert!(lines(&packet).ends_with(" dropped for hop_limit_exceeded\n"));
        assert_eq!(
            comment(&packet),
            "four_to_six, dropped for hop_limit_exceeded: TTL or hop limit was used up at this relay."
        );
    }

    #[test]
    fn says_something_of_any_frame() {
        let arp = [&[2; 12], &[8, 6][..], &[0; 46]].concat();
        assert_eq!(frame(&frame_of(arp, "x")), "ethertype 0x0806, length 60");
        assert_eq!(frame(&frame_of(vec![0; 13], "x")), "frame of 13 bytes");
    }
}
