//! ICMPv4 errors (RFC 7915 4.2 and 4.3): every type and code.

use xlat_tests::{harness::row::*, notation::*, rows};

/// A router's error about an answer of the server.
fn error4(kind: u8, code: u8) -> Packet {
    ip4(ROUTER, SERVER).icmp(kind, code).about(ip4(SERVER, CLIENT).ttl(7).udp(53, 4711, b"answer"))
}

/// The same in IPv6.
fn error6(kind: u8, code: u8) -> Packet {
    ip6(ROUTER, SERVER).icmp(kind, code).about(ip6(SERVER, CLIENT).hop_limit(7).udp(53, 4711, b"answer"))
}

// Destination Unreachable
rows! {
    net_unreachable "RFC 7915 4.2": error4(3, 0) => becomes(error6(1, 0));
    host_unreachable "RFC 7915 4.2": error4(3, 1) => becomes(error6(1, 0));
    protocol_unreachable "RFC 7915 4.2": error4(3, 2) => becomes(error6(4, 1).pointer(6));
    port_unreachable "RFC 7915 4.2": error4(3, 3) => becomes(error6(1, 4));
    fragmentation_needed "RFC 7915 4.2": error4(3, 4).mtu(1400) => becomes(error6(2, 0).mtu(1420));
    source_route_failed "RFC 7915 4.2": error4(3, 5) => becomes(error6(1, 0));
    destination_network_unknown "RFC 7915 4.2": error4(3, 6) => becomes(error6(1, 0));
    destination_host_unknown "RFC 7915 4.2": error4(3, 7) => becomes(error6(1, 0));
    source_host_isolated "RFC 7915 4.2": error4(3, 8) => becomes(error6(1, 0));
    network_prohibited "RFC 7915 4.2": error4(3, 9) => becomes(error6(1, 1));
    host_prohibited "RFC 7915 4.2": error4(3, 10) => becomes(error6(1, 1));
    network_unreachable_for_tos "RFC 7915 4.2": error4(3, 11) => becomes(error6(1, 0));
    host_unreachable_for_tos "RFC 7915 4.2": error4(3, 12) => becomes(error6(1, 0));
    communication_prohibited "RFC 7915 4.2": error4(3, 13) => becomes(error6(1, 1));
    host_precedence_violation "RFC 7915 4.2": error4(3, 14) => dropped("icmp_type");
    precedence_cutoff "RFC 7915 4.2": error4(3, 15) => becomes(error6(1, 1));
}

// The other types
rows! {
    source_quench "RFC 7915 4.2": error4(4, 0) => dropped("icmp_type");
    redirect_for_the_network "RFC 7915 4.2": error4(5, 0) => dropped("icmp_type");
    redirect_for_the_host "RFC 7915 4.2": error4(5, 1) => dropped("icmp_type");
    alternative_host_address "RFC 7915 4.2": error4(6, 0) => dropped("icmp_type");
    ttl_exceeded "RFC 7915 4.2": error4(11, 0) => becomes(error6(3, 0));
    reassembly_time_exceeded "RFC 7915 4.2": error4(11, 1) => becomes(error6(3, 1));
    time_exceeded_keeps_any_code "RFC 7915 4.2": error4(11, 77) => becomes(error6(3, 77));
    parameter_problem "RFC 7915 4.2": error4(12, 0).pointer(8) => becomes(error6(4, 0).pointer(7));
    missing_option "RFC 7915 4.2": error4(12, 1) => dropped("icmp_type");
    bad_length "RFC 7915 4.2": error4(12, 2).pointer(2) => becomes(error6(4, 0).pointer(4));
}

/// "Other Code values: Silently drop."
#[test]
fn drops_unknown_codes_of_destination_unreachable() {
    for code in 16..=255 {
        check(&format!("code {code}"), "RFC 7915 4.2", "", error4(3, code), &dropped("icmp_type"));
    }
}

/// "Other Code values: Silently drop."
#[test]
fn drops_unknown_codes_of_parameter_problem() {
    for code in 3..=255 {
        check(&format!("code {code}"), "RFC 7915 4.2", "", error4(12, code), &dropped("icmp_type"));
    }
}

// Around the error itself
rows! {
    the_error_keeps_its_tos "RFC 7915 4.1": error4(3, 1).tos(0xc0) => becomes(error6(1, 0).traffic_class(0xc0));

    the_hop_limit_of_the_error_alone_is_taken "RFC 7915 4.3":
        error4(11, 0).ttl(30) => becomes(error6(3, 0).hop_limit(29));

    a_wrong_checksum_of_an_error_stays_as_wrong "RFC 7915 4.2":
        error4(3, 1).checksum_off_by(0x1234) => becomes(error6(1, 0).checksum_off_by(0x1234));

    unused_bytes_are_carried_over "docs/translation.md 8.2":
        error4(3, 1).rest([0xa1, 0, 0xa2, 0xa3]) => becomes(error6(1, 0).rest([0, 0xa1, 0xa2, 0xa3]));

    unused_bytes_of_time_exceeded_are_carried_over "docs/translation.md 8.2":
        error4(11, 0).rest([0xa1, 0, 0xa2, 0xa3]) => becomes(error6(3, 0).rest([0, 0xa1, 0xa2, 0xa3]));

    the_unused_half_of_the_mtu_word_is_not_the_mtu "RFC 1191 4":
        error4(3, 4).rest([0xa1, 0, 0x05, 0x78]) => becomes(error6(2, 0).mtu(1420));

    an_error_with_options_in_its_own_header "RFC 7915 4.1":
        ip4(ROUTER, SERVER).options(&[1, 1, 1, 0]).icmp(3, 1).about(ip4(SERVER, CLIENT).udp(53, 4711, b"answer"))
        => becomes(ip6(ROUTER, SERVER).icmp(1, 0).about(ip6(SERVER, CLIENT).udp(53, 4711, b"answer")));

    an_error_from_the_destination_itself "RFC 7915 4.2":
        ip4(CLIENT, SERVER).icmp(3, 3).about(ip4(SERVER, CLIENT).udp(53, 4711, b"answer"))
        => becomes(ip6(CLIENT, SERVER).icmp(1, 4).about(ip6(SERVER, CLIENT).udp(53, 4711, b"answer")));

    an_error_about_tcp "RFC 7915 4.3":
        ip4(ROUTER, SERVER).icmp(3, 1).about(ip4(SERVER, CLIENT).tcp(80, 4711, b"page"))
        => becomes(ip6(ROUTER, SERVER).icmp(1, 0).about(ip6(SERVER, CLIENT).tcp(80, 4711, b"page")));
}

// RFC 7915 4.1: the source of an error may be "illegal"; see also rfc6791.rs
rows! {
    an_error_from_link_local_is_translated "RFC 7915 4.1":
        ip4("169.254.1.1", SERVER).icmp(11, 0).about(ip4(SERVER, CLIENT).udp(53, 4711, b"answer"))
        => becomes(ip6("2001:db8:6464::169.254.1.1", SERVER).icmp(3, 0).about(ip6(SERVER, CLIENT).udp(53, 4711, b"answer")));

    an_error_from_this_network_is_translated "RFC 7915 4.1":
        ip4("0.0.0.0", SERVER).icmp(11, 0).about(ip4(SERVER, CLIENT).udp(53, 4711, b"answer"))
        => becomes(ip6("2001:db8:6464::0.0.0.0", SERVER).icmp(3, 0).about(ip6(SERVER, CLIENT).udp(53, 4711, b"answer")));

    an_error_from_loopback_is_translated "RFC 7915 4.1":
        ip4("127.0.0.2", SERVER).icmp(11, 0).about(ip4(SERVER, CLIENT).udp(53, 4711, b"answer"))
        => becomes(ip6("2001:db8:6464::127.0.0.2", SERVER).icmp(3, 0).about(ip6(SERVER, CLIENT).udp(53, 4711, b"answer")));

    an_error_from_class_e_is_translated "RFC 7915 4.1":
        ip4("240.0.0.1", SERVER).icmp(11, 0).about(ip4(SERVER, CLIENT).udp(53, 4711, b"answer"))
        => becomes(ip6("2001:db8:6464::240.0.0.1", SERVER).icmp(3, 0).about(ip6(SERVER, CLIENT).udp(53, 4711, b"answer")));

    an_error_from_a_private_router_is_translated "RFC 7915 4.1":
        ip4("10.1.2.3", SERVER).icmp(11, 0).about(ip4(SERVER, CLIENT).udp(53, 4711, b"answer"))
        => becomes(ip6("2001:db8:6464::10.1.2.3", SERVER).icmp(3, 0).about(ip6(SERVER, CLIENT).udp(53, 4711, b"answer")));
}

// RFC 7915 4.2, last paragraph; RFC 4443 2.4 (c): 1280 bytes at most
rows! {
    a_long_error_is_cut_at_1280_bytes "RFC 4443 2.4":
        ip4(ROUTER, SERVER).df().icmp(3, 1).about(ip4(SERVER, CLIENT).udp(53, 4711, &data(1400)))
        => becomes(ip6(ROUTER, SERVER).icmp(1, 0).about(ip6(SERVER, CLIENT).udp(53, 4711, &data(1400)).cut(1280 - 88)));

    an_error_that_becomes_1280_bytes_is_whole "RFC 4443 2.4":
        ip4(ROUTER, SERVER).df().icmp(3, 1).about(ip4(SERVER, CLIENT).udp(53, 4711, &data(1280 - 96)))
        => becomes(ip6(ROUTER, SERVER).icmp(1, 0).about(ip6(SERVER, CLIENT).udp(53, 4711, &data(1280 - 96))));

    a_long_error_without_df_is_cut_too "RFC 4443 2.4":
        ip4(ROUTER, SERVER).icmp(3, 1).about(ip4(SERVER, CLIENT).udp(53, 4711, &data(1400)))
        => becomes(ip6(ROUTER, SERVER).icmp(1, 0).about(ip6(SERVER, CLIENT).udp(53, 4711, &data(1400)).cut(1280 - 88)));
}
