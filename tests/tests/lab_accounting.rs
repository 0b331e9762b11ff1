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
        let measuring = scope.spawn(|| relay.json("eam list --rates --seconds 2"));
        thread::sleep(Duration::from_millis(700));
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

#[test]
fn says_how_to_count_where_nothing_is_counted() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    for verb in ["eam idle --for 30d", "eam list --rates"] {
        let said = daemon.ctl(&lab.relay, verb);
        assert_eq!(said.code, Some(1));
        assert!(said.stderr.contains("set accounting.services = true and reload"), "{}", said.stderr);
    }
    let said = daemon.ctl(&lab.relay, "eam idle --for soon");
    assert_eq!(said.code, Some(2), "{}", said.stderr);
}
