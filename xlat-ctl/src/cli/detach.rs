//! `xlat-ctl detach` and `xlat-ctl reload`

use std::path::Path;

use serde::Serialize;

use super::{Common, Failed, client, output};
use crate::{api::Reloaded, config, daemon::log, dataplane, netlink};

/// What `--json` prints.
#[derive(Serialize)]
struct Detached {
    /// Whether there was anything to detach.
    detached: bool,
    pin_directory: String,
    /// The commands that remove, in the relay's network namespace, what may be left there.
    left: Vec<String>,
}

/// Removes what is pinned where the configuration says.
pub(super) fn detach(path: &Path, json: bool) -> Result<(), Failed> {
    log::set_up_for_command();
    let config = match config::load(path) {
        Ok(checked) => checked.config,
        Err(error) if path == Path::new(config::DEFAULT_PATH) => return detach_default(&error.to_string(), json),
        Err(error) => return Err(error.to_string().into()),
    };
    let directory = &config.dataplane.pin_directory;
    // Afterwards it cannot be told any more.
    let elsewhere = dataplane::Pins::are_of_another_namespace(directory);
    let detached = dataplane::remove_pinned(directory).map_err(|error| format!("detach: {error}"))?;
    let pin_directory = directory.display().to_string();
    let rule = |prefix| format!("ip -6 rule del {}", netlink::links::own_errors_rule(prefix));
    let left: Vec<String> =
        if detached && elsewhere { config.translation.prefixes.iter().map(rule).collect() } else { Vec::new() };
    if !left.is_empty() {
        let sentence = format!(
            "detach: the program of {pin_directory} is detached, but its relay is in another network namespace than this \
             command, where rules may be left: remove them there (`nsenter --net=/run/netns/NAME`) with `{}`, and run detach in \
             the relay's namespace the next time",
            left.join("`, `")
        );
        let answer = output::json(&Detached { detached, pin_directory, left });
        return Err(Failed { message: Some(sentence), answer: Some(answer) });
    }
    output::print(&if json {
        output::json(&Detached { detached, pin_directory, left })
    } else if detached {
        format!("the program of {pin_directory} is detached, nothing is left of it\n")
    } else {
        format!("nothing is attached from {pin_directory}\n")
    });
    Ok(())
}

/// Where the usual configuration cannot be read (a package is being removed, say) what is pinned at the usual place goes all the
/// same. Of another configuration nobody knows whose pins those would be.
fn detach_default(reason: &str, json: bool) -> Result<(), Failed> {
    let directory = Path::new(config::DEFAULT_PIN_DIRECTORY);
    let detached = dataplane::remove_pinned(directory).map_err(|error| format!("detach: {reason}; and {error}"))?;
    let what = if detached { "what was attached from there is detached" } else { "nothing is attached from there" };
    let place = directory.display();
    let sentence =
        format!("detach: {reason}; {place}, the usual place of its pins, was looked at all the same: {what}");
    let answer = Detached { detached, pin_directory: place.to_string(), left: Vec::new() };
    Err(Failed { message: Some(sentence), answer: json.then(|| output::json(&answer)) })
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
