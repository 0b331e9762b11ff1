//! Addresses that are refused (RFC 7915 4.1 and 5.1, RFC 1812 5.3.7) and those that the operator denies.

use xlat_tests::{harness::row::*, notation::*, rows};

const ILLEGAL4: [&str; 10] = [
    "0.0.0.0",
    "0.1.2.3",
    "127.0.0.1",
    "127.0.0.2",
    "127.255.255.255",
    "169.254.1.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
];

#[test]
fn illegal_ipv4_sources_are_dropped_in_silence() {
    for address in ILLEGAL4 {
        let packet = ip4(address, SERVER).udp(4711, 53, b"?");
        check(address, "RFC 7915 4.1", "", packet, &dropped("illegal_source"));
    }
}

#[test]
fn illegal_ipv4_destinations_are_dropped_in_silence() {
    for address in ILLEGAL4 {
        let packet = ip4(SERVER, address).udp(53, 4711, b"?");
        check(address, "RFC 1812 5.3.7", "", packet, &dropped("illegal_destination"));
    }
}

#[test]
fn ipv6_addresses_that_stand_for_illegal_ipv4_sources_are_dropped() {
    for address in ILLEGAL4 {
        let packet = ip6(format!("2001:db8:6464::{address}").as_str(), SERVER.v6).udp(4711, 53, b"?");
        check(address, "RFC 1812 5.3.7", "", packet, &dropped("illegal_source"));
    }
}

#[test]
fn ipv6_addresses_that_stand_for_illegal_ipv4_destinations_are_dropped() {
    for address in ILLEGAL4 {
        let packet = ip6(SERVER.v6, format!("2001:db8:6464::{address}").as_str()).udp(53, 4711, b"?");
        check(address, "RFC 1812 5.3.7", "", packet, &dropped("illegal_destination"));
    }
}

const ILLEGAL6: [&str; 6] = ["::", "::1", "fe80::1", "febf::1", "ff02::1", "ff0e::1"];

#[test]
fn illegal_ipv6_sources_are_dropped_in_silence() {
    for address in ILLEGAL6 {
        let udp = ip6(address, CLIENT.v6).udp(4711, 53, b"?");
        check(&format!("UDP from {address}"), "RFC 7915 5.1", "", udp, &dropped("illegal_source"));
        let echo = ip6(address, CLIENT.v6).echo_request(7, 1, b"?");
        check(&format!("echo from {address}"), "RFC 7915 5.1", "", echo, &dropped("illegal_source"));
    }
}

/// Nothing maps these without an EAM for all of IPv6, which nobody has: they are the machine's own affair.
#[test]
fn illegal_ipv6_destinations_map_to_nothing() {
    for address in ILLEGAL6 {
        let to = ip6(SERVER.v6, address).udp(4711, 53, b"?");
        check(&format!("to {address}"), "RFC 7915 5.1", "", to, &passed());
    }
}

// An EAM that covers them makes no difference
const WIDE: &str = r#"
eam = [
    { ipv4 = "0.0.0.0/1",     ipv6 = "fe00::/7" },
    { ipv4 = "198.51.100.10", ipv6 = "2001:db8:5e1:1::10" },
]
"#;

rows! {
    an_illegal_ipv6_source_within_an_eam "RFC 7915 5.1" with WIDE:
        ip6("fe80::1", SERVER.v6).udp(4711, 53, b"?") => dropped("illegal_source");
    an_illegal_ipv6_destination_within_an_eam "RFC 7915 5.1" with WIDE:
        ip6(SERVER.v6, "ff0e::1").udp(4711, 53, b"?") => dropped("illegal_destination");
    a_mapped_source_that_is_illegal "docs/translation.md 4" with WIDE:
        ip4("64.0.0.1", SERVER).udp(4711, 53, b"?") => dropped("illegal_source");
}

// RFC 7915 4.1: private addresses are legal, only the well-known prefix must not hold them
rows! {
    a_private_source_is_legal "RFC 7915 4.1":
        ip4("10.1.2.3", SERVER).udp(4711, 53, b"?")
        => becomes(ip6("2001:db8:6464::10.1.2.3", SERVER).udp(4711, 53, b"?"));
    a_private_destination_is_legal "RFC 7915 5.1":
        ip6(SERVER, "2001:db8:6464::192.168.1.1").udp(53, 4711, b"?")
        => becomes(ip4(SERVER, "192.168.1.1").udp(53, 4711, b"?"));
    an_illegal_source_of_a_query_is_dropped "RFC 7915 4.1":
        ip4("169.254.1.1", SERVER).echo_request(7, 1, b"?") => dropped("illegal_source");
    an_illegal_destination_of_an_error_is_dropped "RFC 1812 5.3.7":
        ip4(SERVER, "240.0.0.1").icmp(3, 1).about(ip4("240.0.0.1", SERVER).udp(1, 2, b"")) => dropped("illegal_destination");
    an_illegal_source_wins_over_hop_limit "docs/translation.md 3":
        ip4("127.0.0.2", SERVER).ttl(1).udp(4711, 53, b"?") => dropped("illegal_source");
}

// Deny lists
const DENY: &str = r#"
deny.ipv4 = ["203.0.113.64/26", "198.51.100.11", "203.0.113.7"]
deny.ipv6 = ["2001:db8:5e1:77::/64", "2001:db8:6464::203.0.113.32/123"]
"#;

/// The answer of last resort to an IPv4 sender.
fn prohibited4(to: &str, packet: Packet) -> Packet {
    ip4(RELAY4, to).tos(0xc0).icmp(3, 13).about(packet)
}

/// The answer of last resort to an IPv6 sender.
fn prohibited6(to: &str, packet: Packet) -> Packet {
    ip6(RELAY6, to).icmp(1, 1).about(packet)
}

rows! {
    a_denied_ipv4_source "RFC 7915 4.4" with DENY:
        ip4(CLIENT, SERVER).udp(4711, 53, b"?")
        => answered("denied_source", prohibited4(CLIENT.v4, ip4(CLIENT, SERVER).udp(4711, 53, b"?")));
    a_denied_ipv4_destination "RFC 7915 4.4" with DENY:
        ip4("203.0.113.9", SERVER2).udp(4711, 53, b"?")
        => answered("denied_destination", prohibited4("203.0.113.9", ip4("203.0.113.9", SERVER2).udp(4711, 53, b"?")));
    the_deny_list_wins_over_an_eam "docs/translation.md 4" with DENY:
        ip4("203.0.113.9", SERVER2).tcp(4711, 80, b"")
        => answered("denied_destination", prohibited4("203.0.113.9", ip4("203.0.113.9", SERVER2).tcp(4711, 80, b"")));
    a_denied_ipv6_source "RFC 7915 5.4" with DENY:
        ip6(SERVER_UNRESOLVED, "2001:db8:6464::203.0.113.9").udp(53, 4711, b"?")
        => answered("denied_source", prohibited6(SERVER_UNRESOLVED.v6, ip6(SERVER_UNRESOLVED, "2001:db8:6464::203.0.113.9").udp(53, 4711, b"?")));
    a_source_denied_by_the_address_it_maps_to "docs/translation.md 4" with DENY:
        ip6(SERVER2, "2001:db8:6464::203.0.113.9").udp(53, 4711, b"?")
        => answered("denied_source", prohibited6(SERVER2.v6, ip6(SERVER2, "2001:db8:6464::203.0.113.9").udp(53, 4711, b"?")));
    a_destination_denied_by_the_address_it_maps_to "docs/translation.md 4" with DENY:
        ip4("203.0.113.9", SERVER_UNRESOLVED).udp(4711, 53, b"?")
        => answered("denied_destination", prohibited4("203.0.113.9", ip4("203.0.113.9", SERVER_UNRESOLVED).udp(4711, 53, b"?")));
    a_destination_denied_inside_the_translation_prefix "docs/translation.md 4" with DENY:
        ip6(SERVER, "2001:db8:6464::203.0.113.33").udp(53, 4711, b"?")
        => answered("denied_destination", prohibited6(SERVER.v6, ip6(SERVER, "2001:db8:6464::203.0.113.33").udp(53, 4711, b"?")));
    an_ipv4_source_denied_by_the_ipv6_list "docs/translation.md 4" with DENY:
        ip4("203.0.113.33", SERVER).udp(4711, 53, b"?")
        => answered("denied_source", prohibited4("203.0.113.33", ip4("203.0.113.33", SERVER).udp(4711, 53, b"?")));
    a_destination_denied_in_ipv6_by_the_ipv4_list "docs/translation.md 4" with DENY:
        ip6(SERVER, "2001:db8:6464::203.0.113.70").udp(53, 4711, b"?")
        => answered("denied_destination", prohibited6(SERVER.v6, ip6(SERVER, "2001:db8:6464::203.0.113.70").udp(53, 4711, b"?")));
    beside_the_deny_list "docs/translation.md 4" with DENY:
        ip4("203.0.113.9", SERVER).udp(4711, 53, b"?")
        => becomes(ip6("2001:db8:6464::203.0.113.9", SERVER).udp(4711, 53, b"?"));
    a_denied_echo_of_ipv6_is_dropped_in_silence "RFC 7915 5.4" with DENY:
        ip6(SERVER, "2001:db8:6464::203.0.113.70").echo_request(7, 1, b"?") => dropped("denied_destination");
    a_denied_echo_of_ipv4_is_answered "RFC 7915 4.4" with DENY:
        ip4(CLIENT, SERVER).echo_request(7, 1, b"?")
        => answered("denied_source", prohibited4(CLIENT.v4, ip4(CLIENT, SERVER).echo_request(7, 1, b"?")));
    a_denied_ipv4_error_is_dropped_in_silence "RFC 7915 4.4" with DENY:
        ip4(CLIENT, SERVER).icmp(3, 3).about(ip4(SERVER, CLIENT).udp(53, 4711, b"")) => dropped("denied_source");
    a_denied_later_fragment_is_dropped_in_silence "RFC 1812 4.3.2.7" with DENY:
        ip4(CLIENT, SERVER).udp(4711, 53, &data(2000)).fragment(7, 800, 1600) => dropped("denied_source");
    denial_wins_over_hop_limit "docs/translation.md 3" with DENY:
        ip4(CLIENT, SERVER).ttl(1).udp(4711, 53, b"?")
        => answered("denied_source", prohibited4(CLIENT.v4, ip4(CLIENT, SERVER).ttl(1).udp(4711, 53, b"?")));
    the_deny_list_does_not_matter_out_of_scope "docs/translation.md 3" with DENY:
        ip4(CLIENT, "192.0.2.1").udp(4711, 53, b"?") => passed();
}
