//! The machine that the relay under test is: its interfaces, neighbours and routes.
//!
//! ```text
//!  IPv4 side                                   IPv6 side
//!  v4       1500  default, VLAN 7 as v4.7      v6       1500  default, VLAN 8 as v6.8, 9.10 as v6.q
//!  v4-1000  1000  203.0.113.64/27              v6-1280  1280  2001:db8:5e1:1280::/64
//!  v4-9000  9000  203.0.113.128/27             v6-1400  1400  2001:db8:5e1:1400::/64
//!                                              v6-9000  9000  2001:db8:5e1:9000::/64
//! ```
//!
//! Each interface is one end of a veth pair whose other end is silent, has one address of its family, and one gateway
//! with a permanent neighbour entry. The VLANs are such interfaces too, of which only the program is told that they are
//! VLANs ([`as_told`]): not every kernel has them, and the program does not care. So is `port`, a port of `v4` as if that
//! were a bond. `203.0.113.192/27` and `2001:db8:5e1:77::/64` lie behind gateways whose link-layer
//! addresses are not known; `203.0.113.224/27` and `2001:db8:5e1:dead::/64` are unreachable.

use std::{
    collections::HashMap,
    fs::File,
    io::Write as _,
    net::IpAddr,
    os::fd::AsFd as _,
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context as _, Result, bail};
use ipnet::IpNet;
use nix::sched::{CloneFlags, setns, unshare};
use xlat_ctl::netlink::{Machine, Vlan};

use crate::notation::Mac;

/// An interface of the relay and the way out by it.
#[derive(Clone, Copy, Debug)]
pub struct Interface {
    /// Its name.
    pub name: &'static str,
    /// Bytes of the largest IP packet.
    pub mtu: u32,
    /// Its own address and prefix length.
    pub address: &'static str,
    /// The gateway behind it.
    pub gateway: &'static str,
    /// Link-layer address of the interface (of its parent, for a VLAN).
    pub mac: Mac,
    /// Link-layer address of the gateway.
    pub gateway_mac: Mac,
    /// The destinations behind the gateway.
    pub destination: &'static str,
    /// Tags of the frames that leave by it, outermost first: protocol, VLAN ID.
    pub tags: &'static [(u16, u16)],
    /// The device that carries the tagged frames; for all others the interface itself.
    pub device: &'static str,
    /// Of a VLAN: the interface whose frames have one tag less.
    parent: Option<&'static str>,
}

impl Interface {
    /// Its address without the prefix length.
    #[must_use]
    pub fn own_address(&self) -> &'static str {
        self.address.split('/').next().expect("an address before the slash")
    }
}

const fn device(
    number: u8,
    name: &'static str,
    mtu: u32,
    address: &'static str,
    gateway: &'static str,
    destination: &'static str,
) -> Interface {
    Interface {
        name,
        mtu,
        address,
        gateway,
        mac: [2, 0, 0, 0, number, 0xfe],
        gateway_mac: [2, 0, 0, 0, number, 1],
        destination,
        tags: &[],
        device: name,
        parent: None,
    }
}

const fn vlan(
    of: Interface,
    parent: &'static str,
    name: &'static str,
    tags: &'static [(u16, u16)],
    address: &'static str,
    gateway: &'static str,
    destination: &'static str,
) -> Interface {
    let number = tags[tags.len() - 1].1 as u8;
    let gateway_mac = [2, 0, 0, 1, number, 1];
    Interface { name, address, gateway, gateway_mac, destination, tags, parent: Some(parent), ..of }
}

const V4: Interface = device(4, "v4", 1500, "198.18.4.254/24", "198.18.4.1", "0.0.0.0/0");
const V6: Interface = device(6, "v6", 1500, "2001:db8:fe:6::1/64", "2001:db8:fe:6::2", "::/0");

/// All interfaces of the relay but the loopback.
pub const INTERFACES: &[Interface] = &[
    V4,
    V6,
    device(10, "v4-1000", 1000, "198.18.10.254/24", "198.18.10.1", "203.0.113.64/27"),
    device(11, "v4-9000", 9000, "198.18.11.254/24", "198.18.11.1", "203.0.113.128/27"),
    device(12, "v6-1280", 1280, "2001:db8:fe:12::1/64", "2001:db8:fe:12::2", "2001:db8:5e1:1280::/64"),
    device(13, "v6-1400", 1400, "2001:db8:fe:13::1/64", "2001:db8:fe:13::2", "2001:db8:5e1:1400::/64"),
    device(14, "v6-9000", 9000, "2001:db8:fe:14::1/64", "2001:db8:fe:14::2", "2001:db8:5e1:9000::/64"),
    vlan(V4, "v4", "v4.7", &[(0x8100, 7)], "198.18.7.254/24", "198.18.7.1", "203.0.113.160/27"),
    vlan(V6, "v6", "v6.8", &[(0x8100, 8)], "2001:db8:fe:8::1/64", "2001:db8:fe:8::2", "2001:db8:5e1:8::/64"),
    vlan(V6, "v6", "v6.9", &[(0x88a8, 9)], "2001:db8:fe:9::1/64", "2001:db8:fe:9::2", "2001:db8:5e1:9::/64"),
    vlan(
        V6,
        "v6.9",
        "v6.q",
        &[(0x88a8, 9), (0x8100, 10)],
        "2001:db8:fe:10::1/64",
        "2001:db8:fe:10::2",
        "2001:db8:5e1:10::/64",
    ),
    Interface { device: BOND, ..device(20, PORT, 1500, "198.18.20.254/24", "198.18.20.1", "198.18.21.0/24") },
];

/// The bond that [`PORT`] is a port of.
const BOND: &str = "v4";
/// Runs its bond's program; frames leave by the bond.
pub const PORT: &str = "port";

/// Routes by gateways whose link-layer address is unknown, and to nowhere.
const OTHER_ROUTES: &[&str] = &[
    "route add 203.0.113.192/27 via 198.18.4.77",
    "route add 2001:db8:5e1:77::/64 via 2001:db8:fe:6::77",
    "route add unreachable 203.0.113.224/27",
    "route add unreachable 2001:db8:5e1:dead::/64",
];

/// The interface with this name.
#[must_use]
pub fn interface(name: &str) -> &'static Interface {
    INTERFACES.iter().find(|interface| interface.name == name).unwrap_or_else(|| panic!("no interface `{name}`"))
}

/// The interface that packets to this address leave by.
#[must_use]
pub fn way_out(destination: IpAddr) -> &'static Interface {
    let prefix = |interface: &Interface| interface.destination.parse::<IpNet>().expect("a prefix in the table");
    let matching = INTERFACES.iter().filter(|interface| prefix(interface).contains(&destination));
    matching.max_by_key(|interface| prefix(interface).prefix_len()).expect("a default route of each family")
}

/// A network namespace with the machine in it; gone when the last handle is.
#[derive(Debug)]
pub struct World {
    namespace: File,
}

impl World {
    /// Makes the machine.
    ///
    /// # Errors
    /// Without root, or without the `ip` command.
    pub fn new() -> Result<Self> {
        thread::spawn(Self::make).join().unwrap_or_else(|_| bail!("the thread that makes the namespace panicked"))
    }

    fn make() -> Result<Self> {
        unshare(CloneFlags::CLONE_NEWNET).context("making a network namespace (these tests need root)")?;
        let namespace = File::open("/proc/thread-self/ns/net").context("opening the new network namespace")?;
        Self::build()?;
        Ok(Self { namespace })
    }

    /// Makes the machine in the calling thread's namespace.
    ///
    /// # Errors
    /// Without root, or without the `ip` command.
    pub fn build() -> Result<()> {
        for tree in ["all", "default"] {
            sysctl(&format!("ipv4/conf/{tree}/forwarding"), "1")?;
            sysctl(&format!("ipv6/conf/{tree}/forwarding"), "1")?;
            sysctl(&format!("ipv4/conf/{tree}/rp_filter"), "0")?;
        }
        // No link-local addresses, no probing, no announcements: nothing moves that no test has sent.
        sysctl("ipv6/conf/default/addr_gen_mode", "1")?;
        sysctl("ipv6/conf/default/accept_dad", "0")?;
        // A router's interface announces itself as a member of all routers: the silent ends are none.
        sysctl("ipv6/conf/default/forwarding", "0")?;
        ip_batch(&commands())?;
        for (number, Interface { name, mtu, .. }) in INTERFACES.iter().enumerate() {
            // Below, Linux has no IPv6 on an interface.
            if *mtu >= 1280 {
                sysctl(&format!("ipv6/conf/{name}/forwarding"), "1")?;
            }
            receive_xdp_frames(&format!("peer{number}"))?;
        }
        Ok(())
    }

    /// Brings the calling thread into the machine's namespace.
    ///
    /// # Errors
    /// Without root.
    pub fn enter(&self) -> Result<()> {
        setns(self.namespace.as_fd(), CloneFlags::CLONE_NEWNET).context("entering the network namespace of the test")
    }
}

/// A veth takes the frames that XDP sends if its other end has an XDP program or, as here, GRO.
fn receive_xdp_frames(name: &str) -> Result<()> {
    let output = Command::new("ethtool").args(["-K", name, "gro", "on"]).output();
    let output = output.context("starting `ethtool` (package ethtool)")?;
    if !output.status.success() {
        bail!("`ethtool -K {name} gro on` failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// The machine as the program is told of it: with the VLANs as such, and with veths as ordinary devices, which XDP_TX works
/// out of.
#[must_use]
pub fn as_told(mut machine: Machine) -> Machine {
    let indices: HashMap<String, u32> =
        machine.interfaces.iter().map(|interface| (interface.name.clone(), interface.ifindex)).collect();
    for there in &mut machine.interfaces {
        // Before Linux 6.3 the kernel does not say: nothing is sent, and the rows are of devices that take all frames.
        there.xdp_features = there.xdp_features.or(Some(u64::MAX));
        there.kind = (there.name == BOND).then(|| "bond".to_owned());
        there.controller = (there.name == PORT).then(|| indices[BOND]);
        let known = INTERFACES.iter().find(|interface| interface.name == there.name);
        if let Some(Interface { parent: Some(parent), tags: [.., (protocol, id)], .. }) = known {
            there.vlan = Some(Vlan { parent: indices[*parent], id: *id, protocol: *protocol });
            there.kind = Some("vlan".to_owned());
        }
    }
    machine
}

fn sysctl(key: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/net/{key}");
    std::fs::write(&path, value).with_context(|| format!("writing {value} to {path}"))
}

fn mac(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

fn commands() -> String {
    let mut lines = vec!["link set lo up".to_owned()];
    let queues = "numtxqueues 1 numrxqueues 1";
    for (number, Interface { name, mtu, mac: own, .. }) in INTERFACES.iter().enumerate() {
        let address = mac(*own);
        lines.push(format!(
            "link add {name} mtu {mtu} address {address} {queues} type veth peer name peer{number} mtu {mtu} {queues}"
        ));
        lines.push(format!("link set peer{number} arp off multicast off up"));
        lines.push(format!("link set {name} up"));
    }
    for Interface { name, address, gateway, gateway_mac, destination, .. } in INTERFACES {
        let flags = if address.contains(':') { " nodad" } else { "" };
        lines.push(format!("addr add {address} dev {name}{flags}"));
        lines.push(format!("neigh add {gateway} lladdr {} dev {name} nud permanent", mac(*gateway_mac)));
        lines.push(format!("route add {destination} via {gateway}"));
    }
    lines.extend(OTHER_ROUTES.iter().map(|&line| line.to_owned()));
    lines.join("\n") + "\n"
}

pub(super) fn ip_batch(commands: &str) -> Result<()> {
    let mut ip = Command::new("ip");
    ip.args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = ip.spawn().context("starting `ip` (package iproute2)")?;
    child.stdin.take().context("the input of `ip`")?.write_all(commands.as_bytes()).context("writing to `ip`")?;
    let output = child.wait_with_output().context("waiting for `ip`")?;
    if !output.status.success() {
        bail!("`ip -batch` failed on the test's network:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
