//! `xlat-ctl annotate` beside a running daemon.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::Stdio,
    thread::sleep,
    time::Duration,
};

use xlat_tests::lab::{Lab, command_path};

#[test]
fn a_log_is_read_with_the_daemons_table_as_it_changes() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let add = |last: &str| {
        daemon.ctl(&lab.relay, &format!("eam add 198.51.100.{last} 2001:db8:5e1:1::{last}")).ok();
    };
    add("20");
    let path = command_path().expect("the daemon runs from it");
    let config = daemon.configuration();
    let arguments = ["annotate", "--config", &config.to_string_lossy()];
    let mut command = lab.relay.command(&path.to_string_lossy(), &arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the command starts");
    let mut input = child.stdin.take().expect("a pipe");
    let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut say = |text: &str| {
        writeln!(input, "{text}").expect("it reads");
        let mut line = String::new();
        output.read_line(&mut line).expect("it writes");
        line.trim_end().to_owned()
    };
    let text = "2001:db8:5e1:1::10 2001:db8:5e1:1::20 2001:db8:5e1:1::21 2001:db8:6464::cb00:7107";
    assert_eq!(say(text), "198.51.100.10 198.51.100.20 2001:db8:5e1:1::21 203.0.113.7");
    add("21");
    // It asks whether the table has changed at most every ten seconds.
    sleep(Duration::from_secs(11));
    assert_eq!(say(text), "198.51.100.10 198.51.100.20 198.51.100.21 203.0.113.7");
    drop(input);
    assert!(child.wait().expect("it ends").success());
}
