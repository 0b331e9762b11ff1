//! `xlat-ctl import jool | tayga`

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{
    Common, Failed,
    output::{self, count},
};
use crate::{
    config::{self, Pattern},
    import::{self, Note, Source},
};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// From SIIT Jool: its JSON configuration, the CSV of `jool_siit eamt display --csv`, or both
    #[command(after_help = "Settings without an equivalent are told on standard error and in the configuration.\n\n\
        Example:\n  xlat-ctl import jool jool.json eamt.csv --interfaces eth0,eth1 --output /root/xlat-import")]
    Jool(Files),
    /// From TAYGA: its tayga.conf, and the map-file if it has one
    #[command(after_help = "Settings without an equivalent are told on standard error and in the configuration.\n\n\
        Example:\n  xlat-ctl import tayga /etc/tayga.conf --interfaces eth0,eth1 --output /root/xlat-import")]
    Tayga(Files),
}

#[derive(Debug, Args)]
pub(super) struct Files {
    /// The files
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Directory for xlat.toml and eam.csv; without it both are printed
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// The interfaces that the configuration shall name [default: eth0,eth1, to be replaced]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = interface)]
    interfaces: Vec<String>,
}

fn interface(name: &str) -> Result<String, String> {
    Pattern::new(name).map(|pattern| pattern.to_string())
}

/// Notes that are told on standard error.
const MOST_TOLD: usize = 100;

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'run> {
    configuration: &'run str,
    table: &'run str,
    entries: usize,
    notes: &'run [Note],
    /// What `check` would refuse in the configuration.
    problems: &'run [String],
}

pub(super) fn import(common: &Common, verb: Verb) -> Result<(), Failed> {
    let (answer, is_whole) = done(common.json, &verb)?;
    output::print(&answer);
    if is_whole { Ok(()) } else { Err(Failed { message: None, answer: None }) }
}

/// Reads the files, says what there is to say of them, and writes what was asked for; gives what is to be printed then, and whether
/// `check` takes the configuration.
fn done(json: bool, verb: &Verb) -> Result<(String, bool), String> {
    let (Verb::Jool(files) | Verb::Tayga(files)) = verb;
    let texts: Vec<(String, String)> = files.files.iter().map(|file| read(file)).collect::<Result<_, _>>()?;
    let sources: Vec<Source<'_>> = texts.iter().map(|(name, text)| Source::new(name, text)).collect();
    let mut imported = match verb {
        Verb::Jool(_) => import::jool(&sources)?,
        Verb::Tayga(_) => import::tayga(&sources)?,
    };
    let placeholders = ["eth0".to_owned(), "eth1".to_owned()];
    let interfaces = if files.interfaces.is_empty() { &placeholders[..] } else { &files.interfaces };
    if files.interfaces.is_empty() {
        imported.note_first("--interfaces", "it is not given: put this relay's into interfaces in [dataplane]");
    }
    let (configuration, table) = (imported.configuration(interfaces), imported.table());
    let problems = config::parse(&configuration).err().unwrap_or_default();
    let problems: Vec<String> =
        problems.iter().map(|problem| format!("the configuration still needs a hand: {problem}")).collect();
    for note in imported.notes.iter().take(MOST_TOLD) {
        output::complain(&format!("note: {note}"));
    }
    if imported.notes.len() > MOST_TOLD {
        let more = imported.notes.len() - MOST_TOLD;
        output::complain(&format!("note: and {more} more, which are all at the head of the configuration"));
    }
    problems.iter().for_each(|problem| output::complain(problem));
    if let Some(directory) = &files.output {
        write(directory, &configuration, &table)?;
    }
    let entries = imported.count();
    let answer = match &files.output {
        _ if json => {
            let (configuration, table) = (configuration.as_str(), table.as_str());
            output::json(&Report { configuration, table, entries, notes: &imported.notes, problems: &problems })
        }
        Some(directory) => format!(
            "wrote {0} and {1} ({2}); next: `xlat-ctl check --config {0}`, start the daemon, `xlat-ctl eam apply {1}`\n",
            output::quoted(&directory.join("xlat.toml")),
            output::quoted(&directory.join("eam.csv")),
            count(entries, "entry", "entries")
        ),
        None => format!("==> xlat.toml <==\n{configuration}\n==> eam.csv <==\n{table}"),
    };
    Ok((answer, problems.is_empty()))
}

/// A file's name and text.
fn read(file: &Path) -> Result<(String, String), String> {
    let name = file.display().to_string();
    let bytes = fs::read(file).map_err(|error| format!("cannot read {name}: {}", crate::plain(&error)))?;
    match crate::utf8(&bytes) {
        Ok(text) => Ok((name, text.to_owned())),
        Err(line) => Err(format!("{name}:{line}: {}", crate::NOT_UTF8)),
    }
}

/// Writes both files, or neither where one is there.
fn write(directory: &Path, configuration: &str, table: &str) -> Result<(), String> {
    let (configuration_file, table_file) = (directory.join("xlat.toml"), directory.join("eam.csv"));
    [&configuration_file, &table_file].into_iter().try_for_each(|path| expect_none(path))?;
    let made = fs::create_dir_all(directory);
    made.map_err(|error| format!("cannot make {}: {}", directory.display(), crate::plain(&error)))?;
    write_new(&configuration_file, configuration)?;
    write_new(&table_file, table)
}

/// Nobody's configuration is overwritten.
fn expect_none(path: &Path) -> Result<(), String> {
    if path.exists() { Err(is_there(path)) } else { Ok(()) }
}

fn is_there(path: &Path) -> String {
    format!(
        "{} is there already and is not overwritten: give another directory with --output, or move the file away",
        path.display()
    )
}

/// Writes a file that is not there yet.
fn write_new(path: &Path, text: &str) -> Result<(), String> {
    use std::io::{ErrorKind, Write};
    let written = fs::File::create_new(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => is_there(path),
        _ => format!("cannot make {}: {}", path.display(), crate::plain(&error)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tayga(text: &[u8], output: Option<PathBuf>, interface: &str) -> Result<String, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        let files = Files { files: vec![file.path().to_owned()], output, interfaces: vec![interface.to_owned()] };
        done(true, &Verb::Tayga(files))
            .map(|(answer, _)| answer)
            .map_err(|text| text.replace(&file.path().display().to_string(), "FILE"))
    }

    #[test]
    fn nothing_is_reported_of_what_could_not_be_written() {
        let directory = tempfile::tempdir().unwrap();
        let there = Some(directory.path().to_owned());
        let report = tayga(b"prefix 2001:db8::/96\n", there.clone(), "eth0").unwrap();
        assert!(report.contains("\"problems\": []"), "{report}");
        let said = tayga(b"prefix 2001:db8::/96\n", there, "eth0").unwrap_err();
        assert!(said.contains("is there already and is not overwritten"), "{said}");
    }

    #[test]
    fn the_report_has_what_the_configuration_still_needs() {
        let report = tayga(b"prefix 2001:db8::/96\n", None, "eth 0").unwrap();
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        let problem = report["problems"][0].as_str().unwrap();
        assert!(problem.starts_with("the configuration still needs a hand: line ") && problem.contains("`eth 0`"));
    }

    #[test]
    fn what_is_not_utf_8_is_told_with_its_line() {
        let said = tayga(b"prefix 2001:db8::/96\n# \xe9\n", None, "eth0").unwrap_err();
        assert_eq!(said, "FILE:2: this is not UTF-8: save the file as UTF-8, or take out what is not ASCII");
    }
}
