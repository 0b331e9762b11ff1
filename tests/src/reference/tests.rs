//! The reference against worked examples of the RFCs, and its checksums against those that etherparse computes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::PacketBuilder;

use super::packet::{Extent, Ipv4Packet, Ipv6Header};
use super::{Config, Eam, Family, Free, Hairpin, Outcome, Route, Scope, Translated, UdpZeroChecksum, same, translate};

fn ipv4(text: &str) -> Ipv4Addr {
    text.parse().expect("an IPv4 address")
}

fn ipv6(text: &str) -> Ipv6Addr {
    text.parse().expect("an IPv6 address")
}

/// The relay of RFC 7757 appendix B.1: figure 1's table, 64:ff9b::/96 with documentation addresses allowed in it.
fn relay() -> Config {
    let eams = [
        ("192.0.2.1/32", "2001:db8:aaaa::/128"),
        ("192.0.2.2/32", "2001:db8:bbbb::b/128"),
        ("192.0.2.16/28", "2001:db8:cccc::/124"),
        ("192.0.2.128/26", "2001:db8:dddd::/64"),
    ];
    let mut config = Config {
        eams: eams
            .into_iter()
            .map(|(ipv4, ipv6)| Eam {
                ipv4: ipv4.parse().expect("IPv4"),
                ipv6: ipv6.parse().expect("IPv6"),
                prefix: None,
            })
            .collect(),
        prefixes: vec!["64:ff9b::/96".parse().expect("prefix")],
        well_known_prefix_strict: false,
        ipv4_pool: vec!["198.51.100.1/32".parse().expect("pool")],
        ..Config::default()
    };
    config.arrival4.address = Some(IpAddr::V4(ipv4("203.0.113.254")));
    config.arrival6.address = Some(IpAddr::V6(ipv6("2001:db8::fe")));
    for destination in ["0.0.0.0/0", "::/0"] {
        let destination = destination.parse().expect("a prefix");
        config.routes.push(Route { destination, mtu: 1500, ipv4: None, forwards: true });
    }
    config
}

fn udp6(source: &str, destination: &str, payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ipv6(ipv6(source).octets(), ipv6(destination).octets(), 64).udp(1000, 2000);
    let mut bytes = Vec::new();
    builder.write(&mut bytes, payload).expect("writing to memory");
    bytes
}

fn udp4(source: &str, destination: &str, payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ipv4(ipv4(source).octets(), ipv4(destination).octets(), 64).udp(1000, 2000);
    let mut bytes = Vec::new();
    builder.write(&mut bytes, payload).expect("writing to memory");
    bytes
}

fn unreachable6(source: &str, destination: &str, quoted: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ipv6(ipv6(source).octets(), ipv6(destination).octets(), 64)
        .icmpv6(etherparse::Icmpv6Type::DestinationUnreachable(etherparse::icmpv6::DestUnreachableCode::Address));
    let mut bytes = Vec::new();
    builder.write(&mut bytes, quoted).expect("writing to memory");
    bytes
}

fn unreachable4(source: &str, destination: &str, quoted: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ipv4(ipv4(source).octets(), ipv4(destination).octets(), 64)
        .icmpv4(etherparse::Icmpv4Type::DestinationUnreachable(etherparse::icmpv4::DestUnreachableHeader::Port));
    let mut bytes = Vec::new();
    builder.write(&mut bytes, quoted).expect("writing to memory");
    bytes
}

fn translated(config: &Config, family: Family, packet: &[u8]) -> Vec<u8> {
    match translate(config, family, packet) {
        Outcome::Translate(translated) => translated.bytes,
        other => panic!("not translated: {other:?}"),
    }
}

/// Asserts that every checksum etherparse knows is right.
fn assert_checksums(packet: &[u8]) {
    let sliced = etherparse::SlicedPacket::from_ip(packet).expect("a readable packet");
    let (net, transport) = (sliced.net.expect("IP"), sliced.transport.expect("a transport"));
    if let etherparse::NetSlice::Ipv4(slice) = &net {
        let header = slice.header().to_header();
        assert_eq!(header.header_checksum, header.calc_header_checksum(), "IPv4 header checksum");
    }
    let (given, right) = match (&net, &transport) {
        (etherparse::NetSlice::Ipv4(net), etherparse::TransportSlice::Udp(udp)) => {
            let header = udp.to_header();
            let right = header.calc_checksum_ipv4(&net.header().to_header(), udp.payload());
            (header.checksum, right.expect("short enough"))
        }
        (etherparse::NetSlice::Ipv6(net), etherparse::TransportSlice::Udp(udp)) => {
            let header = udp.to_header();
            let right = header.calc_checksum_ipv6(&net.header().to_header(), udp.payload());
            (header.checksum, right.expect("short enough"))
        }
        (_, etherparse::TransportSlice::Icmpv4(icmp)) => {
            // etherparse rebuilds the header from what it knows, and RFC 4884 it does not know.
            let sum = etherparse::checksum::Sum16BitWords::new().add_slice(icmp.slice());
            (sum.ones_complement(), 0)
        }
        (etherparse::NetSlice::Ipv6(net), etherparse::TransportSlice::Icmpv6(icmp)) => {
            let length = u32::try_from(icmp.slice().len()).expect("short");
            let sum = etherparse::checksum::Sum16BitWords::new()
                .add_16bytes(net.header().source())
                .add_16bytes(net.header().destination())
                .add_4bytes(length.to_be_bytes())
                .add_2bytes([0, 58])
                .add_slice(icmp.slice());
            (sum.ones_complement(), 0)
        }
        other => panic!("no checksum to look at in {other:?}"),
    };
    assert_eq!(given, right, "transport checksum");
}

#[test]
fn hairpins_a_normal_packet_as_in_rfc_7757_figure_8() {
    let packet = udp6("2001:db8:aaaa::", "64:ff9b::192.0.2.2", b"data");
    let out = translated(&relay(), Family::Ipv6, &packet);
    let header = Ipv6Header::read(&out, Extent::Frame).expect("IPv6");
    assert_eq!((header.source, header.destination), (ipv6("64:ff9b::192.0.2.1"), ipv6("2001:db8:bbbb::b")));
    assert_eq!(header.hop_limit, 63);
    assert_checksums(&out);
}

/// Figures 9 and 10 differ by the source of the error only.
fn hairpins_an_error(source: &str, expected_source: &str) {
    let quoted = udp6("64:ff9b::192.0.2.1", "2001:db8:bbbb::b", b"data");
    let packet = unreachable6(source, "64:ff9b::192.0.2.1", &quoted);
    let out = translated(&relay(), Family::Ipv6, &packet);
    let header = Ipv6Header::read(&out, Extent::Frame).expect("IPv6");
    assert_eq!((header.source, header.destination), (ipv6(expected_source), ipv6("2001:db8:aaaa::")));
    let inner = Ipv6Header::read(&header.rest[8..], Extent::Quoted).expect("IPv6");
    assert_eq!((inner.source, inner.destination), (ipv6("2001:db8:aaaa::"), ipv6("64:ff9b::192.0.2.2")));
    assert_checksums(&out);
    assert_checksums(&header.rest[8..]);
}

#[test]
fn hairpins_a_routers_error_as_in_rfc_7757_figure_9() {
    hairpins_an_error("2001:db8::1234", "64:ff9b::198.51.100.1");
}

#[test]
fn hairpins_a_hosts_error_as_in_rfc_7757_figure_10() {
    hairpins_an_error("2001:db8:bbbb::b", "64:ff9b::192.0.2.2");
}

#[test]
fn hairpins_the_response_as_in_rfc_7757_figure_11() {
    let packet = udp6("2001:db8:bbbb::b", "64:ff9b::192.0.2.1", b"data");
    let out = translated(&relay(), Family::Ipv6, &packet);
    let header = Ipv6Header::read(&out, Extent::Frame).expect("IPv6");
    assert_eq!((header.source, header.destination), (ipv6("64:ff9b::192.0.2.2"), ipv6("2001:db8:aaaa::")));
    assert_checksums(&out);
}

#[test]
fn leaves_hairpins_alone_when_off() {
    let config = Config { hairpin: Hairpin::Off, ..relay() };
    let out = translated(&config, Family::Ipv6, &udp6("2001:db8:aaaa::", "64:ff9b::192.0.2.2", b"data"));
    let packet = Ipv4Packet::read(&out, Extent::Frame).expect("IPv4");
    assert_eq!((packet.source, packet.destination), (ipv4("192.0.2.1"), ipv4("192.0.2.2")));
    assert_checksums(&out);
}

#[test]
fn translates_both_ways_and_keeps_checksums_right() {
    let config = relay();
    let out = translated(&config, Family::Ipv4, &udp4("8.8.8.8", "192.0.2.130", b"odd"));
    assert_checksums(&out);
    let header = Ipv6Header::read(&out, Extent::Frame).expect("IPv6");
    assert_eq!((header.source, header.destination), (ipv6("64:ff9b::808:808"), ipv6("2001:db8:dddd:0:800::")));
    let back = translated(&config, Family::Ipv6, &udp6("2001:db8:dddd:0:800::", "64:ff9b::808:808", b"odd"));
    assert_checksums(&back);
}

#[test]
fn keeps_a_wrong_checksum_exactly_as_wrong() {
    let right = udp4("8.8.8.8", "192.0.2.130", b"data");
    let mut wrong = right.clone();
    wrong[27] ^= 1;
    let (right, wrong) = (translated(&relay(), Family::Ipv4, &right), translated(&relay(), Family::Ipv4, &wrong));
    assert_eq!(right[..46], wrong[..46]);
    assert_eq!(right[48..], wrong[48..]);
    let field = |packet: &[u8]| i32::from(super::checksum::word(packet, 46).expect("there"));
    assert_eq!((field(&wrong) - field(&right)).abs(), 1);
}

#[test]
fn translates_errors_of_either_family() {
    let config = relay();
    let quoted = udp4("192.0.2.1", "8.8.8.8", b"data");
    let out = translated(&config, Family::Ipv4, &unreachable4("8.8.8.8", "192.0.2.1", &quoted));
    assert_checksums(&out);
    assert_checksums(&out[48..]);
    assert_eq!(out[40..42], [1, 4]);
    let quoted = udp6("64:ff9b::808:808", "2001:db8:aaaa::", b"data");
    let out = translated(&config, Family::Ipv6, &unreachable6("2001:db8::99", "64:ff9b::808:808", &quoted));
    assert_checksums(&out);
    assert_checksums(&out[28..]);
    assert_eq!(out[12..16], [198, 51, 100, 1]);
    assert_eq!(out[20..22], [3, 1]);
}

#[test]
fn adds_the_true_source_when_asked() {
    let config = Config { interface_info: true, ..relay() };
    let quoted = udp6("64:ff9b::808:808", "2001:db8:aaaa::", b"data");
    let out = translated(&config, Family::Ipv6, &unreachable6("2001:db8::99", "64:ff9b::808:808", &quoted));
    assert_checksums(&out);
    assert_eq!(out[25], 32, "length attribute in words");
    let extension = &out[28 + 128..];
    assert_eq!(extension.len(), 28);
    assert_eq!(super::checksum::sum(extension), 0);
    assert_eq!(extension[4..12], [0, 24, 2, 4, 0, 2, 0, 0]);
    assert_eq!(extension[12..], ipv6("2001:db8::99").octets());
}

#[test]
fn rewrites_the_length_attribute_and_keeps_the_extension() {
    let mut quoted = udp4("192.0.2.1", "8.8.8.8", &[7; 100]);
    assert_eq!(quoted.len(), 128);
    quoted.extend_from_slice(&[0x20, 0, 0xdf, 0xff, 0, 4, 9, 9]);
    let mut packet = unreachable4("8.8.8.8", "192.0.2.1", &quoted);
    packet[25] = 32;
    let field = super::checksum::update(super::checksum::word(&packet, 22).expect("there"), 0, 32);
    super::checksum::set_word(&mut packet, 22, field);
    let out = translated(&relay(), Family::Ipv4, &packet);
    assert_checksums(&out);
    assert_eq!(out[44], 19, "152 bytes in units of 8");
    assert_eq!(out[48 + 152..], [0x20, 0, 0xdf, 0xff, 0, 4, 9, 9]);
    assert_eq!(out[48 + 148..48 + 152], [0; 4]);
}

#[test]
fn refuses_with_a_readable_error() {
    let mut packet = udp4("8.8.8.8", "192.0.2.1", b"data");
    packet[8] = 1;
    super::checksum::set_word(&mut packet, 10, 0);
    let field = super::checksum::compute(super::checksum::sum(&packet[..20]));
    super::checksum::set_word(&mut packet, 10, field);
    let Outcome::Refuse { reason, icmp } = translate(&relay(), Family::Ipv4, &packet) else { panic!("refused") };
    assert_eq!(reason, "hop_limit_exceeded");
    assert_checksums(&icmp);
    assert_eq!(icmp[28..], packet);

    let mut packet = udp6("2001:db8:dddd::", "64:ff9b::808:808", b"data");
    packet[7] = 0;
    let Outcome::Refuse { reason, icmp } = translate(&relay(), Family::Ipv6, &packet) else { panic!("refused") };
    assert_eq!(reason, "hop_limit_exceeded");
    assert_checksums(&icmp);
    assert_eq!(icmp[48..], packet);
}

#[test]
fn computes_the_checksum_that_ipv6_wants() {
    let mut packet = udp4("8.8.8.8", "192.0.2.1", b"odd");
    packet[26..28].fill(0);
    let drop = translate(&relay(), Family::Ipv4, &packet);
    assert_eq!(drop, Outcome::Drop("udp_checksum_zero"));
    let config = Config { udp_zero_checksum: UdpZeroChecksum::Compute, ..relay() };
    assert_checksums(&translated(&config, Family::Ipv4, &packet));
}

#[test]
fn trims_padding_before_it_computes_lengths() {
    let mut packet = udp4("8.8.8.8", "192.0.2.1", b"data");
    let out = translated(&relay(), Family::Ipv4, &packet);
    packet.extend_from_slice(&[0xee; 14]);
    assert_eq!(translated(&relay(), Family::Ipv4, &packet), out);
}

#[test]
fn passes_what_is_in_no_scope() {
    let packet = udp4("8.8.8.8", "8.8.4.4", b"data");
    assert_eq!(translate(&relay(), Family::Ipv4, &packet), Outcome::Pass);
    let strict = Config { strict: true, ..relay() };
    assert_eq!(translate(&strict, Family::Ipv4, &packet), Outcome::Drop("out_of_scope"));
    let all = Config { scope: Scope::All, ..relay() };
    assert!(matches!(translate(&all, Family::Ipv4, &packet), Outcome::Translate(_)));
}

#[test]
fn sends_large_packets_where_they_belong() {
    let large = udp4("8.8.8.8", "192.0.2.1", &[0; 1300]);
    let mut may_fragment = large.clone();
    may_fragment[6] = 0;
    super::checksum::set_word(&mut may_fragment, 10, 0);
    let field = super::checksum::compute(super::checksum::sum(&may_fragment[..20]));
    super::checksum::set_word(&mut may_fragment, 10, field);
    assert_eq!(translate(&relay(), Family::Ipv4, &may_fragment), Outcome::Fragment);
    let mut narrow = relay();
    narrow.routes[1].mtu = 1340;
    let Outcome::Refuse { reason, icmp } = translate(&narrow, Family::Ipv4, &large) else { panic!("refused") };
    assert_eq!(reason, "packet_too_big");
    assert_eq!(icmp[20..22], [3, 4]);
    assert_eq!(icmp[26..28], 1320u16.to_be_bytes());
    assert_eq!(icmp.len(), 576);
    assert_checksums(&icmp);
}

#[test]
fn compares_what_is_not_free_only() {
    let config = Config { ipv4_pool: vec!["198.51.100.0/29".parse().expect("pool")], ..relay() };
    let quoted = udp6("64:ff9b::808:808", "2001:db8:aaaa::", b"data");
    let packet = unreachable6("2001:db8::99", "64:ff9b::808:808", &quoted);
    let expected = translate(&config, Family::Ipv6, &packet);
    let mut got = translated(&config, Family::Ipv6, &packet);
    got[4..6].copy_from_slice(&[0xab, 0xcd]);
    got[15] = 5;
    super::checksum::set_word(&mut got, 10, 0);
    let field = super::checksum::compute(super::checksum::sum(&got[..20]));
    super::checksum::set_word(&mut got, 10, field);
    let outcome = |bytes: &[u8]| Outcome::Translate(Translated { bytes: bytes.to_vec(), free: Free::default() });
    assert_eq!(same(&expected, &outcome(&got)), Ok(()));
    got[11] ^= 1;
    assert!(same(&expected, &outcome(&got)).is_err());
    got[11] ^= 1;
    got[15] = 9;
    assert!(same(&expected, &outcome(&got)).is_err());
}

#[test]
fn routes_by_the_longest_match() {
    let mut config = relay();
    let destination = "192.0.2.0/24".parse().expect("a prefix");
    config.routes.push(Route { destination, mtu: 1000, ipv4: None, forwards: false });
    assert_eq!(config.route(IpAddr::V4(ipv4("192.0.2.9"))).map(|route| route.mtu), Some(1000));
}
