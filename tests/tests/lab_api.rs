//! The control socket's API as programs use it that are not `xlat-ctl`.

use std::{path::Path, process::Command};

use serde_json::Value;
use xlat_tests::lab::{Lab, forward};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

#[test]
fn the_daemon_serves_the_description_that_is_in_the_documents() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let socket = daemon.socket().display().to_string();
    let said = lab.relay.run(&format!("curl --silent --fail --unix-socket {socket} http://xlat/v1/openapi.json")).ok();
    let file = std::fs::read_to_string(Path::new(ROOT).join("docs/openapi.json")).expect("docs/openapi.json");
    let read = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
    assert_eq!(read(&said), read(&file));
}

#[test]
fn the_example_in_python_works() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let python = |arguments: &str| {
        lab.relay.run(&format!("python3 {ROOT}/docs/examples/eam.py {} {arguments}", daemon.socket().display()))
    };
    assert_eq!(python("add 198.51.100.11 2001:db8:5e1:1::11 mail relay").ok(), "revision 1\n");
    let listed = python("list").ok();
    assert!(listed.contains("198.51.100.10/32 2001:db8:5e1:1::10/128 www\n"), "{listed}");
    assert!(listed.contains("198.51.100.11/32 2001:db8:5e1:1::11/128 mail relay\n"), "{listed}");
    let found = python("lookup 198.51.100.11").ok();
    assert!(found.starts_with("2001:db8:5e1:1::11 by the EAM"), "{found}");
    let refused = python("add 198.51.100.11 2001:db8:5e1:1::12");
    assert!(!refused.success && refused.stderr.starts_with("refused (conflict): "), "{refused:?}");
    assert_eq!(python("del 198.51.100.11").ok(), "revision 2\n");
    let usage = lab.relay.run(&format!("python3 {ROOT}/docs/examples/eam.py"));
    assert!(!usage.success && usage.stderr.contains("eam.py SOCKET list"), "{usage:?}");
    for arguments in ["add", "add 192.0.2.1", "del", "lookup", "frob"] {
        let usage = python(arguments);
        assert!(!usage.success && usage.stderr.contains("eam.py SOCKET list"), "{arguments}: {usage:?}");
    }
    let nobody = lab.relay.run(&format!("python3 {ROOT}/docs/examples/eam.py /nonexistent/s list"));
    assert_eq!(nobody.stderr, "/nonexistent/s: No such file or directory\n");
}

/// Hundreds of requests made from the description, valid and not: every answer has to be what the description says.
#[test]
fn every_answer_is_as_described_whatever_is_asked() {
    let everything = [("[dataplane]", "[accounting]\nservices = true\nnative = true\n[dataplane]")];
    let (_lab, daemon) = Lab::with_daemon_changed(&everything).expect("a lab with a daemon");
    let address = forward(&daemon.socket()).expect("a port");
    // It looks for its settings, and leaves what it has seen, where it is started.
    let directory = tempfile::tempdir().expect("a directory");
    let root = Path::new(ROOT).canonicalize().expect("the project");
    let schemathesis = root.join("target/venv/bin/schemathesis");
    let output = Command::new(&schemathesis)
        .arg("--config-file")
        .arg(root.join("tests/openapi/schemathesis.toml"))
        .arg("run")
        .arg(root.join("docs/openapi.json"))
        .args(["--no-color", "--workers", "1", "--url", &format!("http://{address}")])
        .current_dir(directory.path())
        .output()
        .unwrap_or_else(|error| panic!("{}: {error} (`cargo xtask setup` installs it)", schemathesis.display()));
    let said = String::from_utf8_lossy(&output.stdout);
    let log = daemon.log();
    assert!(output.status.success(), "{said}\n{}\n{log}", String::from_utf8_lossy(&output.stderr));
    assert!(!log.contains("ERROR") && !log.contains("panicked"), "{log}");
    println!("{said}");
}
