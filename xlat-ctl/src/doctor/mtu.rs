//! Do full-size IPv4 packets fit after translation?

use std::collections::BTreeMap;

use super::{Finding, Seen};
use crate::netlink::Interface;

pub(super) const NAME: &str = "mtu";

/// What IPv4 packets from the Internet measure at most.
const FULL_SIZE: u32 = 1500;
/// What an IPv4 packet grows by: the IPv6 header less the IPv4 header.
const GROWTH: u32 = 20;

pub(super) fn check(seen: &Seen) -> Vec<Finding> {
    of_sides(seen, &seen.ipv6_ways_out())
}

/// `ways_out`: the interfaces that translated packets leave by, as IPv6, with the MTU of each way.
fn of_sides(seen: &Seen, ways_out: &BTreeMap<u32, u32>) -> Vec<Finding> {
    let ipv4_side = seen.arrivals().filter(|interface| !interface.ipv4.is_empty());
    let Some(ipv4) = ipv4_side.map(|interface| interface.mtu).max() else { return Vec::new() };
    let wanted = ipv4.min(FULL_SIZE) + GROWTH;
    let ways = ways_out.iter().filter_map(|(ifindex, mtu)| Some((seen.machine.interface(*ifindex)?, *mtu)));
    ways.filter(|(_, mtu)| *mtu < wanted)
        .map(|(interface, mtu)| {
            let name = &interface.name;
            let whose = if mtu < interface.mtu { "with a route whose MTU" } else { "whose MTU" };
            Finding::hint(
                NAME,
                format!(
                    "IPv4 packets of {} bytes do not fit {name}, {whose} is {mtu}, once they are IPv6",
                    wanted - GROWTH
                ),
                remedy(seen, interface, mtu, wanted),
            )
        })
        .collect()
}

/// What makes a way wide enough.
fn remedy(seen: &Seen, interface: &Interface, mtu: u32, wanted: u32) -> String {
    // A VLAN sub-interface takes no larger MTU than what carries it has.
    let mut chain = vec![interface];
    while let Some(lower) = chain.last().and_then(|upper| seen.machine.interface(upper.vlan?.parent)) {
        chain.push(lower);
    }
    let narrow: Vec<&Interface> = chain.into_iter().rev().filter(|interface| interface.mtu < wanted).collect();
    let is_vmxnet3 = |interface: &&Interface| {
        let is_native = interface.xdp_program.is_some_and(|program| !program.generic);
        is_native && seen.devices.get(&interface.ifindex).is_some_and(|device| device.driver == "vmxnet3")
    };
    if let Some(Interface { name, .. }) = narrow.iter().copied().find(is_vmxnet3) {
        return format!(
            "{name} is a vmxnet3, which receives nothing any more when its MTU is changed under a native program: leave it, and \
             larger packets are answered or fragmented, as `lowest_ipv6_mtu` has it; or another model of NIC"
        );
    }
    let mut commands: Vec<String> =
        narrow.iter().map(|interface| format!("ip link set {} mtu {wanted}", interface.name)).collect();
    if mtu < interface.mtu {
        commands.push(format!("a route by {} without `mtu {mtu}` (`ip -6 route show dev {0}`)", interface.name));
    }
    format!("{}, and the same on the links behind it; then lowest_ipv6_mtu = {wanted}", commands.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::{Device, Vlan, XdpProgram};

    #[test]
    fn finds_a_side_too_narrow_for_full_size_packets() {
        let of = |mtu4: u32, mtu6: u32, way_out: u32| {
            let ipv4 = vec!["198.51.100.1/24".parse().expect("a network")];
            let four = Interface { mtu: mtu4, ipv4, ..Interface::example("eth0") };
            let six = Interface { ifindex: 3, mtu: mtu6, ..Interface::example("eth1") };
            let seen = Seen::example(vec![(four, Device::default()), (six, Device::default())]);
            let mtu = seen.machine.interface(way_out).expect("an interface").mtu;
            let findings = of_sides(&seen, &BTreeMap::from([(way_out, mtu)]));
            findings.into_iter().map(|finding| finding.remedy).collect::<Vec<_>>().concat()
        };
        assert!(of(1500, 1500, 3).starts_with("ip link set eth1 mtu 1520"));
        assert!(of(1400, 1400, 3).starts_with("ip link set eth1 mtu 1420"));
        assert_eq!(of(9000, 9000, 3), "", "no packet of the Internet is larger than 1500");
        assert_eq!(of(1500, 1520, 3), "");
        // One interface for both sides.
        assert!(of(1500, 1500, 2).starts_with("ip link set eth0 mtu 1520"));
        assert_eq!(of(1520, 1500, 2), "");
    }

    #[test]
    fn widens_what_carries_a_vlan_first_and_leaves_vmxnet3_alone() {
        let ipv4 = vec!["198.51.100.1/24".parse().expect("a network")];
        let four = Interface { ipv4, ..Interface::example("eth0") };
        let carrier = Interface { ifindex: 3, ..Interface::example("eth1") };
        let vlan = Some(Vlan { parent: 3, id: 7, protocol: 0x8100 });
        let tagged = Interface { ifindex: 4, vlan, ..Interface::example("eth1.7") };
        let of = |carrier: &Interface, driver: &str, mtu: u32| {
            let device = Device { driver: driver.to_owned(), ..Device::default() };
            let mut seen = Seen::example(vec![(four.clone(), Device::default()), (carrier.clone(), device)]);
            seen.machine.interfaces.push(tagged.clone());
            of_sides(&seen, &BTreeMap::from([(4, mtu)])).remove(0)
        };
        assert!(
            of(&carrier, "igb", 1500).remedy.starts_with("ip link set eth1 mtu 1520; ip link set eth1.7 mtu 1520, ")
        );
        let wide = Interface { mtu: 9000, ..carrier.clone() };
        assert!(of(&wide, "igb", 1500).remedy.starts_with("ip link set eth1.7 mtu 1520, "));
        let native = Interface { xdp_program: Some(XdpProgram { id: 1, generic: false }), ..carrier };
        assert!(of(&native, "vmxnet3", 1500).remedy.starts_with("eth1 is a vmxnet3"));
        let of_route = of(&wide, "igb", 1400);
        assert!(of_route.problem.contains("eth1.7, with a route whose MTU is 1400,"), "{}", of_route.problem);
        assert!(of_route.remedy.contains("a route by eth1.7 without `mtu 1400`"), "{}", of_route.remedy);
    }
}
