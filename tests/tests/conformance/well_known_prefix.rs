//! The well-known prefix 64:ff9b::/96 and non-global addresses (RFC 6052 3.1).

use xlat_tests::{harness::row::*, notation::*, rows};

const STRICT: &str = "translation.prefixes = ['64:ff9b::/96']";
const LAX: &str = "translation.prefixes = ['64:ff9b::/96']\ntranslation.well_known_prefix_strict = false";
const POOLED: &str = "translation.prefixes = ['64:ff9b::/96']\nicmp.ipv6_pool = ['2001:db8:7777::1']";

/// Addresses of the ranges that are not global.
const NOT_GLOBAL: [&str; 9] = [
    "10.0.0.1",
    "100.64.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.9",
    "192.0.2.1",
    "192.168.0.1",
    "198.19.255.1",
    "203.0.113.7",
];

/// Addresses just beside those ranges.
const GLOBAL: [&str; 8] =
    ["8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "172.32.0.0", "192.0.1.0", "198.20.0.0"];

#[test]
fn non_global_ipv4_sources_are_refused() {
    for address in NOT_GLOBAL {
        let packet = ip4(address, SERVER.v4).udp(4711, 53, b"?");
        let answer = ip4(RELAY4, address).tos(0xc0).icmp(3, 13).about(packet.clone());
        check(address, "RFC 6052 3.1", STRICT, packet, &answered("well_known_prefix", answer));
    }
}

#[test]
fn non_global_ipv4_destinations_are_refused() {
    for address in NOT_GLOBAL {
        let packet = ip4(SERVER.v4, address).udp(4711, 53, b"?");
        let answer = ip4(RELAY4, SERVER.v4).tos(0xc0).icmp(3, 13).about(packet.clone());
        check(address, "RFC 6052 3.1", STRICT, packet, &answered("well_known_prefix", answer));
    }
}

#[test]
fn ipv6_destinations_with_non_global_addresses_are_refused() {
    for address in NOT_GLOBAL {
        let packet = ip6(SERVER.v6, format!("64:ff9b::{address}").as_str()).udp(53, 4711, b"?");
        let answer = ip6(RELAY6, SERVER.v6).icmp(1, 1).about(packet.clone());
        check(address, "RFC 6052 3.1", STRICT, packet, &answered("well_known_prefix", answer));
    }
}

#[test]
fn ipv6_sources_with_non_global_addresses_are_refused() {
    for address in NOT_GLOBAL {
        let packet = ip6(format!("64:ff9b::{address}").as_str(), SERVER.v6).udp(4711, 53, b"?");
        let answer = ip6(RELAY6, format!("64:ff9b::{address}").as_str()).icmp(1, 1).about(packet.clone());
        check(address, "RFC 6052 3.1", STRICT, packet, &answered("well_known_prefix", answer));
    }
}

#[test]
fn global_addresses_go_through() {
    for address in GLOBAL {
        let six = format!("64:ff9b::{address}");
        let expected = becomes(ip6(six.as_str(), SERVER.v6).udp(4711, 53, b"?"));
        check(address, "RFC 6052 3.1", STRICT, ip4(address, SERVER.v4).udp(4711, 53, b"?"), &expected);
        let expected = becomes(ip4(SERVER.v4, address).udp(53, 4711, b"?"));
        check(address, "RFC 6052 3.1", STRICT, ip6(SERVER.v6, six.as_str()).udp(53, 4711, b"?"), &expected);
    }
}

#[test]
fn non_global_addresses_go_through_where_that_is_allowed() {
    for address in NOT_GLOBAL {
        let six = format!("64:ff9b::{address}");
        let expected = becomes(ip6(six.as_str(), SERVER.v6).udp(4711, 53, b"?"));
        check(address, "RFC 6052 3.1", LAX, ip4(address, SERVER.v4).udp(4711, 53, b"?"), &expected);
        let expected = becomes(ip4(SERVER.v4, address).udp(53, 4711, b"?"));
        check(address, "RFC 6052 3.1", LAX, ip6(SERVER.v6, six.as_str()).udp(53, 4711, b"?"), &expected);
    }
}

rows! {
    an_eam_address_is_not_inside_the_well_known_prefix "RFC 6052 3.1" with STRICT:
        ip4("8.8.8.8", SERVER).udp(4711, 53, b"?")
        => becomes(ip6("64:ff9b::8.8.8.8", SERVER).udp(4711, 53, b"?"));

    other_prefixes_hold_any_address "RFC 6052 3.1":
        ip4("10.0.0.1", SERVER).udp(4711, 53, b"?")
        => becomes(ip6("2001:db8:6464::10.0.0.1", SERVER).udp(4711, 53, b"?"));

    an_error_from_a_private_router_takes_an_address_of_the_pool "docs/translation.md 4" with POOLED:
        ip4("10.1.2.3", SERVER).icmp(11, 0).about(ip4(SERVER, "8.8.8.8").udp(53, 4711, b"answer"))
        => becomes(ip6("2001:db8:7777::1", SERVER).icmp(3, 0).about(ip6(SERVER, "64:ff9b::8.8.8.8").udp(53, 4711, b"answer")));

    an_error_from_a_private_router_without_a_pool "RFC 6052 3.1" with STRICT:
        ip4("10.1.2.3", SERVER).icmp(11, 0).about(ip4(SERVER, "8.8.8.8").udp(53, 4711, b"answer"))
        => dropped("well_known_prefix");

    a_refused_echo_of_ipv6_is_dropped_in_silence "RFC 7915 5.4" with STRICT:
        ip6(SERVER, "64:ff9b::10.0.0.1").echo_request(7, 1, b"?") => dropped("well_known_prefix");
}
