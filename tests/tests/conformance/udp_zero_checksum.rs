//! IPv4 UDP without a checksum (RFC 7915 4.5).

use xlat_tests::{harness::row::*, notation::*, rows};

const COMPUTE: &str = "translation.udp_zero_checksum = 'compute'";

rows! {
    udp_without_checksum_is_dropped_by_default "RFC 7915 4.5":
        ip4(CLIENT, SERVER).udp(4711, 53, b"none").no_checksum()
        => dropped("udp_checksum_zero");

    a_first_fragment_without_checksum_is_dropped "RFC 7915 4.5":
        ip4(CLIENT, SERVER).udp(4711, 53, &data(2000)).no_checksum().fragment(7, 0, 1000)
        => dropped("udp_checksum_zero_fragment");

    a_first_fragment_without_checksum_is_dropped_with_compute_too "RFC 7915 4.5" with COMPUTE:
        ip4(CLIENT, SERVER).udp(4711, 53, &data(2000)).no_checksum().fragment(7, 0, 1000)
        => dropped("udp_checksum_zero_fragment");

    a_later_fragment_has_no_checksum_to_look_at "RFC 7915 4.5":
        ip4(CLIENT, SERVER).udp(4711, 53, &data(2000)).no_checksum().fragment(7, 1000, 2008)
        => becomes(ip6(CLIENT, SERVER).udp(4711, 53, &data(2000)).fragment(7, 1000, 2008));

    a_first_fragment_that_ends_before_the_checksum "docs/translation.md 2":
        ip4(CLIENT, SERVER).payload(17, &[0x12, 0x67, 0, 53]).fragment(7, 0, 0)
        => becomes(ip6(CLIENT, SERVER).payload(17, &[0x12, 0x67, 0, 53]).fragment(7, 0, 0));

    udp_lite_with_checksum_0_is_no_such_case "docs/translation.md 6.5":
        ip4(CLIENT, SERVER).payload(136, &[0, 1, 0, 2, 0, 8, 0, 0, 9])
        => becomes(ip6(CLIENT, SERVER).payload(136, &udp_lite_from_0()));

    computes_the_checksum "RFC 7915 4.5" with COMPUTE:
        ip4(CLIENT, SERVER).udp(4711, 53, b"none").no_checksum()
        => becomes(ip6(CLIENT, SERVER).udp(4711, 53, b"none"));

    computes_the_checksum_with_options_before_it "RFC 7915 4.5" with COMPUTE:
        ip4(CLIENT, SERVER).options(&[1; 12]).udp(4711, 53, b"none").no_checksum()
        => becomes(ip6(CLIENT, SERVER).udp(4711, 53, b"none"));

    computes_the_checksum_without_the_padding "RFC 7915 4.5" with COMPUTE:
        ip4(CLIENT, SERVER).udp(4711, 53, b"x").no_checksum().padded_with(&[0xff; 17])
        => becomes(ip6(CLIENT, SERVER).udp(4711, 53, b"x"));

    a_computed_checksum_of_0_is_sent_as_ffff "RFC 768" with COMPUTE:
        ip4(CLIENT, SERVER).udp(4711, 53, &sums_to_zero()).no_checksum()
        => becomes(ip6(CLIENT, SERVER).udp(4711, 53, &sums_to_zero()));

    an_adjusted_checksum_of_0_is_sent_as_ffff "RFC 768":
        ip4(CLIENT, SERVER).udp(4711, 53, &sums_to_zero())
        => becomes(ip6(CLIENT, SERVER).udp(4711, 53, &sums_to_zero()));

    a_checksum_of_ffff_is_a_checksum "RFC 768":
        ip4(CLIENT, SERVER).udp(4711, 53, b"wrong").checksum(0xffff)
        => becomes(ip6(CLIENT, SERVER).udp(4711, 53, b"wrong").checksum(from_ffff()));

    ipv6_udp_without_checksum_stays_without "docs/translation.md 7.4":
        ip6(SERVER, CLIENT).udp(53, 4711, b"none").no_checksum()
        => becomes(ip4(SERVER, CLIENT).udp(53, 4711, b"none").no_checksum());
}

/// What the sum of all 16-bit words of the addresses gains on the way from IPv4 to IPv6.
fn difference() -> u16 {
    let six = [CLIENT.v6.v6().octets(), SERVER.v6.v6().octets()].concat();
    let four: Vec<u8> = [CLIENT.v4.v4().octets(), SERVER.v4.v4().octets()].concat();
    ones_complement_sum(
        &[ones_complement_sum(&six).to_be_bytes(), (!ones_complement_sum(&four)).to_be_bytes()].concat(),
    )
}

/// The checksum field 0xffff after the addresses have changed: as wrong as before.
fn from_ffff() -> u16 {
    let sum = ones_complement_sum(&[0_u16.to_be_bytes(), difference().to_be_bytes()].concat());
    !sum
}

/// A UDP-Lite datagram whose checksum field was 0 in IPv4.
fn udp_lite_from_0() -> Vec<u8> {
    let sum = ones_complement_sum(&[0xffff_u16.to_be_bytes(), difference().to_be_bytes()].concat());
    let [high, low] = (!sum).to_be_bytes();
    vec![0, 1, 0, 2, 0, 8, high, low, 9]
}

/// A payload with which the IPv6 checksum of the datagram comes out as 0.
fn sums_to_zero() -> Vec<u8> {
    let mut payload = b"??zero..".to_vec();
    payload[0..2].copy_from_slice(&[0, 0]);
    let datagram = ip6(CLIENT, SERVER).udp(4711, 53, &payload).bytes();
    // Adding the checksum itself to the sum makes the sum 0xffff, and the checksum 0.
    payload[0..2].copy_from_slice(&datagram[46..48]);
    payload
}

/// "Correct for every size up to the MTU."
#[test]
fn computes_the_checksum_of_every_size() {
    for len in 0..=1452 {
        let packet = ip4(CLIENT, SERVER).df().udp(4711, 53, &data(len)).no_checksum();
        let expected = becomes(ip6(CLIENT, SERVER).udp(4711, 53, &data(len)));
        check(&format!("{len} bytes"), "RFC 7915 4.5", COMPUTE, packet, &expected);
    }
}

/// "Jumbo included": across the pages that a large frame lies in.
#[test]
fn computes_the_checksum_of_jumbo_packets() {
    let jumbo = "translation.udp_zero_checksum = 'compute'\ntranslation.lowest_ipv6_mtu = 9000";
    for len in (1453..8952).step_by(499).chain([3400, 3401, 4095, 4096, 4097, 8190, 8951, 8952]) {
        let packet = ip4(CLIENT_9000, SERVER_9000).df().udp(4711, 53, &data(len)).no_checksum().arrives_by("v4-9000");
        let expected = becomes(ip6(CLIENT_9000, SERVER_9000).udp(4711, 53, &data(len)));
        check(&format!("{len} bytes"), "RFC 7915 4.5", jumbo, packet, &expected);
    }
}
