//! The neighbours that packets can be sent to, and keeping the kernel's word of them true.
//!
//! The kernel looks whether a neighbour is still there when it sends a packet of its own to it. What the XDP program sends, the
//! kernel does not see: a neighbour that only the program sends to is STALE for ever, also when it is long dead or its address
//! has moved to another machine. So the kernel is told of its use (NTF_USE), and asks the neighbour as it always does: in some
//! eight seconds it is REACHABLE again, or FAILED, which is news like any other.

use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use rtnetlink::{
    packet_route::{
        AddressFamily, RouteNetlinkMessage,
        neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState},
    },
    sys::protocols::NETLINK_ROUTE,
};
use tracing::debug;

use super::{
    routes::read_message,
    socket::{NetlinkError, Socket},
};

/// Neighbours that the kernel asks at once, at most: each is a packet on a link.
const MOST_AT_ONCE: usize = 256;

/// For so long the kernel still waits before it asks, or asks, of which it does not tell.
const ASKING: Duration = Duration::from_secs(9);

/// The neighbours that can be sent to: the kernel tells of every look at one.
#[derive(Default)]
pub(super) struct Neighbours(HashMap<(u32, IpAddr), Neighbour>);

struct Neighbour {
    /// Its link-layer address.
    mac: Vec<u8>,
    /// Nobody has looked for a while whether it is there: what the kernel has noted of it.
    stale: Option<NeighbourFlags>,
    /// When the kernel was last told of its use.
    told: Option<Instant>,
}

impl Neighbours {
    /// Those that there are.
    ///
    /// # Errors
    /// The kernel cannot be asked.
    pub(super) fn ask() -> Result<Self, NetlinkError> {
        let mut socket = Socket::open(NETLINK_ROUTE)?;
        let mut this = Self::default();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut question = NeighbourMessage::default();
            question.header.family = family;
            let question = RouteNetlinkMessage::GetNeighbour(question);
            let all = socket.dump("list the neighbours", &question, |kind, payload| {
                Ok(match read_message(kind, payload) {
                    Some(RouteNetlinkMessage::NewNeighbour(neighbour)) => Some(neighbour),
                    _ => None,
                })
            })?;
            all.iter().for_each(|neighbour| _ = this.note(neighbour, true));
        }
        Ok(this)
    }

    /// Notes what the kernel says of one. Whether it can be sent to in another way than before.
    pub(super) fn note(&mut self, message: &NeighbourMessage, there: bool) -> bool {
        let (mut address, mut mac, mut managed) = (None, Vec::new(), false);
        for attribute in &message.attributes {
            match attribute {
                NeighbourAttribute::Destination(NeighbourAddress::Inet(ipv4)) => address = Some(IpAddr::V4(*ipv4)),
                NeighbourAttribute::Destination(NeighbourAddress::Inet6(ipv6)) => address = Some(IpAddr::V6(*ipv6)),
                NeighbourAttribute::LinkLayerAddress(bytes) => mac.clone_from(bytes),
                // The kernel looks after it by itself, and telling it of a use would end that.
                NeighbourAttribute::ExtFlags(flags) => managed = !flags.is_empty(),
                _ => {}
            }
        }
        let Some(address) = address else { return false };
        let key = (message.header.ifindex, address);
        let unusable = [NeighbourState::Failed, NeighbourState::Incomplete, NeighbourState::None];
        if !there || unusable.contains(&message.header.state) {
            return self.0.remove(&key).is_some();
        }
        let stale = (message.header.state == NeighbourState::Stale && !managed).then_some(message.header.flags);
        let told = self.0.get(&key).and_then(|known| known.told);
        let before = self.0.insert(key, Neighbour { mac: mac.clone(), stale, told });
        before.is_none_or(|before| before.mac != mac)
    }

    /// Has the kernel ask the stale ones whether they are still there, those first that it was told of longest ago. `sends_by`: whether
    /// the program sends by an interface.
    ///
    /// # Errors
    /// The kernel cannot be told.
    pub(super) fn confirm(&mut self, sends_by: impl Fn(u32) -> bool) -> Result<(), NetlinkError> {
        let mut due: Vec<_> =
            self.0.iter_mut().filter_map(|(key, known)| Some((*key, known.stale?, &mut known.told))).collect();
        due.retain(|((ifindex, _), _, told)| sends_by(*ifindex) && told.is_none_or(|told| told.elapsed() >= ASKING));
        due.sort_by_key(|(_, _, told)| **told);
        let mut socket = None;
        for ((ifindex, address), flags, told) in due.into_iter().take(MOST_AT_ONCE) {
            *told = Some(Instant::now());
            let socket = match &mut socket {
                Some(socket) => socket,
                none => none.insert(Socket::open(NETLINK_ROUTE)?),
            };
            debug!("asking whether the neighbour {address} is still there");
            let what = format!("have the kernel ask for the neighbour {address}");
            match socket.change(&what, RouteNetlinkMessage::NewNeighbour(use_of(ifindex, address, flags)), 0) {
                // It has gone meanwhile, or its interface has.
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) => {}
                outcome => outcome?,
            }
        }
        Ok(())
    }
}

/// That a packet has been sent to a neighbour, of which nothing else changes.
fn use_of(ifindex: u32, address: IpAddr, flags: NeighbourFlags) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.ifindex = ifindex;
    message.header.flags = flags | NeighbourFlags::Use;
    let (family, address) = match address {
        IpAddr::V4(ipv4) => (AddressFamily::Inet, NeighbourAddress::Inet(ipv4)),
        IpAddr::V6(ipv6) => (AddressFamily::Inet6, NeighbourAddress::Inet6(ipv6)),
    };
    message.header.family = family;
    message.attributes.push(NeighbourAttribute::Destination(address));
    message
}
