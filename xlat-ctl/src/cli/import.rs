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
    config,
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
    /// The interfaces that the configuration shall name
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "eth0,eth1")]
    interfaces: Vec<String>,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'run> {
    configuration: &'run str,
    table: &'run str,
    entries: usize,
    notes: &'run [Note],
}

pub(super) fn import(common: &Common, verb: Verb) -> Result<(), Failed> {
    let (Verb::Jool(files) | Verb::Tayga(files)) = &verb;
    let mut texts = Vec::new();
    for file in &files.files {
        let text = fs::read_to_string(file);
        let cannot = |error| format!("cannot read {}: {}", file.display(), crate::plain(&error));
        texts.push((file.display().to_string(), text.map_err(cannot)?));
    }
    let sources: Vec<Source<'_>> = texts.iter().map(|(name, text)| Source::new(name, text)).collect();
    let imported = match &verb {
        Verb::Jool(_) => import::jool(&sources)?,
        Verb::Tayga(_) => import::tayga(&sources)?,
    };
    let (configuration, table) = (imported.configuration(&files.interfaces), imported.table());
    for note in &imported.notes {
        output::complain(&format!("note: {note}"));
    }
    if let Err(problems) = config::parse(&configuration) {
        for problem in problems {
            output::complain(&format!("the configuration still needs a hand: {problem}"));
        }
    }
    if common.json {
        let report =
            Report { configuration: &configuration, table: &table, entries: imported.count(), notes: &imported.notes };
        output::print(&output::json(&report));
    }
    match &files.output {
        Some(directory) => {
            let (configuration_file, table_file) = (directory.join("xlat.toml"), directory.join("eam.csv"));
            // Neither is written where one is there.
            [&configuration_file, &table_file].into_iter().try_for_each(|path| expect_none(path))?;
            let made = fs::create_dir_all(directory);
            made.map_err(|error| format!("cannot make {}: {}", directory.display(), crate::plain(&error)))?;
            write_new(&configuration_file, &configuration)?;
            write_new(&table_file, &table)?;
            if !common.json {
                let entries = count(imported.count(), "entry", "entries");
                output::print(&format!(
                    "wrote {0}/xlat.toml and {0}/eam.csv ({entries}); next: `xlat-ctl check --config {0}/xlat.toml`, start the \
                     daemon, `xlat-ctl eam apply {0}/eam.csv`\n",
                    directory.display()
                ));
            }
        }
        None if common.json => {}
        None => output::print(&format!("==> xlat.toml <==\n{configuration}\n==> eam.csv <==\n{table}")),
    }
    Ok(())
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
