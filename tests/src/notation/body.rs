//! What follows the IP header: a transport header with its payload, or an ICMP message.

use super::bytes::{add, checksum};

/// What a checksum field holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    /// The right checksum.
    Right,
    /// The right checksum plus this, in ones' complement arithmetic: wrong by as much in both families.
    OffBy(u16),
    /// This.
    Is(u16),
}

/// A checksum field.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    /// Where it stands in the body.
    pub(super) at: usize,
    /// Whether it covers the pseudo-header.
    pub(super) pseudo_header: bool,
    /// How many bytes it covers; `None`: all.
    pub(super) coverage: Option<usize>,
    /// Whether a checksum of 0 is sent as 0xffff (RFC 768, RFC 3828).
    pub(super) zero_is_ffff: bool,
    /// What it holds.
    pub(super) value: Value,
}

/// The bytes after the IP header.
#[derive(Clone, Debug)]
pub struct Body {
    /// Its number in the IP header.
    pub(super) protocol: u8,
    pub(super) bytes: Vec<u8>,
    pub(super) checksum: Option<Field>,
}

impl Body {
    pub(super) fn raw(protocol: u8, bytes: &[u8]) -> Self {
        Self { protocol, bytes: bytes.to_vec(), checksum: None }
    }

    fn with_checksum(protocol: u8, bytes: Vec<u8>, at: usize, zero_is_ffff: bool) -> Self {
        let field = Field { at, pseudo_header: true, coverage: None, zero_is_ffff, value: Value::Right };
        Self { protocol, bytes, checksum: Some(field) }
    }

    /// RFC 768.
    pub(super) fn udp(source: u16, destination: u16, payload: &[u8]) -> Self {
        let len = u16::try_from(8 + payload.len()).expect("a UDP datagram has at most 65535 bytes");
        let mut bytes = [source, destination, len, 0].map(u16::to_be_bytes).concat();
        bytes.extend_from_slice(payload);
        Self::with_checksum(17, bytes, 6, true)
    }

    /// RFC 3828; `coverage` 0 is the whole datagram.
    pub(super) fn udp_lite(source: u16, destination: u16, coverage: u16, payload: &[u8]) -> Self {
        let mut bytes = [source, destination, coverage, 0].map(u16::to_be_bytes).concat();
        bytes.extend_from_slice(payload);
        let mut body = Self::with_checksum(136, bytes, 6, true);
        let covered = (coverage > 0).then_some(usize::from(coverage));
        body.checksum.as_mut().expect("just made").coverage = covered;
        body
    }

    /// RFC 9293: sequence 1, acknowledgment 2, ACK and PSH, window 1024, no options.
    pub(super) fn tcp(source: u16, destination: u16, payload: &[u8]) -> Self {
        let mut bytes = [source, destination].map(u16::to_be_bytes).concat();
        bytes.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x18, 0x04, 0x00, 0, 0, 0, 0]);
        bytes.extend_from_slice(payload);
        Self::with_checksum(6, bytes, 16, false)
    }

    /// RFC 4340: a Request with a 48-bit sequence number, checksum coverage of everything.
    pub(super) fn dccp(source: u16, destination: u16, payload: &[u8]) -> Self {
        let mut bytes = [source, destination].map(u16::to_be_bytes).concat();
        bytes.extend_from_slice(&[5, 0, 0, 0, 0x01, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 42]);
        bytes.extend_from_slice(payload);
        Self::with_checksum(33, bytes, 6, false)
    }

    /// RFC 792, RFC 4443.
    pub(super) fn icmp(v6: bool, kind: u8, code: u8) -> Self {
        let mut body = Self::with_checksum(if v6 { 58 } else { 1 }, vec![kind, code, 0, 0, 0, 0, 0, 0], 2, false);
        body.checksum.as_mut().expect("just made").pseudo_header = v6;
        body
    }

    /// The bytes with the checksum in place; `pseudo_header`: the sum of addresses, without protocol and length.
    pub(super) fn bytes(&self, pseudo_header: &[u8]) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        let Some(field) = self.checksum else { return bytes };
        let Some(place) = bytes.get_mut(field.at..field.at + 2) else { return bytes };
        place.copy_from_slice(&[0, 0]);
        let covered = field.coverage.unwrap_or(bytes.len()).min(bytes.len());
        let length = u32::try_from(bytes.len()).expect("an IP packet has at most 65535 bytes").to_be_bytes();
        let protocol = [0, self.protocol];
        let pseudo = [pseudo_header, &length, &protocol].concat();
        let pieces: [&[u8]; 2] = [if field.pseudo_header { &pseudo } else { &[] }, &bytes[..covered]];
        let right = checksum(&pieces);
        let value = match field.value {
            Value::Right if right == 0 && field.zero_is_ffff => 0xffff,
            Value::Right => right,
            Value::OffBy(error) => add(right, error),
            Value::Is(value) => value,
        };
        bytes[field.at..field.at + 2].copy_from_slice(&value.to_be_bytes());
        bytes
    }
}
