//! What the kernel says of the machine's interfaces and addresses, and the few things the daemon asks it to make.
//!
//! Only this module names netlink types. Everything is a whole snapshot: there is no state to keep in step with the kernel,
//! and an overrun of the netlink socket is answered by the same snapshot as any other news.

pub(crate) mod features;
mod forwarding;
pub(crate) mod links;
mod machine;
mod neighbours;
pub(crate) mod offload;
mod route_lookup;
mod routes;
pub(crate) mod socket;
mod watch;

pub use self::{
    machine::{Interface, Machine, Vlan, XdpProgram},
    offload::Device,
    route_lookup::{Route, Way, has_route_into, is_by_default_route, mtu_of_route, route_to, way_to},
    routes::{Ways, follow_ways},
    socket::{NetlinkError, overruns},
    watch::{snapshot, watch},
};
