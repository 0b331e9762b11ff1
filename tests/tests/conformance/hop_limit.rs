//! TTL and Hop Limit used up (RFC 7915 4.1 and 5.1).

use xlat_ctl::netlink::Machine;
use xlat_tests::{
    harness::{Relay, Verdict, row::*, settings},
    notation::*,
    rows,
};

/// Time Exceeded from the relay to the client.
fn exceeded4(packet: Packet) -> Packet {
    ip4(RELAY4, CLIENT).tos(0xc0).icmp(11, 0).about(packet)
}

/// Time Exceeded from the relay to the server.
fn exceeded6(packet: Packet) -> Packet {
    ip6(RELAY6, SERVER).icmp(3, 0).about(packet)
}

rows! {
    ttl_1_is_answered "RFC 7915 4.1":
        ip4(CLIENT, SERVER).ttl(1).udp(4711, 33434, b"traceroute")
        => answered("hop_limit_exceeded", exceeded4(ip4(CLIENT, SERVER).ttl(1).udp(4711, 33434, b"traceroute")));

    ttl_0_is_answered "RFC 1812 5.3.1":
        ip4(CLIENT, SERVER).ttl(0).udp(4711, 33434, b"traceroute")
        => answered("hop_limit_exceeded", exceeded4(ip4(CLIENT, SERVER).ttl(0).udp(4711, 33434, b"traceroute")));

    ttl_2_is_translated "RFC 7915 4.1":
        ip4(CLIENT, SERVER).ttl(2).udp(4711, 33434, b"traceroute")
        => becomes(ip6(CLIENT, SERVER).hop_limit(1).udp(4711, 33434, b"traceroute"));

    ttl_1_of_an_echo_is_answered "RFC 7915 4.1":
        ip4(CLIENT, SERVER).ttl(1).echo_request(7, 1, b"ping")
        => answered("hop_limit_exceeded", exceeded4(ip4(CLIENT, SERVER).ttl(1).echo_request(7, 1, b"ping")));

    ttl_1_of_tcp_is_answered "RFC 7915 4.1":
        ip4(CLIENT, SERVER).ttl(1).tcp(4711, 80, b"")
        => answered("hop_limit_exceeded", exceeded4(ip4(CLIENT, SERVER).ttl(1).tcp(4711, 80, b"")));

    an_answer_has_the_address_of_the_interface_that_it_leaves_by "RFC 1812 4.3.2.4":
        ip4(CLIENT_9000, SERVER).ttl(1).udp(4711, 33434, b"traceroute")
        => answered("hop_limit_exceeded", ip4("198.18.11.254", CLIENT_9000).tos(0xc0).icmp(11, 0)
            .about(ip4(CLIENT_9000, SERVER).ttl(1).udp(4711, 33434, b"traceroute")));

    an_answer_that_goes_back_has_that_of_the_interface_it_came_by "RFC 1812 4.3.2.4":
        ip4(CLIENT_UNRESOLVED, SERVER).ttl(1).udp(4711, 33434, b"traceroute")
        => answered("hop_limit_exceeded", ip4(RELAY4, CLIENT_UNRESOLVED).tos(0xc0).icmp(11, 0)
            .about(ip4(CLIENT_UNRESOLVED, SERVER).ttl(1).udp(4711, 33434, b"traceroute")));

    ttl_1_with_options_quotes_them "RFC 1812 4.3.2.3":
        ip4(CLIENT, SERVER).ttl(1).options(&[1, 1, 1, 0]).udp(4711, 33434, b"traceroute")
        => answered("hop_limit_exceeded", exceeded4(ip4(CLIENT, SERVER).ttl(1).options(&[1, 1, 1, 0]).udp(4711, 33434, b"traceroute")));

    ttl_1_of_a_first_fragment_is_answered "RFC 1812 4.3.2.7":
        ip4(CLIENT, SERVER).ttl(1).udp(4711, 53, &data(2000)).fragment(7, 0, 400)
        => answered("hop_limit_exceeded", exceeded4(ip4(CLIENT, SERVER).ttl(1).udp(4711, 53, &data(2000)).fragment(7, 0, 400)));

    ttl_1_of_a_later_fragment_is_dropped "RFC 1812 4.3.2.7":
        ip4(CLIENT, SERVER).ttl(1).udp(4711, 53, &data(2000)).fragment(7, 400, 800)
        => dropped("hop_limit_exceeded");

    ttl_1_of_an_error_is_dropped "RFC 1812 4.3.2.7":
        ip4(ROUTER, SERVER).ttl(1).icmp(3, 1).about(ip4(SERVER, CLIENT).udp(53, 4711, b""))
        => dropped("hop_limit_exceeded");

    ethernet_padding_is_not_quoted "RFC 1812 4.3.2.3":
        ip4(CLIENT, SERVER).ttl(1).udp(4711, 33434, b"x").padded_with(&[0; 17])
        => answered("hop_limit_exceeded", exceeded4(ip4(CLIENT, SERVER).ttl(1).udp(4711, 33434, b"x")));

    a_long_packet_is_quoted_up_to_576_bytes "RFC 1812 4.3.2.3":
        ip4(CLIENT, SERVER).ttl(1).df().udp(4711, 33434, &data(1000))
        => answered("hop_limit_exceeded", exceeded4(ip4(CLIENT, SERVER).ttl(1).df().udp(4711, 33434, &data(1000)).cut(528)));

    the_answer_leaves_with_the_tags_of_its_way "docs/translation.md 11":
        ip4(CLIENT_VLAN, SERVER).ttl(1).udp(4711, 33434, b"x").vlan(7)
        => answered("hop_limit_exceeded", ip4("198.18.7.254", CLIENT_VLAN).tos(0xc0).icmp(11, 0)
            .about(ip4(CLIENT_VLAN, SERVER).ttl(1).udp(4711, 33434, b"x")));
}

rows! {
    hop_limit_1_is_answered "RFC 7915 5.1":
        ip6(SERVER, CLIENT).hop_limit(1).udp(53, 33434, b"traceroute")
        => answered("hop_limit_exceeded", exceeded6(ip6(SERVER, CLIENT).hop_limit(1).udp(53, 33434, b"traceroute")));

    hop_limit_0_is_answered "RFC 8200 3":
        ip6(SERVER, CLIENT).hop_limit(0).udp(53, 33434, b"traceroute")
        => answered("hop_limit_exceeded", exceeded6(ip6(SERVER, CLIENT).hop_limit(0).udp(53, 33434, b"traceroute")));

    hop_limit_2_is_translated "RFC 7915 5.1":
        ip6(SERVER, CLIENT).hop_limit(2).udp(53, 33434, b"traceroute")
        => becomes(ip4(SERVER, CLIENT).ttl(1).udp(53, 33434, b"traceroute"));

    hop_limit_1_of_an_echo_is_answered "RFC 4443 2.4":
        ip6(SERVER, CLIENT).hop_limit(1).echo_request(7, 1, b"ping")
        => answered("hop_limit_exceeded", exceeded6(ip6(SERVER, CLIENT).hop_limit(1).echo_request(7, 1, b"ping")));

    hop_limit_1_of_an_error_is_dropped "RFC 4443 2.4":
        ip6(SERVER, CLIENT).hop_limit(1).icmp(1, 4).about(ip6(CLIENT, SERVER).udp(4711, 53, b""))
        => dropped("hop_limit_exceeded");

    hop_limit_1_of_an_error_from_a_router_is_dropped "RFC 4443 2.4":
        ip6(ROUTER6, CLIENT).hop_limit(1).icmp(3, 0).about(ip6(CLIENT, SERVER).udp(4711, 53, b""))
        => dropped("hop_limit_exceeded");

    hop_limit_1_of_a_fragment_is_answered "RFC 4443 2.4":
        ip6(SERVER, CLIENT).hop_limit(1).udp(53, 4711, &data(2000)).fragment(7, 400, 800)
        => answered("hop_limit_exceeded", exceeded6(ip6(SERVER, CLIENT).hop_limit(1).udp(53, 4711, &data(2000)).fragment(7, 400, 800)));

    a_long_ipv6_packet_is_quoted_up_to_1280_bytes "RFC 4443 2.4":
        ip6(SERVER, CLIENT).hop_limit(1).udp(53, 33434, &data(1400))
        => answered("hop_limit_exceeded", exceeded6(ip6(SERVER, CLIENT).hop_limit(1).udp(53, 33434, &data(1400)).cut(1192)));

    a_hop_limit_of_1_out_of_scope_is_the_kernels "docs/translation.md 3":
        ip6(ROUTER6, CLIENT).hop_limit(1).udp(53, 33434, b"x")
        => passed();
}

/// Before Linux 6.3 no veth says that it takes frames of XDP.
#[test]
fn an_answer_leaves_by_a_veth_of_which_nothing_is_known() {
    let relay = &mut Relay::load(&settings("")).expect("a relay");
    let unknown = |machine: &mut Machine| {
        for interface in &mut machine.interfaces {
            (interface.kind, interface.xdp_features) = (Some("veth".to_owned()), None);
        }
    };
    relay.tell(unknown).expect("the program is told");
    let expired: [Frame; 2] = [
        ip4(CLIENT, SERVER).ttl(1).udp(4711, 53, b"?").into(),
        ip6(SERVER, CLIENT).hop_limit(1).udp(53, 4711, b"!").into(),
    ];
    for frame in expired {
        let outcome = relay.run(&frame).expect("the program runs");
        assert_eq!(outcome.verdict, Verdict::Redirect);
        assert_eq!(outcome.counters.errors_sent, 1);
    }
}
