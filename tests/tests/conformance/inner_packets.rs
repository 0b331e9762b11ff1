//! The packet inside an ICMP error (RFC 7915 4.3 and 5.3).

use xlat_tests::{harness::row::*, notation::*, rows};

/// Host unreachable about a packet from the server to the client.
fn about4(inner: Packet) -> Packet {
    ip4(ROUTER, SERVER).icmp(3, 1).about(inner)
}

/// The same in IPv6.
fn about6(inner: Packet) -> Packet {
    ip6(ROUTER, SERVER).icmp(1, 0).about(inner)
}

/// Address unreachable about a packet from the client to the server.
fn server_about6(inner: Packet) -> Packet {
    ip6(SERVER, CLIENT).icmp(1, 3).about(inner)
}

/// The same in IPv4.
fn server_about4(inner: Packet) -> Packet {
    ip4(SERVER, CLIENT).icmp(3, 1).about(inner)
}

/// What an inner packet can be, in IPv4 and IPv6.
fn kinds(from: Host, to: Host) -> [(&'static str, Packet, Packet); 6] {
    let make = |body: fn(Packet) -> Packet| (body(ip4(from, to)), body(ip6(from, to)));
    let named = |name, (four, six)| (name, four, six);
    [
        named("udp", make(|packet| packet.udp(53, 4711, &data(40)))),
        named("tcp", make(|packet| packet.tcp(80, 4711, &data(40)))),
        named("echo", make(|packet| packet.echo_request(7, 1, &data(40)))),
        named("udp-lite", make(|packet| packet.udp_lite(53, 4711, 8, &data(40)))),
        named("dccp", make(|packet| packet.dccp(53, 4711, &data(40)))),
        named("sctp", make(|packet| packet.payload(132, &data(40)))),
    ]
}

/// The quote of a packet cut `len` bytes after its IP header, in the other family. Of a checksum that is quoted in half
/// the first byte stays as it is.
fn quote(error: Packet, translated: &Packet, original: &Packet, len: usize, checksum_at: Option<usize>) -> Packet {
    if checksum_at.is_none_or(|at| len != at + 1) {
        return error.about(translated.clone().cut(len));
    }
    let half = *original.clone().cut(len).bytes().last().expect("a header at least");
    error.about(translated.clone().cut(len - 1)).then(&[half])
}

const CHECKSUMS: [Option<usize>; 6] = [Some(6), Some(16), Some(2), Some(6), Some(6), None];

/// Routers quote as much as they like: RFC 792 asks for the header and 8 bytes.
#[test]
fn truncated_inner_packets_of_any_length_to_ipv6() {
    for ((kind, four, six), checksum_at) in kinds(SERVER, CLIENT).into_iter().zip(CHECKSUMS) {
        for len in 0..=28 {
            let name = format!("{len} bytes after the inner header of {kind}");
            let expected = becomes(quote(ip6(ROUTER, SERVER).icmp(1, 0), &six, &four, len, checksum_at));
            check(&name, "RFC 7915 4.3", "", about4(four.clone().cut(len)), &expected);
        }
    }
}

/// The same towards IPv4.
#[test]
fn truncated_inner_packets_of_any_length_to_ipv4() {
    for ((kind, four, six), checksum_at) in kinds(CLIENT, SERVER).into_iter().zip(CHECKSUMS) {
        for len in 0..=28 {
            let name = format!("{len} bytes after the inner header of {kind}");
            let expected = becomes(quote(ip4(SERVER, CLIENT).icmp(3, 1), &four, &six, len, checksum_at));
            check(&name, "RFC 7915 5.3", "", server_about6(six.clone().cut(len)), &expected);
        }
    }
}

/// A header that is not whole cannot be translated.
#[test]
fn drops_errors_with_less_than_an_inner_ipv4_header() {
    for len in 0..20 {
        let error = about4(ip4(SERVER, CLIENT).udp(53, 4711, b"")).body_len(8 + len);
        check(&format!("{len} bytes"), "RFC 7915 4.3", "", error, &dropped("inner_packet"));
    }
}

/// The same in IPv6.
#[test]
fn drops_errors_with_less_than_an_inner_ipv6_header() {
    for len in 0..40 {
        let error = server_about6(ip6(CLIENT, SERVER).udp(4711, 53, b"")).body_len(8 + len);
        check(&format!("{len} bytes"), "RFC 7915 5.3", "", error, &dropped("inner_packet"));
    }
}

// IPv4 → IPv6
rows! {
    the_inner_ttl_is_kept "RFC 7915 4.3":
        about4(ip4(SERVER, CLIENT).ttl(1).udp(53, 4711, b""))
        => becomes(about6(ip6(SERVER, CLIENT).hop_limit(1).udp(53, 4711, b"")));

    an_inner_ttl_of_0_is_kept "RFC 7915 4.3":
        about4(ip4(SERVER, CLIENT).ttl(0).udp(53, 4711, b""))
        => becomes(about6(ip6(SERVER, CLIENT).hop_limit(0).udp(53, 4711, b"")));

    the_inner_tos_becomes_the_traffic_class "RFC 7915 4.3":
        about4(ip4(SERVER, CLIENT).tos(0x48).udp(53, 4711, b""))
        => becomes(about6(ip6(SERVER, CLIENT).traffic_class(0x48).udp(53, 4711, b"")));

    the_inner_length_is_translated_not_measured "RFC 7915 4.3":
        about4(ip4(SERVER, CLIENT).udp(53, 4711, &data(1400)).cut(8))
        => becomes(about6(ip6(SERVER, CLIENT).udp(53, 4711, &data(1400)).cut(8)));

    an_inner_packet_with_options "RFC 7915 4.3":
        about4(ip4(SERVER, CLIENT).options(&[7, 7, 4, 0, 0, 0, 0, 0]).udp(53, 4711, b"route recorded"))
        => becomes(about6(ip6(SERVER, CLIENT).udp(53, 4711, b"route recorded")));

    an_inner_packet_with_most_options "RFC 7915 4.3":
        about4(ip4(SERVER, CLIENT).options(&[1; 40]).tcp(80, 4711, b"forty"))
        => becomes(about6(ip6(SERVER, CLIENT).tcp(80, 4711, b"forty")));

    an_inner_first_fragment "RFC 7915 4.3":
        about4(ip4(SERVER, CLIENT).udp(53, 4711, &data(2000)).fragment(0xbeef, 0, 64))
        => becomes(about6(ip6(SERVER, CLIENT).udp(53, 4711, &data(2000)).fragment(0xbeef, 0, 64)));

    an_inner_first_fragment_quoted_in_part "RFC 7915 4.3":
        about4(ip4(SERVER, CLIENT).udp(53, 4711, &data(2000)).fragment(0xbeef, 0, 1480).cut(8))
        => becomes(about6(ip6(SERVER, CLIENT).udp(53, 4711, &data(2000)).fragment(0xbeef, 0, 1480).cut(8)));

    an_inner_middle_fragment "RFC 7915 4.3":
        about4(ip4(SERVER, CLIENT).udp(53, 4711, &data(2000)).fragment(0xbeef, 800, 864))
        => becomes(about6(ip6(SERVER, CLIENT).udp(53, 4711, &data(2000)).fragment(0xbeef, 800, 864)));

    an_inner_last_fragment "RFC 7915 4.3":
        about4(ip4(SERVER, CLIENT).tcp(80, 4711, &data(1000)).fragment(0xbeef, 960, 1020))
        => becomes(about6(ip6(SERVER, CLIENT).tcp(80, 4711, &data(1000)).fragment(0xbeef, 960, 1020)));

    an_inner_first_fragment_of_an_echo "RFC 7915 4.3":
        about4(ip4(SERVER, CLIENT).icmp(0, 0).echo(7, 1, &data(60)).protocol(1).fragment(0xbeef, 0, 64))
        => becomes(about6(first_echo_fragment6()));

    an_inner_later_fragment_of_an_echo "RFC 7915 4.3":
        about4(ip4(SERVER, CLIENT).echo_reply(7, 1, &data(100)).fragment(0xbeef, 64, 108))
        => becomes(about6(ip6(SERVER, CLIENT).echo_reply(7, 1, &data(100)).fragment(0xbeef, 64, 108)));

    inner_udp_without_checksum_stays_without "RFC 7915 4.3":
        about4(ip4(SERVER, CLIENT).udp(53, 4711, b"none").no_checksum())
        => becomes(about6(ip6(SERVER, CLIENT).udp(53, 4711, b"none").no_checksum()));

    a_wrong_inner_checksum_stays_as_wrong "RFC 7915 4.3":
        about4(ip4(SERVER, CLIENT).tcp(80, 4711, b"wrong").checksum_off_by(0x0a0b))
        => becomes(about6(ip6(SERVER, CLIENT).tcp(80, 4711, b"wrong").checksum_off_by(0x0a0b)));

    a_wrong_inner_header_checksum_does_not_matter "RFC 7915 4.3":
        about4(ip4(SERVER, CLIENT).bad_header_checksum().udp(53, 4711, b"decremented"))
        => becomes(about6(ip6(SERVER, CLIENT).udp(53, 4711, b"decremented")));

    an_inner_echo_request "RFC 7915 4.3":
        about4(ip4(SERVER, CLIENT).echo_request(7, 1, b"ping"))
        => becomes(about6(ip6(SERVER, CLIENT).echo_request(7, 1, b"ping")));

    an_inner_echo_reply "RFC 7915 4.3":
        about4(ip4(SERVER, CLIENT).echo_reply(7, 1, b"ping"))
        => becomes(about6(ip6(SERVER, CLIENT).echo_reply(7, 1, b"ping")));

    an_inner_packet_of_another_protocol "RFC 7915 4.5":
        about4(ip4(SERVER, CLIENT).payload(47, b"gre and so on"))
        => becomes(about6(ip6(SERVER, CLIENT).payload(47, b"gre and so on")));

    an_error_about_an_error "RFC 7915 4.3":
        about4(ip4(SERVER, CLIENT).icmp(3, 3).about(ip4(CLIENT, SERVER).udp(4711, 53, b"")))
        => dropped("inner_icmp_error");

    an_error_about_a_time_exceeded "RFC 7915 4.3":
        about4(ip4(SERVER, CLIENT).icmp(11, 0).about(ip4(CLIENT, SERVER).udp(4711, 53, b"")))
        => dropped("inner_icmp_error");

    an_error_about_an_error_cut_short "RFC 7915 4.3":
        about4(ip4(SERVER, CLIENT).icmp(3, 3).about(ip4(CLIENT, SERVER).udp(4711, 53, b"")).cut(8))
        => dropped("inner_icmp_error");

    an_error_about_a_timestamp "RFC 7915 4.3":
        about4(ip4(SERVER, CLIENT).icmp(13, 0).then(&[0; 12]))
        => dropped("inner_packet");

    an_inner_packet_that_is_no_ipv4 "RFC 7915 4.3":
        about4(ip4(SERVER, CLIENT).first_byte(0x65).udp(53, 4711, b""))
        => dropped("inner_packet");

    an_inner_header_length_under_20 "RFC 7915 4.3":
        about4(ip4(SERVER, CLIENT).first_byte(0x44).udp(53, 4711, b""))
        => dropped("inner_packet");

    an_inner_header_length_beyond_the_quote "RFC 7915 4.3":
        about4(ip4(SERVER, CLIENT).first_byte(0x4f).udp(53, 4711, b""))
        => dropped("inner_packet");

    an_inner_source_without_mapping "docs/translation.md 8.1" with "translation.prefixes = []\nicmp.ipv6_pool = ['2001:db8:7777::1']":
        ip4(SERVER2, SERVER).icmp(3, 1).about(ip4(SERVER, CLIENT).udp(53, 4711, b""))
        => dropped("inner_packet");

    an_error_without_any_quote "RFC 7915 4.3":
        ip4(ROUTER, SERVER).icmp(3, 1)
        => dropped("inner_packet");
}

/// An ICMPv6 checksum covers a pseudo-header with the length of the whole packet, which no fragment tells: the length in
/// the inner header counts, as if the fragment were all.
fn first_echo_fragment6() -> Packet {
    let whole = ip6(SERVER, CLIENT).echo_reply(7, 1, &data(60)).fragment(0xbeef, 0, 64).bytes();
    let sent = u16::from_be_bytes([whole[50], whole[51]]);
    // The builder's checksum has the length 68 of the whole message in it; the fragment's header says 64.
    let as_if_whole =
        !(ones_complement_sum(&[(!sent).to_be_bytes(), (!68_u16).to_be_bytes(), 64_u16.to_be_bytes()].concat()));
    ip6(SERVER, CLIENT).icmp(129, 0).echo(7, 1, &data(60)).checksum(as_if_whole).fragment(0xbeef, 0, 64)
}

// IPv6 → IPv4
rows! {
    the_inner_hop_limit_is_kept "RFC 7915 5.3":
        server_about6(ip6(CLIENT, SERVER).hop_limit(1).udp(4711, 53, b""))
        => becomes(server_about4(ip4(CLIENT, SERVER).ttl(1).udp(4711, 53, b"")));

    an_inner_echo_reply_of_zeros "RFC 7915 5.3":
        server_about6(ip6(CLIENT, SERVER).echo_reply(0, 0, b""))
        => becomes(server_about4(ip4(CLIENT, SERVER).echo_reply(0, 0, b"")));

    an_inner_hop_limit_of_0_is_kept "RFC 7915 5.3":
        server_about6(ip6(CLIENT, SERVER).hop_limit(0).udp(4711, 53, b""))
        => becomes(server_about4(ip4(CLIENT, SERVER).ttl(0).udp(4711, 53, b"")));

    the_inner_payload_length_is_translated_not_measured "RFC 7915 5.3":
        server_about6(ip6(CLIENT, SERVER).udp(4711, 53, &data(1232)).cut(8))
        => becomes(server_about4(ip4(CLIENT, SERVER).udp(4711, 53, &data(1232)).cut(8)));

    df_of_the_inner_packet_goes_by_its_size "RFC 7915 5.1":
        server_about6(ip6(CLIENT, SERVER).udp(4711, 53, &data(1233)).cut(8))
        => becomes(server_about4(ip4(CLIENT, SERVER).df().udp(4711, 53, &data(1233)).cut(8)));

    an_inner_packet_with_destination_options "RFC 7915 5.3":
        server_about6(ip6(CLIENT, SERVER).destination_options(&[1, 4, 0, 0, 0, 0]).udp(4711, 53, b"options"))
        => becomes(server_about4(ip4(CLIENT, SERVER).udp(4711, 53, b"options")));

    an_inner_packet_with_several_extension_headers "RFC 7915 5.3":
        server_about6(ip6(CLIENT, SERVER).hop_by_hop(&[5, 2, 0, 0, 1, 0]).routing(0, 0, &[0; 4])
            .destination_options(&[1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).tcp(4711, 80, b"options"))
        => becomes(server_about4(ip4(CLIENT, SERVER).tcp(4711, 80, b"options")));

    an_inner_packet_that_ends_within_an_extension_header "RFC 7915 5.3":
        server_about6(ip6(CLIENT, SERVER).destination_options(&[1, 4, 0, 0, 0, 0]).udp(4711, 53, b"")).body_len(8 + 40 + 4)
        => dropped("inner_packet");

    an_inner_first_fragment_to_ipv4 "RFC 7915 5.3":
        server_about6(ip6(CLIENT, SERVER).udp(4711, 53, &data(2000)).fragment(0xdead_beef, 0, 64))
        => becomes(server_about4(ip4(CLIENT, SERVER).udp(4711, 53, &data(2000)).fragment(0xbeef, 0, 64)));

    an_inner_middle_fragment_to_ipv4 "RFC 7915 5.3":
        server_about6(ip6(CLIENT, SERVER).udp(4711, 53, &data(2000)).fragment(0xdead_beef, 800, 864))
        => becomes(server_about4(ip4(CLIENT, SERVER).udp(4711, 53, &data(2000)).fragment(0xbeef, 800, 864)));

    an_inner_last_fragment_to_ipv4 "RFC 7915 5.3":
        server_about6(ip6(CLIENT, SERVER).tcp(4711, 80, &data(1000)).fragment(7, 960, 1020))
        => becomes(server_about4(ip4(CLIENT, SERVER).tcp(4711, 80, &data(1000)).fragment(7, 960, 1020)));

    an_inner_atomic_fragment "RFC 7915 5.1.1":
        server_about6(ip6(CLIENT, SERVER).fragment_header(0, false, 0x0001_0007).udp(4711, 53, b"atomic"))
        => becomes(server_about4(ip4(CLIENT, SERVER).id(7).udp(4711, 53, b"atomic")));

    a_wrong_inner_checksum_stays_as_wrong_to_ipv4 "RFC 7915 5.3":
        server_about6(ip6(CLIENT, SERVER).udp(4711, 53, b"wrong").checksum_off_by(0x0a0b))
        => becomes(server_about4(ip4(CLIENT, SERVER).udp(4711, 53, b"wrong").checksum_off_by(0x0a0b)));

    inner_udp_without_checksum_stays_without_to_ipv4 "RFC 7915 5.3":
        server_about6(ip6(CLIENT, SERVER).udp(4711, 53, b"none").no_checksum())
        => becomes(server_about4(ip4(CLIENT, SERVER).udp(4711, 53, b"none").no_checksum()));

    an_inner_echo_request_to_ipv4 "RFC 7915 5.3":
        server_about6(ip6(CLIENT, SERVER).echo_request(7, 1, b"ping"))
        => becomes(server_about4(ip4(CLIENT, SERVER).echo_request(7, 1, b"ping")));

    an_inner_echo_reply_to_ipv4 "RFC 7915 5.3":
        server_about6(ip6(CLIENT, SERVER).echo_reply(7, 1, b"ping"))
        => becomes(server_about4(ip4(CLIENT, SERVER).echo_reply(7, 1, b"ping")));

    an_icmpv6_error_about_an_error "RFC 7915 5.3":
        server_about6(ip6(CLIENT, SERVER).icmp(1, 4).about(ip6(SERVER, CLIENT).udp(53, 4711, b"")))
        => dropped("inner_icmp_error");

    an_icmpv6_error_about_an_unknown_error "RFC 7915 5.3":
        server_about6(ip6(CLIENT, SERVER).icmp(127, 0).about(ip6(SERVER, CLIENT).udp(53, 4711, b"")))
        => dropped("inner_icmp_error");

    an_icmpv6_error_about_mld "RFC 7915 5.3":
        server_about6(ip6(CLIENT, SERVER).icmp(130, 0).then(&[0; 16]))
        => dropped("inner_packet");

    an_inner_packet_that_is_no_ipv6 "RFC 7915 5.3":
        server_about6(ip6(CLIENT, SERVER).first_byte(0x45).udp(4711, 53, b""))
        => dropped("inner_packet");

    an_icmpv6_error_without_any_quote "RFC 7915 5.3":
        ip6(SERVER, CLIENT).icmp(1, 0)
        => dropped("inner_packet");
}

// Addresses of the inner packet
rows! {
    a_denied_inner_source "docs/translation.md 8.1" with "deny.ipv4 = ['203.0.113.99']":
        about4(ip4(SERVER, "203.0.113.99").udp(53, 4711, b""))
        => dropped("denied_destination");

    an_inner_private_address_is_no_reason "docs/translation.md 8.1":
        about4(ip4(SERVER, "10.0.0.1").udp(53, 4711, b""))
        => becomes(about6(ip6(SERVER, "2001:db8:6464::10.0.0.1").udp(53, 4711, b"")));

    an_inner_multicast_address_is_no_reason "docs/translation.md 8.1":
        about4(ip4(SERVER, "224.0.0.251").udp(5353, 5353, b""))
        => becomes(about6(ip6(SERVER, "2001:db8:6464::224.0.0.251").udp(5353, 5353, b"")));

    an_inner_address_of_no_mapping "docs/translation.md 8.1":
        server_about6(ip6("2001:db8:ffff::1", SERVER).udp(4711, 53, b""))
        => dropped("inner_packet");
}

/// The program reads headers in a frame's first piece only, some 3,500 bytes here.
#[test]
fn an_inner_transport_header_beyond_the_first_piece() {
    let options = data(2046);
    let inner = |from, to| ip6(from, to).destination_options(&options).destination_options(&options);
    let error = server_about6(inner(CLIENT, SERVER).udp(4711, 53, b"far away"));
    check("beyond the first piece", "docs/translation.md 8.1", "", error, &dropped("inner_packet"));
    let options = data(1022);
    let near = ip6(CLIENT, SERVER).destination_options(&options).destination_options(&options);
    let expected = becomes(server_about4(ip4(CLIENT, SERVER).udp(4711, 53, b"near")));
    check("within it", "docs/translation.md 8.1", "", server_about6(near.udp(4711, 53, b"near")), &expected);
}
