//! Does the kernel forward what the program leaves to it?

use super::{Finding, Seen};

pub(super) const NAME: &str = "forwarding";

pub(super) fn check(seen: &Seen) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (family, name) in [("ipv4", "IPv4"), ("ipv6", "IPv6")] {
        let mut off = Vec::new();
        if family == "ipv6" && seen.sysctl("ipv6/conf/all/forwarding") == Some(0) {
            off.push("all".to_owned());
        }
        for interface in seen.ways_in() {
            let key = format!("{family}/conf/{}/forwarding", interface.name);
            if seen.sysctl(&key) == Some(0) {
                off.push(interface.name.clone());
            }
        }
        if off.is_empty() {
            continue;
        }
        // Where it is set already, setting it for all changes no interface.
        let is_set_for_all = seen.sysctl(&format!("{family}/conf/all/forwarding")) == Some(1);
        let keys: Vec<String> = if is_set_for_all {
            off.iter().map(|interface| Seen::sysctl_name(family, interface, "forwarding")).collect()
        } else {
            vec![format!("net.{family}.conf.all.forwarding")]
        };
        let keys: Vec<String> = keys.into_iter().map(|key| format!("{key}=1")).collect();
        findings.push(Finding::serious(
            NAME,
            format!("{name} is not forwarded ({}): what the program leaves to the kernel is discarded", off.join(", ")),
            format!("sysctl -w {}", keys.join(" ")),
        ));
    }
    findings
}
