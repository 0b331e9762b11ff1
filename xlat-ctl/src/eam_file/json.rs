//! JSON: what `eam list --json` prints, or an array of its entries.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{FileError, Line, line};
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
        let what = sentence.split_once(" at line ").map_or(sentence.as_str(), |(what, _)| what).to_owned();
        FileError::at(error.line(), what)
    };
    let raw: Vec<Raw<'_>> = if text.trim_start().starts_with('[') {
        serde_json::from_str(text).map_err(unreadable)?
    } else {
        serde_json::from_str::<Table<'_>>(text).map_err(unreadable)?.entries
    };
    let judged = raw.iter().enumerate().map(|(index, raw)| {
        line(index + 1, &raw.ipv4, &raw.ipv6, &raw.comment)
            .map_err(|text| FileError(format!("entry {}: {text}", index + 1)))
    });
    judged.collect()
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
