//! `xlat-ctl annotate` as a filter, without a daemon.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const CONFIG: &str = r#"
[dataplane]
interfaces = ["eth0"]
[translation]
prefixes = ["2001:db8:6464::/96", "2001:db8:7700::/40"]
[[eam]]
ipv4 = "198.51.100.10"
ipv6 = "2001:db8:5e1:1::10"
[control]
socket = "/nonexistent/xlat.sock"
"#;
const PREFIX: [&str; 2] = ["--prefix", "2001:db8:6464::/96"];

fn start(arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_xlat-ctl"))
        .arg("annotate")
        .args(arguments)
        .env_remove("XLAT_SOCKET")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts")
}

/// Exit code, output and complaints for an input.
fn annotate(arguments: &[&str], input: &[u8]) -> (i32, Vec<u8>, String) {
    let mut child = start(arguments);
    // One that refuses its arguments reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    (output.status.code().unwrap(), output.stdout, String::from_utf8(output.stderr).unwrap())
}

#[test]
fn takes_prefixes_and_entries_from_the_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("xlat.toml");
    fs::write(&file, CONFIG).unwrap();
    let config = ["--config", file.to_str().unwrap()];
    let log = b"2001:db8:6464::cb00:7107 \xff\x00 2001:db8:77cb:71:7:: \r\n2001:db8:5e1:1::10";
    let (code, out, said) = annotate(&config, log);
    assert_eq!((code, said.as_str()), (0, ""));
    assert_eq!(out, b"203.0.113.7 \xff\x00 203.0.113.7 \r\n198.51.100.10");
    let (code, back, said) = annotate(&[&config[..], &["--reverse"]].concat(), &out);
    assert_eq!((code, said.as_str()), (0, ""));
    assert_eq!(back, b"2001:db8:6464::cb00:7107 \xff\x00 2001:db8:6464::cb00:7107 \r\n2001:db8:5e1:1::10");
}

#[test]
fn takes_prefixes_and_a_table_from_the_command_line() {
    let directory = tempfile::tempdir().unwrap();
    let table = directory.path().join("eams.csv");
    fs::write(&table, "ipv4,ipv6\n198.51.100.10,2001:db8:5e1:1::10\n").unwrap();
    let arguments = [&PREFIX[..], &["--prefix", "64:ff9b::/96", "--eams", table.to_str().unwrap(), "--keep"]].concat();
    let (code, out, said) = annotate(&arguments, b"2001:db8:5e1:1::10 64:ff9b::808:808 2001:db8:6464::1.2.3.4\n");
    assert_eq!((code, said.as_str()), (0, ""));
    let expected = "2001:db8:5e1:1::10[198.51.100.10] 64:ff9b::808:808[8.8.8.8] 2001:db8:6464::1.2.3.4[1.2.3.4]\n";
    assert_eq!(str::from_utf8(&out).unwrap(), expected);
}

#[test]
fn says_what_is_wrong_with_its_arguments() {
    for (arguments, expected, sentence) in [
        (&["--config", "/nonexistent/xlat.toml"][..], 1, "cannot read the configuration /nonexistent/xlat.toml"),
        (&["--prefix", "2001:db8::/95"], 2, "invalid value '2001:db8::/95' for '--prefix <PREFIX>'"),
        (&["--prefix", "2001:db8::"], 2, "invalid value '2001:db8::' for '--prefix <PREFIX>'"),
        (&["--prefix", "64:ff9b::/96", "--config", "x"], 2, "cannot be used with"),
        (&["--prefix", "64:ff9b::/96", "--eams", "/nonexistent/t"], 1, "annotate --eams /nonexistent/t: No such file"),
        (&["--prefix", "64:ff9b::/96", "--eams", "/dev/stdin"], 1, "annotate --eams /dev/stdin: line 1: "),
        (&["--prefix", "64:ff9b::/96", "--socket", "/nonexistent/s"], 1, "there is no such socket"),
    ] {
        let (code, out, said) = annotate(arguments, b"www\n");
        assert_eq!(code, expected, "{arguments:?}: {said}");
        assert!(said.contains(sentence) && out.is_empty(), "{arguments:?}: {said}");
    }
}

#[test]
fn each_line_comes_out_before_the_next_goes_in() {
    let mut child = start(&PREFIX);
    let (mut input, mut output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    let mut line = String::new();
    for number in 0..100 {
        let begin = Instant::now();
        writeln!(input, "{number} 2001:db8:6464::cb00:7107").unwrap();
        line.clear();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, format!("{number} 203.0.113.7\n"));
        assert!(begin.elapsed() < Duration::from_secs(2), "line {number} took {:?}", begin.elapsed());
    }
    drop(input);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_reader_that_has_enough_ends_it_quietly() {
    let mut child = start(&PREFIX);
    drop(child.stdout.take());
    let mut input = child.stdin.take().unwrap();
    // It ends with the first line that it cannot write; what is written to it after that goes nowhere.
    while input.write_all(b"2001:db8:6464::cb00:7107\n").is_ok() {}
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "");
}
