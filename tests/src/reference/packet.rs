//! Reading packets: fields with names, nothing decided.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Protocol numbers (IANA).
pub mod protocol {
    /// IPv6 hop-by-hop options.
    pub const HOP_BY_HOP: u8 = 0;
    /// ICMPv4.
    pub const ICMP: u8 = 1;
    /// IGMP.
    pub const IGMP: u8 = 2;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// DCCP.
    pub const DCCP: u8 = 33;
    /// IPv6 routing header.
    pub const ROUTING: u8 = 43;
    /// IPv6 Fragment Header.
    pub const FRAGMENT: u8 = 44;
    /// ICMPv6.
    pub const ICMPV6: u8 = 58;
    /// IPv6 destination options.
    pub const DESTINATION_OPTIONS: u8 = 60;
    /// UDP-Lite.
    pub const UDP_LITE: u8 = 136;
    /// What RFC 7915 section 5.1.1 calls an extension header when it follows a Fragment Header: ESP is none, AH is one.
    pub const EXTENSIONS_AFTER_FRAGMENT: [u8; 8] =
        [HOP_BY_HOP, ROUTING, FRAGMENT, 51, DESTINATION_OPTIONS, 135, 139, 140];
}

/// ICMPv4 types of error messages (RFC 1122 section 3.2.2).
pub const ICMPV4_ERRORS: [u8; 5] = [3, 4, 5, 11, 12];

/// Whether this ICMPv6 type is an error's (RFC 4443 section 2.1).
#[must_use]
pub fn is_icmpv6_error_type(icmp_type: u8) -> bool {
    icmp_type < 128
}

fn ipv4_at(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(Ipv4Addr::from(octets))
}

fn ipv6_at(bytes: &[u8], at: usize) -> Option<Ipv6Addr> {
    let octets: [u8; 16] = bytes.get(at..at + 16)?.try_into().ok()?;
    Some(Ipv6Addr::from(octets))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// Source and destination, if 20 bytes are there to hold them.
#[must_use]
pub fn ipv4_addresses(bytes: &[u8]) -> Option<(Ipv4Addr, Ipv4Addr)> {
    Some((ipv4_at(bytes, 12)?, ipv4_at(bytes, 16)?))
}

/// Source and destination, if 40 bytes are there to hold them.
#[must_use]
pub fn ipv6_addresses(bytes: &[u8]) -> Option<(Ipv6Addr, Ipv6Addr)> {
    Some((ipv6_at(bytes, 8)?, ipv6_at(bytes, 24)?))
}

/// How much of a packet is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The packet as it came: a length beyond the frame is a lie, bytes beyond the length are padding.
    Frame,
    /// The beginning of a packet, quoted in an ICMP error: its length says nothing about what is there.
    Quoted,
}

/// An IPv4 packet.
#[derive(Clone, Debug)]
pub struct Ipv4Packet {
    /// Type of service.
    pub tos: u8,
    /// Identification.
    pub identification: u16,
    /// DF.
    pub dont_fragment: bool,
    /// MF.
    pub more_fragments: bool,
    /// In units of 8 bytes.
    pub fragment_offset: u16,
    /// Time to live.
    pub ttl: u8,
    /// Protocol.
    pub protocol: u8,
    /// Source address.
    pub source: Ipv4Addr,
    /// Destination address.
    pub destination: Ipv4Addr,
    /// The options as they are.
    pub options: Vec<u8>,
    /// What the header says the payload's length is: Total Length minus the header, in bytes.
    pub length: usize,
    /// The payload that is there.
    pub payload: Vec<u8>,
}

impl Ipv4Packet {
    /// Reads a header that is whole and does not contradict itself; the checksum is another matter.
    #[must_use]
    pub fn read(bytes: &[u8], extent: Extent) -> Option<Self> {
        if bytes.len() < 20 || bytes[0] >> 4 != 4 {
            return None;
        }
        let header_length = usize::from(bytes[0] & 0x0f) * 4;
        let total_length = usize::from(u16_at(bytes, 2));
        if header_length < 20 || header_length > bytes.len() || total_length < header_length {
            return None;
        }
        let end = match extent {
            Extent::Frame if total_length > bytes.len() => return None,
            Extent::Frame => total_length,
            Extent::Quoted => bytes.len(),
        };
        let fragment_word = u16_at(bytes, 6);
        let (source, destination) = ipv4_addresses(bytes)?;
        Some(Self {
            tos: bytes[1],
            identification: u16_at(bytes, 4),
            dont_fragment: fragment_word & 0x4000 != 0,
            more_fragments: fragment_word & 0x2000 != 0,
            fragment_offset: fragment_word & 0x1fff,
            ttl: bytes[8],
            protocol: bytes[9],
            source,
            destination,
            options: bytes[20..header_length].to_vec(),
            length: total_length - header_length,
            payload: bytes[header_length..end].to_vec(),
        })
    }

    /// Whether it is a part of a larger packet.
    #[must_use]
    pub fn is_fragment(&self) -> bool {
        self.more_fragments || self.fragment_offset != 0
    }

    /// The packet in bytes, without options, its header checksum computed, its length field from [`Self::length`].
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut header = etherparse::Ipv4Header {
            dscp: etherparse::IpDscp::try_new(self.tos >> 2).expect("6 bits"),
            ecn: etherparse::IpEcn::try_new(self.tos & 3).expect("2 bits"),
            total_len: u16::try_from(20 + self.length).expect("checked by the translator"),
            identification: self.identification,
            dont_fragment: self.dont_fragment,
            more_fragments: self.more_fragments,
            fragment_offset: etherparse::IpFragOffset::try_new(self.fragment_offset).expect("13 bits"),
            time_to_live: self.ttl,
            protocol: etherparse::IpNumber(self.protocol),
            header_checksum: 0,
            source: self.source.octets(),
            destination: self.destination.octets(),
            options: etherparse::Ipv4Options::new(),
        };
        header.header_checksum = header.calc_header_checksum();
        let mut bytes = header.to_bytes().to_vec();
        bytes.extend_from_slice(&self.payload);
        bytes
    }
}

/// Whether an IPv4 packet, readable or not, can be seen to be an ICMP error.
#[must_use]
pub fn is_icmpv4_error(bytes: &[u8]) -> bool {
    icmpv4_message(bytes).and_then(<[u8]>::first).is_some_and(|icmp_type| ICMPV4_ERRORS.contains(icmp_type))
}

/// The addresses of the packet inside what can be seen to be an ICMPv4 error.
#[must_use]
pub fn ipv4_inner_addresses(bytes: &[u8]) -> Option<(Ipv4Addr, Ipv4Addr)> {
    ipv4_addresses(icmpv4_message(bytes)?.get(8..)?)
}

fn icmpv4_message(bytes: &[u8]) -> Option<&[u8]> {
    let first = u16_at(bytes.get(..20)?, 6) & 0x1fff == 0;
    let end = usize::from(u16_at(bytes, 2)).min(bytes.len());
    let header_length = usize::from(bytes[0] & 0x0f) * 4;
    let is_icmp = bytes[9] == protocol::ICMP && first && header_length >= 20;
    if is_icmp { bytes.get(header_length..end) } else { None }
}

/// What a Fragment Header says (RFC 8200 section 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// In units of 8 bytes.
    pub offset: u16,
    /// The M flag.
    pub more: bool,
    /// Identification.
    pub identification: u32,
}

impl Fragment {
    /// Whether the packet is a part of a larger one; an atomic fragment (RFC 8021) is not.
    #[must_use]
    pub fn is_part(&self) -> bool {
        self.more || self.offset != 0
    }
}

/// The fixed header of an IPv6 packet and all that follows it.
#[derive(Clone, Debug)]
pub struct Ipv6Header {
    /// Traffic class.
    pub traffic_class: u8,
    /// Payload Length, in bytes, as it is there.
    pub payload_length: usize,
    /// Next Header of the fixed header.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source address.
    pub source: Ipv6Addr,
    /// Destination address.
    pub destination: Ipv6Addr,
    /// Everything after the fixed header that is there.
    pub rest: Vec<u8>,
}

impl Ipv6Header {
    /// Reads a fixed header that is whole and does not contradict the frame.
    #[must_use]
    pub fn read(bytes: &[u8], extent: Extent) -> Option<Self> {
        if bytes.len() < 40 || bytes[0] >> 4 != 6 {
            return None;
        }
        let payload_length = usize::from(u16_at(bytes, 4));
        let end = match extent {
            Extent::Frame if 40 + payload_length > bytes.len() => return None,
            Extent::Frame => 40 + payload_length,
            Extent::Quoted => bytes.len(),
        };
        let (source, destination) = ipv6_addresses(bytes)?;
        Some(Self {
            traffic_class: bytes[0] << 4 | bytes[1] >> 4,
            payload_length,
            next_header: bytes[6],
            hop_limit: bytes[7],
            source,
            destination,
            rest: bytes[40..end].to_vec(),
        })
    }
}

/// Most extension headers that are followed (docs/translation.md 2).
const MOST_HEADERS: u32 = 32;

/// Where the extension headers of an IPv6 packet end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The first Next Header value that is none of those skipped.
    pub protocol: u8,
    /// The bytes of extension headers.
    pub length: usize,
    /// The Fragment Header, if there is one.
    pub fragment: Option<Fragment>,
}

/// What stops the walk along the extension headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainProblem {
    /// A header does not fit.
    Malformed,
    /// More than [`MOST_HEADERS`].
    TooLong,
    /// Segments Left is not 0. The pointer counts bytes from the start of the packet.
    SegmentsLeft {
        /// Where the field is.
        pointer: u32,
    },
    /// An extension header follows the Fragment Header.
    AfterFragment,
}

/// Walks the extension headers strictly in their order (RFC 8200 section 4).
///
/// # Errors
///
/// The first problem met.
pub fn walk(next_header: u8, rest: &[u8]) -> Result<Chain, ChainProblem> {
    let mut chain = Chain { protocol: next_header, length: 0, fragment: None };
    for count in 0.. {
        let is_options = matches!(chain.protocol, protocol::HOP_BY_HOP | protocol::DESTINATION_OPTIONS);
        let is_routing = chain.protocol == protocol::ROUTING;
        let is_fragment = chain.protocol == protocol::FRAGMENT;
        if !(is_options || is_routing || is_fragment) {
            break;
        }
        if count == MOST_HEADERS {
            return Err(ChainProblem::TooLong);
        }
        let header = rest.get(chain.length..chain.length + 8).ok_or(ChainProblem::Malformed)?;
        if is_fragment {
            let offset_word = u16_at(header, 2);
            chain.fragment = Some(Fragment {
                offset: offset_word >> 3,
                more: offset_word & 1 != 0,
                identification: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
            });
            chain.protocol = header[0];
            chain.length += 8;
            if protocol::EXTENSIONS_AFTER_FRAGMENT.contains(&header[0]) {
                return Err(ChainProblem::AfterFragment);
            }
            break;
        }
        let length = (usize::from(header[1]) + 1) * 8;
        if chain.length + length > rest.len() {
            return Err(ChainProblem::Malformed);
        }
        if is_routing && header[3] != 0 {
            let pointer = u32::try_from(40 + chain.length + 3).expect("a packet is shorter than 4 GiB");
            return Err(ChainProblem::SegmentsLeft { pointer });
        }
        chain.protocol = header[0];
        chain.length += length;
    }
    Ok(chain)
}

/// The protocol after all extension headers, whatever they say, and the bytes from there on; nothing for those of a
/// fragment that is not the first. Nothing at all if the walk does not get there.
#[must_use]
pub fn upper_layer(bytes: &[u8]) -> Option<(u8, Option<&[u8]>)> {
    let end = (40 + usize::from(u16_at(bytes.get(..40)?, 4))).min(bytes.len());
    let rest = &bytes[40..end];
    let mut next_header = bytes[6];
    let mut at = 0;
    for _ in 0..=MOST_HEADERS {
        let length = match next_header {
            protocol::HOP_BY_HOP | protocol::DESTINATION_OPTIONS | protocol::ROUTING => {
                (usize::from(*rest.get(at + 1)?) + 1) * 8
            }
            protocol::FRAGMENT => {
                let header = rest.get(at..at + 8)?;
                if u16_at(header, 2) >> 3 != 0 {
                    return Some((header[0], None));
                }
                8
            }
            _ => return Some((next_header, Some(rest.get(at..)?))),
        };
        next_header = rest[at];
        at += length;
    }
    None
}

/// The ICMPv6 error message in a packet, if it can be seen to be one.
#[must_use]
pub fn icmpv6_error(bytes: &[u8]) -> Option<&[u8]> {
    match upper_layer(bytes)? {
        (protocol::ICMPV6, Some(message)) if is_icmpv6_error_type(*message.first()?) => Some(message),
        _ => None,
    }
}

/// An IPv6 packet to be sent.
#[derive(Clone, Debug)]
pub struct Ipv6Packet {
    /// Traffic class.
    pub traffic_class: u8,
    /// The upper-layer protocol.
    pub protocol: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source address.
    pub source: Ipv6Addr,
    /// Destination address.
    pub destination: Ipv6Addr,
    /// The Fragment Header, if there is to be one.
    pub fragment: Option<Fragment>,
    /// What the header shall say about the length of the payload without the Fragment Header, in bytes.
    pub length: usize,
    /// The payload.
    pub payload: Vec<u8>,
}

impl Ipv6Packet {
    /// The packet in bytes, flow label 0, its length field from [`Self::length`].
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let fragment_length = if self.fragment.is_some() { 8 } else { 0 };
        let header = etherparse::Ipv6Header {
            traffic_class: self.traffic_class,
            flow_label: etherparse::Ipv6FlowLabel::ZERO,
            payload_length: u16::try_from(self.length + fragment_length).expect("checked by the translator"),
            next_header: etherparse::IpNumber(if self.fragment.is_some() { protocol::FRAGMENT } else { self.protocol }),
            hop_limit: self.hop_limit,
            source: self.source.octets(),
            destination: self.destination.octets(),
        };
        let mut bytes = header.to_bytes().to_vec();
        if let Some(fragment) = self.fragment {
            let header = etherparse::Ipv6FragmentHeader::new(
                etherparse::IpNumber(self.protocol),
                etherparse::IpFragOffset::try_new(fragment.offset).expect("13 bits"),
                fragment.more,
                fragment.identification,
            );
            bytes.extend_from_slice(&header.to_bytes());
        }
        bytes.extend_from_slice(&self.payload);
        bytes
    }
}
