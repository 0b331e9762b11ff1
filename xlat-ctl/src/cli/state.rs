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
    #[command(
        after_help = "The files of the store before are kept beside it, named eam.db.damaged-N. The copy becomes a new \
        revision; what the store had after the copy is told as lost.\n\nExamples:\n  xlat-ctl state restore\n  \
        xlat-ctl state restore --from /backup/xlat/eam.db\n  \
        xlat-ctl state restore --from /var/lib/xlat/eam.db.damaged-30 --anyway"
    )]
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
    /// Even if the store is sound and at least as new as the copy
    #[arg(long)]
    anyway: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    revision: u64,
    entries: u64,
    from: PathBuf,
    from_revision: u64,
    /// The latest revision of the store before, as far as that is known.
    revision_before: Option<u64>,
    /// The first and the last revision that are lost.
    lost: Option<(u64, u64)>,
    kept_aside: Vec<PathBuf>,
    /// What is wrong with the copy's history; its table is sound.
    history_damage: Option<String>,
}

pub(super) fn state(common: &Common, Verb::Restore(wanted): Verb) -> Result<(), Failed> {
    let directory = config::load(&wanted.config).map_err(|error| error.to_string())?.config.state.directory;
    let restored = restore(&directory, wanted.from.as_deref(), wanted.anyway);
    let restored = restored.map_err(|error| format!("state restore: {error}"))?;
    let lost = restored.lost();
    let loss = loss(&restored);
    let Restored { from, of, revision, entries, had, aside, history, .. } = restored;
    if let Some(damage) = &history {
        output::complain(&format!(
            "warning: {damage}; the table is sound, but `eam history`, and a rollback to before that revision, are refused"
        ));
    }
    let text = format!(
        "restored {} from {} (revision {of}) as revision {revision}\n{loss}",
        output::count(usize::try_from(entries).unwrap_or(usize::MAX), "entry", "entries"),
        from.display()
    );
    let kept: String = aside.iter().map(|file| format!("kept {}\n", file.display())).collect();
    let report = Report {
        revision,
        entries,
        from,
        from_revision: of,
        revision_before: had,
        lost,
        kept_aside: aside,
        history_damage: history,
    };
    output::print_done(&if common.json { output::json(&report) } else { format!("{text}{kept}") });
    Ok(())
}

/// What the copy does not have.
fn loss(restored: &Restored) -> String {
    let Restored { of, acknowledged, had, aside, .. } = restored;
    let lost = match restored.lost() {
        None if had.is_some() || aside.is_empty() => return String::new(),
        None => return format!("what the store had is not known: revisions after {of} are lost, if there were any\n"),
        Some((first, last)) if first == last => format!("revision {first} is lost"),
        Some((first, last)) if first + 1 == last => format!("revisions {first} and {last} are lost"),
        Some((first, last)) => format!("revisions {first} to {last} are lost"),
    };
    let word = if acknowledged == had { "had acknowledged" } else { "had" };
    format!("the store {word} revision {}; {lost}\n", had.unwrap_or_default())
}
