//! Ethernet frames: tags, padding, link-layer addresses (docs/translation.md 1).

use xlat_tests::{
    harness::{row::*, world::PORT},
    notation::*,
    rows,
};

fn question4() -> Packet {
    ip4(CLIENT, SERVER).udp(4711, 53, b"question")
}

fn question6() -> Packet {
    ip6(CLIENT, SERVER).udp(4711, 53, b"question")
}

fn answer6() -> Packet {
    ip6(SERVER, CLIENT).udp(53, 4711, b"answer")
}

fn answer4() -> Packet {
    ip4(SERVER, CLIENT).udp(53, 4711, b"answer")
}

rows! {
    one_vlan_tag "docs/translation.md 1": question4().vlan(7) => becomes(question6());
    one_service_vlan_tag "docs/translation.md 1": question4().service_vlan(9) => becomes(question6());
    two_vlan_tags "docs/translation.md 1": question4().service_vlan(9).vlan(10) => becomes(question6());
    two_customer_vlan_tags "docs/translation.md 1": question4().vlan(9).vlan(10) => becomes(question6());
    one_vlan_tag_to_ipv4 "docs/translation.md 1": answer6().vlan(8) => becomes(answer4());
    two_vlan_tags_to_ipv4 "docs/translation.md 1": answer6().service_vlan(9).vlan(10) => becomes(answer4());
    a_vlan_tag_with_priority "docs/translation.md 1": question4().vlan(0xe007) => becomes(question6());
    a_priority_tag "docs/translation.md 1": question4().vlan(0) => becomes(question6());
    a_known_vlan_within_an_unknown_one_is_not_entered "docs/translation.md 1":
        answer6().hop_limit(1).vlan(5).vlan(8)
        => answered("hop_limit_exceeded", ip6(RELAY6, SERVER).icmp(3, 0).about(answer6().hop_limit(1)));
    a_vlan_within_a_priority_tag_is_entered "docs/translation.md 1":
        answer6().hop_limit(1).vlan(0).vlan(8)
        => answered("hop_limit_exceeded", ip6("2001:db8:fe:8::1", SERVER).icmp(3, 0).about(answer6().hop_limit(1)));
    three_vlan_tags_pass "docs/translation.md 1": question4().vlan(1).vlan(2).vlan(3) => passed();

    to_a_vlan "docs/translation.md 11":
        ip4(CLIENT, SERVER_VLAN).udp(1, 2, b"vlan") => becomes(ip6(CLIENT, SERVER_VLAN).udp(1, 2, b"vlan"));
    to_a_service_vlan "docs/translation.md 11":
        ip4(CLIENT, SERVER_SERVICE_VLAN).udp(1, 2, b"vlan") => becomes(ip6(CLIENT, SERVER_SERVICE_VLAN).udp(1, 2, b"vlan"));
    to_a_vlan_within_a_vlan "docs/translation.md 11":
        ip4(CLIENT, SERVER_TWO_VLANS).udp(1, 2, b"vlan") => becomes(ip6(CLIENT, SERVER_TWO_VLANS).udp(1, 2, b"vlan"));
    to_a_vlan_in_ipv4 "docs/translation.md 11":
        ip6(SERVER, CLIENT_VLAN).udp(1, 2, b"vlan") => becomes(ip4(SERVER, CLIENT_VLAN).udp(1, 2, b"vlan"));
    from_a_vlan_to_a_vlan "docs/translation.md 11":
        ip4(CLIENT_VLAN, SERVER_VLAN).udp(1, 2, b"vlan").vlan(7) => becomes(ip6(CLIENT_VLAN, SERVER_VLAN).udp(1, 2, b"vlan"));

    from_a_port_of_a_bond "docs/translation.md 1": question4().arrives_by(PORT) => becomes(question6());
    a_vlan_from_a_port_of_a_bond "docs/translation.md 1": question4().vlan(7).arrives_by(PORT) => becomes(question6());
    back_to_a_port_of_a_bond "docs/translation.md 11":
        ip4(CLIENT, SERVER).ttl(1).udp(1, 2, b"x").arrives_by(PORT)
        => answered("hop_limit_exceeded", ip4("198.18.4.254", CLIENT).tos(0xc0).icmp(11, 0)
            .about(ip4(CLIENT, SERVER).ttl(1).udp(1, 2, b"x")));
    back_to_a_vlan_on_a_bond "docs/translation.md 11":
        ip4(CLIENT_VLAN, SERVER).ttl(1).udp(1, 2, b"x").vlan(7).arrives_by(PORT)
        => answered("hop_limit_exceeded", ip4("198.18.7.254", CLIENT_VLAN).tos(0xc0).icmp(11, 0)
            .about(ip4(CLIENT_VLAN, SERVER).ttl(1).udp(1, 2, b"x")));

    padding_is_removed "docs/translation.md 1.3": question4().padded_with(&[0; 10]) => becomes(question6());
    padding_that_is_not_zero_is_removed "docs/translation.md 1.3":
        question4().padded_with(&[0xaa; 64]) => becomes(question6());
    padding_is_removed_towards_ipv4 "docs/translation.md 1.3": answer6().padded_with(&[0xaa; 7]) => becomes(answer4());
    padding_after_an_error_is_removed "docs/translation.md 1.3":
        ip4(ROUTER, SERVER).icmp(3, 1).about(ip4(SERVER, CLIENT).udp(53, 4711, b"")).padded_with(&[0xaa; 7])
        => becomes(ip6(ROUTER, SERVER).icmp(1, 0).about(ip6(SERVER, CLIENT).udp(53, 4711, b"")));
    padding_after_an_icmpv6_error_is_removed "docs/translation.md 1.3":
        ip6(SERVER, CLIENT).icmp(1, 4).about(ip6(CLIENT, SERVER).udp(4711, 53, b"")).padded_with(&[0xaa; 7])
        => becomes(ip4(SERVER, CLIENT).icmp(3, 3).about(ip4(CLIENT, SERVER).udp(4711, 53, b"")));
    a_padded_tiny_packet "docs/translation.md 1.3":
        ip4(CLIENT, SERVER).udp(4711, 53, b"").padded_with(&[0; 18])
        => becomes(ip6(CLIENT, SERVER).udp(4711, 53, b""));
    padding_stays_on_what_passes "docs/translation.md 1":
        ip4(CLIENT, ROUTER).udp(1, 2, b"").padded_with(&[0xaa; 18]) => passed();
    padding_of_what_goes_to_the_fragmenter_is_removed "docs/translation.md 1.3":
        ip4(CLIENT, SERVER).udp(4711, 53, &data(1300)) => fragmented();

    a_broadcast_frame_passes "RFC 1812 5.3.4": question4().to_mac([0xff; 6]) => passed();
    a_multicast_frame_passes "RFC 1812 5.3.4": question4().to_mac([1, 0, 0x5e, 0, 0, 1]) => passed();
    an_ipv6_multicast_frame_passes "RFC 1812 5.3.4": answer6().to_mac([0x33, 0x33, 0, 0, 0, 1]) => passed();
    a_frame_to_another_machine_passes "docs/translation.md 1.2": question4().to_mac([2, 0, 0, 0, 4, 0x77]) => passed();
    a_frame_to_another_machine_passes_in_ipv6 "docs/translation.md 1.2": answer6().to_mac([2, 0, 0, 0, 6, 0x77]) => passed();

    arp_passes "docs/translation.md 1.1":
        Frame::new(0x0806, &[0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 4, 1, 198, 18, 4, 1, 0, 0, 0, 0, 0, 0, 198, 18, 4, 254])
        => passed();
    an_unknown_ether_type_passes "docs/translation.md 1.1": Frame::new(0x88b5, &data(46)) => passed();
    lldp_passes "docs/translation.md 1.1":
        Frame::new(0x88cc, &data(46)).to_mac([1, 0x80, 0xc2, 0, 0, 0x0e]) => passed();
    a_length_instead_of_an_ether_type_passes "docs/translation.md 1.1": Frame::new(38, &data(46)) => passed();
    ipv4_said_to_be_ipv6 "docs/translation.md 2":
        Frame::from(question4()).ether_type(0x86dd).arrives_by("v4") => passed();
}

/// A frame that ends early is never translated and never aborts the program: with readable addresses it is dropped as
/// malformed, without them it passes.
#[test]
fn frames_truncated_at_every_byte() {
    for (name, packet, addresses_end) in
        [("ipv4", Frame::from(question4()), 14 + 20), ("ipv6", Frame::from(answer6()), 14 + 40)]
    {
        let whole = 14 + if name == "ipv4" { question4().bytes().len() } else { answer6().bytes().len() };
        for len in 14..whole {
            let expected = if len < addresses_end { passed() } else { dropped("malformed_header") };
            let name = format!("{name}, {len} bytes");
            check(&name, "docs/translation.md 2", "", packet.clone().truncated(len), &expected);
        }
    }
}

/// The same with two tags.
#[test]
fn tagged_frames_truncated_at_every_byte() {
    let frame = question4().service_vlan(9).vlan(10);
    for len in 14..22 + question4().bytes().len() {
        let expected = if len < 22 + 20 { passed() } else { dropped("malformed_header") };
        check(&format!("{len} bytes"), "docs/translation.md 2", "", frame.clone().truncated(len), &expected);
    }
}

/// All sizes of frame from the smallest to the largest, across the pages in which a jumbo frame lies.
#[test]
fn frames_of_every_size_to_ipv6() {
    let jumbo = "translation.lowest_ipv6_mtu = 9000";
    for len in (0..1500).step_by(7).chain((1500..8940).step_by(211)).chain([3300, 3456, 4000, 4096, 8939, 8940]) {
        let packet = ip4(CLIENT_9000, SERVER_9000).tcp(4711, 80, &data(len)).arrives_by("v4-9000");
        let expected = becomes(ip6(CLIENT_9000, SERVER_9000).tcp(4711, 80, &data(len)));
        check(&format!("{len} bytes"), "docs/translation.md 1", jumbo, packet, &expected);
    }
}

/// The same towards IPv4.
#[test]
fn frames_of_every_size_to_ipv4() {
    for len in (0..1500).step_by(7).chain((1500..8940).step_by(211)).chain([3300, 3456, 4000, 4096, 8939, 8940]) {
        let packet = ip6(SERVER_9000, CLIENT_9000).tcp(80, 4711, &data(len)).arrives_by("v6-9000");
        let translated = ip4(SERVER_9000, CLIENT_9000).tcp(80, 4711, &data(len));
        let expected = becomes(if len + 40 > 1260 { translated.df() } else { translated });
        check(&format!("{len} bytes"), "docs/translation.md 1", "", packet, &expected);
    }
}
