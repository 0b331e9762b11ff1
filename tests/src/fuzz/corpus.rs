//! Packets that once were translated wrongly, kept to be tried first in every run.
//!
//! A corpus file has a packet a line: the configuration's name, `ipv4` or `ipv6` and the packet in hexadecimal digits from
//! the IP header on. A line that begins with `#` is a comment.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, bail};

use crate::reference::{Family, hex};

/// One packet for one configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The configuration's name.
    pub config: String,
    /// The family the EtherType says.
    pub family: Family,
    /// The packet from the IP header on.
    pub packet: Vec<u8>,
}

/// Every entry of every `*.hex` file in a directory, the files in the order of their names; a directory that is not there
/// has none.
///
/// # Errors
///
/// A file that cannot be read, a line that is no entry.
pub fn read(directory: &Path) -> anyhow::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let Ok(listing) = fs::read_dir(directory) else { return Ok(entries) };
    let mut paths = Vec::new();
    for entry in listing {
        paths.push(entry.with_context(|| format!("listing {}", directory.display()))?.path());
    }
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "hex"));
    paths.sort();
    for path in paths {
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        for (number, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let entry = parse(line).with_context(|| format!("{}:{}", path.display(), number + 1))?;
            entries.push(entry);
        }
    }
    Ok(entries)
}

fn parse(line: &str) -> anyhow::Result<Entry> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [config, family, digits] = fields[..] else {
        bail!("a line is a configuration, `ipv4` or `ipv6`, and a packet in hexadecimal digits");
    };
    let family = match family {
        "ipv4" => Family::Ipv4,
        "ipv6" => Family::Ipv6,
        other => bail!("{other:?} is neither `ipv4` nor `ipv6`"),
    };
    Ok(Entry { config: config.to_owned(), family, packet: bytes_of(digits)? })
}

fn bytes_of(digits: &str) -> anyhow::Result<Vec<u8>> {
    let digits = digits.as_bytes();
    if !digits.len().is_multiple_of(2) {
        bail!("an odd number of hexadecimal digits");
    }
    let value = |digit: u8| char::from(digit).to_digit(16).context("not a hexadecimal digit");
    let byte = |pair: &[u8]| Ok(u8::try_from(value(pair[0])? * 16 + value(pair[1])?)?);
    digits.chunks(2).map(byte).collect()
}

/// Appends an entry to `found.hex` in the directory.
///
/// # Errors
///
/// The file cannot be written.
pub fn append(directory: &Path, comment: &str, entry: &Entry) -> anyhow::Result<()> {
    let path = directory.join("found.hex");
    let describe = || format!("appending to {}", path.display());
    fs::create_dir_all(directory).with_context(describe)?;
    let mut file = fs::OpenOptions::new().create(true).append(true).open(&path).with_context(describe)?;
    writeln!(file, "# {}", comment.replace('\n', " ")).with_context(describe)?;
    writeln!(file, "{}", line(entry)).with_context(describe)
}

/// An entry as a line of a corpus file.
#[must_use]
pub fn line(entry: &Entry) -> String {
    let family = match entry.family {
        Family::Ipv4 => "ipv4",
        Family::Ipv6 => "ipv6",
    };
    format!("{} {family} {}", entry.config, hex(&entry.packet))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_appended() {
        let directory = tempfile::tempdir().expect("a directory");
        let entry = Entry { config: "default".to_owned(), family: Family::Ipv6, packet: vec![0x60, 0, 0xab] };
        append(directory.path(), "why", &entry).expect("written");
        append(directory.path(), "again", &entry).expect("written");
        assert_eq!(read(directory.path()).expect("read"), [entry.clone(), entry]);
    }

    #[test]
    fn says_which_line_is_wrong() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("a.hex"), "# comment\ndefault ipv5 00\n").expect("written");
        let error = read(directory.path()).expect_err("ipv5 is no family");
        assert!(format!("{error:#}").contains("a.hex:2: \"ipv5\""), "{error:#}");
    }
}
