//! JSON: what `eam list --json` prints, or an array of its entries.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Serialize,
    de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor},
};

use super::{FileError, Line, line, shortened};
use crate::eam::{Entry, Origin};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw<'text> {
    #[serde(borrow)]
    ipv4: Cow<'text, str>,
    #[serde(borrow)]
    ipv6: Cow<'text, str>,
    #[serde(borrow, default)]
    comment: Option<Cow<'text, str>>,
    #[serde(default, rename = "origin")]
    _origin: Option<Origin>,
}

pub(super) fn parse(text: &str) -> Result<Vec<Line>, FileError> {
    let mut file = File { place: Place { text, offset: 0, line: 1 }, lines: Vec::new(), refusal: None };
    let mut reader = serde_json::Deserializer::from_str(text);
    let read = if text.trim_start().starts_with('[') {
        Entries(&mut file).deserialize(&mut reader)
    } else {
        reader.deserialize_map(Table(&mut file))
    };
    match (read.and_then(|()| reader.end()), file.refusal) {
        (_, Some(refusal)) => Err(refusal),
        (Ok(()), None) => Ok(file.lines),
        (Err(error), None) => {
            let sentence = error.to_string();
            let what = sentence.rsplit_once(" at line ").map_or(sentence.as_str(), |(what, _)| what);
            Err(FileError::at(error.line(), shortened(what)))
        }
    }
}

/// What has been read of a file. Each entry is judged as it comes: the first that is wrong ends it.
struct File<'text> {
    place: Place<'text>,
    lines: Vec<Line>,
    refusal: Option<FileError>,
}

/// The object around the entries, of which the revision that it was does not matter here.
struct Table<'file, 'text>(&'file mut File<'text>);

impl<'text> Visitor<'text> for Table<'_, 'text> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object with `entries`")
    }

    fn visit_map<A: MapAccess<'text>>(self, mut map: A) -> Result<(), A::Error> {
        let mut has_entries = false;
        while let Some(key) = map.next_key::<Cow<'text, str>>()? {
            match &*key {
                "entries" if has_entries => return Err(de::Error::duplicate_field("entries")),
                "entries" => {
                    map.next_value_seed(Entries(self.0))?;
                    has_entries = true;
                }
                "revision" => drop(map.next_value::<Option<u64>>()?),
                "eamt" | "framework" | "instance" => {
                    return Err(de::Error::custom(
                        "this is a configuration of Jool: use `xlat-ctl import jool`, which writes what belongs here",
                    ));
                }
                other => return Err(de::Error::unknown_field(other, &["revision", "entries"])),
            }
        }
        if has_entries { Ok(()) } else { Err(de::Error::missing_field("entries")) }
    }
}

/// The array of the entries.
struct Entries<'file, 'text>(&'file mut File<'text>);

impl<'text> DeserializeSeed<'text> for Entries<'_, 'text> {
    type Value = ();

    fn deserialize<D: Deserializer<'text>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'text> Visitor<'text> for Entries<'_, 'text> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a sequence")
    }

    fn visit_seq<A: SeqAccess<'text>>(self, mut entries: A) -> Result<(), A::Error> {
        let File { place, lines, refusal } = self.0;
        while let Some(raw) = entries.next_element::<Raw<'text>>()? {
            let number = place.line_of(&raw.ipv4);
            match line(number, &raw.ipv4, &raw.ipv6, raw.comment.as_deref().unwrap_or_default()) {
                Ok(line) => lines.push(line),
                Err(text) => {
                    *refusal = Some(FileError::at(number, &text));
                    return Err(de::Error::custom(text));
                }
            }
        }
        Ok(())
    }
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
