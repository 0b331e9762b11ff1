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
mod log;
mod mapping;
mod namespaces;
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
};

use aya::{
    Ebpf,
    maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, ProgramArray},
};
use ipnet::{Ipv4Net, Ipv6Net};
use nix::unistd::{Gid, Uid};
use tracing::{debug, info};
use xlat_common::{
    account,
    address::Ipv6,
    counters::Counters,
    interface::MAX_IFINDEX,
    programs,
    settings::Settings,
    state::State,
    table::{Bucket, TableHeader},
};

pub(crate) use self::interfaces::{default_sources, source4};
use self::{
    accounts::Accounts,
    attach::{Link, Place},
    fragmenter::Fragmenter,
    interfaces::{Maps, PrefixOfInterface, Records, Sources},
    mapping::Mapping,
    pins::Instance,
    table::{Grace, Table},
    trial::Trial,
};
pub use self::{
    accounts::Counted,
    attach::describe_program,
    capture::{Captured, Filters, Sink, kernel_time},
    error::{AttachError, DataPlaneError, TableError},
    pins::Pins,
    program::ProgramInfo,
    refusal::native_mode,
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

/// What a program instance is made with, beside its settings.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// How many EAMs the table has room for.
    pub max_eams: u32,
    /// Whether packets and bytes are counted for each EAM (`xlat_common::account`).
    pub accounts: bool,
    /// Whether what passes natively, IPv6 from end to end, is counted too; takes `accounts`.
    pub native: bool,
    /// Whether there is a fragmenter. Without it, IPv4 packets that would have to be fragmented are dropped.
    pub fragmenter: bool,
    /// Name of the fragmenter's interface.
    pub fragmenter_name: String,
    /// Whether the program is loaded as a kernel before Linux 5.18 takes it, without frames of several buffers.
    pub single_buffer: bool,
    /// Where links and maps are pinned, to outlive the process. `None`: everything goes with the process.
    pub pins: Option<Arc<Pins>>,
    /// Who tells of changes of packets' ways. `None`: next hops are not cached.
    pub ways: Option<Ways>,
    /// The seed of an instance whose table is to be copied; `None`: another one than any instance has.
    pub seed: Option<u64>,
    /// Index of the translation prefix for packets arriving at an interface, by the interface's name or a glob; the first that
    /// matches counts, and where none does the index is 0.
    pub prefix_of_interface: Vec<(String, u8)>,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            max_eams: 65_536,
            accounts: false,
            native: false,
            fragmenter: true,
            fragmenter_name: fragmenter::NAME.to_owned(),
            single_buffer: false,
            pins: None,
            ways: None,
            seed: None,
            prefix_of_interface: Vec::new(),
        }
    }
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

/// Where the program is attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Index of the interface.
    pub ifindex: u32,
    /// Its name when it was attached.
    pub name: String,
    /// [`XdpMode::Native`] or [`XdpMode::Generic`].
    pub mode: XdpMode,
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
    ebpf: Ebpf,
}

impl DataPlane {
    /// Loads a program instance with empty tables. It is attached nowhere.
    ///
    /// # Errors
    /// Permissions, memory, or a kernel that does not take the program.
    pub fn load(settings: &Settings, options: &LoadOptions) -> Result<Self, DataPlaneError> {
        let prefix_of_interface = PrefixOfInterface::new(&options.prefix_of_interface)?;
        if options.fragmenter {
            error::check_capabilities()?;
        }
        let buckets = table::buckets_for(options.max_eams, 0);
        let mut settings = object::complete(settings, buckets, options.single_buffer);
        // The program has the index of the fragmenter's near end as a constant.
        let fragmenter = options
            .fragmenter
            .then(|| {
                let keep = options.pins.as_ref().map(|pins| namespaces::place(pins.directory()));
                let multi_buffer = settings.multi_buffer != 0;
                Fragmenter::new(&options.fragmenter_name, settings.lowest_ipv6_mtu, multi_buffer, keep.as_deref())
            })
            .transpose()?;
        settings.accounts = if options.accounts { account::places(options.max_eams) } else { 0 };
        settings.seed = options.seed.unwrap_or(settings.seed);
        settings.native = u32::from(options.accounts && options.native);
        settings.fragmenter_ifindex = fragmenter.as_ref().map_or(0, |fragmenter| fragmenter.near().ifindex);
        let object::Loaded { mut ebpf, tail_calls, instance } =
            object::load(crate::OBJECT, &settings, options.pins.as_deref(), &[])?;
        let accounts = Accounts::of_object(&ebpf, &settings)?;
        let events = log::read(&mut ebpf);
        let state = Arc::new(state(&ebpf)?);
        let ways = options.ways.clone().filter(|_| object::has_compare_exchange());
        if let Some(ways) = &ways {
            ways.add(&state, object::descriptor(&mut ebpf, programs::RENEW)?);
        } else if options.ways.is_some() {
            info!(
                "next hops are looked up for each packet, which is slower: remembering them takes Linux 5.12 or newer"
            );
        }
        let table_bytes = u64::from(buckets) * size_of::<Bucket>() as u64;
        let table = table(&mut ebpf, &settings)?;
        let interfaces = Maps::new(
            Arc::clone(&state),
            map::<HashMap<_, _, _>>(&mut ebpf, "VLANS")?,
            map::<HashMap<_, _, _>>(&mut ebpf, "MACS")?,
        );
        let counters = map::<PerCpuArray<_, _>>(&mut ebpf, "COUNTERS")?;
        let carried = map::<Array<_, _>>(&mut ebpf, "CARRIED")?;
        debug!("program loaded, {buckets} buckets in each table");
        Ok(Self {
            links: BTreeMap::new(),
            near_link: None,
            capture: None,
            fragmenter,
            table,
            grace: Grace::new(readers::wait),
            interfaces,
            machine: Machine::default(),
            prefix_of_interface,
            counters,
            carried,
            accounts,
            carried_accounts: Vec::new(),
            pins: options.pins.clone(),
            instance,
            settings,
            table_bytes: 2 * table_bytes,
            _events: events,
            _tail_calls: tail_calls,
            state,
            trial: None,
            ways,
            ebpf,
        })
    }

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
        self.table.set_own(own_addresses(machine), &mut self.grace)?;
        self.follow_mtu()
    }

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
        if !self.grace.has_readers() {
            // From here on there are readers. Canaries may have left next hops of a table that has changed since.
            self.grace.set_readers(true);
            if let Some(ways) = &self.ways {
                ways.forget();
            }
        }
        self.start_fragmenter()?;
        let place = Place { ifindex, name, pins: self.pins.as_deref() };
        let link = attach::attach(capture::entry(&mut self.capture, &mut self.ebpf)?, place, mode)?;
        let mode = link.mode;
        self.links.insert(ifindex, link);
        self.tell_interfaces()?;
        self.follow_mtu()?;
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
        self.tell_interfaces()?;
        self.follow_mtu()
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
        let mut carried = Counters::ZERO;
        for instance in pins.instances().iter().filter(|instance| Some(*instance) != self.instance.as_ref()) {
            if let Some(counters) = pins.counters_of(instance) {
                carried.add(&counters);
                self.carried_accounts.extend(accounts::rest_of(&pins, instance));
            }
            pins.remove_instance(instance);
        }
        let failed = |error: MapError| DataPlaneError::new("take the counters over", &error);
        let mut before = self.carried.get(&0, 0).map_err(failed)?;
        before.add(&carried);
        self.carried.set(0, before, 0).map_err(failed)?;
        Ok(true)
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

    /// Where the program is attached, without the fragmenter.
    #[must_use]
    pub fn attached(&self) -> Vec<Attached> {
        let attached =
            |(ifindex, link): (&u32, &Link)| Attached { ifindex: *ifindex, name: link.name.clone(), mode: link.mode };
        self.links.iter().map(attached).collect()
    }

    /// Whether an interface is the data plane's own (the fragmenter's), which nobody else is to attach to.
    #[must_use]
    pub fn is_own_interface(&self, ifindex: u32) -> bool {
        self.fragmenter.as_ref().is_some_and(|fragmenter| fragmenter.near().ifindex == ifindex)
    }

    /// The counters, summed over all CPUs.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn counters(&self) -> Result<Counters, DataPlaneError> {
        let each = self.counters.get(&0, 0).map_err(|error| DataPlaneError::new("read the counters", &error))?;
        let mut sum = self.carried.get(&0, 0).map_err(|error| DataPlaneError::new("read the counters", &error))?;
        for counters in each.iter() {
            sum.add(counters);
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

    /// Attaches the fragmenter's near end, then leads packets into it.
    fn start_fragmenter(&mut self) -> Result<(), DataPlaneError> {
        let Some(fragmenter) = &mut self.fragmenter else { return Ok(()) };
        if self.near_link.is_some() {
            return Ok(());
        }
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
            fragmenter.lead_own_errors(&prefixes(&self.settings));
        }
        Ok(())
    }

    fn tell_interfaces(&mut self) -> Result<(), DataPlaneError> {
        let near_end = self.fragmenter.as_ref().map(Fragmenter::near);
        let mut attached: BTreeMap<u32, XdpMode> = self.links.iter().map(|(index, link)| (*index, link.mode)).collect();
        attached.extend(near_end.zip(self.near_link.as_ref()).map(|(near, link)| (near.ifindex, link.mode)));
        let sources =
            Sources { machine: &self.machine, attached: &attached, near_end, prefixes: &self.prefix_of_interface };
        self.interfaces.hold(Records::new(&sources))
    }

    /// Keeps the fragmenter's pieces small enough for every interface that they can leave by.
    fn follow_mtu(&mut self) -> Result<(), DataPlaneError> {
        // Before it is attached, the pieces are those of the instance before this one.
        let (Some(fragmenter), true) = (&mut self.fragmenter, self.near_link.is_some()) else { return Ok(()) };
        let mtus = self.links.keys().filter_map(|ifindex| Some(self.machine.interface(*ifindex)?.mtu));
        // An interface below IPv6's minimum carries no IPv6 (RFC 8200 5).
        let smallest = mtus.filter(|mtu| *mtu >= 1280).min().unwrap_or(u32::MAX);
        Ok(fragmenter.set_ipv6_mtu(smallest.min(self.settings.lowest_ipv6_mtu))?)
    }
}

/// Removes the data plane that goes on working without a daemon in a pin directory, with all that belongs to it: to be called
/// in the relay's network namespace. `Ok(false)`: there is none.
///
/// # Errors
/// A daemon is using it, or there is no BPF file system at that place.
pub fn remove_pinned(pin_directory: &Path) -> Result<bool, DataPlaneError> {
    if !pin_directory.exists() {
        return Ok(false);
    }
    Pins::open(pin_directory)?.remove_all();
    fragmenter::remove_kept(pin_directory);
    Ok(true)
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

/// Takes a map of the object, as the type that it is used as.
fn map<T: TryFrom<Map, Error = MapError>>(ebpf: &mut Ebpf, name: &str) -> Result<T, DataPlaneError> {
    let map = ebpf.take_map(name).ok_or_else(|| DataPlaneError::Object(format!("map {name} is missing")))?;
    T::try_from(map).map_err(|error| DataPlaneError::Object(format!("map {name}: {error}")))
}

/// The record beside the tables, in this process' memory.
fn state(ebpf: &Ebpf) -> Result<Mapping, DataPlaneError> {
    let Some(Map::Array(map)) = ebpf.map("STATE") else {
        return Err(DataPlaneError::Object("map STATE is missing".to_owned()));
    };
    Mapping::new(map.fd(), size_of::<State>()).map_err(|error| DataPlaneError::new("map STATE into memory", &error))
}

fn table(ebpf: &mut Ebpf, settings: &Settings) -> Result<Table<Mapping>, DataPlaneError> {
    let bytes = (settings.bucket_mask as usize + 1) * size_of::<Bucket>();
    let mut mapping = |name: &str, bytes: usize| {
        let map = ebpf.take_map(name).ok_or_else(|| DataPlaneError::Object(format!("map {name} is missing")))?;
        let Map::Array(map) = map else { return Err(DataPlaneError::Object(format!("map {name} is no array"))) };
        Mapping::new(map.fd(), bytes).map_err(|error| DataPlaneError::new(&format!("map {name} into memory"), &error))
    };
    let (ipv4, ipv6) = (mapping("TABLE4", bytes)?, mapping("TABLE6", bytes)?);
    let header = mapping("STATE", size_of::<TableHeader>())?;
    let well_known = settings.prefixes.iter().any(|prefix| prefix.global_only != 0);
    Ok(Table::new((ipv4, ipv6), header, settings.seed, prefixes(settings), well_known, settings.accounts))
}
