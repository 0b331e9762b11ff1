//! CSV (RFC 4180, one line each).

use std::borrow::Cow;

use super::{FileError, Line, line, origin_name};
use crate::eam::{self, Entry};

/// Which field is which.
struct Columns {
    ipv4: usize,
    ipv6: usize,
    comment: Option<usize>,
    origin: Option<usize>,
    count: usize,
}

impl Columns {
    /// Without a heading.
    const USUAL: Self = Self { ipv4: 0, ipv6: 1, comment: Some(2), origin: Some(3), count: 4 };

    /// Reads a heading; `None`: the line is none, but an entry, whose comment may be a column's name.
    fn of(fields: &[Cow<'_, str>]) -> Option<Result<Self, String>> {
        let mut names: Vec<String> = fields.iter().map(|field| field.to_ascii_lowercase()).collect();
        let is_prefix = |name: &String| eam::parse_ipv4(name).is_ok() || eam::parse_ipv6(name).is_ok();
        if !names.iter().any(|name| name == "ipv4" || name == "ipv6") || names.iter().any(is_prefix) {
            return None;
        }
        // Of a comma at the end.
        names.pop_if(|name| name.is_empty());
        let place = |wanted: &str| names.iter().position(|name| name == wanted);
        let known = ["ipv4", "ipv6", "comment", "origin"];
        if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
            return Some(Err(format!(
                "unknown column `{}`: there are ipv4, ipv6, comment and origin",
                eam::cut(unknown)
            )));
        }
        if let Some((name, _)) = known
            .iter()
            .map(|name| (name, names.iter().filter(|other| other == name).count()))
            .find(|(_, count)| *count > 1)
        {
            return Some(Err(format!("the column `{name}` is there twice")));
        }
        let (Some(ipv4), Some(ipv6)) = (place("ipv4"), place("ipv6")) else {
            return Some(Err("the heading has to name the columns ipv4 and ipv6".to_owned()));
        };
        Some(Ok(Self { ipv4, ipv6, comment: place("comment"), origin: place("origin"), count: names.len() }))
    }
}

pub(super) fn parse(text: &str) -> Result<Vec<Line>, FileError> {
    let mut lines = Vec::new();
    let mut columns: Option<Columns> = None;
    let mut fields = Vec::new();
    for (index, row) in text.split('\n').enumerate() {
        let number = index + 1;
        let row = row.trim_matches([' ', '\t', '\r']);
        if row.is_empty() || row.starts_with('#') {
            continue;
        }
        split(row, &mut fields).map_err(|text| FileError::at(number, text))?;
        // Spreadsheets write empty rows so.
        if fields.iter().all(|field| field.is_empty()) {
            continue;
        }
        let columns = match &columns {
            Some(columns) => columns,
            None => match Columns::of(&fields) {
                Some(read) => {
                    columns = Some(read.map_err(|text| FileError::at(number, text))?);
                    continue;
                }
                None if fields.iter().any(|field| field.eq_ignore_ascii_case("IPv4 Prefix")) => {
                    let text = "this is a table of Jool: use `xlat-ctl import jool`, which writes what belongs here";
                    return Err(FileError::at(number, text));
                }
                None => columns.insert(Columns::USUAL),
            },
        };
        lines.push(entry(number, columns, &fields).map_err(|text| FileError::at(number, text))?);
    }
    if columns.is_none() { Err(FileError::Empty("the heading `ipv4,ipv6` alone")) } else { Ok(lines) }
}

fn entry(number: usize, columns: &Columns, mut fields: &[Cow<'_, str>]) -> Result<Line, String> {
    // A comma at the end gives nothing, where it begins no column.
    if let Some((last, others)) = fields.split_last()
        && last.is_empty()
        && others.len() == columns.count
    {
        fields = others;
    }
    if fields.len() > columns.count && columns.comment.is_none() {
        return Err(format!(
            "{} fields, but the heading names {} columns, and no column `comment`: name it there, or take the field out",
            fields.len(),
            columns.count
        ));
    }
    if fields.len() > columns.count {
        return Err(format!(
            "{} fields, but {} columns: a comment with a comma stands in quotation marks",
            fields.len(),
            columns.count
        ));
    }
    let field = |index: usize| fields.get(index).map(|field| &**field);
    let (Some(ipv4), Some(ipv6)) = (field(columns.ipv4), field(columns.ipv6)) else {
        let row = fields.join(",");
        let other = fields.iter().any(|field| field.contains([';', '\t']));
        let mend = if other { ", not a semicolon or a tab" } else { "" };
        return Err(format!(
            "`{}`: an entry has an IPv4 and an IPv6 prefix, with a comma between{mend}",
            eam::cut(&row)
        ));
    };
    if let Some(origin) = columns.origin.and_then(field)
        && !["static", "dynamic", ""].contains(&origin)
    {
        return Err(format!(
            "`{}` is no origin (static or dynamic): a comment with a comma stands in quotation marks",
            eam::cut(origin)
        ));
    }
    line(number, ipv4, ipv6, columns.comment.and_then(field).unwrap_or_default())
}

/// Splits a line into its fields, without quotation marks and the white space around them.
fn split<'row>(row: &'row str, fields: &mut Vec<Cow<'row, str>>) -> Result<(), String> {
    fields.clear();
    let mut rest = row;
    loop {
        rest = rest.trim_start_matches([' ', '\t']);
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                (Cow::Borrowed(rest[..end].trim_end_matches([' ', '\t'])), &rest[end..])
            }
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return Ok(()),
        }
    }
}

/// The rest of a field after its first quotation mark, and what follows the field.
fn quoted_field(quoted: &str) -> Result<(Cow<'_, str>, &str), String> {
    let mut value = String::new();
    let mut rest = quoted;
    loop {
        let Some((part, after)) = rest.split_once('"') else {
            return Err("a quotation mark is not closed on its line".to_owned());
        };
        value.push_str(part);
        if let Some(more) = after.strip_prefix('"') {
            value.push('"');
            rest = more;
            continue;
        }
        let after = after.trim_start_matches([' ', '\t']);
        if !after.is_empty() && !after.starts_with(',') {
            return Err("a comma belongs after the closing quotation mark".to_owned());
        }
        return Ok((Cow::Owned(value), after));
    }
}

pub(super) fn write<'table>(entries: impl Iterator<Item = &'table Entry>) -> String {
    let mut text = "ipv4,ipv6,comment,origin\n".to_owned();
    for entry in entries {
        let (pair, comment, origin) = (&entry.pair, field(&entry.comment), origin_name(entry.origin));
        text.push_str(&format!("{},{},{comment},{origin}\n", pair.ipv4(), pair.ipv6()));
    }
    text
}

/// A field that is read as the same value.
fn field(value: &str) -> Cow<'_, str> {
    let blank = [' ', '\t'];
    if value.contains([',', '"']) || value.starts_with(blank) || value.ends_with(blank) {
        Cow::Owned(format!("\"{}\"", value.replace('"', "\"\"")))
    } else {
        Cow::Borrowed(value)
    }
}
