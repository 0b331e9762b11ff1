//! Where an instance is attached, and how it takes the place of another.

use std::collections::BTreeMap;

use aya::maps::MapError;
use tracing::warn;
use xlat_common::interface::MAX_IFINDEX;

use super::{
    AttachError, DataPlane, DataPlaneError, XdpMode, accounts,
    attach::{self, Link, Place},
    capture,
    fragmenter::Fragmenter,
    interfaces::{Records, Sources},
    pins::{Instance, Pins},
    prefixes, readers,
};
use crate::{crash, netlink::Machine};

/// Where the program is attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Index of the interface.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// [`XdpMode::Native`] or [`XdpMode::Generic`].
    pub mode: XdpMode,
}

impl DataPlane {
    /// Attaches the program to an interface and says in which mode it runs there.
    ///
    /// # Errors
    /// Somebody else's program is there, or the driver refuses.
    pub fn attach(&mut self, ifindex: u32, name: &str, mode: XdpMode) -> Result<XdpMode, AttachError> {
        if let Some(link) = self.links.get(&ifindex) {
            return Ok(link.mode);
        }
        if ifindex >= MAX_IFINDEX {
            return Err(AttachError::Index { interface: name.to_owned(), ifindex });
        }
        self.start_fragmenter()?;
        let place = Place { ifindex, name, pins: self.pins.as_deref() };
        let link = attach::attach(capture::entry(&mut self.capture, &mut self.ebpf)?, place, mode)?;
        let mode = link.mode;
        self.links.insert(ifindex, link);
        self.tell_interfaces()?;
        Ok(mode)
    }

    /// Pins again what somebody has unpinned: another instance could not take its place, and the program would be detached.
    ///
    /// # Errors
    /// It cannot be pinned.
    pub fn mend_pins(&mut self) -> Result<(), DataPlaneError> {
        let Some(pins) = self.pins.clone() else { return Ok(()) };
        pins.make_links()?;
        let there = pins.links();
        let missing: Vec<u32> = self.links.keys().copied().filter(|ifindex| !there.contains(ifindex)).collect();
        for ifindex in missing {
            let Some(link) = self.links.remove(&ifindex) else { continue };
            self.links.insert(ifindex, link.pin_again(ifindex, &pins)?);
        }
        if let Some(near) = self.fragmenter.as_ref().map(|fragmenter| fragmenter.near().ifindex)
            && !there.contains(&near)
            && let Some(link) = self.near_link.take()
        {
            self.near_link = Some(link.pin_again(near, &pins)?);
        }
        Ok(())
    }

    /// Detaches the program from an interface.
    ///
    /// # Errors
    /// It is not attached there, or the kernel refuses.
    pub fn detach(&mut self, ifindex: u32) -> Result<(), DataPlaneError> {
        // Closing the link detaches; an interface that is gone has done so already.
        drop(self.links.remove(&ifindex).ok_or(DataPlaneError::NotAttached(ifindex))?);
        if let Some(pins) = &self.pins {
            pins.unpin_link(ifindex);
        }
        self.tell_interfaces()
    }

    /// As [`Self::detach`], and waits until another instance's program can be attached in another mode.
    ///
    /// # Errors
    /// As of [`Self::detach`].
    pub fn leave(&mut self, ifindex: u32) -> Result<(), DataPlaneError> {
        let program = self.attached_program();
        self.detach(ifindex)?;
        attach::wait_until_gone(ifindex, program);
        Ok(())
    }

    /// Takes instances before this one off interfaces (by `ifindex`), and waits until they are gone: where this one is to be attached
    /// to a device below or on top of them.
    pub fn release_pinned(&self, released: impl Fn(u32) -> bool) {
        let Some(pins) = &self.pins else { return };
        for ifindex in pins.links().into_iter().filter(|ifindex| released(*ifindex)) {
            let Ok(Some((link, program))) = pins.link(ifindex) else { continue };
            drop(link);
            pins.unpin_link(ifindex);
            attach::wait_until_gone(ifindex, program);
        }
    }

    /// Ends the take-over from instances before this one, once it is attached: detaches them where `wanted` (by `ifindex`) says
    /// no, takes their counts over and removes them. `Ok(false)`: an interface that is wanted still has an older instance, which
    /// therefore stays.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn finish_take_over(&mut self, wanted: impl Fn(u32) -> bool) -> Result<bool, DataPlaneError> {
        let Some(pins) = self.pins.clone() else { return Ok(true) };
        let near = self.fragmenter.as_ref().map(|fragmenter| fragmenter.near().ifindex);
        let others = |ifindex: &u32| !self.links.contains_key(ifindex) && Some(*ifindex) != near;
        let (left, unwanted): (Vec<u32>, Vec<u32>) = pins.links().into_iter().filter(others).partition(|i| wanted(*i));
        unwanted.into_iter().for_each(|ifindex| pins.unpin_link(ifindex));
        if !left.is_empty() {
            return Ok(false);
        }
        if let Some(fragmenter) = &mut self.fragmenter {
            fragmenter.forget_other_prefixes();
        }
        // A packet may still be on its way through the old programs.
        readers::wait();
        let mut before = pins.instances();
        before.retain(|instance| Some(instance) != self.instance.as_ref());
        self.take_counts_over(&pins, &before)?;
        crash::point("counted");
        before.iter().for_each(|instance| pins.remove_instance(instance));
        Ok(true)
    }

    /// Lets go of the instance just before this one, which is attached nowhere any more, where an older one still is: while a driver
    /// refuses, each change would leave one more behind.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn let_go_of(&mut self, old: &Self) -> Result<(), DataPlaneError> {
        let (Some(pins), Some(instance)) = (self.pins.clone(), &old.instance) else { return Ok(()) };
        let is_attached = old.links.keys().any(|ifindex| !self.links.contains_key(ifindex));
        if is_attached || !pins.instances().contains(instance) {
            return Ok(());
        }
        readers::wait();
        if let Some(counters) = pins.counters_of(instance) {
            let failed = |error: MapError| DataPlaneError::new("take the counters over", &error);
            let mut carried = self.carried.get(&0, 0).map_err(failed)?;
            carried.add(&counters);
            self.carried.set(0, carried, 0).map_err(failed)?;
            self.carried_accounts.extend(accounts::rest_of(&pins, instance));
        }
        pins.remove_instance(instance);
        Ok(())
    }

    /// Adds what instances before this one have counted, each once, though a daemon may be killed at any moment: a record tells
    /// which instances are in it.
    fn take_counts_over(&mut self, pins: &Pins, before: &[Instance]) -> Result<(), DataPlaneError> {
        let Some(latest) = before.last() else { return Ok(()) };
        let failed = |error: MapError| DataPlaneError::new("take the counters over", &error);
        let mut carried = self.carried.get(&0, 0).map_err(failed)?;
        let taken = pins.taken_over_by(before);
        for instance in before {
            let Some(counters) = pins.counters_of(instance) else { continue };
            if instance.number() > taken {
                carried.add(&counters);
            }
            self.carried_accounts.extend(accounts::rest_of(pins, instance));
        }
        carried.identification = latest.number();
        self.carried.set(0, carried, 0).map_err(failed)
    }

    /// Where the program is attached, without the fragmenter.
    #[must_use]
    pub fn attached(&self) -> Vec<Attached> {
        // It may have been renamed since it was attached.
        let name = |ifindex, link: &Link| {
            self.machine.interface(ifindex).map_or(&link.name, |interface| &interface.name).clone()
        };
        let attached = |(ifindex, link): (&u32, &Link)| Attached {
            ifindex: *ifindex,
            name: name(*ifindex, link),
            mode: link.mode,
        };
        self.links.iter().map(attached).collect()
    }

    /// Whether an interface is the data plane's own (the fragmenter's), which nobody else is to attach to.
    #[must_use]
    pub fn is_own_interface(&self, ifindex: u32) -> bool {
        self.fragmenter.as_ref().is_some_and(|fragmenter| fragmenter.near().ifindex == ifindex)
    }

    /// From here on packets meet the tables. Canaries may have left next hops of a table that has changed since.
    fn expect_readers(&mut self) {
        if self.grace.has_readers() {
            return;
        }
        self.grace.set_readers(true);
        if let Some(ways) = &self.ways {
            ways.forget();
        }
    }

    /// Whether packets go by the fragmenter.
    #[must_use]
    pub fn has_fragmenter(&self) -> bool {
        self.near_link.is_some()
    }

    /// Attaches the fragmenter's near end, then leads packets into it; where that has been done already, nothing.
    ///
    /// # Errors
    /// It carries another program, or the kernel refuses.
    pub fn start_fragmenter(&mut self) -> Result<(), DataPlaneError> {
        self.expect_readers();
        let Some(fragmenter) = self.fragmenter.as_mut().filter(|_| self.near_link.is_none()) else { return Ok(()) };
        let near = fragmenter.near();
        let program = capture::entry(&mut self.capture, &mut self.ebpf)?;
        let name = fragmenter.name().to_owned();
        let place = Place { ifindex: near.ifindex, name: &name, pins: self.pins.as_deref() };
        let link = attach::attach(program, place, XdpMode::Native)
            .map_err(|error| DataPlaneError::Fragmenter { name, reason: error.to_string() })?;
        self.near_link = Some(link);
        self.tell_interfaces()?;
        if let Some(fragmenter) = &mut self.fragmenter {
            fragmenter.set_in_use();
            if self.kernel_errors {
                fragmenter.lead_own_errors(&prefixes(&self.settings));
            }
        }
        Ok(())
    }

    /// Mends what somebody has undone of the fragmenter: that its near end is up and has IPv6, and the rules into it.
    ///
    /// # Errors
    /// The near end is gone or has not the program: it takes another instance. Or the kernel refuses.
    pub fn keep_fragmenter(&mut self, machine: &Machine) -> Result<(), DataPlaneError> {
        let program = self.attached_program();
        let (Some(fragmenter), true) = (&mut self.fragmenter, self.near_link.is_some()) else { return Ok(()) };
        let name = fragmenter.name().to_owned();
        let lost = |reason: &str| Err(DataPlaneError::FragmenterLost { name: name.clone(), reason: reason.to_owned() });
        let Some(near) = machine.interface(fragmenter.near().ifindex) else {
            return lost("somebody has removed it");
        };
        if near.xdp_program.is_none_or(|there| there.id != program) {
            return lost("somebody has taken the program from it");
        }
        if !near.up {
            fragmenter.set_up()?;
            warn!("somebody has set {name} down: it is up again");
        }
        if !near.takes_ipv6 {
            fragmenter.enable_ipv6();
        }
        fragmenter.keep_leading_own_errors();
        Ok(())
    }

    pub(super) fn tell_interfaces(&mut self) -> Result<(), DataPlaneError> {
        let near_end = self.fragmenter.as_ref().map(Fragmenter::near);
        let mut attached: BTreeMap<u32, XdpMode> = self.links.iter().map(|(index, link)| (*index, link.mode)).collect();
        attached.extend(near_end.zip(self.near_link.as_ref()).map(|(near, link)| (near.ifindex, link.mode)));
        let sources =
            Sources { machine: &self.machine, attached: &attached, near_end, prefixes: &self.prefix_of_interface };
        self.interfaces.hold(Records::new(&sources))
    }
}
