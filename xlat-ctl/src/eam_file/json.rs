//! JSON: what `eam list --json` prints, or an array of its entries.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{FileError, Line, line, shortened};
use crate::eam::{Entry, Origin};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table<'text> {
    /// Of the table that it was; it does not matter here.
    #[serde(default, rename = "revision")]
    _revision: Option<u64>,
    #[serde(borrow)]
    entries: Vec<Raw<'text>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw<'text> {
    #[serde(borrow)]
    ipv4: Cow<'text, str>,
    #[serde(borrow)]
    ipv6: Cow<'text, str>,
    #[serde(borrow, default)]
    comment: Cow<'text, str>,
    #[serde(default, rename = "origin")]
    _origin: Option<Origin>,
}

pub(super) fn parse(text: &str) -> Result<Vec<Line>, FileError> {
    let unreadable = |error: serde_json::Error| {
        let sentence = error.to_string();
        let what = sentence.rsplit_once(" at line ").map_or(sentence.as_str(), |(what, _)| what);
        FileError::at(error.line(), shortened(what))
    };
    let raw: Vec<Raw<'_>> = if text.trim_start().starts_with('[') {
        serde_json::from_str(text).map_err(unreadable)?
    } else {
        serde_json::from_str::<Table<'_>>(text).map_err(unreadable)?.entries
    };
    let mut place = Place { text, offset: 0, line: 1 };
    let judged = raw.iter().map(|raw| {
        let number = place.line_of(&raw.ipv4);
        line(number, &raw.ipv4, &raw.ipv6, &raw.comment).map_err(|text| FileError::at(number, text))
    });
    judged.collect()
}

/// Where in the text the entries are, one after the other.
struct Place<'text> {
    text: &'text str,
    offset: usize,
    line: usize,
}

impl Place<'_> {
    /// The line of a string of the text; for one that has been unescaped, that of the string before it.
    fn line_of(&mut self, string: &str) -> usize {
        if let Some(offset) = string.as_ptr().addr().checked_sub(self.text.as_ptr().addr())
            && let Some(between) = self.text.as_bytes().get(self.offset..offset)
        {
            self.line += between.iter().filter(|byte| **byte == b'\n').count();
            self.offset = offset;
        }
        self.line
    }
}

#[derive(Serialize)]
struct Written<'table> {
    ipv4: String,
    ipv6: String,
    comment: &'table str,
    origin: Origin,
}

/// One entry on each line.
pub(super) fn write<'table>(entries: impl Iterator<Item = &'table Entry>) -> String {
    let mut text = "{\"entries\": [".to_owned();
    for (index, entry) in entries.enumerate() {
        let (ipv4, ipv6) = (entry.pair.ipv4().to_string(), entry.pair.ipv6().to_string());
        let written = Written { ipv4, ipv6, comment: &entry.comment, origin: entry.origin };
        text.push_str(if index == 0 { "\n" } else { ",\n" });
        text.push_str(&serde_json::to_string(&written).expect("an entry has only string keys"));
    }
    text.push_str("\n]}\n");
    text
}
