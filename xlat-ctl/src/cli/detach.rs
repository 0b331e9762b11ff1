//! `xlat-ctl detach` and `xlat-ctl reload`

use std::path::Path;

use serde::Serialize;

use super::{Common, Failed, client, output};
use crate::{api::Reloaded, config, dataplane};

/// What `--json` prints.
#[derive(Serialize)]
struct Detached {
    /// Whether there was anything to detach.
    detached: bool,
    pin_directory: String,
}

/// Removes what is pinned where the configuration says.
pub(super) fn detach(path: &Path, json: bool) -> Result<(), Failed> {
    let config = config::load(path).map_err(|error| error.to_string())?.config;
    let directory = &config.dataplane.pin_directory;
    let detached = dataplane::remove_pinned(directory).map_err(|error| format!("detach: {error}"))?;
    let pin_directory = directory.display().to_string();
    output::print(&if json {
        output::json(&Detached { detached, pin_directory })
    } else if detached {
        format!("the program of {pin_directory} is detached, nothing is left of it\n")
    } else {
        format!("nothing is attached: there is no {pin_directory}\n")
    });
    Ok(())
}

/// Has the daemon reload its configuration.
pub(super) fn reload(common: &Common) -> Result<(), Failed> {
    let answer = client::post::<Reloaded>(common, "/v1/reload", &())?;
    for warning in &answer.value.warnings {
        output::complain(&format!("warning: {warning}"));
    }
    answer.print(common, |_| "the configuration is reloaded\n".to_owned());
    Ok(())
}
