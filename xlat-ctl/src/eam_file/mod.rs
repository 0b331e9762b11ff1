//! Tables of explicit address mappings as files: CSV, JSON and TOML, read by `eam apply` and written by `eam export`.
//!
//! ```text
//! ipv4,ipv6,comment,origin            {"entries": [{"ipv4": "…",       [[eam]]
//! 198.51.100.10/32,2001:…/128,www,…     "ipv6": "…", "comment": "…"}]}  ipv4 = "198.51.100.10" …
//! ```
//!
//! A file is read as a whole or not at all: the first line that is wrong refuses it.

mod csv;
mod json;
mod toml;

use std::{borrow::Cow, fmt, path::Path};

use crate::eam::{self, Comment, Entry, Origin, Pair};

/// How a table is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, utoipa::ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum Format {
    /// Lines `ipv4,ipv6[,comment[,origin]]`, with or without a heading.
    Csv,
    /// What `eam list --json` prints, or its `entries` alone.
    Json,
    /// `[[eam]]`, as in `xlat.toml`.
    Toml,
}

impl Format {
    /// The format that a file's name tells, if it tells one.
    #[must_use]
    pub fn of_name(file: &Path) -> Option<Self> {
        file.extension()?.to_str()?.to_ascii_lowercase().parse().ok()
    }
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Toml => "toml",
        })
    }
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "csv" => Ok(Self::Csv),
            "json" => Ok(Self::Json),
            "toml" => Ok(Self::Toml),
            _ => Err(format!("`{text}` is not a format: give csv, json or toml")),
        }
    }
}

/// One entry of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its line, from 1.
    pub number: u32,
    /// The two prefixes.
    pub pair: Pair,
    /// The comment, or empty.
    pub comment: Comment,
}

/// Why a file is refused: one sentence that begins with the place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// Something in it is wrong.
    #[error("line {line}: {text}")]
    At {
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        text: String,
    },
    /// There is nothing in it. What an empty file would do to a table is said, not guessed.
    #[error("the file has no entries: to delete all dynamic entries, give {0}")]
    Empty(&'static str),
}

impl FileError {
    fn at(line: usize, text: impl fmt::Display) -> Self {
        Self::At { line, text: text.to_string() }
    }
}

/// Reads a file of a format, or of the one that it seems to have.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn parse(bytes: &[u8], format: Option<Format>) -> Result<Vec<Line>, FileError> {
    let text = crate::utf8(bytes).map_err(|line| FileError::at(line, crate::NOT_UTF8))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match format.unwrap_or_else(|| recognize(text)) {
        Format::Csv => csv::parse(text),
        Format::Json => json::parse(text),
        Format::Toml => toml::parse(text),
    }
}

/// Writes a table so that [`parse`] reads the same entries.
#[must_use]
pub fn write<'table>(entries: impl Iterator<Item = &'table Entry>, format: Format) -> String {
    match format {
        Format::Csv => csv::write(entries),
        Format::Json => json::write(entries),
        Format::Toml => toml::write(entries),
    }
}

/// The format that a text seems to have, by what comes after blank lines and comments.
fn recognize(text: &str) -> Format {
    let mut telling = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let Some(first) = telling.next() else { return Format::Csv };
    let is_key = |rest: &str| rest.trim_start().starts_with('=');
    // After the bracket of an array of JSON comes no letter, but for the words true, false and null, which are no entries.
    let section = first.strip_prefix("[[").or_else(|| first.strip_prefix('['));
    let is_section = section.is_some_and(|rest| rest.starts_with(|char: char| char.is_ascii_alphabetic()));
    if is_section || first.strip_prefix("eam").is_some_and(is_key) {
        Format::Toml
    } else if first.starts_with(['{', '[']) {
        Format::Json
    } else {
        Format::Csv
    }
}

/// Judges an entry as it is written.
fn line(number: usize, ipv4: &str, ipv6: &str, comment: &str) -> Result<Line, String> {
    let ipv4 = eam::parse_ipv4(ipv4).map_err(|error| error.to_string())?;
    let ipv6 = eam::parse_ipv6(ipv6).map_err(|error| error.to_string())?;
    eam::check_comment(comment)?;
    // No file that is taken has as many.
    let number = u32::try_from(number).unwrap_or(u32::MAX);
    Ok(Line { number, pair: Pair::new(ipv4, ipv6)?, comment: comment.into() })
}

/// A sentence of another library's, which may repeat any amount of the file: its beginning, and its end, which says what belongs there.
pub(crate) fn shortened(sentence: &str) -> Cow<'_, str> {
    const END: usize = 120;
    let begin = eam::cut(sentence);
    match sentence.char_indices().nth_back(END) {
        Some((end, _)) if end > begin.len() => Cow::Owned(format!("{begin}{}", &sentence[end..])),
        _ => Cow::Borrowed(sentence),
    }
}

/// The word for where an entry comes from.
fn origin_name(origin: Origin) -> &'static str {
    match origin {
        Origin::Static => "static",
        Origin::Dynamic => "dynamic",
    }
}

#[cfg(test)]
mod tests;
