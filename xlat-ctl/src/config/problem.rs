//! What is wrong in a configuration, for people: the place, the key, what stands there and what may.

use std::{fmt, ops::Range};

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

/// Puts a message of the TOML reader into a sentence with key, place and what is allowed.
pub(super) fn of_toml(text: &str, error: &toml::de::Error) -> Problem {
    let Range { start, .. } = error.span().unwrap_or(0..0);
    let start = start.min(text.len());
    let line = error.span().map(|_| line_of(text, start));
    let message = error.message();
    let at_header = text[start..].starts_with('[') || key_of(text, start).is_none();
    let place = match section_of(text, start) {
        Some(section) if !at_header => format!(" in {section}"),
        _ => String::new(),
    };
    if let Some(rest) = message.strip_prefix("unknown field ") {
        let words = quoted(rest);
        let (unknown, allowed) = words.split_first().map_or(("", &[][..]), |(first, others)| (*first, others));
        let hint = nearest(unknown, allowed).map_or_else(String::new, |near| format!(" (did you mean `{near}`?)"));
        let what = if at_header { "section" } else { "key" };
        return Problem {
            line,
            text: format!("unknown {what} `{unknown}`{place}{hint}; allowed here: {}", allowed.join(", ")),
        };
    }
    let key = key_of(text, start).map_or_else(String::new, |key| format!("`{key}`{place}: "));
    Problem { line, text: format!("{key}{}", in_plain_words(message)) }
}

/// The reader's names of types in the words of the file's author.
fn in_plain_words(message: &str) -> String {
    let Some((got, expected)) = message.strip_prefix("invalid type: ").and_then(|rest| rest.split_once(", expected "))
    else {
        return message.lines().collect::<Vec<_>>().join("; ");
    };
    let expected = match expected {
        "i64" => "a whole number",
        "a boolean" => "true or false",
        "a sequence" => "a list in square brackets",
        "a string" => "a text in quotation marks",
        other if other.starts_with("struct ") => "a section",
        other => other,
    };
    let got = got
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
