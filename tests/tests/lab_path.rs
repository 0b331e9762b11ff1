//! What the ends learn about the path: MTUs, fragments, hops, refusals.

use std::{
    io::ErrorKind,
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use xlat_tests::{
    lab::{
        CLIENT, CLIENT_SEEN, Capture, Lab, POOL, SERVER, SERVER_SEEN, Tap, TcpServer, UdpServer, ask, best_of,
        is_within, random_bytes, send_packet,
    },
    notation::{data, ip4},
};

const MEGABYTE: usize = 1 << 20;

/// Uploads a megabyte from the client.
fn upload(lab: &Lab, directory: &std::path::Path) {
    let file = directory.join("upload");
    std::fs::write(&file, random_bytes(MEGABYTE, 5)).expect("writing the file");
    TcpServer::start(&lab.server, SocketAddr::from((SERVER, 80)), Vec::new()).expect("a web server");
    let url = format!("http://{SERVER_SEEN}/");
    let command =
        format!("curl --silent --show-error --fail --max-time 20 -H Expect: --upload-file {} {url}", file.display());
    assert_eq!(lab.client.run(&command).ok(), MEGABYTE.to_string(), "bytes that came");
}

/// Downloads a megabyte to the client.
fn download(lab: &Lab) {
    TcpServer::start(&lab.server, SocketAddr::from((SERVER, 80)), random_bytes(MEGABYTE, 6)).expect("a web server");
    let command = format!(
        "curl --silent --show-error --fail --max-time 20 --output /dev/null --write-out %{{size_download}} http://{SERVER_SEEN}/"
    );
    assert_eq!(lab.client.run(&command).ok(), MEGABYTE.to_string(), "bytes that came");
}

/// The MTU that a machine has learned for a destination.
fn learned(machine: &xlat_tests::lab::Namespace, destination: &str) -> u32 {
    let said = machine.run(&format!("ip route get {destination}")).ok();
    let mtu = said.split_whitespace().skip_while(|word| *word != "mtu").nth(1);
    mtu.unwrap_or_else(|| panic!("no MTU was learned: {said}")).parse().expect("a number")
}

// PMTUD with real TCP. Only the way into the narrow link is narrow: its other end has 1500, or TCP would agree on the smaller
// size at once, and there would be nothing to discover.

#[test]
fn a_narrow_link_of_the_relays_own_towards_ipv6() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    lab.relay.ip("link set inet6 mtu 1300").expect("a narrow link");
    std::thread::sleep(Duration::from_millis(200));
    upload(&lab, daemon.directory());
    assert_eq!(learned(&lab.client, SERVER_SEEN), 1280);
}

#[test]
fn a_narrow_link_further_on_towards_ipv6() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    lab.router6.ip("link set server mtu 1300").expect("a narrow link");
    upload(&lab, daemon.directory());
    assert_eq!(learned(&lab.client, SERVER_SEEN), 1280);
}

#[test]
fn a_narrow_link_of_the_relays_own_towards_ipv4() {
    let (lab, _daemon) = Lab::with_daemon().expect("a lab with a daemon");
    lab.relay.ip("link set inet4 mtu 1400").expect("a narrow link");
    std::thread::sleep(Duration::from_millis(200));
    download(&lab);
    assert_eq!(learned(&lab.server, CLIENT_SEEN), 1420);
}

#[test]
fn a_narrow_link_further_on_towards_ipv4() {
    let (lab, _daemon) = Lab::with_daemon().expect("a lab with a daemon");
    lab.router4.ip("link set client mtu 1400").expect("a narrow link");
    download(&lab);
    assert_eq!(learned(&lab.server, CLIENT_SEEN), 1420);
}

#[test]
fn a_link_under_1280_towards_ipv4_is_crossed_in_fragments() {
    let (lab, _daemon) = Lab::with_daemon().expect("a lab with a daemon");
    lab.router4.ip("link set client mtu 1000").expect("a narrow link");
    download(&lab);
    assert_eq!(learned(&lab.server, CLIENT_SEEN), 1280);
}

/// What the client sends comes by another link: this one has no IPv6.
#[test]
fn a_link_of_the_relays_own_under_1280_towards_ipv4_is_crossed_in_fragments() {
    let (lab, _daemon) = Lab::with_daemon().expect("a lab with a daemon");
    lab.relay.link("narrow4", &lab.router4, "narrow").expect("a link");
    lab.relay.ip("addr add 198.18.1.2/24 dev narrow4").expect("an address");
    lab.router4.ip("addr add 198.18.1.1/24 dev narrow").expect("an address");
    lab.relay.ip("link set narrow4 mtu 1000").expect("a narrow link");
    lab.relay.ip("route change 203.0.113.0/24 via 198.18.1.1").expect("a route");
    std::thread::sleep(Duration::from_millis(200));
    let capture = Capture::start(&lab.router4, "narrow").expect("a capture");
    download(&lab);
    assert_eq!(learned(&lab.server, CLIENT_SEEN), 1280);
    let captured = capture.stop().expect("the capture ends");
    captured.expect_no_fault(1000);
    assert!(!captured.select("ip.flags.mf == 1").is_empty(), "no fragment was seen");
}

/// The same link carries what the client sends. IPv6 wants links of 1280 bytes, IPv4 does not, and there is no IPv6 on this one.
#[test]
fn a_link_of_the_relays_own_under_1280_towards_ipv4_is_a_way_in() {
    let (lab, _daemon) = Lab::with_daemon().expect("a lab with a daemon");
    lab.relay.ip("link set inet4 mtu 1000").expect("a narrow link");
    std::thread::sleep(Duration::from_millis(200));
    lab.client.run(&format!("ping -n -c 2 -i 0.2 -W 2 {SERVER_SEEN}")).ok();
    download(&lab);
}

/// As a DNS server without path MTU discovery answers: 4000 bytes, DF clear, fragmented by the sender, then by the relay.
#[test]
fn a_datagram_of_4000_bytes_without_df_in_both_directions() {
    let (lab, _daemon) = Lab::with_daemon().expect("a lab with a daemon");
    lab.client.sysctl("ipv4/ip_no_pmtu_disc", "1").expect("datagrams without DF");
    let capture = Capture::start(&lab.router6, "relay").expect("a capture");
    let question = random_bytes(4000, 1);
    let answer = random_bytes(4000, 2);
    let server = UdpServer::start(&lab.server, SocketAddr::from((SERVER, 4000)), answer.clone()).expect("a server");
    let got = ask(&lab.client, format!("{SERVER_SEEN}:4000").parse().expect("an address"), &question);
    assert_eq!(server.asked().expect("a question").1, question);
    assert_eq!(got.expect("an answer"), answer);

    let client = UdpServer::start(&lab.client, SocketAddr::from((CLIENT, 4000)), answer.clone()).expect("a server");
    let got = ask(&lab.server, format!("[{CLIENT_SEEN}]:4000").parse().expect("an address"), &question);
    assert_eq!(client.asked().expect("a question").1, question);
    assert_eq!(got.expect("an answer"), answer);

    let captured = capture.stop().expect("the capture ends");
    captured.expect_no_fault(6);
    let too_long = captured.select("ipv6.src == 2001:db8:6464::/96 && ipv6.plen > 1240");
    assert!(too_long.is_empty(), "over lowest_ipv6_mtu:\n{}", too_long.join("\n"));
}

/// RFC 7915 1.2 keeps fragments of ICMP from being translated, not whole echoes that must become fragments.
#[test]
fn an_echo_without_df_that_must_be_fragmented_gets_through() {
    let (lab, _daemon) = Lab::with_daemon().expect("a lab with a daemon");
    // 1260 bytes of IPv4 are the most that need no fragments; an answer of more than 1452 the server would fragment itself.
    for size in [1232, 1233, 1400, 1452] {
        lab.client.run(&format!("ping -n -q -M dont -c 3 -i 0.1 -W 2 -s {size} {SERVER_SEEN}")).ok();
        // The client answers without DF.
        lab.server.run(&format!("ping -n -q -c 3 -i 0.1 -W 2 -s {size} {CLIENT_SEEN}")).ok();
    }
}

/// Pieces are mapped by the prefix of the interface that the whole packet came by.
#[test]
fn pieces_have_the_prefix_of_the_interface_that_the_packet_came_by() {
    let prefixes = "[\"2001:db8:6464::/96\"";
    let another = "[[prefix_for]]\nprefix = \"2001:db8:6465::/96\"\ninterfaces = [\"inet4\"]\n[icmp]";
    let changes = [(prefixes, &*format!("{prefixes}, \"2001:db8:6465::/96\"")), ("[icmp]", another)];
    let (lab, _daemon) = Lab::with_daemon_changed(&changes).expect("a lab with a daemon");
    let capture = Capture::start(&lab.router6, "relay").expect("a capture");
    // The largest with options leaves room for none, and the smallest of those that are fragmented is one byte too long.
    for options in ["-s 100", "-s 1233", "-s 1400", "-s 1452", "-s 1400 -R", "-s 1412 -T tsonly"] {
        lab.client.run(&format!("ping -n -q -M dont -c 3 -i 0.1 -W 2 {options} {SERVER_SEEN}")).ok();
    }
    let captured = capture.stop().expect("the capture ends");
    captured.expect_no_fault(30);
    assert!(!captured.select("ipv6.fraghdr && ipv6.src == 2001:db8:6465::/96").is_empty(), "no fragment was seen");
    let wrong = captured.select("ipv6.src == 2001:db8:6464::/96");
    assert!(wrong.is_empty(), "by the first prefix:\n{}", wrong.join("\n"));
}

/// RFC 7915 4.1: options are ignored, whatever is in them, also of a packet that must be fragmented, which a kernel would look at.
#[test]
fn options_of_a_packet_that_must_be_fragmented_are_ignored() {
    let (lab, _daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let server = UdpServer::start(&lab.server, SocketAddr::from((SERVER, 53)), b"answer".to_vec()).expect("a server");
    ask(&lab.client, format!("{SERVER_SEEN}:53").parse().expect("an address"), b"question")
        .expect("every neighbour is known");
    server.asked().expect("the first question");
    // One that lies about its length, a Record Route and a Timestamp with pointers to nowhere, a source route at its end.
    for options in
        [&[7_u8, 200, 0, 0][..], &[7, 7, 3, 0, 0, 0, 0, 0], &[68, 4, 1, 0xf1], &[131, 7, 8, 192, 0, 2, 1, 0], &[1; 40]]
    {
        let packet = ip4("203.0.113.7", SERVER_SEEN).options(options).udp(4711, 53, &data(1300)).bytes();
        send_packet(&lab.router4, &packet).expect("a packet");
        let (_, question) = server.asked().unwrap_or_else(|error| panic!("options {options:?}: {error}"));
        assert_eq!(question.len(), 1300);
    }
}

#[test]
fn a_large_tcp_segment_without_df_is_fragmented() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    lab.client.sysctl("ipv4/ip_no_pmtu_disc", "1").expect("segments without DF");
    let capture = Capture::start(&lab.router6, "relay").expect("a capture");
    upload(&lab, daemon.directory());
    let captured = capture.stop().expect("the capture ends");
    captured.expect_no_fault(100);
    let too_long = captured.select("ipv6.src == 2001:db8:6464::/96 && ipv6.plen > 1240");
    assert!(too_long.is_empty(), "over lowest_ipv6_mtu:\n{}", too_long.join("\n"));
    assert!(!captured.select("ipv6.fraghdr").is_empty(), "no fragment was seen");
}

#[test]
fn lowest_ipv6_mtu_of_1500_needs_no_fragments() {
    let changes = [("[translation]", "[translation]\nlowest_ipv6_mtu = 1500")];
    let (lab, daemon) = Lab::with_daemon_changed(&changes).expect("a lab with a daemon");
    lab.client.ip("route change default via 203.0.113.1 mtu 1480").expect("a route");
    lab.client.sysctl("ipv4/ip_no_pmtu_disc", "1").expect("segments without DF");
    let capture = Capture::start(&lab.router6, "relay").expect("a capture");
    upload(&lab, daemon.directory());
    let fragments = capture.stop().expect("the capture ends").select("ipv6.fraghdr");
    assert!(fragments.is_empty(), "fragments:\n{}", fragments.join("\n"));
}

/// The way to a service is narrower than every interface, and than `lowest_ipv6_mtu` says. What is forwarded obeys a locked MTU alone.
#[test]
fn what_exceeds_a_narrow_route_is_fragmented() {
    let changes = [("[translation]", "[translation]\nlowest_ipv6_mtu = 1500")];
    let (lab, daemon) = Lab::with_daemon_changed(&changes).expect("a lab with a daemon");
    lab.relay.ip("-6 route change 2001:db8:5e1::/48 via 2001:db8:fe::2 mtu lock 1400").expect("a narrow route");
    std::thread::sleep(Duration::from_millis(200));
    // 1400 bytes of IPv6 carry an echo of 1352.
    for size in [1352, 1353, 1400, 1452] {
        let said = lab.client.run(&format!("ping -n -q -M dont -c 3 -i 0.1 -W 2 -s {size} {SERVER_SEEN}"));
        assert!(said.success, "{size} bytes: {}\n{}", said.stdout, daemon.ctl(&lab.relay, "stats").stdout);
    }
}

/// A tap takes frames from XDP, but would lose those of several buffers: they leave by the kernel.
#[test]
fn a_large_packet_leaves_by_an_interface_that_takes_no_frames_of_several_buffers() {
    const BYTES: usize = 8000;
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let links = [(&lab.client, "eth0"), (&lab.router4, "client"), (&lab.router4, "relay"), (&lab.relay, "inet4")];
    for (machine, link) in links {
        machine.ip(&format!("link set {link} mtu 9000")).expect("a wide link");
    }
    let mut tap = Tap::new(&lab.relay, "tap6").expect("a tap");
    for command in [
        "link set tap6 mtu 9000 up",
        "addr add 2001:db8:f0::1/64 dev tap6 nodad",
        "neigh add 2001:db8:f0::2 lladdr 02:00:00:00:00:02 dev tap6 nud permanent",
        "-6 route change 2001:db8:5e1::/48 via 2001:db8:f0::2 dev tap6",
    ] {
        lab.relay.ip(command).expect("a way by the tap");
    }
    let is_udp = |frame: &[u8]| frame.get(12..14) == Some(&[0x86, 0xdd]) && frame.get(20) == Some(&17);
    for bytes in [BYTES, 100] {
        let came = is_within(Duration::from_secs(10), || {
            lab.client.inside(|| {
                let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("a socket");
                socket.send_to(&vec![7; bytes], (SERVER_SEEN, 4711)).expect("sending");
            });
            let frame = tap.frame(Duration::from_millis(300), is_udp).expect("a frame");
            frame.is_some_and(|frame| frame.len() == 14 + 40 + 8 + bytes)
        });
        assert!(came, "{bytes} bytes: {}", daemon.ctl(&lab.relay, "stats").stdout);
    }
}

/// Every hop from the client: its router, the relay, a router without an IPv4 address (by the pool), the server.
#[test]
fn traceroute_from_the_client_shows_every_hop() {
    let (lab, _daemon) = Lab::with_daemon().expect("a lab with a daemon");
    TcpServer::start(&lab.server, SocketAddr::from((SERVER, 80)), Vec::new()).expect("a web server");
    for method in ["-U", "-I", "-T"] {
        let said = lab.client.run(&format!("traceroute -4 -n {method} -q 1 -w 2 -m 6 {SERVER_SEEN}")).ok();
        expect_hops(&said, &["203.0.113.1", "198.18.0.2", POOL, SERVER_SEEN]);
    }
}

/// Every hop from the server: its router, the relay, a router of the IPv4 Internet, the client.
#[test]
fn traceroute_from_the_server_shows_every_hop() {
    let (lab, _daemon) = Lab::with_daemon().expect("a lab with a daemon");
    TcpServer::start(&lab.client, SocketAddr::from((CLIENT, 80)), Vec::new()).expect("a web server");
    for method in ["-U", "-I", "-T"] {
        let said = lab.server.run(&format!("traceroute -6 -n {method} -q 1 -w 2 -m 6 {CLIENT_SEEN}")).ok();
        let router4 = "2001:db8:6464::c612:1";
        expect_hops(&said, &["2001:db8:5e1:1::1", "2001:db8:fe::1", router4, "2001:db8:6464::cb00:7107"]);
    }
}

/// The hops in the order in which they are to come, each on its line.
#[track_caller]
fn expect_hops(said: &str, hops: &[&str]) {
    let lines: Vec<&str> = said.lines().collect();
    let found: Vec<Option<usize>> = hops
        .iter()
        .map(|hop| {
            let on = |line: &&str| line.split(|c: char| c.is_whitespace() || c == '|').any(|word| word == *hop);
            // The first line names the destination.
            lines.iter().skip(1).position(on)
        })
        .collect();
    assert!(found.iter().all(Option::is_some) && found.is_sorted(), "expected the hops {hops:?}:\n{said}");
}

#[test]
fn mtr_in_both_directions_shows_every_hop() {
    let (lab, _daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let said = lab
        .client
        .run(&format!("mtr -4 --report --no-dns --report-cycles 2 --interval 0.2 --report-wide {SERVER_SEEN}"))
        .ok();
    expect_hops(&said, &["203.0.113.1", "198.18.0.2", POOL, SERVER_SEEN]);
    let said = lab
        .server
        .run(&format!("mtr -6 --report --no-dns --report-cycles 2 --interval 0.2 --report-wide {CLIENT_SEEN}"))
        .ok();
    let router4 = "2001:db8:6464::c612:1";
    expect_hops(&said, &["2001:db8:5e1:1::1", "2001:db8:fe::1", router4, "2001:db8:6464::cb00:7107"]);
}

#[test]
fn tracepath_in_both_directions_finds_hops_and_mtu() {
    let (lab, _daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let said = lab.client.run(&format!("tracepath -4 -n -m 8 {SERVER_SEEN}")).ok();
    expect_hops(&said, &["203.0.113.1", "198.18.0.2", POOL, SERVER_SEEN]);
    assert!(said.contains("pmtu 1480"), "the path carries 1480 bytes of IPv4:\n{said}");
    let said = lab.server.run(&format!("tracepath -6 -n -m 8 {CLIENT_SEEN}")).ok();
    let router4 = "2001:db8:6464::c612:1";
    expect_hops(&said, &["2001:db8:5e1:1::1", "2001:db8:fe::1", router4, "2001:db8:6464::cb00:7107"]);
    assert!(said.contains("pmtu 1500"), "{said}");
}

/// Of three tries one has to be answered in time. Each says what the kernel told, which has to be one of `expected`, and how soon.
#[track_caller]
fn expect_soon(address: &str, expected: &[ErrorKind], most: Duration, attempt: impl Fn() -> (ErrorKind, Duration)) {
    best_of(3, || {
        let (kind, after) = attempt();
        assert!(expected.contains(&kind), "{address}: {kind:?}");
        if after < most { Ok(()) } else { Err(format!("{address}: {kind:?} after {after:?}")) }
    });
}

/// What the kernel tells a program that connects, and how soon.
fn connect(machine: &xlat_tests::lab::Namespace, address: &str) -> (ErrorKind, Duration) {
    let address: SocketAddr = address.parse().expect("an address");
    machine.inside(|| {
        let begin = Instant::now();
        let error = TcpStream::connect_timeout(&address, Duration::from_secs(8)).expect_err("nobody listens");
        (error.kind(), begin.elapsed())
    })
}

#[test]
fn connection_refused_is_seen_at_once() {
    let (lab, _daemon) = Lab::with_daemon().expect("a lab with a daemon");
    for (machine, address) in [(&lab.client, format!("{SERVER_SEEN}:81")), (&lab.server, format!("[{CLIENT_SEEN}]:81"))]
    {
        expect_soon(&address, &[ErrorKind::ConnectionRefused], Duration::from_secs(1), || connect(machine, &address));
    }
}

#[test]
fn a_closed_udp_port_is_seen_at_once() {
    let (lab, _daemon) = Lab::with_daemon().expect("a lab with a daemon");
    for (machine, address) in [(&lab.client, format!("{SERVER_SEEN}:9")), (&lab.server, format!("[{CLIENT_SEEN}]:9"))] {
        expect_soon(&address, &[ErrorKind::ConnectionRefused], Duration::from_secs(1), || {
            let begin = Instant::now();
            let error = ask(machine, address.parse().expect("an address"), b"?").expect_err("nobody listens");
            (error.kind(), begin.elapsed())
        });
    }
}

#[test]
fn host_unreachable_is_seen_at_once() {
    let (lab, _daemon) = Lab::with_daemon().expect("a lab with a daemon");
    lab.router6.ip("route add unreachable 2001:db8:5e1:1::66").expect("a route to nowhere");
    lab.router4.ip("route add unreachable 203.0.113.66").expect("a route to nowhere");
    for (machine, address) in [(&lab.client, "198.51.100.66:80"), (&lab.server, "[2001:db8:6464::203.0.113.66]:80")] {
        let expected = [ErrorKind::HostUnreachable, ErrorKind::NetworkUnreachable];
        expect_soon(address, &expected, Duration::from_secs(2), || connect(machine, address));
    }
}

/// The router without an IPv4 address appears by the pool, and tells who it is where that is wanted (RFC 6791, RFC 5837).
#[test]
fn the_true_source_of_an_error_can_be_told() {
    let changes = [("[icmp]", "[icmp]\ninterface_info = true")];
    let (lab, _daemon) = Lab::with_daemon_changed(&changes).expect("a lab with a daemon");
    let capture = Capture::start(&lab.router4, "relay").expect("a capture");
    lab.client.run(&format!("traceroute -4 -n -q 1 -w 2 -m 6 {SERVER_SEEN}")).ok();
    let captured = capture.stop().expect("the capture ends");
    captured.expect_no_fault(4);
    let told = captured.select("icmp.ext.class == 2 && icmp.int_info.ipv6 == 2001:db8:fe::2");
    assert!(!told.is_empty(), "no error told the address of its router");
}

/// The error grows on its way, and a packet from a veth has behind it what its allocation happens to have: with some lengths
/// nothing.
#[test]
fn errors_of_any_length_have_room_for_the_true_source() {
    let changes = [("[icmp]", "[icmp]\ninterface_info = true")];
    let (lab, _daemon) = Lab::with_daemon_changed(&changes).expect("a lab with a daemon");
    for length in [28, 40, 60, 80, 100, 120, 140, 160, 180, 250, 300, 350, 500, 900] {
        let said = lab.client.run(&format!("traceroute -4 -n -q 1 -w 2 -f 3 -m 3 {SERVER_SEEN} {length}")).ok();
        assert!(said.contains(POOL), "a probe of {length} bytes: {said}");
    }
}
