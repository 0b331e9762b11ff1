//! TOML: `[[eam]]`, as in `xlat.toml`.

use serde::Deserialize;
use toml::Spanned;

use super::{FileError, Line, line, shortened};
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

/// Begins an entry.
const HEADER: &str = "[[eam]]";
/// Tables that are read at a time: a document takes many times its length of memory.
const PIECE: usize = 1000;
/// The longest document, bytes: a piece, or entries in one array, `eam = [{ipv4 = …}, …]`.
const LONGEST: usize = 16 << 20;

pub(super) fn parse(text: &str) -> Result<Vec<Line>, FileError> {
    let headers: Vec<usize> = line_starts(text).filter(|start| text[*start..].starts_with(HEADER)).collect();
    let mut reader = Reader { number: 1, lines: Vec::new() };
    let Some(first) = headers.first().filter(|first| is_empty(&text[..**first])) else {
        reader.read(text)?;
        return Ok(reader.lines);
    };
    reader.number += newlines(&text[..*first]);
    for tables in headers.chunks(PIECE) {
        let next = headers.partition_point(|start| start <= tables.last().expect("a chunk is not empty"));
        let end = headers.get(next).copied().unwrap_or(text.len());
        reader.read(&text[tables[0]..end])?;
    }
    Ok(reader.lines)
}

/// Reads documents that follow one another in a file.
struct Reader {
    /// The line, from 1, that the next one begins on.
    number: usize,
    lines: Vec<Line>,
}

impl Reader {
    fn read(&mut self, text: &str) -> Result<(), FileError> {
        let begin = self.number;
        if text.len() > LONGEST {
            let most = LONGEST >> 20;
            let what =
                format!("more than {most} MiB in one piece: begin each entry with a line `{HEADER}`, or give CSV");
            return Err(FileError::at(begin, what));
        }
        let file: File = toml::from_str(text).map_err(|error| {
            let place = error.span().map_or(0, |span| newlines(&text[..span.start.min(text.len())]));
            FileError::at(begin + place, shortened(&error.message().lines().collect::<Vec<_>>().join("; ")))
        })?;
        let mut counted = 0;
        for raw in file.eam.ok_or(FileError::Empty("`eam = []`"))? {
            // The entries come in the order of the text.
            let start = raw.span().start.clamp(counted, text.len());
            self.number += newlines(&text[counted..start]);
            counted = start;
            let (number, raw) = (self.number, raw.into_inner());
            let judged = line(number, &raw.ipv4, &raw.ipv6, &raw.comment);
            self.lines.push(judged.map_err(|text| FileError::at(number, text))?);
        }
        self.number += newlines(&text[counted..]);
        Ok(())
    }
}

fn newlines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

fn line_starts(text: &str) -> impl Iterator<Item = usize> {
    std::iter::once(0).chain(text.match_indices('\n').map(|(end, _)| end + 1))
}

/// Whether there are only comments and blank lines.
fn is_empty(text: &str) -> bool {
    text.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with('#'))
}

pub(super) fn write<'table>(entries: impl Iterator<Item = &'table Entry>) -> String {
    let mut text = String::new();
    for entry in entries {
        text.push_str(&format!("[[eam]]\nipv4 = \"{}\"\nipv6 = \"{}\"\n", entry.pair.ipv4(), entry.pair.ipv6()));
        if !entry.comment.is_empty() {
            text.push_str(&format!("comment = {}\n", toml::Value::String(entry.comment.to_string())));
        }
        text.push('\n');
    }
    if text.is_empty() { "eam = []\n".to_owned() } else { text }
}
