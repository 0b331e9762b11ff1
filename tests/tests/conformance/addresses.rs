//! Which address becomes which: explicit mappings (RFC 7757 3) and the translation prefix (RFC 6052 2).

use xlat_tests::{harness::row::*, notation::*, rows};

/// RFC 7757 figure 1, with the prefix of its appendix B. Documentation addresses are not global (RFC 6052 3.1), hence the
/// last setting.
const RFC7757_FIGURE_1: &str = r#"
translation.prefixes = ["64:ff9b::/96"]
translation.well_known_prefix_strict = false
eam = [
    { ipv4 = "192.0.2.1",      ipv6 = "2001:db8:aaaa::" },
    { ipv4 = "192.0.2.2/32",   ipv6 = "2001:db8:bbbb::b/128" },
    { ipv4 = "192.0.2.16/28",  ipv6 = "2001:db8:cccc::/124" },
    { ipv4 = "192.0.2.128/26", ipv6 = "2001:db8:dddd::/64" },
    { ipv4 = "192.0.2.192/29", ipv6 = "2001:db8:eeee:8::/62" },
    { ipv4 = "192.0.2.224/31", ipv6 = "64:ff9b::/127" },
]
"#;

/// A pair of addresses that stand for each other; `with`: the pair that the other end of the conversation has.
fn stand_for_each_other(name: &str, section: &str, changes: &str, pair: (&str, &str), with: (&str, &str)) {
    check(
        name,
        section,
        changes,
        ip4(with.0, pair.0).udp(4711, 53, b"?"),
        &becomes(ip6(with.1, pair.1).udp(4711, 53, b"?")),
    );
    check(
        name,
        section,
        changes,
        ip4(pair.0, with.0).udp(4711, 53, b"?"),
        &becomes(ip6(pair.1, with.1).udp(4711, 53, b"?")),
    );
    check(
        name,
        section,
        changes,
        ip6(pair.1, with.1).udp(4711, 53, b"?"),
        &becomes(ip4(pair.0, with.0).udp(4711, 53, b"?")),
    );
}

macro_rules! pairs {
    ($section:literal, with $settings:expr, talking to $with:expr; $($name:ident: $v4:literal, $v6:literal;)+) => {$(
        #[test]
        fn $name() {
            stand_for_each_other(stringify!($name), $section, $settings, ($v4, $v6), $with);
        }
    )+};
}

// RFC 7757 figure 7
pairs! {
    "RFC 7757 figure 7", with RFC7757_FIGURE_1, talking to ("8.8.8.8", "64:ff9b::8.8.8.8");
    eam_without_prefix_lengths:                      "192.0.2.1",   "2001:db8:aaaa::";
    eam_with_full_prefix_lengths:                    "192.0.2.2",   "2001:db8:bbbb::b";
    eam_first_address_of_equal_suffixes:             "192.0.2.16",  "2001:db8:cccc::";
    eam_middle_address_of_equal_suffixes:            "192.0.2.24",  "2001:db8:cccc::8";
    eam_last_address_of_equal_suffixes:              "192.0.2.31",  "2001:db8:cccc::f";
    eam_first_address_of_a_64:                       "192.0.2.128", "2001:db8:dddd::";
    eam_suffix_011000_of_a_64:                       "192.0.2.152", "2001:db8:dddd:0:6000::";
    eam_suffix_110111_of_a_64:                       "192.0.2.183", "2001:db8:dddd:0:dc00::";
    eam_last_address_of_a_64:                        "192.0.2.191", "2001:db8:dddd:0:fc00::";
    eam_suffix_across_the_64_bit_boundary:           "192.0.2.195", "2001:db8:eeee:9:8000::";
    eam_inside_the_translation_prefix:               "192.0.2.225", "64:ff9b::1";
}

// RFC 7757 figure 7, last row: an address of no EAM; the other end has one, so that the packet is in scope.
pairs! {
    "RFC 7757 figure 7", with RFC7757_FIGURE_1, talking to ("192.0.2.1", "2001:db8:aaaa::");
    address_without_eam_goes_by_the_translation_prefix: "192.0.2.248", "64:ff9b::c000:2f8";
}

macro_rules! prefixes {
    ($($name:ident: $prefix:literal, $v6:literal;)+) => {$(
        #[test]
        fn $name() {
            let changes = concat!("translation.prefixes = [\"", $prefix, "\"]\ntranslation.well_known_prefix_strict = false");
            stand_for_each_other(
                stringify!($name), "RFC 6052 2.4", changes, ("192.0.2.33", $v6), (SERVER.v4, SERVER.v6),
            );
        }
    )+};
}

// RFC 6052 tables 1 and 2
prefixes! {
    prefix_of_32_bits: "2001:db8::/32",         "2001:db8:c000:221::";
    prefix_of_40_bits: "2001:db8:100::/40",     "2001:db8:1c0:2:21::";
    prefix_of_48_bits: "2001:db8:122::/48",     "2001:db8:122:c000:2:2100::";
    prefix_of_56_bits: "2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::";
    prefix_of_64_bits: "2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::";
    prefix_of_96_bits: "2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33";
    well_known_prefix: "64:ff9b::/96",          "64:ff9b::192.0.2.33";
}

// RFC 7915 appendix A: both ends by the translation prefix
#[test]
fn rfc7915_appendix_a() {
    let changes = "translation.prefixes = [\"2001:db8:100::/40\"]\ntranslation.scope = \"all\"\neam = []";
    let (h4, h6) = (("198.51.100.2", "2001:db8:1c6:3364:2::"), ("192.0.2.33", "2001:db8:1c0:2:21::"));
    stand_for_each_other("rfc7915_appendix_a", "RFC 7915 A", changes, h6, h4);
}

macro_rules! suffixes {
    ($($name:ident: $prefix:literal, $v6:literal => $v4:literal;)+) => {$(
        #[test]
        fn $name() {
            let changes = concat!("translation.prefixes = [\"", $prefix, "\"]");
            check(
                stringify!($name), "RFC 6052 2.2", changes,
                ip6(SERVER, $v6).udp(53, 4711, b"."),
                &becomes(ip4(SERVER.v4, $v4).udp(53, 4711, b".")),
            );
        }
    )+};
}

// RFC 6052 2.2: bits after the embedded address are not looked at
suffixes! {
    ignores_the_suffix_of_a_32_bit_prefix: "2001:dba::/32",         "2001:dba:c000:221:0:1:2:3"     => "192.0.2.33";
    ignores_the_suffix_of_a_40_bit_prefix: "2001:dba:100::/40",     "2001:dba:1c0:2:21:ff:ff:ff"    => "192.0.2.33";
    ignores_the_suffix_of_a_48_bit_prefix: "2001:dba:122::/48",     "2001:dba:122:c000:2:2101:0:1"  => "192.0.2.33";
    ignores_the_suffix_of_a_56_bit_prefix: "2001:dba:122:300::/56", "2001:dba:122:3c0:0:221:0:1"    => "192.0.2.33";
    ignores_the_suffix_of_a_64_bit_prefix: "2001:dba:122:344::/64", "2001:dba:122:344:c0:2:21ff:ff" => "192.0.2.33";
}

const NESTED: &str = r#"
eam = [
    { ipv4 = "198.51.100.0/24",  ipv6 = "2001:db8:5e1:a::/120" },
    { ipv4 = "198.51.100.64/26", ipv6 = "2001:db8:5e1:b::/122" },
    { ipv4 = "198.51.100.70",    ipv6 = "2001:db8:5e1:a::7" },
    { ipv4 = "203.0.113.0/24",   ipv6 = "2001:db8:5e1::/48" },
]
"#;

// RFC 7757 3.3.1 and 3.3.2: the longest match, in each direction by itself
rows! {
    ipv4_matches_the_shortest_eam_when_no_longer_one_does "RFC 7757 3.3.1" with NESTED:
        ip4("8.8.8.8", "198.51.100.7").udp(1, 2, b"")
        => becomes(ip6("2001:db8:6464::8.8.8.8", "2001:db8:5e1:a::7").udp(1, 2, b""));

    ipv4_matches_the_longer_eam "RFC 7757 3.3.1" with NESTED:
        ip4("8.8.8.8", "198.51.100.69").udp(1, 2, b"")
        => becomes(ip6("2001:db8:6464::8.8.8.8", "2001:db8:5e1:b::5").udp(1, 2, b""));

    ipv4_matches_the_longest_eam "RFC 7757 3.3.1" with NESTED:
        ip4("8.8.8.8", "198.51.100.70").udp(1, 2, b"")
        => becomes(ip6("2001:db8:6464::8.8.8.8", "2001:db8:5e1:a::7").udp(1, 2, b""));

    ipv6_matches_the_longest_eam "RFC 7757 3.3.2" with NESTED:
        ip6("2001:db8:5e1:a::7", "2001:db8:6464::8.8.8.8").udp(1, 2, b"")
        => becomes(ip4("198.51.100.70", "8.8.8.8").udp(1, 2, b""));

    ipv6_matches_the_middle_eam "RFC 7757 3.3.2" with NESTED:
        ip6("2001:db8:5e1:a::8", "2001:db8:6464::8.8.8.8").udp(1, 2, b"")
        => becomes(ip4("198.51.100.8", "8.8.8.8").udp(1, 2, b""));

    ipv6_matches_the_shortest_eam "RFC 7757 3.3.2" with NESTED:
        ip6("2001:db8:5e1:77ff::9", "2001:db8:6464::8.8.8.8").udp(1, 2, b"")
        => becomes(ip4("203.0.113.119", "8.8.8.8").udp(1, 2, b""));

    bits_after_the_ipv4_suffix_are_discarded "RFC 7757 3.3.2" with RFC7757_FIGURE_1:
        ip6("2001:db8:dddd:0:63ff:ffff:ffff:ffff", "64:ff9b::8.8.8.8").udp(1, 2, b"")
        => becomes(ip4("192.0.2.152", "8.8.8.8").udp(1, 2, b""));

    both_addresses_by_eams "RFC 7757 3.2":
        ip4(SERVER2, SERVER).udp(1, 2, b"both")
        => becomes(ip6(SERVER2, SERVER).udp(1, 2, b"both"));

    both_addresses_by_eams_to_ipv4 "RFC 7757 3.2":
        ip6(SERVER2.v6, SERVER.v6).udp(1, 2, b"both")
        => becomes(ip4(SERVER2, SERVER).udp(1, 2, b"both"));

    source_alone_by_an_eam "RFC 7757 1":
        ip4(SERVER, CLIENT).udp(1, 2, b"edge relay")
        => becomes(ip6(SERVER, CLIENT).udp(1, 2, b"edge relay"));

    destination_alone_by_an_eam_to_ipv4 "RFC 7757 1":
        ip6(CLIENT, SERVER).udp(1, 2, b"edge relay")
        => becomes(ip4(CLIENT, SERVER).udp(1, 2, b"edge relay"));
}

// RFC 7757 figure 5: IVI; and figure 2: an exception from it
const IVI: &str = r#"
translation.prefixes = []
eam = [
    { ipv4 = "0.0.0.0/0",        ipv6 = "2001:db8:ff00::/40" },
    { ipv4 = "198.51.100.64/32", ipv6 = "2001:db8::abcd/128" },
]
"#;

pairs! {
    "RFC 7757 A.2", with IVI, talking to ("203.0.113.7", "2001:db8:ffcb:71:700::");
    eam_for_the_whole_internet: "198.51.100.65", "2001:db8:ffc6:3364:4100::";
    eam_inside_the_one_for_the_whole_internet: "198.51.100.64", "2001:db8::abcd";
}

rows! {
    overlapping_ipv4_prefixes_are_not_symmetric "RFC 7757 5" with IVI:
        ip6("2001:db8:ffc6:3364:4000::", "2001:db8:ffcb:71:700::").udp(1, 2, b"")
        => becomes(ip4("198.51.100.64", "203.0.113.7").udp(1, 2, b""));
}

// RFC 7757 figure 4: the customer side of 464XLAT
const CLAT: &str = r#"
translation.prefixes = ["2001:db8:6464::/96"]
eam = [{ ipv4 = "192.0.0.1", ipv6 = "2001:db8:c1a7::c1" }]
"#;

pairs! {
    "RFC 7757 A.1", with CLAT, talking to ("8.8.8.8", "2001:db8:6464::8.8.8.8");
    clat_with_one_claimed_address: "192.0.0.1", "2001:db8:c1a7::c1";
}

// More than one translation prefix
const TWO_PREFIXES: &str = r#"
translation.prefixes = ["2001:db8:6464::/96", "2001:db8:6500::/40", "2001:db8:6600:1::/64"]
prefix_for = [
    { prefix = "2001:db8:6500::/40", ipv4 = ["198.51.100.11/32"] },
    { prefix = "2001:db8:6600:1::/64", interfaces = ["v4-9000"] },
]
"#;

rows! {
    the_first_prefix_is_the_default "docs/translation.md 3" with TWO_PREFIXES:
        ip4(CLIENT, SERVER).udp(1, 2, b"")
        => becomes(ip6("2001:db8:6464::203.0.113.7", SERVER).udp(1, 2, b""));

    an_eam_chooses_the_prefix "docs/translation.md 3" with TWO_PREFIXES:
        ip4(CLIENT, SERVER2).udp(1, 2, b"")
        => becomes(ip6("2001:db8:65cb:71:7::", SERVER2).udp(1, 2, b""));

    an_interface_chooses_the_prefix "docs/translation.md 3" with TWO_PREFIXES:
        ip4(CLIENT, SERVER).udp(1, 2, b"").arrives_by("v4-9000")
        => becomes(ip6("2001:db8:6600:1:cb:71:700:0", SERVER).udp(1, 2, b""));

    the_eam_wins_over_the_interface "docs/translation.md 3" with TWO_PREFIXES:
        ip4(CLIENT, SERVER2).udp(1, 2, b"").arrives_by("v4-9000")
        => becomes(ip6("2001:db8:65cb:71:7::", SERVER2).udp(1, 2, b""));

    any_prefix_matches_towards_ipv4 "docs/translation.md 3" with TWO_PREFIXES:
        ip6(SERVER, "2001:db8:65cb:71:7::").udp(1, 2, b"")
        => becomes(ip4(SERVER, CLIENT).udp(1, 2, b""));

    the_last_prefix_matches_towards_ipv4 "docs/translation.md 3" with TWO_PREFIXES:
        ip6(SERVER, "2001:db8:6600:1:cb:71:700:0").udp(1, 2, b"")
        => becomes(ip4(SERVER, CLIENT).udp(1, 2, b""));
}
