//! MTU arithmetic of translated Fragmentation Needed and Packet Too Big (RFC 7915 4.2 and 5.2).
//!
//! The errors go between the two sides of the machine by interfaces of the wanted MTUs: `v4` and `v6` have 1500, others say
//! theirs in their names.

use xlat_tests::{harness::row::*, notation::*, rows};

/// Fragmentation Needed about a packet of `total_len` bytes from the server to the client.
fn needed(server: Host, mtu: u32, total_len: u16) -> Packet {
    ip4(ROUTER, server).icmp(3, 4).mtu(mtu).about(ip4(server, CLIENT).df().total_len(total_len).tcp(80, 4711, b""))
}

/// The same as Packet Too Big.
fn too_big6(server: Host, mtu: u32, total_len: u16) -> Packet {
    ip6(ROUTER, server).icmp(2, 0).mtu(mtu).about(ip6(server, CLIENT).payload_len(total_len - 20).tcp(80, 4711, b""))
}

/// Packet Too Big about a packet of `payload_len` bytes after its IPv6 header, from the client to the server.
fn too_big(client: Host, mtu: u32, payload_len: u16) -> Packet {
    ip6(SERVER, client).icmp(2, 0).mtu(mtu).about(ip6(client, SERVER).payload_len(payload_len).tcp(4711, 80, b""))
}

/// The same as Fragmentation Needed.
fn needed4(client: Host, mtu: u32, payload_len: u16) -> Packet {
    let inner = ip4(client, SERVER).total_len(payload_len + 20).tcp(4711, 80, b"");
    let inner = if payload_len + 20 > 1260 { inner.df() } else { inner };
    ip4(SERVER, client).icmp(3, 4).mtu(mtu).about(inner)
}

// IPv4 → IPv6: maximum(1280, minimum(MTU + 20, MTU of the IPv6 next hop, MTU of the IPv4 next hop + 20))
rows! {
    twenty_more_for_the_ipv6_header "RFC 7915 4.2":
        needed(SERVER, 1400, 1500) => becomes(too_big6(SERVER, 1420, 1500));

    the_least_is_1280 "RFC 7915 4.2":
        needed(SERVER, 576, 1500) => becomes(too_big6(SERVER, 1280, 1500));

    just_under_1280 "RFC 7915 4.2":
        needed(SERVER, 1259, 1500) => becomes(too_big6(SERVER, 1280, 1500));

    just_1280 "RFC 7915 4.2":
        needed(SERVER, 1260, 1500) => becomes(too_big6(SERVER, 1280, 1500));

    just_over_1280 "RFC 7915 4.2":
        needed(SERVER, 1261, 1500) => becomes(too_big6(SERVER, 1281, 1500));

    an_mtu_of_1 "RFC 7915 4.2":
        needed(SERVER, 1, 1500) => becomes(too_big6(SERVER, 1280, 1500));

    not_over_the_ipv6_next_hop "RFC 7915 4.2":
        needed(SERVER_1400, 1450, 1500) => becomes(too_big6(SERVER_1400, 1400, 1500));

    not_over_the_ipv6_next_hop_of_1500 "RFC 7915 4.2":
        needed(SERVER, 8000, 9000).arrives_by("v4-9000") => becomes(too_big6(SERVER, 1500, 9000));

    not_over_the_ipv4_next_hop_and_20 "RFC 7915 4.2":
        needed(SERVER_9000, 8000, 9000) => becomes(too_big6(SERVER_9000, 1520, 9000));

    a_jumbo_mtu "RFC 7915 4.2":
        needed(SERVER_9000, 8000, 9000).arrives_by("v4-9000") => becomes(too_big6(SERVER_9000, 8020, 9000));

    the_greatest_mtu_does_not_wrap "RFC 7915 4.2":
        needed(SERVER, 65535, 1500) => becomes(too_big6(SERVER, 1500, 1500));
}

// MTU 0: the greatest plateau that is less than the Total Length and at least 1280 (RFC 1191 7.1)
rows! {
    no_mtu_from_a_packet_of_1500 "RFC 7915 4.2":
        needed(SERVER, 0, 1500) => becomes(too_big6(SERVER, 1500, 1500));

    no_mtu_from_a_packet_of_1492 "RFC 7915 4.2":
        needed(SERVER, 0, 1492) => becomes(too_big6(SERVER, 1280, 1492));

    no_mtu_from_a_packet_of_1493 "RFC 7915 4.2":
        needed(SERVER_9000, 0, 1493).arrives_by("v4-9000") => becomes(too_big6(SERVER_9000, 1512, 1493));

    no_mtu_from_a_small_packet "RFC 7915 4.2":
        needed(SERVER, 0, 600) => becomes(too_big6(SERVER, 1280, 600));

    no_mtu_from_a_packet_of_9000 "RFC 7915 4.2":
        needed(SERVER_9000, 0, 9000).arrives_by("v4-9000") => becomes(too_big6(SERVER_9000, 8186, 9000));

    no_mtu_from_a_packet_of_8166 "RFC 7915 4.2":
        needed(SERVER_9000, 0, 8166).arrives_by("v4-9000") => becomes(too_big6(SERVER_9000, 4372, 8166));

    no_mtu_from_a_packet_of_4352 "RFC 7915 4.2":
        needed(SERVER_9000, 0, 4352).arrives_by("v4-9000") => becomes(too_big6(SERVER_9000, 2022, 4352));

    no_mtu_from_a_packet_of_2002 "RFC 7915 4.2":
        needed(SERVER_9000, 0, 2002).arrives_by("v4-9000") => becomes(too_big6(SERVER_9000, 1512, 2002));

    no_mtu_from_the_longest_packet "RFC 7915 4.2":
        needed(SERVER_9000, 0, 65535).arrives_by("v4-9000") => becomes(too_big6(SERVER_9000, 9000, 65535));

    no_mtu_with_plateaus_of_ones_own "docs/translation.md 8.5" with "translation.mtu_plateaus = [65535, 1450, 1300, 68]":
        needed(SERVER, 0, 1440) => becomes(too_big6(SERVER, 1320, 1440));

    no_mtu_with_plateaus_all_under_1280 "docs/translation.md 8.5" with "translation.mtu_plateaus = [1000, 68]":
        needed(SERVER, 0, 1440) => becomes(too_big6(SERVER, 1280, 1440));
}

// IPv6 → IPv4: minimum(MTU − 20, MTU of the IPv4 next hop, MTU of the IPv6 next hop − 20)
rows! {
    twenty_less_for_the_ipv4_header "RFC 7915 5.2":
        too_big(CLIENT, 1400, 1440) => becomes(needed4(CLIENT, 1380, 1440));

    from_1280_to_1260 "RFC 7915 5.2":
        too_big(CLIENT, 1280, 1440) => becomes(needed4(CLIENT, 1260, 1440));

    not_over_the_ipv4_next_hop "RFC 7915 5.2":
        too_big(CLIENT_1000, 1280, 1440) => becomes(needed4(CLIENT_1000, 1000, 1440));

    not_over_the_ipv6_next_hop_less_20 "RFC 7915 5.2":
        too_big(CLIENT_9000, 8000, 8800) => becomes(needed4(CLIENT_9000, 1480, 8800));

    a_jumbo_mtu_towards_ipv4 "RFC 7915 5.2":
        too_big(CLIENT_9000, 8000, 8800).arrives_by("v6-9000") => becomes(needed4(CLIENT_9000, 7980, 8800));

    a_jumbo_mtu_towards_ipv4_of_1500 "RFC 7915 5.2":
        too_big(CLIENT, 8000, 8800).arrives_by("v6-9000") => becomes(needed4(CLIENT, 1500, 8800));

    an_mtu_over_16_bits "RFC 7915 5.2":
        too_big(CLIENT, 70_000, 1440) => becomes(needed4(CLIENT, 1480, 1440));

    the_greatest_mtu "RFC 7915 5.2":
        too_big(CLIENT, u32::MAX, 1440) => becomes(needed4(CLIENT, 1480, 1440));

    an_mtu_of_0_is_68 "RFC 791 3.2":
        too_big(CLIENT, 0, 1440) => becomes(needed4(CLIENT, 68, 1440));

    an_mtu_under_1280 "RFC 7915 5.2":
        too_big(CLIENT, 600, 1440) => becomes(needed4(CLIENT, 580, 1440));

    the_fragment_header_of_the_inner_packet_counts "RFC 7915 5.2":
        ip6(SERVER, CLIENT).icmp(2, 0).mtu(1400)
            .about(ip6(CLIENT, SERVER).udp(4711, 53, &data(2000)).fragment(0x77, 0, 400))
        => becomes(ip4(SERVER, CLIENT).icmp(3, 4).mtu(1372)
            .about(ip4(CLIENT, SERVER).udp(4711, 53, &data(2000)).fragment(0x77, 0, 400)));
}
