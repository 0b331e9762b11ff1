//! IPv4 options (RFC 7915 4.1).

use xlat_tests::{harness::row::*, notation::*, rows};

/// Source Route Failed from the relay to the client.
fn failed(packet: Packet) -> Packet {
    ip4(RELAY4, CLIENT).tos(0xc0).icmp(3, 5).about(packet)
}

/// A question with options.
fn question(options: &[u8]) -> Packet {
    ip4(CLIENT, SERVER).options(options).udp(4711, 53, b"question")
}

/// A loose source route of one hop, at its first and only address.
const LOOSE: [u8; 8] = [131, 7, 4, 192, 0, 2, 1, 0];
/// The same, strict.
const STRICT: [u8; 8] = [137, 7, 4, 192, 0, 2, 1, 0];

rows! {
    no_operation "RFC 7915 4.1": question(&[1, 1, 1, 1]) => becomes(plain());
    end_of_list "RFC 7915 4.1": question(&[0, 0, 0, 0]) => becomes(plain());
    record_route "RFC 7915 4.1": question(&[7, 7, 4, 0, 0, 0, 0, 0]) => becomes(plain());
    timestamp "RFC 7915 4.1": question(&[68, 8, 5, 0, 0, 0, 0, 0]) => becomes(plain());
    router_alert "RFC 7915 4.1": question(&[148, 4, 0, 0]) => becomes(plain());
    security "RFC 7915 4.1": question(&[130, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]) => becomes(plain());
    an_unknown_option "RFC 7915 4.1": question(&[222, 4, 1, 2]) => becomes(plain());
    an_unknown_option_without_content "RFC 7915 4.1": question(&[222, 2, 0, 0]) => becomes(plain());
    forty_bytes_of_options "RFC 7915 4.1": question(&[1; 40]) => becomes(plain());
    an_option_that_fills_the_header "RFC 7915 4.1": question(&full_option()) => becomes(plain());
    rubbish_after_the_end_of_the_list "RFC 791 3.1": question(&[0, 131, 255, 255]) => becomes(plain());

    an_expired_loose_source_route "RFC 7915 4.1": question(&[131, 7, 8, 192, 0, 2, 1, 0]) => becomes(plain());
    an_expired_strict_source_route "RFC 7915 4.1": question(&[137, 7, 8, 192, 0, 2, 1, 0]) => becomes(plain());

    an_unexpired_loose_source_route "RFC 7915 4.1":
        question(&LOOSE) => answered("source_route", failed(question(&LOOSE)));
    an_unexpired_strict_source_route "RFC 7915 4.1":
        question(&STRICT) => answered("source_route", failed(question(&STRICT)));
    a_source_route_at_its_last_address "RFC 7915 4.1":
        question(&[131, 11, 8, 192, 0, 2, 1, 192, 0, 2, 2, 0])
        => answered("source_route", failed(question(&[131, 11, 8, 192, 0, 2, 1, 192, 0, 2, 2, 0])));
    a_source_route_behind_other_options "RFC 7915 4.1":
        question(&[1, 148, 4, 0, 0, 131, 7, 4, 192, 0, 2, 1])
        => answered("source_route", failed(question(&[1, 148, 4, 0, 0, 131, 7, 4, 192, 0, 2, 1])));
    a_source_route_at_the_end_of_a_full_header "RFC 7915 4.1":
        question(&late_source_route())
        => answered("source_route", failed(question(&late_source_route())));
    an_expired_source_route_before_an_unexpired_one "RFC 7915 4.1":
        question(&[131, 7, 8, 192, 0, 2, 1, 137, 7, 4, 192, 0, 2, 1, 0, 0])
        => answered("source_route", failed(question(&[131, 7, 8, 192, 0, 2, 1, 137, 7, 4, 192, 0, 2, 1, 0, 0])));
    a_source_routed_error_is_dropped_in_silence "RFC 1812 4.3.2.7":
        ip4(ROUTER, SERVER).options(&LOOSE).icmp(3, 1).about(ip4(SERVER, CLIENT).udp(53, 4711, b""))
        => dropped("source_route");

    an_option_of_length_0 "RFC 7915 4.1": question(&[7, 0, 4, 0]) => becomes(plain());
    an_option_of_length_1 "RFC 7915 4.1": question(&[7, 1, 4, 0]) => becomes(plain());
    an_option_beyond_the_header "RFC 7915 4.1": question(&[7, 5, 4, 0]) => becomes(plain());
    an_option_far_beyond_the_header "RFC 7915 4.1": question(&[222, 255, 0, 0]) => becomes(plain());
    an_option_without_its_length "RFC 7915 4.1": question(&[1, 1, 1, 7]) => becomes(plain());
    a_later_option_that_lies "RFC 7915 4.1": question(&[148, 4, 0, 0, 7, 9, 4, 0]) => becomes(plain());
    a_source_route_behind_an_option_that_lies "RFC 7915 4.1":
        question(&[7, 1, 131, 7, 4, 192, 0, 2, 1, 0, 0, 0]) => becomes(plain());
    an_option_that_lies_behind_a_source_route "RFC 7915 4.1":
        question(&[131, 7, 4, 192, 0, 2, 1, 7, 0, 0, 0, 0])
        => answered("source_route", failed(question(&[131, 7, 4, 192, 0, 2, 1, 7, 0, 0, 0, 0])));

    a_source_route_of_length_0 "RFC 791 3.1": question(&[131, 0, 4, 0]) => dropped("malformed_options");
    a_source_route_of_length_1 "RFC 791 3.1": question(&[137, 1, 4, 0]) => dropped("malformed_options");
    a_source_route_beyond_the_header "RFC 791 3.1": question(&[131, 9, 4, 0]) => dropped("malformed_options");
    a_source_route_without_its_length "RFC 791 3.1": question(&[1, 1, 1, 137]) => dropped("malformed_options");
}

/// The question without options, in IPv6.
fn plain() -> Packet {
    ip6(CLIENT, SERVER).udp(4711, 53, b"question")
}

fn full_option() -> [u8; 40] {
    let mut options = [0xaa; 40];
    options[0] = 222;
    options[1] = 40;
    options
}

fn late_source_route() -> [u8; 40] {
    let mut options = [1; 40];
    options[33..].copy_from_slice(&[137, 7, 4, 192, 0, 2, 1]);
    options
}
