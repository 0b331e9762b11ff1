//! `xlat-ctl state restore`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{Common, Failed, output};
use crate::{
    config,
    daemon::store::restore::{Restored, restore},
};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Put the last good copy in the place of a damaged store; the daemon must not run
    #[command(after_help = "The damaged files are kept beside it. The copy becomes a new revision.\n\nExamples:\n  \
        xlat-ctl state restore\n  xlat-ctl state restore --from /backup/xlat/eam.db")]
    Restore(Restore),
}

#[derive(Debug, Args)]
pub(super) struct Restore {
    /// The configuration, which names the state directory
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
    /// The copy, instead of the one that the daemon keeps
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    revision: u64,
    entries: u64,
    from: PathBuf,
    from_revision: u64,
    kept_aside: Vec<PathBuf>,
}

pub(super) fn state(common: &Common, Verb::Restore(wanted): Verb) -> Result<(), Failed> {
    let directory = config::load(&wanted.config).map_err(|error| error.to_string())?.config.state.directory;
    let restored = restore(&directory, wanted.from.as_deref()).map_err(|error| format!("state restore: {error}"))?;
    let Restored { from, of, revision, entries, aside } = restored;
    let text = format!(
        "restored {} from {} (revision {of}) as revision {revision}\n",
        output::count(usize::try_from(entries).unwrap_or(usize::MAX), "entry", "entries"),
        from.display()
    );
    let kept: String = aside.iter().map(|file| format!("kept {}\n", file.display())).collect();
    let report = Report { revision, entries, from, from_revision: of, kept_aside: aside };
    output::print(&if common.json { output::json(&report) } else { format!("{text}{kept}") });
    Ok(())
}
