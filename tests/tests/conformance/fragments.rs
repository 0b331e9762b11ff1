//! Fragments (RFC 7915 4.1 and 5.1.1).

use xlat_tests::{harness::row::*, notation::*, rows};

// IPv4 → IPv6
rows! {
    a_first_fragment_of_udp "RFC 7915 4.1":
        ip4(CLIENT, SERVER).udp(4711, 53, &data(2000)).fragment(0xbeef, 0, 1000)
        => becomes(ip6(CLIENT, SERVER).udp(4711, 53, &data(2000)).fragment(0xbeef, 0, 1000));

    a_middle_fragment_of_udp "RFC 7915 4.1":
        ip4(CLIENT, SERVER).udp(4711, 53, &data(3000)).fragment(0xbeef, 1000, 2000)
        => becomes(ip6(CLIENT, SERVER).udp(4711, 53, &data(3000)).fragment(0xbeef, 1000, 2000));

    a_last_fragment_of_udp "RFC 7915 4.1":
        ip4(CLIENT, SERVER).udp(4711, 53, &data(2000)).fragment(0xbeef, 1000, 2008)
        => becomes(ip6(CLIENT, SERVER).udp(4711, 53, &data(2000)).fragment(0xbeef, 1000, 2008));

    a_first_fragment_of_tcp "RFC 7915 4.1":
        ip4(CLIENT, SERVER).tcp(4711, 80, &data(1000)).fragment(1, 0, 504)
        => becomes(ip6(CLIENT, SERVER).tcp(4711, 80, &data(1000)).fragment(1, 0, 504));

    a_last_fragment_of_tcp "RFC 7915 4.1":
        ip4(CLIENT, SERVER).tcp(4711, 80, &data(1000)).fragment(1, 504, 1020)
        => becomes(ip6(CLIENT, SERVER).tcp(4711, 80, &data(1000)).fragment(1, 504, 1020));

    a_fragment_with_df "RFC 7915 4.1":
        ip4(CLIENT, SERVER).df().udp(4711, 53, &data(2000)).fragment(0xbeef, 0, 1000)
        => becomes(ip6(CLIENT, SERVER).udp(4711, 53, &data(2000)).fragment(0xbeef, 0, 1000));

    a_later_fragment_with_df "RFC 7915 4.1":
        ip4(CLIENT, SERVER).df().udp(4711, 53, &data(2000)).fragment(0xbeef, 1000, 2008)
        => becomes(ip6(CLIENT, SERVER).udp(4711, 53, &data(2000)).fragment(0xbeef, 1000, 2008));

    identification_0_is_carried "RFC 7915 4.1":
        ip4(CLIENT, SERVER).udp(4711, 53, &data(2000)).fragment(0, 0, 1000)
        => becomes(ip6(CLIENT, SERVER).udp(4711, 53, &data(2000)).fragment(0, 0, 1000));

    the_last_offset_that_ipv4_has "RFC 7915 4.1":
        ip4(CLIENT, SERVER).udp(4711, 53, &data(65_520)).fragment(9, 65_504, 65_512)
        => becomes(ip6(CLIENT, SERVER).udp(4711, 53, &data(65_520)).fragment(9, 65_504, 65_512));

    a_first_fragment_too_short_for_the_tcp_checksum "docs/translation.md 2":
        ip4(CLIENT, SERVER).tcp(4711, 80, &data(100)).fragment(1, 0, 8)
        => becomes(ip6(CLIENT, SERVER).tcp(4711, 80, &data(100)).fragment(1, 0, 8));

    a_first_fragment_too_short_for_the_tcp_header "docs/translation.md 2":
        ip4(CLIENT, SERVER).tcp(4711, 80, &data(100)).fragment(1, 0, 16)
        => becomes(ip6(CLIENT, SERVER).tcp(4711, 80, &data(100)).fragment(1, 0, 16));

    a_first_fragment_with_nothing_but_the_udp_header "docs/translation.md 2":
        ip4(CLIENT, SERVER).udp(4711, 53, &data(100)).fragment(1, 0, 8)
        => becomes(ip6(CLIENT, SERVER).udp(4711, 53, &data(100)).fragment(1, 0, 8));

    an_empty_first_fragment "docs/translation.md 2":
        ip4(CLIENT, SERVER).udp(4711, 53, &data(100)).fragment(1, 0, 0)
        => becomes(ip6(CLIENT, SERVER).udp(4711, 53, &data(100)).fragment(1, 0, 0));

    a_fragment_of_another_protocol "RFC 7915 4.1":
        ip4(CLIENT, SERVER).payload(132, &data(600)).fragment(1, 0, 304)
        => becomes(ip6(CLIENT, SERVER).payload(132, &data(600)).fragment(1, 0, 304));

    a_fragment_of_udp_lite "RFC 7915 4.5":
        ip4(CLIENT, SERVER).udp_lite(1, 2, 8, &data(600)).fragment(1, 0, 304)
        => becomes(ip6(CLIENT, SERVER).udp_lite(1, 2, 8, &data(600)).fragment(1, 0, 304));

    a_first_fragment_with_options "RFC 7915 4.1":
        ip4(CLIENT, SERVER).options(&[1; 8]).udp(4711, 53, &data(2000)).fragment(0xbeef, 0, 1000)
        => becomes(ip6(CLIENT, SERVER).udp(4711, 53, &data(2000)).fragment(0xbeef, 0, 1000));

    a_first_fragment_of_icmp "RFC 7915 1.2":
        ip4(CLIENT, SERVER).echo_request(7, 1, &data(2000)).fragment(0xbeef, 0, 1000)
        => dropped("icmp_fragment");

    a_later_fragment_of_icmp "RFC 7915 1.2":
        ip4(CLIENT, SERVER).echo_request(7, 1, &data(2000)).fragment(0xbeef, 1000, 2008)
        => dropped("icmp_fragment");

    a_fragment_of_igmp "RFC 7915 4.2":
        ip4(CLIENT, SERVER).payload(2, &data(600)).fragment(1, 0, 304)
        => dropped("igmp");
}

// IPv6 → IPv4
rows! {
    a_first_fragment_of_udp_to_ipv4 "RFC 7915 5.1.1":
        ip6(SERVER, CLIENT).udp(53, 4711, &data(2000)).fragment(0xdead_beef, 0, 1000)
        => becomes(ip4(SERVER, CLIENT).udp(53, 4711, &data(2000)).fragment(0xbeef, 0, 1000));

    a_middle_fragment_of_udp_to_ipv4 "RFC 7915 5.1.1":
        ip6(SERVER, CLIENT).udp(53, 4711, &data(3000)).fragment(0xdead_beef, 1000, 2000)
        => becomes(ip4(SERVER, CLIENT).udp(53, 4711, &data(3000)).fragment(0xbeef, 1000, 2000));

    a_last_fragment_of_udp_to_ipv4 "RFC 7915 5.1.1":
        ip6(SERVER, CLIENT).udp(53, 4711, &data(2000)).fragment(0xdead_beef, 1000, 2008)
        => becomes(ip4(SERVER, CLIENT).udp(53, 4711, &data(2000)).fragment(0xbeef, 1000, 2008));

    a_first_fragment_of_tcp_to_ipv4 "RFC 7915 5.1.1":
        ip6(SERVER, CLIENT).tcp(80, 4711, &data(1000)).fragment(7, 0, 504)
        => becomes(ip4(SERVER, CLIENT).tcp(80, 4711, &data(1000)).fragment(7, 0, 504));

    df_is_clear_in_a_large_fragment "RFC 7915 5.1.1":
        ip6(SERVER, CLIENT).udp(53, 4711, &data(3000)).fragment(7, 0, 1448)
        => becomes(ip4(SERVER, CLIENT).udp(53, 4711, &data(3000)).fragment(7, 0, 1448));

    an_atomic_fragment "RFC 7915 5.1.1":
        ip6(SERVER, CLIENT).fragment_header(0, false, 0xdead_beef).udp(53, 4711, b"atomic")
        => becomes(ip4(SERVER, CLIENT).id(0xbeef).udp(53, 4711, b"atomic"));

    a_large_atomic_fragment_has_no_df "RFC 7915 5.1.1":
        ip6(SERVER, CLIENT).fragment_header(0, false, 1).udp(53, 4711, &data(1400))
        => becomes(ip4(SERVER, CLIENT).id(1).udp(53, 4711, &data(1400)));

    an_atomic_fragment_of_tcp "RFC 7915 5.1.1":
        ip6(SERVER, CLIENT).fragment_header(0, false, 1).tcp(80, 4711, b"atomic")
        => becomes(ip4(SERVER, CLIENT).id(1).tcp(80, 4711, b"atomic"));

    an_atomic_fragment_of_an_echo "RFC 7915 5.1.1":
        ip6(SERVER, CLIENT).fragment_header(0, false, 1).echo_request(7, 1, b"atomic")
        => becomes(ip4(SERVER, CLIENT).id(1).echo_request(7, 1, b"atomic"));

    reserved_bits_of_the_fragment_header_are_ignored "RFC 8200 4.5":
        ip6(SERVER, CLIENT).raw_extension(44, &[0, 0xff, 0x00, 0x06, 0, 0, 0, 5]).udp(53, 4711, b"reserved")
        => becomes(ip4(SERVER, CLIENT).id(5).udp(53, 4711, b"reserved"));

    a_first_fragment_too_short_for_the_tcp_checksum_to_ipv4 "docs/translation.md 2":
        ip6(SERVER, CLIENT).tcp(80, 4711, &data(100)).fragment(1, 0, 8)
        => becomes(ip4(SERVER, CLIENT).tcp(80, 4711, &data(100)).fragment(1, 0, 8));

    a_fragment_behind_other_extension_headers "RFC 7915 5.1.1":
        ip6(SERVER, CLIENT).hop_by_hop(&[1, 4, 0, 0, 0, 0]).udp(53, 4711, &data(2000)).fragment(7, 0, 1000)
        => becomes(ip4(SERVER, CLIENT).udp(53, 4711, &data(2000)).fragment(7, 0, 1000));

    a_fragment_of_esp "RFC 7915 5.1.1":
        ip6(SERVER, CLIENT).payload(50, &data(600)).fragment(7, 0, 304)
        => becomes(ip4(SERVER, CLIENT).payload(50, &data(600)).fragment(7, 0, 304));

    a_first_fragment_of_icmpv6 "RFC 7915 1.2":
        ip6(SERVER, CLIENT).echo_request(7, 1, &data(2000)).fragment(7, 0, 1000)
        => dropped("icmp_fragment");

    a_later_fragment_of_icmpv6 "RFC 7915 1.2":
        ip6(SERVER, CLIENT).echo_request(7, 1, &data(2000)).fragment(7, 1000, 2008)
        => dropped("icmp_fragment");
}

/// RFC 7915 5.4.
fn refused(packet: Packet) -> Expected {
    answered("fragment_extension", ip6(RELAY6, SERVER).icmp(1, 1).about(packet))
}

// What is dropped for an extension header inside, but is or may be ICMPv6, is not answered.
rows! {
    icmpv6_behind_an_extension_header_in_a_fragment "RFC 7915 5.4":
        ip6(SERVER, CLIENT).fragment_header(0, false, 7).destination_options(&[1, 4, 0, 0, 0, 0]).echo_request(7, 1, b"")
        => dropped("fragment_extension");
    an_icmpv6_error_behind_an_extension_header_in_a_fragment "RFC 4443 2.4":
        ip6(SERVER, CLIENT).fragment_header(0, false, 7).destination_options(&[1, 4, 0, 0, 0, 0]).icmp(1, 4)
            .about(ip6(CLIENT, SERVER).udp(4711, 53, b""))
        => dropped("fragment_extension");
    udp_behind_an_extension_header_in_a_fragment "RFC 7915 5.4":
        ip6(SERVER, CLIENT).fragment_header(0, false, 7).destination_options(&[1, 4, 0, 0, 0, 0]).udp(53, 4711, b"?")
        => refused(
            ip6(SERVER, CLIENT).fragment_header(0, false, 7).destination_options(&[1, 4, 0, 0, 0, 0]).udp(53, 4711, b"?")
        );
}

/// "If the Next Header field of the Fragment Header is an extension header (except ESP, but including AH) then the packet
/// SHOULD be dropped and logged."
#[test]
fn drops_fragments_with_an_extension_header_inside() {
    for number in [0, 43, 44, 51, 60, 135, 139, 140] {
        for (kind, offset, more) in
            [("atomic", 0, false), ("first", 0, true), ("later", 800, true), ("last", 800, false)]
        {
            let packet =
                || ip6(SERVER, CLIENT).fragment_header(offset, more, 7).payload(number, &[17, 0, 1, 4, 0, 0, 0, 0]);
            // RFC 4443 2.4 (e): a later piece may be one of an ICMPv6 error.
            let expected = if offset == 0 { refused(packet()) } else { dropped("fragment_extension") };
            check(&format!("{kind} {number}"), "RFC 7915 5.1.1", "", packet(), &expected);
        }
    }
}
