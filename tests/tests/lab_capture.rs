//! Captures of the real program's traffic: what they show, what they leave alone, and how they end.

use std::{
    fs,
    net::UdpSocket,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use xlat_tests::lab::{CLIENT_SEEN, Daemon, Lab, Running, SERVER, SERVER_SEEN, command_path, expect_no_fault, tshark};

/// A running `xlat-ctl capture`.
struct Capture {
    process: Running,
    log: PathBuf,
}

impl Capture {
    /// Starts it and waits until it captures.
    fn start(lab: &Lab, daemon: &Daemon, name: &str, arguments: &str) -> Self {
        let command = command_path().expect("the daemon runs from it").to_string_lossy().into_owned();
        let socket = daemon.socket().to_string_lossy().into_owned();
        let log = daemon.directory().join(format!("capture-{name}"));
        let mut words = vec!["--socket", &socket, "capture"];
        words.extend(arguments.split_whitespace());
        let process = lab.relay.start(&command, &words, &log).expect("a capture");
        let mut capture = Self { process, log };
        wait_for("the capture to begin", || {
            assert!(capture.process.ended().expect("a process").is_none(), "{}", capture.said());
            capture.said().contains("capturing on")
        });
        capture
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it has ended by itself; gives what it said.
    fn ended(&mut self) -> String {
        wait_for("the capture to end", || self.process.ended().expect("a process").is_some());
        let status = self.process.ended().expect("a process").expect("an end");
        assert!(status.success(), "{}", self.said());
        self.said()
    }

    /// Interrupts it, as somebody at a terminal does; gives what it said.
    fn interrupt(mut self) -> String {
        thread::sleep(Duration::from_millis(300));
        let status = self.process.terminate(Signal::SIGINT).expect("an end");
        assert!(status.success(), "{}", self.said());
        self.said()
    }
}

fn wait_for(what: &str, mut is_there: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_there() {
        assert!(begin.elapsed() < Duration::from_secs(20), "waiting for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn ping(lab: &Lab, count: u32) {
    lab.client.run(&format!("ping -n -c {count} -i 0.2 -W 2 {SERVER_SEEN}")).ok();
}

/// Id of the program that an interface of the relay carries.
fn attached(lab: &Lab, interface: &str) -> u64 {
    let text = lab.relay.ip(&format!("-j -d link show {interface}")).expect("an interface");
    let links: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    links[0]["xdp"]["prog"]["id"].as_u64().expect("a program on the interface")
}

/// The number before a word of the capture's last sentence.
fn number_before(said: &str, word: &str) -> u64 {
    let last = said.lines().last().expect("a sentence");
    let part = last.split(", ").find(|part| part.contains(word)).unwrap_or_else(|| panic!("no {word} in {said}"));
    let digits = part.split_whitespace().find_map(|text| text.parse().ok());
    digits.unwrap_or_else(|| panic!("no number before {word} in {said}"))
}

#[test]
fn a_file_has_each_packet_before_and_after_with_comments() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    ping(&lab, 2);
    let file = daemon.directory().join("packets.pcapng");
    let arguments = format!("--host {SERVER_SEEN} --count 4 -w {}", file.display());
    let mut capture = Capture::start(&lab, &daemon, "file", &arguments);
    ping(&lab, 2);
    let said = capture.ended();
    assert!(said.contains("as many packets as asked for"), "{said}");
    assert_eq!((number_before(&said, "captured"), number_before(&said, "lost")), (4, 0), "{said}");

    expect_no_fault(&file, 8);
    assert_eq!(tshark(&file, "frame").len(), 8, "four packets, each twice");
    for (filter, count) in [
        (format!("frame.interface_name == \"inet4\" && ip.dst == {SERVER_SEEN} && icmp.type == 8"), 2),
        (format!("frame.interface_name == \"inet6\" && ipv6.dst == {SERVER} && icmpv6.type == 128"), 2),
        (format!("frame.interface_name == \"inet6\" && ipv6.dst == {CLIENT_SEEN} && icmpv6.type == 129"), 2),
        ("frame.interface_name == \"inet4\" && ip.dst == 203.0.113.7 && icmp.type == 0".to_owned(), 2),
        ("frame.comment contains \"as it arrived: four_to_six, redirected\" && ip".to_owned(), 2),
        ("frame.comment contains \"as it left: four_to_six, redirected\" && ipv6".to_owned(), 2),
        ("frame.comment contains \"as it arrived: six_to_four, redirected\" && ipv6".to_owned(), 2),
        ("frame.comment contains \"as it left: six_to_four, redirected\" && ip".to_owned(), 2),
        ("frame.comment contains \"packet 3,\"".to_owned(), 2),
        ("frame.p2p_dir == 1".to_owned(), 4),
    ] {
        assert_eq!(tshark(&file, &filter).len(), count, "{filter}");
    }
    let times = tshark(&file, "frame.time_epoch < 1700000000 || frame.time_delta < -0.001 || frame.time_delta > 5");
    assert!(times.is_empty(), "{times:?}");
}

/// A capture goes on over a renaming, and the new name can be asked for.
#[test]
fn an_interface_that_is_renamed_is_captured_by_its_new_name() {
    let (lab, daemon) =
        Lab::with_daemon_changed(&[("\"inet4\", \"inet6\"", "\"inet*\"")]).expect("a lab with a daemon");
    let before = Capture::start(&lab, &daemon, "before", "--in inet4");
    for command in [
        "link set inet4 down",
        "link set inet4 name inet44",
        "link set inet44 up",
        "route replace 203.0.113.0/24 via 198.18.0.1",
    ] {
        lab.relay.ip(command).expect("another name");
    }
    wait_for("the new name", || daemon.ctl(&lab.relay, "status").stdout.contains("inet44"));
    let after = Capture::start(&lab, &daemon, "after", "--in inet44");
    wait_for("an answer", || lab.client.run(&format!("ping -n -c 1 -W 1 {SERVER_SEEN}")).success);
    for said in [before.interrupt(), after.interrupt()] {
        assert!(said.contains("inet44") && number_before(&said, "captured") >= 1, "{said}");
    }
    let said = daemon.ctl(&lab.relay, "capture --in inet4 --count 1");
    assert!(!said.success && said.stderr.contains("not attached to inet4, but to inet44, inet6"), "{}", said.stderr);
}

#[test]
fn a_capture_that_is_refused_leaves_its_file_alone() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let file = daemon.directory().join("evidence.pcapng");
    fs::write(&file, "of yesterday").expect("a file");
    let said = daemon.ctl(&lab.relay, &format!("capture -w {} --reason typo", file.display()));
    assert!(!said.success && said.stderr.contains("there is no reason typo"), "{}", said.stderr);
    assert_eq!(fs::read_to_string(&file).expect("the file"), "of yesterday");
}

/// Somebody may remove a pin: a capture that begins then leaves the program where it is.
#[test]
fn a_capture_begun_without_a_pin_detaches_nothing() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    for entry in fs::read_dir(daemon.pins().join("links")).expect("the links") {
        fs::remove_file(entry.expect("a link").path()).expect("it can be removed");
    }
    let capture = Capture::start(&lab, &daemon, "pins", "--in inet4");
    ping(&lab, 1);
    thread::sleep(Duration::from_millis(1500));
    ping(&lab, 1);
    assert!(number_before(&capture.interrupt(), "captured") >= 2);
    assert!(!daemon.log().contains("has taken the program"), "{}", daemon.log());
}

#[test]
fn drops_are_shown_with_their_reason_and_the_answer() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    ping(&lab, 1);
    let drops = Capture::start(&lab, &daemon, "drops", "--drops");
    let other = Capture::start(&lab, &daemon, "other", "--reason packet_too_big,igmp");
    let file = daemon.directory().join("drops.pcapng");
    let written = format!("--reason hop_limit_exceeded --count 1 -w {}", file.display());
    let mut written = Capture::start(&lab, &daemon, "written", &written);
    ping(&lab, 1);
    let expiring = lab.client.run(&format!("ping -n -c 1 -W 1 -t 2 {SERVER_SEEN}"));
    assert!(!expiring.success, "{}", expiring.stdout);
    let said = drops.interrupt();
    let shown: Vec<&str> = said.lines().filter(|line| line.contains("dropped for") || line.contains(" in ")).collect();
    assert_eq!(shown.len(), 2, "one packet alone: {said}");
    assert!(shown[0].contains("inet4 in  IP 203.0.113.7 > 198.51.100.10: ICMP echo request"), "{said}");
    assert!(shown[1].contains("dropped for hop_limit_exceeded, answered: inet4 IP 198.18.0.2 > 203.0.113.7"), "{said}");
    assert!(shown[1].contains("ICMP time exceeded"), "{said}");
    assert_eq!(number_before(&said, "captured"), 1, "{said}");
    let said = other.interrupt();
    assert_eq!(number_before(&said, "captured"), 0, "{said}");
    written.ended();
    expect_no_fault(&file, 2);
    for filter in [
        "frame.comment contains \"as it arrived: four_to_six, dropped for hop_limit_exceeded:\" && icmp.type == 8",
        "frame.comment contains \"the answer to its sender: four_to_six, dropped for hop_limit_exceeded\" && icmp.type == 11",
    ] {
        assert_eq!(tshark(&file, filter).len(), 1, "{filter}");
    }
}

#[test]
fn captures_do_not_meet_and_there_are_four_at_most() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    ping(&lab, 1);
    let mut requests = Capture::start(&lab, &daemon, "requests", "--in inet4 --host 203.0.113.0/24 --count 3 --json");
    let replies = Capture::start(&lab, &daemon, "replies", "--in inet6 --host 2001:db8:5e1:1::10");
    let nothing = Capture::start(&lab, &daemon, "nothing", "--host 192.0.2.99");
    let fourth = Capture::start(&lab, &daemon, "fourth", "--snaplen 64 --host 198.51.100.10");
    let refused = daemon.ctl(&lab.relay, "capture");
    assert!(!refused.success && refused.stderr.contains("4 captures are running"), "{}", refused.stderr);
    assert!(refused.stderr.contains("root, pid"), "{}", refused.stderr);
    ping(&lab, 5);

    let said = requests.ended();
    let packets: Vec<serde_json::Value> = said
        .lines()
        .filter(|line| line.contains("\"packet\""))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(packets.len(), 3, "{said}");
    for packet in packets.iter().map(|line| &line["packet"]) {
        assert_eq!(packet["direction"], "four_to_six");
        assert_eq!((&packet["before"]["interface"], &packet["before"]["len"]), (&"inet4".into(), &98.into()));
        assert_eq!((&packet["after"]["interface"], &packet["after"]["len"]), (&"inet6".into(), &118.into()));
    }
    let said = replies.interrupt();
    assert_eq!(number_before(&said, "captured"), 5, "{said}");
    assert_eq!(
        said.matches("inet6 in  IP6 2001:db8:5e1:1::10 > 2001:db8:6464::cb00:7107: ICMP6 echo reply").count(),
        5
    );
    assert_eq!(number_before(&nothing.interrupt(), "captured"), 0);
    let said = fourth.interrupt();
    assert_eq!(number_before(&said, "captured"), 10, "both directions: {said}");
    assert_eq!(said.matches(", length 118").count(), 10, "lengths are those of the frames: {said}");
}

#[test]
fn a_capture_leaves_the_program_as_it_was_however_it_ends() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let status = || daemon.ctl(&lab.relay, "status --json").ok();
    let program = |text: &str| {
        let status: serde_json::Value = serde_json::from_str(text).expect("JSON");
        assert_eq!(status["state"], "attached");
        status["program"].clone()
    };
    let (before, ids) =
        (program(&status()), [attached(&lab, "inet4"), attached(&lab, "inet6"), attached(&lab, "xlat0")]);
    assert_eq!(before["id"], ids[0]);
    for end in [Signal::SIGINT, Signal::SIGKILL] {
        let mut capture = Capture::start(&lab, &daemon, "one", "");
        let other = Capture::start(&lab, &daemon, "two", "--drops");
        for (interface, id) in ["inet4", "inet6", "xlat0"].iter().zip(ids) {
            assert_ne!(attached(&lab, interface), id, "{interface} has the program of captures");
        }
        // The daemon looks every second whether its program is still there.
        thread::sleep(Duration::from_millis(2500));
        ping(&lab, 1);
        capture.process.terminate(end).expect("an end");
        ping(&lab, 1);
        assert_ne!(attached(&lab, "inet4"), ids[0], "the other capture goes on");
        other.interrupt();
        let begin = Instant::now();
        wait_for("the entry to be back", || attached(&lab, "inet4") == ids[0]);
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
        assert_eq!([attached(&lab, "inet4"), attached(&lab, "inet6"), attached(&lab, "xlat0")], ids);
        assert_eq!(program(&status()), before, "the same program with the same instructions");
        assert!(!daemon.log().contains("somebody has taken the program"), "{}", daemon.log());
    }
    ping(&lab, 1);
}

#[test]
fn a_capture_goes_on_over_a_reload_and_ends_with_its_time() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let mut capture = Capture::start(&lab, &daemon, "reload", "--host 198.51.100.10 --duration 6");
    ping(&lab, 2);
    daemon.ctl(&lab.relay, "reload").ok();
    ping(&lab, 2);
    let said = capture.ended();
    assert!(said.contains("it has lasted 6 seconds"), "{said}");
    assert_eq!((number_before(&said, "captured"), number_before(&said, "matched")), (8, 8), "{said}");
}

#[test]
fn a_daemon_that_is_stopped_says_so_and_one_that_is_killed_leaves_what_the_next_replaces() {
    let (lab, mut daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let mut capture = Capture::start(&lab, &daemon, "killed", "");
    let during = attached(&lab, "inet4");
    daemon.kill().expect("a daemon to kill");
    wait_for("the capture to end", || capture.process.ended().expect("a process").is_some());
    assert!(capture.said().contains("xlat-ctl: the daemon at "), "{}", capture.said());
    assert_eq!(attached(&lab, "inet4"), during);
    ping(&lab, 3);
    daemon.start_again(&lab.relay, &[]).expect("the next daemon");
    assert_ne!(attached(&lab, "inet4"), during);
    let instances = fs::read_dir(daemon.pins()).expect("pins").filter_map(Result::ok);
    let instances = instances.filter(|entry| entry.file_name().to_string_lossy().starts_with("instance-")).count();
    assert_eq!(instances, 1, "nothing of the killed one is left");
    ping(&lab, 1);

    let mut capture = Capture::start(&lab, &daemon, "stopped", "");
    daemon.stop().expect("a clean end");
    wait_for("the capture to end", || capture.process.ended().expect("a process").is_some());
    assert!(capture.said().contains("the capture has ended: the daemon is stopping"), "{}", capture.said());
}

#[test]
fn what_is_too_much_is_counted() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    ping(&lab, 1);
    let flood = |datagrams: u32| {
        let socket = lab.client.inside(|| UdpSocket::bind("0.0.0.0:0")).expect("a socket");
        for _ in 0..datagrams {
            // Full queues are part of a flood.
            let _ = socket.send_to(&[7; 1200], (SERVER_SEEN, 4242));
        }
    };
    let mut slow = Capture::start(&lab, &daemon, "slow", "--in inet4 --host 198.51.100.10 --rate 50 --duration 4");
    flood(5000);
    let said = slow.ended();
    let (shown, over) = (number_before(&said, "captured"), number_before(&said, "over the rate"));
    assert!((50..=300).contains(&shown), "{said}");
    assert!(over > 1000, "{said}");
    assert_eq!(number_before(&said, "matched"), shown + over + number_before(&said, "lost"), "{said}");

    // A client that does not read.
    let arguments = "--in inet4 --host 198.51.100.10 --rate 100000 --duration 8";
    let mut stalled = Capture::start(&lab, &daemon, "stalled", arguments);
    stalled.process.signal(Signal::SIGSTOP).expect("a process to stop");
    flood(20_000);
    thread::sleep(Duration::from_secs(1));
    stalled.process.signal(Signal::SIGCONT).expect("a process to go on");
    let said = stalled.ended();
    let (shown, lost) = (number_before(&said, "captured"), number_before(&said, "lost"));
    assert!(lost > 100, "{said}");
    assert_eq!(number_before(&said, "matched"), shown + lost + number_before(&said, "over the rate"), "{said}");
}

#[test]
fn what_cannot_be_captured_is_refused_in_words() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    for (arguments, sentence) in [
        ("capture --in lo", "the program is not attached to lo, but to inet4, inet6"),
        ("capture --host www", "host www is not an address or a prefix"),
        ("capture --reason bad_luck", "there is no reason bad_luck"),
        ("capture --snaplen 5000", "is not in 64..=2048"),
        ("capture -w /nowhere/x.pcapng", "capture -w /nowhere/x.pcapng: cannot write the file: No such file"),
    ] {
        let said = daemon.ctl(&lab.relay, arguments);
        assert!(!said.success && said.stderr.contains(sentence), "{arguments}: {}", said.stderr);
    }
}
