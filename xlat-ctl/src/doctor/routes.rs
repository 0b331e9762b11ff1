//! Do packets find their way, and do those that are not translated end?

use std::net::IpAddr;

use ipnet::{Ipv4Net, Ipv6Net};

use super::{Finding, Seen};
use crate::{
    config::Scope,
    eam::Pair,
    netlink::{Route, has_route_into, is_by_default_route, route_to},
};

pub(super) const NAME: &str = "routes";

/// What the routes say of the relay's place (RFC 7755 3, RFC 7756 3). A mend of one would ruin the other.
#[derive(Default)]
struct Place {
    /// A border relay: behind it are the IPv6 services, and IPv4 packets to them end here.
    border: bool,
    /// An edge relay: behind it is what speaks IPv4, and packets to the translation prefix end here.
    edge: bool,
    /// Both families of an entry have routes of their own: whichever the relay is, the other's packets do not end here.
    neither: bool,
}

pub(super) fn check(seen: &Seen) -> Vec<Finding> {
    let mut place = Place::default();
    let mut findings: Vec<Finding> = seen.some_pairs().filter_map(|pair| of_pair(seen, pair, &mut place)).collect();
    let (is_border, is_edge) = (place.border && !place.edge, place.edge && !place.border);
    for prefix in &seen.config.translation.prefixes {
        // The last address, since the first ones may be special.
        match ask(prefix.broadcast().into()) {
            Route::Out(out) if is_border => findings.push(looping(seen, &prefix.to_string(), out)),
            Route::Nowhere if is_edge => findings.push(Finding::serious(
                NAME,
                format!("there is no route to the translation prefix {prefix}"),
                format!("ip -6 route add {prefix} via …, with the router's address"),
            )),
            _ => {}
        }
    }
    if seen.pairs.is_empty() && seen.config.translation.scope == Scope::All {
        findings.extend(seen.config.translation.prefixes.iter().filter_map(unreachable_prefix));
    }
    if place.border && ask(CLIENT.into()) == Route::Nowhere {
        // Clients may be of some networks only.
        findings.push(Finding::hint(
            NAME,
            "there is no route to the IPv4 Internet: its clients get no answers".to_owned(),
            "if they are to, ip route add default via …, with the router's address".to_owned(),
        ));
    }
    findings
}

/// A relay without entries translates by the prefix alone: its IPv6 nodes have addresses in it.
fn unreachable_prefix(prefix: &Ipv6Net) -> Option<Finding> {
    let finding = || {
        Finding::serious(
            NAME,
            format!("there is no route to anything in the translation prefix {prefix}: no IPv4 packet gets to IPv6"),
            "ip -6 route add … via …, with the IPv6 nodes' addresses in that prefix, and the router's address"
                .to_owned(),
        )
    };
    // What the kernel does not tell is no finding.
    (!has_route_into(*prefix).unwrap_or(true)).then(finding)
}

fn of_pair(seen: &Seen, pair: &Pair, place: &mut Place) -> Option<Finding> {
    let (ipv4, ipv6) = (pair.ipv4(), pair.ipv6());
    let (to4, to6) = (ask(ipv4.network().into()), ask(ipv6.network().into()));
    match (to4, to6) {
        (Route::Local, _) => return own(seen, pair, ipv4.network().into()),
        (_, Route::Local) => return own(seen, pair, ipv6.network().into()),
        (Route::Out(out4), Route::Out(out6)) if has_own(ipv4.network().into()) && has_own(ipv6.network().into()) => {
            return (!std::mem::replace(&mut place.neither, true)).then(|| circling(seen, pair, out4, out6));
        }
        // Somebody has given it a route, so what speaks IPv4 is there.
        (Route::Out(_), _) if has_own(ipv4.network().into()) => place.edge = true,
        (Route::Out(out), Route::Out(_)) => {
            place.border = true;
            return Some(looping(seen, &ipv4.to_string(), out));
        }
        (_, Route::Out(_)) => place.border = true,
        (_, Route::Nowhere) => {
            return Some(Finding::serious(
                NAME,
                format!("there is no route to the service {ipv6} ({ipv4})"),
                format!("ip -6 route add {ipv6} via …, with the router's address"),
            ));
        }
    }
    None
}

/// An address of the relay's own that is in the table. None where it is local but no interface's: a subnet's anycast address.
fn own(seen: &Seen, pair: &Pair, address: IpAddr) -> Option<Finding> {
    // With its length: the kernel deletes an IPv6 address by both.
    let (name, net) = seen.machine.interfaces.iter().find_map(|interface| {
        let net = match address {
            IpAddr::V4(address) => interface.ipv4.iter().find(|net| net.addr() == address).map(Ipv4Net::to_string),
            IpAddr::V6(address) => interface.ipv6.iter().find(|net| net.addr() == address).map(Ipv6Net::to_string),
        };
        Some((&interface.name, net?))
    })?;
    Some(Finding::serious(
        NAME,
        format!(
            "{address}, of the entry {} {}, is an address of the relay's own, which is never translated",
            pair.ipv4(),
            pair.ipv6()
        ),
        format!(
            "if the relay needs the address, take the entry out of the table; if the service does, `ip addr del {net} dev {name}`"
        ),
    ))
}

/// An address of the IPv4 Internet.
const CLIENT: std::net::Ipv4Addr = std::net::Ipv4Addr::new(8, 8, 8, 8);

fn ask(address: IpAddr) -> Route {
    route_to(address).unwrap_or(Route::Nowhere)
}

/// Whether an address has a route of more than the default one.
fn has_own(address: IpAddr) -> bool {
    !is_by_default_route(address).unwrap_or(false)
}

/// Of an entry both of whose addresses have routes of their own, it is not known which are behind the relay.
fn circling(seen: &Seen, pair: &Pair, out4: u32, out6: u32) -> Finding {
    let name = |out: u32| seen.machine.interface(out).map_or("?", |interface| interface.name.as_str());
    let (ipv4, ipv6) = (pair.ipv4(), pair.ipv6());
    Finding::hint(
        NAME,
        format!(
            "{ipv4} is routed out of {}, and {ipv6} out of {}: packets that are not translated, to whichever is not behind this \
             relay, circle until their hop limit ends (other entries may be alike)",
            name(out4),
            name(out6)
        ),
        format!(
            "on a border relay, ip route replace unreachable {ipv4}; on an edge relay, ip -6 route replace unreachable {ipv6}"
        ),
    )
}

fn looping(seen: &Seen, prefix: &str, out: u32) -> Finding {
    let name = seen.machine.interface(out).map_or("?", |interface| interface.name.as_str());
    let six = if prefix.contains(':') { " -6" } else { "" };
    Finding::serious(
        NAME,
        format!(
            "packets to {prefix} that are not translated are sent out of {name}, and circle until their hop limit ends"
        ),
        format!("ip{six} route replace unreachable {prefix}"),
    )
}
