//! IPv4 and IPv6 packets, built from what is said about them.

mod address;
mod message;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use self::address::{Address4, Address6, Host};
use super::{
    body::{Body, Value},
    bytes::checksum,
    frame::{Frame, Mac},
};

#[derive(Clone, Copy, Debug)]
enum Addresses {
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

/// A packet; see the module's introduction.
#[derive(Clone, Debug)]
pub struct Packet {
    addresses: Addresses,
    hops: Option<u8>,
    traffic_class: u8,
    flow_label: u32,
    identification: Option<u16>,
    /// The flags and offset word of IPv4.
    fragment: u16,
    options: Vec<u8>,
    header_checksum: Value,
    /// Version and, in IPv4, header length.
    first_byte: Option<u8>,
    /// Total Length or Payload Length.
    length: Option<u16>,
    protocol: Option<u8>,
    /// Next Header numbers and headers whose first byte is to hold the number of what follows.
    extensions: Vec<(u8, Vec<u8>)>,
    body: Body,
    /// The part of the body that this fragment carries.
    slice: Option<(usize, usize)>,
    /// Bytes left after the IP headers.
    cut: Option<usize>,
}

/// An IPv4 packet between two hosts.
pub fn ip4(source: impl Address4, destination: impl Address4) -> Packet {
    Packet::new(Addresses::V4(source.v4(), destination.v4()))
}

/// An IPv6 packet between two hosts.
pub fn ip6(source: impl Address6, destination: impl Address6) -> Packet {
    Packet::new(Addresses::V6(source.v6(), destination.v6()))
}

const DF: u16 = 0x4000;
const MF: u16 = 0x2000;

/// The header.
impl Packet {
    fn new(addresses: Addresses) -> Self {
        Self {
            addresses,
            hops: None,
            traffic_class: 0,
            flow_label: 0,
            identification: None,
            fragment: 0,
            options: Vec::new(),
            header_checksum: Value::Right,
            first_byte: None,
            length: None,
            protocol: None,
            extensions: Vec::new(),
            body: Body::raw(59, &[]),
            slice: None,
            cut: None,
        }
    }

    /// With this TTL.
    #[must_use]
    pub fn ttl(mut self, ttl: u8) -> Self {
        self.hops = Some(ttl);
        self
    }

    /// With this Hop Limit.
    #[must_use]
    pub fn hop_limit(self, hop_limit: u8) -> Self {
        self.ttl(hop_limit)
    }

    /// With this Type of Service.
    #[must_use]
    pub fn tos(mut self, tos: u8) -> Self {
        self.traffic_class = tos;
        self
    }

    /// With this Traffic Class.
    #[must_use]
    pub fn traffic_class(self, traffic_class: u8) -> Self {
        self.tos(traffic_class)
    }

    /// With this Flow Label.
    #[must_use]
    pub fn flow_label(mut self, flow_label: u32) -> Self {
        self.flow_label = flow_label;
        self
    }

    /// With this IPv4 Identification. An expected packet without one may have any.
    #[must_use]
    pub fn id(mut self, identification: u16) -> Self {
        self.identification = Some(identification);
        self
    }

    /// With DF set.
    #[must_use]
    pub fn df(mut self) -> Self {
        self.fragment |= DF;
        self
    }

    /// With the flag set that RFC 791 reserves.
    #[must_use]
    pub fn reserved_flag(mut self) -> Self {
        self.fragment |= 0x8000;
        self
    }

    /// With these IPv4 options; their length must be a multiple of 4.
    #[must_use]
    pub fn options(mut self, options: &[u8]) -> Self {
        assert!(options.len().is_multiple_of(4), "IPv4 options fill whole 4-byte words");
        self.options = options.to_vec();
        self
    }

    /// With an IPv4 header checksum that is wrong.
    #[must_use]
    pub fn bad_header_checksum(mut self) -> Self {
        self.header_checksum = Value::OffBy(1);
        self
    }

    /// With this first byte: version and IPv4 header length.
    #[must_use]
    pub fn first_byte(mut self, byte: u8) -> Self {
        self.first_byte = Some(byte);
        self
    }

    /// With this Total Length, true or not.
    #[must_use]
    pub fn total_len(mut self, len: u16) -> Self {
        self.length = Some(len);
        self
    }

    /// With this Payload Length, true or not.
    #[must_use]
    pub fn payload_len(self, len: u16) -> Self {
        self.total_len(len)
    }

    /// With this number of the protocol in the last header before the body, true or not.
    #[must_use]
    pub fn protocol(mut self, protocol: u8) -> Self {
        self.protocol = Some(protocol);
        self
    }

    fn extension_header(mut self, number: u8, data: &[u8]) -> Self {
        assert!((data.len() + 2).is_multiple_of(8), "IPv6 extension headers fill whole 8-byte words");
        let words = u8::try_from((data.len() + 2) / 8 - 1).expect("a length of an extension header");
        self.extensions.push((number, [&[0, words], data].concat()));
        self
    }

    /// With a Hop-by-Hop Options header that has these bytes after its length.
    #[must_use]
    pub fn hop_by_hop(self, options: &[u8]) -> Self {
        self.extension_header(0, options)
    }

    /// With a Destination Options header that has these bytes after its length.
    #[must_use]
    pub fn destination_options(self, options: &[u8]) -> Self {
        self.extension_header(60, options)
    }

    /// With a Routing header of this type and Segments Left, and these bytes after that.
    #[must_use]
    pub fn routing(self, kind: u8, segments_left: u8, data: &[u8]) -> Self {
        self.extension_header(43, &[&[kind, segments_left], data].concat())
    }

    /// With an extension header given in bytes; the first holds the number of what follows, whatever is given there.
    #[must_use]
    pub fn raw_extension(mut self, number: u8, bytes: &[u8]) -> Self {
        self.extensions.push((number, bytes.to_vec()));
        self
    }

    /// With a Fragment Header: offset in bytes, M flag, Identification.
    #[must_use]
    pub fn fragment_header(self, offset: u16, more: bool, identification: u32) -> Self {
        let mut header = vec![0, 0];
        header.extend_from_slice(&(offset & 0xfff8 | u16::from(more)).to_be_bytes());
        header.extend_from_slice(&identification.to_be_bytes());
        self.raw_extension(44, &header)
    }

    /// The fragment with these bytes of what follows the IP header: `from` up to, not including, `to`. In IPv6 the Fragment
    /// Header is made, in IPv4 the fields are set. Say this after the body. The transport checksum is that of the whole packet.
    #[must_use]
    pub fn fragment(mut self, identification: u32, from: usize, to: usize) -> Self {
        assert!(from.is_multiple_of(8), "a fragment's offset is a multiple of 8");
        let offset = u16::try_from(from).expect("an offset within a packet");
        let more = to < self.body.bytes.len();
        self.slice = Some((from, to));
        match self.addresses {
            Addresses::V4(..) => {
                self.fragment |= (offset / 8) | if more { MF } else { 0 };
                self.id(identification as u16)
            }
            Addresses::V6(..) => self.fragment_header(offset, more, identification),
        }
    }

    /// Ends this many bytes after the IP headers; its length field goes on telling of the whole packet. So are packets
    /// quoted in ICMP errors.
    #[must_use]
    pub fn cut(mut self, len: usize) -> Self {
        self.cut = Some(len);
        self
    }
}

/// The bytes.
impl Packet {
    pub(crate) fn is_v6(&self) -> bool {
        matches!(self.addresses, Addresses::V6(..))
    }

    /// Where it goes.
    pub(crate) fn destination(&self) -> IpAddr {
        match self.addresses {
            Addresses::V4(_, destination) => destination.into(),
            Addresses::V6(_, destination) => destination.into(),
        }
    }

    /// With this IPv4 Identification, if none is said.
    #[must_use]
    pub(crate) fn with_id_if_none(mut self, identification: u16) -> Self {
        self.identification = self.identification.or(Some(identification));
        self
    }

    /// As expected after being forwarded: one hop less, if no other is said.
    #[must_use]
    pub(crate) fn forwarded(mut self) -> Self {
        self.hops = self.hops.or(Some(63));
        self
    }

    /// Whether an expected packet may have any Identification.
    pub(crate) fn any_identification(&self) -> bool {
        !self.is_v6() && self.identification.is_none()
    }

    fn pseudo_header(&self) -> Vec<u8> {
        match self.addresses {
            Addresses::V4(source, destination) => [source.octets(), destination.octets()].concat(),
            Addresses::V6(source, destination) => [source.octets(), destination.octets()].concat(),
        }
    }

    /// The packet from the IP header on.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut body = self.body.bytes(&self.pseudo_header());
        if let Some((from, to)) = self.slice {
            body = body[from..to.min(body.len())].to_vec();
        }
        let mut bytes = match self.addresses {
            Addresses::V4(source, destination) => self.header4(source, destination, body.len()),
            Addresses::V6(source, destination) => self.header6(source, destination, body.len()),
        };
        body.truncate(self.cut.unwrap_or(body.len()));
        bytes.extend_from_slice(&body);
        bytes
    }

    fn header4(&self, source: Ipv4Addr, destination: Ipv4Addr, body_len: usize) -> Vec<u8> {
        let header_len = 20 + self.options.len();
        let words = u8::try_from(header_len / 4).expect("an IPv4 header has at most 60 bytes");
        let total_len = self.length.unwrap_or_else(|| u16::try_from(header_len + body_len).expect("an IPv4 length"));
        let mut bytes = vec![self.first_byte.unwrap_or(0x40 | words), self.traffic_class];
        bytes.extend_from_slice(&total_len.to_be_bytes());
        bytes.extend_from_slice(&self.identification.unwrap_or(0).to_be_bytes());
        bytes.extend_from_slice(&self.fragment.to_be_bytes());
        bytes.extend_from_slice(&[self.hops.unwrap_or(64), self.protocol.unwrap_or(self.body.protocol), 0, 0]);
        bytes.extend_from_slice(&source.octets());
        bytes.extend_from_slice(&destination.octets());
        bytes.extend_from_slice(&self.options);
        let right = checksum(&[&bytes]);
        let value = match self.header_checksum {
            Value::Right => right,
            Value::OffBy(error) => right.wrapping_add(error),
            Value::Is(value) => value,
        };
        bytes[10..12].copy_from_slice(&value.to_be_bytes());
        bytes
    }

    fn header6(&self, source: Ipv6Addr, destination: Ipv6Addr, body_len: usize) -> Vec<u8> {
        let extensions_len: usize = self.extensions.iter().map(|(_, bytes)| bytes.len()).sum();
        let payload_len =
            self.length.unwrap_or_else(|| u16::try_from(extensions_len + body_len).expect("an IPv6 length"));
        let last = self.protocol.unwrap_or(self.body.protocol);
        let mut numbers: Vec<u8> = self.extensions.iter().map(|(number, _)| *number).collect();
        numbers.push(last);
        let first = 0x6000_0000 | u32::from(self.traffic_class) << 20 | self.flow_label;
        let mut bytes = first.to_be_bytes().to_vec();
        bytes[0] = self.first_byte.unwrap_or(bytes[0]);
        bytes.extend_from_slice(&payload_len.to_be_bytes());
        bytes.extend_from_slice(&[numbers[0], self.hops.unwrap_or(64)]);
        bytes.extend_from_slice(&source.octets());
        bytes.extend_from_slice(&destination.octets());
        for ((_, extension), next) in self.extensions.iter().zip(&numbers[1..]) {
            bytes.push(*next);
            bytes.extend_from_slice(&extension[1..]);
        }
        bytes
    }
}

/// The frame around the packet; see [`Frame`].
impl Packet {
    /// In a frame with a VLAN tag.
    #[must_use]
    pub fn vlan(self, id: u16) -> Frame {
        Frame::from(self).vlan(id)
    }

    /// In a frame with a service VLAN tag.
    #[must_use]
    pub fn service_vlan(self, id: u16) -> Frame {
        Frame::from(self).service_vlan(id)
    }

    /// In a frame to another link-layer address than the interface's own.
    #[must_use]
    pub fn to_mac(self, mac: Mac) -> Frame {
        Frame::from(self).to_mac(mac)
    }

    /// In a frame that arrives by this interface.
    #[must_use]
    pub fn arrives_by(self, interface: &'static str) -> Frame {
        Frame::from(self).arrives_by(interface)
    }

    /// In a frame with bytes after the packet's own end.
    #[must_use]
    pub fn padded_with(self, padding: &[u8]) -> Frame {
        Frame::from(self).padded_with(padding)
    }
}
