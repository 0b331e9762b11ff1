//! ICMP extensions (RFC 4884): the length attribute, padding, and what is cut.

use xlat_tests::{harness::row::*, notation::*, rows};

/// An extension structure with one object of an unknown class, `words` 4-byte words of content.
fn structure(words: usize) -> Vec<u8> {
    let content = data(4 * words);
    let object_len = u16::try_from(4 + content.len()).expect("a short object").to_be_bytes();
    let mut bytes = [&[0x20, 0, 0, 0], &object_len[..], &[250, 1], &content].concat();
    let sum = checksum(&[&bytes]);
    bytes[2..4].copy_from_slice(&sum.to_be_bytes());
    bytes
}

/// An error of a router about an answer of `len` bytes after its IP header.
fn error4(kind: u8, code: u8, len: usize) -> Packet {
    ip4(ROUTER, SERVER).df().icmp(kind, code).about(ip4(SERVER, CLIENT).udp(53, 4711, &data(len - 8)))
}

/// The same in IPv6.
fn error6(kind: u8, code: u8, len: usize) -> Packet {
    ip6(ROUTER, SERVER).icmp(kind, code).about(ip6(SERVER, CLIENT).udp(53, 4711, &data(len - 8)))
}

/// An error of the server about a question of `len` bytes after its IP header.
fn server6(kind: u8, code: u8, len: usize) -> Packet {
    ip6(SERVER, CLIENT).icmp(kind, code).about(ip6(CLIENT, SERVER).udp(4711, 53, &data(len - 8)))
}

/// The same in IPv4.
fn server4(kind: u8, code: u8, len: usize) -> Packet {
    ip4(SERVER, CLIENT).icmp(kind, code).about(ip4(CLIENT, SERVER).udp(4711, 53, &data(len - 8)))
}

// IPv4 → IPv6: 4-byte units become 8-byte units, the inner header 20 bytes longer
rows! {
    a_short_packet_stays_padded_to_128_bytes "RFC 4884 3":
        error4(3, 1, 20).extension(128, &structure(2))
        => becomes(error6(1, 0, 20).extension(152, &structure(2)));

    padding_is_no_part_of_a_fragments_transport_header "RFC 4884 3":
        ip4(ROUTER, SERVER).icmp(11, 0).about(ip4(SERVER, CLIENT).tcp(80, 4711, &data(40)).fragment(7, 0, 8))
            .extension(128, &structure(2))
        => becomes(ip6(ROUTER, SERVER).icmp(3, 0).about(ip6(SERVER, CLIENT).tcp(80, 4711, &data(40)).fragment(7, 0, 8))
            .extension(160, &structure(2)));

    an_original_datagram_of_128_bytes "RFC 7915 4.2":
        error4(3, 1, 108).extension(128, &structure(2))
        => becomes(error6(1, 0, 108).extension(152, &structure(2)));

    an_original_datagram_that_needs_padding_to_8 "RFC 4884 4":
        error4(11, 0, 112).extension(132, &structure(1))
        => becomes(error6(3, 0, 112).extension(152, &structure(1)));

    an_original_datagram_that_needs_4_bytes_of_padding "RFC 4884 4":
        error4(11, 0, 116).extension(136, &structure(1))
        => becomes(error6(3, 0, 116).extension(160, &structure(1)));

    an_extension_without_a_checksum "RFC 4884 7":
        error4(11, 0, 108).extension(128, &[0x20, 0, 0, 0, 0, 4, 250, 1])
        => becomes(error6(3, 0, 108).extension(152, &[0x20, 0, 0, 0, 0, 4, 250, 1]));

    an_extension_of_another_version "RFC 7915 4.2":
        error4(11, 0, 108).extension(128, &[0x10, 0, 1, 2, 3, 4, 5, 6, 7])
        => becomes(error6(3, 0, 108).extension(152, &[0x10, 0, 1, 2, 3, 4, 5, 6, 7]));

    an_mpls_extension "RFC 7915 4.2":
        error4(11, 0, 108).extension(128, &[0x20, 0, 0xb1, 0x2f, 0, 8, 1, 1, 0x02, 0xff, 0xf1, 0x01])
        => becomes(error6(3, 0, 108).extension(152, &[0x20, 0, 0xb1, 0x2f, 0, 8, 1, 1, 0x02, 0xff, 0xf1, 0x01]));

    address_literals_inside_extensions_stay "RFC 7915 4.2":
        error4(3, 1, 108).extension(128, &[0x20, 0, 0, 0, 0, 12, 2, 4, 0, 1, 0, 0, 203, 0, 113, 7])
        => becomes(error6(1, 0, 108).extension(152, &[0x20, 0, 0, 0, 0, 12, 2, 4, 0, 1, 0, 0, 203, 0, 113, 7]));

    an_extension_after_options_of_the_inner_packet "RFC 7915 4.2":
        ip4(ROUTER, SERVER).icmp(3, 1).about(ip4(SERVER, CLIENT).options(&[1; 40]).udp(53, 4711, &data(100)))
            .extension(168, &structure(1))
        => becomes(error6(1, 0, 108).extension(152, &structure(1)));

    a_length_attribute_under_128_bytes "docs/translation.md 8.3":
        error4(3, 1, 44).extension(64, &structure(1))
        => becomes(error6(1, 0, 44).extension(128, &structure(1)));

    protocol_unreachable_loses_its_extension "RFC 4884 4.6":
        error4(3, 2, 108).extension(128, &structure(2))
        => becomes(error6(4, 1, 108).pointer(6));

    parameter_problem_loses_its_extension "RFC 4884 4.6":
        error4(12, 0, 108).pointer(8).extension(128, &structure(2))
        => becomes(error6(4, 0, 108).pointer(7));

    fragmentation_needed_loses_its_extension "RFC 4884 4.6":
        error4(3, 4, 108).mtu(1400).extension(128, &structure(2))
        => becomes(error6(2, 0, 108).mtu(1420));

    fragmentation_needed_loses_extension_and_padding "RFC 4884 4.6":
        error4(3, 4, 20).mtu(1400).extension(128, &structure(2))
        => becomes(error6(2, 0, 20).mtu(1420));

    a_length_attribute_beyond_the_message "docs/translation.md 8.3":
        error4(3, 1, 108).length_attribute(200)
        => becomes(error6(1, 0, 108));

    a_length_attribute_within_the_inner_header "docs/translation.md 8.3":
        error4(3, 1, 108).length_attribute(4)
        => becomes(error6(1, 0, 108));

    an_extension_just_fits_1280_bytes "RFC 7915 4.2":
        error4(11, 0, 1000).extension(1020, &structure(46))
        => becomes(error6(3, 0, 1000).extension(1040, &structure(46)));

    the_original_datagram_is_cut_before_the_extension "RFC 7915 4.2":
        error4(11, 0, 1000).extension(1020, &structure(48))
        => becomes(ip6(ROUTER, SERVER).icmp(3, 0).about(ip6(SERVER, CLIENT).udp(53, 4711, &data(992)).cut(1032 - 40))
            .extension(1032, &structure(48)));

    a_long_extension_leaves_128_bytes_of_the_original_datagram "RFC 7915 4.2":
        error4(11, 0, 180).extension(200, &structure(280))
        => becomes(ip6(ROUTER, SERVER).icmp(3, 0).about(ip6(SERVER, CLIENT).udp(53, 4711, &data(172)).cut(128 - 40))
            .extension(128, &structure(280)[..1280 - 48 - 128]));

    a_long_extension_is_truncated "RFC 7915 4.2":
        error4(11, 0, 108).extension(128, &structure(300))
        => becomes(ip6(ROUTER, SERVER).icmp(3, 0).about(ip6(SERVER, CLIENT).udp(53, 4711, &data(100)).cut(128 - 40))
            .extension(128, &structure(300)[..1280 - 48 - 128]));
}

// IPv6 → IPv4
rows! {
    an_original_datagram_of_128_bytes_to_ipv4 "RFC 7915 5.2":
        server6(1, 4, 88).extension(128, &structure(2))
        => becomes(server4(3, 3, 88).extension(128, &structure(2)));

    a_short_packet_stays_padded_to_128_bytes_to_ipv4 "RFC 4884 3":
        server6(1, 4, 20).extension(128, &structure(2))
        => becomes(server4(3, 3, 20).extension(128, &structure(2)));

    a_longer_original_datagram_to_ipv4 "RFC 7915 5.2":
        server6(3, 0, 160).extension(200, &structure(2))
        => becomes(server4(11, 0, 160).extension(180, &structure(2)));

    padding_of_the_original_datagram_is_carried "docs/translation.md 8.3":
        server6(3, 0, 157).extension(200, &structure(2))
        => becomes(server4(11, 0, 157).extension(180, &structure(2)));

    an_extension_behind_extension_headers_of_the_inner_packet "RFC 7915 5.2":
        ip6(SERVER, CLIENT).icmp(3, 0)
            .about(ip6(CLIENT, SERVER).destination_options(&[1, 4, 0, 0, 0, 0]).udp(4711, 53, &data(152)))
            .extension(208, &structure(2))
        => becomes(server4(11, 0, 160).extension(180, &structure(2)));

    a_length_attribute_beyond_the_message_to_ipv4 "docs/translation.md 8.3":
        server6(3, 0, 88).length_attribute(99)
        => becomes(server4(11, 0, 88));

    a_length_attribute_within_the_inner_ipv6_header "docs/translation.md 8.3":
        server6(3, 0, 88).length_attribute(4)
        => becomes(server4(11, 0, 88));

    parameter_problem_has_no_extension_to_ipv4 "RFC 4884 4.6":
        server6(4, 0, 88).pointer(7).then(&structure(2))
        => becomes(server4(12, 0, 88).pointer(8).then(&structure(2)));

    packet_too_big_has_no_extension_to_ipv4 "RFC 4884 4.6":
        server6(2, 0, 88).mtu(1400).then(&structure(2))
        => becomes(server4(3, 4, 88).mtu(1380).then(&structure(2)));

    the_original_datagram_is_cut_before_the_extension_to_ipv4 "RFC 1812 4.3.2.3":
        server6(3, 0, 600).extension(640, &structure(8))
        => becomes(ip4(SERVER, CLIENT).icmp(11, 0).about(ip4(CLIENT, SERVER).udp(4711, 53, &data(592)).cut(508 - 20))
            .extension(508, &structure(8)));

    a_long_extension_is_truncated_to_ipv4 "RFC 7915 4.2":
        server6(3, 0, 88).extension(128, &structure(150))
        => becomes(ip4(SERVER, CLIENT).icmp(11, 0).about(ip4(CLIENT, SERVER).udp(4711, 53, &data(80)))
            .extension(128, &structure(150)[..576 - 28 - 128]));
}

/// No router sends such ("as much as possible without exceeding the minimum MTU", RFC 4443 2.4), but they are cut as others are,
/// with their checksum still right.
#[test]
fn errors_of_any_length_are_cut() {
    for len in [3500, 8000, 9900, 12_001, 16_400, 40_000, 65_000] {
        let quoted4 = ip4(SERVER, CLIENT).udp(53, 4711, &data(len - 8));
        let quoted6 = ip6(SERVER, CLIENT).udp(53, 4711, &data(len - 8));
        let long4 = ip4(ROUTER, SERVER).df().icmp(11, 0).about(quoted4);
        let short6 = ip6(ROUTER, SERVER).icmp(3, 0).about(quoted6.cut(1280 - 48 - 40));
        check(&format!("{len} bytes to IPv6"), "RFC 7915 4.2", "", long4, &becomes(short6));
        let short4 = ip4(SERVER, CLIENT)
            .icmp(11, 0)
            .about(ip4(CLIENT, SERVER).df().udp(4711, 53, &data(len - 8)).cut(576 - 28 - 20));
        check(&format!("{len} bytes to IPv4"), "RFC 7915 5.2", "", server6(3, 0, len), &becomes(short4));
    }
}
