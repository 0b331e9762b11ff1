//! How the relay follows the machine: what the configuration names is attached to as it appears, and let go of as it goes.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use tracing::{error, info, warn};

use super::{
    relay::Relay,
    status::{mode_name, waiting_sentence},
};
use crate::{
    choice,
    config::Pattern,
    dataplane::{DataPlane, XdpMode},
    netlink::{Device, Machine},
};

/// What became of one interface that the configuration names.
pub(super) struct Link {
    pub(super) name: String,
    pub(super) outcome: Result<XdpMode, String>,
}

/// An interface that the configuration names and that gets no program, as another's sees its packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Covered {
    pub(super) name: String,
    pub(super) by: String,
}

impl Covered {
    pub(super) fn reason(&self) -> String {
        format!("the program on {} sees its packets", self.by)
    }
}

impl Relay {
    pub(super) fn machine_changed(&mut self) {
        let snapshot = Arc::clone(&self.machine.borrow_and_update());
        if let Err(error) = self.dataplane.update_machine(&snapshot) {
            error!("the data plane does not know the machine's latest addresses and interfaces: {error}");
        }
        self.note_shadowed(&snapshot);
        self.follow(&snapshot, true);
    }

    /// Warns when an address that an EAM maps is given to the machine itself: the service is cut off.
    pub(super) fn note_shadowed(&mut self, machine: &Machine) -> Vec<String> {
        let mut news = Vec::new();
        let mut shadowed = BTreeSet::new();
        for (address, interface) in machine.addresses() {
            let entry = match address {
                IpAddr::V4(address) => self.table.longest_ipv4(address),
                IpAddr::V6(address) => self.table.longest_ipv6(address),
            };
            let Some(entry) = entry else { continue };
            if !self.shadowed.contains(&address) {
                let sentence =
                    format!("{entry} is not translated: {address} is the relay's own address on {interface}");
                warn!("{sentence}");
                news.push(sentence);
            }
            shadowed.insert(address);
        }
        self.shadowed = shadowed;
        news
    }

    /// Attaches to what the configuration names and is there, and forgets what is gone.
    pub(super) fn follow(&mut self, machine: &Machine, changed: bool) {
        if changed {
            self.forget_gone(machine);
        }
        for interface in &machine.interfaces {
            let (ifindex, name) = (interface.ifindex, interface.name.as_str());
            let wanted = choice::is_wanted(&self.config.dataplane.interfaces, machine, interface);
            let attached = self.links.get(&ifindex).is_some_and(|link| link.outcome.is_ok());
            if wanted && !attached && !self.dataplane.is_own_interface(ifindex) {
                self.attach(ifindex, name);
            }
        }
        self.note_missing(machine);
        self.note_covered(machine);
    }

    fn forget_gone(&mut self, machine: &Machine) {
        let patterns = &self.config.dataplane.interfaces;
        let dataplane = &mut self.dataplane;
        self.links.retain(|ifindex, link| {
            let there = machine.interfaces.iter().find(|interface| interface.ifindex == *ifindex);
            match there {
                Some(interface) if choice::is_wanted(patterns, machine, interface) => {
                    if interface.name != link.name {
                        info!("interface {} is renamed {}", link.name, interface.name);
                        link.name.clone_from(&interface.name);
                    }
                    return true;
                }
                // What covers it is told of below.
                Some(interface) if choice::is_named(patterns, interface) => {}
                Some(interface) => {
                    warn!(
                        "interface {} is renamed {}, which the configuration does not name",
                        link.name, interface.name
                    );
                }
                None => warn!("interface {} is gone", link.name),
            }
            // Another device may get the program in its stead, which the kernel refuses while it is here.
            let let_go = |dataplane: &mut DataPlane| match there {
                Some(_) => dataplane.leave(*ifindex),
                None => dataplane.detach(*ifindex),
            };
            if link.outcome.is_ok()
                && let Err(error) = let_go(dataplane)
                && there.is_some()
            {
                error!("cannot detach from {}: {error}", link.name);
            }
            false
        });
    }

    /// Says where the kernel joins segments before a program in generic mode sees them: it leaves that out only on the device itself.
    fn warn_of_joined_segments(&self, ifindex: u32) {
        let machine = self.machine.borrow();
        let Some(interface) = machine.interface(ifindex) else { return };
        for lower in machine.below(interface).iter().filter(|lower| Device::of(&lower.name).gro) {
            let (name, lower) = (&interface.name, &lower.name);
            warn!(
                "{lower} joins TCP segments below {name}, which in generic mode are refused or spoilt: `ethtool -K {lower} gro off`"
            );
        }
    }

    fn attach(&mut self, ifindex: u32, name: &str) {
        let wanted = self.config.dataplane.xdp_mode;
        let outcome = self.dataplane.attach(ifindex, name, wanted).map_err(|error| error.to_string());
        let before = self.links.insert(ifindex, Link { name: name.to_owned(), outcome: outcome.clone() });
        match outcome {
            Ok(mode) => {
                info!("attached to {name} in {} mode", mode_name(mode));
                if mode == XdpMode::Generic {
                    self.warn_of_joined_segments(ifindex);
                }
            }
            Err(reason) if before.is_some_and(|link| link.outcome.as_ref() == Err(&reason)) => {}
            Err(reason) => error!("{reason}; trying again every few seconds"),
        }
    }

    fn note_missing(&mut self, machine: &Machine) {
        let missing = |pattern: &&Pattern| !machine.interfaces.iter().any(|interface| pattern.matches(&interface.name));
        let waiting: Vec<Pattern> = self.config.dataplane.interfaces.iter().filter(missing).cloned().collect();
        for pattern in waiting.iter().filter(|pattern| !self.waiting.contains(pattern)) {
            warn!("{}", waiting_sentence(pattern));
        }
        self.waiting = waiting;
    }

    fn note_covered(&mut self, machine: &Machine) {
        let patterns = &self.config.dataplane.interfaces;
        let covered = machine.interfaces.iter().filter(|interface| choice::is_named(patterns, interface));
        let covered = covered.filter(|interface| !self.dataplane.is_own_interface(interface.ifindex));
        let covered: BTreeMap<u32, Covered> = covered
            .filter_map(|interface| {
                let by = choice::covered_by(patterns, machine, interface)?.name.clone();
                Some((interface.ifindex, Covered { name: interface.name.clone(), by }))
            })
            .collect();
        for (ifindex, covered) in covered.iter().filter(|(ifindex, there)| self.covered.get(ifindex) != Some(there)) {
            info!("interface {} (index {ifindex}) gets no program: {}", covered.name, covered.reason());
        }
        self.covered = covered;
    }

    pub(super) fn detach_all(&mut self) {
        for (ifindex, link) in std::mem::take(&mut self.links) {
            if link.outcome.is_err() {
                continue;
            }
            match self.dataplane.detach(ifindex) {
                Ok(()) => info!("detached from {}", link.name),
                Err(error) => error!("cannot detach from {}: {error}", link.name),
            }
        }
    }
}
