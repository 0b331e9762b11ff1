//! Clients that stall.

use std::{
    fs,
    io::Write as _,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use serde_json::Value;
use xlat_tests::lab::{Lab, best_of};

/// Clients that stall at a time: more than twice as many as the control socket's server has room for (256).
const STALLED: usize = 600;
/// Of them, those that do not read what they asked for, the table or a large change of it: of each more than are in memory (4).
const READING: usize = 24;

/// Who stalls makes room for others: more clients than are served at a time, who do not end their request, or do not read the
/// answer.
#[test]
fn clients_that_stall_do_not_keep_others_waiting() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let directory = tempfile::tempdir().expect("a directory");
    let table = directory.path().join("table.csv");
    let line =
        |number: u32| format!("{},2001:db8:77::{number:x}\n", std::net::Ipv4Addr::from_bits(0x1200_0000 + number));
    fs::write(&table, (0..10_000).map(line).collect::<String>()).expect("a file");
    let apply = format!("eam apply --yes --json {}", table.display());
    let applied: Value = serde_json::from_str(&daemon.ctl(&lab.relay, &apply).ok()).expect("an answer in JSON");
    let show = format!("eam show {}", applied["revision"]);
    let stalled = |request: &str| {
        let mut stream = UnixStream::connect(daemon.socket()).expect("a connection");
        // One that has had to make room already is none the less one that stalls.
        let _ = stream.write_all(request.as_bytes());
        stream
    };
    let whole = "GET /v1/eam HTTP/1.1\r\nHost: xlat\r\n\r\n".to_owned();
    let change = format!("GET /v1/eam/history/{} HTTP/1.1\r\nHost: xlat\r\n\r\n", applied["revision"]);
    let reading = [whole, change];
    let sending =
        ["PUT /v1/eam?dry_run=true HTTP/1.1\r\nHost: xlat\r\nContent-Length: 1000\r\n\r\n#", "GET /v1/stat", ""];
    let stall = || {
        (0..STALLED)
            .map(|number| {
                stalled(if number < READING { &reading[number % 2] } else { sending[number % sending.len()] })
            })
            .collect::<Vec<_>>()
    };
    let mut tries = 0;
    for command in [&*apply, &show, "eam export --format csv", "eam add 192.0.2.NEW 2001:db8::NEW", "status"] {
        best_of(3, || {
            tries += 1;
            let command = command.replace("NEW", &format!("{}", 60 + tries));
            // The last of those who stall have to wait for their places already.
            let begun = Instant::now();
            let streams = stall();
            daemon.ctl(&lab.relay, &command).ok();
            let took = begun.elapsed();
            drop(streams);
            // If nobody hurried they would go in two rounds, each of the five seconds that any of them has.
            if took < Duration::from_secs(8) { Ok(()) } else { Err(format!("`{command}` took {took:?}")) }
        });
    }
}
