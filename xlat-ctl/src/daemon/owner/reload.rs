//! Taking the configuration file as it is, while the relay runs.

use std::sync::Arc;

use tracing::{info, warn};

use super::{Refusal, doubles::Doubles, eams, follow::Link, refusal, relay::Relay};
use crate::{
    api::Code,
    config::{self, Checked, Config},
    daemon::author::Author,
    eam::{self, Entry, Origin},
};

/// Entries that are named at most where more of them are meant.
const MOST_NAMED: usize = 10;

impl Relay {
    /// Makes the configuration file, as it is at this moment, the one in force: by a new program instance that takes the place of
    /// the old one. Gives what is doubtful in the file.
    pub(super) fn reload(&mut self, author: &Author) -> Result<Vec<String>, Refusal> {
        let refused = |text: String| refusal(Code::Invalid, format!("reload: {text}; nothing is changed"));
        let Checked { config, warnings, .. } =
            config::load(&self.config_path).map_err(|error| refused(error.to_string()))?;
        if let Some(key) = self.config.needs_restart(&config) {
            return Err(refused(format!("{key} cannot be changed without a restart")));
        }
        let config = Config { control: self.config.control.clone(), ..config };
        let dynamic = self.store.entries().map_err(|error| refused(error.to_string()))?;
        let (table, doubles) =
            eams::registry(&config, &self.store, dynamic).map_err(|error| refused(error.to_string()))?;
        expect_room(&config, &table).map_err(refused)?;
        // What was forbidden before is no reason to refuse another change.
        let newly = |entry: &Entry| config.forbids(&entry.pair).filter(|_| self.config.forbids(&entry.pair).is_none());
        if let Some(text) = forbidden(&table, newly) {
            return Err(refused(text));
        }
        let before = (std::mem::replace(&mut self.config, config), std::mem::replace(&mut self.table, table));
        let attached = self.attached_to();
        if let Err(error) = self.swap(None) {
            (self.config, self.table) = before;
            return Err(refusal(Code::Failed, format!("reload: {error:#}; nothing is changed")));
        }
        let mode_changes = before.0.dataplane.xdp_mode != self.config.dataplane.xdp_mode;
        if let Some(reason) = self.lost_one_of(&attached, mode_changes) {
            return Err(refusal(Code::Failed, self.take_back(&reason, before, doubles)));
        }
        self.doubles = doubles;
        self.settle_usage();
        info!("{} is reloaded by {author}", self.config_path.display());
        let noted = self.note_static("reload", author);
        let machine = Arc::clone(&self.machine.borrow());
        let shadowed = self.note_shadowed(&machine);
        let place = |warning: &config::Problem| config::place(&self.config_path, warning);
        Ok(warnings.iter().map(place).chain(noted).chain(shadowed).chain(self.not_attached()).collect())
    }

    /// The interfaces that have the program, by `ifindex`.
    fn attached_to(&self) -> Vec<u32> {
        self.links.iter().filter(|(_, link)| link.outcome.is_ok()).map(|(ifindex, _)| *ifindex).collect()
    }

    /// Why one of these interfaces has the program no more, by what the file asks for: another mode, or another device in its stead.
    fn lost_one_of(&self, interfaces: &[u32], mode_changes: bool) -> Option<String> {
        let refused = |link: &Link| link.outcome.as_ref().err().cloned();
        interfaces.iter().find_map(|ifindex| match self.covered.get(ifindex) {
            Some(covered) => self.links.values().find(|link| link.name == covered.by).and_then(refused),
            None => self.links.get(ifindex).filter(|_| mode_changes).and_then(refused),
        })
    }

    /// Puts the configuration of before in force again, whose mode the drivers take. Says what became of it.
    fn take_back(&mut self, reason: &str, before: (Config, eam::Table), doubles: Doubles) -> String {
        warn!("{reason}: the configuration of before is put in force again");
        let new = (std::mem::replace(&mut self.config, before.0), std::mem::replace(&mut self.table, before.1));
        match self.swap(None) {
            Ok(()) => {
                let missing = self.not_attached().into_iter().map(|sentence| format!("; {sentence}"));
                format!(
                    "reload: {reason}; the configuration of before is in force again{}",
                    missing.collect::<String>()
                )
            }
            Err(error) => {
                // What the data plane has is what everything is judged by.
                (self.config, self.table) = new;
                self.doubles = doubles;
                format!(
                    "reload: {reason}; the configuration of before could not be put in force again, see `xlat-ctl status`: {error:#}"
                )
            }
        }
    }

    /// Says what a change of the configuration would be refused for, where the relay was stopped meanwhile: without a relay
    /// nobody is better off.
    pub(super) fn judge_start(&mut self) {
        if let Err(text) = expect_room(&self.config, &self.table) {
            warn!("{text}");
        }
        if let Some(text) = forbidden(&self.table, |entry| self.config.forbids(&entry.pair)) {
            warn!("{text}");
        }
        if let Some(text) = self.note_static("start", &Author::own()) {
            warn!("{text}");
        }
    }

    /// Has the history tell of what the configuration changes in static entries. They are kept in the file: a history that does
    /// not know of them is a warning, which is given back.
    fn note_static(&mut self, verb: &'static str, author: &Author) -> Option<String> {
        match self.store.note_static(verb, author, &self.config.eams) {
            Ok(revision) => {
                let revision = revision?;
                info!("static entries have changed (revision {revision})");
                None
            }
            Err(error) => Some(format!("the history does not tell of the changes of static entries: {error}")),
        }
    }
}

fn expect_room(config: &Config, table: &eam::Table) -> Result<(), String> {
    let most = config.dataplane.max_eams;
    if table.len() <= usize::try_from(most).unwrap_or(usize::MAX) {
        return Ok(());
    }
    Err(format!(
        "{} entries are too many for dataplane.max_eams = {most}: raise it, or delete entries first",
        table.len()
    ))
}

/// The entries made by command that something is said against, in one text.
fn forbidden(table: &eam::Table, against: impl Fn(&Entry) -> Option<String>) -> Option<String> {
    let mut texts = table.iter().filter(|entry| entry.origin == Origin::Dynamic).filter_map(|entry| {
        let text = against(entry)?;
        Some(format!("{text} (delete it with `xlat-ctl eam del {}`)", eam::short4(entry.pair.ipv4())))
    });
    let mut text = texts.by_ref().take(MOST_NAMED).collect::<Vec<_>>().join("; ");
    match texts.count() {
        0 => {}
        more => text.push_str(&format!("; and {more} more entries are like that")),
    }
    (!text.is_empty()).then_some(text)
}
