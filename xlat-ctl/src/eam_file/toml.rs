//! TOML: `[[eam]]`, as in `xlat.toml`.

use serde::Deserialize;
use toml::Spanned;

use super::{FileError, Line, line, nothing, shortened};
use crate::eam::Entry;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    eam: Option<Vec<Spanned<Raw>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    ipv4: String,
    ipv6: String,
    #[serde(default)]
    comment: String,
}

pub(super) fn parse(text: &str) -> Result<Vec<Line>, FileError> {
    let line_of = |offset: usize| text.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count() + 1;
    let file: File = toml::from_str(text).map_err(|error| {
        let place = error.span().map_or(1, |span| line_of(span.start.min(text.len())));
        FileError::at(place, shortened(&error.message().lines().collect::<Vec<_>>().join("; ")))
    })?;
    let raw = file.eam.ok_or_else(|| nothing("`eam = []`"))?;
    let (mut number, mut counted) = (1, 0);
    let judged = raw.into_iter().map(|raw| {
        // The entries come in the order of the text.
        let start = raw.span().start.clamp(counted, text.len());
        number += text.as_bytes()[counted..start].iter().filter(|byte| **byte == b'\n').count();
        counted = start;
        let raw = raw.into_inner();
        line(number, &raw.ipv4, &raw.ipv6, &raw.comment).map_err(|text| FileError::at(number, text))
    });
    judged.collect()
}

pub(super) fn write<'table>(entries: impl Iterator<Item = &'table Entry>) -> String {
    let mut text = String::new();
    for entry in entries {
        text.push_str(&format!("[[eam]]\nipv4 = \"{}\"\nipv6 = \"{}\"\n", entry.pair.ipv4(), entry.pair.ipv6()));
        if !entry.comment.is_empty() {
            text.push_str(&format!("comment = {}\n", toml::Value::String(entry.comment.clone())));
        }
        text.push('\n');
    }
    if text.is_empty() { "eam = []\n".to_owned() } else { text }
}
