//! What the relay tells of itself.

use std::{net::IpAddr, process};

use super::relay::Relay;
use crate::{
    api::{self, Attachment, InterfaceStatus, Lookup, State, Status},
    config::Pattern,
    daemon::lookup::Rules,
    dataplane::XdpMode,
};

impl Relay {
    pub(super) fn look_up(&self, address: IpAddr) -> Lookup {
        let machine = self.machine.borrow();
        let own = |address: IpAddr| {
            machine.addresses().find(|(own, _)| *own == address).map(|(_, interface)| interface.to_owned())
        };
        Rules { config: &self.config, table: &self.table, own: &own }.look_up(address)
    }

    pub(super) fn status(&self) -> Status {
        let program = self.dataplane.program_info();
        let entries = self.table.len() as u64;
        let static_entries = self.config.eams.len() as u64;
        let interfaces = self.interfaces();
        let count = |state: Attachment| interfaces.iter().filter(|interface| interface.state == state).count();
        let attached = count(Attachment::Attached);
        Status {
            state: match attached {
                0 => State::Detached,
                some if some + count(Attachment::Covered) == interfaces.len() => State::Attached,
                _ => State::Degraded,
            },
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: process::id(),
            uptime_seconds: self.started.elapsed().as_secs(),
            config: self.config_path.display().to_string(),
            program: api::Program {
                id: program.id,
                tag: program.tag,
                name: program.name,
                jited_bytes: program.jited_bytes.into(),
                verified_instructions: program.instructions.into(),
                memory_bytes: program.memory.into(),
                run_time_nanoseconds: u64::try_from(program.run_time.as_nanos()).unwrap_or(u64::MAX),
                runs: program.runs,
            },
            table: api::TableStatus {
                revision: self.store.revision(),
                entries,
                static_entries,
                dynamic_entries: entries - static_entries,
                max_entries: self.config.dataplane.max_eams.into(),
                bytes: program.table_bytes,
            },
            interfaces,
        }
    }

    /// Where what is in force from here on is not: for who changed it, who would find it only in the log.
    pub(super) fn not_attached(&self) -> Vec<String> {
        let refused = self.links.values().filter_map(|link| link.outcome.as_ref().err());
        let refused = refused.map(|reason| format!("{reason}; trying again every second"));
        refused.chain(self.waiting.iter().map(waiting_sentence)).collect()
    }

    fn interfaces(&self) -> Vec<InterfaceStatus> {
        let wanted = self.config.dataplane.xdp_mode;
        let links = self.links.iter().map(|(ifindex, link)| InterfaceStatus {
            name: link.name.clone(),
            ifindex: Some(*ifindex),
            state: if link.outcome.is_ok() { Attachment::Attached } else { Attachment::Failed },
            mode: link.outcome.as_ref().ok().map(|mode| mode_name(*mode).to_owned()),
            detail: match &link.outcome {
                Ok(XdpMode::Generic) if wanted == XdpMode::Auto => {
                    Some("the driver takes no XDP program: slower".to_owned())
                }
                Ok(_) => None,
                Err(reason) => Some(reason.clone()),
            },
        });
        let waiting = self.waiting.iter().map(|pattern| InterfaceStatus {
            name: pattern.to_string(),
            ifindex: None,
            state: Attachment::Waiting,
            mode: None,
            detail: Some(waiting_sentence(pattern)),
        });
        let is_attached = |name: &String| self.links.values().any(|link| link.name == *name && link.outcome.is_ok());
        let is_covered = |name: &String| self.covered.values().any(|covered| covered.name == *name);
        let covered = self.covered.iter().map(|(ifindex, covered)| {
            let (state, detail) = if is_attached(&covered.by) || is_covered(&covered.by) {
                (Attachment::Covered, covered.reason())
            } else {
                (Attachment::Failed, format!("{}, whose program would see its packets, has none", covered.by))
            };
            let (name, ifindex) = (covered.name.clone(), Some(*ifindex));
            InterfaceStatus { name, ifindex, state, mode: None, detail: Some(detail) }
        });
        let mut all: Vec<InterfaceStatus> = links.chain(waiting).chain(covered).collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }
}

pub(super) fn waiting_sentence(pattern: &Pattern) -> String {
    if pattern.is_glob() {
        format!("no interface matches {pattern} yet: waiting for one")
    } else {
        format!("interface {pattern} is not there: waiting for it")
    }
}

/// The word for a mode in force.
pub(super) fn mode_name(mode: XdpMode) -> &'static str {
    match mode {
        XdpMode::Auto => "auto",
        XdpMode::Native => "native",
        XdpMode::Generic => "generic",
    }
}
