//! Which interfaces get the program: those that the configuration names, but none twice. What the program on one device has passed to
//! the kernel, translated, must not meet it again on another device on top of it.

use crate::{
    config::Pattern,
    netlink::{Interface, Machine},
};

/// Devices on top of one another, at most.
const MOST_LAYERS: usize = 8;

/// Whether the configuration names an interface.
pub(crate) fn is_named(patterns: &[Pattern], interface: &Interface) -> bool {
    patterns.iter().any(|pattern| pattern.matches(&interface.name))
}

/// Whether an interface gets the program.
pub(crate) fn is_wanted(patterns: &[Pattern], machine: &Machine, interface: &Interface) -> bool {
    is_named(patterns, interface) && covered_by(patterns, machine, interface).is_none()
}

/// The named device whose program sees the packets of this one, too: below a VLAN its carrier, below a bridge one of its ports;
/// for a bond's port the bond, whose program the kernel runs on it.
pub(crate) fn covered_by<'machine>(
    patterns: &[Pattern],
    machine: &'machine Machine,
    interface: &Interface,
) -> Option<&'machine Interface> {
    let bond = machine.bond_of(interface).filter(|bond| is_named(patterns, bond));
    bond.or_else(|| named_below(patterns, machine, interface, MOST_LAYERS))
}

fn named_below<'machine>(
    patterns: &[Pattern],
    machine: &'machine Machine,
    interface: &Interface,
    layers: usize,
) -> Option<&'machine Interface> {
    let layers = layers.checked_sub(1)?;
    let carrier = interface.vlan.and_then(|vlan| machine.interface(vlan.parent));
    let has_ports = matches!(interface.kind.as_deref(), Some("bridge" | "bond"));
    let ports = machine.interfaces.iter().filter(|port| has_ports && port.controller == Some(interface.ifindex));
    let is_bond = interface.kind.as_deref() == Some("bond") && is_named(patterns, interface);
    carrier.into_iter().chain(ports.filter(|_| !is_bond)).find_map(|below| {
        is_named(patterns, below).then_some(below).or_else(|| named_below(patterns, machine, below, layers))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::Vlan;

    fn device(ifindex: u32, name: &str, kind: Option<&str>, parent: Option<u32>, controller: Option<u32>) -> Interface {
        let vlan = parent.map(|parent| Vlan { parent, id: 7, protocol: 0x8100 });
        Interface { ifindex, kind: kind.map(str::to_owned), vlan, controller, ..Interface::example(name) }
    }

    fn wanted(names: &[&str], interfaces: &[Interface]) -> Vec<String> {
        let patterns: Vec<Pattern> = names.iter().map(|name| Pattern::new(name).expect("a pattern")).collect();
        let machine = Machine { interfaces: interfaces.to_vec() };
        let wanted = machine.interfaces.iter().filter(|interface| is_wanted(&patterns, &machine, interface));
        wanted.map(|interface| interface.name.clone()).collect()
    }

    #[test]
    fn what_a_device_carries_gets_no_program_of_its_own() {
        let vlans = [
            device(2, "eth0", None, None, None),
            device(3, "eth0.7", Some("vlan"), Some(2), None),
            device(4, "eth0.7.8", Some("vlan"), Some(3), None),
            device(5, "br0", Some("bridge"), None, None),
            device(6, "eth1", None, None, Some(5)),
        ];
        assert_eq!(wanted(&["eth*"], &vlans), ["eth0", "eth1"]);
        assert_eq!(wanted(&["eth0.7*"], &vlans), ["eth0.7"]);
        assert_eq!(wanted(&["*"], &vlans), ["eth0", "eth1"]);
        assert_eq!(wanted(&["br0"], &vlans), ["br0"]);
        let bonds = [
            device(2, "bond0", Some("bond"), None, None),
            device(3, "eth0", None, None, Some(2)),
            device(4, "bond0.7", Some("vlan"), Some(2), None),
        ];
        assert_eq!(wanted(&["*"], &bonds), ["bond0"]);
        assert_eq!(wanted(&["eth0", "bond0.7"], &bonds), ["eth0"]);
        assert_eq!(wanted(&["bond0.7"], &bonds), ["bond0.7"]);
    }
}
