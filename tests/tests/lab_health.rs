//! `/healthz` and `/readyz`: what a load balancer or a routing daemon asks.

use std::{
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use aya::maps::{Array, Map, MapData};
use serde_json::Value;
use xlat_common::table::{Bucket, Entry};
use xlat_tests::lab::{Daemon, Lab};

/// The status code and the body.
fn ask(lab: &Lab, page: &str) -> (String, String) {
    let said =
        lab.relay.run(&format!("curl --silent --show-error --write-out %{{http_code}} http://127.0.0.1:9464/{page}"));
    assert!(said.success, "{page}: {}", said.stderr);
    let at = said.stdout.len() - 3;
    (said.stdout[at..].to_owned(), said.stdout[..at].trim_end().to_owned())
}

/// Waits until the relay is not ready, and gives the reason.
#[track_caller]
fn wait_until_not_ready(lab: &Lab) -> String {
    let begin = Instant::now();
    loop {
        let (code, body) = ask(lab, "readyz");
        if code == "503" {
            return body;
        }
        assert!(begin.elapsed() < Duration::from_secs(10), "the relay goes on saying {code} {body}");
        thread::sleep(Duration::from_millis(100));
    }
}

#[track_caller]
fn wait_until_ready(lab: &Lab) {
    let begin = Instant::now();
    loop {
        let (code, body) = ask(lab, "readyz");
        if code == "200" {
            assert_eq!(body, "ready");
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(10), "the relay goes on saying {code} {body}");
        thread::sleep(Duration::from_millis(100));
    }
}

/// The buckets of a table of the instance in force.
fn table(daemon: &Daemon, name: &str) -> Array<MapData, Bucket> {
    let instances = fs::read_dir(daemon.pins()).expect("pins").map(|entry| entry.expect("an entry").path());
    let place: PathBuf = instances.map(|path| path.join(name)).find(|path| path.exists()).expect("an instance");
    Array::try_from(Map::Array(MapData::from_pin(place).expect("a pinned map"))).expect("an array of buckets")
}

#[test]
fn a_relay_that_translates_is_ready_and_nothing_is_counted() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let counted = || {
        let mut stats: Value = serde_json::from_str(&daemon.ctl(&lab.relay, "stats --json").ok()).expect("JSON");
        stats["uptime_milliseconds"] = 0.into();
        // What the machines say among themselves, neighbour discovery above all, passes at any time.
        stats["traffic"].as_array_mut().expect("traffic").retain(|cell| cell["verdict"] != "passed");
        stats["passed_other"] = 0.into();
        stats
    };
    assert_eq!(ask(&lab, "healthz"), ("200".to_owned(), "alive".to_owned()));
    // Such a packet is counted for its interface, too, which another try is free of.
    let uncounted = || {
        let before = counted();
        for _ in 0..4 {
            assert_eq!(ask(&lab, "readyz"), ("200".to_owned(), "ready".to_owned()));
            thread::sleep(Duration::from_millis(600));
        }
        counted() == before
    };
    assert!((0..5).any(|_| uncounted()), "five times in a row something was counted");
    // A new instance is asked anew.
    daemon.ctl(&lab.relay, "reload").ok();
    wait_until_ready(&lab);
    let (code, body) = ask(&lab, "ready");
    assert_eq!((code.as_str(), body.contains("/readyz")), ("404", true), "{body}");
}

#[test]
fn a_wrong_table_an_interface_that_is_down_and_a_missing_one_are_told() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    wait_until_ready(&lab);

    // One bit of each IPv6 address in the table that the programs read.
    let mut buckets = table(&daemon, "TABLE4");
    let mut flip = || {
        for index in 0..buckets.len() {
            let mut bucket = buckets.get(&index, 0).expect("a bucket");
            if bucket.entries.iter().all(|entry| entry.flags & Entry::EAM == 0) {
                continue;
            }
            bucket
                .entries
                .iter_mut()
                .filter(|entry| entry.flags & Entry::EAM != 0)
                .for_each(|entry| entry.ipv6.lo ^= 1);
            buckets.set(index, bucket, 0).expect("a bucket is written");
        }
    };
    flip();
    let reason = wait_until_not_ready(&lab);
    assert!(
        reason.contains("became") && reason.contains("expected 2001:db8:6464::808:808 to 2001:db8:5e1:1::"),
        "{reason}"
    );
    assert_eq!(ask(&lab, "healthz").0, "200");
    flip();
    wait_until_ready(&lab);

    lab.relay.ip("link set inet6 down").expect("a link that is down");
    assert_eq!(wait_until_not_ready(&lab), "not ready: interface inet6 is down");
    lab.relay.ip("link set inet6 up").expect("a link that is up");
    wait_until_ready(&lab);

    lab.relay.ip("link delete inet4").expect("a link that is gone");
    let reason = wait_until_not_ready(&lab);
    assert!(reason.contains("interface inet4 is not there: waiting for it"), "{reason}");
}

#[test]
fn a_foreign_program_and_an_empty_table_are_told() {
    let changes = [
        ("[[eam]]\nipv4 = \"198.51.100.10\"\nipv6 = \"2001:db8:5e1:1::10\"\ncomment = \"www\"\n", ""),
        ("[[eam]]\nipv4 = \"198.51.100.66\"\nipv6 = \"2001:db8:5e1:1::66\"\n", ""),
    ];
    let (lab, daemon) = Lab::with_daemon_changed(&changes).expect("a lab with a daemon");
    assert_eq!(wait_until_not_ready(&lab), "not ready: the table is empty: no service is translated");
    daemon.ctl(&lab.relay, "eam add 198.51.100.10 2001:db8:5e1:1::10").ok();
    wait_until_ready(&lab);

    // Somebody else's program is on an interface that the configuration names.
    lab.relay.link("inet9", &lab.router6, "other").expect("a link");
    let foreign = lab.relay.pass("inet9").expect("another program");
    let text = fs::read_to_string(daemon.configuration()).expect("a configuration");
    let text = text.replace("\"inet4\", \"inet6\"", "\"inet4\", \"inet6\", \"inet9\"");
    fs::write(daemon.configuration(), text).expect("a configuration");
    daemon.ctl(&lab.relay, "reload").ok();
    let reason = wait_until_not_ready(&lab);
    assert!(reason.contains("inet9") && reason.contains("program"), "{reason}");
    drop(foreign);
    wait_until_ready(&lab);
}
