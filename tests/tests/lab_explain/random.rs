//! The rule book beside the program, on random packets.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
};

use serde_json::Value;
use xlat_tests::{
    fuzz::{
        configs::{self, Named},
        generate,
        random::Random,
    },
    lab::{Daemon, Lab},
    reference::Family,
};

use super::{json, outcome};

/// The answer to one request on the control socket.
fn post(daemon: &Daemon, body: &str) -> Value {
    let mut stream = UnixStream::connect(daemon.socket()).expect("the control socket");
    let head = "POST /v1/explain HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length:";
    stream.write_all(format!("{head} {}\r\n\r\n{body}", body.len()).as_bytes()).expect("a request is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer in text");
    json(answer.split_once("\r\n\r\n").expect("a head").1)
}

/// A relay of the fuzzer in this lab.
fn configuration(named: &Named) -> String {
    let text = named.toml();
    let text = text.replace("\"v4\", \"v6\", \"v?-*\"", "\"inet4\", \"inet6\"");
    let text = text.replace("[control]", "[control]\nsocket = \"SOCKET\"");
    let arrivals = [(named.arrival4, "inet4"), (named.arrival6, "inet6")];
    let text =
        arrivals.iter().fold(text, |text, (from, to)| text.replace(&format!("\"{from}\""), &format!("\"{to}\"")));
    format!("{text}[state]\ndirectory = \"STATE\"\n")
}

/// Whatever the packet and the settings, the rule book and the program decide the same.
#[test]
fn rule_book_and_program_agree_on_random_packets() {
    const PACKETS: usize = 300;
    let mut relays = configs::all().into_iter().filter(|named| !named.single_buffer);
    let lab = Lab::new().expect("a lab");
    let first = relays.next().expect("a relay");
    let daemon = Daemon::start(&lab.relay, &configuration(&first)).expect("a daemon");
    let mut verdicts = std::collections::BTreeMap::<String, usize>::new();
    for (number, named) in std::iter::once(first).chain(relays).enumerate() {
        let text = configuration(&named)
            .replace("SOCKET", &daemon.socket().to_string_lossy())
            .replace("STATE", &daemon.state().to_string_lossy())
            .replace("[dataplane]", &format!("[dataplane]\npin_directory = \"{}\"", daemon.pins().display()));
        fs::write(daemon.configuration(), text).expect("a configuration");
        daemon.ctl(&lab.relay, "reload").ok();
        let mut random = Random::new(number as u64);
        for _ in 0..PACKETS {
            let (family, packet) = generate::packet(&mut random, &named.config);
            let interface = if family == Family::Ipv4 { "inet4" } else { "inet6" };
            let digits: String = packet.iter().map(|byte| format!("{byte:02x}")).collect();
            let explained = post(&daemon, &format!("{{\"packet\":\"{digits}\",\"interface\":\"{interface}\"}}"));
            let Some(agrees) = explained["agrees"].as_bool() else {
                let why = explained["error"]["message"].as_str().unwrap_or("");
                assert!(
                    why.contains("neither IPv4 nor IPv6") || why.contains("is empty"),
                    "{}: {digits}: {explained}",
                    named.name
                );
                continue;
            };
            assert!(agrees, "{}: {digits}: {:#}\n{:#}", named.name, explained["differences"], explained["steps"]);
            let (verdict, reason) = outcome(&explained);
            *verdicts.entry(format!("{verdict} {reason}")).or_default() += 1;
        }
    }
    println!("{verdicts:#?}");
    assert!(verdicts.len() >= 25, "too few kinds of packets: {verdicts:#?}");
}
