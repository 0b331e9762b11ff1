//! Asking the routing table where a packet would go.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::Ipv6Net;
use rtnetlink::{
    packet_core::{NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader},
    packet_route::{
        AddressFamily, RouteNetlinkMessage,
        route::{RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteType, RouteVia},
    },
    sys::protocols::NETLINK_ROUTE,
};

use super::{
    routes::read_message,
    socket::{NetlinkError, Socket},
};

/// What the kernel would do with a packet to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Send it out of this interface.
    Out(u32),
    /// Take it for its own.
    Local,
    /// Refuse or discard it: by such a route, or because there is none.
    Nowhere,
}

/// A route with what a packet by it meets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// What the kernel would do.
    pub route: Route,
    /// The next hop; `None`: the address is on the link.
    pub gateway: Option<IpAddr>,
    /// The route's own MTU, bytes; `None`: the interface's.
    pub mtu: Option<u32>,
}

/// Asks for the route to an address.
///
/// # Errors
/// The kernel cannot be asked.
pub fn route_to(address: IpAddr) -> Result<Route, NetlinkError> {
    Ok(ask(address, false)?.as_ref().map_or(Route::Nowhere, read))
}

/// Whether the route to an address is a default route: none of the table says more of it.
///
/// # Errors
/// The kernel cannot be asked.
pub fn is_by_default_route(address: IpAddr) -> Result<bool, NetlinkError> {
    let is_default =
        |route: &RouteMessage| route.header.kind == RouteType::Unicast && route.header.destination_prefix_length == 0;
    Ok(ask(address, true)?.as_ref().is_some_and(is_default))
}

/// Asks for the route to an address, with its next hop and MTU, as for a packet of the machine's own.
///
/// # Errors
/// The kernel cannot be asked.
pub fn way_to(address: IpAddr) -> Result<Way, NetlinkError> {
    let Some(message) = ask(address, false)? else {
        return Ok(Way { route: Route::Nowhere, gateway: None, mtu: None });
    };
    let gateway = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(address)) => Some((*address).into()),
        RouteAttribute::Gateway(RouteAddress::Inet6(address)) => Some((*address).into()),
        RouteAttribute::Via(RouteVia::Inet(address)) => Some((*address).into()),
        RouteAttribute::Via(RouteVia::Inet6(address)) => Some((*address).into()),
        _ => None,
    });
    Ok(Way { route: read(&message), gateway, mtu: own_mtu(&message) })
}

/// The MTU, bytes, that the table has with the route to an address: not what was learned of the way to it.
///
/// # Errors
/// The kernel cannot be asked.
pub fn mtu_of_route(address: IpAddr) -> Result<Option<u32>, NetlinkError> {
    Ok(ask(address, true)?.as_ref().and_then(own_mtu))
}

fn own_mtu(route: &RouteMessage) -> Option<u32> {
    let metrics = route.attributes.iter().filter_map(|attribute| match attribute {
        RouteAttribute::Metrics(metrics) => Some(metrics),
        _ => None,
    });
    metrics.flatten().find_map(|metric| match metric {
        RouteMetric::Mtu(mtu) if *mtu != 0 => Some(*mtu),
        _ => None,
    })
}

/// Whether anything of an IPv6 prefix has a route out of an interface, a default route included.
///
/// # Errors
/// The kernel cannot be asked.
pub fn has_route_into(prefix: Ipv6Net) -> Result<bool, NetlinkError> {
    let mut question = RouteMessage::default();
    question.header.address_family = AddressFamily::Inet6;
    let all = RouteNetlinkMessage::GetRoute(question);
    let found = Socket::open(NETLINK_ROUTE)?.dump("list the routes", &all, |kind, payload| {
        Ok(match read_message(kind, payload) {
            Some(RouteNetlinkMessage::NewRoute(route)) if leads_into(&route, prefix) => Some(()),
            _ => None,
        })
    })?;
    Ok(!found.is_empty())
}

fn leads_into(route: &RouteMessage, prefix: Ipv6Net) -> bool {
    let destination = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet6(address)) => Some(*address),
        _ => None,
    });
    let net = Ipv6Net::new(destination.unwrap_or(Ipv6Addr::UNSPECIFIED), route.header.destination_prefix_length);
    matches!(read(route), Route::Out(_)) && net.is_ok_and(|net| prefix.contains(&net) || net.contains(&prefix))
}

/// `whole`: the answer is the route of the table, for all its addresses, not what holds for this one (Linux 4.13).
fn ask(address: IpAddr, whole: bool) -> Result<Option<RouteMessage>, NetlinkError> {
    let mut question = RouteMessage::default();
    question.header.flags.set(RouteFlags::FibMatch, whole);
    let (family, length, place) = match address {
        IpAddr::V4(address) => (AddressFamily::Inet, 32, RouteAddress::Inet(address)),
        IpAddr::V6(address) => (AddressFamily::Inet6, 128, RouteAddress::Inet6(address)),
    };
    question.header.address_family = family;
    question.header.destination_prefix_length = length;
    question.attributes.push(RouteAttribute::Destination(place));
    let mut found = None;
    let asked = Socket::open(NETLINK_ROUTE)?.get(
        "ask for a route",
        RouteNetlinkMessage::GetRoute(question),
        &mut |kind, payload| {
            let mut header = NetlinkHeader::default();
            header.message_type = kind;
            header.flags = NLM_F_REQUEST;
            let answer = RouteNetlinkMessage::deserialize(&header, payload).map_err(|error| error.to_string())?;
            if let RouteNetlinkMessage::NewRoute(route) = answer {
                found = Some(route);
            }
            Ok(())
        },
    );
    match asked {
        Ok(()) => Ok(found),
        // The kernel answers with the error that the sender of such a packet would get.
        Err(error) => match error.raw_os_error() {
            Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL) => Ok(None),
            _ => Err(error),
        },
    }
}

fn read(route: &RouteMessage) -> Route {
    let out = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(ifindex) => Some(*ifindex),
        _ => None,
    });
    match (route.header.kind, out) {
        (RouteType::Local | RouteType::Anycast, _) => Route::Local,
        (RouteType::Unicast, Some(ifindex)) => Route::Out(ifindex),
        _ => Route::Nowhere,
    }
}
