//! What a relay sends for a packet, and how two relays' answers differ.

use super::fields::{Field, fields, is_error};

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
        self.packet.first().is_some_and(|byte| byte >> 4 == 6)
    }

    /// Type and code, if it is an ICMP error.
    fn error(&self) -> Option<(u8, u8)> {
        let (protocol, at) = if self.is_ipv6() { (*self.packet.get(6)?, 40) } else { (*self.packet.get(9)?, 20) };
        let (kind, code) = (*self.packet.get(at)?, *self.packet.get(at + 1)?);
        is_error(protocol, kind).then_some((kind, code))
    }

    /// Source and destination.
    fn addresses(&self) -> Option<&[u8]> {
        addresses(&self.packet, self.is_ipv6())
    }
}

fn addresses(packet: &[u8], is_ipv6: bool) -> Option<&[u8]> {
    packet.get(if is_ipv6 { 8..40 } else { 12..20 })
}

fn word(packet: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(packet.get(at..at + 2)?.try_into().ok()?))
}

/// What a relay did with a packet, in a few words.
#[must_use]
pub fn kind(came: &[u8], ipv6: bool, sent: &[Sent]) -> String {
    match sent {
        [] => "drops".to_owned(),
        [one] if one.is_ipv6() != ipv6 => "translates".to_owned(),
        [one] if one.addresses() == addresses(came, ipv6) => "forwards as it is".to_owned(),
        [one] => match one.error() {
            // A quotation of what came makes it an answer.
            Some((kind, code)) if quotes(&one.packet, came, ipv6) => format!("answers {kind}/{code}"),
            _ => "translates twice".to_owned(),
        },
        several => format!("sends {} packets", several.len()),
    }
}

fn quotes(packet: &[u8], came: &[u8], ipv6: bool) -> bool {
    packet.get(if ipv6 { 48.. } else { 28.. }).and_then(|quoted| addresses(quoted, ipv6)) == addresses(came, ipv6)
}

/// A field that differs: its name, and its value with either; empty where there is no such field.
pub type Change = (String, String, String);

/// Where what two relays sent for the same packet differs. Empty: nowhere. `None`: they did not do the same at all.
#[must_use]
pub fn difference(came: &[u8], one: &[Sent], other: &[Sent]) -> Option<Vec<Change>> {
    let sorted = |sent: &[Sent]| {
        let mut sent = sent.to_vec();
        sent.sort();
        sent
    };
    let (one, other) = (sorted(one), sorted(other));
    if one.len() != other.len() || one.iter().zip(&other).any(|(one, other)| one.is_ipv6() != other.is_ipv6()) {
        return None;
    }
    let is_ipv6 = came.first().is_some_and(|byte| byte >> 4 == 6);
    let mut changes: Vec<Change> = Vec::new();
    for (one, other) in one.iter().zip(&other) {
        let all = |sent: &Sent| {
            let mut fields = fields(&sent.packet, is_ipv6);
            if sent.is_ipv6() == is_ipv6 {
                // An answer, which may have any.
                fields.retain(|(name, _)| name != "identification" && name != "flow label");
            }
            fields.push(("way out".to_owned(), sent.by.to_owned()));
            fields
        };
        compare(&all(one), &all(other), &mut changes);
    }
    Some(changes)
}

fn compare(one: &[Field], other: &[Field], changes: &mut Vec<Change>) {
    let of = |fields: &[Field], name: &str| {
        fields.iter().find(|(known, _)| known == name).map_or_else(String::new, |(_, value)| value.clone())
    };
    for (name, _) in one.iter().chain(other) {
        let (one, other) = (of(one, name), of(other, name));
        if one != other && !changes.iter().any(|(known, ..)| known == name) {
            changes.push((name.clone(), one, other));
        }
    }
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
        assert_eq!(found, Some(vec![("hop limit".to_owned(), "63".to_owned(), "62".to_owned())]));
        assert_eq!(difference(&came, &sent(63), &[]), None);
        assert_eq!(kind(&came, false, &sent(63)), "translates");
    }

    #[test]
    fn a_field_of_the_quoted_packet_is_named() {
        let came =
            ip4("203.0.113.7", "198.51.100.10").icmp(3, 1).about(ip4("198.51.100.10", "203.0.113.7").udp(1, 2, b""));
        let sent = |hops| {
            let inner = ip6("2001:db8::2", "2001:db8::1").hop_limit(hops).udp(1, 2, b"");
            vec![Sent { by: "v6", packet: ip6("2001:db8::1", "2001:db8::2").icmp(1, 0).about(inner).bytes() }]
        };
        let found = difference(&came.bytes(), &sent(63), &sent(62));
        assert_eq!(found, Some(vec![("inner hop limit".to_owned(), "63".to_owned(), "62".to_owned())]));
    }
}
