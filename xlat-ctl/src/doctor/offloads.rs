//! Offloads that change what XDP sees.

use super::{Finding, Seen};
use crate::{dataplane::XdpMode, netlink::Interface};

pub(super) const NAME: &str = "offloads";

/// Drivers of virtual machines' NICs, whose received packets may be half summed.
const VIRTUAL: [&str; 2] = ["virtio_net", "vmxnet3"];

pub(super) fn check(seen: &Seen) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (interface, device) in seen.with_device() {
        let name = &interface.name;
        let is_native = interface.xdp_program.is_some_and(|program| !program.generic);
        if device.lro {
            findings.push(Finding::serious(
                NAME,
                format!("{name} joins received packets (LRO) before XDP sees them"),
                format!("ethtool -K {name} lro off"),
            ));
        }
        // A bond takes tags out of nothing; its ports do.
        let is_bond = interface.kind.as_deref() == Some("bond");
        let carries = |ifindex: u32| {
            seen.machine.interfaces.iter().any(|other| other.vlan.is_some_and(|vlan| vlan.parent == ifindex))
        };
        let has_vlans =
            carries(interface.ifindex) || seen.machine.bond_of(interface).is_some_and(|bond| carries(bond.ifindex));
        if device.rxvlan && has_vlans && !is_bond {
            findings.push(Finding::serious(
                NAME,
                format!("{name} takes VLAN tags out of frames, so that VLANs cannot be told apart by the program"),
                format!("ethtool -K {name} rxvlan off"),
            ));
        }
        // With a native program on it the driver has switched this off at the host.
        if VIRTUAL.contains(&device.driver.as_str()) && device.rx_checksum && !is_native {
            findings.push(Finding::hint(
                NAME,
                format!(
                    "{name} may be handed packets with half-made checksums, which come out of the translation wrong"
                ),
                format!("ethtool -K {name} rx off"),
            ));
        }
    }
    findings.extend(joined_below(seen));
    findings
}

/// GRO below a device that has the program in generic mode: the kernel leaves it out only on the device itself.
fn joined_below(seen: &Seen) -> impl Iterator<Item = Finding> {
    let is_generic = |interface: &&Interface| {
        interface.xdp_program.is_some_and(|program| program.generic)
            || seen.config.dataplane.xdp_mode == XdpMode::Generic
    };
    let below = |interface: &Interface| {
        seen.machine
            .below(interface)
            .into_iter()
            .map(|lower| (lower.clone(), interface.name.clone()))
            .collect::<Vec<_>>()
    };
    let pairs = seen.configured().filter(is_generic).flat_map(below);
    pairs.filter(|(lower, _)| seen.devices.get(&lower.ifindex).is_some_and(|device| device.gro)).map(|(lower, name)| {
        let lower = lower.name;
        Finding::serious(
            NAME,
            format!("{lower} joins TCP segments (GRO) that then meet the program on {name} in generic mode, which refuses or spoils them"),
            format!("ethtool -K {lower} gro off"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::{Device, Vlan, XdpProgram};

    #[test]
    fn finds_what_changes_frames_before_the_program_sees_them() {
        let device = |driver: &str| Device { driver: driver.to_owned(), ..Device::default() };
        let nic = Interface::example("eth0");
        let vlan = Vlan { parent: nic.ifindex, id: 7, protocol: 0x8100 };
        let tagged = Interface { ifindex: 9, vlan: Some(vlan), ..Interface::example("eth0.7") };
        for (device, expected) in [
            (Device { lro: true, ..device("ixgbe") }, Some("ethtool -K eth0 lro off")),
            (Device { rxvlan: true, ..device("igb") }, Some("ethtool -K eth0 rxvlan off")),
            (Device { rx_checksum: true, ..device("virtio_net") }, Some("ethtool -K eth0 rx off")),
            (Device { rx_checksum: true, ..device("igb") }, None),
        ] {
            let mut seen = Seen::example(vec![(nic.clone(), device)]);
            seen.machine.interfaces.push(tagged.clone());
            let remedies: Vec<String> = check(&seen).into_iter().map(|finding| finding.remedy).collect();
            assert_eq!(remedies, expected.map_or(Vec::new(), |remedy| vec![remedy.to_owned()]));
        }
    }

    #[test]
    fn finds_segments_joined_below_a_generic_program() {
        let program = |generic| Some(XdpProgram { id: 1, generic });
        let name = Seen::example(Vec::new()).config.dataplane.interfaces[0].to_string();
        let bridge = |generic| Interface {
            ifindex: 7,
            kind: Some("bridge".to_owned()),
            xdp_program: program(generic),
            ..Interface::example(&name)
        };
        let port = Interface { ifindex: 8, controller: Some(7), ..Interface::example("eth5") };
        for (generic, gro, expected) in [(true, true, 1), (true, false, 0), (false, true, 0)] {
            let device = Device { gro, ..Device::default() };
            let seen = Seen::example(vec![(bridge(generic), Device::default()), (port.clone(), device)]);
            let findings = check(&seen);
            assert_eq!(findings.len(), expected, "{findings:?}");
            assert!(findings.iter().all(|finding| finding.remedy == "ethtool -K eth5 gro off"));
        }
    }

    /// The tags are taken out by the ports, whose setting the bond's own does not change.
    #[test]
    fn looks_for_vlan_tags_at_a_bonds_ports() {
        let device = |rxvlan: bool| Device { rxvlan, ..Device::default() };
        let bond = Interface { ifindex: 7, kind: Some("bond".to_owned()), ..Interface::example("bond0") };
        let port = Interface { ifindex: 8, controller: Some(7), ..Interface::example("eth0") };
        let vlan = Some(Vlan { parent: 7, id: 7, protocol: 0x8100 });
        let tagged = Interface { ifindex: 9, vlan, ..Interface::example("bond0.7") };
        for (of_port, expected) in [(true, vec!["ethtool -K eth0 rxvlan off".to_owned()]), (false, Vec::new())] {
            let mut seen = Seen::example(vec![(bond.clone(), device(true)), (port.clone(), device(of_port))]);
            seen.machine.interfaces.push(tagged.clone());
            let remedies: Vec<String> = check(&seen).into_iter().map(|finding| finding.remedy).collect();
            assert_eq!(remedies, expected);
        }
    }
}
