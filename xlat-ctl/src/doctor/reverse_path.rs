//! Does the reverse path filter drop packets that come from XDP?

use super::{Finding, Seen};

pub(super) const NAME: &str = "reverse-path";

/// A translated packet that goes up to the kernel is an IPv4 packet on the IPv6 side's interface, from an address that is
/// routed elsewhere. Interfaces with an IPv4 address may have the filter: they are the IPv4 side.
pub(super) fn check(seen: &Seen) -> Vec<Finding> {
    let all = seen.sysctl("ipv4/conf/all/rp_filter").unwrap_or(0);
    let mut findings = Vec::new();
    for interface in seen.configured().filter(|interface| interface.ipv4.is_empty()) {
        let own = seen.sysctl(&format!("ipv4/conf/{}/rp_filter", interface.name)).unwrap_or(0);
        if own.max(all) == 0 {
            continue;
        }
        let name = &interface.name;
        findings.push(Finding::serious(
            NAME,
            format!("the reverse path filter of {name} (all: {all}, its own: {own}) drops IPv4 packets from services"),
            format!("sysctl -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.{name}.rp_filter=0"),
        ));
    }
    findings
}
