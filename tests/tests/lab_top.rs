//! `xlat-ctl top` against the real daemon, while packets are translated.

use std::{fs, ops::Range, thread, time::Duration};

use xlat_tests::lab::{Daemon, Lab, SERVER_SEEN, command_path};

/// What may be measured of 20 packets a second while others have the machine now and then.
const RATES: Range<f64> = 5.0..30.0;

/// For so many seconds 20 pings a second, and 5 that end at the relay, while `action` runs.
fn under_load<T>(lab: &Lab, seconds: u32, action: impl FnOnce() -> T) -> T {
    lab.client.run(&format!("ping -n -c 1 -W 2 {SERVER_SEEN}")).ok();
    let (pings, ends) = (20 * seconds, 5 * seconds);
    thread::scope(|scope| {
        let ping = scope.spawn(|| lab.client.run(&format!("ping -n -c {pings} -i 0.05 -W 2 {SERVER_SEEN}")).ok());
        let expiring = scope.spawn(|| lab.client.run(&format!("ping -n -c {ends} -i 0.2 -W 1 -t 2 {SERVER_SEEN}")));
        thread::sleep(Duration::from_millis(300));
        let done = action();
        ping.join().expect("a ping");
        assert!(!expiring.join().expect("a ping").success, "their TTL has ended");
        done
    })
}

/// The kernel measures the time of programs, on the whole machine, until this is dropped.
struct Measuring(String);

impl Measuring {
    const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

    fn start() -> Self {
        let before = fs::read_to_string(Self::SWITCH).expect("the kernel's switch");
        fs::write(Self::SWITCH, "1").expect("the kernel's switch");
        Self(before)
    }
}

impl Drop for Measuring {
    fn drop(&mut self) {
        if let Err(error) = fs::write(Self::SWITCH, &self.0) {
            eprintln!("{} stays on: {error}", Self::SWITCH);
        }
    }
}

#[test]
fn one_reading_has_rates_drops_and_the_time_of_xdp() {
    let counting = [("[dataplane]", "[accounting]\nservices = true\n[dataplane]")];
    let (lab, daemon) = Lab::with_daemon_changed(&counting).expect("a lab with a daemon");
    let said = under_load(&lab, 8, || daemon.ctl(&lab.relay, "top --once --interval 5")).ok();
    let line = |start: &str| said.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{said}"));
    assert!(line("xlat ").contains(" attached, up ") && line("xlat ").contains("2 of 65536 entries"), "{said}");
    assert!(line("inet4 native, inet6 native").contains("XDP time"), "{said}");
    for direction in ["four_to_six", "six_to_four"] {
        let rate: f64 = line(direction).split_whitespace().nth(1).expect("a rate").parse().expect("a number");
        assert!(RATES.contains(&rate), "20 pings a second: {said}");
    }
    assert!(line("hop_limit_exceeded").ends_with("moves") || line("hop_limit_exceeded").ends_with("NEW"), "{said}");

    let busiest = line("198.51.100.10 www");
    let rate: f64 = busiest.split_whitespace().nth(2).expect("a rate").parse().expect("a number");
    assert!(RATES.contains(&rate) && line("BUSIEST SERVICES").ends_with("BIT/S"), "{said}");

    let measuring = Measuring::start();
    let said = under_load(&lab, 8, || daemon.ctl(&lab.relay, "top --once --json --interval 5"));
    drop(measuring);
    let view: serde_json::Value = serde_json::from_str(&said.ok()).expect("JSON");
    assert!(view["xdp"]["nanoseconds"].as_f64().expect("a time") > 10.0, "{view}");
    let icmp = &view["directions"][0]["protocols"][2];
    assert_eq!(icmp["name"], "icmp");
    assert!(icmp["packets_per_second"].as_f64().expect("a rate") > RATES.start, "{view}");
    assert!(view["directions"][0]["bits_per_second"].as_f64().expect("a rate") > 2500.0, "{view}");
    assert_eq!(view["services"][0]["entry"]["ipv4"], "198.51.100.10/32", "{view}");
    for (at, name) in ["inet4", "inet6"].into_iter().enumerate() {
        let interface = &view["interfaces"][at];
        assert_eq!(interface["name"], name);
        for way in ["received", "sent"] {
            assert!(interface[way]["packets_per_second"].as_f64().expect("a rate") > RATES.start, "{view}");
        }
    }
    // Of 40 packets a second, one or two ask the routing table after a change of the machine.
    assert!(view["next_hops_remembered"].as_f64().expect("a share") > 0.7, "{view}");
}

/// What `xlat-ctl top` sends to a terminal of 80 columns and 24 lines until somebody types q.
fn on_a_terminal(lab: &Lab, daemon: &Daemon) -> String {
    let command = command_path().expect("the daemon runs from it");
    let top = format!("stty rows 24 cols 80; exec {} --socket {} top", command.display(), daemon.socket().display());
    let typed = format!("(sleep 3; printf q; sleep 1) | script -q -e -c '{top}' /dev/null");
    let output = lab.relay.command("sh", &["-c", &typed]).env("TERM", "xterm").output().expect("starting `script`");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    text
}

#[test]
fn a_terminal_shows_it_until_somebody_ends_it() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let sent = under_load(&lab, 2, || on_a_terminal(&lab, &daemon));
    for word in ["TRANSLATED", "four_to_six", "DROPPED", "hop_limit_exceeded", "rates over"] {
        assert!(sent.contains(word), "no {word} in {sent:?}");
    }
    // Three screens: what has not changed is not sent again.
    assert_eq!(sent.matches("TRANSLATED").count(), 1, "{sent:?}");
    assert!(sent.len() < 6000, "{} bytes", sent.len());
}

#[test]
fn what_is_no_terminal_is_told_what_to_do() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    for (arguments, sentence) in [("top", "give --once"), ("top --json", "give --once too")] {
        let said = daemon.ctl(&lab.relay, arguments);
        assert!(!said.success && said.stderr.contains(sentence), "{arguments}: {}", said.stderr);
    }
}
