//! Do packets find their way, and do those that are not translated end?

use std::net::IpAddr;

use super::{Finding, Seen};
use crate::netlink::{Route, route_to};

pub(super) const NAME: &str = "routes";

/// Entries that are looked at, from all over the table: a million is not asked for one by one.
const MOST: usize = 256;

pub(super) fn check(seen: &Seen) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut is_border = false;
    let mut is_edge = false;
    let step = seen.pairs.len().div_ceil(MOST).max(1);
    for pair in seen.pairs.iter().step_by(step) {
        let (ipv4, ipv6) = (pair.ipv4(), pair.ipv6());
        let (to4, to6) = (ask(ipv4.network().into()), ask(ipv6.network().into()));
        match (to4, to6) {
            (Route::Local, _) => findings.push(Finding::serious(
                NAME,
                format!("{ipv4} is an address of the relay's own, which is never translated"),
                format!("ip addr del {ipv4} dev …, with its interface"),
            )),
            (Route::Out(_), Route::Out(_)) if within_link(seen, ipv4.network().into()) => is_edge = true,
            (Route::Out(out), Route::Out(_)) => {
                is_border = true;
                findings.push(looping(seen, &ipv4.to_string(), out));
            }
            (_, Route::Out(_)) => is_border = true,
            (Route::Out(_), _) => is_edge = true,
            (Route::Nowhere, _) => findings.push(Finding::serious(
                NAME,
                format!("there is no route to the service {ipv6} ({ipv4})"),
                format!("ip -6 route add {ipv6} via …, with the router's address"),
            )),
        }
    }
    for prefix in &seen.config.translation.prefixes {
        // The last address, since the first ones may be special.
        match ask(prefix.broadcast().into()) {
            Route::Out(out) if is_border && !is_edge => findings.push(looping(seen, &prefix.to_string(), out)),
            Route::Nowhere if is_edge && !is_border => findings.push(Finding::serious(
                NAME,
                format!("there is no route to the translation prefix {prefix}"),
                format!("ip -6 route add {prefix} via …, with the router's address"),
            )),
            _ => {}
        }
    }
    if is_border && ask(CLIENT.into()) == Route::Nowhere {
        findings.push(Finding::serious(
            NAME,
            "there is no route to the IPv4 Internet".to_owned(),
            "ip route add default via …, with the router's address".to_owned(),
        ));
    }
    findings
}

/// An address of the IPv4 Internet.
const CLIENT: std::net::Ipv4Addr = std::net::Ipv4Addr::new(8, 8, 8, 8);

fn ask(address: IpAddr) -> Route {
    route_to(address).unwrap_or(Route::Nowhere)
}

/// Whether an address is one of a network that the relay itself is on.
fn within_link(seen: &Seen, address: IpAddr) -> bool {
    let IpAddr::V4(address) = address else { return false };
    seen.configured().any(|interface| interface.ipv4.iter().any(|net| net.prefix_len() < 31 && net.contains(&address)))
}

fn looping(seen: &Seen, prefix: &str, out: u32) -> Finding {
    let name = seen.machine.interface(out).map_or("?", |interface| interface.name.as_str());
    let six = if prefix.contains(':') { " -6" } else { "" };
    Finding::serious(
        NAME,
        format!(
            "packets to {prefix} that are not translated are sent out of {name}, and circle until their hop limit ends"
        ),
        format!("ip{six} route add unreachable {prefix}"),
    )
}
