//! The `xlat-ctl` binary as a person uses it, as far as it needs neither root nor BPF.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

const VALID: &str = "[dataplane]\ninterfaces = [\"eth0\"]\n[translation]\nprefixes = [\"2001:db8:6464::/96\"]\n";

fn xlat_ctl(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xlat-ctl"))
        .args(arguments)
        .env_remove("XLAT_SOCKET")
        .env_remove("JOURNAL_STREAM")
        .output()
        .expect("the command starts")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("the command ends by itself")
}

fn stdout(output: &Output) -> &str {
    str::from_utf8(&output.stdout).expect("text")
}

fn stderr(output: &Output) -> &str {
    str::from_utf8(&output.stderr).expect("text")
}

fn check(path: &Path, more: &[&str]) -> Output {
    let path = path.to_str().expect("a path in UTF-8");
    xlat_ctl(&[&["check", "--config", path], more].concat())
}

#[test]
fn wrong_usage_exits_with_2_and_says_what_is_wrong() {
    for (arguments, sentence) in [
        (&[][..], "Usage: xlat-ctl [OPTIONS] <COMMAND>"),
        (&["frobnicate"], "unrecognized subcommand"),
        (&["eam", "add", "198.51.100.10"], "required arguments were not provided"),
        (&["eam", "add", "2001:db8::1", "198.51.100.10"], "an IPv4 address or prefix belongs here"),
        (&["eam", "add", "198.51.100.10", "2001:db8::g"], "is not an IPv6 address or prefix"),
        (&["eam", "add", "198.51.100.10/33", "2001:db8::1"], "prefix lengths go from 0 to 32"),
        (&["eam", "del", "www"], "is not an IPv4 address or prefix"),
        (&["eam", "list", "--csv", "--json"], "cannot be used with"),
        (&["lookup", "198.51.100.0/24"], "without a length"),
        (&["eam", "apply", "-", "--dry-run", "--yes"], "cannot be used with"),
        (&["eam", "apply", "-", "--format", "xml"], "possible values: csv, json, toml"),
        (&["eam", "rollback", "first"], "invalid digit"),
        (&["import", "jool"], "required arguments were not provided"),
        (&["stats", "--watch=0"], "is not in 1..=3600"),
    ] {
        let output = xlat_ctl(arguments);
        assert_eq!(code(&output), 2, "{arguments:?}");
        assert!(stderr(&output).contains(sentence), "{arguments:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn without_a_daemon_every_call_fails_with_one_sentence() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing.sock");
    let dead = directory.path().join("dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
    for (socket, sentence) in [(&missing, "there is no such socket"), (&dead, "was killed")] {
        let socket = socket.to_str().unwrap();
        for call in [
            &["status"][..],
            &["stats"],
            &["lookup", "192.0.2.1"],
            &["eam", "list"],
            &["eam", "add", "192.0.2.1", "2001:db8::1"],
            &["eam", "del", "192.0.2.1"],
            &["eam", "find", "192.0.2.1"],
            &["eam", "apply", "/dev/null"],
            &["eam", "export"],
            &["eam", "history"],
            &["eam", "show", "1"],
            &["eam", "rollback", "1"],
        ] {
            let output = xlat_ctl(&[call, &["--socket", socket]].concat());
            assert_eq!(code(&output), 1, "{call:?}");
            assert!(output.stdout.is_empty());
            let said = stderr(&output);
            assert!(said.starts_with("xlat-ctl: ") && said.contains(socket) && said.contains(sentence), "{said}");
            assert_eq!(said.lines().count(), 1, "{said}");
        }
    }
}

#[test]
fn the_environment_names_the_socket() {
    let output = Command::new(env!("CARGO_BIN_EXE_xlat-ctl"))
        .arg("status")
        .env("XLAT_SOCKET", "/nonexistent/of-the-environment.sock")
        .output()
        .unwrap();
    assert!(stderr(&output).contains("/nonexistent/of-the-environment.sock"));
}

#[test]
fn check_tells_every_fault_with_file_and_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("xlat.toml");
    fs::write(&file, "[dataplane]\ninterfaces = []\nmax_eams = 0\n").unwrap();
    let output = check(&file, &[]);
    assert_eq!(code(&output), 1);
    let expected = format!(
        "xlat-ctl: {0}:2: dataplane.interfaces: name at least one interface, such as interfaces = [\"eth0\"]\n\
         xlat-ctl: {0}:3: dataplane.max_eams = 0: give a number from 1 to 4194304\n",
        file.display()
    );
    assert_eq!(stderr(&output), expected);
    assert!(output.stdout.is_empty());

    let output = check(&file, &["--json"]);
    assert_eq!(code(&output), 1);
    assert!(
        stdout(&output).contains("\"valid\": false") && stdout(&output).contains("\"line\": 3"),
        "{}",
        stdout(&output)
    );
}

#[test]
fn check_accepts_a_valid_file_and_warns_on_standard_error() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("xlat.toml");
    fs::write(&file, VALID).unwrap();
    let output = check(&file, &[]);
    assert_eq!((code(&output), stderr(&output)), (0, ""));
    let expected = format!("{} is valid: 1 interface name or glob, 1 translation prefix, 0 EAMs\n", file.display());
    assert_eq!(stdout(&output), expected);

    fs::write(&file, "[dataplane]\ninterfaces = [\"eth0\"]\n").unwrap();
    let output = check(&file, &[]);
    assert_eq!(code(&output), 0);
    assert!(stderr(&output).contains("warning: ") && stderr(&output).contains("translation.prefixes is empty"));
}

#[test]
fn check_accepts_every_example_without_a_warning() {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/examples");
    let mut checked = 0;
    for entry in fs::read_dir(examples).expect("the examples are there") {
        let path = entry.expect("a readable directory").path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let output = check(&path, &[]);
        assert_eq!((code(&output), stderr(&output)), (0, ""), "{}", path.display());
        checked += 1;
    }
    assert!(checked >= 3, "{checked} examples");
}

#[test]
fn run_says_what_is_wrong_with_its_configuration_and_exits() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("xlat.toml");
    let output = xlat_ctl(&["run", "--config", file.to_str().unwrap()]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("cannot read the configuration"), "{}", stderr(&output));

    fs::write(&file, format!("{VALID}scop = \"all\"\n")).unwrap();
    let output = xlat_ctl(&["run", "--config", file.to_str().unwrap()]);
    assert_eq!(code(&output), 1);
    let expected = format!("{}:5: unknown key `scop` in [translation] (did you mean `scope`?)", file.display());
    assert!(stderr(&output).contains(&expected), "{}", stderr(&output));

    fs::write(&file, VALID).unwrap();
    let output = xlat_ctl(&["run", "--config", file.to_str().unwrap(), "--socket", "relative.sock"]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("--socket relative.sock: give the whole path"), "{}", stderr(&output));
}

#[test]
fn the_journal_gets_priorities_and_no_times() {
    let output = Command::new(env!("CARGO_BIN_EXE_xlat-ctl"))
        .args(["run", "--config", "/nonexistent/xlat.toml"])
        .env("JOURNAL_STREAM", "8:1")
        .output()
        .unwrap();
    assert!(
        stderr(&output).starts_with("<3>cannot read the configuration /nonexistent/xlat.toml"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn import_writes_files_that_this_program_takes_and_tells_what_it_left() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tayga.conf");
    fs::write(&file, "prefix 2001:db8:6464::/96\ndynamic-pool 192.168.255.0/24\nmap 192.0.2.1 2001:db8::1\n").unwrap();
    let arguments = ["import", "tayga", file.to_str().unwrap(), "--interfaces", "v4,v6", "--output"];
    let output_directory = directory.path().join("a/b");
    let run = || xlat_ctl(&[&arguments[..], &[output_directory.to_str().unwrap()]].concat());
    let output = run();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(stderr(&output).contains("note: dynamic-pool: xlat is stateless"), "{}", stderr(&output));
    assert!(stdout(&output).contains("eam.csv (1 entry)"), "{}", stdout(&output));
    assert_eq!(code(&check(&output_directory.join("xlat.toml"), &[])), 0);
    let table = fs::read_to_string(output_directory.join("eam.csv")).unwrap();
    assert!(table.contains("192.0.2.1/32,2001:db8::1/128,,dynamic"), "{table}");
    let output = run();
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("is there already and is not overwritten"), "{}", stderr(&output));
    // Neither file is made where one is there.
    fs::remove_file(output_directory.join("xlat.toml")).unwrap();
    assert_eq!(code(&run()), 1);
    assert!(!output_directory.join("xlat.toml").exists());
}

#[test]
fn a_restore_without_a_copy_says_so_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    fs::create_dir(&state).unwrap();
    let file = directory.path().join("xlat.toml");
    fs::write(&file, format!("{VALID}[state]\ndirectory = \"{}\"\n", state.display())).unwrap();
    let output = xlat_ctl(&["state", "restore", "--config", file.to_str().unwrap()]);
    assert_eq!(code(&output), 1);
    let said = stderr(&output);
    assert!(said.starts_with("xlat-ctl: state restore: cannot open the store "), "{said}");
    assert!(said.contains("eam.backup.db: there is no such file; name a copy with `--from FILE`"), "{said}");
    assert!(!state.join("eam.db").exists());
}

#[test]
fn reason_tells_what_to_do_and_knows_near_names() {
    let output = xlat_ctl(&["reason", "packet_too_big"]);
    assert_eq!(code(&output), 0);
    for words in ["packet_too_big: ", "what    ", "who     ", "do      ", "ICMP 3/4"] {
        assert!(stdout(&output).contains(words), "`{words}` is missing:\n{}", stdout(&output));
    }
    let listed = xlat_ctl(&["reason", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(stdout(&listed)).unwrap();
    let names: Vec<&str> = listed.as_array().unwrap().iter().map(|reason| reason["name"].as_str().unwrap()).collect();
    let known: Vec<&str> = xlat_common::reason::DropReason::ALL.iter().map(|reason| reason.name()).collect();
    assert_eq!(names, known);
    let output = xlat_ctl(&["reason", "packet_to_big"]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("did you mean packet_too_big"), "{}", stderr(&output));
}
