//! The packets of a scene, as templates for the generator.

use std::net::Ipv6Addr;

use xlat_bench_common::{HEADER_WORDS, Template};

use crate::{
    address::{FIRST_CLIENT, FIRST_SERVICE, ORDINARY, SERVICES, TRANSLATION, within},
    scene::{FCS, GROWTH, Kind, Scene, Way},
};

/// Protocol numbers.
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const FRAGMENT: u8 = 44;
const ICMPV6: u8 = 58;
/// Bytes of headers before the transport header.
const ETHERNET: usize = 14;

/// Link-layer addresses of a frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Macs {
    /// The relay's.
    pub(crate) destination: [u8; 6],
    /// The gateway's.
    pub(crate) source: [u8; 6],
}

/// A packet that a schedule can name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Made {
    /// Its headers.
    pub(crate) template: Template,
    /// Bytes of the frame.
    pub(crate) len: u32,
}

/// What follows the IP header.
struct Body {
    protocol: u8,
    bytes: Vec<u8>,
    /// Where in `bytes` the checksum is.
    checksum_at: Option<usize>,
    /// Whether it covers the addresses.
    covers_addresses: bool,
}

/// The packets of a scene, one for each size in its mix.
#[must_use]
pub(crate) fn packets(scene: &Scene, macs: Macs) -> Vec<Made> {
    let mut sizes = scene.size.mix();
    sizes.sort_unstable();
    sizes.dedup();
    sizes.into_iter().map(|size| packet(scene, size, macs)).collect()
}

/// Which of [`packets`] has this size.
#[must_use]
pub(crate) fn index_of(scene: &Scene, size: u32) -> u32 {
    let mut sizes = scene.size.mix();
    sizes.sort_unstable();
    sizes.dedup();
    sizes.iter().position(|there| *there == size).unwrap_or(0) as u32
}

fn packet(scene: &Scene, size: u32, macs: Macs) -> Made {
    let six = scene.way == Way::SixToFour;
    let len = size - FCS + if six { GROWTH } else { 0 };
    let body_len = len as usize - ETHERNET - if six { 40 } else { 20 };
    let body = body(scene, body_len);
    let ip_len = len as usize - ETHERNET;
    let said_len = if scene.kind == Kind::Malformed { ip_len + 8 } else { ip_len };
    let mut frame = [&macs.destination[..], &macs.source, if six { &[0x86, 0xdd] } else { &[0x08, 0x00] }].concat();
    let header = if six { ipv6(scene, &body, said_len) } else { ipv4(scene, &body, said_len) };
    let addresses = if six { &header[8..40] } else { &header[12..20] };
    let pseudo = if body.covers_addresses {
        sum(addresses) + u32::from((body_len as u16).to_be()) + u32::from(u16::from(body.protocol).to_be())
    } else {
        0
    };
    let checksum = pseudo + sum(&body.bytes);
    let header_checksum = if six { 0 } else { sum(&header) };
    frame.extend(&header);
    let body_at = frame.len();
    frame.extend(&body.bytes);
    if let Some(at) = body.checksum_at {
        frame[body_at + at..][..2].copy_from_slice(&complement(checksum).to_ne_bytes());
    }
    let fixed = scene.kind == Kind::IcmpError;
    if fixed && !six {
        frame[ETHERNET + 10..][..2].copy_from_slice(&complement(header_checksum).to_ne_bytes());
    }
    let family = match (fixed, six) {
        (true, _) => 0,
        (false, true) => Template::IPV6,
        (false, false) => Template::IPV4,
    };
    let checksum_at = match body.checksum_at {
        Some(at) if body.covers_addresses && !fixed => (body_at + at) as u32,
        _ => 0,
    };
    let template = Template { family, checksum_at, checksum, header_checksum, ..header_of(&frame) };
    Made { template, len }
}

/// The first words of a frame.
fn header_of(frame: &[u8]) -> Template {
    let words = match frame.len() {
        0..=56 => 7,
        57..=80 => 10,
        _ => HEADER_WORDS,
    };
    let mut bytes = frame.to_vec();
    bytes.resize(HEADER_WORDS * 8, 0);
    let word = |word: usize| u64::from_ne_bytes(std::array::from_fn(|at| bytes[word * 8 + at]));
    Template { header: std::array::from_fn(word), words: words as u32, ..Template::NONE }
}

fn ipv4(scene: &Scene, body: &Body, total_len: usize) -> Vec<u8> {
    let hop_limit = if scene.kind == Kind::Expired { 1 } else { 64 };
    let mut header = vec![0x45, 0];
    header.extend((total_len as u16).to_be_bytes());
    header.extend([0x12, 0x34]);
    // Fragments are of a datagram in which they may be; all others say Don't Fragment.
    header.extend(if scene.kind == Kind::Fragment { 185u16 } else { 0x4000 }.to_be_bytes());
    header.extend([hop_limit, body.protocol, 0, 0]);
    let fixed = if scene.kind == Kind::IcmpError { [FIRST_CLIENT, FIRST_SERVICE] } else { [0; 2] };
    header.extend(fixed.into_iter().flat_map(u32::to_be_bytes));
    header
}

fn ipv6(scene: &Scene, body: &Body, ip_len: usize) -> Vec<u8> {
    let hop_limit = if scene.kind == Kind::Expired { 1 } else { 64 };
    let mut header = vec![0x60, 0, 0, 0];
    header.extend(((ip_len - 40) as u16).to_be_bytes());
    header.extend([if scene.kind == Kind::Fragment { FRAGMENT } else { body.protocol }, hop_limit]);
    let (service, client) = if scene.kind == Kind::IcmpError { (FIRST_SERVICE, FIRST_CLIENT) } else { (0, 0) };
    let destination = if scene.kind == Kind::Ordinary { ORDINARY } else { TRANSLATION };
    header.extend(within(SERVICES, service).octets());
    header.extend(within(destination, client).octets());
    header
}

fn body(scene: &Scene, len: usize) -> Body {
    let six = scene.way == Way::SixToFour;
    let (source, destination) = if six { (80u16, 40_000u16) } else { (40_000, 80) };
    let ports = [source.to_be_bytes(), destination.to_be_bytes()].concat();
    let icmp = |kind: u8, code: u8, rest: &[u8]| Body {
        protocol: if six { ICMPV6 } else { ICMP },
        bytes: [&[kind, code, 0, 0], rest].concat(),
        checksum_at: Some(2),
        covers_addresses: six,
    };
    match scene.kind {
        Kind::Tcp => Body {
            protocol: TCP,
            bytes: [&ports[..], &[0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 0x20, 0, 0, 0, 0, 0]].concat(),
            checksum_at: Some(16),
            covers_addresses: true,
        },
        Kind::Echo => icmp(if six { 128 } else { 8 }, 0, &[0x56, 0x78, 0, 1]),
        // A timestamp request; an ICMPv6 type that nobody has assigned.
        Kind::Untranslatable => icmp(if six { 200 } else { 13 }, 0, &[0x56, 0x78, 0, 1]),
        Kind::IcmpError => {
            let inner = if six { inner6() } else { inner4() };
            let mut error = icmp(if six { 1 } else { 3 }, if six { 4 } else { 3 }, &[&[0; 4], &inner[..]].concat());
            error.bytes.resize(len, 0);
            error
        }
        Kind::Fragment => {
            let mut bytes =
                if six { [&[UDP, 0], &(185u16 << 3).to_be_bytes()[..], &[0x12; 4]].concat() } else { vec![] };
            bytes.resize(bytes.len() + 8, 0);
            Body { protocol: UDP, bytes, checksum_at: None, covers_addresses: false }
        }
        Kind::UdpZero => Body {
            protocol: UDP,
            bytes: [&ports[..], &(len as u16).to_be_bytes(), &[0; 2]].concat(),
            checksum_at: None,
            covers_addresses: false,
        },
        Kind::Udp | Kind::Denied | Kind::Malformed | Kind::Expired | Kind::Ordinary => Body {
            protocol: UDP,
            bytes: [&ports[..], &(len as u16).to_be_bytes(), &[0; 2]].concat(),
            checksum_at: Some(6),
            covers_addresses: true,
        },
    }
}

/// The packet that an ICMPv4 error is about: a UDP datagram from the service to the client.
fn inner4() -> Vec<u8> {
    let mut header = vec![0x45, 0, 2, 0, 0, 1, 0x40, 0, 60, UDP, 0, 0];
    header.extend([FIRST_SERVICE, FIRST_CLIENT].into_iter().flat_map(u32::to_be_bytes));
    let checksum = complement(sum(&header)).to_ne_bytes();
    header[10..12].copy_from_slice(&checksum);
    header.extend([0, 80, 0x9c, 0x40, 1, 0xec, 0x12, 0x34]);
    header
}

/// The same for ICMPv6: from the client to the service.
fn inner6() -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0, 1, 0xec, UDP, 60];
    let addresses: [Ipv6Addr; 2] = [within(TRANSLATION, FIRST_CLIENT), within(SERVICES, FIRST_SERVICE)];
    header.extend(addresses.iter().flat_map(Ipv6Addr::octets));
    header.extend([0x9c, 0x40, 0, 80, 1, 0xec, 0x12, 0x34]);
    header
}

/// Ones' complement sum (RFC 1071), in this machine's order of bytes.
fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|pair| u32::from(u16::from_ne_bytes([pair[0], *pair.get(1).unwrap_or(&0)]))).sum()
}

fn complement(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::{Size, for_one_packet};

    const MACS: Macs = Macs { destination: [2; 6], source: [4; 6] };

    #[test]
    fn whole_frames_have_room_for_their_headers() {
        for scene in for_one_packet(false) {
            for made in packets(&scene, MACS) {
                assert!(made.template.words * 8 <= made.len, "{scene:?}");
            }
        }
    }

    #[test]
    fn checksums_are_right_once_the_addresses_are_in() {
        for way in Way::BOTH {
            for kind in [Kind::Udp, Kind::Tcp, Kind::Echo] {
                let scene = Scene::plain(way, kind).sized(Size::Fixed(128));
                let made = packets(&scene, MACS)[0];
                let mut bytes: Vec<u8> = made.template.header.iter().flat_map(|word| word.to_ne_bytes()).collect();
                bytes.resize(made.len as usize, 0);
                let (client, service) = (FIRST_CLIENT.to_be(), FIRST_SERVICE.to_be());
                let addresses = (client & 0xffff) + (client >> 16) + (service & 0xffff) + (service >> 16);
                let (source, destination) = if way == Way::FourToSix { (26, 30) } else { (34, 50) };
                let (from, to) = if way == Way::FourToSix { (client, service) } else { (service, client) };
                bytes[source..source + 4].copy_from_slice(&from.to_ne_bytes());
                bytes[destination..destination + 4].copy_from_slice(&to.to_ne_bytes());
                if made.template.checksum_at != 0 {
                    let at = made.template.checksum_at as usize;
                    let checksum = complement(made.template.checksum + addresses);
                    bytes[at..at + 2].copy_from_slice(&checksum.to_ne_bytes());
                }
                let sliced = etherparse::PacketHeaders::from_ethernet_slice(&bytes).expect("a packet");
                let expected = sliced.transport.clone().expect("a transport header");
                let mut computed = expected.clone();
                let payload = sliced.payload.slice();
                match sliced.net.expect("an IP header") {
                    etherparse::NetHeaders::Ipv4(header, _) => {
                        computed.update_checksum_ipv4(&header, payload).expect("a checksum");
                    }
                    etherparse::NetHeaders::Ipv6(header, _) => {
                        computed.update_checksum_ipv6(&header, payload).expect("a checksum");
                    }
                    etherparse::NetHeaders::Arp(_) => panic!("no IP packet"),
                }
                assert_eq!(computed, expected, "{way} {kind:?}");
            }
        }
    }
}
