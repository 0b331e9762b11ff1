//! What is counted (docs/metrics.md): every packet once, by direction, protocol and verdict.

use xlat_common::counters::{Direction, Protocol, Traffic, Verdict as Counted};
use xlat_tests::{
    harness::{Outcome, Relay, row::*, settings},
    notation::*,
};

fn run(packet: impl Into<Frame>) -> Outcome {
    let frame = packet.into();
    Relay::with(&settings(""), |relay| relay.run(&frame)).expect("the program runs")
}

/// The one cell that counted something.
#[track_caller]
fn counted_once(outcome: &Outcome, direction: Direction, protocol: Protocol, verdict: Counted, bytes: u64) {
    for other_direction in Direction::ALL {
        for other_protocol in Protocol::ALL {
            for other in Counted::ALL {
                let here = (other_direction, other_protocol, other) == (direction, protocol, verdict);
                let expected = if here { Traffic { packets: 1, bytes } } else { Traffic::default() };
                let got = outcome.counters.traffic(other_direction, other_protocol, other);
                assert_eq!(got, expected, "{other_direction:?} {other_protocol:?} {other:?}");
            }
        }
    }
}

#[test]
fn counts_a_redirected_packet_with_the_bytes_it_came_with() {
    let outcome = run(ip4(CLIENT, SERVER).udp(4711, 53, b"question"));
    counted_once(&outcome, Direction::FourToSix, Protocol::Udp, Counted::Redirected, 36);
}

#[test]
fn counts_without_link_layer_and_padding() {
    let outcome = run(ip4(CLIENT, SERVER).tcp(4711, 80, b"").vlan(7).padded_with(&[0; 6]));
    counted_once(&outcome, Direction::FourToSix, Protocol::Tcp, Counted::Redirected, 40);
}

#[test]
fn counts_a_transmitted_packet() {
    let outcome = run(ip6(SERVER, CLIENT).echo_reply(7, 1, b"ping").arrives_by("v4"));
    counted_once(&outcome, Direction::SixToFour, Protocol::Icmp, Counted::Transmitted, 52);
}

#[test]
fn counts_a_packet_for_the_kernel() {
    let outcome = run(ip6(SERVER, CLIENT_UNRESOLVED).payload(132, &data(20)));
    counted_once(&outcome, Direction::SixToFour, Protocol::Other, Counted::ToKernel, 60);
}

#[test]
fn counts_a_packet_for_the_fragmenter() {
    let outcome = run(ip4(CLIENT, SERVER).udp(4711, 53, &data(1300)));
    counted_once(&outcome, Direction::FourToSix, Protocol::Udp, Counted::Fragmented, 1328);
}

#[test]
fn counts_a_dropped_packet_and_its_reason() {
    let outcome = run(ip4(CLIENT, SERVER).icmp(13, 0).then(&[0; 12]));
    counted_once(&outcome, Direction::FourToSix, Protocol::Icmp, Counted::Dropped, 40);
    assert_eq!(outcome.reason.map(xlat_common::reason::DropReason::name), Some("icmp_type"));
}

#[test]
fn counts_a_refused_packet_and_its_answer() {
    let outcome = run(ip6(SERVER, CLIENT).hop_limit(1).udp(53, 4711, b"?"));
    counted_once(&outcome, Direction::SixToFour, Protocol::Udp, Counted::Dropped, 49);
    assert_eq!(outcome.counters.errors_sent, 1);
}

#[test]
fn counts_a_passed_packet() {
    let outcome = run(ip4(CLIENT, ROUTER).tcp(1, 2, b""));
    counted_once(&outcome, Direction::FourToSix, Protocol::Tcp, Counted::Passed, 40);
}

#[test]
fn counts_a_frame_of_another_kind() {
    let outcome = run(Frame::new(0x88cc, &data(46)));
    assert_eq!(outcome.counters.passed_other, 1);
}

#[test]
fn counts_the_questions_to_the_routing_table() {
    let asked = |packet: Packet| run(packet).counters.route_lookups;
    let udp = |client: &'static str| ip6(SERVER, client).udp(1, 2, b"?");
    assert_eq!(asked(udp("2001:db8:6464::203.0.113.199")), 1, "a neighbour that is not known cannot be remembered");
    assert_eq!((0..4).map(|_| asked(udp(CLIENT.v6))).min(), Some(0), "remembered, unless its time is over");
    assert_eq!(asked(ip6(SERVER, "2001:db8:ffff::1").udp(1, 2, b"?")), 0, "in no scope");
    assert_eq!(asked(ip6(SERVER, CLIENT).payload(58, &[135, 0, 0, 0, 0, 0, 0, 0])), 0, "dropped in silence");
}

#[test]
fn counts_a_hairpinned_packet() {
    let outcome = run(ip6(SERVER, "2001:db8:6464::198.51.100.11").udp(1, 2, b"?"));
    assert_eq!(outcome.counters.hairpinned, 1);
}
