//! Headers that cannot be read (docs/translation.md 2; RFC 1812 5.2.2).

use xlat_tests::{harness::row::*, notation::*, rows};

fn question() -> Packet {
    ip4(CLIENT, SERVER).udp(4711, 53, b"question")
}

fn answer() -> Packet {
    ip6(SERVER, CLIENT).udp(53, 4711, b"answer")
}

rows! {
    a_header_length_of_4_words "RFC 1812 5.2.2": question().first_byte(0x44) => dropped("malformed_header");
    a_header_length_of_0 "RFC 1812 5.2.2": question().first_byte(0x40) => dropped("malformed_header");
    a_header_length_beyond_the_total_length "RFC 1812 5.2.2": question().first_byte(0x4f) => dropped("malformed_header");
    another_version_in_ipv4 "RFC 1812 5.2.2": question().first_byte(0x55) => dropped("malformed_header");
    version_6_in_an_ipv4_frame "RFC 1812 5.2.2": question().first_byte(0x65) => dropped("malformed_header");
    a_total_length_of_0 "RFC 1812 5.2.2": question().total_len(0) => dropped("malformed_header");
    a_total_length_under_20 "RFC 1812 5.2.2": question().total_len(19) => dropped("malformed_header");
    a_total_length_under_the_header_length "RFC 1812 5.2.2":
        ip4(CLIENT, SERVER).options(&[1; 8]).total_len(24).udp(4711, 53, b"") => dropped("malformed_header");
    a_total_length_beyond_the_frame "RFC 1812 5.2.2": question().total_len(37) => dropped("malformed_header");
    the_longest_total_length "RFC 1812 5.2.2": question().total_len(65535) => dropped("malformed_header");
    a_wrong_header_checksum "RFC 1812 5.2.2": question().bad_header_checksum() => dropped("ipv4_checksum");
    a_wrong_header_checksum_with_options "RFC 1812 5.2.2":
        question().options(&[1; 40]).bad_header_checksum() => dropped("ipv4_checksum");
    a_wrong_header_checksum_is_not_answered "RFC 1812 4.3.2.7":
        question().ttl(1).bad_header_checksum() => dropped("ipv4_checksum");
    a_payload_length_beyond_the_frame "docs/translation.md 2": answer().payload_len(15) => dropped("malformed_header");
    the_longest_payload_length "docs/translation.md 2": answer().payload_len(65535) => dropped("malformed_header");
    another_version_in_ipv6 "docs/translation.md 2": answer().first_byte(0x45) => dropped("malformed_header");
    version_7_in_ipv6 "docs/translation.md 2": answer().first_byte(0x70) => dropped("malformed_header");
    a_payload_length_of_0_with_udp "docs/translation.md 2": answer().payload_len(0) => dropped("malformed_transport");
}

/// A whole packet that ends within its transport header.
#[test]
fn transport_headers_that_do_not_fit() {
    for (name, protocol4, protocol6, header_len) in
        [("tcp", 6, 6, 20), ("udp", 17, 17, 8), ("udp-lite", 136, 136, 8), ("dccp", 33, 33, 12), ("icmp", 1, 58, 8)]
    {
        for len in 0..header_len {
            let four = ip4(CLIENT, SERVER).payload(protocol4, &data(len));
            check(
                &format!("{len} bytes of {name}"),
                "docs/translation.md 2",
                "",
                four,
                &dropped("malformed_transport"),
            );
            let six = ip6(SERVER, CLIENT).payload(protocol6, &data(len));
            check(
                &format!("{len} bytes of {name} in IPv6"),
                "docs/translation.md 2",
                "",
                six,
                &dropped("malformed_transport"),
            );
        }
    }
}

/// An atomic fragment is whole, too.
#[test]
fn transport_headers_that_do_not_fit_an_atomic_fragment() {
    for (protocol, len) in [(6, 19), (17, 7), (136, 7), (33, 11), (58, 7)] {
        let packet = ip6(SERVER, CLIENT).fragment_header(0, false, 7).payload(protocol, &data(len));
        check(
            &format!("{len} bytes of {protocol}"),
            "docs/translation.md 2",
            "",
            packet,
            &dropped("malformed_transport"),
        );
    }
}
