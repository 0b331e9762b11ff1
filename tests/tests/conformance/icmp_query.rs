//! ICMP messages that are no errors (RFC 7915 4.2 and 5.2).

use xlat_tests::{harness::row::*, notation::*, rows};

rows! {
    echo_request_becomes_icmpv6 "RFC 7915 4.2":
        ip4(CLIENT, SERVER).echo_request(7, 1, b"ping")
        => becomes(ip6(CLIENT, SERVER).echo_request(7, 1, b"ping"));

    echo_reply_becomes_icmpv6 "RFC 7915 4.2":
        ip4(CLIENT, SERVER).echo_reply(7, 1, b"ping")
        => becomes(ip6(CLIENT, SERVER).echo_reply(7, 1, b"ping"));

    echo_request_becomes_icmpv4 "RFC 7915 5.2":
        ip6(SERVER, CLIENT).echo_request(7, 2, b"ping")
        => becomes(ip4(SERVER, CLIENT).echo_request(7, 2, b"ping"));

    echo_reply_becomes_icmpv4 "RFC 7915 5.2":
        ip6(SERVER, CLIENT).echo_reply(7, 2, b"ping")
        => becomes(ip4(SERVER, CLIENT).echo_reply(7, 2, b"ping"));

    echo_without_data_becomes_icmpv6 "RFC 7915 4.2":
        ip4(CLIENT, SERVER).echo_request(0, 0, b"")
        => becomes(ip6(CLIENT, SERVER).echo_request(0, 0, b""));

    echo_reply_of_zeros_becomes_icmpv4 "RFC 7915 5.2":
        ip6(SERVER, CLIENT).echo_reply(0, 0, b"")
        => becomes(ip4(SERVER, CLIENT).echo_reply(0, 0, b""));

    echo_reply_of_zeros_with_data_becomes_icmpv4 "RFC 7915 5.2":
        ip6(SERVER, CLIENT).echo_reply(0, 0, &[0; 56])
        => becomes(ip4(SERVER, CLIENT).echo_reply(0, 0, &[0; 56]));

    echo_of_odd_length_becomes_icmpv6 "RFC 7915 4.2":
        ip4(CLIENT, SERVER).echo_request(7, 1, b"odd")
        => becomes(ip6(CLIENT, SERVER).echo_request(7, 1, b"odd"));

    echo_of_odd_length_becomes_icmpv4 "RFC 7915 5.2":
        ip6(SERVER, CLIENT).echo_request(7, 1, b"odd")
        => becomes(ip4(SERVER, CLIENT).echo_request(7, 1, b"odd"));

    large_echo_becomes_icmpv6 "RFC 7915 4.2":
        ip4(CLIENT, SERVER).df().echo_request(7, 1, &data(1452))
        => becomes(ip6(CLIENT, SERVER).echo_request(7, 1, &data(1452)));

    echo_with_a_code_becomes_icmpv6 "RFC 7915 4.2":
        ip4(CLIENT, SERVER).icmp(8, 9).echo(7, 1, b"code")
        => becomes(ip6(CLIENT, SERVER).icmp(128, 9).echo(7, 1, b"code"));

    echo_with_a_code_becomes_icmpv4 "RFC 7915 5.2":
        ip6(SERVER, CLIENT).icmp(129, 9).echo(7, 1, b"code")
        => becomes(ip4(SERVER, CLIENT).icmp(0, 9).echo(7, 1, b"code"));

    a_wrong_icmp_checksum_stays_as_wrong "RFC 7915 4.2":
        ip4(CLIENT, SERVER).echo_request(7, 1, b"wrong").checksum_off_by(0x0101)
        => becomes(ip6(CLIENT, SERVER).echo_request(7, 1, b"wrong").checksum_off_by(0x0101));

    a_wrong_icmpv6_checksum_stays_as_wrong "RFC 7915 5.2":
        ip6(SERVER, CLIENT).echo_reply(7, 1, b"wrong").checksum_off_by(0x0101)
        => becomes(ip4(SERVER, CLIENT).echo_reply(7, 1, b"wrong").checksum_off_by(0x0101));
}

// ICMPv4 queries that ICMPv6 does not have
rows! {
    drops_information_request "RFC 7915 4.2":
        ip4(CLIENT, SERVER).icmp(15, 0).rest([0, 1, 0, 2]) => dropped("icmp_type");
    drops_information_reply "RFC 7915 4.2":
        ip4(CLIENT, SERVER).icmp(16, 0).rest([0, 1, 0, 2]) => dropped("icmp_type");
    drops_timestamp "RFC 7915 4.2":
        ip4(CLIENT, SERVER).icmp(13, 0).then(&[0; 12]) => dropped("icmp_type");
    drops_timestamp_reply "RFC 7915 4.2":
        ip4(CLIENT, SERVER).icmp(14, 0).then(&[0; 12]) => dropped("icmp_type");
    drops_address_mask_request "RFC 7915 4.2":
        ip4(CLIENT, SERVER).icmp(17, 0).then(&[0; 4]) => dropped("icmp_type");
    drops_address_mask_reply "RFC 7915 4.2":
        ip4(CLIENT, SERVER).icmp(18, 0).then(&[0; 4]) => dropped("icmp_type");
    drops_router_advertisement "RFC 7915 4.2":
        ip4(CLIENT, SERVER).icmp(9, 0).then(&[0; 8]) => dropped("icmp_type");
    drops_router_solicitation "RFC 7915 4.2":
        ip4(CLIENT, SERVER).icmp(10, 0) => dropped("icmp_type");
    drops_igmp "RFC 7915 4.2":
        ip4(CLIENT, SERVER).payload(2, &[0x11, 0, 0xee, 0xff, 0, 0, 0, 0]) => dropped("igmp");
    drops_igmp_of_ttl_1_in_silence "RFC 7915 4.2":
        ip4(CLIENT, SERVER).ttl(1).payload(2, &[0x16, 0, 0xe9, 0xff, 0, 0, 0, 0]) => dropped("igmp");
    drops_router_solicitation_of_ttl_1_in_silence "RFC 7915 4.2":
        ip4(CLIENT, SERVER).ttl(1).icmp(10, 0) => dropped("icmp_type");
    drops_igmp_with_nothing_in_it "RFC 7915 4.2":
        ip4(CLIENT, SERVER).payload(2, b"") => dropped("igmp");
}

// ICMPv6 messages that ICMPv4 does not have
rows! {
    drops_mld_query "RFC 7915 5.2":
        ip6(SERVER, CLIENT).icmp(130, 0).then(&[0; 16]) => dropped("icmp_type");
    drops_mld_of_hop_limit_1_in_silence "RFC 7915 5.2":
        ip6(SERVER, CLIENT).hop_limit(1).icmp(131, 0).then(&[0; 16]) => dropped("icmp_type");
    drops_mld_report "RFC 7915 5.2":
        ip6(SERVER, CLIENT).icmp(131, 0).then(&[0; 16]) => dropped("icmp_type");
    drops_mld_done "RFC 7915 5.2":
        ip6(SERVER, CLIENT).icmp(132, 0).then(&[0; 16]) => dropped("icmp_type");
    drops_mld2_report "RFC 7915 5.2":
        ip6(SERVER, CLIENT).icmp(143, 0).then(&[0; 20]) => dropped("icmp_type");
    drops_icmpv6_router_solicitation "RFC 7915 5.2":
        ip6(SERVER, CLIENT).icmp(133, 0) => dropped("icmp_type");
    drops_icmpv6_router_advertisement "RFC 7915 5.2":
        ip6(SERVER, CLIENT).icmp(134, 0).then(&[0; 8]) => dropped("icmp_type");
    drops_neighbour_solicitation "RFC 7915 5.2":
        ip6(SERVER, CLIENT).icmp(135, 0).then(&[0; 16]) => dropped("icmp_type");
    drops_neighbour_advertisement "RFC 7915 5.2":
        ip6(SERVER, CLIENT).icmp(136, 0).then(&[0; 16]) => dropped("icmp_type");
    drops_icmpv6_redirect "RFC 7915 5.2":
        ip6(SERVER, CLIENT).icmp(137, 0).then(&[0; 32]) => dropped("icmp_type");
}

/// Every type that is neither echo nor a listed error.
#[test]
fn drops_every_unknown_icmpv4_type() {
    for kind in (1..=2).chain([4, 5, 6, 7]).chain(9..=10).chain(13..=255) {
        let packet = ip4(CLIENT, SERVER).icmp(kind, 0).about(ip4(SERVER, CLIENT).udp(1, 2, b""));
        check(&format!("type {kind}"), "RFC 7915 4.2", "", packet, &dropped("icmp_type"));
    }
}

/// Every type that is neither echo nor a listed error.
#[test]
fn drops_every_unknown_icmpv6_type() {
    for kind in [0].into_iter().chain(5..=127).chain(130..=255) {
        let packet = ip6(SERVER, CLIENT).icmp(kind, 0).about(ip6(CLIENT, SERVER).udp(1, 2, b""));
        check(&format!("type {kind}"), "RFC 7915 5.2", "", packet, &dropped("icmp_type"));
    }
}

/// ICMPv6's number in IPv4 and ICMPv4's in IPv6 are protocols without a meaning there: carried as they are.
#[test]
fn the_other_familys_icmp_number_is_not_icmp() {
    let odd = [128, 0, 0x12, 0x34, 0, 7, 0, 1];
    check(
        "icmpv6 in ipv4",
        "RFC 7915 4.1",
        "",
        ip4(CLIENT, SERVER).payload(58, &odd),
        &becomes(ip6(CLIENT, SERVER).payload(58, &odd)),
    );
    check(
        "icmpv4 in ipv6",
        "RFC 7915 5.1",
        "",
        ip6(SERVER, CLIENT).payload(1, &odd),
        &becomes(ip4(SERVER, CLIENT).payload(1, &odd)),
    );
}
