//! Does the reverse path filter drop packets that come from XDP?

use super::{Finding, Seen};
use crate::{dataplane, netlink::Interface};

pub(super) const NAME: &str = "reverse-path";

/// A translated packet that goes up to the kernel is an IPv4 packet on the IPv6 side's interface, from a service's address, which is
/// routed elsewhere or, as it should be, nowhere: both kinds of filter drop it (Linux, `__fib_validate_source`). The IPv4 side,
/// which is known by having IPv4 addresses only and by no translated packet's leaving by it as IPv6, may have the filter.
pub(super) fn check(seen: &Seen) -> Vec<Finding> {
    let all = seen.sysctl("ipv4/conf/all/rp_filter").unwrap_or(0);
    let mut findings = Vec::new();
    let ways_out = seen.ipv6_ways_out();
    let is_ipv6_side =
        |interface: &&Interface| ways_out.contains_key(&interface.ifindex) || may_be_ipv6_side(interface);
    // What comes back from the fragmenter has any address.
    let fragmenter = seen.machine.interfaces.iter().filter(|interface| interface.name == dataplane::FRAGMENTER);
    for interface in seen.ways_in().filter(is_ipv6_side).chain(fragmenter) {
        let own = seen.sysctl(&format!("ipv4/conf/{}/rp_filter", interface.name)).unwrap_or(0);
        if own.max(all) == 0 {
            continue;
        }
        let name = &interface.name;
        findings.push(Finding::serious(
            NAME,
            format!("the reverse path filter of {name} (all: {all}, its own: {own}) drops IPv4 packets from services"),
            format!("sysctl -w net.ipv4.conf.all.rp_filter=0 {}=0", Seen::sysctl_name("ipv4", name, "rp_filter")),
        ));
    }
    findings
}

fn may_be_ipv6_side(interface: &Interface) -> bool {
    interface.ipv4.is_empty() || interface.ipv6.iter().any(|net| !net.addr().is_unicast_link_local())
}
