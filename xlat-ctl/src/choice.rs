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

/// The named device whose program sees the packets of this one, too: below a VLAN its carrier, below a bridge its ports, if all of
/// them are named; for a bond's port the bond, whose program the kernel runs on it.
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
    let named = |below: &'machine Interface| {
        if is_named(patterns, below) { Some(below) } else { named_below(patterns, machine, below, layers) }
    };
    if let Some(carrier) = interface.vlan.and_then(|vlan| machine.interface(vlan.parent)) {
        return named(carrier);
    }
    let kind = interface.kind.as_deref();
    // A bond that is named has the program itself.
    if !matches!(kind, Some("bridge" | "bond" | "team")) || kind == Some("bond") && is_named(patterns, interface) {
        return None;
    }
    let ports = machine.interfaces.iter().filter(|port| port.controller == Some(interface.ifindex));
    let covered: Option<Vec<&Interface>> = ports.map(named).collect();
    covered?.first().copied()
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
        let with_tap = [&vlans[..], &[device(7, "tap0", Some("tun"), None, Some(5))]].concat();
        assert_eq!(wanted(&["eth1", "br0"], &with_tap), ["br0", "eth1"], "what comes by tap0 has no other program");
        assert_eq!(wanted(&["*"], &with_tap), ["eth0", "eth1", "tap0"]);
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
