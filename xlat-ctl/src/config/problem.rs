//! What is wrong in a configuration, for people: the place, the key, what stands there and what may.

use std::{fmt, ops::Range};

use crate::{eam, eam_file};

/// One fault or doubt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line of the file, from 1; `None`: of no line in particular.
    pub line: Option<usize>,
    /// One sentence that begins with the key.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(formatter, "line {line}: {}", self.text),
            None => formatter.write_str(&self.text),
        }
    }
}

/// The line on which the byte at `offset` stands, from 1.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
}

/// The section header in force at `offset`, as it is written: `[control]`.
fn section_of(text: &str, offset: usize) -> Option<&str> {
    let line_end = text[offset..].find('\n').map_or(text.len(), |end| offset + end);
    text[..line_end]
        .lines()
        .rev()
        .map(str::trim)
        .find(|line| line.starts_with('['))
        .map(|line| line.split('#').next().unwrap_or(line).trim())
}

/// The key on the line of `offset`, when the line has the form `key = …`.
fn key_of(text: &str, offset: usize) -> Option<&str> {
    let start = text[..offset].rfind('\n').map_or(0, |newline| newline + 1);
    let (key, _) = text[start..].lines().next()?.split_once('=')?;
    let key = key.trim();
    (!key.is_empty() && key.chars().all(|char| char.is_ascii_alphanumeric() || "_-.".contains(char))).then_some(key)
}

/// The words between backquotes.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// What a key takes, for a sentence about a value that cannot be read.
enum Takes {
    Truth,
    Number,
    Text,
    Texts,
}

impl Takes {
    fn of(section: Option<&str>, key: &str) -> Self {
        match key {
            "strict" | "well_known_prefix_strict" | "interface_info" | "kernel_errors" | "services" | "native" => {
                Self::Truth
            }
            "lowest_ipv6_mtu" | "mtu_plateaus" | "max_eams" | "rate" | "history" | "busiest" => Self::Number,
            "ipv4" | "ipv6" if section == Some("[[eam]]") => Self::Text,
            "interfaces" | "prefixes" | "ipv4" | "ipv6" | "ipv4_pool" | "ipv6_pool" | "named" => Self::Texts,
            _ => Self::Text,
        }
    }

    /// What is wrong with a value as it is written, and what to write.
    fn instead_of(&self, key: &str, value: &str) -> String {
        if value.is_empty() {
            return "a value is missing after the equals sign".to_owned();
        }
        let quoted = toml::Value::from(value.trim_matches(['“', '”', '„', '‘', '’', '"', '\'']));
        let shown = eam::cut(value);
        match self {
            Self::Truth => match value.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" => format!("`{shown}` is not how it is written: write {key} = true"),
                "false" | "no" | "off" => format!("`{shown}` is not how it is written: write {key} = false"),
                _ => format!("`{shown}` is neither true nor false"),
            },
            Self::Number => {
                format!("`{shown}` is not a whole number: write digits alone, with no zero before them, such as 1500")
            }
            _ if value.len() > shown.len() => format!("`{shown}` has to stand in quotation marks"),
            Self::Text => format!("`{shown}` has to stand in quotation marks: write {key} = {quoted}"),
            Self::Texts => format!("`{shown}` has to stand in a list, in quotation marks: write {key} = [{quoted}]"),
        }
    }
}

/// The value on the line of `offset`, without a comment. It is for values without quotation marks.
fn value_of(text: &str, offset: usize) -> &str {
    let start = text[..offset].rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[start..].lines().next().unwrap_or_default();
    let value = line.split_once('=').map_or("", |(_, value)| value);
    value.split('#').next().unwrap_or_default().trim()
}

/// What is wrong with a value that is none of TOML's; `None`: it is not the value. `part`: what the reader stumbled on.
fn of_value(section: Option<&str>, key: Option<&str>, value: &str, part: &str) -> Option<String> {
    let is_list = value.starts_with('[') && (value.ends_with([']', ',', '[']) || !value.contains(']'));
    match key {
        Some(key) if value.starts_with(['"', '\'']) => {
            let mark = &value[..1];
            let is_open = value.matches(mark).count() == 1;
            is_open.then(|| format!("the quotation mark is not closed on its line: write {key} = {mark}…{mark}"))
        }
        Some(key) if !is_list && !value.starts_with('{') => {
            let is_sound = format!("x = {value}").parse::<toml::Table>().is_ok();
            (!is_sound).then(|| Takes::of(section, key).instead_of(key, value))
        }
        // In a list.
        _ if part.is_empty() || part.starts_with(['[', '"', '\'', '=', ',']) => None,
        Some(key) if matches!(Takes::of(section, key), Takes::Number) => {
            Some(format!("`{}` is not a whole number: give numbers with commas between", eam::cut(part)))
        }
        _ => {
            let part = eam::cut(part);
            Some(format!("`{part}` has to stand in quotation marks: write {}", toml::Value::from(part.trim())))
        }
    }
}

/// Where a section has the brackets of a list of sections, or the other way round.
fn of_brackets(header: &str) -> Option<String> {
    let name = header.trim_matches(['[', ']', ' ']);
    let is_list = ["eam", "prefix_for"].contains(&name);
    match (is_list, header.starts_with("[[")) {
        (true, false) => Some(format!("[{name}]: there may be several: write [[{name}]]")),
        (false, true) if !name.is_empty() => Some(format!("[[{0}]]: there is one: write [{0}]", eam::cut(name))),
        _ => None,
    }
}

/// Puts a message of the TOML reader into a sentence with key, place and what is allowed.
pub(super) fn of_toml(text: &str, error: &toml::de::Error) -> Problem {
    let Range { start, end } = error.span().unwrap_or(0..0);
    let (start, end) = (start.min(text.len()), end.min(text.len()));
    let line = error.span().map(|_| line_of(text, start));
    let message = error.message();
    let (key, section) = (key_of(text, start), section_of(text, start));
    let at_header = text[start..].starts_with('[') || key.is_none();
    let place = match section {
        Some(section) if !at_header => format!(" in {}", eam::cut(section)),
        _ => String::new(),
    };
    let named = |what: &str| key.map_or_else(String::new, |key| format!("`{}`{place}{what}", eam::cut(key)));
    let sentence = if let Some(rest) = message.strip_prefix("unknown field ") {
        let words = quoted(rest);
        let (unknown, allowed) = words.split_first().map_or(("", &[][..]), |(first, others)| (*first, others));
        let hint = nearest(unknown, allowed).map_or_else(String::new, |near| format!(" (did you mean `{near}`?)"));
        let what = if at_header { "section" } else { "key" };
        format!("unknown {what} `{}`{place}{hint}; allowed here: {}", eam::cut(unknown), allowed.join(", "))
    } else if message.starts_with("key with no value") {
        "a line has the form key = value".to_owned()
    } else if message == "duplicate key" {
        match section {
            Some(section) if at_header => {
                format!("{} is there twice: put its keys together under one", eam::cut(section))
            }
            _ => named(" is there twice: take one of them out"),
        }
    } else if message.starts_with("invalid type: ") {
        let brackets = section.filter(|_| at_header).and_then(of_brackets);
        brackets.unwrap_or_else(|| format!("{}{}", named(": "), in_plain_words(message)))
    } else {
        let part = text.get(start..end).unwrap_or_default();
        let value = of_value(section, key, value_of(text, start), part);
        let value = value.filter(|_| key.is_some() || !text[start..].starts_with('['));
        format!("{}{}", named(": "), value.unwrap_or_else(|| in_plain_words(message)))
    };
    Problem { line, text: sentence }
}

/// The reader's names of types in the words of the file's author.
fn in_plain_words(message: &str) -> String {
    let Some((got, expected)) = message.strip_prefix("invalid type: ").and_then(|rest| rest.rsplit_once(", expected "))
    else {
        return eam_file::shortened(&message.lines().collect::<Vec<_>>().join("; ")).into_owned();
    };
    let expected = match expected {
        "i64" => "a whole number",
        "a boolean" => "true or false",
        "a sequence" => "a list in square brackets",
        "a string" => "a text in quotation marks",
        other if other.starts_with("struct ") => "a section",
        other => other,
    };
    let got = eam::cut(got)
        .replace("string ", "the text ")
        .replace("integer ", "the number ")
        .replace("floating point ", "the number ")
        .replace("boolean ", "the value ")
        .replace("sequence", "a list")
        .replace("map", "a section");
    format!("{got} stands where {expected} belongs")
}

/// The allowed word that is meant by a mistyped one.
pub(super) fn nearest<'words>(word: &str, allowed: &[&'words str]) -> Option<&'words str> {
    allowed
        .iter()
        .map(|candidate| (distance(word, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many characters to insert, delete or replace to make one word the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let replace = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}
