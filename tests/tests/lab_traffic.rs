//! Real traffic between an IPv4-only client and an IPv6-only server through the real daemon.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use xlat_tests::lab::{
    CLIENT, CLIENT_SEEN, Capture, Daemon, Lab, Namespace, Running, SERVER, SERVER_SEEN, TcpServer, UdpServer, ask,
    random_bytes,
};

const MEGABYTE: usize = 1 << 20;

fn digest(machine: &Namespace, path: &std::path::Path) -> String {
    let said = machine.run(&format!("sha256sum {}", path.display())).ok();
    said.split_whitespace().next().expect("a digest").to_owned()
}

#[test]
fn ping_in_both_directions() {
    let (lab, _daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let said = lab.client.run(&format!("ping -n -c 5 -i 0.1 -W 2 {SERVER_SEEN}")).ok();
    assert!(said.contains(" 0% packet loss"), "{said}");
    let said = lab.server.run(&format!("ping -n -c 5 -i 0.1 -W 2 {CLIENT_SEEN}")).ok();
    assert!(said.contains(" 0% packet loss"), "{said}");
    let said = lab.client.run(&format!("ping -n -M do -s 1452 -c 2 -i 0.1 -W 2 {SERVER_SEEN}")).ok();
    assert!(said.contains(" 0% packet loss"), "the largest echo that fits: {said}");
}

#[test]
fn a_file_of_100_megabytes_arrives_whole() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let content = random_bytes(100 * MEGABYTE, 7);
    let (sent, received) = (daemon.directory().join("sent"), daemon.directory().join("received"));
    std::fs::write(&sent, &content).expect("writing the file");
    TcpServer::start(&lab.server, SocketAddr::from((SERVER, 80)), content).expect("a web server");
    let url = format!("http://{SERVER_SEEN}/file");
    lab.client
        .run(&format!("curl --silent --show-error --fail --max-time 60 --output {} {url}", received.display()))
        .ok();
    assert_eq!(digest(&lab.server, &sent), digest(&lab.client, &received), "the file has changed on its way");
}

#[test]
fn the_server_fetches_a_file_from_the_client() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let content = random_bytes(20 * MEGABYTE, 8);
    let (sent, received) = (daemon.directory().join("sent"), daemon.directory().join("received"));
    std::fs::write(&sent, &content).expect("writing the file");
    TcpServer::start(&lab.client, SocketAddr::from((CLIENT, 80)), content).expect("a web server");
    let url = format!("http://[{CLIENT_SEEN}]/file");
    lab.server
        .run(&format!(
            "curl --globoff --silent --show-error --fail --max-time 60 --output {} {url}",
            received.display()
        ))
        .ok();
    assert_eq!(digest(&lab.client, &sent), digest(&lab.server, &received), "the file has changed on its way");
}

#[test]
fn udp_question_and_answer_in_both_directions() {
    let (lab, _daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let server = UdpServer::start(&lab.server, SocketAddr::from((SERVER, 53)), b"answer".to_vec()).expect("a server");
    let answer = ask(&lab.client, format!("{SERVER_SEEN}:53").parse().expect("an address"), b"question");
    assert_eq!(answer.expect("an answer"), b"answer");
    let (from, question) = server.asked().expect("a question");
    assert_eq!((from.ip().to_string(), question), ("2001:db8:6464::cb00:7107".to_owned(), b"question".to_vec()));

    let client = UdpServer::start(&lab.client, SocketAddr::from((CLIENT, 53)), b"reply".to_vec()).expect("a server");
    let answer = ask(&lab.server, format!("[{CLIENT_SEEN}]:53").parse().expect("an address"), b"query");
    assert_eq!(answer.expect("an answer"), b"reply");
    let (from, question) = client.asked().expect("a question");
    assert_eq!((from.ip().to_string(), question), (SERVER_SEEN.to_owned(), b"query".to_vec()));
}

/// An iperf3 server that answers once, listening.
fn iperf3(lab: &Lab, daemon: &Daemon) -> Running {
    let log = daemon.directory().join("iperf3");
    let server = lab.server.start("iperf3", &["-s", "-1"], &log).expect("an iperf3 server");
    let begin = Instant::now();
    while lab.server.run("ss -Hlnt sport = :5201").ok().is_empty() {
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        assert!(begin.elapsed() < Duration::from_secs(20), "iperf3 does not listen: {said}");
        std::thread::sleep(Duration::from_millis(20));
    }
    server
}

#[test]
fn parallel_tcp_in_both_directions() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let first = iperf3(&lab, &daemon);
    lab.client.run(&format!("iperf3 -c {SERVER_SEEN} -P 4 -t 3 -O 0 --connect-timeout 3000")).ok();
    // It may take its time to end, and would be taken for the second.
    drop(first);
    let _server = iperf3(&lab, &daemon);
    let said = lab.client.run(&format!("iperf3 -c {SERVER_SEEN} -P 4 -t 3 -R --connect-timeout 3000 --json")).ok();
    let report: serde_json::Value = serde_json::from_str(&said).expect("iperf3 speaks JSON");
    let rate = report["end"]["sum_received"]["bits_per_second"].as_f64().expect("a rate");
    assert!(rate > 10e6, "parallel TCP towards the client came at {rate} bit/s");
}

/// Every kind of traffic at once, each wire judged by a decoder that has nothing to do with xlat.
#[test]
fn a_second_decoder_finds_no_fault_on_either_wire() {
    let (lab, _daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let towards_ipv4 = Capture::start(&lab.router4, "relay").expect("a capture");
    let towards_ipv6 = Capture::start(&lab.router6, "relay").expect("a capture");
    TcpServer::start(&lab.server, SocketAddr::from((SERVER, 80)), random_bytes(2 * MEGABYTE, 9)).expect("a web server");
    let _udp =
        UdpServer::start(&lab.server, SocketAddr::from((SERVER, 4000)), random_bytes(3000, 3)).expect("a server");
    lab.client
        .run(&format!("curl --silent --show-error --fail --max-time 30 --output /dev/null http://{SERVER_SEEN}/"))
        .ok();
    lab.client.run(&format!("ping -n -c 3 -i 0.1 -W 2 {SERVER_SEEN}")).ok();
    lab.server.run(&format!("ping -n -c 3 -i 0.1 -W 2 {CLIENT_SEEN}")).ok();
    ask(&lab.client, format!("{SERVER_SEEN}:4000").parse().expect("an address"), &random_bytes(1200, 4))
        .expect("an answer");
    // Errors: port unreachable from both ends, time exceeded from every hop.
    assert!(ask(&lab.client, format!("{SERVER_SEEN}:9").parse().expect("an address"), b"closed").is_err());
    assert!(ask(&lab.server, format!("[{CLIENT_SEEN}]:9").parse().expect("an address"), b"closed").is_err());
    lab.client.run(&format!("traceroute -n -q 1 -w 1 -m 5 {SERVER_SEEN}")).ok();
    lab.server.run(&format!("traceroute -n -q 1 -w 1 -m 5 {CLIENT_SEEN}")).ok();
    for capture in [towards_ipv4, towards_ipv6] {
        let captured = capture.stop().expect("the capture ends");
        captured.expect_no_fault(100);
    }
}

/// RFC 7915 4 and 5: packets of one flow leave in the order in which they came. No more of them are on their way than every
/// queue between the two sockets can hold, so that all arrive, however slow the machine is.
#[test]
fn datagrams_arrive_in_order() {
    let (lab, _daemon) = Lab::with_daemon().expect("a lab with a daemon");
    // While the kernel looks for a neighbour it may keep back the first packets.
    lab.client.run(&format!("ping -n -c 2 -i 0.1 -W 2 {SERVER_SEEN}")).ok();
    lab.server.run(&format!("ping -n -c 2 -i 0.1 -W 2 {CLIENT_SEEN}")).ok();
    expect_order(&lab.client, (CLIENT, 4001).into(), &lab.server, (SERVER, 4001).into(), SERVER_SEEN);
    // A port of its own: a program that another test starts may hold the sockets of the first for a moment.
    expect_order(&lab.server, (SERVER, 4002).into(), &lab.client, (CLIENT, 4002).into(), CLIENT_SEEN);
}

/// Sends bursts of numbered datagrams of different sizes, and wants each burst whole and in order before the next.
#[track_caller]
fn expect_order(from: &Namespace, source: SocketAddr, to: &Namespace, destination: SocketAddr, destination_seen: &str) {
    const BURSTS: u32 = 40;
    const BURST: u32 = 50;
    let sender = from.inside(|| UdpSocket::bind(source)).expect("a socket");
    let receiver = to.inside(|| UdpSocket::bind(destination)).expect("a socket");
    receiver.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    let destination_seen: SocketAddr =
        (destination_seen.parse::<IpAddr>().expect("an address"), destination.port()).into();
    let mut buffer = [0; 2048];
    for burst in 0..BURSTS {
        let numbers = burst * BURST..(burst + 1) * BURST;
        for number in numbers.clone() {
            let datagram = [&number.to_be_bytes()[..], &random_bytes(number as usize * 37 % 1200, 1)].concat();
            sender.send_to(&datagram, destination_seen).expect("a datagram leaves");
        }
        let mut received = Vec::new();
        while received.len() < BURST as usize && receiver.recv(&mut buffer).is_ok() {
            received.push(u32::from_be_bytes(buffer[..4].try_into().expect("4 bytes")));
        }
        assert_eq!(received, numbers.collect::<Vec<_>>(), "the datagrams to {destination_seen}");
    }
}
