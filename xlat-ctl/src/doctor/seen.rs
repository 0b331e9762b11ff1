//! What the checks look at: the configuration, and the machine as it is at this moment.

use std::{collections::BTreeMap, fs};

use ipnet::Ipv6Net;

use crate::{
    choice,
    config::Config,
    eam::Pair,
    netlink::{self, Device, Interface, Machine, NetlinkError, Route, mtu_of_route, route_to},
};

/// Entries whose ways are looked at: a million is not asked for one by one.
const MOST_PAIRS: usize = 256;

/// What the daemon says.
pub struct Daemon {
    /// Its process number.
    pub pid: u32,
    /// Its table.
    pub pairs: Vec<Pair>,
    /// Packets that it has dropped as `internal` within a second.
    pub internal: u64,
    /// The configured interfaces that have not got the program, each with the reason.
    pub failed: Vec<(String, String)>,
}

/// The machine, from inside the calling thread's network namespace, and what is to run on it.
pub struct Seen {
    /// What the relay is to do.
    pub config: Config,
    /// The entries whose ways are looked at: those of the daemon's table, where it runs, else the configuration's.
    pub pairs: Vec<Pair>,
    /// Process number of the daemon, where it runs.
    pub pid: Option<u32>,
    /// Packets that the daemon has dropped as `internal` within a second.
    pub internal: u64,
    /// What the daemon could not attach the program to, each with the reason.
    pub failed: Vec<(String, String)>,
    /// Its interfaces.
    pub machine: Machine,
    /// What each of the configured ones is, and of those below them, by `ifindex`.
    pub devices: BTreeMap<u32, Device>,
    /// The kernel's version: major, minor.
    pub kernel: (u32, u32),
}

impl Seen {
    /// The example's relay with these interfaces and what they are, for tests.
    #[cfg(test)]
    pub(super) fn example(interfaces: Vec<(Interface, Device)>) -> Self {
        let config = crate::config::parse(crate::config::EXAMPLE).expect("the example is valid").config;
        let devices = interfaces.iter().map(|(interface, device)| (interface.ifindex, device.clone())).collect();
        let interfaces = interfaces.into_iter().map(|(interface, _)| interface).collect();
        let machine = Machine { interfaces };
        let (pairs, failed) = (Vec::new(), Vec::new());
        Self { config, pairs, pid: None, internal: 0, failed, machine, devices, kernel: (6, 12) }
    }

    /// Looks at the machine. `daemon`: what the daemon says, where it runs.
    ///
    /// # Errors
    /// The kernel cannot be asked.
    pub fn now(config: Config, daemon: Option<Daemon>) -> Result<Self, NetlinkError> {
        let machine = netlink::snapshot()?;
        let (pid, internal) = daemon.as_ref().map_or((None, 0), |daemon| (Some(daemon.pid), daemon.internal));
        let failed = daemon.as_ref().map(|daemon| daemon.failed.clone()).unwrap_or_default();
        let of_file = || config.eams.iter().map(|entry| entry.pair).collect();
        let pairs = daemon.map_or_else(of_file, |daemon| daemon.pairs);
        let devices = BTreeMap::new();
        let mut this = Self { config, pairs, pid, internal, failed, machine, devices, kernel: kernel() };
        let below = this.configured().flat_map(|interface| this.machine.below(interface));
        let nics = this.machine.interfaces.iter().filter(|interface| this.is_nic(interface)).chain(below);
        this.devices = nics.map(|interface| (interface.ifindex, Device::of(&interface.name))).collect();
        Ok(this)
    }

    /// The interfaces that get the program.
    pub(super) fn configured(&self) -> impl Iterator<Item = &Interface> {
        self.machine.interfaces.iter().filter(|interface| self.is_configured(interface))
    }

    /// The interfaces that packets can arrive by: the configured ones, bonds of which a port is configured, and the VLAN sub-interfaces
    /// whose frames these carry.
    pub(super) fn arrivals(&self) -> impl Iterator<Item = &Interface> {
        self.machine.interfaces.iter().filter(|interface| self.is_arrival(interface))
    }

    /// Of the arrivals those whose packets the kernel takes for its own: not the ports of a bond or a bridge, nor what only carries
    /// VLANs and has no address.
    pub(super) fn ways_in(&self) -> impl Iterator<Item = &Interface> {
        let carries = |interface: &Interface| {
            let is_below = |other: &Interface| other.vlan.is_some_and(|vlan| vlan.parent == interface.ifindex);
            self.machine.interfaces.iter().any(is_below)
        };
        let has_address = |interface: &Interface| {
            !interface.ipv4.is_empty() || interface.ipv6.iter().any(|net| !net.addr().is_unicast_link_local())
        };
        // A VRF is a controller too, but takes no packets from its interfaces.
        let is_port = |interface: &Interface| {
            let controller = interface.controller.and_then(|controller| self.machine.interface(controller));
            controller.is_some_and(|controller| controller.kind.as_deref() != Some("vrf"))
        };
        self.arrivals().filter(move |interface| !is_port(interface) && (has_address(interface) || !carries(interface)))
    }

    /// The interfaces that translated packets leave by as IPv6, with the MTU of each way: that of its route, where it has one.
    pub(super) fn ipv6_ways_out(&self) -> BTreeMap<u32, u32> {
        let prefixes = self.config.translation.prefixes.iter().map(Ipv6Net::broadcast);
        let mut ways = BTreeMap::new();
        for address in self.some_pairs().map(|pair| pair.ipv6().network()).chain(prefixes) {
            let Ok(Route::Out(ifindex)) = route_to(address.into()) else { continue };
            let Some(interface) = self.machine.interface(ifindex) else { continue };
            let own = mtu_of_route(address.into()).ok().flatten();
            let mtu = own.map_or(interface.mtu, |own| own.min(interface.mtu));
            ways.entry(ifindex).and_modify(|least: &mut u32| *least = mtu.min(*least)).or_insert(mtu);
        }
        ways
    }

    fn is_arrival(&self, interface: &Interface) -> bool {
        let carrier = || self.machine.interface(interface.vlan.as_ref()?.parent);
        let is_named = |interface: &Interface| choice::is_named(&self.config.dataplane.interfaces, interface);
        is_named(interface)
            || self.machine.ports_of_bond(interface.ifindex).any(is_named)
            || carrier().is_some_and(|carrier| self.is_arrival(carrier))
    }

    fn is_configured(&self, interface: &Interface) -> bool {
        choice::is_wanted(&self.config.dataplane.interfaces, &self.machine, interface)
    }

    /// The configured interfaces and the ports of configured bonds, which are what receives; with what they are.
    pub(super) fn with_device(&self) -> impl Iterator<Item = (&Interface, &Device)> {
        let nics = self.machine.interfaces.iter().filter(|interface| self.is_nic(interface));
        nics.filter_map(|interface| Some((interface, self.devices.get(&interface.ifindex)?)))
    }

    fn is_nic(&self, interface: &Interface) -> bool {
        let bond = || self.machine.interface(interface.controller?).filter(|bond| bond.kind.as_deref() == Some("bond"));
        self.is_configured(interface) || bond().is_some_and(|bond| self.is_configured(bond))
    }

    /// Entries from all over the table, [`MOST_PAIRS`] at most: for each of them the kernel is asked.
    pub(super) fn some_pairs(&self) -> impl Iterator<Item = &Pair> {
        self.pairs.iter().step_by(self.pairs.len().div_ceil(MOST_PAIRS).max(1))
    }

    /// How `sysctl` names a setting of an interface: the dot in the name of a VLAN's is no separator.
    pub(super) fn sysctl_name(family: &str, interface: &str, key: &str) -> String {
        format!("net.{family}.conf.{}.{key}", interface.replace('.', "/"))
    }

    /// A number below `/proc/sys/net`, of the calling thread's network namespace. `None`: there is no such value.
    pub(super) fn sysctl(&self, key: &str) -> Option<i64> {
        let text = fs::read_to_string(format!("/proc/sys/net/{key}"));
        text.ok()?.trim().parse().ok()
    }
}

fn kernel() -> (u32, u32) {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(|other: char| !other.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::Vlan;

    #[test]
    fn packets_arrive_by_the_vlans_of_a_configured_device_too() {
        let machine_of = |name: &str| {
            let interface = |ifindex, name: &str, parent: Option<u32>| {
                let vlan = parent.map(|parent| Vlan { parent, id: 7, protocol: 0x8100 });
                Interface { ifindex, vlan, ..Interface::example(name) }
            };
            vec![
                interface(2, name, None),
                interface(3, "tagged", Some(2)),
                interface(4, "twice", Some(3)),
                interface(5, "other", None),
                interface(6, "other.7", Some(5)),
            ]
        };
        let mut seen = Seen::example(Vec::new());
        let configured = seen.config.dataplane.interfaces[0].to_string();
        seen.machine.interfaces = machine_of(&configured);
        let names: Vec<&str> = seen.arrivals().map(|interface| interface.name.as_str()).collect();
        assert_eq!(names, [configured.as_str(), "tagged", "twice"]);
        let ways_in = |seen: &Seen| seen.ways_in().map(|interface| interface.name.clone()).collect::<Vec<_>>();
        assert_eq!(ways_in(&seen), ["twice"], "what only carries VLANs takes no packets itself");
        seen.machine.interfaces[0].ipv4 = vec!["192.0.2.1/24".parse().expect("a network")];
        assert_eq!(ways_in(&seen), [configured.as_str(), "twice"]);
        seen.machine.interfaces[0].controller = Some(5);
        assert_eq!(ways_in(&seen), ["twice"], "a bridge's port");
        seen.machine.interfaces[0].controller = None;
        seen.machine.interfaces.push(Interface { ifindex: 7, controller: Some(2), ..Interface::example("port") });
        let is_nic = |seen: &Seen| seen.is_nic(seen.machine.interfaces.last().expect("a port"));
        assert!(!is_nic(&seen), "a bridge's port");
        seen.machine.interfaces[0].kind = Some("bond".to_owned());
        assert!(is_nic(&seen), "a bond's port");
        assert_eq!(Seen::sysctl_name("ipv4", "eth0.7", "rp_filter"), "net.ipv4.conf.eth0/7.rp_filter");
    }
}
