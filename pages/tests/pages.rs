//! Man pages and completions say all that there is to say.

use std::collections::BTreeSet;

use clap::Command;
use xlat_pages::{Page, all, command_line};

fn page(path: &str) -> String {
    let pages = all();
    let found = pages.into_iter().find(|page| page.path == path);
    found.unwrap_or_else(|| panic!("there is no {path}")).text
}

/// As it is read: without roff's escapes.
fn read(path: &str) -> String {
    page(path)
        .replace(r"\fB", "")
        .replace(r"\fI", "")
        .replace(r"\fR", "")
        .replace(r"\-", "-")
        .replace(r"\*(Aq", "'")
        .replace(r"\(aq", "'")
        .replace("\\.", ".")
        .replace("\\&", "")
}

/// Every command with the words that call it.
fn commands(command: &Command, above: &[String]) -> Vec<(Vec<String>, Command)> {
    let words: Vec<String> = above.iter().cloned().chain([command.get_name().to_owned()]).collect();
    let below = command.get_subcommands().filter(|verb| !verb.is_hide_set()).flat_map(|verb| commands(verb, &words));
    let below: Vec<_> = below.collect();
    std::iter::once((words.clone(), command.clone())).chain(below).collect()
}

#[test]
fn every_verb_has_a_page_with_all_that_its_help_says() {
    let all = commands(&command_line(), &[]);
    assert!(all.len() > 15, "{} commands only", all.len());
    for (words, command) in all {
        let text = read(&format!("man/man1/{}.1", words.join("-")));
        let about = command.get_about().expect("every verb says what it does").to_string();
        assert!(text.contains(&format!("{} - {about}", words.join("-"))), "{words:?}: {text}");
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            if let Some(long) = argument.get_long() {
                assert!(text.contains(&format!("--{long}")), "{words:?}: --{long}: {text}");
            }
            let help = argument.get_long_help().or_else(|| argument.get_help()).map(ToString::to_string);
            for line in help.unwrap_or_default().lines() {
                assert!(text.contains(line.trim()), "{words:?}: {line}: {text}");
            }
        }
        let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        for line in after.lines().map(str::trim).filter(|line| !line.starts_with("Example")) {
            assert!(text.contains(line), "{words:?}: {line}: {text}");
        }
    }
}

/// The keys that a section takes, as the parser tells them.
fn keys(section: &str) -> Vec<String> {
    let problems = xlat_ctl::config::parse(&format!("{section}\nno_such_key = 1")).expect_err("no such key");
    let (_, allowed) = problems[0].text.split_once("allowed here: ").expect("the parser tells the keys");
    allowed.split(", ").map(str::to_owned).collect()
}

#[test]
fn the_page_of_the_configuration_names_every_setting() {
    let text = read("man/man5/xlat.toml.5");
    for section in keys("") {
        let is_list = ["prefix_for", "eam"].contains(&section.as_str());
        let header = if is_list { format!("[[{section}]]") } else { format!("[{section}]") };
        let place = text.find(&format!(".SS {header}\n")).unwrap_or_else(|| panic!("no {header}: {text}"));
        let part = text[place + 1..].split("\n.S").next().expect("a part");
        for key in keys(&header) {
            let named = part
                .lines()
                .any(|line| line.strip_prefix(&key).is_some_and(|rest| rest.trim_start().starts_with("= ")));
            assert!(named, "{header} {key}: {part}");
        }
    }
}

#[test]
fn the_page_of_the_configuration_says_every_word_of_its_comments() {
    let text = read("man/man5/xlat.toml.5");
    let page: BTreeSet<&str> = text.split_whitespace().collect();
    let source = xlat_ctl::config::EXAMPLE;
    let begin = source.find("[dataplane]").expect("the first section");
    for word in source[begin..].split(|char: char| char == '#' || char.is_whitespace()).filter(|word| !word.is_empty())
    {
        assert!(page.contains(word), "`{word}` is not in xlat.toml(5)");
    }
}

#[test]
fn every_shell_completes_every_verb() {
    for path in [
        "bash-completion/completions/xlat-ctl",
        "zsh/vendor-completions/_xlat-ctl",
        "fish/vendor_completions.d/xlat-ctl.fish",
    ] {
        let text = page(path);
        for verb in command_line().get_subcommands().filter(|verb| !verb.is_hide_set()) {
            assert!(text.contains(verb.get_name()), "{path}: {}", verb.get_name());
            let about = verb.get_about().expect("it says what it does").to_string();
            let words = about.split(' ').next().expect("a word");
            assert!(path.contains("bash") || text.contains(words), "{path}: {about}");
        }
    }
}

#[test]
fn files_are_written_where_they_belong() {
    let share = tempfile::tempdir().expect("a directory");
    xlat_pages::write(share.path()).expect("writing");
    for Page { path, text } in all() {
        assert_eq!(std::fs::read_to_string(share.path().join(path)).expect("the file"), text);
    }
}
