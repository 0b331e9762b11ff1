//! What is counted of each EAM, by the real daemon with real packets: exact in both directions, over changes of the table, reloads
//! and restarts.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::Value;
use xlat_tests::{
    lab::{CLIENT_SEEN, Daemon, Lab, SERVER_SEEN, send_packet},
    notation::{Packet, ip4, ip6},
};

const CLIENT: &str = "203.0.113.7";
const SERVER: &str = "2001:db8:5e1:1::10";

struct Relay {
    // In this order they go.
    daemon: Daemon,
    lab: Lab,
}

impl Relay {
    fn new() -> Self {
        let changes = [("[dataplane]", "[accounting]\nservices = true\n[dataplane]\non_restart = \"keep\"")];
        let (lab, daemon) = Lab::with_daemon_changed(&changes).expect("a lab with a daemon");
        Self { daemon, lab }
    }

    fn ok(&self, arguments: &str) -> String {
        self.daemon.ctl(&self.lab.relay, arguments).ok()
    }

    fn json(&self, arguments: &str) -> Value {
        let text = self.ok(&format!("{arguments} --json"));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("no JSON ({error}):\n{text}"))
    }

    /// Packets that nobody answers: echo replies that nobody has asked for, 45 bytes of IPv4 and 65 of IPv6.
    fn send(&self, to_service: usize, from_service: usize) {
        let forth: Packet = ip4(CLIENT, SERVER_SEEN).echo_reply(7, 1, b"sixteen bytes, 16");
        let back: Packet = ip6(SERVER, CLIENT_SEEN).echo_reply(7, 1, b"sixteen bytes, 16");
        (0..to_service).for_each(|_| send_packet(&self.lab.client, &forth.bytes()).expect("it leaves"));
        (0..from_service).for_each(|_| send_packet(&self.lab.server, &back.bytes()).expect("it leaves"));
    }

    /// What has been counted for an entry: packets and bytes, IPv4 to IPv6 and back.
    fn usage(&self, ipv4: &str) -> [u64; 4] {
        // An entry is told of once it has not been used for a second.
        let begin = Instant::now();
        loop {
            let idle = self.json("eam idle --for 1s");
            let entries = idle["entries"].as_array().expect("entries");
            if let Some(found) = entries.iter().find(|there| there["entry"]["ipv4"] == *ipv4) {
                let number = |direction: &str, what: &str| found["usage"][direction][what].as_u64().expect("a number");
                return [
                    number("four_to_six", "packets"),
                    number("four_to_six", "bytes"),
                    number("six_to_four", "packets"),
                    number("six_to_four", "bytes"),
                ];
            }
            assert!(begin.elapsed() < Duration::from_secs(10), "{ipv4} is never idle: {idle}");
            thread::sleep(Duration::from_millis(200));
        }
    }

    #[track_caller]
    fn expect(&self, to_service: u64, from_service: u64) {
        let counted = self.usage("198.51.100.10/32");
        assert_eq!(counted, [to_service, 45 * to_service, from_service, 65 * from_service]);
    }
}

#[test]
fn counts_are_exact_over_changes_reloads_and_restarts() {
    let mut relay = Relay::new();
    relay.send(7, 5);
    relay.expect(7, 5);

    // Single changes happen in the table that is in force, a whole file makes a new program instance.
    relay.ok("eam add 198.51.100.99 2001:db8:5e1:9::99");
    relay.send(1, 0);
    let file = relay.daemon.directory().join("eam.csv");
    fs::write(&file, "198.51.100.97,2001:db8:5e1:9::97\n198.51.100.98,2001:db8:5e1:9::98\n").unwrap();
    relay.ok(&format!("eam apply {} --yes", file.display()));
    relay.send(0, 2);
    relay.expect(8, 7);

    relay.ok("reload");
    relay.send(1, 1);
    relay.expect(9, 8);

    // The program counts without a daemon, and the next daemon takes that over.
    relay.send(1, 1);
    relay.daemon.stop_by(Signal::SIGUSR1).expect("it ends");
    relay.send(4, 3);
    relay.daemon.start_again(&relay.lab.relay, &[]).expect("it starts again");
    relay.send(1, 0);
    relay.expect(15, 12);

    // What a program that is gone has counted is in the store.
    relay.daemon.stop().expect("it ends");
    relay.daemon.start_again(&relay.lab.relay, &[]).expect("it starts again");
    relay.send(0, 1);
    relay.expect(15, 13);
}

#[test]
fn an_entry_that_comes_again_is_counted_from_zero() {
    let relay = Relay::new();
    // Were nobody there, the router would send errors about it, which are counted too.
    relay.lab.server.ip("addr add 2001:db8:5e1:1::99/64 dev eth0 nodad").expect("an address");
    relay.ok("eam add 198.51.100.99 2001:db8:5e1:1::99");
    let packet = ip4(CLIENT, "198.51.100.99").echo_reply(7, 1, b"");
    (0..3).for_each(|_| send_packet(&relay.lab.client, &packet.bytes()).expect("it leaves"));
    assert_eq!(relay.usage("198.51.100.99/32"), [3, 84, 0, 0]);
    relay.ok("eam del 198.51.100.99");
    relay.ok("eam add 198.51.100.99 2001:db8:5e1:1::99");
    assert_eq!(relay.usage("198.51.100.99/32"), [0, 0, 0, 0]);
}

#[test]
fn rates_are_those_of_the_time_measured() {
    let relay = Relay::new();
    relay.send(3, 3);
    let rates = thread::scope(|scope| {
        let measuring = scope.spawn(|| relay.json("eam list --rates --seconds 6"));
        thread::sleep(Duration::from_secs(2));
        relay.send(20, 10);
        measuring.join().expect("it is measured")
    });
    let seconds = rates["seconds"].as_f64().expect("a number");
    let entry = &rates["entries"][0];
    assert_eq!(entry["entry"]["ipv4"], "198.51.100.10/32", "{rates}");
    assert_eq!(rates["entries"].as_array().map(Vec::len), Some(1));
    let of =
        |direction: &str, what: &str| (entry["rates"][direction][what].as_f64().expect("a rate") * seconds).round();
    assert_eq!((of("four_to_six", "packets_per_second"), of("six_to_four", "packets_per_second")), (20.0, 10.0));
    assert_eq!(of("four_to_six", "bits_per_second"), 20.0 * 45.0 * 8.0);
    assert_eq!(entry["usage"]["four_to_six"]["packets"], 23);
    let text = relay.ok("eam list --rates");
    assert!(text.contains("no entry has been used"), "{text}");
}

#[test]
fn what_is_not_counted_for_long_enough_is_not_called_idle() {
    let relay = Relay::new();
    let text = relay.ok("eam idle --for 30d");
    assert!(text.contains("0 entries have not been used for 30 d") && text.contains("are not called idle"), "{text}");
}

/// Native IPv6 packets of 65 bytes.
fn send_natively(lab: &Lab, to_service: usize, from_service: usize) {
    const NATIVE: &str = "2001:db8:99::7";
    let forth: Packet = ip6(NATIVE, SERVER).echo_reply(7, 1, b"sixteen bytes, 16");
    let back: Packet = ip6(SERVER, NATIVE).echo_reply(7, 1, b"sixteen bytes, 16");
    (0..to_service).for_each(|_| send_packet(&lab.router4, &forth.bytes()).expect("it leaves"));
    (0..from_service).for_each(|_| send_packet(&lab.server, &back.bytes()).expect("it leaves"));
}

#[test]
fn the_share_of_ipv6_is_exact_and_survives_reload_and_restart() {
    let on = "[accounting]\nservices = true\nnative = true\n[dataplane]\non_restart = \"keep\"";
    let (lab, daemon) = Lab::with_daemon_changed(&[("[dataplane]", on)]).expect("a lab with a daemon");
    lab.relay.ip("addr add 2001:db8:fd::1/64 dev inet4 nodad").expect("an address");
    lab.router4.ip("addr add 2001:db8:fd::2/64 dev relay nodad").expect("an address");
    lab.router4.ip("route add 2001:db8:5e1::/48 via 2001:db8:fd::1").expect("a route");
    let mut relay = Relay { daemon, lab };
    let expect = |relay: &Relay, numbers: [u64; 4]| {
        let begin = Instant::now();
        loop {
            let share = relay.json("share");
            let of = |traffic: &Value, kind: &str, direction: &str, bytes: u64| {
                let traffic = &traffic[kind][direction];
                let packets = traffic["packets"].as_u64().expect("a number");
                assert_eq!(traffic["bytes"].as_u64(), Some(bytes * packets), "{share}");
                packets
            };
            let found = |traffic: &Value| {
                [
                    of(traffic, "translated", "to_service", 45),
                    of(traffic, "translated", "from_service", 65),
                    of(traffic, "native", "to_service", 65),
                    of(traffic, "native", "from_service", 65),
                ]
            };
            if found(&share["total"]) == numbers {
                // Midnight may have come between.
                let days = share["days"].as_array().expect("days");
                assert!(matches!(days.len(), 1 | 2), "{share}");
                assert_eq!(found(&share["services"][0]), numbers);
                assert_eq!(share["services"][0]["ipv4"], "198.51.100.10/32");
                return;
            }
            assert!(begin.elapsed() < Duration::from_secs(10), "{numbers:?} are expected: {share}");
            thread::sleep(Duration::from_millis(200));
        }
    };
    relay.send(3, 1);
    send_natively(&relay.lab, 5, 2);
    expect(&relay, [3, 1, 5, 2]);

    relay.ok("reload");
    send_natively(&relay.lab, 1, 0);
    relay.daemon.stop_by(Signal::SIGUSR1).expect("it ends");
    // The program counts without a daemon.
    send_natively(&relay.lab, 1, 1);
    relay.send(1, 0);
    relay.daemon.start_again(&relay.lab.relay, &[]).expect("it starts again");
    expect(&relay, [4, 1, 7, 3]);
    relay.daemon.stop().expect("it ends");
    relay.daemon.start_again(&relay.lab.relay, &[]).expect("it starts again");
    expect(&relay, [4, 1, 7, 3]);

    let picture = relay.daemon.directory().join("share.svg");
    let text = relay.ok(&format!("share --plot {}", picture.display()));
    assert!(text.contains("63.6 %") && text.contains("198.51.100.10 ↔ 2001:db8:5e1:1::10"), "{text}");
    assert!(fs::read_to_string(picture).unwrap().starts_with("<svg"));
    let shown = |query: &str| {
        let url = format!("http://127.0.0.1:9464/share.svg{query}");
        relay.lab.relay.run(&format!("curl --silent --max-time 5 --globoff --write-out %{{http_code}} {url}")).stdout
    };
    for query in ["", "?service=2001:db8:5e1:1::10"] {
        let picture = shown(query);
        assert!(picture.starts_with("<svg") && picture.ends_with("200"), "{query}: {picture}");
    }
    assert!(shown("?service=198.51.100.11").ends_with("404"), "of a service that there is not");
    let one = relay.json("share --service 2001:db8:5e1:1::10");
    assert_eq!(one["total"]["native"]["to_service"]["packets"], 7);
    assert_eq!(one["services"], serde_json::json!([]));
    let said = relay.daemon.ctl(&relay.lab.relay, "share --service 198.51.100.11");
    assert!(said.code == Some(1) && said.stderr.contains("no entry has the prefix 198.51.100.11"), "{}", said.stderr);
}

#[test]
fn says_how_to_count_where_nothing_is_counted() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    for verb in ["eam idle --for 30d", "eam list --rates"] {
        let said = daemon.ctl(&lab.relay, verb);
        assert_eq!(said.code, Some(1));
        assert!(said.stderr.contains("set accounting.services = true and reload"), "{}", said.stderr);
    }
    let said = daemon.ctl(&lab.relay, "share");
    assert!(said.stderr.contains("set accounting.native = true and reload"), "{}", said.stderr);
    let said = daemon.ctl(&lab.relay, "eam idle --for soon");
    assert_eq!(said.code, Some(2), "{}", said.stderr);
}
