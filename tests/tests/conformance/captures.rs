//! Captures: of every kind of packet they tell what became of it, and change nothing about that.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use xlat_common::{
    capture::{Filter, MAX_SNAPLEN, MIN_SNAPLEN, SLOTS},
    counters::{Counters, Verdict as Counted},
    outcome::{DROP, FRAGMENT, KIND, OTHER, PASS, REFUSE, SENT},
    reason::DropReason,
};
use xlat_ctl::dataplane::{Captured, Filters, Pins, Sink, remove_pinned};
use xlat_tests::{
    harness::{Outcome, Relay, Verdict, row::*, settings},
    lab::best_of,
    notation::*,
};

/// A pinned relay whose packets are captured.
struct Captures {
    relay: Relay,
    seen: Arc<Mutex<Vec<Captured>>>,
    sink: Sink,
    /// After the relay in the order of fields, so that nobody uses it.
    _pins: Directory,
}

/// A pin directory that goes with the test.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(error) = remove_pinned(&self.0) {
            eprintln!("{} is left behind: {error}", self.0.display());
        }
    }
}

impl Captures {
    fn new(name: &str, single_buffer: bool) -> Self {
        let path = PathBuf::from(format!("/sys/fs/bpf/xlat-test-{}-{name}", std::process::id()));
        let pins = Arc::new(Pins::open(&path).expect("a pin directory"));
        let pinned = Directory(path);
        let relay = Relay::load_pinned(&settings(""), single_buffer, pins).expect("a relay");
        let seen: Arc<Mutex<Vec<Captured>>> = Arc::default();
        let told = Arc::clone(&seen);
        let sink: Sink = Arc::new(move |captured| told.lock().unwrap().push(captured));
        Self { relay, seen, sink, _pins: pinned }
    }

    fn capture(&mut self, filters: &[Filter]) {
        let mut all: Filters = [None; SLOTS];
        for (slot, filter) in filters.iter().enumerate() {
            all[slot] = Some(*filter);
        }
        self.relay.capture(&all, &self.sink).expect("captures");
    }

    /// What becomes of a frame, and what is captured of it within half a minute.
    fn run_captured(&mut self, frame: &Frame) -> (Outcome, Option<Captured>) {
        self.run_within(frame, Duration::from_secs(30))
    }

    /// What becomes of a frame, and what is captured of it, if anything is.
    fn run(&mut self, frame: &Frame) -> (Outcome, Option<Captured>) {
        self.run_within(frame, Duration::from_millis(300))
    }

    fn run_within(&mut self, frame: &Frame, patience: Duration) -> (Outcome, Option<Captured>) {
        let outcome = self.relay.run(frame).expect("the program runs");
        let begin = Instant::now();
        loop {
            let captured = self.seen.lock().unwrap().pop();
            match captured {
                // What the kernels of the links' ends say by themselves, all of it to IPv6 multicast addresses.
                Some(captured) if captured.before.starts_with(&[0x33, 0x33]) => continue,
                Some(captured) => return (outcome, Some(captured)),
                None => {}
            }
            if begin.elapsed() > patience {
                return (outcome, None);
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

fn all() -> Filter {
    Filter { snaplen: MAX_SNAPLEN, rate: 100_000, ..Filter::default() }
}

/// Frames of every kind, by the names of tests that fail.
fn frames() -> Vec<(&'static str, Frame)> {
    vec![
        ("udp", ip4(CLIENT, SERVER).udp(4711, 53, b"question").into()),
        ("tcp, padded", ip4(CLIENT, SERVER).tcp(4711, 80, b"").padded_with(&[0; 6])),
        ("tcp from the service", ip6(SERVER, CLIENT).tcp(80, 4711, &data(1400)).into()),
        ("echo reply, back out", ip6(SERVER, CLIENT).echo_reply(7, 1, b"ping").arrives_by("v4")),
        ("of a VLAN, to another", ip4(CLIENT, SERVER_TWO_VLANS).udp(4711, 53, b"tagged").vlan(7)),
        ("for the kernel", ip6(SERVER, CLIENT_UNRESOLVED).payload(132, &data(20)).into()),
        ("for the fragmenter", ip4(CLIENT, SERVER).udp(4711, 53, &data(1300)).into()),
        ("hairpinned", ip6(SERVER, "2001:db8:6464::198.51.100.11").udp(4711, 53, b"hairpin").into()),
        ("in no scope", ip4(CLIENT, "192.0.2.77").udp(4711, 53, b"other").into()),
        ("IPv6 in no scope", ip6(ROUTER6, "2001:db8:77::1").udp(4711, 53, b"other").into()),
        ("not for this machine", ip4(CLIENT, SERVER).udp(4711, 53, b"").to_mac([2, 0, 0, 0, 0, 99])),
        ("ARP", Frame::new(0x0806, &[0; 46]).arrives_by("v4")),
        ("expired", ip4(CLIENT, SERVER).ttl(1).udp(4711, 53, b"question").into()),
        ("expired, IPv6", ip6(SERVER, CLIENT).hop_limit(1).udp(53, 4711, b"answer").into()),
        ("too big", ip4(CLIENT, SERVER_1280).df().udp(4711, 53, &data(1400)).into()),
        ("IGMP", ip4(CLIENT, SERVER).payload(2, &data(8)).into()),
        ("bad header checksum", ip4(CLIENT, SERVER).bad_header_checksum().udp(4711, 53, b"").into()),
        ("an ICMP message without an equivalent", ip4(CLIENT, SERVER).icmp(13, 0).echo(7, 1, &data(12)).into()),
        ("cut off", Frame::from(ip6(SERVER, CLIENT).udp(53, 4711, &data(100))).truncated(100)),
        ("an ICMP error", ip4(ROUTER, SERVER).icmp(3, 1).about(ip4(SERVER, CLIENT).udp(53, 4711, b"answer")).into()),
    ]
}

/// The number in a captured packet's head, as what the counters say.
fn told(captured: &Captured) -> (Option<Counted>, Option<DropReason>) {
    let outcome = captured.head.outcome;
    match outcome & KIND {
        SENT => (Some(Counted::ALL[(outcome >> 8 & 0xff) as usize]), None),
        PASS => (Some(Counted::Passed), None),
        FRAGMENT => (Some(Counted::Fragmented), None),
        DROP | REFUSE => (Some(Counted::Dropped), Some(DropReason::ALL[(outcome & 0xff) as usize])),
        OTHER => (None, None),
        other => panic!("kind {other:#x}"),
    }
}

fn check(name: &str, outcome: &Outcome, captured: &Captured) {
    let (verdict, reason) = told(captured);
    assert_eq!(reason, outcome.reason, "{name}: {captured:?}");
    match verdict {
        Some(verdict) => assert_eq!(packets(&outcome.counters, verdict), 1, "{name}: {verdict:?}"),
        None => assert_eq!(outcome.counters.passed_other, 1, "{name}"),
    }
    assert_eq!(captured.before.len(), captured.head.before_len as usize, "{name}");
    assert!(captured.head.left >= captured.head.arrived, "{name}");
    let is_sent = matches!(outcome.verdict, Verdict::Transmit | Verdict::Redirect);
    let leaves = matches!(verdict, Some(Counted::ToKernel)) || is_sent && verdict != Some(Counted::Fragmented);
    if leaves {
        assert_eq!(captured.after, outcome.frame, "{name}");
    } else {
        assert_eq!((captured.head.after_len, captured.after.len()), (0, 0), "{name}");
    }
}

fn tells_what_became_of_each_packet(name: &str, single_buffer: bool) {
    let mut plain = Captures::new(&format!("{name}-plain"), single_buffer);
    let mut captures = Captures::new(name, single_buffer);
    captures.capture(&[all()]);
    for (name, frame) in frames() {
        best_of(5, || {
            let mut lookups = [Vec::new(), Vec::new()];
            for _ in 0..4 {
                let (outcome, captured) = captures.run_captured(&frame);
                check(name, &outcome, &captured.unwrap_or_else(|| panic!("{name} is not captured")));
                let expected = plain.relay.run(&frame).expect("the program runs");
                assert_eq!((outcome.verdict, outcome.frame.len()), (expected.verdict, expected.frame.len()), "{name}");
                let [counters, expected] = [outcome.counters, expected.counters];
                assert_eq!(
                    Counters { route_lookups: 0, ..counters },
                    Counters { route_lookups: 0, ..expected },
                    "{name}"
                );
                lookups[0].push(counters.route_lookups);
                lookups[1].push(expected.route_lookups);
            }
            // What is remembered of a next hop ends by the clock, at times in one of the two before the other.
            if lookups[0] == lookups[1] {
                Ok(())
            } else {
                Err(format!("{name}: questions to the routing table: {lookups:?}"))
            }
        });
    }
    captures.capture(&[]);
    assert_eq!(captures.run(&frames()[0].1).1, None, "nothing is captured any more");
}

#[test]
fn a_capture_tells_what_became_of_each_packet() {
    tells_what_became_of_each_packet("capture", false);
}

#[test]
fn a_capture_tells_it_on_a_kernel_without_frames_of_several_buffers() {
    tells_what_became_of_each_packet("capture-single", true);
}

#[test]
fn a_capture_has_only_what_its_filter_lets_through() {
    let mut captures = Captures::new("filter", false);
    let host4 = |address: [u8; 4], len: u32| Filter {
        flags: Filter::HOST4,
        ipv4: u32::from_be_bytes(address),
        ipv4_mask: u32::MAX << (32 - len),
        ..all()
    };
    let host6 = |address: &str| Filter {
        flags: Filter::HOST6,
        ipv6: address.parse::<std::net::Ipv6Addr>().expect("an address").into(),
        ipv6_mask: std::net::Ipv6Addr::from_bits(u128::MAX).into(),
        ..all()
    };
    let reason = |reason: DropReason| Filter { reasons: 1 << reason as u32, ..all() };
    let request: Frame = ip4(CLIENT, SERVER).udp(4711, 53, b"question").into();
    let tagged = ip4(CLIENT, SERVER).udp(4711, 53, b"question").vlan(7);
    let reply: Frame = ip6(SERVER, CLIENT).udp(53, 4711, b"answer").into();
    let expired: Frame = ip4(CLIENT, SERVER).ttl(1).udp(4711, 53, b"question").into();
    let arp = Frame::new(0x0806, &[0; 46]).arrives_by("v4");
    let v4 = { captures.relay.dataplane().attached().iter().find(|at| at.name == "v4").expect("v4").ifindex };
    for (name, filter, passes) in [
        ("the client", host4([203, 0, 113, 7], 32), [true, true, true, true, false]),
        ("its network", host4([203, 0, 113, 0], 24), [true, true, true, true, false]),
        ("another client", host4([203, 0, 113, 8], 32), [false; 5]),
        // Dropped before it has an IPv6 destination.
        ("the server", host6("2001:db8:5e1:1::10"), [true, true, true, false, false]),
        ("another server", host6("2001:db8:5e1:1::11"), [false; 5]),
        ("drops", Filter { flags: Filter::DROPS, ..all() }, [false, false, false, true, false]),
        ("hop limits", reason(DropReason::HopLimitExceeded), [false, false, false, true, false]),
        ("another reason", reason(DropReason::Igmp), [false; 5]),
        ("an interface", Filter { ifindex: v4, ..all() }, [true, true, false, true, true]),
        ("no token", Filter { rate: 0, ..all() }, [false; 5]),
    ] {
        captures.capture(&[filter]);
        for (frame, passes) in [&request, &tagged, &reply, &expired, &arp].into_iter().zip(passes) {
            let (_, captured) = if passes { captures.run_captured(frame) } else { captures.run(frame) };
            assert_eq!(captured.is_some(), passes, "{name}: {frame:?}");
        }
    }
}

#[test]
fn captures_are_told_apart_and_keep_what_the_longest_asks_for() {
    let mut captures = Captures::new("slots", false);
    // The tallies have no other packets than the test's.
    let client =
        Filter { flags: Filter::HOST4, ipv4: u32::from_be_bytes([203, 0, 113, 7]), ipv4_mask: u32::MAX, ..all() };
    let short = Filter { snaplen: MIN_SNAPLEN, ..client };
    let drops = Filter { flags: Filter::DROPS | Filter::HOST4, ..client };
    captures.capture(&[short, drops, Filter { snaplen: 200, ..client }]);
    let (_, captured) = captures.run_captured(&ip4(CLIENT, SERVER).tcp(4711, 80, &data(1000)).df().into());
    let captured = captured.expect("a packet");
    assert_eq!((captured.head.slots, captured.head.before_len), (0b101, 1054));
    // The drops' capture might have wanted it too, with all of its bytes.
    assert_eq!((captured.before.len(), captured.after.len()), (1054, 1074));
    let tallies = captures.relay.dataplane().capture_tallies();
    assert_eq!(tallies.map(|tally| tally.matched), [1, 0, 1, 0]);
    captures.capture(&[short]);
    let (_, captured) = captures.run_captured(&ip4(CLIENT, SERVER).tcp(4711, 80, &data(1000)).df().into());
    let captured = captured.expect("a packet");
    assert_eq!((captured.before.len(), captured.after.len(), captured.head.after_len), (64, 64, 1074));
}
