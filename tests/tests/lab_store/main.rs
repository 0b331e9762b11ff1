//! The table of the real daemon over restarts, faults and many hands.

mod changes;
mod damage;
mod stalled;

use std::fs;

use serde_json::Value;
use xlat_tests::lab::{Daemon, Lab, Said};

/// The relay with its daemon.
struct Relay {
    // In this order they go.
    daemon: Daemon,
    lab: Lab,
}

impl Relay {
    fn new() -> Self {
        let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
        Self { daemon, lab }
    }

    fn ctl(&self, arguments: &str) -> Said {
        self.daemon.ctl(&self.lab.relay, arguments)
    }

    fn ok(&self, arguments: &str) -> String {
        self.ctl(arguments).ok()
    }

    /// What the command says when it refuses.
    #[track_caller]
    fn refused(&self, arguments: &str) -> String {
        let said = self.ctl(arguments);
        assert_eq!(said.code, Some(1), "`{arguments}`: {}{}", said.stdout, said.stderr);
        said.stderr
    }

    fn json(&self, arguments: &str) -> Value {
        let text = self.ok(&format!("{arguments} --json"));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("no JSON ({error}):\n{text}"))
    }

    fn revision(&self) -> u64 {
        self.json("eam list")["revision"].as_u64().expect("a revision")
    }

    fn table(&self) -> String {
        self.ok("eam export")
    }

    fn kill_and_start(&mut self) {
        self.daemon.kill().expect("it can be killed");
        self.daemon.start_again(&self.lab.relay, &[]).expect("it starts again");
    }

    /// A file beside the daemon.
    fn file(&self, name: &str, text: &str) -> String {
        let path = self.daemon.directory().join(name);
        fs::write(&path, text).expect("a file");
        path.display().to_string()
    }
}

const ADD: &str = "eam add 198.51.100.20 2001:db8:5e1:1::20 --comment new --message reason";
