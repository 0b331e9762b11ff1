//! Two services that talk through the relay (RFC 7757 4 and appendix B.1).

use xlat_tests::{harness::row::*, notation::*, rows};

/// RFC 7757 appendix B.1: figure 1, one address in the pool of RFC 6791.
const B1: &str = r#"
translation.prefixes = ["64:ff9b::/96"]
translation.well_known_prefix_strict = false
icmp.ipv4_pool = ["198.51.100.1"]
eam = [
    { ipv4 = "192.0.2.1",      ipv6 = "2001:db8:aaaa::" },
    { ipv4 = "192.0.2.2/32",   ipv6 = "2001:db8:bbbb::b/128" },
    { ipv4 = "192.0.2.16/28",  ipv6 = "2001:db8:cccc::/124" },
    { ipv4 = "192.0.2.128/26", ipv6 = "2001:db8:dddd::/64" },
    { ipv4 = "192.0.2.192/29", ipv6 = "2001:db8:eeee:8::/62" },
    { ipv4 = "192.0.2.224/31", ipv6 = "64:ff9b::/127" },
]
"#;

const A: Host = Host { v4: "192.0.2.1", v6: "2001:db8:aaaa::" };
const B: Host = Host { v4: "192.0.2.2", v6: "2001:db8:bbbb::b" };
/// How B sees A, and A sees B.
const A_SEEN: &str = "64:ff9b::192.0.2.1";
const B_SEEN: &str = "64:ff9b::192.0.2.2";

// `intrinsic`: one packet in, one out, one hop
rows! {
    figure_8_a_normal_packet "RFC 7757 B.1" with B1:
        ip6(A, B_SEEN).tcp(4711, 80, b"GET /")
        => becomes(ip6(A_SEEN, B).tcp(4711, 80, b"GET /"));

    figure_9_an_error_of_a_router "RFC 7757 B.1" with B1:
        ip6("2001:db8::1234", A_SEEN).icmp(3, 0).about(ip6(A_SEEN, B).udp(1, 2, b"question"))
        => becomes(ip6("64:ff9b::198.51.100.1", A).icmp(3, 0).about(ip6(A, B_SEEN).udp(1, 2, b"question")));

    figure_10_an_error_of_the_host "RFC 7757 B.1" with B1:
        ip6(B, A_SEEN).icmp(1, 4).about(ip6(A_SEEN, B).udp(1, 2, b"question"))
        => becomes(ip6(B_SEEN, A).icmp(1, 4).about(ip6(A, B_SEEN).udp(1, 2, b"question")));

    figure_11_the_answer "RFC 7757 B.1" with B1:
        ip6(B, A_SEEN).tcp(80, 4711, b"200 OK")
        => becomes(ip6(B_SEEN, A).tcp(80, 4711, b"200 OK"));

    hairpinned_udp "RFC 7757 4.2.2" with B1:
        ip6(A, B_SEEN).traffic_class(0x28).udp(4711, 53, b"question")
        => becomes(ip6(A_SEEN, B).traffic_class(0x28).udp(4711, 53, b"question"));

    hairpinned_echo "RFC 7757 4.2.2" with B1:
        ip6(A, B_SEEN).echo_request(7, 1, b"ping")
        => becomes(ip6(A_SEEN, B).echo_request(7, 1, b"ping"));

    a_hairpinned_packet_loses_one_hop "RFC 7757 4.2.2" with B1:
        ip6(A, B_SEEN).hop_limit(2).udp(4711, 53, b"question")
        => becomes(ip6(A_SEEN, B).hop_limit(1).udp(4711, 53, b"question"));

    a_hairpinned_packet_without_hops_left "RFC 7757 4.2.2" with B1:
        ip6(A, B_SEEN).hop_limit(1).udp(4711, 53, b"question")
        => answered("hop_limit_exceeded", ip6(RELAY6, A).icmp(3, 0).about(ip6(A, B_SEEN).hop_limit(1).udp(4711, 53, b"question")));

    a_hairpinned_fragment "RFC 7757 4.2.2" with B1:
        ip6(A, B_SEEN).udp(4711, 53, &data(2000)).fragment(0xdead_beef, 0, 1000)
        => becomes(ip6(A_SEEN, B).udp(4711, 53, &data(2000)).fragment(0xbeef, 0, 1000));

    a_hairpinned_packet_with_extension_headers "RFC 7757 4.2.2" with B1:
        ip6(A, B_SEEN).destination_options(&[1, 4, 0, 0, 0, 0]).udp(4711, 53, b"question")
        => becomes(ip6(A_SEEN, B).udp(4711, 53, b"question"));

    a_large_hairpinned_packet "RFC 7757 4.2.2" with B1:
        ip6(A, B_SEEN).tcp(4711, 80, &data(1440))
        => becomes(ip6(A_SEEN, B).tcp(4711, 80, &data(1440)));

    a_medium_hairpinned_packet "RFC 7757 4.2.2" with B1:
        ip6(A, B_SEEN).tcp(4711, 80, &data(1221))
        => becomes(ip6(A_SEEN, B).tcp(4711, 80, &data(1221)));

    a_hairpinned_packet_of_unequal_suffixes "RFC 7757 4.2.2" with B1:
        ip6("2001:db8:dddd:0:6000::", "64:ff9b::192.0.2.195").udp(1, 2, b"")
        => becomes(ip6("64:ff9b::192.0.2.152", "2001:db8:eeee:9:8000::").udp(1, 2, b""));

    hairpinned_udp_without_checksum "RFC 7915 4.5" with B1:
        ip6(A, B_SEEN).udp(4711, 53, b"none").no_checksum()
        => dropped("udp_checksum_zero");

    both_ends_by_eam_are_not_hairpinned "RFC 7757 4.2.2 A2" with B1:
        ip6(A.v6, B.v6).udp(1, 2, b"direct")
        => becomes(ip4(A, B).udp(1, 2, b"direct"));

    a_packet_to_the_internet_is_not_hairpinned "RFC 7757 4.2.2 A3" with B1:
        ip6(A, "64:ff9b::8.8.8.8").udp(1, 2, b"away")
        => becomes(ip4(A, "8.8.8.8").udp(1, 2, b"away"));

    an_error_to_the_internet_is_not_hairpinned "RFC 7757 4.2.2 B3" with B1:
        ip6(A, "64:ff9b::8.8.8.8").icmp(1, 4).about(ip6("64:ff9b::8.8.8.8", A).udp(1, 2, b""))
        => becomes(ip4(A, "8.8.8.8").icmp(3, 3).about(ip4("8.8.8.8", A).udp(1, 2, b"")));

    from_ipv4_the_source_goes_by_its_eam "RFC 7757 4.2.2" with B1:
        ip4(A, B).udp(1, 2, b"from ipv4")
        => becomes(ip6(A.v6, B.v6).udp(1, 2, b"from ipv4"));
}

// What the fuzzer found
const NO_POOL: &str = r#"
translation.udp_zero_checksum = "compute"
icmp.ipv4_pool = []
eam = [
    { ipv4 = "192.0.2.1",      ipv6 = "2001:db8:aaaa::" },
    { ipv4 = "192.0.2.2/32",   ipv6 = "2001:db8:bbbb::b/128" },
]
"#;
const A_BY_PREFIX: &str = "2001:db8:6464::192.0.2.1";
const B_BY_PREFIX: &str = "2001:db8:6464::192.0.2.2";

rows! {
    an_error_of_a_router_for_which_the_relay_stands "docs/translation.md 8.6" with NO_POOL:
        ip6("2001:db8::1234", A_BY_PREFIX).icmp(3, 0).about(ip6(A_BY_PREFIX, B).udp(1, 2, b"question"))
        => becomes(
            ip6("2001:db8:6464::198.18.4.254", A).icmp(3, 0).about(ip6(A, B_BY_PREFIX).udp(1, 2, b"question"))
        );

    a_large_first_fragment_without_checksum "RFC 7915 4.5" with NO_POOL:
        ip6(A, B_BY_PREFIX).udp(4711, 53, &data(4000)).no_checksum().fragment(1, 0, 2000).arrives_by("v6-9000")
        => dropped("udp_checksum_zero_fragment");
}

// `simple`: the three rules for every packet from IPv4
const SIMPLE: &str = r#"
translation.prefixes = ["64:ff9b::/96"]
translation.well_known_prefix_strict = false
translation.hairpin = "simple"
icmp.ipv4_pool = ["198.51.100.1"]
eam = [
    { ipv4 = "192.0.2.1",      ipv6 = "2001:db8:aaaa::" },
    { ipv4 = "192.0.2.2/32",   ipv6 = "2001:db8:bbbb::b/128" },
]
"#;

rows! {
    simple_figure_8_first_half "RFC 7757 B.1" with SIMPLE:
        ip6(A, B_SEEN).tcp(4711, 80, b"GET /") => becomes(ip4(A, B).tcp(4711, 80, b"GET /"));

    simple_figure_8_second_half "RFC 7757 4.2.1 rule 1" with SIMPLE:
        ip4(A, B).tcp(4711, 80, b"GET /") => becomes(ip6(A_SEEN, B).tcp(4711, 80, b"GET /"));

    simple_figure_9_first_half "RFC 7757 B.1" with SIMPLE:
        ip6("2001:db8::1234", A_SEEN).icmp(3, 0).about(ip6(A_SEEN, B).udp(1, 2, b"question"))
        => becomes(ip4("198.51.100.1", A).icmp(11, 0).about(ip4(A, B).udp(1, 2, b"question")));

    simple_figure_9_second_half "RFC 7757 4.2.1 rule 2" with SIMPLE:
        ip4("198.51.100.1", A).icmp(11, 0).about(ip4(A, B).udp(1, 2, b"question"))
        => becomes(ip6("64:ff9b::198.51.100.1", A).icmp(3, 0).about(ip6(A, B_SEEN).udp(1, 2, b"question")));

    simple_figure_10_first_half "RFC 7757 B.1" with SIMPLE:
        ip6(B, A_SEEN).icmp(1, 4).about(ip6(A_SEEN, B).udp(1, 2, b"question"))
        => becomes(ip4(B, A).icmp(3, 3).about(ip4(A, B).udp(1, 2, b"question")));

    simple_figure_10_second_half "RFC 7757 4.2.1 rules 2 and 3" with SIMPLE:
        ip4(B, A).icmp(3, 3).about(ip4(A, B).udp(1, 2, b"question"))
        => becomes(ip6(B_SEEN, A).icmp(1, 4).about(ip6(A, B_SEEN).udp(1, 2, b"question")));

    simple_an_error_of_another_service_keeps_its_eam "RFC 7757 4.2.1 rule 3" with SIMPLE:
        ip4(B, A).icmp(11, 0).about(ip4(A, "8.8.8.8").udp(1, 2, b"question"))
        => becomes(ip6(B, A).icmp(3, 0).about(ip6(A, "64:ff9b::8.8.8.8").udp(1, 2, b"question")));

    simple_figure_11_second_half "RFC 7757 B.1" with SIMPLE:
        ip4(B, A).tcp(80, 4711, b"200 OK") => becomes(ip6(B_SEEN, A).tcp(80, 4711, b"200 OK"));
}

// `off`
const OFF: &str = r#"
translation.prefixes = ["64:ff9b::/96"]
translation.well_known_prefix_strict = false
translation.hairpin = "off"
icmp.ipv4_pool = ["198.51.100.1"]
eam = [
    { ipv4 = "192.0.2.1",      ipv6 = "2001:db8:aaaa::" },
    { ipv4 = "192.0.2.2/32",   ipv6 = "2001:db8:bbbb::b/128" },
]
"#;

rows! {
    off_leaves_as_ipv4 "RFC 7757 4.1" with OFF:
        ip6(A, B_SEEN).tcp(4711, 80, b"GET /") => becomes(ip4(A, B).tcp(4711, 80, b"GET /"));

    off_uses_the_eam_for_the_source "RFC 7757 4.1" with OFF:
        ip4(A, B).tcp(4711, 80, b"GET /") => becomes(ip6(A.v6, B.v6).tcp(4711, 80, b"GET /"));

    off_uses_the_eams_within_errors "RFC 7757 4.1" with OFF:
        ip4(B, A).icmp(3, 3).about(ip4(A, B).udp(1, 2, b""))
        => becomes(ip6(B.v6, A.v6).icmp(1, 4).about(ip6(A.v6, B.v6).udp(1, 2, b"")));
}
