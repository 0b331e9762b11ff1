//! Packets field by field, under names that both families share, so that the same field stands beside itself.

use std::net::{Ipv4Addr, Ipv6Addr};

use xlat_common::{
    checksum::Sum,
    ipv4::{self, protocol},
    ipv6,
};

use super::{
    book::{sum, sums_up},
    headers::{Chain, Header4, Header6, Piece, u8_at, u16_at, u32_at},
};
use crate::api::Field;

/// Names and values, in the order of the packet.
type Fields = Vec<(String, String)>;

/// A packet's fields beside another's.
pub(super) fn beside(before: &[u8], after: Option<&[u8]>) -> Vec<Field> {
    let before = fields(before);
    let Some(after) = after.map(fields) else {
        let only = |(name, value)| Field { name, before: Some(value), after: None, changed: false };
        return before.into_iter().map(only).collect();
    };
    let mut rows: Vec<Field> = Vec::new();
    for (name, value) in before {
        let other = after.iter().find(|(other, _)| *other == name).map(|(_, value)| value.clone());
        rows.push(Field { name, changed: other.as_ref() != Some(&value), before: Some(value), after: other });
    }
    // What only the other has stands after what precedes it there.
    let mut place = 0;
    for (name, value) in after {
        match rows.iter().position(|row| row.name == name) {
            Some(there) => place = there + 1,
            None => {
                rows.insert(place, Field { name, before: None, after: Some(value), changed: true });
                place += 1;
            }
        }
    }
    rows
}

/// The fields of a packet, as far as it can be read.
pub(super) fn fields(packet: &[u8]) -> Fields {
    let mut fields = Fields::new();
    read(packet, "", &mut fields);
    fields
}

fn read(packet: &[u8], prefix: &str, fields: &mut Fields) {
    match packet.first().map(|first| first >> 4) {
        Some(4) => read4(packet, prefix, fields),
        Some(6) => read6(packet, prefix, fields),
        _ => fields.push((format!("{prefix}bytes"), packet.len().to_string())),
    }
}

fn read4(packet: &[u8], prefix: &str, fields: &mut Fields) {
    let mut put = |name: &str, value: String| fields.push((format!("{prefix}{name}"), value));
    let Some(header) = Header4::read(packet) else {
        return put("bytes", format!("{}, too few for an IPv4 header", packet.len()));
    };
    put("version", "4".to_owned());
    put("traffic class", format!("{:#04x}", header.tos));
    put("length", format!("{} bytes", header.total_len));
    put("identification", format!("{:#06x}", header.identification));
    let names = [(ipv4::DF, "DF"), (ipv4::MF, "MF")];
    let set: Vec<&str> = names.iter().filter(|(bit, _)| header.fragment & bit != 0).map(|(_, name)| *name).collect();
    put("flags", if set.is_empty() { "none".to_owned() } else { set.join(" ") });
    if header.is_fragment() {
        put("fragment offset", (usize::from(header.fragment & ipv4::OFFSET_MASK) * 8).to_string());
    }
    put("hop limit", header.ttl.to_string());
    put("protocol", protocol_text(header.protocol));
    let whole = packet.get(..header.header_len.max(20));
    let is_right = whole.is_some_and(|header| sums_up(sum(header)));
    put("header checksum", format!("{:#06x}, {}", u16_at(packet, 10).unwrap_or(0), right(is_right)));
    put("source", Ipv4Addr::from(header.source).to_string());
    put("destination", Ipv4Addr::from(header.destination).to_string());
    if header.header_len > 20 {
        put("options", format!("{} bytes", header.header_len - 20));
    }
    let end = header.total_len.min(packet.len());
    let Some(payload) = packet.get(header.header_len..end) else { return };
    let length = header.total_len.saturating_sub(header.header_len);
    let number = header.protocol;
    let pseudo_header = match number {
        protocol::ICMP => Sum::ZERO,
        _ => Sum::ZERO.add32(header.source).add32(header.destination).add16(number.into()).add32(length as u32),
    };
    let is_whole = payload.len() == length;
    upper_layer(number, payload, header.piece(), is_whole.then_some(pseudo_header), prefix, fields);
}

fn read6(packet: &[u8], prefix: &str, fields: &mut Fields) {
    let mut put = |name: &str, value: String| fields.push((format!("{prefix}{name}"), value));
    let Some(header) = Header6::read(packet) else {
        return put("bytes", format!("{}, too few for an IPv6 header", packet.len()));
    };
    put("version", "6".to_owned());
    put("traffic class", format!("{:#04x}", header.traffic_class));
    put("flow label", format!("{:#07x}", u32_at(packet, 0).unwrap_or(0) & 0xf_ffff));
    put("length", format!("{} bytes", header.end()));
    let chain = Chain::follow(packet, header.next_header, header.end(), true);
    if let Ok(Chain { fragment: Some((word, identification)), .. }) = chain {
        put("identification", format!("{identification:#06x}"));
        put("flags", if word & ipv6::M != 0 { "MF" } else { "none" }.to_owned());
        put("fragment offset", (word & ipv6::OFFSET_MASK).to_string());
    }
    put("hop limit", header.hop_limit.to_string());
    let number = chain.map_or(header.next_header, |chain| chain.upper_layer);
    put("protocol", protocol_text(number));
    put("source", Ipv6Addr::from(header.source).to_string());
    put("destination", Ipv6Addr::from(header.destination).to_string());
    let Ok(chain) = chain else { return put("extension headers", "cannot be followed".to_owned()) };
    if chain.offset > 40 {
        put("extension headers", format!("{} bytes", chain.offset - 40));
    }
    let Some(payload) = packet.get(chain.offset..header.end().min(packet.len())) else { return };
    let length = header.end() - chain.offset;
    let pseudo_header = xlat_common::checksum::pseudo_header6(header.source, header.destination, length as u32, number);
    let is_whole = payload.len() == length;
    upper_layer(number, payload, chain.piece(), is_whole.then_some(pseudo_header), prefix, fields);
}

/// `pseudo_header`: of a packet that is all there.
fn upper_layer(
    number: u8,
    payload: &[u8],
    piece: Piece,
    pseudo_header: Option<Sum>,
    prefix: &str,
    fields: &mut Fields,
) {
    let is_icmp = matches!(number, protocol::ICMP | protocol::ICMPV6);
    if piece == Piece::Later || !(is_icmp || ipv4::transport_checksum(number).is_some()) {
        return fields.push((format!("{prefix}data"), format!("{} bytes", payload.len())));
    }
    let is_right = pseudo_header.filter(|_| piece == Piece::Whole).map(|pseudo| sums_up(sum(payload).add(pseudo)));
    let checksum = |at: usize| {
        let value = u16_at(payload, at)?;
        let verdict = match is_right {
            _ if value == 0 && number == protocol::UDP => ", none",
            Some(is_right) => {
                if is_right {
                    ", right"
                } else {
                    ", wrong"
                }
            }
            None => "",
        };
        Some(format!("{value:#06x}{verdict}"))
    };
    let mut put = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            fields.push((format!("{prefix}{name}"), value));
        }
    };
    if is_icmp {
        put("type", u8_at(payload, 0).map(|kind| icmp_text(number, kind)));
        put("code", u8_at(payload, 1).map(|code| code.to_string()));
        put("checksum", checksum(2));
        let is_error = is_error(number, payload.first().copied().unwrap_or(0));
        let word = u32_at(payload, 4);
        if !is_error {
            put("identifier", u16_at(payload, 4).map(|id| id.to_string()));
            put("sequence", u16_at(payload, 6).map(|sequence| sequence.to_string()));
            return put("data", payload.len().checked_sub(8).map(|length| format!("{length} bytes")));
        }
        put("second word", word.map(|word| second_word(number, payload, word)));
        if let Some(inner) = payload.get(8..).filter(|_| prefix.is_empty()) {
            read(inner, "inner ", fields);
        }
        return;
    }
    let (at, _) = ipv4::transport_checksum(number).unwrap_or((6, 8));
    put("source port", u16_at(payload, 0).map(|port| port.to_string()));
    put("destination port", u16_at(payload, 2).map(|port| port.to_string()));
    if number == protocol::TCP {
        put("tcp flags", u8_at(payload, 13).map(tcp_flags));
    }
    put("checksum", checksum(at as usize));
    let header_len = if number == protocol::TCP { usize::from(u8_at(payload, 12).unwrap_or(0x50) >> 4) * 4 } else { 8 };
    put("data", payload.len().checked_sub(header_len).map(|length| format!("{length} bytes")));
}

/// What follows the checksum of an ICMP error.
fn second_word(number: u8, message: &[u8], word: u32) -> String {
    use xlat_common::icmp::{v4, v6};
    let is_ipv4 = number == protocol::ICMP;
    match (message[0], message[1]) {
        (v4::DESTINATION_UNREACHABLE, v4::FRAGMENTATION_NEEDED) if is_ipv4 => format!("MTU {}", word & 0xffff),
        (v4::PARAMETER_PROBLEM, _) if is_ipv4 => format!("pointer {}", word >> 24),
        (v6::PACKET_TOO_BIG, _) if !is_ipv4 => format!("MTU {word}"),
        (v6::PARAMETER_PROBLEM, _) if !is_ipv4 => format!("pointer {word}"),
        _ => format!("{word:#010x}"),
    }
}

fn right(is_right: bool) -> &'static str {
    if is_right { "right" } else { "wrong" }
}

fn is_error(number: u8, kind: u8) -> bool {
    use xlat_common::icmp::{is_error4, is_error6};
    if number == protocol::ICMP { is_error4(kind) } else { is_error6(kind) }
}

fn tcp_flags(flags: u8) -> String {
    const NAMES: [&str; 8] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"];
    let set: Vec<&str> =
        NAMES.iter().enumerate().filter(|(bit, _)| flags >> bit & 1 != 0).map(|(_, name)| *name).collect();
    if set.is_empty() { "none".to_owned() } else { set.join(" ") }
}

fn protocol_text(number: u8) -> String {
    let name = match number {
        protocol::ICMP => "ICMP",
        protocol::IGMP => "IGMP",
        protocol::TCP => "TCP",
        protocol::UDP => "UDP",
        protocol::DCCP => "DCCP",
        47 => "GRE",
        50 => "ESP",
        protocol::AUTHENTICATION => "AH",
        protocol::ICMPV6 => "ICMPv6",
        59 => "none",
        132 => "SCTP",
        protocol::UDP_LITE => "UDP-Lite",
        _ => return number.to_string(),
    };
    format!("{number} {name}")
}

fn icmp_text(number: u8, kind: u8) -> String {
    let name = match (number, kind) {
        (protocol::ICMP, 0) | (protocol::ICMPV6, 129) => "echo reply",
        (protocol::ICMP, 8) | (protocol::ICMPV6, 128) => "echo request",
        (protocol::ICMP, 3) | (protocol::ICMPV6, 1) => "destination unreachable",
        (protocol::ICMP, 11) | (protocol::ICMPV6, 3) => "time exceeded",
        (protocol::ICMP, 12) | (protocol::ICMPV6, 4) => "parameter problem",
        (protocol::ICMPV6, 2) => "packet too big",
        _ => return kind.to_string(),
    };
    format!("{kind} {name}")
}
