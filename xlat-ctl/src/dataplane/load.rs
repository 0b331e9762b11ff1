//! Making a program instance: its settings completed, the program loaded, its maps at hand.

use std::{collections::BTreeMap, sync::Arc};

use aya::{
    Ebpf,
    maps::{Array, HashMap, Map, PerCpuArray},
    util::KernelVersion,
};
use tracing::{debug, info, warn};
use xlat_common::{
    account, programs,
    settings::Settings,
    state::State,
    table::{Bucket, TableHeader},
};

use super::{
    DataPlane,
    accounts::Accounts,
    error::{self, DataPlaneError},
    fragmenter::{self, Fragmenter, HandedOver},
    interfaces::{Maps, PrefixOfInterface},
    log,
    mapping::Mapping,
    namespaces,
    object::{self, map},
    pins::Pins,
    prefixes, readers,
    table::{self, Grace, Table},
    ways::Ways,
};
use crate::netlink::Machine;

/// Since when a kernel with PREEMPT_RT may let one program on a CPU interrupt another.
const MIXES_ON_RT: KernelVersion = KernelVersion::new(6, 18, 0);

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
    /// Whether the kernel's own ICMPv6 errors to IPv4 clients are led into the fragmenter, and translated.
    pub kernel_errors: bool,
    /// The fragmenter of the instance whose place this one is to take ([`DataPlane::hand_over_fragmenter`]).
    pub handed_over: Option<HandedOver>,
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
            kernel_errors: true,
            handed_over: None,
            single_buffer: false,
            pins: None,
            ways: None,
            seed: None,
            prefix_of_interface: Vec::new(),
        }
    }
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
                Fragmenter::new(&options.fragmenter_name, multi_buffer, keep.as_deref(), options.handed_over.clone())
            })
            .transpose()?;
        settings.accounts = if options.accounts { account::places(options.max_eams) } else { 0 };
        settings.seed = options.seed.unwrap_or(settings.seed);
        settings.native = u32::from(options.accounts && options.native);
        settings.fragmenter_ifindex = fragmenter.as_ref().map_or(0, |fragmenter| fragmenter.near().ifindex);
        let object::Loaded { mut ebpf, tail_calls, place } =
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
        if readers::is_preempt_rt() && KernelVersion::current().is_ok_and(|version| version >= MIXES_ON_RT) {
            warn!(
                "this kernel has PREEMPT_RT: if it was built without CONFIG_PREEMPT_RT_NEEDS_BH_LOCK, packets interrupt each other on \
                 one CPU and may be mixed up: run the relay on a kernel without PREEMPT_RT"
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
            kernel_errors: options.kernel_errors,
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
            instance: place.keep(),
            settings,
            table_bytes: 2 * table_bytes,
            _events: events,
            _tail_calls: tail_calls,
            state,
            trial: None,
            gave_back: None,
            ways,
            ebpf,
        })
    }
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
