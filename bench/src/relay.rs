//! xlat on a rig's relay, as its daemon would load it: the real program with the real tables.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{LazyLock, OnceLock},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use aya::programs::{ProgramFd, loaded_programs};
use etherparse::{NetSlice, PacketBuilder, PacketBuilderStep, SlicedPacket, UdpHeader};
use tokio::{runtime::Runtime, task::JoinHandle};
use xlat_common::settings::Settings;
use xlat_ctl::{
    config::{self, Config},
    dataplane::{DataPlane, Eam, LoadOptions, TableInput, Ways, XdpMode},
    netlink::{self, Machine},
};
use xlat_tests::lab::Namespace;

use crate::{
    address::{self, FIRST_CLIENT},
    rig::{CLIENTS, Rig, SERVICES},
    scene::Table,
};

/// The settings are the defaults, but for what a scene needs.
pub(crate) const CONFIGURATION: &str = r#"
[dataplane]
interfaces = ["clients", "services"]
[translation]
prefixes = ["2001:db8:6464::/96"]
udp_zero_checksum = "compute"
[deny]
ipv4 = ["198.51.100.0/24"]
[control]
group = "root"
"#;

/// Whether every relay counts for each EAM, set once before the first is loaded.
pub(crate) static ACCOUNTING: OnceLock<bool> = OnceLock::new();

/// The runtime on which `xlat_ctl` follows netlink and reads the program's log.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("starting the tokio runtime"));

/// The program on one relay.
pub(crate) struct Relay {
    plane: DataPlane,
    /// Says that there is no change, as a daemon does that follows the machine's routing.
    listening: JoinHandle<()>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// How often that is said.
const LISTENING: Duration = Duration::from_millis(100);

/// What filling a table took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filled {
    /// Seconds that loading the program with empty tables took.
    pub(crate) loading: f64,
    /// Seconds that filling the tables took.
    pub(crate) filling: f64,
    /// Bytes of the tables.
    pub(crate) table_bytes: u64,
    /// Whether packets to and from the first, the middle and the last entry come out translated by it.
    pub(crate) translates: bool,
}

/// Where the program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attach {
    /// Nowhere.
    Nowhere,
    /// On both arms.
    Everywhere,
    /// On both arms, with `kernel_errors = false`.
    WithoutRules,
}

/// The configuration of every relay of the bench.
///
/// # Errors
/// It is refused.
pub(crate) fn configuration() -> Result<Config> {
    let checked = config::parse(CONFIGURATION).map_err(|problems| {
        let lines: Vec<&str> = problems.iter().map(|problem| problem.text.as_str()).collect();
        anyhow!("the bench's configuration is refused: {}", lines.join("; "))
    })?;
    Ok(checked.config)
}

impl Relay {
    /// Loads the program on a rig's relay, fills its table, and attaches it. `number` tells those of one relay apart.
    ///
    /// # Errors
    /// Without root or BPF.
    pub(crate) fn load(rig: &Rig, number: u32, table: Table, attach: Attach) -> Result<Self> {
        Self::load_in(&rig.relay, number, table, attach)
    }

    /// The same on any machine whose interfaces have the names of a rig's.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub(crate) fn load_in(machine: &Namespace, number: u32, table: Table, attach: Attach) -> Result<Self> {
        machine.inside(|| Self::load_here(number, table, attach))
    }

    /// A program instance with an empty table.
    fn load_empty(number: u32, max_eams: u32, ways: Ways, attach: Attach) -> Result<DataPlane> {
        let accounting = ACCOUNTING.get().copied().unwrap_or(false);
        let options = LoadOptions {
            accounts: accounting,
            native: accounting,
            max_eams: max_eams.max(64),
            fragmenter_name: format!("xlat{number}"),
            ways: Some(ways),
            kernel_errors: attach != Attach::WithoutRules,
            ..LoadOptions::default()
        };
        DataPlane::load(&Settings::from(&configuration()?), &options).context("loading the XDP program")
    }

    fn load_here(number: u32, table: Table, attach: Attach) -> Result<Self> {
        let _runtime = RUNTIME.enter();
        let ways = Ways::default();
        let mut plane = Self::load_empty(number, table.eams, ways.clone(), attach)?;
        let machine = machine()?;
        plane
            .replace_table(&input(&configuration()?, address::eam_list(table)), &machine)
            .context("filling the table")?;
        plane.update_machine(&machine).context("telling the program of the machine")?;
        if attach != Attach::Nowhere {
            Self::attach_to(&mut plane, &machine)?;
        }
        plane.update_machine(&self::machine()?).context("telling the program of the machine")?;
        // Next hops are remembered, as with a daemon that has heard of no change since.
        ways.changed(true);
        let listening = RUNTIME.spawn(async move {
            loop {
                ways.unchanged();
                tokio::time::sleep(LISTENING).await;
            }
        });
        Ok(Self { plane, listening })
    }

    /// Attaches a program to both arms.
    fn attach_to(plane: &mut DataPlane, machine: &Machine) -> Result<()> {
        for interface in machine.interfaces.iter().filter(|there| there.name == CLIENTS || there.name == SERVICES) {
            plane
                .attach(interface.ifindex, &interface.name, XdpMode::Native)
                .with_context(|| format!("attaching the program to {}", interface.name))?;
        }
        plane.update_machine(machine).context("telling the program of the machine")
    }

    /// Loads the program with an empty table, fills it as a start or a new table does, and tries some entries.
    ///
    /// # Errors
    /// Without root, BPF or enough memory.
    pub(crate) fn fill(rig: &Rig, table: Table) -> Result<Filled> {
        rig.relay.inside(|| {
            let _runtime = RUNTIME.enter();
            let begin = Instant::now();
            let mut plane = Self::load_empty(0, table.eams, Ways::default(), Attach::Nowhere)?;
            let loading = begin.elapsed().as_secs_f64();
            let (machine, input) = (machine()?, input(&configuration()?, address::eam_list(table)));
            let begin = Instant::now();
            plane.replace_table(&input, &machine).context("filling the table")?;
            let filling = begin.elapsed().as_secs_f64();
            Self::attach_to(&mut plane, &machine)?;
            let last = input.eams.len() - 1;
            let translates = [0, last / 2, last].into_iter().all(|at| translates(&plane, &machine, &input.eams[at]));
            Ok(Filled { loading, filling, table_bytes: plane.program_info().table_bytes, translates })
        })
    }

    /// The entry program, to be called by another.
    ///
    /// # Errors
    /// The kernel does not know it any more.
    pub(crate) fn entry(&self) -> Result<ProgramFd> {
        let id = self.plane.program_info().id;
        let info = loaded_programs().filter_map(Result::ok).find(|info| info.id() == id);
        Ok(info.with_context(|| format!("the kernel has no program {id}"))?.fd()?)
    }
}

/// The machine of the calling thread's namespace, its veths as ordinary devices, which XDP_TX works out of: the other ends have
/// programs.
fn machine() -> Result<Machine> {
    let mut machine = netlink::snapshot().context("asking the kernel for its interfaces")?;
    for interface in &mut machine.interfaces {
        interface.kind = None;
    }
    Ok(machine)
}

/// Whether a packet to an EAM's IPv4 address and one from its IPv6 address come out of the program with the other one.
fn translates(plane: &DataPlane, machine: &Machine, eam: &Eam) -> bool {
    let client = Ipv4Addr::from_bits(FIRST_CLIENT);
    let (v4, v6) = (eam.ipv4.addr(), eam.ipv6.addr());
    let embedded = address::within(address::TRANSLATION, FIRST_CLIENT);
    let four = PacketBuilder::ethernet2([0; 6], [0; 6]).ipv4(client.octets(), v4.octets(), 64).udp(4711, 53);
    let six = PacketBuilder::ethernet2([0; 6], [0; 6]).ipv6(v6.octets(), embedded.octets(), 64).udp(53, 4711);
    let addresses = |packet, arm| through(plane, machine, packet, arm);
    addresses(four, CLIENTS) == Some((embedded.into(), v6.into()))
        && addresses(six, SERVICES) == Some((v4.into(), client.into()))
}

/// Source and destination of what the program sends on of a packet that arrives by an arm.
fn through(
    plane: &DataPlane,
    machine: &Machine,
    packet: PacketBuilderStep<UdpHeader>,
    arm: &str,
) -> Option<(IpAddr, IpAddr)> {
    const SENT_ON: [u32; 2] = [3, 4];
    let interface = machine.interfaces.iter().find(|interface| interface.name == arm)?;
    let mut frame = Vec::new();
    packet.write(&mut frame, &[0; 64]).ok()?;
    frame[..6].copy_from_slice(&interface.mac);
    let (action, frame) = plane.test_run(&frame, interface.ifindex).ok()?;
    if !SENT_ON.contains(&action) {
        return None;
    }
    match SlicedPacket::from_ethernet(&frame).ok()?.net? {
        NetSlice::Ipv4(packet) => {
            let header = packet.header();
            Some((header.source_addr().into(), header.destination_addr().into()))
        }
        NetSlice::Ipv6(packet) => {
            let header = packet.header();
            Some((header.source_addr().into(), header.destination_addr().into()))
        }
        NetSlice::Arp(_) => None,
    }
}

fn input(config: &Config, eams: Vec<Eam>) -> TableInput {
    TableInput { eams, deny4: config.deny.ipv4.clone(), deny6: config.deny.ipv6.clone() }
}
