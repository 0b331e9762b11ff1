//! What the daemon's log says of the packets that RFC 7915 wants logged.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use xlat_tests::{
    lab::{CLIENT_SEEN, Daemon, Lab, SERVER_SEEN, send_packet},
    notation::{Packet, data, ip4, ip6},
};

const CLIENT: &str = "203.0.113.7";
const SERVER: &str = "2001:db8:5e1:1::10";
/// Destination options that do nothing, as an upper-layer header: UDP follows.
const OPTIONS: [u8; 8] = [17, 0, 1, 4, 0, 0, 0, 0];

/// Waits until the log has this many lines with a text, and gives those that it has by then.
fn lines_with(daemon: &Daemon, text: &str, least: usize) -> Vec<String> {
    let begin = Instant::now();
    loop {
        let log = daemon.log();
        let lines: Vec<String> = log.lines().filter(|line| line.contains(text)).map(str::to_owned).collect();
        if lines.len() >= least || begin.elapsed() > Duration::from_secs(3) {
            return lines;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// One packet, one line of the log with all these words, and one drop counted for the reason.
#[track_caller]
fn expect_event(lab: &Lab, daemon: &Daemon, from: &xlat_tests::lab::Namespace, packet: &Packet, words: &[&str]) {
    let [reason, words @ ..] = words else { panic!("a reason first") };
    send_packet(from, &packet.bytes()).expect("the packet leaves");
    let lines = lines_with(daemon, "dropped", 1);
    let [line] = &lines[..] else { panic!("one event expected, the log says:\n{}", daemon.log()) };
    for word in words {
        assert!(line.contains(word), "`{word}` is missing: {line}");
    }
    let stats: Value = serde_json::from_str(&daemon.ctl(&lab.relay, "stats --json").ok()).expect("JSON");
    let drops = stats["drops"].as_array().expect("drops");
    let counted = drops.iter().find(|drop| drop["reason"] == *reason).map(|drop| drop["packets"].clone());
    assert_eq!(counted, Some(1.into()), "{reason}: {stats}");
}

/// RFC 7915 4.5: a system management event with the addresses and ports.
#[test]
fn udp_without_checksum_makes_an_event() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let packet = ip4(CLIENT, SERVER_SEEN).udp(4711, 53, b"question").no_checksum();
    let words =
        ["udp_checksum_zero", CLIENT, "port 4711", SERVER_SEEN, "port 53", "(`xlat-ctl reason udp_checksum_zero`)"];
    expect_event(&lab, &daemon, &lab.client, &packet, &words);
}

/// RFC 7915 4.5: the first fragment, too, has the ports; its event is logged whatever the setting.
#[test]
fn a_fragment_without_checksum_makes_an_event() {
    let changes = [("[translation]", "[translation]\nudp_zero_checksum = \"compute\"")];
    let (lab, daemon) = Lab::with_daemon_changed(&changes).expect("a lab with a daemon");
    let packet = ip4(CLIENT, SERVER_SEEN).udp(4711, 53, &data(200)).no_checksum().fragment(7, 0, 104);
    let words = ["udp_checksum_zero_fragment", CLIENT, "port 4711", SERVER_SEEN, "port 53"];
    expect_event(&lab, &daemon, &lab.client, &packet, &words);
}

/// RFC 7915 5.1.1: dropped and logged.
#[test]
fn a_fragment_with_an_extension_header_makes_an_event() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let content = [&OPTIONS[..], &data(40)].concat();
    let packet = ip6(SERVER, CLIENT_SEEN).fragment_header(0, true, 7).payload(60, &content);
    let words = ["fragment_extension", SERVER, "2001:db8:6464::cb00:7107", "(`xlat-ctl reason fragment_extension`)"];
    expect_event(&lab, &daemon, &lab.server, &packet, &words);
}

/// So of a router's error, whose source maps to nothing.
#[test]
fn an_error_with_an_extension_header_after_its_fragment_header_makes_an_event() {
    const ROUTER: &str = "2001:db8:fe::2";
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let packet = ip6(ROUTER, CLIENT_SEEN)
        .fragment_header(0, false, 7)
        .destination_options(&OPTIONS[2..])
        .icmp(3, 0)
        .about(ip6(CLIENT_SEEN, SERVER).udp(4711, 53, b"question"));
    let words = ["fragment_extension", ROUTER, "2001:db8:6464::cb00:7107"];
    expect_event(&lab, &daemon, &lab.router6, &packet, &words);
}

/// A flood of such packets does not flood the log, and what is kept out of it is counted.
#[test]
fn events_are_rate_limited() {
    const PACKETS: u64 = 400;
    // A second's worth at once, and as many each second.
    const RATE: u64 = 10;
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let packet = ip4(CLIENT, SERVER_SEEN).udp(4711, 53, b"question").no_checksum().bytes();
    let begin = Instant::now();
    for _ in 0..PACKETS {
        send_packet(&lab.client, &packet).expect("the packet leaves");
    }
    let seconds = begin.elapsed().as_secs() + 1;
    let suppressed = || {
        let stats: Value = serde_json::from_str(&daemon.ctl(&lab.relay, "stats --json").ok()).expect("JSON");
        stats["events_suppressed"].as_u64().expect("a number")
    };
    let logged = || daemon.log().lines().filter(|line| line.contains("dropped a UDP packet")).count() as u64;
    while logged() + suppressed() < PACKETS && begin.elapsed() < Duration::from_secs(10) {
        thread::sleep(Duration::from_millis(50));
    }
    let (logged, suppressed) = (logged(), suppressed());
    assert_eq!(logged + suppressed, PACKETS, "{logged} events logged, {suppressed} counted as kept out of the log");
    assert!((RATE..=RATE * (1 + seconds)).contains(&logged), "{logged} events logged in {seconds} s");
    // Time makes room for new ones.
    thread::sleep(Duration::from_millis(500));
    send_packet(&lab.client, &packet).expect("the packet leaves");
    let lines = lines_with(&daemon, "dropped a UDP packet", logged as usize + 1);
    assert_eq!(lines.len() as u64, logged + 1, "no event is logged half a second later");
}
