//! What people read: aligned tables, durations, sizes; and how it gets out.

use std::{
    borrow::Cow,
    io::{self, ErrorKind, IsTerminal as _, Write},
    path::Path,
    process,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use serde::Serialize;

use super::Common;
use crate::eam;

/// Prints text to standard output, in which no character is hidden. A reader that has enough (`| head`) ends the command quietly.
pub(super) fn print(text: &str) {
    print_file(&eam::visible(text));
}

/// As [`print`], of something that goes on whether anybody reads it or not.
pub(super) fn print_before(text: &str) {
    // What is printed at the end tells that it cannot be.
    HAS_ANSWERED.store(true, Relaxed);
    let _ = io::stdout().lock().write_all(eam::visible(text).as_bytes());
}

/// As [`print`], of what a command has done: a reader that has enough makes no failure of it.
pub(super) fn print_done(text: &str) {
    let _ = written(&eam::visible(text));
}

/// As [`print`], of what is a file's content: as it is.
pub(super) fn print_file(text: &str) {
    if !written(text) {
        process::exit(1);
    }
}

/// Whether something has been printed to standard output.
static HAS_ANSWERED: AtomicBool = AtomicBool::new(false);

/// Whether this command has answered: what it fails at afterwards is no second answer.
pub(super) fn has_answered() -> bool {
    HAS_ANSWERED.load(Relaxed)
}

/// Whether anybody reads it still.
fn written(text: &str) -> bool {
    HAS_ANSWERED.store(true, Relaxed);
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => false,
        Err(error) => {
            complain(&format!("cannot write the answer: {}", crate::plain(&error)));
            process::exit(1);
        }
    }
}

/// Prints a sentence to standard error.
pub(super) fn complain(message: &str) {
    // There is nowhere to report that standard error cannot be written to.
    let _ = writeln!(io::stderr(), "xlat-ctl: {}", harmless(&eam::visible(message)));
}

/// A text whose control characters, but for line breaks, are written as `\u{1b}`: what is quoted from a file does nothing to a terminal.
fn harmless(text: &str) -> Cow<'_, str> {
    let is_bad = |char: char| char.is_control() && char != '\n';
    if !text.contains(is_bad) {
        return Cow::Borrowed(text);
    }
    let shown = |char: char| if is_bad(char) { char.escape_unicode().to_string() } else { char.to_string() };
    Cow::Owned(text.chars().map(shown).collect())
}

/// Prints what an answer warns of, which stands in its JSON else.
pub(super) fn warn(common: &Common, warnings: &[String]) {
    for warning in warnings.iter().filter(|_| !common.json) {
        complain(&format!("warning: {warning}"));
    }
}

/// The answer as JSON, readable.
pub(super) fn json(answer: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(answer).expect("an answer has only string keys");
    text.push('\n');
    text
}

/// Which side of its column a cell stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// A table with a heading over each column, as wide as its widest cell. The last column is not padded.
pub(super) fn table(columns: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let width = |index: usize| {
        let cells = rows.iter().map(|row| row[index].chars().count());
        cells.chain([columns[index].0.chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let heading = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
    let mut text = String::new();
    for row in std::iter::once(&heading).chain(rows) {
        let mut line = String::new();
        for ((cell, (_, align)), width) in row.iter().zip(columns).zip(&widths) {
            match align {
                Align::Left => line.push_str(&format!("{cell:<width$}  ")),
                Align::Right => line.push_str(&format!("{cell:>width$}  ")),
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Seconds in the two units that matter: `3 d 4 h`, `12 min 5 s`.
pub(super) fn duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} min {} s", seconds % 60),
        3600..86_400 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

/// Columns of a readable line that the terminal has room for.
fn width() -> usize {
    const READABLE: usize = 100;
    let columns = ratatui::crossterm::terminal::size().ok().filter(|_| io::stdout().is_terminal());
    columns.map_or(READABLE, |(columns, _)| usize::from(columns).clamp(40, READABLE))
}

/// A paragraph after its label, in lines of a readable length.
pub(super) fn labelled(label: &str, text: &str) -> String {
    const LABEL: usize = 9;
    let most = width();
    let mut out = format!("{label:<LABEL$}");
    let mut column = LABEL;
    for (number, word) in text.split_whitespace().enumerate() {
        let length = word.chars().count();
        if number > 0 && column + 1 + length > most {
            out.push('\n');
            out.push_str(&" ".repeat(LABEL));
            column = LABEL;
        } else if number > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out.push('\n');
    out
}

/// A path as a shell takes it for one word.
pub(super) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "._/-+:@%,=".contains(char);
    if !text.is_empty() && text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// A number of things, with its word.
pub(super) fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Bytes in the greatest binary unit that leaves a whole part.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next().unwrap_or(&"");
    while value >= 1024.0 {
        let Some(next) = units.next() else { break };
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// A rate in the greatest decimal unit that leaves a whole part: `12.3 M`.
pub(super) fn rate(a_second: f64) -> String {
    match a_second {
        small if small < 1e3 => format!("{small:.0}"),
        kilo if kilo < 1e6 => format!("{:.1} k", kilo / 1e3),
        mega if mega < 1e9 => format!("{:.1} M", mega / 1e6),
        giga => format!("{:.1} G", giga / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligns_columns() {
        let text = table(
            &[("NAME", Align::Left), ("N", Align::Right), ("REST", Align::Left)],
            &[vec!["eth0".into(), "1000".into(), "a".into()], vec!["e".into(), "2".into(), String::new()]],
        );
        assert_eq!(text, "NAME     N  REST\neth0  1000  a\ne        2\n");
    }

    #[test]
    fn what_is_quoted_does_nothing_to_a_terminal() {
        assert_eq!(harmless("a\u{1b}]0;x\u{7}b\r\u{9b}2J"), "a\\u{1b}]0;x\\u{7}b\\u{d}\\u{9b}2J");
        assert_eq!(harmless("two\nlines “ä”"), "two\nlines “ä”");
    }

    #[test]
    fn breaks_paragraphs_under_their_label() {
        let text = labelled("what", &"word ".repeat(30));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("what     word") && lines[1].starts_with("         word"), "{text}");
        assert!(lines.iter().all(|line| line.len() <= 100), "{text}");
    }

    #[test]
    fn writes_durations_sizes_and_rates() {
        let durations = [(5, "5 s"), (65, "1 min 5 s"), (3_700, "1 h 1 min"), (180_000, "2 d 2 h")];
        for (seconds, text) in durations {
            assert_eq!(duration(seconds), text);
        }
        for (bytes, text) in [(5, "5 B"), (2048, "2.0 KiB"), (5_000_000, "4.8 MiB")] {
            assert_eq!(size(bytes), text);
        }
        for (number, text) in [(5.0, "5"), (2_500.0, "2.5 k"), (12_300_000.0, "12.3 M")] {
            assert_eq!(rate(number), text);
        }
    }

    #[test]
    fn a_path_is_one_word_to_a_shell() {
        assert_eq!(quoted(Path::new("/root/xlat-1.0/eam.csv")), "/root/xlat-1.0/eam.csv");
        assert_eq!(quoted(Path::new("my dir/it's")), "'my dir/it'\\''s'");
    }
}
