//! Settings that change what a translated packet looks like, and which errors are sent.

use std::time::{Duration, Instant};

use xlat_tests::{
    harness::{Relay, Verdict, row::*, settings},
    notation::*,
    rows,
};

const ZERO: &str = "translation.traffic_class = 'zero'\ntranslation.tos = 'zero'";
const FORCED: &str = "translation.traffic_class = 40\ntranslation.tos = 255";

rows! {
    traffic_class_zero "RFC 7915 4.1" with ZERO:
        ip4(CLIENT, SERVER).tos(0xb8).udp(4711, 53, b"?")
        => becomes(ip6(CLIENT, SERVER).traffic_class(0).udp(4711, 53, b"?"));
    traffic_class_forced "RFC 7915 4.1" with FORCED:
        ip4(CLIENT, SERVER).tos(0xb8).udp(4711, 53, b"?")
        => becomes(ip6(CLIENT, SERVER).traffic_class(40).udp(4711, 53, b"?"));
    tos_zero "RFC 7915 5.1" with ZERO:
        ip6(SERVER, CLIENT).traffic_class(0xb8).udp(53, 4711, b"?")
        => becomes(ip4(SERVER, CLIENT).tos(0).udp(53, 4711, b"?"));
    tos_forced "RFC 7915 5.1" with FORCED:
        ip6(SERVER, CLIENT).traffic_class(0xb8).udp(53, 4711, b"?")
        => becomes(ip4(SERVER, CLIENT).tos(255).udp(53, 4711, b"?"));

    errors_off_for_ipv4 "RFC 7915 4.4" with "icmp.errors = 'off'":
        ip4(CLIENT, SERVER).ttl(1).udp(4711, 53, b"?") => dropped("hop_limit_exceeded");
    errors_off_for_ipv6 "RFC 7915 5.4" with "icmp.errors = 'off'":
        ip6(SERVER, CLIENT).hop_limit(1).udp(53, 4711, b"?") => dropped("hop_limit_exceeded");
    errors_off_does_not_stop_translated_errors "RFC 7915 4.4" with "icmp.errors = 'off'":
        ip4(ROUTER, SERVER).icmp(3, 1).about(ip4(SERVER, CLIENT).udp(53, 4711, b"?"))
        => becomes(ip6(ROUTER, SERVER).icmp(1, 0).about(ip6(SERVER, CLIENT).udp(53, 4711, b"?")));
}

/// "The translator SHOULD allow an administrator to configure whether the ICMP error messages are sent, rate-limited, or
/// not sent": so many a second, and as many at once.
#[test]
fn errors_are_rate_limited() {
    let configuration = settings("icmp.errors = 'rate-limited'\nicmp.rate = 5");
    let frame = Frame::from(ip4(CLIENT, SERVER).ttl(1).udp(4711, 53, b"?"));
    let (mut sent, mut suppressed) = (0, 0);
    let start = Instant::now();
    Relay::with(&configuration, |relay| {
        for _ in 0..40 {
            let outcome = relay.run(&frame).expect("the program runs");
            sent += outcome.counters.errors_sent;
            suppressed += outcome.counters.errors_suppressed;
            assert_eq!(outcome.verdict == Verdict::Transmit, outcome.counters.errors_sent == 1);
            assert_eq!(outcome.reason.map(xlat_common::reason::DropReason::name), Some("hop_limit_exceeded"));
        }
    });
    assert_eq!(sent + suppressed, 40);
    // Tokens come in while they are spent.
    let most = 6 + (5.0 * start.elapsed().as_secs_f64()).ceil() as u64;
    assert!((5..=most).contains(&sent), "{sent} of 40 errors were sent at once at 5 a second, at most {most} expected");
}

/// After a while there are tokens again.
#[test]
fn the_rate_limit_lets_go_after_a_second() {
    let configuration = settings("icmp.errors = 'rate-limited'\nicmp.rate = 4");
    let frame = Frame::from(ip6(SERVER, CLIENT).hop_limit(1).udp(53, 4711, b"?"));
    let burst = || {
        let one =
            |_| Relay::with(&configuration, |relay| relay.run(&frame)).expect("the program runs").counters.errors_sent;
        let start = Instant::now();
        let sent: u64 = (0..16).map(one).sum();
        // Tokens come in while they are spent.
        let most = 5 + (4.0 * start.elapsed().as_secs_f64()).ceil() as u64;
        assert!((4..=most).contains(&sent), "{sent} errors sent, at most {most} expected");
    };
    burst();
    std::thread::sleep(Duration::from_millis(1200));
    burst();
}

fn flow_label(packet: Packet) -> u32 {
    let frame = Frame::from(packet);
    let outcome = Relay::with(&settings("translation.flow_label = 'hash'"), |relay| relay.run(&frame));
    let frame = outcome.expect("the program runs").frame;
    assert_eq!(frame[12..14], [0x86, 0xdd]);
    u32::from_be_bytes([0, frame[15] & 0x0f, frame[16], frame[17]])
}

/// RFC 6438 3: the same flow has the same label, different flows mostly different ones.
#[test]
fn flow_labels_tell_flows_apart() {
    let labels: Vec<u32> = (1..=64).map(|port| flow_label(ip4(CLIENT, SERVER).udp(port, 53, b"?"))).collect();
    let again: Vec<u32> = (1..=64).map(|port| flow_label(ip4(CLIENT, SERVER).id(port).udp(port, 53, b"!"))).collect();
    assert_eq!(labels, again);
    let different: std::collections::BTreeSet<_> = labels.iter().collect();
    assert!(different.len() >= 60, "64 flows have {} flow labels", different.len());
    assert!(!labels.contains(&0), "a flow label of 0 says that there is none (RFC 6437 2)");
}

/// RFC 6438 3: other addresses and protocols are other flows.
#[test]
fn flow_labels_cover_addresses_and_protocol() {
    let label = flow_label(ip4(CLIENT, SERVER).udp(4711, 53, b"?"));
    assert_ne!(label, flow_label(ip4(CLIENT, SERVER2).udp(4711, 53, b"?")));
    assert_ne!(label, flow_label(ip4(ROUTER, SERVER).udp(4711, 53, b"?")));
    assert_ne!(label, flow_label(ip4(CLIENT, SERVER).tcp(4711, 53, b"?")));
}

/// Fragments of one packet are one flow: later ones have no ports to look at.
#[test]
fn fragments_of_a_packet_have_one_flow_label() {
    let first = flow_label(ip4(CLIENT, SERVER).udp(4711, 53, &data(2000)).fragment(7, 0, 1000));
    let last = flow_label(ip4(CLIENT, SERVER).udp(4711, 53, &data(2000)).fragment(7, 1000, 2008));
    assert_eq!(first, last);
}
