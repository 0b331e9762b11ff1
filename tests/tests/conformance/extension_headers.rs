//! IPv6 extension headers (RFC 7915 5.1).

use xlat_tests::{harness::row::*, notation::*, rows};

/// A PadN option that fills an 8-byte header.
const PAD: &[u8] = &[1, 4, 0, 0, 0, 0];

/// An answer of the server; `headers` puts extension headers before it.
fn answer(headers: impl FnOnce(Packet) -> Packet) -> Packet {
    headers(ip6(SERVER, CLIENT)).udp(53, 4711, b"answer")
}

/// The answer in IPv4.
fn plain() -> Packet {
    ip4(SERVER, CLIENT).udp(53, 4711, b"answer")
}

/// Parameter Problem from the relay to the server.
fn problem(pointer: u32, packet: Packet) -> Packet {
    ip6(RELAY6, SERVER).icmp(4, 0).pointer(pointer).about(packet)
}

rows! {
    hop_by_hop_options_are_skipped "RFC 7915 5.1": answer(|p| p.hop_by_hop(PAD)) => becomes(plain());
    destination_options_are_skipped "RFC 7915 5.1": answer(|p| p.destination_options(PAD)) => becomes(plain());
    a_routing_header_without_segments_left_is_skipped "RFC 7915 5.1":
        answer(|p| p.routing(0, 0, &[0; 20])) => becomes(plain());
    a_routing_header_of_unknown_type_without_segments_left "RFC 7915 5.1":
        answer(|p| p.routing(253, 0, &[0; 4])) => becomes(plain());
    unknown_options_are_ignored "RFC 7915 5.1":
        answer(|p| p.hop_by_hop(&[0xde, 4, 1, 2, 3, 4])) => becomes(plain());
    a_long_extension_header "RFC 7915 5.1": answer(|p| p.destination_options(&[0; 1022])) => becomes(plain());
    the_longest_extension_header "RFC 7915 5.1":
        ip6(SERVER_9000, CLIENT_9000).destination_options(&[0; 2046]).udp(53, 4711, b"answer").arrives_by("v6-9000")
        => becomes(ip4(SERVER_9000, CLIENT_9000).udp(53, 4711, b"answer"));
    extension_headers_beyond_the_first_piece "docs/translation.md 2":
        ip6(SERVER_9000, CLIENT_9000).destination_options(&[0; 2046]).destination_options(&[0; 2046])
            .udp(53, 4711, b"answer").arrives_by("v6-9000")
        => dropped("malformed_header");
    all_kinds_in_order "RFC 8200 4.1":
        answer(|p| p.hop_by_hop(PAD).destination_options(PAD).routing(0, 0, &[0; 4]).destination_options(PAD))
        => becomes(plain());
    all_kinds_around_a_fragment_header "RFC 7915 5.1.1":
        answer(|p| p.hop_by_hop(PAD).routing(0, 0, &[0; 4]).fragment_header(0, false, 7)) => becomes(plain().id(7));
    hop_by_hop_not_at_the_front_is_skipped_all_the_same "RFC 7915 5.1":
        answer(|p| p.destination_options(PAD).hop_by_hop(PAD)) => becomes(plain());
    nine_extension_headers "RFC 7915 5.1":
        answer(|p| (0..9).fold(p, |p, _| p.destination_options(PAD))) => becomes(plain());
    as_many_extension_headers_as_are_followed "docs/translation.md 2":
        answer(|p| (0..32).fold(p, |p, _| p.destination_options(PAD))) => becomes(plain());
    one_extension_header_more "docs/translation.md 2":
        answer(|p| (0..33).fold(p, |p, _| p.destination_options(PAD))) => dropped("extension_chain");
    tcp_behind_an_extension_header "RFC 7915 5.1":
        ip6(SERVER, CLIENT).destination_options(PAD).tcp(80, 4711, b"page")
        => becomes(ip4(SERVER, CLIENT).tcp(80, 4711, b"page"));
    echo_behind_an_extension_header "RFC 7915 5.1":
        ip6(SERVER, CLIENT).hop_by_hop(PAD).echo_reply(7, 1, b"ping")
        => becomes(ip4(SERVER, CLIENT).echo_reply(7, 1, b"ping"));
    no_next_header "RFC 7915 5.1": ip6(SERVER, CLIENT).payload(59, b"") => becomes(ip4(SERVER, CLIENT).payload(59, b""));
    no_next_header_behind_an_extension_header "RFC 7915 5.1":
        ip6(SERVER, CLIENT).hop_by_hop(PAD).payload(59, b"rest") => becomes(ip4(SERVER, CLIENT).payload(59, b"rest"));
    an_authentication_header_is_a_protocol "RFC 7915 5.1":
        ip6(SERVER, CLIENT).payload(51, &[17, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9])
        => becomes(ip4(SERVER, CLIENT).payload(51, &[17, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9]));
    a_mobility_header_is_a_protocol "RFC 7915 5.1":
        ip6(SERVER, CLIENT).payload(135, &[59, 0, 0, 0, 1, 2, 0, 0])
        => becomes(ip4(SERVER, CLIENT).payload(135, &[59, 0, 0, 0, 1, 2, 0, 0]));
}

rows! {
    segments_left "RFC 7915 5.1":
        answer(|p| p.routing(0, 1, &[0; 20]))
        => answered("routing_header", problem(43, answer(|p| p.routing(0, 1, &[0; 20]))));
    segments_left_of_an_unknown_type "RFC 7915 5.1":
        answer(|p| p.routing(253, 255, &[0; 4]))
        => answered("routing_header", problem(43, answer(|p| p.routing(253, 255, &[0; 4]))));
    segments_left_behind_another_header "RFC 7915 5.1":
        answer(|p| p.hop_by_hop(PAD).routing(4, 1, &[0; 20]))
        => answered("routing_header", problem(51, answer(|p| p.hop_by_hop(PAD).routing(4, 1, &[0; 20]))));
    segments_left_behind_a_long_header "RFC 7915 5.1":
        answer(|p| p.hop_by_hop(&[0; 22]).routing(4, 1, &[0; 20]))
        => answered("routing_header", problem(67, answer(|p| p.hop_by_hop(&[0; 22]).routing(4, 1, &[0; 20]))));
    segments_left_before_icmpv6_error "RFC 4443 2.4":
        ip6(SERVER, CLIENT).routing(0, 1, &[0; 20]).icmp(1, 4).about(ip6(CLIENT, SERVER).udp(4711, 53, b""))
        => dropped("routing_header");
    segments_left_before_an_echo "RFC 4443 2.4":
        ip6(SERVER, CLIENT).routing(0, 1, &[0; 20]).echo_request(7, 1, b"")
        => answered("routing_header", problem(43, ip6(SERVER, CLIENT).routing(0, 1, &[0; 20]).echo_request(7, 1, b"")));
}

rows! {
    an_extension_header_beyond_the_packet "docs/translation.md 2":
        ip6(SERVER, CLIENT).raw_extension(60, &[0, 5, 1, 4, 0, 0, 0, 0]).udp(53, 4711, b"short")
        => dropped("malformed_header");
    an_extension_header_cut_in_the_middle "docs/translation.md 2":
        ip6(SERVER, CLIENT).payload(60, &[17, 0, 1, 4])
        => dropped("malformed_header");
    an_extension_header_that_is_not_there "docs/translation.md 2":
        ip6(SERVER, CLIENT).payload(60, b"")
        => dropped("malformed_header");
    a_fragment_header_cut_in_the_middle "docs/translation.md 2":
        ip6(SERVER, CLIENT).payload(44, &[17, 0, 0, 0])
        => dropped("malformed_header");
    a_routing_header_cut_before_segments_left "docs/translation.md 2":
        ip6(SERVER, CLIENT).payload(43, &[17, 0, 0])
        => dropped("malformed_header");
}
