//! The packets of the conformance table as lines of a file, for another program to send.
//!
//! A line has a row's name, the section it is about, the interface that the packet arrives by, and the packet in hexadecimal
//! digits from the IP header on; tabs between them. Rows with settings of their own, VLAN tags, a bond's port and foreign frames
//! are not among them.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::notation::Frame;
use crate::reference::hex;

/// The environment variable that names the file.
const FILE: &str = "XLAT_ROWS";

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// The section, `RFC 7915 4.1`.
    pub section: String,
    /// The interface of the relay that the packet arrives by.
    pub arrives_by: String,
    /// From the IP header on.
    pub packet: Vec<u8>,
}

/// Appends a row to the file that `XLAT_ROWS` names, if it names one.
///
/// # Panics
/// The file cannot be written.
pub fn record(name: &str, section: &str, frame: &Frame) {
    let Some(file) = std::env::var_os(FILE) else { return };
    let by = frame.arrives_by.unwrap_or(if frame.ether_type == 0x86dd { "v6" } else { "v4" });
    let line = format!("{name}\t{section}\t{by}\t{}\n", hex(&frame.packet));
    let opened = OpenOptions::new().create(true).append(true).open(file);
    opened.and_then(|mut file| file.write_all(line.as_bytes())).expect("keeping the row");
}

/// The rows of a file, in the order of their names.
///
/// # Errors
/// The file cannot be read, or has a line that is no row.
pub fn read(file: &Path) -> Result<Vec<Row>> {
    let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let rows: BTreeSet<Row> = text.lines().map(parse).collect::<Result<_>>()?;
    Ok(rows.into_iter().collect())
}

fn parse(line: &str) -> Result<Row> {
    let [name, section, by, digits] = line.split('\t').collect::<Vec<_>>()[..] else { bail!("no row: {line}") };
    let (name, section, arrives_by) = (name.to_owned(), section.to_owned(), by.to_owned());
    Ok(Row { name, section, arrives_by, packet: bytes(digits).context("reading a packet")? })
}

/// The bytes that hexadecimal digits stand for.
///
/// # Errors
/// They are none.
pub fn bytes(digits: &str) -> Result<Vec<u8>> {
    let digit = |digit: char| digit.to_digit(16).context("no hexadecimal digit");
    let digits: Vec<u32> = digits.chars().map(digit).collect::<Result<_>>()?;
    Ok(digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | *digit as u8)).collect())
}
