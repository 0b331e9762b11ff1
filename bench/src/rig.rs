//! The machines of the bench: a relay, and outside of it all that sends to it and takes from it.
//!
//! ```text
//!   outside                relay
//!   generator ──► r1c ═══ clients    198.18.0.254/24, 2001:db8:fe:a::1/64   (one arm: the way to the services, too)
//!        sink ◄── r1s ═══ services   198.18.1.254/24, 2001:db8:fe:b::1/64
//! ```
//!
//! Every rig has a relay in a network namespace of its own; the outside is one for all. Nothing is left behind: namespaces
//! without a name go with their last handle.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use nix::net::if_::if_nametoindex;
use xlat_tests::lab::{Namespace, Running};

use crate::frame::Macs;

/// Names of the relay's interfaces.
pub(crate) const CLIENTS: &str = "clients";
/// See [`CLIENTS`].
pub(crate) const SERVICES: &str = "services";
/// MTU of a rig's links, bytes.
pub(crate) const MTU: u32 = 9200;

/// One end of the cable between a relay and the outside.
#[derive(Clone, Debug)]
pub(crate) struct Arm {
    /// Name of the relay's end.
    pub(crate) name: &'static str,
    /// Index of the relay's end.
    pub(crate) ifindex: u32,
    /// Name of the outside's end.
    pub(crate) outside_name: String,
    /// Index of the outside's end.
    pub(crate) outside: u32,
    /// The addresses of frames that arrive.
    pub(crate) macs: Macs,
}

/// A relay with its cables.
#[derive(Debug)]
pub(crate) struct Rig {
    /// The relay.
    pub(crate) relay: Namespace,
    /// Towards the clients.
    pub(crate) a: Arm,
    /// Towards the services; in a rig of one arm the same.
    pub(crate) b: Arm,
}

/// How a rig is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Whether the way to the services is the way to the clients.
    pub(crate) one_arm: bool,
    /// MTU of the links, bytes.
    pub(crate) mtu: u32,
    /// Whether what leaves the relay comes to an XDP program. What leaves it as socket buffers is not slowed by one.
    pub(crate) xdp_outside: bool,
}

impl Rig {
    /// Makes the relay and its links. `number` tells the rigs of one outside apart.
    ///
    /// # Errors
    /// Without root, `ip` or `ethtool`.
    pub(crate) fn new(outside: &Namespace, number: u32, shape: Shape) -> Result<Self> {
        let relay = Namespace::new()?;
        for tree in ["all", "default"] {
            relay.sysctl(&format!("ipv4/conf/{tree}/forwarding"), "1")?;
            relay.sysctl(&format!("ipv6/conf/{tree}/forwarding"), "1")?;
        }
        // No link-local addresses and no announcements: nothing moves that is not sent.
        relay.sysctl("ipv6/conf/default/addr_gen_mode", "1")?;
        let a = arm(outside, &relay, CLIENTS, number, shape)?;
        let b = arm(outside, &relay, SERVICES, number, shape)?;
        for (name, part) in [(CLIENTS, 0), (SERVICES, 1)] {
            let hex = part + 10;
            relay.ip(&format!("addr add 198.18.{part}.254/24 dev {name}"))?;
            relay.ip(&format!("addr add 2001:db8:fe:{hex:x}::1/64 dev {name} nodad"))?;
            let mac = mac(gateway(name));
            relay.ip(&format!("neigh add 198.18.{part}.1 lladdr {mac} dev {name} nud permanent"))?;
            relay.ip(&format!("neigh add 2001:db8:fe:{hex:x}::2 lladdr {mac} dev {name} nud permanent"))?;
        }
        let (services4, services6) =
            if shape.one_arm { ("198.18.0.1", "2001:db8:fe:a::2") } else { ("198.18.1.1", "2001:db8:fe:b::2") };
        relay.ip("route add 64.0.0.0/3 via 198.18.0.1")?;
        relay.ip("route add 2001:db8:6464::/96 via 2001:db8:fe:a::2")?;
        for prefix in ["16.0.0.0/8", "20.0.0.0/8"] {
            relay.ip(&format!("route add {prefix} via {services4}"))?;
        }
        relay.ip(&format!("route add 2001:db8:5e1::/96 via {services6}"))?;
        // Ordinary packets from the services go to the other side, as ordinary ones from the clients do.
        relay.ip("route add 2001:db8:7::/96 via 2001:db8:fe:a::2")?;
        let b = if shape.one_arm { a.clone() } else { b };
        Ok(Self { relay, a, b })
    }
}

/// Starts a program on a machine that ends with the bench, however that ends; to be called from the main thread.
///
/// # Errors
/// It cannot be started.
pub(crate) fn start(machine: &Namespace, program: &str, arguments: &[&str], log: &Path) -> Result<Running> {
    let words: Vec<&str> = ["--pdeathsig", "KILL", program].iter().chain(arguments).copied().collect();
    machine.start("setpriv", &words, log)
}

fn arm(outside: &Namespace, relay: &Namespace, name: &'static str, number: u32, shape: Shape) -> Result<Arm> {
    let outside_name = format!("r{number}{}", &name[..1]);
    let (own, mtu) = (own(name), shape.mtu);
    let queues = "numtxqueues 2 numrxqueues 2";
    relay.ip(&format!(
        "link add {name} mtu {mtu} address {} {queues} type veth peer name {outside_name} mtu {mtu} netns {} {queues}",
        mac(own),
        outside.path()
    ))?;
    outside.ip(&format!("link set {outside_name} arp off multicast off up"))?;
    relay.ip(&format!("link set {name} up"))?;
    // A veth takes the frames that XDP sends if its other end has an XDP program or GRO, once both are up.
    receive_xdp_frames(relay, name)?;
    if shape.xdp_outside {
        receive_xdp_frames(outside, &outside_name)?;
    }
    Ok(Arm {
        name,
        ifindex: index(relay, name)?,
        outside: index(outside, &outside_name)?,
        outside_name,
        macs: Macs { destination: own, source: gateway(name) },
    })
}

fn receive_xdp_frames(machine: &Namespace, name: &str) -> Result<()> {
    let said = machine.run(&format!("ethtool -K {name} gro on"));
    if !said.success {
        bail!("`{}` failed: {}", said.command, said.stderr.trim());
    }
    Ok(())
}

/// Index of an interface.
///
/// # Errors
/// There is none of that name.
pub(crate) fn index(machine: &Namespace, name: &str) -> Result<u32> {
    machine.inside(|| if_nametoindex(name)).with_context(|| format!("looking for the interface {name}"))
}

fn own(name: &str) -> [u8; 6] {
    [2, 0, 0, 0, name.as_bytes()[0], 0xfe]
}

fn gateway(name: &str) -> [u8; 6] {
    [2, 0, 0, 0, name.as_bytes()[0], 1]
}

fn mac(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
