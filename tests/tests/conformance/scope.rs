//! Which packets are the relay's (docs/translation.md 3; RFC 7915 4.6 and 5.6).

use xlat_tests::{harness::row::*, notation::*, rows};

// `scope = "eam"`
rows! {
    ipv4_between_hosts_without_eam_passes "RFC 7915 4.6":
        ip4(CLIENT, ROUTER).udp(1, 2, b"routed") => passed();
    ipv6_between_prefix_addresses_passes "RFC 7915 5.6":
        ip6(CLIENT, ROUTER).udp(1, 2, b"routed") => passed();
    ipv6_from_a_host_without_mapping_passes "RFC 7915 5.6":
        ip6("2001:db8:ffff::1", CLIENT.v6).udp(1, 2, b"routed") => passed();
    ipv6_to_a_host_without_mapping_passes "RFC 7915 5.6":
        ip6(SERVER.v6, "2001:db8:ffff::1").udp(1, 2, b"routed") => passed();
    an_ipv4_error_about_foreign_packets_passes "RFC 7915 4.6":
        ip4(ROUTER, CLIENT).icmp(3, 1).about(ip4(CLIENT, ROUTER).udp(1, 2, b"")) => passed();
    out_of_scope_nothing_is_checked "docs/translation.md 2":
        ip4(CLIENT, ROUTER).bad_header_checksum().ttl(0).options(&[7, 0, 0, 0]).udp(1, 2, b"") => passed();
    ipv4_multicast_passes "docs/translation.md 3":
        ip4(CLIENT, "224.0.0.251").udp(5353, 5353, b"mdns") => passed();
}

// The relay's own addresses
rows! {
    ipv4_to_the_relay_passes "docs/translation.md 3":
        ip4(CLIENT, RELAY4).tcp(4711, 22, b"ssh") => passed();
    ipv4_from_a_service_to_the_relay_passes "docs/translation.md 3":
        ip4(SERVER, RELAY4).tcp(4711, 22, b"ssh") => passed();
    ipv4_from_a_relays_address_passes "docs/translation.md 3":
        ip4(RELAY4, SERVER).tcp(4711, 22, b"odd") => passed();
    ipv4_to_another_interfaces_address_passes "docs/translation.md 3":
        ip4(SERVER, "198.18.11.254").tcp(4711, 22, b"ssh") => passed();
    ipv4_from_loopback_is_dropped "RFC 7915 4.1":
        ip4("127.0.0.1", SERVER).tcp(4711, 22, b"martian") => dropped("illegal_source");
    ipv6_to_the_relay_passes "docs/translation.md 3":
        ip6(SERVER.v6, RELAY6).tcp(4711, 22, b"ssh") => passed();
    ipv6_to_what_stands_for_the_relay_passes "docs/translation.md 3":
        ip6(SERVER.v6, "2001:db8:6464::198.18.4.254").tcp(4711, 22, b"ssh") => passed();
    ipv6_from_what_stands_for_the_relay_passes "docs/translation.md 3":
        ip6("2001:db8:6464::198.18.4.254", SERVER.v6).tcp(4711, 22, b"ssh") => passed();
}

/// An EAM that covers the relay's own addresses does not cut it off.
const COVERED: &str = r#"
translation.scope = "all"
eam = [
    { ipv4 = "198.18.4.0/24", ipv6 = "2001:db8:fe:6::/120" },
    { ipv4 = "198.51.100.10", ipv6 = "2001:db8:5e1:1::10" },
]
"#;

rows! {
    an_eam_over_the_relays_ipv4_address "docs/translation.md 3" with COVERED:
        ip4(CLIENT, RELAY4).tcp(4711, 22, b"ssh") => passed();
    an_eam_over_the_relays_ipv6_address "docs/translation.md 3" with COVERED:
        ip6(CLIENT.v6, RELAY6).tcp(4711, 22, b"ssh") => passed();
    an_ipv4_address_that_maps_to_the_relays_ipv6_address "docs/translation.md 3" with COVERED:
        ip4(CLIENT.v4, "198.18.4.1").tcp(4711, 22, b"ssh") => passed();
    hairpinned_to_the_relays_ipv6_address "docs/translation.md 3" with COVERED:
        ip6(SERVER, "2001:db8:6464::198.18.4.1").tcp(4711, 22, b"ssh") => passed();
    an_error_hairpinned_to_the_relays_ipv6_address "docs/translation.md 3" with COVERED:
        ip6(SERVER, "2001:db8:6464::198.18.4.1").icmp(1, 0)
            .about(ip6("2001:db8:6464::198.18.4.1", SERVER).udp(1, 2, b"question"))
        => passed();
    beside_the_relays_addresses "docs/translation.md 3" with COVERED:
        ip4(CLIENT.v4, "198.18.4.9").tcp(4711, 22, b"ssh")
        => to_kernel(ip6(CLIENT.v6, "2001:db8:fe:6::9").tcp(4711, 22, b"ssh"));
}

// `scope = "all"`
const ALL: &str = "translation.scope = 'all'";
const ALL_WITHOUT_EAMS: &str = "translation.scope = 'all'\ntranslation.prefixes = ['2001:db8:100::/40']\neam = []";

rows! {
    all_ipv4_goes_by_the_prefix "RFC 7915 6" with ALL:
        ip4(CLIENT, ROUTER).udp(1, 2, b"prefix") => becomes(ip6(CLIENT, ROUTER).udp(1, 2, b"prefix"));
    all_ipv6_goes_by_the_prefix "RFC 7915 6" with ALL:
        ip6(CLIENT, ROUTER).udp(1, 2, b"prefix") => becomes(ip4(CLIENT, ROUTER).udp(1, 2, b"prefix"));
    all_with_eams_prefers_them "RFC 7757 3.3" with ALL:
        ip4(CLIENT, SERVER).udp(1, 2, b"eam") => becomes(ip6(CLIENT, SERVER).udp(1, 2, b"eam"));
    all_needs_both_addresses_to_map "RFC 7915 5.6" with ALL:
        ip6("2001:db8:ffff::1", CLIENT.v6).udp(1, 2, b"routed") => passed();
    all_leaves_the_relay_reachable "docs/translation.md 3" with ALL:
        ip4(CLIENT, RELAY4).tcp(4711, 22, b"ssh") => passed();
    all_leaves_the_relay_reachable_over_ipv6 "docs/translation.md 3" with ALL:
        ip6(CLIENT.v6, RELAY6).tcp(4711, 22, b"ssh") => passed();
    ivi_without_eams "RFC 7915 A.2" with ALL_WITHOUT_EAMS:
        ip4("198.51.100.2", "192.0.2.33").udp(1, 2, b"H4")
        => becomes(ip6("2001:db8:1c6:3364:2::", "2001:db8:1c0:2:21::").udp(1, 2, b"H4"));
    ivi_without_eams_to_ipv4 "RFC 7915 A.1" with ALL_WITHOUT_EAMS:
        ip6("2001:db8:1c0:2:21::", "2001:db8:1c6:3364:2::").udp(1, 2, b"H6")
        => becomes(ip4("192.0.2.33", "198.51.100.2").udp(1, 2, b"H6"));
    all_errors_from_routers_without_mapping "RFC 6791 5" with ALL:
        ip6(ROUTER6, CLIENT).icmp(3, 0).about(ip6(CLIENT, ROUTER).udp(1, 2, b""))
        => becomes(ip4(POOL, CLIENT).icmp(11, 0).about(ip4(CLIENT, ROUTER).udp(1, 2, b"")));
}

// `strict = true`
const STRICT: &str = "translation.strict = true";

rows! {
    strict_drops_foreign_ipv4 "docs/translation.md 3" with STRICT:
        ip4(CLIENT, ROUTER).udp(1, 2, b"routed") => dropped("out_of_scope");
    strict_drops_foreign_ipv6 "docs/translation.md 3" with STRICT:
        ip6("2001:db8:ffff::1", CLIENT.v6).udp(1, 2, b"routed") => dropped("out_of_scope");
    strict_leaves_the_relay_reachable "docs/translation.md 3" with STRICT:
        ip4(CLIENT, RELAY4).tcp(4711, 22, b"ssh") => passed();
    strict_leaves_the_relay_reachable_over_ipv6 "docs/translation.md 3" with STRICT:
        ip6("2001:db8:ffff::1", RELAY6).tcp(4711, 22, b"ssh") => passed();
    strict_passes_ipv4_multicast "docs/translation.md 3" with STRICT:
        ip4(CLIENT, "224.0.0.5").payload(89, b"ospf") => passed();
    strict_passes_ipv6_multicast "docs/translation.md 3" with STRICT:
        ip6("fe80::1", "ff02::1:ff00:1").icmp(135, 0).then(&[0; 16]) => passed();
    strict_passes_neighbour_discovery "docs/translation.md 3" with STRICT:
        ip6("fe80::2", "fe80::1").icmp(136, 0).then(&[0; 16]) => passed();
    strict_passes_link_local_ipv4 "docs/translation.md 3" with STRICT:
        ip4("169.254.1.1", "169.254.1.2").udp(1, 2, b"") => passed();
    strict_translates_as_ever "docs/translation.md 3" with STRICT:
        ip4(CLIENT, SERVER).udp(1, 2, b"?") => becomes(ip6(CLIENT, SERVER).udp(1, 2, b"?"));
}

// Edge relay without a translation prefix of its own: only what both EAMs map
const NO_PREFIX: &str = "translation.prefixes = []";

rows! {
    without_a_prefix_an_address_without_eam_maps_to_nothing "docs/translation.md 3" with NO_PREFIX:
        ip4(CLIENT, SERVER).udp(1, 2, b"?") => passed();
    without_a_prefix_two_eams_do "RFC 7757 3.2" with NO_PREFIX:
        ip4(SERVER2, SERVER).udp(1, 2, b"?") => becomes(ip6(SERVER2, SERVER).udp(1, 2, b"?"));
}
