//! `xlat-ctl annotate` beside a running daemon.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Stdio},
    thread::sleep,
    time::Duration,
};

use xlat_tests::lab::{Daemon, Lab, command_path};

const TEXT: &str = "2001:db8:5e1:1::10 2001:db8:5e1:1::20 2001:db8:5e1:1::21 2001:db8:6464::cb00:7107";
/// It asks whether the table has changed at most every ten seconds.
const ASKED: Duration = Duration::from_secs(11);

fn add(lab: &Lab, daemon: &Daemon, last: &str) {
    daemon.ctl(&lab.relay, &format!("eam add 198.51.100.{last} 2001:db8:5e1:1::{last}")).ok();
}

/// A log that goes through the command as it grows.
struct Log {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Log {
    fn new(lab: &Lab, daemon: &Daemon) -> Self {
        let path = command_path().expect("the daemon runs from it");
        let config = daemon.configuration();
        let arguments = ["annotate", "--config", &config.to_string_lossy()];
        let mut command = lab.relay.command(&path.to_string_lossy(), &arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the command starts");
        let input = child.stdin.take().expect("a pipe");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, input, output }
    }

    fn say(&mut self, text: &str) -> String {
        writeln!(self.input, "{text}").expect("it reads");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it writes");
        line.trim_end().to_owned()
    }

    fn end(mut self) {
        drop(self.input);
        assert!(self.child.wait().expect("it ends").success());
    }
}

#[test]
fn a_log_is_read_with_the_daemons_table_as_it_changes() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    add(&lab, &daemon, "20");
    let mut log = Log::new(&lab, &daemon);
    assert_eq!(log.say(TEXT), "198.51.100.10 198.51.100.20 2001:db8:5e1:1::21 203.0.113.7");
    add(&lab, &daemon, "21");
    sleep(ASKED);
    assert_eq!(log.say(TEXT), "198.51.100.10 198.51.100.20 198.51.100.21 203.0.113.7");
    log.end();
}

/// As at a boot, where who writes the log may start first.
#[test]
fn a_daemon_that_starts_later_is_asked_too() {
    let (lab, mut daemon) = Lab::with_daemon().expect("a lab with a daemon");
    add(&lab, &daemon, "20");
    daemon.stop().expect("a clean end");
    let mut log = Log::new(&lab, &daemon);
    assert_eq!(log.say(TEXT), "198.51.100.10 2001:db8:5e1:1::20 2001:db8:5e1:1::21 203.0.113.7");
    daemon.start_again(&lab.relay, &[]).expect("it starts again");
    sleep(ASKED);
    assert_eq!(log.say(TEXT), "198.51.100.10 198.51.100.20 2001:db8:5e1:1::21 203.0.113.7");
    log.end();
}
