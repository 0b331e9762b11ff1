//! Following what decides a packet's way: routes, rules, neighbours and links. What is told is not what changed but that
//! something has, and whether the way depends on the destination alone.

use std::{collections::HashSet, time::Duration};

use rtnetlink::{
    packet_core::{NetlinkDeserializable, NetlinkHeader},
    packet_route::{
        AddressFamily, RouteNetlinkMessage,
        route::{RouteHeader, RouteMessage},
        rule::{RuleAction, RuleAttribute, RuleMessage},
    },
    sys::protocols::NETLINK_ROUTE,
};
use tokio::{
    io::unix::AsyncFd,
    task::block_in_place,
    time::{Instant, sleep, timeout},
};
use tracing::{info, warn};

use super::{
    forwarding,
    links::is_own_rule,
    neighbours::Neighbours,
    socket::{NetlinkError, News, Socket},
    watch::snapshot,
};

/// Changes that follow each other faster than this are told together, the first at once.
const SETTLE: Duration = Duration::from_millis(20);
/// The kernel tells of some deletions before it makes them, an address' or a next hop's with many routes some time before: what is
/// asked for in between may be remembered. So every way is taken for changed once more, this much later.
const ONCE_MORE: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(500)];
/// Kinds of such news (include/uapi/linux/rtnetlink.h).
const RTM_DELADDR: u16 = 21;
const RTM_DELROUTE: u16 = 25;
const RTM_DELNEXTHOP: u16 = 105;
/// After news were lost, or the kernel could not be asked, everything is asked for this much later.
const RETRY: Duration = Duration::from_secs(1);
/// As long as there is no news, that is told this often.
const UNCHANGED: Duration = Duration::from_millis(100);
/// Not everything that leads packets elsewhere is told by the kernel: this often every way is taken for changed.
const UNTOLD: Duration = Duration::from_secs(10);
/// This often the kernel is told of the neighbours that the program may be sending to.
const IN_USE: Duration = Duration::from_secs(5);
/// Bytes of news that may wait: some ten thousand routes, as many as a routing daemon makes in half a second.
const ROOM: usize = 8 << 20;
/// A setting of an interface, `forwarding` for one, is another (include/uapi/linux/rtnetlink.h).
const RTM_NEWNETCONF: u16 = 80;
/// Tables of rules that every machine has: local, main, default.
const ORDINARY_TABLES: [u32; 3] = [255, 254, 253];

/// What is told of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ways {
    /// A packet's way depends on its destination alone; every way may have changed.
    ByDestination,
    /// It depends on more (policy rules, source-specific or TOS routes, the arrival interface): it must be asked for each packet.
    ByMore,
    /// As was last told: the kernel has had no news up to this moment.
    Unchanged,
}

/// Follows the machine's routing until the task is dropped, and tells each change: within milliseconds, from a task of its own.
/// The neighbours on interfaces that an XDP program is attached to, or redirects packets to (`redirects_to`, of an `ifindex`), are
/// kept from going stale unseen.
///
/// # Errors
/// The kernel cannot be asked.
pub async fn follow_ways(tell: &impl Fn(Ways), redirects_to: impl Fn(u32) -> bool) -> Result<(), NetlinkError> {
    let mut socket = Socket::open(NETLINK_ROUTE)?;
    for group in [
        libc::RTNLGRP_LINK,
        libc::RTNLGRP_NEIGH,
        libc::RTNLGRP_IPV4_IFADDR,
        libc::RTNLGRP_IPV4_ROUTE,
        libc::RTNLGRP_IPV4_RULE,
        libc::RTNLGRP_IPV6_IFADDR,
        libc::RTNLGRP_IPV6_ROUTE,
        libc::RTNLGRP_IPV6_RULE,
        libc::RTNLGRP_IPV4_NETCONF,
        libc::RTNLGRP_IPV6_NETCONF,
        libc::RTNLGRP_NEXTHOP,
    ] {
        socket.subscribe(group)?;
    }
    socket.make_room(ROOM);
    socket.set_non_blocking()?;
    // SAFETY: the socket is owned by what is registered, open and the same all its life.
    let news = unsafe { AsyncFd::register(socket) }.map_err(|error| NetlinkError::Open(error.into()))?;
    let mut ways = Follower::new()?;
    tell(ways.told());
    let (mut last, mut used) = (Instant::now(), Instant::now());
    let mut refused = false;
    let mut once_more: Vec<Instant> = Vec::new();
    let mut attached = HashSet::new();
    loop {
        if once_more.first().is_some_and(|when| *when <= Instant::now()) {
            once_more.remove(0);
            tell(ways.told());
        }
        if last.elapsed() >= UNTOLD || std::mem::take(&mut ways.forwarding_is_news) {
            last = Instant::now();
            ways.ask_of_forwarding();
            tell(ways.told());
        }
        if ways.unknown.is_some_and(|since| since.elapsed() >= RETRY) {
            ways.ask_again();
            tell(ways.told());
        }
        if used.elapsed() >= IN_USE {
            used = Instant::now();
            let asked = snapshot().and_then(|machine| {
                let now: HashSet<u32> = machine.with_program().map(|interface| interface.ifindex).collect();
                // No news come of that.
                ways.forwarding_is_news |= attached != now;
                attached = now;
                ways.neighbours.confirm(|ifindex| attached.contains(&ifindex) || redirects_to(ifindex))
            });
            if let Err(error) = asked
                && !std::mem::replace(&mut refused, true)
            {
                warn!("a neighbour that dies goes on being sent to until its entry is deleted: {error}");
            }
        }
        let next =
            once_more.first().map_or(UNCHANGED, |when| when.saturating_duration_since(Instant::now()).min(UNCHANGED));
        let Ok(ready) = timeout(next, news.readable()).await else {
            tell(Ways::Unchanged);
            continue;
        };
        let Ok(mut ready) = ready else { return std::future::pending().await };
        match ways.read(news.get_ref()) {
            Ok(Read { changed, is_all }) => {
                if is_all {
                    ready.clear_ready();
                }
                if std::mem::take(&mut ways.is_early) {
                    once_more = ONCE_MORE.map(|later| Instant::now() + later).to_vec();
                }
                if changed {
                    tell(ways.told());
                }
                if is_all {
                    tell(Ways::Unchanged);
                }
                if is_all && changed {
                    sleep(SETTLE).await;
                }
            }
            Err(error) => {
                ready.clear_ready();
                ways.lose(&error.to_string());
                tell(ways.told());
                sleep(RETRY).await;
            }
        }
    }
}

/// What of the routing must be remembered to tell news from noise.
struct Follower {
    neighbours: Neighbours,
    /// Policy rules that ask for more than the destination.
    rules: bool,
    /// A route that asks for more than the destination.
    routes: bool,
    /// Interfaces of which some forward and some do not.
    forwarding: bool,
    /// Whether there has been news of that.
    forwarding_is_news: bool,
    /// Whether there has been news of what the kernel may do only now.
    is_early: bool,
    /// When news were last lost, since which all of this may be otherwise.
    unknown: Option<Instant>,
    /// When that was last said.
    said: Option<bool>,
}

impl Follower {
    fn new() -> Result<Self, NetlinkError> {
        let mut this = Self {
            neighbours: Neighbours::default(),
            rules: false,
            routes: false,
            forwarding: false,
            forwarding_is_news: true,
            is_early: false,
            unknown: None,
            said: None,
        };
        this.ask()?;
        this.say();
        Ok(this)
    }

    /// Asks for everything anew.
    fn ask(&mut self) -> Result<(), NetlinkError> {
        self.neighbours = Neighbours::ask()?;
        (self.rules, self.routes) = (has_policy()?, has_special_routes()?);
        self.forwarding_is_news = true;
        Ok(())
    }

    /// Whether some interfaces forward and some do not. Where the kernel cannot be asked, that stays as it was.
    fn ask_of_forwarding(&mut self) {
        self.forwarding = forwarding::differs().unwrap_or(self.forwarding);
        self.say();
    }

    fn told(&self) -> Ways {
        if self.unknown.is_some() || self.depends_on_more() { Ways::ByMore } else { Ways::ByDestination }
    }

    const fn depends_on_more(&self) -> bool {
        self.rules || self.routes || self.forwarding
    }

    /// News were lost: every way is asked for until everything is known again.
    fn lose(&mut self, why: &str) {
        if self.unknown.replace(Instant::now()).is_none() {
            warn!("the routing may have changed unseen: {why}; every way is asked for until it is known again");
        }
    }

    /// Asks for everything, once no news have been lost for a while: a routing daemon that makes its whole table takes its time.
    fn ask_again(&mut self) {
        // A table of a million routes takes a second.
        match block_in_place(|| self.ask()) {
            Ok(()) => {
                self.unknown = None;
                self.say();
                info!("the routing is known again");
            }
            Err(error) => self.lose(&error.to_string()),
        }
    }

    /// Tells the operator why packets take longer.
    fn say(&mut self) {
        let more = self.depends_on_more();
        if self.said.replace(more).unwrap_or(false) == more {
            return;
        }
        if more {
            let why = if self.rules || self.routes {
                "policy rules or source-specific routes"
            } else {
                "interfaces of which some forward and some do not"
            };
            info!("{why}: the way of each packet is asked for, which takes longer");
        } else {
            info!("packets' ways depend on their destination alone: they are cached");
        }
    }

    /// Reads what has arrived, for as long as ways that have changed may go untold.
    fn read(&mut self, socket: &Socket) -> Result<Read, NetlinkError> {
        let (mut changed, mut rules, mut routes) = (false, false, false);
        let what = "follow the routing";
        let News { lost, is_all } = socket
            .read_news(SETTLE, |kind, payload| {
                self.is_early |= [RTM_DELADDR, RTM_DELROUTE, RTM_DELNEXTHOP].contains(&kind);
                let mut header = NetlinkHeader::default();
                header.message_type = kind;
                match RouteNetlinkMessage::deserialize(&header, payload) {
                    Ok(RouteNetlinkMessage::NewNeighbour(message)) => changed |= self.neighbours.note(&message, true),
                    Ok(RouteNetlinkMessage::DelNeighbour(message)) => changed |= self.neighbours.note(&message, false),
                    Ok(RouteNetlinkMessage::NewRoute(route)) => {
                        self.routes |= is_special(&route);
                        changed |= !is_cached(&route);
                    }
                    Ok(RouteNetlinkMessage::DelRoute(route)) => {
                        routes |= is_special(&route);
                        changed = true;
                    }
                    Ok(RouteNetlinkMessage::NewRule(_) | RouteNetlinkMessage::DelRule(_)) => rules = true,
                    // Whatever it is, it is news.
                    _ => {
                        self.forwarding_is_news |= kind == RTM_NEWNETCONF;
                        changed = true;
                    }
                }
            })
            .map_err(|source| NetlinkError::Transport { what: what.to_owned(), source })?;
        if lost {
            self.lose("the kernel had more news than were read in time");
        } else {
            if rules {
                self.rules = has_policy()?;
                changed = true;
            }
            if routes {
                // It may have been the last of its kind.
                self.routes = has_special_routes()?;
            }
        }
        self.say();
        Ok(Read { changed: changed || lost, is_all })
    }
}

/// What has been read.
struct Read {
    /// A way may have changed.
    changed: bool,
    /// Nothing more had arrived.
    is_all: bool,
}

/// Whether there are rules that ask for more than the destination.
fn has_policy() -> Result<bool, NetlinkError> {
    let mut socket = Socket::open(NETLINK_ROUTE)?;
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut question = RuleMessage::default();
        question.header.family = family;
        let rules = socket.dump("list the rules", &RouteNetlinkMessage::GetRule(question), |kind, payload| {
            Ok(match read_message(kind, payload) {
                Some(RouteNetlinkMessage::NewRule(rule)) => Some(is_policy(&rule)),
                Some(_) => None,
                // One that cannot be read may be anything.
                None => Some(true),
            })
        })?;
        if rules.contains(&true) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_policy(rule: &RuleMessage) -> bool {
    if is_own_rule(rule) {
        return false;
    }
    let table = rule.attributes.iter().find_map(|attribute| match attribute {
        RuleAttribute::Table(table) => Some(*table),
        _ => None,
    });
    let table = table.unwrap_or(rule.header.table.into());
    let selects = rule.header.src_len != 0
        || rule.header.dst_len != 0
        || rule.header.tos != 0
        || rule.attributes.iter().any(|attribute| {
            !matches!(
                attribute,
                RuleAttribute::Table(_)
                    | RuleAttribute::Priority(_)
                    | RuleAttribute::Protocol(_)
                    | RuleAttribute::SuppressPrefixLen(u32::MAX)
            )
        });
    selects || rule.header.action != RuleAction::ToTable || !ORDINARY_TABLES.contains(&table)
}

/// Whether there is a route that asks for more than the destination.
fn has_special_routes() -> Result<bool, NetlinkError> {
    let mut socket = Socket::open(NETLINK_ROUTE)?;
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut question = RouteMessage::default();
        question.header = RouteHeader { address_family: family, ..RouteHeader::default() };
        let routes = socket.dump("list the routes", &RouteNetlinkMessage::GetRoute(question), |kind, payload| {
            Ok(match read_message(kind, payload) {
                Some(RouteNetlinkMessage::NewRoute(route)) if is_special(&route) => Some(()),
                _ => None,
            })
        })?;
        if !routes.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_special(route: &RouteMessage) -> bool {
    !is_cached(route) && (route.header.source_prefix_length != 0 || route.header.tos != 0)
}

/// What the kernel has learned for a destination, a path MTU for one.
fn is_cached(route: &RouteMessage) -> bool {
    route.header.flags.contains(rtnetlink::packet_route::route::RouteFlags::Cloned)
}

pub(super) fn read_message(kind: u16, payload: &[u8]) -> Option<RouteNetlinkMessage> {
    let mut header = NetlinkHeader::default();
    header.message_type = kind;
    RouteNetlinkMessage::deserialize(&header, payload).ok()
}
