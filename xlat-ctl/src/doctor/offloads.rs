//! Offloads that change what XDP sees.

use super::{Finding, Seen};

pub(super) const NAME: &str = "offloads";

/// Drivers of virtual machines' NICs, whose received packets may be half summed.
const VIRTUAL: [&str; 2] = ["virtio_net", "vmxnet3"];

pub(super) fn check(seen: &Seen) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (interface, device) in seen.with_device() {
        let name = &interface.name;
        let has_program = interface.xdp_program.is_some();
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
        if VIRTUAL.contains(&device.driver.as_str()) && device.rx_checksum && !has_program {
            findings.push(Finding::hint(
                NAME,
                format!(
                    "{name} may be handed packets with half-made checksums, which come out of the translation wrong"
                ),
                format!("ethtool -K {name} rx off"),
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::{Device, Interface, Vlan};

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
