//! From what other translators are configured with to a configuration and a table of this one.
//!
//! What has no equivalent is never dropped silently: it becomes a [`Note`].

mod jool;
mod json;
mod tayga;

use std::{
    collections::{BTreeSet, HashSet},
    fmt,
};

use ipnet::{Ipv4Net, Ipv6Net};

pub use self::{jool::jool, tayga::tayga};
use crate::{
    eam::{self, Comment, Entry, Origin, Pair, Table},
    eam_file::{self, Format},
};

/// How many overlaps are told.
const MOST_OVERLAPS: usize = 100;

/// A file to be read: its name and what is in it.
#[derive(Clone, Copy, Debug)]
pub struct Source<'file> {
    name: &'file str,
    text: &'file str,
}

impl<'file> Source<'file> {
    /// `name` is for people. A byte order mark at the start is no part of the text.
    #[must_use]
    pub fn new(name: &'file str, text: &'file str) -> Self {
        Self { name, text: text.strip_prefix('\u{feff}').unwrap_or(text) }
    }

    /// The sentence that refuses a file of another kind. `verb`: what was run; `wanted`: what belongs here.
    fn refuse(&self, verb: &str, wanted: &str) -> String {
        let name = self.name;
        let first = self.text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
        let Some(first) = first else { return format!("{name}: the file is empty: {wanted} belongs here") };
        let fields: Vec<&str> = first.split([',', ';']).map(|field| field.trim().trim_matches('"')).collect();
        let is_cell = |field: &&str| {
            let names = ["ipv4", "ipv6", "ipv4 prefix", "ipv6 prefix"];
            eam::parse_ipv4(field).is_ok()
                || eam::parse_ipv6(field).is_ok()
                || names.contains(&field.to_ascii_lowercase().as_str())
        };
        let (is_json, is_for_jool) = (first.starts_with(['{', '[']), verb == "jool");
        let likely = if let Some(likely) = self.as_xlats_toml() {
            likely
        } else if is_json && ["\"entries\"", "\"ipv4\""].iter().any(|key| self.text.contains(key)) {
            "like JSON of xlat: use `xlat-ctl eam apply`"
        } else if is_json && !is_for_jool {
            "like JSON, as Jool's configuration is: use `xlat-ctl import jool`"
        } else if fields.iter().filter(|field| is_cell(field)).count() >= 2 {
            if is_for_jool {
                "like a table of addresses that is not Jool's: use `xlat-ctl eam apply` for one of xlat"
            } else {
                "like a table of addresses: use `xlat-ctl import jool` for one of Jool, `xlat-ctl eam apply` for one of xlat"
            }
        } else if is_for_jool && first.split_whitespace().next().is_some_and(tayga::is_usual) {
            "like TAYGA's configuration: use `xlat-ctl import tayga`"
        } else {
            return format!("{name}: nothing in it is known: {wanted} belongs here");
        };
        format!("{name}: {wanted} belongs here, and this looks {likely}")
    }

    /// What a file looks like, and what to do with it, if it is TOML of this program.
    fn as_xlats_toml(&self) -> Option<&'static str> {
        let table: toml::Table = self.text.parse().ok()?;
        match (table.contains_key("eam"), table.len()) {
            (true, 1) => Some("like TOML of xlat: use `xlat-ctl eam apply`"),
            (true, _) => Some(
                "like xlat's configuration: copy its [[eam]] tables into a file of their own and give that to `xlat-ctl eam apply`",
            ),
            _ if table.contains_key("dataplane") => Some("like xlat's configuration, which the daemon takes as it is"),
            _ => None,
        }
    }
}

/// A setting that has no equivalent, or not quite, and why.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Note {
    /// The setting, as the other translator calls it.
    pub setting: String,
    /// Why, and what to do.
    pub why: String,
}

impl fmt::Display for Note {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.setting, self.why)
    }
}

/// What has been read.
#[derive(Clone, Debug, Default)]
pub struct Imported {
    /// Where it comes from, for the configuration's heading.
    from: &'static str,
    prefixes: Vec<Ipv6Net>,
    /// Lines of `[translation]`, each with its key.
    translation: Vec<(String, String)>,
    ipv4_pool: Option<Ipv4Net>,
    ipv6_pool: Option<Ipv6Net>,
    /// Addresses that are not translated unless an EAM maps them.
    untranslated: BTreeSet<Ipv4Net>,
    entries: Vec<Entry>,
    /// What has no equivalent.
    pub notes: Vec<Note>,
    /// All that has been noted, each once.
    noted: HashSet<Note>,
}

impl Imported {
    fn note(&mut self, setting: impl Into<String>, why: impl Into<String>) {
        let note = Note { setting: setting.into(), why: why.into() };
        if self.noted.insert(note.clone()) {
            self.notes.push(note);
        }
    }

    /// Notes what holds for the whole configuration, before what there is to say of its lines.
    pub fn note_first(&mut self, setting: &str, why: impl Into<String>) {
        let note = Note { setting: setting.to_owned(), why: why.into() };
        if self.noted.insert(note.clone()) {
            self.notes.insert(0, note);
        }
    }

    /// Says first of all that there is no translation prefix, where there is none. `setting`: what gives one.
    fn note_without_prefix(&mut self, setting: &str) {
        if self.prefixes.is_empty() {
            self.note_first(
                setting,
                "none of the files has one: put the translation prefix into prefixes in [translation]; without one only packets \
                 whose addresses both match an EAM are translated",
            );
        }
    }

    fn set_ipv4_pool(&mut self, setting: &str, pool: Ipv4Net) {
        let before = self.ipv4_pool.replace(pool);
        self.note_replaced(setting, "ipv4_pool", before, pool);
    }

    fn set_ipv6_pool(&mut self, setting: &str, pool: Ipv6Net) {
        let before = self.ipv6_pool.replace(pool);
        self.note_replaced(setting, "ipv6_pool", before, pool);
    }

    /// Says that a pool is not kept; of several the last is.
    fn note_replaced<Net: PartialEq + fmt::Display>(
        &mut self,
        setting: &str,
        key: &str,
        before: Option<Net>,
        pool: Net,
    ) {
        if let Some(before) = before.filter(|before| *before != pool) {
            self.note(
                setting,
                format!(
                    "{before} is given too, and one pool is kept, {pool}: put it into [icmp] {key} where it is needed"
                ),
            );
        }
    }

    /// Sets a line of `[translation]`.
    fn set(&mut self, key: &str, value: impl fmt::Display) {
        let line = format!("{key} = {value}");
        match self.translation.iter_mut().find(|(other, _)| other == key) {
            Some((_, present)) if *present != line => {
                *present = line;
                self.note(key, "it is given twice; the last stands");
            }
            Some(_) => {}
            None => self.translation.push((key.to_owned(), line)),
        }
    }

    fn prefix(&mut self, setting: &str, text: &str) -> Result<(), String> {
        let prefix = eam::parse_ipv6(text).map_err(|error| format!("{setting}: {error}"))?;
        if !self.prefixes.contains(&prefix) {
            self.prefixes.push(prefix);
        }
        Ok(())
    }

    /// Adds a mapping. Prefixes with host bits are taken without them.
    fn map(&mut self, place: &str, ipv4: &str, ipv6: &str, comment: &str) -> Result<(), String> {
        let named = |text: String| format!("{place}: {text}");
        let (ipv4, bits4) = without_host_bits(ipv4, eam::parse_ipv4(ipv4)).map_err(named)?;
        let (ipv6, bits6) = without_host_bits(ipv6, eam::parse_ipv6(ipv6)).map_err(named)?;
        if bits4 || bits6 {
            self.note(place, format!("host bits are set; read as {ipv4} ↔ {ipv6}"));
        }
        let pair = match Pair::new(ipv4, ipv6) {
            Ok(pair) => pair,
            Err(text) => {
                self.note(place, format!("left out: {text}"));
                return Ok(());
            }
        };
        let comment = match eam::check_comment(comment) {
            Ok(()) => comment.into(),
            Err(text) => {
                self.note(place, format!("its comment is left out: {text}"));
                Comment::default()
            }
        };
        self.entries.push(Entry { pair, comment, origin: Origin::Dynamic });
        Ok(())
    }

    /// Leaves out what `eam apply` would refuse, and says so.
    fn finish(mut self) -> Self {
        let mut table = Table::default();
        for entry in std::mem::take(&mut self.entries) {
            let inside = self.prefixes.iter().find(|prefix| prefix.contains(&entry.pair.ipv6())).copied();
            let over = self.prefixes.iter().find(|prefix| entry.pair.ipv6().contains(*prefix)).copied();
            // The CSV of a table beside the JSON that it was made from has most entries twice.
            if table.get_ipv4(entry.pair.ipv4()).is_some_and(|there| there.pair == entry.pair) {
                continue;
            }
            let refused = match (inside, over) {
                _ if entry.pair.is_ipv4_mapped() => Err(eam::IPV4_MAPPED.to_owned()),
                (Some(prefix), _) => Err(format!("it lies inside the translation prefix {prefix}")),
                (None, Some(prefix)) => Err(format!("it covers the translation prefix {prefix}")),
                (None, None) => table.insert(entry.clone()),
            };
            if let Err(text) = refused {
                self.note(entry.pair.to_string(), format!("left out: {text}"));
            }
        }
        let doubts: Vec<String> = if table.can_overlap() {
            table.overlaps_of(table.iter().map(|entry| &entry.pair), MOST_OVERLAPS)
        } else {
            Vec::new()
        };
        for doubt in doubts {
            self.note("overlap", doubt);
        }
        self.entries = table.iter().cloned().collect();
        self
    }

    /// The number of mappings.
    #[must_use]
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// The mappings, as a file for `eam apply`.
    #[must_use]
    pub fn table(&self) -> String {
        eam_file::write(self.entries.iter(), Format::Csv)
    }

    /// The configuration, valid as it is.
    #[must_use]
    pub fn configuration(&self, interfaces: &[String]) -> String {
        let list = |values: Vec<String>| format!("[{}]", values.join(", "));
        let quoted = |text: &dyn fmt::Display| toml::Value::String(text.to_string()).to_string();
        let mut text = format!("# Made from the configuration of {}.\n", self.from);
        for note in &self.notes {
            // A comment is one line, whatever the note quotes.
            let line: String =
                note.to_string().chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
            text.push_str(&format!("# {}\n", eam::visible(&line)));
        }
        let names = list(interfaces.iter().map(|name| quoted(name)).collect());
        text.push_str(&format!("\n[dataplane]\ninterfaces = {names}\n"));
        const USUAL: usize = 65_536;
        if self.entries.len() > USUAL / 2 {
            text.push_str(&format!("max_eams = {}\n", (2 * self.entries.len()).min(4_194_304)));
        }
        let prefixes = list(self.prefixes.iter().map(|prefix| quoted(prefix)).collect());
        text.push_str(&format!("\n[translation]\nprefixes = {prefixes}\n"));
        self.translation.iter().for_each(|(_, line)| text.push_str(&format!("{line}\n")));
        if self.ipv4_pool.is_some() || self.ipv6_pool.is_some() {
            text.push_str("\n[icmp]\n");
        }
        if let Some(pool) = &self.ipv4_pool {
            text.push_str(&format!("ipv4_pool = [{}]\n", quoted(pool)));
        }
        if let Some(pool) = &self.ipv6_pool {
            text.push_str(&format!("ipv6_pool = [{}]\n", quoted(pool)));
        }
        text
    }
}

/// A prefix, and whether bits had to be cleared.
fn without_host_bits<Net: std::str::FromStr>(
    text: &str,
    read: Result<Net, eam::PrefixError>,
) -> Result<(Net, bool), String> {
    match read {
        Ok(net) => Ok((net, false)),
        Err(eam::PrefixError::HostBits { prefix, .. }) => {
            prefix.parse().map(|net| (net, true)).map_err(|_| format!("`{text}` cannot be read"))
        }
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
