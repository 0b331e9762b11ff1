//! Header fields (RFC 7915 4.1 and 5.1).

use xlat_tests::{harness::row::*, notation::*, rows};

// IPv4 → IPv6
rows! {
    udp_becomes_ipv6 "RFC 7915 4.1":
        ip4(CLIENT, SERVER).id(0x1234).udp(4711, 53, b"question")
        => becomes(ip6(CLIENT, SERVER).udp(4711, 53, b"question"));

    tcp_becomes_ipv6 "RFC 7915 4.1":
        ip4(CLIENT, SERVER).df().tcp(4711, 80, b"GET / HTTP/1.0\r\n\r\n")
        => becomes(ip6(CLIENT, SERVER).tcp(4711, 80, b"GET / HTTP/1.0\r\n\r\n"));

    tos_becomes_the_traffic_class "RFC 7915 4.1":
        ip4(CLIENT, SERVER).tos(0xb9).tcp(4711, 80, b"")
        => becomes(ip6(CLIENT, SERVER).traffic_class(0xb9).tcp(4711, 80, b""));

    all_bits_of_the_tos_are_copied "RFC 7915 4.1":
        ip4(CLIENT, SERVER).tos(0xff).tcp(4711, 80, b"")
        => becomes(ip6(CLIENT, SERVER).traffic_class(0xff).tcp(4711, 80, b""));

    the_flow_label_is_zero "RFC 7915 4.1":
        ip4(CLIENT, SERVER).id(0xffff).tcp(4711, 80, b"")
        => becomes(ip6(CLIENT, SERVER).flow_label(0).tcp(4711, 80, b""));

    ttl_is_taken_down_by_one "RFC 7915 4.1":
        ip4(CLIENT, SERVER).ttl(128).tcp(4711, 80, b"")
        => becomes(ip6(CLIENT, SERVER).hop_limit(127).tcp(4711, 80, b""));

    ttl_255_becomes_254 "RFC 7915 4.1":
        ip4(CLIENT, SERVER).ttl(255).tcp(4711, 80, b"")
        => becomes(ip6(CLIENT, SERVER).hop_limit(254).tcp(4711, 80, b""));

    df_makes_no_fragment_header "RFC 7915 4.1":
        ip4(CLIENT, SERVER).df().id(0xbeef).udp(4711, 53, b"df")
        => becomes(ip6(CLIENT, SERVER).udp(4711, 53, b"df"));

    no_df_makes_no_fragment_header "RFC 7915 4":
        ip4(CLIENT, SERVER).id(0xbeef).udp(4711, 53, &data(1212))
        => becomes(ip6(CLIENT, SERVER).udp(4711, 53, &data(1212)));

    the_reserved_flag_is_carried_over_by_ignoring_it "RFC 7915 4.1":
        ip4(CLIENT, SERVER).reserved_flag().udp(4711, 53, b"evil")
        => becomes(ip6(CLIENT, SERVER).udp(4711, 53, b"evil"));

    an_empty_payload_becomes_ipv6 "RFC 7915 4.1":
        ip4(CLIENT, SERVER).payload(253, b"")
        => becomes(ip6(CLIENT, SERVER).payload(253, b""));

    a_full_ethernet_frame_becomes_ipv6 "RFC 7915 4.1":
        ip4(CLIENT, SERVER).df().tcp(4711, 80, &data(1440))
        => becomes(ip6(CLIENT, SERVER).tcp(4711, 80, &data(1440)));
}

// IPv6 → IPv4
rows! {
    udp_becomes_ipv4 "RFC 7915 5.1":
        ip6(SERVER, CLIENT).udp(53, 4711, b"answer")
        => becomes(ip4(SERVER, CLIENT).udp(53, 4711, b"answer"));

    tcp_becomes_ipv4 "RFC 7915 5.1":
        ip6(SERVER, CLIENT).tcp(80, 4711, b"HTTP/1.0 200 OK\r\n\r\n")
        => becomes(ip4(SERVER, CLIENT).tcp(80, 4711, b"HTTP/1.0 200 OK\r\n\r\n"));

    the_traffic_class_becomes_the_tos "RFC 7915 5.1":
        ip6(SERVER, CLIENT).traffic_class(0xb9).tcp(80, 4711, b"")
        => becomes(ip4(SERVER, CLIENT).tos(0xb9).tcp(80, 4711, b""));

    all_bits_of_the_traffic_class_are_copied "RFC 7915 5.1":
        ip6(SERVER, CLIENT).traffic_class(0xff).flow_label(0xfffff).tcp(80, 4711, b"")
        => becomes(ip4(SERVER, CLIENT).tos(0xff).tcp(80, 4711, b""));

    the_flow_label_is_lost "RFC 7915 5.1":
        ip6(SERVER, CLIENT).flow_label(0xabcde).tcp(80, 4711, b"")
        => becomes(ip4(SERVER, CLIENT).tcp(80, 4711, b""));

    the_hop_limit_is_taken_down_by_one "RFC 7915 5.1":
        ip6(SERVER, CLIENT).hop_limit(2).tcp(80, 4711, b"")
        => becomes(ip4(SERVER, CLIENT).ttl(1).tcp(80, 4711, b""));

    df_is_clear_at_1260_bytes "RFC 7915 5.1":
        ip6(SERVER, CLIENT).udp(53, 4711, &data(1232))
        => becomes(ip4(SERVER, CLIENT).udp(53, 4711, &data(1232)));

    df_is_set_at_1261_bytes "RFC 7915 5.1":
        ip6(SERVER, CLIENT).udp(53, 4711, &data(1233))
        => becomes(ip4(SERVER, CLIENT).df().udp(53, 4711, &data(1233)));

    df_goes_by_the_size_without_extension_headers "RFC 7915 5.1":
        ip6(SERVER, CLIENT).destination_options(&[1, 4, 0, 0, 0, 0]).udp(53, 4711, &data(1232))
        => becomes(ip4(SERVER, CLIENT).udp(53, 4711, &data(1232)));

    a_full_ethernet_frame_becomes_ipv4 "RFC 7915 5.1":
        ip6(SERVER, CLIENT).tcp(80, 4711, &data(1440))
        => becomes(ip4(SERVER, CLIENT).df().tcp(80, 4711, &data(1440)));

    an_empty_payload_becomes_ipv4 "RFC 7915 5.1":
        ip6(SERVER, CLIENT).payload(253, b"")
        => becomes(ip4(SERVER, CLIENT).payload(253, b""));
}

/// The Identification of packets that are not fragments comes from a generator: it does not stay the same.
#[test]
fn identification_comes_from_a_generator() {
    use xlat_tests::harness::{Relay, settings};
    let frame = Frame::from(ip6(SERVER, CLIENT).udp(53, 4711, b"."));
    let identifications: std::collections::BTreeSet<[u8; 2]> = Relay::with(&settings(""), |relay| {
        let one = |_| {
            let outcome = relay.run(&frame).expect("the program runs");
            [outcome.frame[18], outcome.frame[19]]
        };
        (0..16).map(one).collect()
    });
    assert!(identifications.len() >= 8, "16 packets had only the Identifications {identifications:02x?}");
}
