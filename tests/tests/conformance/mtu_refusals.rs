//! Packets that do not fit the next hop (RFC 7915 1.4, 4.1, 5.1).
//!
//! `SERVER` and `CLIENT` are behind MTU 1500, others say theirs in their names.

use xlat_tests::{
    harness::{Relay, Verdict, row::*, settings},
    notation::*,
    rows,
};

/// Fragmentation Needed from the relay to the client, quoting as much as 576 bytes hold.
fn needed(mtu: u32, packet: Packet) -> Packet {
    ip4(RELAY4, CLIENT).tos(0xc0).icmp(3, 4).mtu(mtu).about(packet.cut(576 - 28 - 20))
}

/// Packet Too Big from the relay to the server, quoting as much as 1280 bytes hold.
fn too_big(mtu: u32, packet: Packet) -> Packet {
    ip6(RELAY6, SERVER).icmp(2, 0).mtu(mtu).about(packet.cut(1280 - 48 - 40))
}

// IPv4 → IPv6, DF set
rows! {
    df_just_fits_1500 "RFC 7915 4.1":
        ip4(CLIENT, SERVER).df().udp(4711, 53, &data(1452))
        => becomes(ip6(CLIENT, SERVER).udp(4711, 53, &data(1452)));

    df_is_one_too_many_for_1500 "RFC 7915 4.1":
        ip4(CLIENT, SERVER).df().udp(4711, 53, &data(1453))
        => answered("packet_too_big", needed(1480, ip4(CLIENT, SERVER).df().udp(4711, 53, &data(1453))));

    df_just_fits_1400 "RFC 7915 4.1":
        ip4(CLIENT, SERVER_1400).df().udp(4711, 53, &data(1352))
        => becomes(ip6(CLIENT, SERVER_1400).udp(4711, 53, &data(1352)));

    df_is_one_too_many_for_1400 "RFC 7915 4.1":
        ip4(CLIENT, SERVER_1400).df().udp(4711, 53, &data(1353))
        => answered("packet_too_big", needed(1380, ip4(CLIENT, SERVER_1400).df().udp(4711, 53, &data(1353))));

    df_is_one_too_many_for_1280 "RFC 7915 4.1":
        ip4(CLIENT, SERVER_1280).df().tcp(4711, 80, &data(1221))
        => answered("packet_too_big", needed(1260, ip4(CLIENT, SERVER_1280).df().tcp(4711, 80, &data(1221))));

    df_of_a_fragment_makes_room_for_the_fragment_header "RFC 7915 4.1":
        ip4(CLIENT, SERVER_1400).df().udp(4711, 53, &data(3000)).fragment(7, 0, 1360)
        => answered("packet_too_big", needed(1372, ip4(CLIENT, SERVER_1400).df().udp(4711, 53, &data(3000)).fragment(7, 0, 1360)));

    df_of_a_fragment_that_fits "RFC 7915 4.1":
        ip4(CLIENT, SERVER_1400).df().udp(4711, 53, &data(3000)).fragment(7, 0, 1352)
        => becomes(ip6(CLIENT, SERVER_1400).udp(4711, 53, &data(3000)).fragment(7, 0, 1352));

    no_error_about_a_later_fragment "RFC 1812 4.3.2.7":
        ip4(CLIENT, SERVER_1400).df().udp(4711, 53, &data(3000)).fragment(7, 1360, 2720)
        => dropped("packet_too_big");

    options_do_not_count_for_the_size "RFC 7915 4.1":
        ip4(CLIENT, SERVER_1400).df().options(&[1; 40]).udp(4711, 53, &data(1352))
        => becomes(ip6(CLIENT, SERVER_1400).udp(4711, 53, &data(1352)));

    a_large_echo_is_answered "RFC 1812 4.3.2.7":
        ip4(CLIENT, SERVER_1400).df().echo_request(7, 1, &data(1400))
        => answered("packet_too_big", needed(1380, ip4(CLIENT, SERVER_1400).df().echo_request(7, 1, &data(1400))));

    a_jumbo_packet_is_answered "RFC 7915 4.1":
        ip4(CLIENT_9000, SERVER).df().udp(4711, 53, &data(8000)).arrives_by("v4-9000")
        => answered("packet_too_big", ip4("198.18.11.254", CLIENT_9000).tos(0xc0).icmp(3, 4).mtu(1480)
            .about(ip4(CLIENT_9000, SERVER).df().udp(4711, 53, &data(8000)).cut(576 - 28 - 20)));

    a_jumbo_packet_fits_a_jumbo_link "RFC 7915 4.1":
        ip4(CLIENT_9000, SERVER_9000).df().udp(4711, 53, &data(8952)).arrives_by("v4-9000")
        => becomes(ip6(CLIENT_9000, SERVER_9000).udp(4711, 53, &data(8952)));
}

// IPv4 → IPv6, DF clear: the fragmenter gets what does not fit lowest_ipv6_mtu
rows! {
    no_df_just_fits_1280 "RFC 7915 4.1":
        ip4(CLIENT, SERVER).udp(4711, 53, &data(1232))
        => becomes(ip6(CLIENT, SERVER).udp(4711, 53, &data(1232)));

    no_df_is_one_too_many_for_1280 "RFC 7915 4.1":
        ip4(CLIENT, SERVER).udp(4711, 53, &data(1233))
        => fragmented();

    no_df_of_1500_bytes "RFC 7915 4.1":
        ip4(CLIENT, SERVER).tcp(4711, 80, &data(1460))
        => fragmented();

    no_df_of_a_fragment_just_fits_1280 "RFC 7915 4.1":
        ip4(CLIENT, SERVER).udp(4711, 53, &data(3000)).fragment(7, 0, 1232)
        => becomes(ip6(CLIENT, SERVER).udp(4711, 53, &data(3000)).fragment(7, 0, 1232));

    no_df_of_a_fragment_makes_room_for_the_fragment_header "RFC 7915 4.1":
        ip4(CLIENT, SERVER).udp(4711, 53, &data(3000)).fragment(7, 0, 1240)
        => fragmented();

    no_df_of_a_later_fragment "RFC 7915 4.1":
        ip4(CLIENT, SERVER).udp(4711, 53, &data(3000)).fragment(7, 1240, 2480)
        => fragmented();

    a_greater_lowest_ipv6_mtu_fits_more "RFC 7915 4.1" with "translation.lowest_ipv6_mtu = 1500":
        ip4(CLIENT, SERVER).udp(4711, 53, &data(1452))
        => becomes(ip6(CLIENT, SERVER).udp(4711, 53, &data(1452)));

    a_greater_lowest_ipv6_mtu_has_an_end "RFC 7915 4.1" with "translation.lowest_ipv6_mtu = 1500":
        ip4(CLIENT, SERVER).udp(4711, 53, &data(1453))
        => fragmented();

    a_smaller_next_hop_counts_before_lowest_ipv6_mtu "docs/translation.md 6.8" with "translation.lowest_ipv6_mtu = 1500":
        ip4(CLIENT, SERVER_1400).udp(4711, 53, &data(1353))
        => fragmented();

    the_tagged_frame_loses_its_tag_on_the_way_to_the_fragmenter "docs/translation.md 6.8":
        ip4(CLIENT, SERVER).udp(4711, 53, &data(1300)).vlan(7)
        => fragmented();
}

#[test]
fn an_echo_is_icmpv6_before_it_is_cut_to_pieces() {
    let [four, six] = [ip4(CLIENT, SERVER), ip6(CLIENT, SERVER)].map(|packet| packet.echo_request(7, 1, &data(1233)));
    let outcome = Relay::with(&settings(""), |relay| relay.run(&four.clone().into()).expect("the program runs"));
    let sent = &outcome.frame[14..];
    assert_eq!(sent[..20], four.bytes()[..20]);
    assert_eq!(sent[20..], six.bytes()[40..]);
    assert_eq!(outcome.verdict, Verdict::Redirect);
}

// IPv6 → IPv4
rows! {
    ipv6_just_fits_1500 "RFC 7915 5.1":
        ip6(SERVER, CLIENT).udp(53, 4711, &data(1472)).arrives_by("v6-9000")
        => becomes(ip4(SERVER, CLIENT).df().udp(53, 4711, &data(1472)));

    ipv6_is_one_too_many_for_1500 "RFC 7915 1.4":
        ip6(SERVER_9000, CLIENT).udp(53, 4711, &data(1473)).arrives_by("v6-9000")
        => answered("packet_too_big", ip6("2001:db8:fe:14::1", SERVER_9000).icmp(2, 0).mtu(1520)
            .about(ip6(SERVER_9000, CLIENT).udp(53, 4711, &data(1473)).cut(1280 - 48 - 40)));

    ipv6_too_large_for_1000_is_told_1280 "RFC 8201 4":
        ip6(SERVER, CLIENT_1000).udp(53, 4711, &data(1300))
        => answered("packet_too_big", too_big(1280, ip6(SERVER, CLIENT_1000).udp(53, 4711, &data(1300))));

    ipv6_of_1280_bytes_is_fragmented_by_the_kernel "RFC 7915 5.1.1":
        ip6(SERVER, CLIENT_1000).udp(53, 4711, &data(1232))
        => to_kernel(ip4(SERVER, CLIENT_1000).udp(53, 4711, &data(1232)));

    ipv6_of_1020_bytes_fits_1000 "RFC 7915 5.1":
        ip6(SERVER, CLIENT_1000).udp(53, 4711, &data(972))
        => becomes(ip4(SERVER, CLIENT_1000).udp(53, 4711, &data(972)));

    a_fragment_too_large_for_1000_is_fragmented_by_the_kernel "RFC 7915 5.1.1":
        ip6(SERVER, CLIENT_1000).udp(53, 4711, &data(3000)).fragment(7, 0, 1232)
        => to_kernel(ip4(SERVER, CLIENT_1000).udp(53, 4711, &data(3000)).fragment(7, 0, 1232));

    a_large_fragment_is_fragmented_by_the_kernel "RFC 7915 5.1.1":
        ip6(SERVER, CLIENT_1000).udp(53, 4711, &data(3000)).fragment(7, 0, 1400)
        => to_kernel(ip4(SERVER, CLIENT_1000).udp(53, 4711, &data(3000)).fragment(7, 0, 1400));

    a_jumbo_packet_towards_ipv4_is_answered "RFC 7915 1.4":
        ip6(SERVER_9000, CLIENT).tcp(80, 4711, &data(8900)).arrives_by("v6-9000")
        => answered("packet_too_big", ip6("2001:db8:fe:14::1", SERVER_9000).icmp(2, 0).mtu(1520)
            .about(ip6(SERVER_9000, CLIENT).tcp(80, 4711, &data(8900)).cut(1280 - 48 - 40)));

    a_jumbo_packet_towards_a_jumbo_link "RFC 7915 5.1":
        ip6(SERVER_9000, CLIENT_9000).tcp(80, 4711, &data(8940)).arrives_by("v6-9000")
        => becomes(ip4(SERVER_9000, CLIENT_9000).df().tcp(80, 4711, &data(8940)));

    a_large_echo_towards_ipv4_is_answered "RFC 4443 3.2":
        ip6(SERVER, CLIENT_1000).echo_request(7, 1, &data(1300))
        => answered("packet_too_big", too_big(1280, ip6(SERVER, CLIENT_1000).echo_request(7, 1, &data(1300))));

    packet_too_big_quotes_the_extension_headers "RFC 4443 2.4":
        ip6(SERVER, CLIENT_1000).destination_options(&[1, 4, 0, 0, 0, 0]).udp(53, 4711, &data(1300))
        => answered("packet_too_big", ip6(RELAY6, SERVER).icmp(2, 0).mtu(1280)
            .about(ip6(SERVER, CLIENT_1000).destination_options(&[1, 4, 0, 0, 0, 0]).udp(53, 4711, &data(1300)).cut(1280 - 48 - 48)));
}
