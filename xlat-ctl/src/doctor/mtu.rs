//! Do full-size IPv4 packets fit after translation?

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::Ipv6Net;

use super::{Finding, Seen};
use crate::netlink::{Route, route_to};

pub(super) const NAME: &str = "mtu";

/// What IPv4 packets from the Internet measure at most.
const FULL_SIZE: u32 = 1500;
/// What an IPv4 packet grows by: the IPv6 header less the IPv4 header.
const GROWTH: u32 = 20;

pub(super) fn check(seen: &Seen) -> Vec<Finding> {
    let prefixes = seen.config.translation.prefixes.iter().map(Ipv6Net::broadcast);
    let ipv6 = seen.some_pairs().map(|pair| pair.ipv6().network()).chain(prefixes);
    let ways_out: BTreeSet<u32> = ipv6.filter_map(|address| out(address.into())).collect();
    of_sides(seen, &ways_out)
}

/// `ways_out`: the interfaces that translated packets leave by, as IPv6.
fn of_sides(seen: &Seen, ways_out: &BTreeSet<u32>) -> Vec<Finding> {
    let ipv4_side = seen.arrivals().filter(|interface| !interface.ipv4.is_empty());
    let Some(ipv4) = ipv4_side.map(|interface| interface.mtu).max() else { return Vec::new() };
    let wanted = ipv4.min(FULL_SIZE) + GROWTH;
    let narrow = ways_out.iter().filter_map(|ifindex| seen.machine.interface(*ifindex));
    narrow
        .filter(|interface| interface.mtu < wanted)
        .map(|interface| {
            let (name, mtu) = (&interface.name, interface.mtu);
            Finding::hint(
                NAME,
                format!("IPv4 packets of {} bytes do not fit {name}, whose MTU is {mtu}, once they are IPv6", wanted - GROWTH),
                format!("ip link set {name} mtu {wanted}, and the same on the links behind it; then lowest_ipv6_mtu = {wanted}"),
            )
        })
        .collect()
}

fn out(address: IpAddr) -> Option<u32> {
    match route_to(address) {
        Ok(Route::Out(ifindex)) => Some(ifindex),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::{Device, Interface};

    #[test]
    fn finds_a_side_too_narrow_for_full_size_packets() {
        let of = |mtu4: u32, mtu6: u32, way_out: u32| {
            let ipv4 = vec!["198.51.100.1/24".parse().expect("a network")];
            let four = Interface { mtu: mtu4, ipv4, ..Interface::example("eth0") };
            let six = Interface { ifindex: 3, mtu: mtu6, ..Interface::example("eth1") };
            let seen = Seen::example(vec![(four, Device::default()), (six, Device::default())]);
            let findings = of_sides(&seen, &BTreeSet::from([way_out]));
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
}
