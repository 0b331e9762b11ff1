//! `xlat-ctl prepare`

use std::path::Path;

use clap::Args;
use nix::unistd::User;
use serde::Serialize;

use super::{ConfigFile, Failed, output};
use crate::{config, dataplane};

/// What the verb takes.
#[derive(Debug, Args)]
#[command(
    after_help = "The systemd unit runs this before and, with --undo, after the daemon. It makes the pin directory in the BPF \
    file system, gives it to the user, and keeps a network namespace for the fragmenter. Run as root, the daemon needs none \
    of it.\n\nExample:\n  xlat-ctl prepare --user xlat"
)]
pub(super) struct Prepare {
    #[command(flatten)]
    config: ConfigFile,
    /// The user that the daemon runs as
    #[arg(long, value_name = "NAME", default_value = "xlat")]
    user: String,
    /// Take it back, unless packets are translated by what is there
    #[arg(long)]
    undo: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Prepared<'run> {
    pin_directory: &'run Path,
    undone: bool,
}

/// Makes ready, or takes back.
pub(super) fn prepare(asked: &Prepare, json: bool) -> Result<(), Failed> {
    let config = config::load(&asked.config.config).map_err(|error| error.to_string())?.config;
    let directory = &config.dataplane.pin_directory;
    let done = if asked.undo {
        dataplane::tidy(directory)
    } else {
        let name = &asked.user;
        let user = User::from_name(name).ok().flatten().ok_or_else(|| {
            format!("prepare: there is no user {name}: make it with `systemd-sysusers`, or name another with --user")
        })?;
        dataplane::prepare(directory, user.uid, user.gid)
    };
    done.map_err(|error| format!("prepare: {error}"))?;
    if json {
        output::print(&output::json(&Prepared { pin_directory: directory, undone: asked.undo }));
    }
    Ok(())
}
