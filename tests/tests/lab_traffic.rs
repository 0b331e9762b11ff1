//! Real traffic between an IPv4-only client and an IPv6-only server through the real daemon.

use std::{
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

use xlat_tests::lab::{
    CLIENT, CLIENT_SEEN, Capture, Lab, Namespace, SERVER, SERVER_SEEN, TcpServer, UdpServer, ask, random_bytes,
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

#[test]
fn parallel_tcp_in_both_directions() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let _server =
        lab.server.start("iperf3", &["-s", "-1"], &daemon.directory().join("iperf3")).expect("an iperf3 server");
    std::thread::sleep(Duration::from_millis(500));
    lab.client.run(&format!("iperf3 -c {SERVER_SEEN} -P 4 -t 3 -O 0 --connect-timeout 3000")).ok();
    let _server =
        lab.server.start("iperf3", &["-s", "-1"], &daemon.directory().join("iperf3")).expect("an iperf3 server");
    std::thread::sleep(Duration::from_millis(500));
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

/// RFC 7915 4 and 5: packets of one flow leave in the order in which they came.
#[test]
fn datagrams_arrive_in_order() {
    const DATAGRAMS: u32 = 2000;
    let (lab, _daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let send = |from: &Namespace, to: String| {
        from.inside(|| {
            let any: SocketAddr = if to.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" }.parse().expect("an address");
            let socket = UdpSocket::bind(any).expect("a socket");
            for number in 0..DATAGRAMS {
                socket.send_to(&number.to_be_bytes(), &to).expect("a datagram leaves");
                if number % 50 == 0 {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        });
    };
    let receive = |socket: &UdpSocket| {
        socket.set_read_timeout(Some(Duration::from_secs(1))).expect("a timeout");
        let mut numbers = Vec::new();
        let mut buffer = [0; 4];
        while numbers.len() < DATAGRAMS as usize && socket.recv(&mut buffer).is_ok() {
            numbers.push(u32::from_be_bytes(buffer));
        }
        numbers
    };
    let server = lab.server.inside(|| UdpSocket::bind((SERVER, 4001))).expect("a socket");
    send(&lab.client, format!("{SERVER_SEEN}:4001"));
    let numbers = receive(&server);
    assert!(
        numbers.len() > DATAGRAMS as usize / 2 && numbers.is_sorted(),
        "{} arrived, or out of order",
        numbers.len()
    );
    let client = lab.client.inside(|| UdpSocket::bind((CLIENT, 4001))).expect("a socket");
    send(&lab.server, format!("[{CLIENT_SEEN}]:4001"));
    let numbers = receive(&client);
    assert!(
        numbers.len() > DATAGRAMS as usize / 2 && numbers.is_sorted(),
        "{} arrived, or out of order",
        numbers.len()
    );
}
