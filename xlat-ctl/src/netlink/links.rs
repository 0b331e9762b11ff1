//! Making and changing links and routes.

use std::{
    fs, io,
    net::{IpAddr, Ipv6Addr},
    os::fd::{AsRawFd, BorrowedFd},
};

use ipnet::Ipv6Net;
use rtnetlink::{
    LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder,
    packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NetlinkDeserializable, NetlinkHeader},
    packet_route::{
        AddressFamily, IpProtocol, RouteNetlinkMessage,
        link::{AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoVeth, LinkAttribute, LinkMessage, Stats64},
        route::{RouteAttribute, RouteMessage, RouteMetric, RouteProtocol, RouteScope},
        rule::{RuleAction, RuleAttribute, RuleMessage},
    },
    sys::protocols::NETLINK_ROUTE,
};

use super::socket::{NetlinkError, Socket};

/// `rtm_protocol` of the routes and rules that the daemon makes, so that an operator can tell them; no routing daemon uses it.
pub(crate) const ROUTE_PROTOCOL: u8 = 64;
/// The routing table of [`Links::lead_own_errors`]: "xlat" in ASCII, which nobody else has.
const TABLE: u32 = u32::from_be_bytes(*b"xlat");
/// The priority of its rules: before the operator's own, which are rarely as narrow.
const RULE_PRIORITY: u32 = 64;
/// `RTAX_LOCK`'s bit for the MTU.
const LOCK_MTU: u32 = 1 << 2;

/// One end of a veth pair.
pub(crate) struct End<'text> {
    pub(crate) name: &'text str,
    pub(crate) mac: [u8; 6],
    pub(crate) mtu: u32,
}

impl End<'_> {
    /// No address resolution and no multicast: a link between two that know each other.
    fn describe<T>(&self, message: LinkMessageBuilder<T>) -> LinkMessageBuilder<T> {
        message.address(self.mac.to_vec()).mtu(self.mtu).arp(false).multicast(false)
    }
}

/// Routes and links of one network namespace.
pub(crate) struct Links {
    socket: Socket,
}

impl Links {
    /// Those of the calling thread's network namespace, whichever thread uses them later.
    pub(crate) fn open() -> Result<Self, NetlinkError> {
        Ok(Self { socket: Socket::open(NETLINK_ROUTE)? })
    }

    /// Makes a veth pair with the far end in another network namespace.
    pub(crate) fn add_veth(
        &mut self,
        near: &End<'_>,
        far: &End<'_>,
        namespace: BorrowedFd<'_>,
        ifindex: Option<u32>,
    ) -> Result<(), NetlinkError> {
        let peer = far
            .describe(LinkMessageBuilder::<LinkUnspec>::default().name(far.name))
            .setns_by_fd(namespace.as_raw_fd())
            .build();
        let mut pair = near
            .describe(LinkMessageBuilder::<LinkVeth>::new(near.name, far.name))
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .build();
        pair.header.index = ifindex.unwrap_or(0);
        let what = format!("make the veth pair {}", near.name);
        self.socket.change(&what, RouteNetlinkMessage::NewLink(pair), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Removes a link, with all its routes.
    pub(crate) fn delete(&mut self, ifindex: u32) -> Result<(), NetlinkError> {
        let link = LinkUnspec::new_with_index(ifindex).build();
        self.socket.change(&format!("remove interface {ifindex}"), RouteNetlinkMessage::DelLink(link), 0)
    }

    /// The index and the link-layer address of an interface; zeros where it has none of six bytes.
    pub(crate) fn find(&mut self, name: &str) -> Result<(u32, [u8; 6]), NetlinkError> {
        let (_, link) = self.describe(name)?;
        Ok((link.header.index, mac(&link)))
    }

    /// All the kernel says of an interface, and what was being done.
    fn describe(&mut self, name: &str) -> Result<(String, LinkMessage), NetlinkError> {
        let what = format!("find interface {name}");
        let question = RouteNetlinkMessage::GetLink(LinkUnspec::new_with_name(name).build());
        let mut found = None;
        self.socket.get(&what, question, &mut |kind, payload| {
            let mut header = NetlinkHeader::default();
            header.message_type = kind;
            match RouteNetlinkMessage::deserialize(&header, payload) {
                Ok(RouteNetlinkMessage::NewLink(link)) => found = Some(link),
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            }
            Ok(())
        })?;
        match found {
            Some(link) => Ok((what, link)),
            None => Err(NetlinkError::Answer { what, detail: "no interface in it".to_owned() }),
        }
    }

    /// The MTU of an interface, bytes.
    pub(crate) fn mtu(&mut self, name: &str) -> Result<u32, NetlinkError> {
        let (what, link) = self.describe(name)?;
        let mtu = link.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::Mtu(mtu) => Some(*mtu),
            _ => None,
        });
        mtu.ok_or(NetlinkError::Answer { what, detail: "no MTU in it".to_owned() })
    }

    /// What an interface counts.
    pub(crate) fn counted(&mut self, name: &str) -> Result<Stats64, NetlinkError> {
        let (what, link) = self.describe(name)?;
        let counted = link.attributes.into_iter().find_map(|attribute| match attribute {
            LinkAttribute::Stats64(counted) => Some(counted),
            _ => None,
        });
        counted.ok_or(NetlinkError::Answer { what, detail: "no counts in it".to_owned() })
    }

    /// Brings a link up, without IPv6 addresses of its own making.
    pub(crate) fn up(&mut self, ifindex: u32) -> Result<(), NetlinkError> {
        let what = format!("bring interface {ifindex} up");
        let no_addresses = LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(
            In6AddrGenMode::None,
        )])]);
        let quiet = LinkUnspec::new_with_index(ifindex).append_extra_attribute(no_addresses).build();
        match self.socket.change(&what, RouteNetlinkMessage::SetLink(quiet), 0) {
            // A kernel without IPv6 (ipv6.disable=1) has nothing to be quieted.
            Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => {}
            other => other?,
        }
        self.set(&what, LinkUnspec::new_with_index(ifindex).up().build())
    }

    fn set(&mut self, what: &str, message: LinkMessage) -> Result<(), NetlinkError> {
        self.socket.change(what, RouteNetlinkMessage::SetLink(message), 0)
    }

    /// The IPv4 default route: everything goes out of one interface in packets of at most `mtu` bytes, whatever path MTU
    /// discovery learns.
    pub(crate) fn set_ipv4_default(&mut self, ifindex: u32, mtu: u32) -> Result<(), NetlinkError> {
        let mut route =
            RouteMessageBuilder::<std::net::Ipv4Addr>::new().output_interface(ifindex).scope(RouteScope::Link).build();
        route.attributes.push(RouteAttribute::Metrics(vec![RouteMetric::Lock(LOCK_MTU), RouteMetric::Mtu(mtu)]));
        self.route("set the fragmenter's IPv4 route", route)
    }

    /// The IPv6 default route: everything goes out of one interface.
    pub(crate) fn set_ipv6_default(&mut self, ifindex: u32) -> Result<(), NetlinkError> {
        self.route("set the fragmenter's IPv6 route", ipv6_default(ifindex).build())
    }

    /// Leads the ICMPv6 messages that this machine itself sends into a prefix out of one interface. What it forwards is led by
    /// the other tables, as ever. The rules outlive the interface: see [`Self::forget_own_errors`].
    pub(crate) fn lead_own_errors(&mut self, prefix: Ipv6Net, ifindex: u32) -> Result<(), NetlinkError> {
        self.route(&format!("set a route for {prefix}"), ipv6_default(ifindex).table_id(TABLE).build())?;
        // The rule may be left by a relay that was killed.
        self.add(&format!("set a rule for {prefix}"), RouteNetlinkMessage::NewRule(rule(prefix))).map(|_| ())
    }

    /// Makes anew what is missing of [`Self::lead_own_errors`]; says whether anything was. What is there is left alone, and
    /// nobody hears of it.
    pub(crate) fn lead_own_errors_again(&mut self, prefix: Ipv6Net, ifindex: u32) -> Result<bool, NetlinkError> {
        let route = ipv6_default(ifindex).table_id(TABLE).build();
        let route = self.add(&format!("set a route for {prefix}"), RouteNetlinkMessage::NewRoute(route))?;
        let rule = self.add(&format!("set a rule for {prefix}"), RouteNetlinkMessage::NewRule(rule(prefix)))?;
        Ok(route || rule)
    }

    /// Adds what is not there; says whether it was not.
    fn add(&mut self, what: &str, message: RouteNetlinkMessage) -> Result<bool, NetlinkError> {
        match self.socket.change(what, message, NLM_F_CREATE | NLM_F_EXCL) {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(false),
            other => other.map(|()| true),
        }
    }

    /// The prefixes that there are rules of [`Self::lead_own_errors`] for, whoever made them.
    pub(crate) fn led_prefixes(&mut self) -> Result<Vec<Ipv6Net>, NetlinkError> {
        let mut question = RuleMessage::default();
        question.header.family = AddressFamily::Inet6;
        self.socket.dump("list the rules", &RouteNetlinkMessage::GetRule(question), |kind, payload| {
            let mut header = NetlinkHeader::default();
            header.message_type = kind;
            // Rules of others that cannot be read are none of ours.
            Ok(match RouteNetlinkMessage::deserialize(&header, payload) {
                Ok(RouteNetlinkMessage::NewRule(rule)) => led_prefix(&rule),
                _ => None,
            })
        })
    }

    /// Takes back [`Self::lead_own_errors`].
    pub(crate) fn forget_own_errors(&mut self, prefix: Ipv6Net) -> Result<(), NetlinkError> {
        let what = format!("remove the rule for {prefix}");
        match self.socket.change(&what, RouteNetlinkMessage::DelRule(rule(prefix)), 0) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            other => other,
        }
    }

    fn route(&mut self, what: &str, message: RouteMessage) -> Result<(), NetlinkError> {
        self.socket.change(what, RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_REPLACE)
    }
}

fn ipv6_default(ifindex: u32) -> RouteMessageBuilder<Ipv6Addr> {
    RouteMessageBuilder::<Ipv6Addr>::new().output_interface(ifindex).protocol(RouteProtocol::Other(ROUTE_PROTOCOL))
}

/// The rule of [`Links::lead_own_errors`], as `ip -6 rule` takes it.
pub(crate) fn own_errors_rule(prefix: &Ipv6Net) -> String {
    format!("iif lo ipproto ipv6-icmp to {prefix} lookup {TABLE}")
}

/// `iif lo ipproto ipv6-icmp to PREFIX lookup TABLE`: the kernel takes what it sends itself for arriving by `lo`.
fn rule(prefix: Ipv6Net) -> RuleMessage {
    let mut rule = RuleMessage::default();
    rule.header.family = AddressFamily::Inet6;
    rule.header.dst_len = prefix.prefix_len();
    rule.header.action = RuleAction::ToTable;
    rule.attributes = vec![
        RuleAttribute::Destination(prefix.network().into()),
        RuleAttribute::Iifname("lo".to_owned()),
        RuleAttribute::IpProtocol(IpProtocol::Other(libc::IPPROTO_ICMPV6)),
        RuleAttribute::Table(TABLE),
        RuleAttribute::Priority(RULE_PRIORITY),
        RuleAttribute::Protocol(RouteProtocol::Other(ROUTE_PROTOCOL)),
    ];
    rule
}

/// Whether a rule is one of [`Links::lead_own_errors`].
pub(super) fn is_own_rule(rule: &RuleMessage) -> bool {
    rule.attributes.contains(&RuleAttribute::Table(TABLE))
        && rule.attributes.contains(&RuleAttribute::Protocol(RouteProtocol::Other(ROUTE_PROTOCOL)))
}

/// The prefix of a rule of ours.
fn led_prefix(rule: &RuleMessage) -> Option<Ipv6Net> {
    let destination = rule.attributes.iter().find_map(|attribute| match attribute {
        RuleAttribute::Destination(IpAddr::V6(address)) => Some(*address),
        _ => None,
    })?;
    if is_own_rule(rule) { Ipv6Net::new(destination, rule.header.dst_len).ok() } else { None }
}

fn mac(link: &LinkMessage) -> [u8; 6] {
    let bytes = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Address(bytes) => bytes.as_slice().try_into().ok(),
        _ => None,
    });
    bytes.unwrap_or_default()
}

/// Writes a network setting below `/proc/sys/net`, in the calling thread's network namespace.
///
/// # Errors
/// As writing to the file; a setting that has the value already needs no writing.
pub(crate) fn sysctl(key: &str, value: &str) -> io::Result<()> {
    let path = format!("/proc/sys/net/{key}");
    if fs::read_to_string(&path)?.trim() == value {
        return Ok(());
    }
    fs::write(path, value)
}
