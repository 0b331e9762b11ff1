//! What a relay sends for a packet, and how two relays' answers differ.

use std::net::{Ipv4Addr, Ipv6Addr};

/// A packet that a relay has sent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sent {
    /// The interface it left by.
    pub by: &'static str,
    /// From the IP header on, without the padding of short frames.
    pub packet: Vec<u8>,
}

impl Sent {
    /// The IP packet in a frame; none in what the kernel sends by itself, to find neighbours and to say what it listens to.
    #[must_use]
    pub fn of(by: &'static str, frame: &[u8]) -> Option<Self> {
        let mut at = 12;
        while matches!(frame.get(at..at + 2)?, [0x81, 0x00] | [0x88, 0xa8]) {
            at += 4;
        }
        let packet = frame.get(at + 2..)?;
        let length = match frame.get(at..at + 2)? {
            [0x08, 0x00] => usize::from(word(packet, 2)?),
            [0x86, 0xdd] if packet.get(24) != Some(&0xff) => 40 + usize::from(word(packet, 4)?),
            _ => return None,
        };
        Some(Self { by, packet: packet.get(..length).unwrap_or(packet).to_vec() })
    }

    fn is_ipv6(&self) -> bool {
        is_ipv6(&self.packet)
    }

    /// The fields, by name; what the relay may choose freely for a packet of `of` is left out.
    fn fields(&self, of: &[u8]) -> Option<Vec<(&'static str, String)>> {
        let packet = &self.packet;
        let mut fields = vec![("way out", self.by.to_owned()), ("length", packet.len().to_string())];
        let (protocol, payload) = if self.is_ipv6() {
            let first = u32::from_be_bytes(packet.get(..4)?.try_into().ok()?);
            fields.push(("traffic class", format!("{:#04x}", first >> 20 & 0xff)));
            fields.push(("flow label", format!("{:#07x}", first & 0xf_ffff)));
            fields.push(("next header", packet.get(6)?.to_string()));
            fields.push(("hop limit", packet.get(7)?.to_string()));
            fields.push(("source", Ipv6Addr::from(<[u8; 16]>::try_from(packet.get(8..24)?).ok()?).to_string()));
            fields.push(("destination", Ipv6Addr::from(<[u8; 16]>::try_from(packet.get(24..40)?).ok()?).to_string()));
            (packet[6], packet.get(40..)?)
        } else {
            let fragment = word(packet, 6)?;
            let header = usize::from(packet.first()? & 15) * 4;
            fields.push(("TOS", format!("{:#04x}", packet.get(1)?)));
            fields.push(("flags and offset", format!("{fragment:#06x}")));
            // RFC 7915 5.1: whatever the translator's generator gives, where it is no fragment.
            if fragment & 0x3fff != 0 || !is_ipv6(of) {
                fields.push(("identification", format!("{:#06x}", word(packet, 4)?)));
            }
            fields.push(("TTL", packet.get(8)?.to_string()));
            fields.push(("protocol", packet.get(9)?.to_string()));
            fields.push(("source", Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(12..16)?).ok()?).to_string()));
            fields.push(("destination", Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(16..20)?).ok()?).to_string()));
            fields.push(("options", hex(packet.get(20..header)?)));
            (packet[9], packet.get(header..)?)
        };
        if (protocol == 1 || protocol == 58) && payload.len() >= 8 {
            fields.push(("ICMP type and code", format!("{}/{}", payload[0], payload[1])));
            fields.push(("ICMP rest of header", hex(&payload[4..8])));
            fields.push(("ICMP checksum", hex(&payload[2..4])));
            fields.push(("ICMP body", hex(&payload[8..])));
        } else {
            fields.push(("payload", hex(payload)));
        }
        Some(fields)
    }

    /// Type and code, if it is an ICMP error.
    fn error(&self) -> Option<(u8, u8)> {
        let (protocol, at) = if self.is_ipv6() { (*self.packet.get(6)?, 40) } else { (*self.packet.get(9)?, 20) };
        let (kind, code) = (*self.packet.get(at)?, *self.packet.get(at + 1)?);
        let is_error = (protocol == 58 && kind < 128) || (protocol == 1 && matches!(kind, 3 | 4 | 5 | 11 | 12));
        is_error.then_some((kind, code))
    }
}

fn word(packet: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(packet.get(at..at + 2)?.try_into().ok()?))
}

fn is_ipv6(packet: &[u8]) -> bool {
    packet.first().is_some_and(|byte| byte >> 4 == 6)
}

use crate::reference::hex;

/// What a relay did with a packet, in a few words.
#[must_use]
pub fn kind(came: &[u8], ipv6: bool, sent: &[Sent]) -> String {
    match sent {
        [] => "drops".to_owned(),
        [one] if one.is_ipv6() != ipv6 => "translates".to_owned(),
        [one] => match one.error() {
            Some((kind, code)) if one.packet.len() != came.len() => format!("answers {kind}/{code}"),
            _ if one.packet.get(if ipv6 { 8..40 } else { 12..20 }) == came.get(if ipv6 { 8..40 } else { 12..20 }) => {
                "forwards as it is".to_owned()
            }
            Some((kind, code)) => format!("answers {kind}/{code}"),
            None => "translates twice".to_owned(),
        },
        several => format!("sends {} packets", several.len()),
    }
}

/// Where what two relays sent for the same packet differs: names of fields, with both values. Empty: nowhere. `None`: they
/// did not do the same at all.
#[must_use]
pub fn difference(came: &[u8], one: &[Sent], other: &[Sent]) -> Option<Vec<(&'static str, String, String)>> {
    let all = |sent: &[Sent]| {
        let mut sent = sent.to_vec();
        sent.sort();
        sent.iter().map(|sent| (sent.is_ipv6(), sent.fields(came))).collect::<Vec<_>>()
    };
    let (one, other) = (all(one), all(other));
    if one.len() != other.len() || one.iter().zip(&other).any(|(one, other)| one.0 != other.0) {
        return None;
    }
    let mut differences: Vec<(&str, String, String)> = Vec::new();
    for ((_, one), (_, other)) in one.into_iter().zip(other) {
        for ((name, one), (_, other)) in one?.into_iter().zip(other?) {
            if one != other && !differences.iter().any(|(known, ..)| *known == name) {
                differences.push((name, one, other));
            }
        }
    }
    Some(differences)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notation::{ip4, ip6};

    #[test]
    fn a_changed_field_is_named() {
        let came = ip4("203.0.113.7", "198.51.100.10").udp(1, 2, b"x").bytes();
        let sent = |hops| {
            let packet = ip6("2001:db8::1", "2001:db8::2").hop_limit(hops).udp(1, 2, b"x").bytes();
            vec![Sent { by: "v6", packet }]
        };
        assert_eq!(difference(&came, &sent(63), &sent(63)), Some(Vec::new()));
        let found = difference(&came, &sent(63), &sent(62));
        assert_eq!(found, Some(vec![("hop limit", "63".to_owned(), "62".to_owned())]));
        assert_eq!(difference(&came, &sent(63), &[]), None);
        assert_eq!(kind(&came, false, &sent(63)), "translates");
    }
}
