//! Transports (RFC 7915 4.5 and 5.5): all are forwarded, and those with a pseudo-header that are known get their checksum.

use xlat_tests::{harness::row::*, notation::*, rows};

rows! {
    tcp_of_odd_length "RFC 7915 4.5":
        ip4(CLIENT, SERVER).tcp(4711, 80, b"odd") => becomes(ip6(CLIENT, SERVER).tcp(4711, 80, b"odd"));
    tcp_of_odd_length_to_ipv4 "RFC 7915 5.5":
        ip6(SERVER, CLIENT).tcp(80, 4711, b"odd") => becomes(ip4(SERVER, CLIENT).tcp(80, 4711, b"odd"));
    a_wrong_tcp_checksum_stays_as_wrong "RFC 7915 4.5":
        ip4(CLIENT, SERVER).tcp(4711, 80, b"wrong").checksum_off_by(1)
        => becomes(ip6(CLIENT, SERVER).tcp(4711, 80, b"wrong").checksum_off_by(1));
    a_wrong_tcp_checksum_stays_as_wrong_to_ipv4 "RFC 7915 5.5":
        ip6(SERVER, CLIENT).tcp(80, 4711, b"wrong").checksum_off_by(0xfffe)
        => becomes(ip4(SERVER, CLIENT).tcp(80, 4711, b"wrong").checksum_off_by(0xfffe));
    a_wrong_udp_checksum_stays_as_wrong "RFC 7915 4.5":
        ip4(CLIENT, SERVER).udp(4711, 53, b"wrong").checksum_off_by(0x8000)
        => becomes(ip6(CLIENT, SERVER).udp(4711, 53, b"wrong").checksum_off_by(0x8000));
    a_wrong_udp_checksum_stays_as_wrong_to_ipv4 "RFC 7915 5.5":
        ip6(SERVER, CLIENT).udp(53, 4711, b"wrong").checksum_off_by(0x8000)
        => becomes(ip4(SERVER, CLIENT).udp(53, 4711, b"wrong").checksum_off_by(0x8000));
    a_udp_length_that_lies_is_the_end_hosts_matter "docs/translation.md":
        ip4(CLIENT, SERVER).udp(4711, 53, b"liar").byte(5, 99)
        => becomes(ip6(CLIENT, SERVER).udp(4711, 53, b"liar").byte(5, 99));

    dccp "RFC 7915 4.5":
        ip4(CLIENT, SERVER).dccp(4711, 80, b"dccp") => becomes(ip6(CLIENT, SERVER).dccp(4711, 80, b"dccp"));
    dccp_to_ipv4 "RFC 7915 5":
        ip6(SERVER, CLIENT).dccp(80, 4711, b"dccp") => becomes(ip4(SERVER, CLIENT).dccp(80, 4711, b"dccp"));
    udp_lite "RFC 7915 4.5":
        ip4(CLIENT, SERVER).udp_lite(4711, 80, 12, b"covered or not")
        => becomes(ip6(CLIENT, SERVER).udp_lite(4711, 80, 12, b"covered or not"));
    udp_lite_covered_in_whole "RFC 7915 4.5":
        ip4(CLIENT, SERVER).udp_lite(4711, 80, 0, b"all") => becomes(ip6(CLIENT, SERVER).udp_lite(4711, 80, 0, b"all"));
    udp_lite_to_ipv4 "RFC 7915 5.5":
        ip6(SERVER, CLIENT).udp_lite(80, 4711, 8, b"header alone")
        => becomes(ip4(SERVER, CLIENT).udp_lite(80, 4711, 8, b"header alone"));

    sctp "RFC 7915 4.5":
        ip4(CLIENT, SERVER).payload(132, &data(40)) => becomes(ip6(CLIENT, SERVER).payload(132, &data(40)));
    sctp_to_ipv4 "RFC 7915 5.5":
        ip6(SERVER, CLIENT).payload(132, &data(40)) => becomes(ip4(SERVER, CLIENT).payload(132, &data(40)));
    gre "RFC 7915 4.5":
        ip4(CLIENT, SERVER).payload(47, &data(40)) => becomes(ip6(CLIENT, SERVER).payload(47, &data(40)));
    gre_to_ipv4 "RFC 7915 5.5":
        ip6(SERVER, CLIENT).payload(47, &data(40)) => becomes(ip4(SERVER, CLIENT).payload(47, &data(40)));
    esp "RFC 7915 8":
        ip4(CLIENT, SERVER).payload(50, &data(40)) => becomes(ip6(CLIENT, SERVER).payload(50, &data(40)));
    esp_to_ipv4 "RFC 7915 8":
        ip6(SERVER, CLIENT).payload(50, &data(40)) => becomes(ip4(SERVER, CLIENT).payload(50, &data(40)));
    authentication_header "RFC 7915 8":
        ip4(CLIENT, SERVER).payload(51, &data(40)) => becomes(ip6(CLIENT, SERVER).payload(51, &data(40)));
    ipip "RFC 7915 4.5":
        ip4(CLIENT, SERVER).payload(4, &data(40)) => becomes(ip6(CLIENT, SERVER).payload(4, &data(40)));
    igmp_number_in_ipv6_is_a_protocol "RFC 7915 5.5":
        ip6(SERVER, CLIENT).payload(2, &data(8)) => becomes(ip4(SERVER, CLIENT).payload(2, &data(8)));
    one_byte_of_an_unknown_protocol "RFC 7915 4.5":
        ip4(CLIENT, SERVER).payload(253, b"1") => becomes(ip6(CLIENT, SERVER).payload(253, b"1"));
}

/// "Translators MUST forward all transport protocols." Those with a meaning of their own have their own rows.
#[test]
fn every_other_protocol_number_to_ipv6() {
    for protocol in (0..=255).filter(|number| ![1, 2, 6, 17, 33, 136].contains(number)) {
        let packet = ip4(CLIENT, SERVER).payload(protocol, &data(24));
        let expected = becomes(ip6(CLIENT, SERVER).payload(protocol, &data(24)));
        check(&format!("protocol {protocol}"), "RFC 7915 4.5", "", packet, &expected);
    }
}

/// The same towards IPv4.
#[test]
fn every_other_protocol_number_to_ipv4() {
    for protocol in (0..=255).filter(|number| ![0, 6, 17, 33, 43, 44, 58, 60, 136].contains(number)) {
        let packet = ip6(SERVER, CLIENT).payload(protocol, &data(24));
        let expected = becomes(ip4(SERVER, CLIENT).payload(protocol, &data(24)));
        check(&format!("next header {protocol}"), "RFC 7915 5.5", "", packet, &expected);
    }
}
