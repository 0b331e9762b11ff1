use std::{fs, path::Path};

use clap::{Command, CommandFactory, Parser, error::ErrorKind};

use super::Cli;

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

/// Every verb without verbs of its own, by its words.
fn verbs(command: &Command, words: &[String]) -> Vec<(Vec<String>, Command)> {
    let below: Vec<_> = command.get_subcommands().filter(|verb| verb.get_name() != "help").collect();
    if below.is_empty() {
        return vec![(words.to_vec(), command.clone())];
    }
    below.iter().flat_map(|verb| verbs(verb, &[words, &[verb.get_name().to_owned()]].concat())).collect()
}

#[test]
fn every_verb_has_help_with_an_example() {
    let mut all = Cli::command();
    all.build();
    let verbs = verbs(&all, &[]);
    assert!(verbs.len() > 20, "{} verbs", verbs.len());
    for (words, mut verb) in verbs.into_iter().filter(|(_, verb)| !verb.is_hide_set()) {
        let help = verb.render_long_help().to_string();
        assert!(help.contains("Example"), "{words:?} has no example:\n{help}");
        assert!(help.contains("--socket <PATH>") && help.contains("--json"), "{words:?}:\n{help}");
    }
}

#[test]
fn wrong_usage_is_told_before_anything_is_asked() {
    let parsed =
        |call: &str| Cli::try_parse_from(["xlat-ctl"].into_iter().chain(call.split(' '))).and_then(Cli::judged);
    for (call, sentence) in [
        ("explain", "give a packet: PROTOCOL FROM TO, --hex or --pcap"),
        ("explain sctp 192.0.2.1 198.51.100.1", "`sctp` is no protocol"),
        ("explain udp 192.0.2.1 2001:db8::1", "are of different families"),
        ("explain udp 192.0.2.1 198.51.100.1 --size 20", "the headers alone have 28 bytes"),
        ("explain --hex 4z", "--hex: "),
        ("explain --hex 4500 --ttl 3", "cannot be used with"),
        ("explain --hex 4500 --packet 3", "cannot be used with"),
        ("explain --pcap x --size 99", "cannot be used with"),
        ("explain udp 192.0.2.1 198.51.100.1 --flags syn", "--flags: only TCP has them"),
        ("explain udp 192.0.2.1 198.51.100.1 --type 3", "--type: only ICMP has one"),
        ("explain icmp 192.0.2.1:5 198.51.100.1", "port 5: only udp and tcp are made with ports"),
        ("explain udp [192.0.2.1 ]198.51.100.1", "`[192.0.2.1` is no address"),
        ("eam list --csv --limit 5", "cannot be used with"),
        ("annotate --json", "--json: it writes the log that it reads"),
        ("run --json", "--json: it gives no answer, but a log"),
        ("import jool x --interfaces eth0,,eth1", "an interface name is empty"),
        ("top --json", "give --once too"),
        ("share --service foo", "`foo` is not an IPv4 address or prefix"),
        ("capture --host foo", "host foo is not an address or a prefix"),
        ("capture --reason packet_too_big,foo", "there is no reason foo: `xlat-ctl reason` lists them"),
        ("annotate --prefix x", "`x` is not an IPv6 address or prefix"),
        ("annotate --prefix 2001:db8::/33", "has the length 32, 40, 48, 56, 64 or 96, not 33"),
    ] {
        let error = parsed(call).expect_err(call);
        assert!(error.exit_code() == 2 && error.to_string().contains(sentence), "{call}: {error}");
    }
    for call in [
        "explain udp 192.0.2.1 198.51.100.1",
        "explain 132 192.0.2.1 198.51.100.1",
        "explain UDP [2001:db8::1] [2001:db8::2]:53",
        "explain --hex 0x4500001c00004000401100000a0000010a0000021267003500080000",
        "import jool x --interfaces eth*,ens1f0",
        "explain --pcap /nonexistent",
        "top --once --json",
        "share --service 2001:db8::1",
        "capture --host 192.0.2.0/24 --reason packet_too_big,hop_limit_exceeded",
    ] {
        assert!(parsed(call).is_ok(), "{call}");
    }
}

/// The calls of the command in a document, as words, and whether each stands among others in a block, to be typed as it is.
fn calls(text: &str) -> Vec<(Vec<String>, bool)> {
    let mut is_block = false;
    let mut calls = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_block = !is_block;
        } else if is_block {
            calls.extend(calls_in(line).map(|call| (call, true)));
        } else {
            let quoted = line.split('`').skip(1).step_by(2);
            calls.extend(
                quoted.filter(|text| text.starts_with("xlat-ctl ")).flat_map(calls_in).map(|call| (call, false)),
            );
        }
    }
    calls
}

/// The calls in a line of a shell.
fn calls_in(line: &str) -> impl Iterator<Item = Vec<String>> {
    const NAME: &str = "xlat-ctl ";
    let begins = line.match_indices(NAME).filter(|(at, _)| {
        let before = &line[..*at];
        before.ends_with("/usr/bin/")
            || !before.ends_with(|letter: char| letter.is_alphanumeric() || "/-_.".contains(letter))
    });
    let found = begins.map(|(at, _)| {
        let (before, call) = line.split_at(at + NAME.len());
        // A call within quotes ends with them.
        let is_quoted = before.matches('"').count() % 2 == 1;
        words(if is_quoted { call.split('"').next().unwrap_or_default() } else { call })
    });
    found.filter(|words| words.first().is_none_or(|word| word.is_ascii()))
}

/// Words up to what a shell takes for the end of a command.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        if "#|<>&;)`".contains(first) {
            break;
        }
        let end = if first == '"' {
            rest[1..].find('"').map_or(rest.len(), |end| end + 2)
        } else {
            rest.find(|letter: char| letter.is_whitespace() || "|<>&;)`\"".contains(letter)).unwrap_or(rest.len())
        };
        if end == 0 {
            break;
        }
        words.push(rest[..end].trim_matches('"').to_owned());
        rest = rest[end..].trim_start();
    }
    words
}

#[test]
fn the_documents_show_calls_that_there_are() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let mut number = 0;
    for directory in ["", "docs", "contrib"] {
        for file in fs::read_dir(root.join(directory)).expect("a directory") {
            let path = file.expect("a file").path();
            if path.extension().is_none_or(|extension| extension != "md") {
                continue;
            }
            for (call, is_typed) in calls(&fs::read_to_string(&path).expect("a document")) {
                number += 1;
                let arguments = ["xlat-ctl"].into_iter().chain(call.iter().map(String::as_str));
                let Err(error) = Cli::try_parse_from(arguments) else { continue };
                // In running text a verb stands for itself, and a word in capitals for what is to be put in.
                let is_shortened = match error.kind() {
                    ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => true,
                    ErrorKind::MissingRequiredArgument | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                        !is_typed
                    }
                    ErrorKind::ValueValidation | ErrorKind::InvalidValue => {
                        !is_typed && call.iter().any(|word| word.chars().all(|letter| letter.is_ascii_uppercase()))
                    }
                    _ => false,
                };
                assert!(is_shortened, "{}: xlat-ctl {}\n{error}", path.display(), call.join(" "));
            }
        }
    }
    assert!(number > 80, "{number} calls");
}

#[test]
fn a_call_is_found_in_a_line() {
    let found = |line: &str| calls_in(line).collect::<Vec<_>>();
    assert_eq!(found("relay$ xlat-ctl eam add 192.0.2.1 2001:db8::1 --message \"ticket 4711\"  # why")[0].len(), 6);
    assert_eq!(found("xlat-ctl check && xlat-ctl reload"), [["check"], ["reload"]]);
    assert_eq!(found("install target/release/xlat-ctl /usr/bin/xlat-ctl"), Vec::<Vec<String>>::new());
    assert_eq!(found("CustomLog \"|/usr/bin/xlat-ctl annotate --keep\" combined"), [["annotate", "--keep"]]);
}
