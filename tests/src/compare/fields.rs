//! A packet as fields with names, to say where two of them differ.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::reference::{checksum, hex};

/// A field and its value as text.
pub type Field = (String, String);

/// The fields of a packet from its IP header on; of what an ICMP error quotes they begin with `inner`. Left out is what a
/// translator may choose freely (`identification`: that of an IPv4 packet which is no fragment, RFC 7915 5.1). Checksums that
/// cover such a value are only right or wrong.
#[must_use]
pub fn fields(packet: &[u8], identification: bool) -> Vec<Field> {
    let mut all = Vec::new();
    read(packet, "", identification, &mut all);
    all
}

/// The upper-layer protocol of a packet, whether it is a fragment, and its payload.
struct Upper<'a> {
    protocol: u8,
    is_fragment: bool,
    payload: &'a [u8],
    /// The sum of the pseudo-header, of ICMPv6.
    pseudo_header: u64,
}

fn read(packet: &[u8], prefix: &str, identification: bool, all: &mut Vec<Field>) {
    let upper = match packet.first().map(|byte| byte >> 4) {
        Some(4) => ipv4(packet, prefix, identification, all),
        Some(6) => ipv6(packet, prefix, all),
        _ => None,
    };
    let Some(upper) = upper else { return all.push((format!("{prefix}bytes"), hex(packet))) };
    let is_icmp = matches!(upper.protocol, 1 | 58) && !upper.is_fragment && upper.payload.len() >= 8;
    if !is_icmp {
        return all.push((format!("{prefix}payload"), hex(upper.payload)));
    }
    let (message, is_inner) = (upper.payload, !prefix.is_empty());
    let mut add = |name: &str, value: String| all.push((format!("{prefix}{name}"), value));
    add("ICMP type and code", format!("{}/{}", message[0], message[1]));
    add("ICMP rest of header", hex(&message[4..8]));
    if is_inner {
        // Of a quotation, cut or not, the checksum is what it has become.
        add("ICMP checksum", hex(&message[2..4]));
        return add("ICMP body", hex(&message[8..]));
    }
    let is_right = checksum::compute(upper.pseudo_header + checksum::sum(message)) == 0;
    add("ICMP checksum", right(is_right));
    if is_error(upper.protocol, message[0]) {
        read(&message[8..], "inner ", identification, all);
    } else {
        add("ICMP body", hex(&message[8..]));
    }
}

fn ipv4<'a>(packet: &'a [u8], prefix: &str, identification: bool, all: &mut Vec<Field>) -> Option<Upper<'a>> {
    let length = usize::from(packet.first()? & 15) * 4;
    let header = packet.get(..length.max(20))?;
    let fragment = checksum::word(header, 6)?;
    let address = |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(header.get(at..at + 4)?).ok()?).to_string());
    let mut add = |name: &str, value: String| all.push((format!("{prefix}{name}"), value));
    add("TOS", format!("{:#04x}", header[1]));
    add("length", checksum::word(header, 2)?.to_string());
    add("flags and offset", format!("{fragment:#06x}"));
    if fragment & 0x3fff != 0 || !identification {
        add("identification", format!("{:#06x}", checksum::word(header, 4)?));
    }
    add("TTL", header[8].to_string());
    add("protocol", header[9].to_string());
    add("header checksum", right(checksum::compute(checksum::sum(header)) == 0));
    add("source", address(12)?);
    add("destination", address(16)?);
    add("options", hex(&header[20..]));
    let is_fragment = fragment & 0x3fff != 0;
    Some(Upper { protocol: header[9], is_fragment, payload: &packet[header.len()..], pseudo_header: 0 })
}

fn ipv6<'a>(packet: &'a [u8], prefix: &str, all: &mut Vec<Field>) -> Option<Upper<'a>> {
    let header = packet.get(..40)?;
    let first = u32::from_be_bytes(header.get(..4)?.try_into().ok()?);
    let address = |at: usize| Some(Ipv6Addr::from(<[u8; 16]>::try_from(header.get(at..at + 16)?).ok()?));
    let (source, destination) = (address(8)?, address(24)?);
    let mut add = |name: &str, value: String| all.push((format!("{prefix}{name}"), value));
    add("traffic class", format!("{:#04x}", first >> 20 & 0xff));
    add("flow label", format!("{:#07x}", first & 0xf_ffff));
    add("length", checksum::word(header, 4)?.to_string());
    add("next header", header[6].to_string());
    add("hop limit", header[7].to_string());
    add("source", source.to_string());
    add("destination", destination.to_string());
    let (mut protocol, mut payload, mut is_fragment) = (header[6], &packet[40..], false);
    if let (44, Some(fragment)) = (protocol, payload.get(..8)) {
        add("Fragment Header", hex(fragment));
        (protocol, is_fragment, payload) = (fragment[0], checksum::word(fragment, 2)? & 0xfff9 != 0, &payload[8..]);
    }
    let pseudo_header = checksum::sum_of_ipv6_addresses(source, destination)
        + checksum::sum_of_length_and_protocol(payload.len(), protocol);
    Some(Upper { protocol, is_fragment, payload, pseudo_header })
}

/// Whether an ICMP type of this protocol is an error.
pub(super) fn is_error(protocol: u8, icmp_type: u8) -> bool {
    (protocol == 58 && icmp_type < 128) || (protocol == 1 && matches!(icmp_type, 3 | 4 | 5 | 11 | 12))
}

fn right(is_right: bool) -> String {
    if is_right { "right" } else { "wrong" }.to_owned()
}
