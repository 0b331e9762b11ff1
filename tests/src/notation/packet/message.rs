//! What a packet carries: transport headers, ICMP, payloads, and what is wrong with them.

use super::Packet;
use crate::notation::body::{Body, Value};

impl Packet {
    /// A UDP datagram.
    #[must_use]
    pub fn udp(mut self, source_port: u16, destination_port: u16, payload: &[u8]) -> Self {
        self.body = Body::udp(source_port, destination_port, payload);
        self
    }

    /// A UDP-Lite datagram whose checksum covers this many bytes (0: all).
    #[must_use]
    pub fn udp_lite(mut self, source_port: u16, destination_port: u16, coverage: u16, payload: &[u8]) -> Self {
        self.body = Body::udp_lite(source_port, destination_port, coverage, payload);
        self
    }

    /// A TCP segment.
    #[must_use]
    pub fn tcp(mut self, source_port: u16, destination_port: u16, payload: &[u8]) -> Self {
        self.body = Body::tcp(source_port, destination_port, payload);
        self
    }

    /// A DCCP packet.
    #[must_use]
    pub fn dccp(mut self, source_port: u16, destination_port: u16, payload: &[u8]) -> Self {
        self.body = Body::dccp(source_port, destination_port, payload);
        self
    }

    /// Another protocol, as it is.
    #[must_use]
    pub fn payload(mut self, protocol: u8, bytes: &[u8]) -> Self {
        self.body = Body::raw(protocol, bytes);
        self
    }

    /// An ICMP or ICMPv6 message of 8 bytes.
    #[must_use]
    pub fn icmp(mut self, kind: u8, code: u8) -> Self {
        self.body = Body::icmp(self.is_v6(), kind, code);
        self
    }

    /// An Echo Request.
    #[must_use]
    pub fn echo_request(self, identifier: u16, sequence: u16, payload: &[u8]) -> Self {
        let kind = if self.is_v6() { 128 } else { 8 };
        self.icmp(kind, 0).echo(identifier, sequence, payload)
    }

    /// An Echo Reply.
    #[must_use]
    pub fn echo_reply(self, identifier: u16, sequence: u16, payload: &[u8]) -> Self {
        let kind = if self.is_v6() { 129 } else { 0 };
        self.icmp(kind, 0).echo(identifier, sequence, payload)
    }

    /// The rest of an echo message.
    #[must_use]
    pub fn echo(self, identifier: u16, sequence: u16, payload: &[u8]) -> Self {
        let [a, b] = identifier.to_be_bytes();
        let [c, d] = sequence.to_be_bytes();
        self.rest([a, b, c, d]).then(payload)
    }

    /// The four bytes after the ICMP checksum.
    #[must_use]
    pub fn rest(mut self, rest: [u8; 4]) -> Self {
        self.body.bytes[4..8].copy_from_slice(&rest);
        self
    }

    /// The MTU of an ICMP Fragmentation Needed or Packet Too Big.
    #[must_use]
    pub fn mtu(mut self, mtu: u32) -> Self {
        let bytes = mtu.to_be_bytes();
        let from = if self.is_v6() { 0 } else { 2 };
        self.body.bytes[4 + from..8].copy_from_slice(&bytes[from..]);
        self
    }

    /// The pointer of an ICMP Parameter Problem.
    #[must_use]
    pub fn pointer(mut self, pointer: u32) -> Self {
        if self.is_v6() {
            return self.rest(pointer.to_be_bytes());
        }
        self.body.bytes[4] = u8::try_from(pointer).expect("ICMPv4 pointers have 8 bits");
        self
    }

    /// The packet that an ICMP error is about.
    #[must_use]
    pub fn about(self, packet: Packet) -> Self {
        let quoted = packet.bytes();
        self.then(&quoted)
    }

    /// More bytes at the end of the body.
    #[must_use]
    pub fn then(mut self, bytes: &[u8]) -> Self {
        self.body.bytes.extend_from_slice(bytes);
        self
    }

    /// Zeros up to so many bytes after the ICMP header, then an extension structure, and the length attribute to say
    /// so (RFC 4884).
    #[must_use]
    pub fn extension(mut self, original_datagram: usize, extension: &[u8]) -> Self {
        let unit = if self.is_v6() { 8 } else { 4 };
        assert!(original_datagram.is_multiple_of(unit), "the length attribute counts {unit}-byte words");
        let quoted = self.body.bytes.len() - 8;
        assert!(quoted <= original_datagram, "{quoted} bytes are quoted, more than the original datagram field holds");
        self.body.bytes.resize(8 + original_datagram, 0);
        self.then(extension).length_attribute(u8::try_from(original_datagram / unit).expect("a length attribute"))
    }

    /// The length attribute of an ICMP error, true or not, in its own unit (RFC 4884).
    #[must_use]
    pub fn length_attribute(mut self, units: u8) -> Self {
        let at = if self.is_v6() { 4 } else { 5 };
        self.body.bytes[at] = units;
        self
    }

    /// Sets one byte of the body.
    #[must_use]
    pub fn byte(mut self, at: usize, value: u8) -> Self {
        self.body.bytes[at] = value;
        self
    }

    /// Ends the body after so many bytes, lengths and checksum with it.
    #[must_use]
    pub fn body_len(mut self, len: usize) -> Self {
        self.body.bytes.truncate(len);
        self
    }

    fn set_checksum(mut self, value: Value) -> Self {
        self.body.checksum.as_mut().expect("this body has a checksum").value = value;
        self
    }

    /// With a transport checksum that is wrong by this much.
    #[must_use]
    pub fn checksum_off_by(self, error: u16) -> Self {
        self.set_checksum(Value::OffBy(error))
    }

    /// With this transport checksum, right or not.
    #[must_use]
    pub fn checksum(self, value: u16) -> Self {
        self.set_checksum(Value::Is(value))
    }

    /// Without a checksum (UDP).
    #[must_use]
    pub fn no_checksum(self) -> Self {
        self.checksum(0)
    }
}
