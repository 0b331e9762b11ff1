//! Pointers of ICMP Parameter Problems (RFC 7915 figures 3 and 6): every row.

use xlat_tests::{harness::row::*, notation::*};

fn to_six(name: &str, code: u8, pointer: u8, expected: Option<u32>) {
    let error =
        ip4(ROUTER, SERVER).icmp(12, code).pointer(pointer.into()).about(ip4(SERVER, CLIENT).udp(53, 4711, b"answer"));
    let expected = match expected {
        Some(pointer) => {
            becomes(ip6(ROUTER, SERVER).icmp(4, 0).pointer(pointer).about(ip6(SERVER, CLIENT).udp(53, 4711, b"answer")))
        }
        None => dropped("icmp_pointer"),
    };
    check(&format!("{name}: pointer {pointer}"), "RFC 7915 figure 3", "", error, &expected);
}

fn to_four(name: &str, pointer: u32, expected: Option<u32>) {
    let error = ip6(SERVER, CLIENT).icmp(4, 0).pointer(pointer).about(ip6(CLIENT, SERVER).udp(4711, 53, b"question"));
    let expected = match expected {
        Some(pointer) => becomes(ip4(SERVER, CLIENT).icmp(12, 0).pointer(pointer).about(ip4(CLIENT, SERVER).udp(
            4711,
            53,
            b"question",
        ))),
        None => dropped("icmp_pointer"),
    };
    check(&format!("{name}: pointer {pointer}"), "RFC 7915 figure 6", "", error, &expected);
}

macro_rules! figure_3 {
    ($($name:ident: $pointers:expr => $expected:expr;)+) => {$(
        #[test]
        fn $name() {
            for pointer in $pointers {
                to_six(stringify!($name), 0, pointer, $expected);
            }
        }
    )+};
}

macro_rules! figure_6 {
    ($($name:ident: $pointers:expr => $expected:expr;)+) => {$(
        #[test]
        fn $name() {
            for pointer in $pointers {
                to_four(stringify!($name), pointer, $expected);
            }
        }
    )+};
}

figure_3! {
    figure_3_version_and_ihl: [0] => Some(0);
    figure_3_type_of_service: [1] => Some(1);
    figure_3_total_length: 2..=3 => Some(4);
    figure_3_identification: 4..=5 => None;
    figure_3_flags_and_fragment_offset: [6] => None;
    figure_3_fragment_offset: [7] => None;
    figure_3_time_to_live: [8] => Some(7);
    figure_3_protocol: [9] => Some(6);
    figure_3_header_checksum: 10..=11 => None;
    figure_3_source_address: 12..=15 => Some(8);
    figure_3_destination_address: 16..=19 => Some(24);
    figure_3_not_listed: 20..=255 => None;
}

/// Code 2, "bad length", goes by the same figure.
#[test]
fn figure_3_for_bad_length() {
    for (pointer, expected) in [(0, Some(0)), (3, Some(4)), (4, None), (9, Some(6)), (19, Some(24)), (20, None)] {
        to_six("figure_3_for_bad_length", 2, pointer, expected);
    }
}

figure_6! {
    figure_6_version_and_traffic_class: [0] => Some(0);
    figure_6_traffic_class_and_flow_label: [1] => Some(1);
    figure_6_flow_label: 2..=3 => None;
    figure_6_payload_length: 4..=5 => Some(2);
    figure_6_next_header: [6] => Some(9);
    figure_6_hop_limit: [7] => Some(8);
    figure_6_source_address: 8..=23 => Some(12);
    figure_6_destination_address: 24..=39 => Some(16);
    figure_6_not_listed: (40..=300).chain([0x100, 0x0100_0000, 0x0600_0000, u32::MAX]) => None;
}
