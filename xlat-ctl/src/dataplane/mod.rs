//! The data plane: the XDP program in the kernel, its tables, and where it is attached.
//!
//! Only this module names the BPF library. What is to be translated comes in as lists ([`TableInput`]), what the machine is as
//! a snapshot ([`Machine`]); nobody else touches a map.

mod accounts;
mod attach;
mod capture;
mod error;
mod fragmenter;
mod interfaces;
mod links;
mod load;
mod log;
mod mapping;
mod namespaces;
mod next_hops;
mod object;
mod pins;
mod program;
mod readers;
mod refusal;
mod table;
mod trial;
mod ways;

use std::{
    collections::{BTreeMap, HashSet},
    net::IpAddr,
    path::Path,
    sync::Arc,
    time::Instant,
};

use aya::{
    Ebpf,
    maps::{Array, MapData, PerCpuArray, ProgramArray},
};
use ipnet::{Ipv4Net, Ipv6Net};
use nix::unistd::{Gid, Uid};
use tracing::info;
use xlat_common::{account, address::Ipv6, counters::Counters, settings::Settings, table::Bucket};

pub(crate) use self::interfaces::{default_sources, source4};
use self::{
    accounts::Accounts,
    attach::Link,
    fragmenter::Fragmenter,
    interfaces::{Maps, PrefixOfInterface},
    mapping::Mapping,
    pins::Instance,
    table::{Grace, Table},
    trial::Trial,
};
pub use self::{
    accounts::Counted,
    attach::{describe_other, describe_program},
    capture::{Captured, Filters, Sink, kernel_time},
    error::{AttachError, DataPlaneError, TableError, detach_advice},
    fragmenter::{HandedOver, NAME as FRAGMENTER},
    links::Attached,
    load::LoadOptions,
    pins::Pins,
    program::ProgramInfo,
    refusal::{NOT_TOLD, native_mode},
    table::Known,
    trial::{Tags, Tried},
    ways::Ways,
};
use crate::netlink::Machine;

/// An explicit address mapping (RFC 7757).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eam {
    /// IPv4 prefix, without host bits.
    pub ipv4: Ipv4Net,
    /// IPv6 prefix, without host bits.
    pub ipv6: Ipv6Net,
    /// Index of the translation prefix for the other end of its packets; `None`: the arrival interface's, else the first.
    pub prefix: Option<u8>,
}

/// The operator's lists.
#[derive(Clone, Debug, Default)]
pub struct TableInput {
    /// The EAMs; no two have the same prefix.
    pub eams: Vec<Eam>,
    /// IPv4 addresses that are refused.
    pub deny4: Vec<Ipv4Net>,
    /// IPv6 addresses that are refused.
    pub deny6: Vec<Ipv6Net>,
}

/// How the program runs on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver if it can, else generic.
    Auto,
    /// In the driver.
    Native,
    /// On socket buffers, with any driver, slower.
    Generic,
}

/// Bytes that the look-up tables take with room for this many EAMs.
#[must_use]
pub fn table_bytes(max_eams: u32) -> u64 {
    2 * u64::from(table::buckets_for(max_eams, 0)) * size_of::<Bucket>() as u64
}

/// Bytes that counting for each EAM takes with room for this many EAMs.
#[must_use]
pub fn account_bytes(max_eams: u32) -> u64 {
    let parts = accounts::parts().unwrap_or(2);
    u64::from(account::places(max_eams)) * u64::from(parts) * size_of::<account::Record>() as u64
}

/// A program instance and everything that belongs to it. Dropping it leaves nothing behind, unless it is pinned: then packets
/// go on being translated, until [`DataPlane::remove`] or another instance takes its place.
pub struct DataPlane {
    // In this order they go: first nothing is attached, then there is no slow path, then no program.
    links: BTreeMap<u32, Link>,
    near_link: Option<Link>,
    /// While there are captures: what is attached in the entry's place.
    capture: Option<capture::Program>,
    fragmenter: Option<Fragmenter>,
    /// Whether the kernel's own errors are led into it.
    kernel_errors: bool,
    table: Table<Mapping>,
    grace: Grace,
    interfaces: Maps,
    machine: Machine,
    prefix_of_interface: PrefixOfInterface,
    counters: PerCpuArray<MapData, Counters>,
    /// What the instances before this one counted.
    carried: Array<MapData, Counters>,
    /// `None`: nothing is counted for single EAMs.
    accounts: Option<Accounts>,
    /// What the instances before this one counted for single EAMs and nobody has collected.
    carried_accounts: Vec<(Option<Eam>, Counted)>,
    pins: Option<Arc<Pins>>,
    /// Where this instance is pinned.
    instance: Option<Instance>,
    settings: Settings,
    table_bytes: u64,
    _events: Option<log::Reader>,
    _tail_calls: ProgramArray<MapData>,
    /// The record beside the tables.
    state: Arc<Mapping>,
    /// The program loaded once more, once somebody has asked for it.
    trial: Option<Box<Trial>>,
    /// Who tells the instances of changes. `None`: next hops are not cached.
    ways: Option<Ways>,
    /// When the places of next hops were last given back.
    gave_back: Option<Instant>,
    ebpf: Ebpf,
}

impl DataPlane {
    /// Makes the table what the lists say. Packets go on being translated meanwhile; each finds the old or the new entry of
    /// an address.
    ///
    /// # Errors
    /// No room, or two EAMs with one prefix; nothing is changed then.
    pub fn replace_table(&mut self, input: &TableInput, machine: &Machine) -> Result<(), DataPlaneError> {
        let own = own_addresses(machine);
        Ok(self.change_table(true, |table, grace| table.replace(input, own, grace))?)
    }

    /// Makes the table that of another instance with some EAMs taken out and others added: much faster than filling it where few
    /// have changed. Nothing is attached yet, and the table is empty. `Ok(false)`: it cannot be done, or would not be faster.
    ///
    /// # Errors
    /// No room, an EAM to take out that is not there, or one with a prefix that is: the table is then neither the one nor the
    /// other, and to be replaced.
    pub fn copy_table(&mut self, other: &Self, removed: &[Eam], added: &[Eam]) -> Result<bool, DataPlaneError> {
        Ok(other.table.is_worth_copying(removed, added)
            && self.table.copy(&other.table, removed, added, &mut self.grace)?)
    }

    /// The secret number that addresses' places in the table follow from.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.settings.seed
    }

    /// Adds one EAM.
    ///
    /// # Errors
    /// No room, or another EAM has one of its prefixes; nothing is changed then.
    pub fn insert_eam(&mut self, eam: &Eam) -> Result<(), DataPlaneError> {
        Ok(self.change_table(eam.ipv4.prefix_len() < 32, |table, grace| table.insert(eam, grace))?)
    }

    /// Takes one EAM out. Gives the account that it had, and what was counted for it since that was last collected.
    ///
    /// # Errors
    /// It is not there.
    pub fn remove_eam(&mut self, eam: &Eam) -> Result<(u32, Counted), DataPlaneError> {
        let account = self.table.account(eam);
        self.change_table(eam.ipv4.prefix_len() < 32, |table, grace| table.remove(eam, grace))?;
        let rest = if account == 0 { Counted::default() } else { self.close_account(account) };
        Ok((account, rest))
    }

    /// Changes the table. `many`: in an EAM of more than one IPv4 address, whose next hops are remembered elsewhere than in the
    /// entry (`xlat_common::next_hop`).
    fn change_table<T>(
        &mut self,
        many: bool,
        change: impl FnOnce(&mut Table<Mapping>, &mut Grace) -> Result<T, TableError>,
    ) -> Result<T, TableError> {
        let (table, grace) = (&mut self.table, &mut self.grace);
        let Some(ways) = self.ways.as_ref().filter(|_| many && grace.has_readers()) else {
            return change(table, grace);
        };
        ways.without(|| {
            // A packet that has been told before that next hops are remembered meets the old table only; one that has met the
            // old table finds nowhere to remember what follows from it.
            grace.wait();
            let outcome = change(table, grace);
            grace.wait();
            outcome
        })
    }

    /// What the table says of an address: the entry that the program finds for it.
    #[must_use]
    pub fn lookup(&self, address: IpAddr) -> Known {
        self.table.lookup(address)
    }

    /// Follows the machine: its interfaces, addresses and MTUs.
    ///
    /// # Errors
    /// The table has no room for all addresses, or the kernel refuses.
    pub fn update_machine(&mut self, machine: &Machine) -> Result<(), DataPlaneError> {
        self.machine.clone_from(machine);
        self.tell_interfaces()?;
        let (ipv4, ipv6) = default_sources(machine);
        self.table.set_default_addresses(
            ipv4.map_or(0, std::net::Ipv4Addr::to_bits),
            ipv6.map_or(Ipv6::UNSPECIFIED, Ipv6::from),
        );
        Ok(self.table.set_own(own_addresses(machine), &mut self.grace)?)
    }

    /// The fragmenter, for the instance that is to take this one's place; `None`: there is none.
    #[must_use]
    pub fn hand_over_fragmenter(&self) -> Option<HandedOver> {
        self.fragmenter.as_ref().map(Fragmenter::hand_over)
    }

    /// Takes this instance's pins away again: for one that is not to be attached.
    pub fn discard(mut self) {
        if let (Some(pins), Some(instance)) = (&self.pins, self.instance.take()) {
            pins.remove_instance(&instance);
        }
    }

    /// Removes the data plane: detaches the program everywhere and leaves nothing behind, pinned or not.
    pub fn remove(mut self) {
        self.links.clear();
        self.near_link = None;
        if let Some(pins) = self.pins.take() {
            pins.remove_all();
        }
        if let Some(fragmenter) = self.fragmenter.take() {
            fragmenter.remove();
            info!("the fragmenter is removed");
        }
    }

    /// Sets the counters to zero: for an instance that has only been tried.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn reset_counters(&mut self) -> Result<(), DataPlaneError> {
        if let Some(accounts) = &self.accounts {
            accounts.clear_all(self.table.accounts_end());
        }
        trial::set_to_zero(&mut self.counters)
    }

    /// The counters, summed over all CPUs, with those of instances before this one that are still attached somewhere.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn counters(&self) -> Result<Counters, DataPlaneError> {
        let each = self.counters.get(&0, 0).map_err(|error| DataPlaneError::new("read the counters", &error))?;
        let mut sum = self.carried.get(&0, 0).map_err(|error| DataPlaneError::new("read the counters", &error))?;
        for counters in each.iter() {
            sum.add(counters);
        }
        if let (Some(pins), Some(own)) = (&self.pins, &self.instance) {
            let mut before = pins.instances();
            before.retain(|one| one.number() < own.number());
            let taken = sum.identification.max(pins.taken_over_by(&before));
            let rest = before.iter().filter(|one| one.number() > taken);
            rest.filter_map(|one| pins.counters_of(one)).for_each(|counters| sum.add(&counters));
        }
        Ok(sum)
    }

    /// Index of the translation prefix for packets arriving at an interface with this name.
    #[must_use]
    pub fn prefix_of(&self, interface: &str) -> u8 {
        self.prefix_of_interface.of(interface)
    }

    /// The settings in force, completed with what depends on the kernel and on this instance.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
}

/// Removes the data plane that goes on working without a daemon in a pin directory, with all that belongs to it: to be called
/// in the relay's network namespace. `Ok(false)`: there is none.
///
/// # Errors
/// A daemon is using it, there is no BPF file system at that place, or what is there cannot be removed.
pub fn remove_pinned(pin_directory: &Path) -> Result<bool, DataPlaneError> {
    if !pin_directory.exists() {
        return Ok(false);
    }
    let pins = Pins::open(pin_directory)?;
    let is_there = !pins.links().is_empty() || !pins.instances().is_empty();
    pins.remove_all();
    fragmenter::remove_kept(pin_directory);
    if !pins.links().is_empty() || !pins.instances().is_empty() {
        let what = format!("remove all of {}", pin_directory.display());
        let reason = "something of it stays: see the warnings".to_owned();
        return Err(DataPlaneError::Kernel { what, reason });
    }
    Ok(is_there)
}

/// Makes ready what a data plane in `pin_directory` needs of a daemon that is not root: the directory, which is given to a user,
/// and the namespace of its fragmenter. To be called as root.
///
/// # Errors
/// Permissions, a daemon that uses the directory, or no BPF file system at that place.
pub fn prepare(pin_directory: &Path, user: Uid, group: Gid) -> Result<(), DataPlaneError> {
    Pins::open(pin_directory)?.hand_over(user, group)?;
    let kept = namespaces::place(pin_directory);
    namespaces::prepare(&kept, fragmenter::FAR)
        .map_err(|reason| DataPlaneError::Kernel { what: format!("keep a namespace at {}", kept.display()), reason })
}

/// Takes [`prepare`] back, unless packets are translated by what is there.
///
/// # Errors
/// A daemon that uses the directory, or no BPF file system at that place.
pub fn tidy(pin_directory: &Path) -> Result<(), DataPlaneError> {
    let pins = Pins::open(pin_directory)?;
    if pins.links().is_empty() {
        pins.remove_all();
        fragmenter::remove_kept(pin_directory);
    }
    Ok(())
}

fn own_addresses(machine: &Machine) -> HashSet<IpAddr> {
    machine.addresses().map(|(address, _)| address).collect()
}

fn prefixes(settings: &Settings) -> Vec<Ipv6Net> {
    let used = settings.prefixes.iter().take(settings.prefix_count as usize);
    used.filter_map(|prefix| Ipv6Net::new(prefix.address.into(), prefix.len as u8).ok()).collect()
}
