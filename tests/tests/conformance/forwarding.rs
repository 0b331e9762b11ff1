//! The way out (docs/translation.md 11).

use xlat_tests::{harness::row::*, notation::*, rows};

rows! {
    no_neighbour_yet "docs/translation.md 11":
        ip4(CLIENT, SERVER_UNRESOLVED).udp(1, 2, b"?") => to_kernel(ip6(CLIENT, SERVER_UNRESOLVED).udp(1, 2, b"?"));
    no_neighbour_yet_in_ipv4 "docs/translation.md 11":
        ip6(SERVER, CLIENT_UNRESOLVED).udp(1, 2, b"?") => to_kernel(ip4(SERVER, CLIENT_UNRESOLVED).udp(1, 2, b"?"));
    no_route "docs/translation.md 11":
        ip4(CLIENT, SERVER_UNREACHABLE).udp(1, 2, b"?") => to_kernel(ip6(CLIENT, SERVER_UNREACHABLE).udp(1, 2, b"?"));
    no_route_in_ipv4 "docs/translation.md 11":
        ip6(SERVER, CLIENT_UNREACHABLE).udp(1, 2, b"?") => to_kernel(ip4(SERVER, CLIENT_UNREACHABLE).udp(1, 2, b"?"));
    tags_stay_on_what_the_kernel_gets "docs/translation.md 11":
        ip4(CLIENT, SERVER_UNRESOLVED).udp(1, 2, b"?").vlan(7)
        => to_kernel(ip6(CLIENT, SERVER_UNRESOLVED).udp(1, 2, b"?"));
    an_error_for_the_kernel_to_forward "docs/translation.md 11":
        ip4(ROUTER, SERVER_UNRESOLVED).icmp(3, 1).about(ip4(SERVER_UNRESOLVED, CLIENT).udp(1, 2, b"?"))
        => to_kernel(ip6(ROUTER, SERVER_UNRESOLVED).icmp(1, 0).about(ip6(SERVER_UNRESOLVED, CLIENT).udp(1, 2, b"?")));
    a_packet_with_ttl_2_for_the_kernel_to_forward "docs/translation.md 11":
        ip4(CLIENT, SERVER_UNRESOLVED).ttl(2).udp(1, 2, b"?")
        => to_kernel(ip6(CLIENT, SERVER_UNRESOLVED).hop_limit(2).udp(1, 2, b"?"));

    back_out_of_the_same_interface "docs/translation.md 11":
        ip4(CLIENT, SERVER).udp(1, 2, b"one-armed").arrives_by("v6") => becomes(ip6(CLIENT, SERVER).udp(1, 2, b"one-armed"));
    back_out_of_the_same_interface_in_ipv4 "docs/translation.md 11":
        ip6(SERVER, CLIENT).udp(1, 2, b"one-armed").arrives_by("v4") => becomes(ip4(SERVER, CLIENT).udp(1, 2, b"one-armed"));
    an_interface_without_ipv6_translates "RFC 7915 5":
        // The kernel takes IPv6 away from an interface whose MTU is under 1280.
        ip4(CLIENT_1000, SERVER).udp(1, 2, b"route").arrives_by("v4-1000") => becomes(ip6(CLIENT_1000, SERVER).udp(1, 2, b"route"));
    to_another_interface "docs/translation.md 11":
        ip4(CLIENT, SERVER_9000).udp(1, 2, b"route") => becomes(ip6(CLIENT, SERVER_9000).udp(1, 2, b"route"));
}
