//! Sources of ICMP errors that have no mapping (RFC 6791), and the true source in an extension (RFC 5837).

use xlat_tests::{
    harness::{Relay, row::*, settings},
    notation::*,
    rows,
};

/// An IPv6 router's error about a packet from the client to the server.
fn from_router(router: &str, kind: u8, code: u8) -> Packet {
    ip6(router, CLIENT).icmp(kind, code).about(ip6(CLIENT, SERVER).udp(4711, 53, b"question"))
}

/// The same in IPv4.
fn from_pool(source: &str, kind: u8, code: u8) -> Packet {
    ip4(source, CLIENT).icmp(kind, code).about(ip4(CLIENT, SERVER).udp(4711, 53, b"question"))
}

rows! {
    a_router_without_mapping_takes_an_address_of_the_pool "RFC 6791 5":
        from_router(ROUTER6, 3, 0) => becomes(from_pool(POOL, 11, 0));

    packet_too_big_from_a_router_without_mapping "RFC 6791 3":
        from_router(ROUTER6, 2, 0).mtu(1400) => becomes(from_pool(POOL, 3, 4).mtu(1380));

    no_route_from_a_router_without_mapping "RFC 6791 3":
        from_router(ROUTER6, 1, 0) => becomes(from_pool(POOL, 3, 1));

    a_router_with_a_mapping_keeps_it "RFC 7757 3.2":
        from_router(SERVER2.v6, 3, 0) => becomes(from_pool(SERVER2.v4, 11, 0));

    a_router_inside_the_translation_prefix_is_that_ipv4_address "RFC 6052 2.3" with "translation.scope = 'all'":
        from_router("2001:db8:6464::203.0.113.99", 3, 0) => becomes(from_pool("203.0.113.99", 11, 0));

    a_router_inside_the_translation_prefix_is_in_no_eams_scope "docs/translation.md 3":
        from_router("2001:db8:6464::203.0.113.99", 3, 0) => passed();

    without_a_pool_the_relays_own_address "docs/translation.md 8.6" with "icmp.ipv4_pool = []":
        from_router(ROUTER6, 3, 0) => becomes(from_pool(RELAY4, 11, 0));

    without_a_pool_the_address_of_the_way_out "docs/translation.md 8.6" with "icmp.ipv4_pool = []":
        ip6(ROUTER6, CLIENT_9000).icmp(3, 0).about(ip6(CLIENT_9000, SERVER).udp(4711, 53, b"question"))
        => becomes(ip4("198.18.11.254", CLIENT_9000).icmp(11, 0).about(ip4(CLIENT_9000, SERVER).udp(4711, 53, b"question")));

    a_query_from_a_host_without_mapping_passes "docs/translation.md 3":
        ip6(ROUTER6, CLIENT).echo_request(7, 1, b"ping") => passed();

    an_error_out_of_scope_passes "docs/translation.md 3":
        ip6(ROUTER6, CLIENT).icmp(3, 0).about(ip6(CLIENT, ROUTER6).udp(4711, 53, b"question")) => passed();

    an_error_about_nobodys_packet_passes "docs/translation.md 3":
        ip6(ROUTER6, CLIENT).icmp(3, 0).about(ip6("2001:db8:ffff::1", SERVER).udp(4711, 53, b"question")) => passed();

    an_error_between_prefix_addresses_alone_passes "docs/translation.md 3":
        ip6(ROUTER6, CLIENT).icmp(3, 0).about(ip6(CLIENT, ROUTER).udp(4711, 53, b"question")) => passed();
}

// The other direction: an ICMPv4 error whose source cannot be represented, because there is no prefix
const NO_PREFIX: &str = r#"
translation.prefixes = []
eam = [
    { ipv4 = "198.51.100.10", ipv6 = "2001:db8:5e1:1::10" },
    { ipv4 = "203.0.113.7", ipv6 = "2001:db8:6464::203.0.113.7" },
]
"#;

const NO_PREFIX_BUT_A_POOL: &str = r#"
translation.prefixes = []
icmp.ipv6_pool = ["2001:db8:7777::1"]
eam = [
    { ipv4 = "198.51.100.10", ipv6 = "2001:db8:5e1:1::10" },
    { ipv4 = "203.0.113.7", ipv6 = "2001:db8:6464::203.0.113.7" },
]
"#;

rows! {
    an_ipv4_router_without_mapping_takes_an_address_of_the_ipv6_pool "docs/translation.md 8.6" with NO_PREFIX_BUT_A_POOL:
        ip4(ROUTER, SERVER).icmp(11, 0).about(ip4(SERVER, CLIENT).udp(53, 4711, b"answer"))
        => becomes(ip6("2001:db8:7777::1", SERVER).icmp(3, 0).about(ip6(SERVER, CLIENT).udp(53, 4711, b"answer")));

    an_ipv4_router_without_mapping_and_pool "docs/translation.md 8.6" with NO_PREFIX:
        ip4(ROUTER, SERVER).icmp(11, 0).about(ip4(SERVER, CLIENT).udp(53, 4711, b"answer"))
        => dropped("no_source");
}

/// One router has one address of the pool, different routers mostly different ones (RFC 6791 5), so that traceroute shows
/// no loop.
#[test]
fn each_router_has_its_own_address_of_the_pool() {
    let configuration = settings("icmp.ipv4_pool = ['203.0.113.8/29']");
    let source = |router: u16| {
        let error = from_router(&format!("2001:db8:1234::{router:x}"), 3, 0);
        let outcome = Relay::with(&configuration, |relay| relay.run(&Frame::from(error))).expect("the program runs");
        <[u8; 4]>::try_from(&outcome.frame[26..30]).expect("an IPv4 source")
    };
    let sources: Vec<[u8; 4]> = (1..=32).map(source).collect();
    let again: Vec<[u8; 4]> = (1..=32).map(source).collect();
    assert_eq!(sources, again, "a router's address changes from packet to packet");
    assert!(sources.iter().all(|[a, b, c, d]| (*a, *b, *c) == (203, 0, 113) && (8..16).contains(d)), "{sources:?}");
    let different: std::collections::BTreeSet<_> = sources.iter().collect();
    assert!(different.len() >= 6, "32 routers share {} of 8 addresses", different.len());
}

/// Several pool entries are all used.
#[test]
fn all_entries_of_the_pool_are_used() {
    let configuration = settings("icmp.ipv4_pool = ['203.0.113.8', '192.0.2.128/31']");
    let source = |router: u16| {
        let error = from_router(&format!("2001:db8:1234::{router:x}"), 3, 0);
        let outcome = Relay::with(&configuration, |relay| relay.run(&Frame::from(error))).expect("the program runs");
        <[u8; 4]>::try_from(&outcome.frame[26..30]).expect("an IPv4 source")
    };
    let sources: std::collections::BTreeSet<[u8; 4]> = (1..=64).map(source).collect();
    let expected = [[192, 0, 2, 128], [192, 0, 2, 129], [203, 0, 113, 8]];
    assert_eq!(sources.into_iter().collect::<Vec<_>>(), expected);
}

// RFC 6791 4 and RFC 5837 4
const INFORMED: &str = "icmp.interface_info = true";

/// An extension structure with objects, its checksum right.
fn structure(objects: &[&[u8]]) -> Vec<u8> {
    let mut bytes = [&[0x20, 0, 0, 0], &objects.concat()[..]].concat();
    let sum = checksum(&[&bytes]);
    bytes[2..4].copy_from_slice(&sum.to_be_bytes());
    bytes
}

/// The Interface Information Object for the arrival interface with an IPv6 address.
fn true_source(address: &str) -> Vec<u8> {
    [&[0, 24, 2, 0x04, 0, 2, 0, 0], &address.v6().octets()[..]].concat()
}

const UNKNOWN_OBJECT: &[u8] = &[0, 8, 250, 1, 0xde, 0xad, 0xbe, 0xef];
/// Interface Information Object of the outgoing interface (role 2), with its index.
const OUTGOING_OBJECT: &[u8] = &[0, 8, 2, 0x88, 0, 0, 0, 9];

rows! {
    time_exceeded_tells_the_true_source "RFC 6791 4" with INFORMED:
        from_router(ROUTER6, 3, 0)
        => becomes(from_pool(POOL, 11, 0).extension(128, &structure(&[&true_source(ROUTER6)])));

    destination_unreachable_tells_the_true_source "RFC 6791 4" with INFORMED:
        from_router(ROUTER6, 1, 0)
        => becomes(from_pool(POOL, 3, 1).extension(128, &structure(&[&true_source(ROUTER6)])));

    parameter_problem_tells_the_true_source "RFC 6791 4" with INFORMED:
        from_router(ROUTER6, 4, 0).pointer(7)
        => becomes(from_pool(POOL, 12, 0).pointer(8).extension(128, &structure(&[&true_source(ROUTER6)])));

    the_true_source_follows_what_is_there "RFC 5837 4" with INFORMED:
        from_router(ROUTER6, 3, 0).extension(128, &structure(&[UNKNOWN_OBJECT]))
        => becomes(from_pool(POOL, 11, 0).extension(128, &structure(&[UNKNOWN_OBJECT, &true_source(ROUTER6)])));

    the_true_source_follows_what_tells_of_the_outgoing_interface "RFC 5837 4.5" with INFORMED:
        from_router(ROUTER6, 3, 0).extension(128, &structure(&[OUTGOING_OBJECT]))
        => becomes(from_pool(POOL, 11, 0).extension(128, &structure(&[OUTGOING_OBJECT, &true_source(ROUTER6)])));

    what_tells_of_the_arrival_interface_stays_alone "RFC 5837 4.5" with INFORMED:
        from_router(ROUTER6, 3, 0).extension(128, &structure(&[UNKNOWN_OBJECT, &true_source(SERVER2.v6)]))
        => becomes(from_pool(POOL, 11, 0).extension(128, &structure(&[UNKNOWN_OBJECT, &true_source(SERVER2.v6)])));

    objects_that_cannot_be_read_stay_alone "RFC 4884 8" with INFORMED:
        from_router(ROUTER6, 3, 0).extension(128, &structure(&[&[0, 12, 250, 1, 0xde, 0xad, 0xbe, 0xef]]))
        => becomes(from_pool(POOL, 11, 0).extension(128, &structure(&[&[0, 12, 250, 1, 0xde, 0xad, 0xbe, 0xef]])));

    a_longer_original_datagram_and_the_true_source "RFC 5837 4" with INFORMED:
        ip6(ROUTER6, CLIENT).icmp(3, 0).about(ip6(CLIENT, SERVER).udp(4711, 53, &data(205)))
        => becomes(ip4(POOL, CLIENT).icmp(11, 0).about(ip4(CLIENT, SERVER).udp(4711, 53, &data(205)))
            .extension(236, &structure(&[&true_source(ROUTER6)])));

    the_original_datagram_makes_room_for_the_true_source "RFC 1812 4.3.2.3" with INFORMED:
        ip6(ROUTER6, CLIENT).icmp(3, 0).about(ip6(CLIENT, SERVER).udp(4711, 53, &data(1000)))
        => becomes(ip4(POOL, CLIENT).icmp(11, 0).about(ip4(CLIENT, SERVER).udp(4711, 53, &data(1000)).cut(520 - 20))
            .extension(520, &structure(&[&true_source(ROUTER6)])));

    a_source_with_a_mapping_needs_no_object "RFC 6791 4" with INFORMED:
        from_router(SERVER2.v6, 3, 0) => becomes(from_pool(SERVER2.v4, 11, 0));
}
