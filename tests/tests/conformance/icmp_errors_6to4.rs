//! ICMPv6 errors (RFC 7915 5.2 and 5.3): every type and code.

use xlat_tests::{harness::row::*, notation::*, rows};

/// The server's error about a question of the client.
fn error6(kind: u8, code: u8) -> Packet {
    ip6(SERVER, CLIENT).icmp(kind, code).about(ip6(CLIENT, SERVER).hop_limit(7).udp(4711, 53, b"question"))
}

/// The same in IPv4.
fn error4(kind: u8, code: u8) -> Packet {
    ip4(SERVER, CLIENT).icmp(kind, code).about(ip4(CLIENT, SERVER).ttl(7).udp(4711, 53, b"question"))
}

rows! {
    no_route "RFC 7915 5.2": error6(1, 0) => becomes(error4(3, 1));
    prohibited "RFC 7915 5.2": error6(1, 1) => becomes(error4(3, 10));
    beyond_scope "RFC 7915 5.2": error6(1, 2) => becomes(error4(3, 1));
    address_unreachable "RFC 7915 5.2": error6(1, 3) => becomes(error4(3, 1));
    port_unreachable "RFC 7915 5.2": error6(1, 4) => becomes(error4(3, 3));
    source_failed_policy "RFC 7915 5.2": error6(1, 5) => dropped("icmp_type");
    reject_route "RFC 7915 5.2": error6(1, 6) => dropped("icmp_type");
    packet_too_big "RFC 7915 5.2": error6(2, 0).mtu(1400) => becomes(error4(3, 4).mtu(1380));
    packet_too_big_with_any_code "RFC 4443 3.2": error6(2, 9).mtu(1400) => becomes(error4(3, 4).mtu(1380));
    hop_limit_exceeded "RFC 7915 5.2": error6(3, 0) => becomes(error4(11, 0));
    reassembly_time_exceeded "RFC 7915 5.2": error6(3, 1) => becomes(error4(11, 1));
    time_exceeded_keeps_any_code "RFC 7915 5.2": error6(3, 77) => becomes(error4(11, 77));
    erroneous_header_field "RFC 7915 5.2": error6(4, 0).pointer(7) => becomes(error4(12, 0).pointer(8));
    unrecognized_next_header "RFC 7915 5.2": error6(4, 1).pointer(40) => becomes(error4(3, 2));
    unrecognized_option "RFC 7915 5.2": error6(4, 2).pointer(42) => dropped("icmp_type");
    unrecognized_code_of_parameter_problem "RFC 7915 5.2": error6(4, 3).pointer(0) => dropped("icmp_type");
    unknown_error "RFC 7915 5.2": error6(5, 0) => dropped("icmp_type");
    private_error "RFC 7915 5.2": error6(100, 0) => dropped("icmp_type");
    last_unknown_error "RFC 7915 5.2": error6(127, 0) => dropped("icmp_type");
}

/// "Other Code values: Silently drop."
#[test]
fn drops_unknown_codes_of_destination_unreachable() {
    for code in 5..=255 {
        check(&format!("code {code}"), "RFC 7915 5.2", "", error6(1, code), &dropped("icmp_type"));
    }
}

/// Codes that RFC 7915 does not list have no equivalent.
#[test]
fn drops_unknown_codes_of_parameter_problem() {
    for code in 2..=255 {
        check(&format!("code {code}"), "RFC 7915 5.2", "", error6(4, code), &dropped("icmp_type"));
    }
}

// Around the error itself
rows! {
    the_error_keeps_its_traffic_class "RFC 7915 5.1": error6(1, 0).traffic_class(0x30) => becomes(error4(3, 1).tos(0x30));

    the_ttl_of_the_error_alone_is_taken "RFC 7915 5.3":
        error6(3, 0).hop_limit(30) => becomes(error4(11, 0).ttl(29));

    a_wrong_checksum_of_an_error_stays_as_wrong "RFC 7915 5.2":
        error6(1, 0).checksum_off_by(0x1234) => becomes(error4(3, 1).checksum_off_by(0x1234));

    unused_bytes_are_carried_over "docs/translation.md 8.2":
        error6(1, 0).rest([0, 0xa1, 0xa2, 0xa3]) => becomes(error4(3, 1).rest([0xa1, 0, 0xa2, 0xa3]));

    unused_bytes_of_time_exceeded_are_carried_over "docs/translation.md 8.2":
        error6(3, 0).rest([0, 0xa1, 0xa2, 0xa3]) => becomes(error4(11, 0).rest([0xa1, 0, 0xa2, 0xa3]));

    an_error_behind_extension_headers "RFC 7915 5.1":
        ip6(SERVER, CLIENT).hop_by_hop(&[1, 4, 0, 0, 0, 0]).icmp(1, 4)
            .about(ip6(CLIENT, SERVER).udp(4711, 53, b"question"))
        => becomes(ip4(SERVER, CLIENT).icmp(3, 3).about(ip4(CLIENT, SERVER).udp(4711, 53, b"question")));

    an_error_about_tcp "RFC 7915 5.3":
        ip6(SERVER, CLIENT).icmp(1, 0).about(ip6(CLIENT, SERVER).tcp(4711, 80, b"GET /"))
        => becomes(ip4(SERVER, CLIENT).icmp(3, 1).about(ip4(CLIENT, SERVER).tcp(4711, 80, b"GET /")));

    the_flow_label_of_the_inner_packet_is_lost "RFC 7915 5.3":
        ip6(SERVER, CLIENT).icmp(1, 0).about(ip6(CLIENT, SERVER).traffic_class(0x28).flow_label(0x12345).tcp(4711, 80, b""))
        => becomes(ip4(SERVER, CLIENT).icmp(3, 1).about(ip4(CLIENT, SERVER).tos(0x28).tcp(4711, 80, b"")));
}

// RFC 1812 4.3.2.3: 576 bytes at most
rows! {
    a_long_error_is_cut_at_576_bytes "RFC 1812 4.3.2.3":
        ip6(SERVER, CLIENT).icmp(1, 4).about(ip6(CLIENT, SERVER).udp(4711, 53, &data(1000)))
        => becomes(ip4(SERVER, CLIENT).icmp(3, 3).about(ip4(CLIENT, SERVER).udp(4711, 53, &data(1000)).cut(576 - 48)));

    an_error_that_becomes_576_bytes_is_whole "RFC 1812 4.3.2.3":
        ip6(SERVER, CLIENT).icmp(1, 4).about(ip6(CLIENT, SERVER).udp(4711, 53, &data(576 - 56)))
        => becomes(ip4(SERVER, CLIENT).icmp(3, 3).about(ip4(CLIENT, SERVER).udp(4711, 53, &data(576 - 56))));

    an_error_that_becomes_577_bytes_loses_one "RFC 1812 4.3.2.3":
        ip6(SERVER, CLIENT).icmp(1, 4).about(ip6(CLIENT, SERVER).udp(4711, 53, &data(577 - 56)))
        => becomes(ip4(SERVER, CLIENT).icmp(3, 3).about(ip4(CLIENT, SERVER).udp(4711, 53, &data(577 - 56)).cut(576 - 48)));

    an_error_of_1280_bytes_is_cut_at_576_bytes "RFC 1812 4.3.2.3":
        ip6(SERVER, CLIENT).icmp(1, 4).about(ip6(CLIENT, SERVER).tcp(4711, 80, &data(1400)).cut(1280 - 88))
        => becomes(ip4(SERVER, CLIENT).icmp(3, 3).about(ip4(CLIENT, SERVER).df().tcp(4711, 80, &data(1400)).cut(576 - 48)));
}
