//! Asking the routing table where a packet would go.

use std::net::IpAddr;

use rtnetlink::{
    packet_core::{NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader},
    packet_route::{
        AddressFamily, RouteNetlinkMessage,
        route::{RouteAddress, RouteAttribute, RouteMessage, RouteType},
    },
    sys::protocols::NETLINK_ROUTE,
};

use super::socket::{NetlinkError, Socket};

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

/// Asks for the route to an address.
///
/// # Errors
/// The kernel cannot be asked.
pub fn route_to(address: IpAddr) -> Result<Route, NetlinkError> {
    let mut question = RouteMessage::default();
    let (family, length, place) = match address {
        IpAddr::V4(address) => (AddressFamily::Inet, 32, RouteAddress::Inet(address)),
        IpAddr::V6(address) => (AddressFamily::Inet6, 128, RouteAddress::Inet6(address)),
    };
    question.header.address_family = family;
    question.header.destination_prefix_length = length;
    question.attributes.push(RouteAttribute::Destination(place));
    let mut found = Route::Nowhere;
    let asked = Socket::open(NETLINK_ROUTE)?.get(
        "ask for a route",
        RouteNetlinkMessage::GetRoute(question),
        &mut |kind, payload| {
            let mut header = NetlinkHeader::default();
            header.message_type = kind;
            header.flags = NLM_F_REQUEST;
            let answer = RouteNetlinkMessage::deserialize(&header, payload).map_err(|error| error.to_string())?;
            if let RouteNetlinkMessage::NewRoute(route) = answer {
                found = read(&route);
            }
            Ok(())
        },
    );
    match asked {
        Ok(()) => Ok(found),
        // The kernel answers with the error that the sender of such a packet would get.
        Err(error) => match error.raw_os_error() {
            Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL) => Ok(Route::Nowhere),
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
