//! Do full-size IPv4 packets fit after translation?

use super::{Finding, Seen};

pub(super) const NAME: &str = "mtu";

/// What an IPv4 packet grows by: the IPv6 header less the IPv4 header.
const GROWTH: u32 = 20;

pub(super) fn check(seen: &Seen) -> Vec<Finding> {
    let mtus = |is_ipv4: bool| {
        let of_side = move |interface: &&crate::netlink::Interface| interface.ipv4.is_empty() != is_ipv4;
        seen.arrivals().filter(of_side).map(|interface| (interface.mtu, interface.name.clone()))
    };
    let Some((ipv4, name4)) = mtus(true).max() else { return Vec::new() };
    let wanted = ipv4 + GROWTH;
    let narrow = mtus(false).filter(|(mtu, _)| *mtu < wanted);
    narrow
        .map(|(mtu, name)| {
            Finding::hint(
                NAME,
                format!("IPv4 packets of {ipv4} bytes ({name4}) do not fit {name}, whose MTU is {mtu}"),
                format!("ip link set {name} mtu {wanted}, and the same on the links behind it; then lowest_ipv6_mtu = {wanted}"),
            )
        })
        .collect()
}
