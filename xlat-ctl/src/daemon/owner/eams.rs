//! What changes the table of explicit address mappings.

use std::net::IpAddr;

use tracing::{error, info, warn};

use super::{Prefix, Refusal, refusal, relay::Relay};
use crate::{
    api::{self, Code},
    config::Config,
    daemon::store::{Store, StoreError},
    dataplane::{self, TableInput},
    eam::{self, Entry, Origin, Pair},
};

impl Relay {
    pub(super) fn add(&mut self, entry: Entry, author: &str) -> Result<api::EamAdded, Refusal> {
        let pair = entry.pair;
        let named = |text: String| format!("eam add {} {}: {text}", eam::short4(pair.ipv4()), eam::short6(pair.ipv6()));
        self.table.admit(&pair).map_err(|text| refusal(Code::Conflict, named(text)))?;
        let most = self.config.dataplane.max_eams;
        if self.table.len() >= usize::try_from(most).unwrap_or(usize::MAX) {
            let text = format!("the table is full: it was made for dataplane.max_eams = {most} entries");
            return Err(refusal(Code::Full, named(text)));
        }
        let mut warnings = self.config.doubts(&self.table, &pair);
        warnings.extend(self.own_address_within(&pair));
        self.dataplane
            .insert_eam(&dataplane_eam(&self.config, &pair))
            .map_err(|error| refusal(Code::Failed, named(error.to_string())))?;
        if let Err(StoreError(text)) = self.store.insert(&entry) {
            if let Err(error) = self.dataplane.remove_eam(&dataplane_eam(&self.config, &pair)) {
                error!("the refused entry {pair} is still in force: {error}");
            }
            return Err(refusal(Code::Failed, named(format!("the entry cannot be kept: {text}"))));
        }
        info!("EAM {entry} added by {author}");
        for warning in &warnings {
            warn!("{warning}");
        }
        let added = api::EamAdded { entry: api::Eam::from(&entry), warnings };
        self.table.insert(entry).map_err(|text| refusal(Code::Conflict, named(text)))?;
        Ok(added)
    }

    pub(super) fn remove(&mut self, prefix: Prefix, author: &str) -> Result<api::Eam, Refusal> {
        let (text, found) = match prefix {
            Prefix::Ipv4(net) => (eam::short4(net), self.table.get_ipv4(net)),
            Prefix::Ipv6(net) => (eam::short6(net), self.table.get_ipv6(net)),
        };
        let Some(entry) = found.cloned() else {
            let around = match prefix {
                Prefix::Ipv4(net) => self.table.covering_ipv4(net).next(),
                Prefix::Ipv6(net) => self.table.covering_ipv6(net).next(),
            };
            let hint = around.map_or_else(String::new, |entry| format!("; it lies within the entry {entry}"));
            return Err(refusal(Code::NotFound, format!("eam del {text}: no entry has this prefix{hint}")));
        };
        if entry.origin == Origin::Static {
            let sentence = format!(
                "eam del {text}: {entry} is a static entry: remove it from {} and restart the daemon",
                self.config_path.display()
            );
            return Err(refusal(Code::Conflict, sentence));
        }
        self.store
            .remove(&entry)
            .map_err(|error| refusal(Code::Failed, format!("eam del {text}: the change cannot be kept: {error}")))?;
        if let Err(error) = self.dataplane.remove_eam(&dataplane_eam(&self.config, &entry.pair)) {
            if let Err(StoreError(text)) = self.store.insert(&entry) {
                error!("the entry {entry} is in force, but will be gone after a restart: {text}");
            }
            return Err(refusal(Code::Failed, format!("eam del {text}: {error}")));
        }
        self.table.remove(&entry.pair);
        info!("EAM {entry} deleted by {author}");
        Ok(api::Eam::from(&entry))
    }

    /// The machine's own addresses that an EAM covers: they stay with the machine.
    fn own_address_within(&self, pair: &Pair) -> Option<String> {
        let machine = self.machine.borrow();
        let (address, interface) = machine.addresses().find(|(address, _)| match address {
            IpAddr::V4(address) => pair.ipv4().contains(address),
            IpAddr::V6(address) => pair.ipv6().contains(address),
        })?;
        Some(format!("{pair} covers {address}, the relay's own address on {interface}, which is never translated"))
    }
}

/// The static entries of the configuration and the dynamic ones of the store, as one table.
pub(super) fn registry(config: &Config, store: &mut dyn Store) -> anyhow::Result<eam::Table> {
    let mut table = eam::Table::default();
    for entry in config.eams.iter().cloned().chain(store.entries()?) {
        table.insert(entry).map_err(anyhow::Error::msg)?;
    }
    Ok(table)
}

fn dataplane_eam(config: &Config, pair: &Pair) -> dataplane::Eam {
    dataplane::Eam { ipv4: pair.ipv4(), ipv6: pair.ipv6(), prefix: config.prefix_of(pair) }
}

pub(super) fn table_input(config: &Config, table: &eam::Table) -> TableInput {
    TableInput {
        eams: table.iter().map(|entry| dataplane_eam(config, &entry.pair)).collect(),
        deny4: config.deny.ipv4.clone(),
        deny6: config.deny.ipv6.clone(),
    }
}
