//! What is made from the program itself, so that it cannot say anything else: a man page for every verb, xlat.toml(5), and
//! completions for shells.

mod command;
mod completions;
mod configuration;
mod markup;

use std::{fs, path::Path};

use anyhow::{Context, Result};
use clap::{Command, CommandFactory};

/// A file, where it belongs below `/usr/share`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Relative to `/usr/share`.
    pub path: String,
    /// UTF-8.
    pub text: String,
}

/// The command line of `xlat-ctl` with everything that clap adds to it, but for `help`.
#[must_use]
pub fn command_line() -> Command {
    let mut command = xlat_ctl::cli::Cli::command().disable_help_subcommand(true);
    command.build();
    command
}

/// All of them.
#[must_use]
pub fn all() -> Vec<Page> {
    let mut pages = command::pages(&command_line());
    pages.push(configuration::page(xlat_ctl::config::EXAMPLE));
    pages.extend(completions::pages());
    pages
}

/// Writes all of them below a directory that stands for `/usr/share`.
///
/// # Errors
/// A file cannot be written.
pub fn write(share: &Path) -> Result<()> {
    for Page { path, text } in all() {
        let path = share.join(path);
        let directory = path.parent().context("a page without a directory")?;
        fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}
