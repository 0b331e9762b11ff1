//! `xlat-ctl explain`, against the daemon at work: the verdict is the program's, and the rule book agrees.

mod random;
mod traces;

use std::{
    fs,
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use xlat_common::next_hop;
use xlat_tests::{
    lab::{CLIENT_SEEN, Daemon, Lab, SERVER_SEEN, send_packet},
    notation::{Packet, data, ip4, ip6},
};

const CLIENT: &str = "203.0.113.7";
const SERVER: &str = "2001:db8:5e1:1::10";
/// The client as the server sees it.
const CLIENT_MAPPED: &str = "2001:db8:6464::203.0.113.7";

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("no JSON ({error}):\n{text}"))
}

/// Everything that is counted.
fn counted(lab: &Lab, daemon: &Daemon) -> Value {
    let mut stats = json(&daemon.ctl(&lab.relay, "stats --json").ok());
    stats["uptime_milliseconds"] = 0.into();
    stats
}

/// Does something that moves no counter. The hosts' kernels send a packet of their own now and then, which another try is free of.
#[track_caller]
fn uncounted(lab: &Lab, daemon: &Daemon, act: impl Fn()) {
    for _ in 0..10 {
        let before = counted(lab, daemon);
        act();
        let after = counted(lab, daemon);
        if after == before {
            return;
        }
        eprintln!("counted meanwhile: {}", differences(&before, &after));
    }
    panic!("ten times in a row something was counted");
}

/// The members of two objects that differ.
fn differences(one: &Value, other: &Value) -> String {
    let members = one.as_object().into_iter().flatten();
    let differing = members.filter(|(name, value)| other[name.as_str()] != **value);
    differing.map(|(name, value)| format!("{name}: {value} → {}\n", other[name.as_str()])).collect()
}

/// What `explain` says; program and rule book agree.
#[track_caller]
fn explain(lab: &Lab, daemon: &Daemon, arguments: &str) -> Value {
    let said = daemon.ctl(&lab.relay, &format!("explain --json {arguments}"));
    assert!(said.success, "explain {arguments}: {}\n{}", said.stderr, said.stdout);
    let explained = json(&said.stdout);
    assert_eq!(explained["agrees"], true, "explain {arguments}: {:#}", explained["differences"]);
    assert_eq!(explained["program"]["tag"], explained["program"]["trial_tag"]);
    explained
}

#[track_caller]
fn explain_packet(lab: &Lab, daemon: &Daemon, packet: &Packet) -> Value {
    let digits: String = packet.bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    explain(lab, daemon, &format!("--hex {digits}"))
}

/// Verdict and reason.
fn outcome(explained: &Value) -> (&str, &str) {
    (explained["verdict"].as_str().unwrap_or(""), explained["reason"]["name"].as_str().unwrap_or(""))
}

fn field<'json>(explained: &'json Value, name: &str) -> (&'json str, &'json str) {
    let fields = explained["fields"].as_array().expect("fields");
    let field = fields.iter().find(|field| field["name"] == name).unwrap_or_else(|| panic!("no field {name}"));
    (field["before"].as_str().unwrap_or("-"), field["after"].as_str().unwrap_or("-"))
}

fn has_step(explained: &Value, rule: &str, words: &str) -> bool {
    let steps = explained["steps"].as_array().expect("steps");
    steps.iter().any(|step| step["rule"] == rule && step["text"].as_str().is_some_and(|text| text.contains(words)))
}

/// The way is known only when the neighbours are.
fn warm_up(lab: &Lab) {
    assert!(lab.client.run(&format!("ping -n -c 2 -i 0.2 -W 2 {SERVER_SEEN}")).success);
}

#[test]
fn shows_both_directions_and_moves_no_counter() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    warm_up(&lab);
    uncounted(&lab, &daemon, || expect_both_directions(&lab, &daemon));
}

#[track_caller]
fn expect_both_directions(lab: &Lab, daemon: &Daemon) {
    let arguments = format!("udp {CLIENT}:4711 {SERVER_SEEN}:53 --size 1400 --df");
    let explained = explain(lab, daemon, &arguments);
    assert_eq!((outcome(&explained), &explained["interface"]), (("redirected", ""), &"inet4".into()));
    assert_eq!(field(&explained, "source"), (CLIENT, "2001:db8:6464::cb00:7107"));
    assert_eq!(field(&explained, "destination"), (SERVER_SEEN, SERVER));
    assert_eq!(field(&explained, "hop limit"), ("64", "63"));
    assert_eq!(field(&explained, "length"), ("1400 bytes", "1420 bytes"));
    assert!(field(&explained, "checksum").1.ends_with(", right"));
    assert!(has_step(&explained, "destination", "static EAM 198.51.100.10 ↔ 2001:db8:5e1:1::10 (“www”)"));
    assert!(has_step(&explained, "source", "by the translation prefix 2001:db8:6464::/96"));
    let way = &explained["way_out"];
    assert_eq!(
        (&way["interface"], &way["next_hop"], &way["mtu"]),
        (&"inet6".into(), &"2001:db8:fe::2".into(), &1500.into())
    );

    let back = explain(lab, daemon, &format!("tcp [{SERVER}]:80 [{CLIENT_SEEN}]:4711 --flags syn,ack"));
    assert_eq!((outcome(&back), &back["interface"]), (("redirected", ""), &"inet6".into()));
    assert_eq!(field(&back, "destination"), ("2001:db8:6464::cb00:7107", CLIENT));
    assert_eq!(field(&back, "tcp flags"), ("SYN ACK", "SYN ACK"));
    for (from, to) in [(CLIENT, SERVER_SEEN), (SERVER, CLIENT_SEEN)] {
        let echo = explain(lab, daemon, &format!("icmp {from} {to}"));
        assert_eq!(outcome(&echo), ("redirected", ""));
    }
    let said = daemon.ctl(&lab.relay, &format!("explain {arguments}")).ok();
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in [
        "verdict redirected (XDP_REDIRECT)",
        "way out inet6, next hop 2001:db8:fe::2",
        "no counter of the relay has moved",
    ] {
        assert!(said.contains(words), "`{words}` is missing:\n{said}");
    }
}

/// A packet, and what becomes of it: verdict, reason, and a rule with words of its text.
type Row = (Packet, &'static str, &'static str);

#[test]
fn names_the_reason_of_each_drop() {
    let changes = [
        ("ipv4 = \"198.51.100.66\"", "ipv4 = \"198.51.100.64/28\""),
        ("ipv6 = \"2001:db8:5e1:1::66\"", "ipv6 = \"2001:db8:5e1:1::60/124\""),
        ("[icmp]", "[deny]\nipv4 = [\"203.0.113.66\", \"198.51.100.66\"]\n[icmp]"),
    ];
    let (lab, daemon) = Lab::with_daemon_changed(&changes).expect("a lab with a daemon");
    warm_up(&lab);
    let up = || ip4(CLIENT, SERVER_SEEN);
    let down = || ip6(SERVER, CLIENT_SEEN);
    let rows: Vec<Row> = vec![
        (up().udp(1, 2, b"x").bad_header_checksum(), "dropped", "ipv4_checksum"),
        (up().udp(1, 2, b"x").total_len(2000), "dropped", "malformed_header"),
        (up().options(&[131, 0, 0, 0]).udp(1, 2, b"x"), "dropped", "malformed_options"),
        (up().options(&[131, 7, 4, 1, 2, 3, 4, 0]).udp(1, 2, b"x"), "dropped", "source_route"),
        (up().payload(6, &[0; 12]), "dropped", "malformed_transport"),
        (up().payload(2, &[0x16, 0, 0, 0, 0, 0, 0, 0]), "dropped", "igmp"),
        (up().ttl(1).udp(1, 2, b"x"), "dropped", "hop_limit_exceeded"),
        (up().udp(1, 2, b"x").no_checksum(), "dropped", "udp_checksum_zero"),
        (up().udp(1, 2, &data(100)).no_checksum().fragment(7, 0, 64), "dropped", "udp_checksum_zero_fragment"),
        (up().echo_request(1, 1, &data(16)).fragment(7, 0, 16), "dropped", "icmp_fragment"),
        (up().payload(1, &[13, 0, 0xf2, 0xff, 0, 0, 0, 0]), "dropped", "icmp_type"),
        (up().df().udp(1, 2, &data(1472)), "dropped", "packet_too_big"),
        (up().udp(1, 2, &data(1400)), "fragmented", ""),
        (ip4("203.0.113.66", SERVER_SEEN).udp(1, 2, b"x"), "dropped", "denied_source"),
        (ip4(CLIENT, "198.51.100.66").udp(1, 2, b"x"), "dropped", "denied_destination"),
        (ip4("224.0.0.1", SERVER_SEEN).udp(1, 2, b"x"), "dropped", "illegal_source"),
        (ip4(CLIENT, "198.51.100.99").udp(1, 2, b"x"), "passed", ""),
        (ip6(SERVER, "2001:db8:6464::127.0.0.1").udp(1, 2, b"x"), "dropped", "illegal_destination"),
        (ip6("fe80::1", CLIENT_SEEN).udp(1, 2, b"x"), "dropped", "illegal_source"),
        (down().ttl(1).udp(1, 2, b"x"), "dropped", "hop_limit_exceeded"),
        (down().udp(1, 2, b"x").payload_len(2000), "dropped", "malformed_header"),
        (down().payload(58, &[135, 0, 0, 0, 0, 0, 0, 0]), "dropped", "icmp_type"),
        (down().udp(1, 2, &data(1472)), "redirected", ""),
        (ip6("2001:db8:ffff::1", CLIENT_SEEN).udp(1, 2, b"x"), "passed", ""),
        (ip6(SERVER, "2001:db8:ffff::1").udp(1, 2, b"x"), "passed", ""),
    ];
    let explain_all = || {
        for (packet, verdict, reason) in &rows {
            let explained = explain_packet(&lab, &daemon, packet);
            assert_eq!(outcome(&explained), (*verdict, *reason), "{packet:?}: {:#}", explained["steps"]);
            assert!(reason.is_empty() || has_step(&explained, reason, ""), "{packet:?}: {:#}", explained["steps"]);
        }
    };
    uncounted(&lab, &daemon, explain_all);
    let denied = explain_packet(&lab, &daemon, &rows[13].0);
    assert!(has_step(&denied, "denied_source", "203.0.113.66 is in the deny list (203.0.113.66/32)"), "{denied:#}");
    let too_big = explain_packet(&lab, &daemon, &rows[11].0);
    assert!(
        has_step(
            &too_big,
            "packet_too_big",
            "1520 bytes, translated, do not fit the MTU of 1500, and DF is set; the sender is told 1480"
        ),
        "{too_big:#}"
    );
    assert_eq!((&too_big["answered"], field(&too_big, "type").1), (&true.into(), "3 destination unreachable"));
    assert!(too_big["reason"]["remedy"].as_str().is_some_and(|text| text.contains("MSS")));
}

/// The reasons for which a relay must be set up otherwise, or packets have headers that are rare.
#[test]
fn names_the_reasons_that_are_rare() {
    let changes = [
        ("[translation]", "[translation]\nstrict = true"),
        ("[\"2001:db8:6464::/96\"]", "[\"2001:db8:6464::/96\", \"64:ff9b::/96\"]"),
    ];
    let (lab, daemon) = Lab::with_daemon_changed(&changes).expect("a lab with a daemon");
    warm_up(&lab);
    let down = || ip6(SERVER, CLIENT_SEEN);
    let many = (0..33).fold(down(), |packet, _| packet.destination_options(&[1, 4, 0, 0, 0, 0]));
    let rows: Vec<Row> = vec![
        (ip4(CLIENT, "198.51.100.99").udp(1, 2, b"x"), "dropped", "out_of_scope"),
        (ip6(SERVER, "2001:db8:ffff::1").udp(1, 2, b"x"), "dropped", "out_of_scope"),
        (ip6(SERVER, "64:ff9b::10.0.0.1").udp(1, 2, b"x"), "dropped", "well_known_prefix"),
        (many.udp(1, 2, b"x"), "dropped", "extension_chain"),
        (down().routing(0, 1, &[0; 20]).udp(1, 2, b"x"), "dropped", "routing_header"),
        (
            down().fragment_header(0, true, 7).destination_options(&[1, 4, 0, 0, 0, 0]).udp(1, 2, &data(20)),
            "dropped",
            "fragment_extension",
        ),
    ];
    for (packet, verdict, reason) in &rows {
        let explained = explain_packet(&lab, &daemon, packet);
        assert_eq!(outcome(&explained), (*verdict, *reason), "{packet:?}: {:#}", explained["steps"]);
        assert!(has_step(&explained, reason, ""), "{packet:?}: {:#}", explained["steps"]);
        assert!(explained["reason"]["remedy"].as_str().is_some_and(|text| !text.is_empty()), "{reason}");
    }
}

/// Without a translation prefix, a router of the IPv4 Internet has no address in IPv6.
#[test]
fn names_the_reason_of_an_error_that_comes_from_nowhere() {
    let changes = [
        ("[\"2001:db8:6464::/96\"]", "[]"),
        (
            "[[eam]]\nipv4 = \"198.51.100.66\"",
            "[[eam]]\nipv4 = \"203.0.113.7\"\nipv6 = \"2001:db8:6464::203.0.113.7\"\n[[eam]]\nipv4 = \"198.51.100.66\"",
        ),
        ("ipv4_pool = [\"192.0.2.200\"]", ""),
    ];
    let (lab, daemon) = Lab::with_daemon_changed(&changes).expect("a lab with a daemon");
    let about = ip4(SERVER_SEEN, CLIENT).udp(53, 4711, b"answer");
    let explained = explain_packet(&lab, &daemon, &ip4("198.18.0.1", SERVER_SEEN).icmp(11, 0).about(about));
    assert_eq!(outcome(&explained), ("dropped", "no_source"), "{:#}", explained["steps"]);
    assert!(has_step(&explained, "no_source", ""), "{:#}", explained["steps"]);
}

/// What comes back from IPv4 at once: to an address of the relay's own, and with an extension.
#[test]
fn knows_what_a_hairpin_meets() {
    let service = "[[eam]]\nipv4 = \"198.51.100.66\"";
    let own = format!("[[eam]]\nipv4 = \"198.51.100.1\"\nipv6 = \"2001:db8:fe::1\"\n{service}");
    let pool = "ipv4_pool = [\"192.0.2.200\"]";
    let changes = [(service, &*own), (pool, &*format!("{pool}\ninterface_info = true"))];
    let (lab, daemon) = Lab::with_daemon_changed(&changes).expect("a lab with a daemon");
    warm_up(&lab);
    let (to_relay, to_server) = ("2001:db8:6464::198.51.100.1", "2001:db8:6464::198.51.100.10");
    let about = |from| ip6(from, SERVER).udp(1, 2, b"question");
    let rows = [
        (ip6(SERVER, to_relay).tcp(4711, 22, b"ssh"), "passed"),
        (ip6(SERVER, to_relay).icmp(1, 0).about(about(to_relay)), "passed"),
        (ip6("2001:db8:fe::2", to_server).icmp(1, 0).about(about(to_server)), "redirected"),
    ];
    for (packet, verdict) in &rows {
        let explained = explain_packet(&lab, &daemon, packet);
        assert_eq!(outcome(&explained), (*verdict, ""), "{packet:?}: {:#}", explained["steps"]);
    }
}

/// Errors of routers in both directions, with and without a mapping of their own.
#[test]
fn translates_icmp_errors_as_the_rule_book_says() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    warm_up(&lab);
    let quoted4 = || ip4(SERVER_SEEN, CLIENT).udp(53, 4711, &data(40));
    let quoted6 = || ip6(CLIENT_SEEN, SERVER).udp(4711, 53, &data(40));
    let rows: Vec<Row> = vec![
        (ip4("198.18.0.1", SERVER_SEEN).icmp(3, 1).about(quoted4()), "redirected", ""),
        (ip4("198.18.0.1", SERVER_SEEN).icmp(3, 4).mtu(1400).about(quoted4()), "redirected", ""),
        (ip4("198.18.0.1", SERVER_SEEN).icmp(12, 0).pointer(20).about(quoted4()), "dropped", "icmp_pointer"),
        (
            ip4("198.18.0.1", SERVER_SEEN).icmp(3, 1).about(ip4(SERVER_SEEN, CLIENT).icmp(3, 1).about(quoted4())),
            "dropped",
            "inner_icmp_error",
        ),
        (ip6("2001:db8:fe::2", CLIENT_SEEN).icmp(3, 0).about(quoted6()), "redirected", ""),
        (ip6("2001:db8:fe::2", CLIENT_SEEN).icmp(2, 0).mtu(1300).about(quoted6()), "redirected", ""),
        (ip6("2001:db8:fe::2", CLIENT_SEEN).icmp(4, 0).pointer(99).about(quoted6()), "dropped", "icmp_pointer"),
        (
            ip6(SERVER, CLIENT_SEEN).icmp(1, 4).about(ip6("2001:db8:ffff::1", SERVER).udp(1, 2, b"x")),
            "dropped",
            "inner_packet",
        ),
    ];
    for (packet, verdict, reason) in &rows {
        let explained = explain_packet(&lab, &daemon, packet);
        assert_eq!(outcome(&explained), (*verdict, *reason), "{packet:?}: {:#}", explained["steps"]);
    }
    let pooled = explain_packet(&lab, &daemon, &rows[4].0);
    assert_eq!(field(&pooled, "source"), ("2001:db8:fe::2", "192.0.2.200"));
    assert_eq!(field(&pooled, "inner destination"), (SERVER, SERVER_SEEN));
}

/// Errors say what was asked, and what to do.
#[test]
fn says_what_is_wrong_with_a_question() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    for (arguments, sentence) in [
        (format!("udp {CLIENT} {SERVER}"), "are of different families"),
        (format!("udp {CLIENT} {SERVER_SEEN} --size 20"), "the headers alone have 28 bytes"),
        (format!("udp {SERVER} {CLIENT_SEEN} --df"), "IPv6 has no such flag"),
        (format!("quic {CLIENT} {SERVER_SEEN}"), "`quic` is no protocol"),
        (format!("udp {CLIENT} {SERVER_SEEN} --in eth9"), "there is no interface eth9"),
        (format!("udp {CLIENT} {SERVER_SEEN} --in lo"), "the program is not attached to lo"),
        ("--hex 00".to_owned(), "is shorter than an Ethernet header"),
        ("--pcap /nonexistent".to_owned(), "--pcap /nonexistent: No such file"),
    ] {
        let said = daemon.ctl(&lab.relay, &format!("explain {arguments}"));
        assert!(!said.success && said.stderr.contains(sentence), "explain {arguments}: {}", said.stderr);
    }
}

/// A next hop is remembered for packets that are sent, and not for one that is explained.
#[test]
fn leaves_the_next_hop_cache_as_it_was() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    warm_up(&lab);
    // Another client behind the same router.
    let packet = ip6(SERVER, "2001:db8:6464::203.0.113.99").udp(53, 4711, b"answer");
    let by = || explain_packet(&lab, &daemon, &packet)["way_out"]["by"].as_str().expect("a way").to_owned();
    for _ in 0..3 {
        assert_eq!(by(), "routing_table");
    }
    let begin = Instant::now();
    loop {
        send_packet(&lab.server, &packet.bytes()).expect("the packet leaves");
        if by() == "remembered" {
            break;
        }
        assert!(begin.elapsed() < Duration::from_secs(10), "the way of packets that are sent is never remembered");
    }
}

/// Of clients that share their places in the cache, the one in the last of them too.
#[test]
fn knows_every_place_in_which_a_next_hop_is_remembered() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    lab.relay.ip("route add 10.0.0.0/8 via 198.18.0.1").expect("a route to the clients");
    warm_up(&lab);
    let set = next_hop::set(next_hop::ipv4(0x0a00_0001));
    let clients: Vec<u32> = (0x0a00_0001..0x0b00_0000)
        .filter(|client| next_hop::set(next_hop::ipv4(*client)) == set)
        .take(next_hop::WAYS as usize)
        .collect();
    assert_eq!(clients.len(), next_hop::WAYS as usize);
    let packet = |client: &u32| {
        let client = format!("2001:db8:6464::{}", Ipv4Addr::from_bits(*client));
        ip6(SERVER, client.as_str()).udp(53, 4711, b"answer")
    };
    let begin = Instant::now();
    let all_remembered = || {
        clients.iter().for_each(|client| send_packet(&lab.server, &packet(client).bytes()).expect("the packet leaves"));
        let by = |client| explain_packet(&lab, &daemon, &packet(client))["way_out"]["by"].clone();
        clients.iter().all(|client| by(client) == "remembered")
    };
    while !all_remembered() {
        assert!(begin.elapsed() < Duration::from_secs(10), "the way of packets that are sent is not remembered");
    }
}

/// Without news from the kernel, and without packets, a next hop is remembered for longer than the clock alone would let it.
#[test]
fn a_daemon_keeps_what_is_remembered() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    warm_up(&lab);
    let packet = ip6(SERVER, CLIENT_MAPPED).udp(53, 4711, b"answer");
    let by = || explain_packet(&lab, &daemon, &packet)["way_out"]["by"].clone();
    let kept = || {
        send_packet(&lab.server, &packet.bytes()).expect("the packet leaves");
        thread::sleep(Duration::from_millis(100));
        let before = by();
        thread::sleep(Duration::from_millis(2500));
        before == "remembered" && by() == "remembered"
    };
    // A neighbour that is looked at, or the change that is taken for granted now and then, may come in between.
    assert!((0..5).any(|_| kept()), "what is remembered is forgotten within 2.5 s, though nothing changes");
}

/// A packet that is sent meets what was explained.
#[test]
fn foretells_what_a_packet_meets() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    warm_up(&lab);
    let packet = ip4(CLIENT, SERVER_SEEN).udp(4711, 53, b"question").no_checksum();
    let explained = explain_packet(&lab, &daemon, &packet);
    let drops = |reason: &str| {
        let stats = counted(&lab, &daemon);
        let drops = stats["drops"].as_array().expect("drops").clone();
        drops.iter().find(|drop| drop["reason"] == reason).map(|drop| drop["packets"].as_u64().expect("a number"))
    };
    let (_, reason) = outcome(&explained);
    assert_eq!(drops(reason), Some(0));
    assert!(!daemon.log().contains("dropped a UDP packet"), "explaining it makes no event");
    send_packet(&lab.client, &packet.bytes()).expect("the packet leaves");
    let begin = Instant::now();
    while drops(reason) != Some(1) {
        assert!(begin.elapsed().as_secs() < 5, "the packet was not dropped for {reason}");
    }
}
