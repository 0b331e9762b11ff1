//! The machine as the kernel tells it: interfaces, their addresses and what they can do.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use rtnetlink::{
    packet_core::{NetlinkDeserializable, NetlinkHeader},
    packet_route::{
        RouteNetlinkMessage,
        address::{AddressAttribute, AddressMessage},
        link::{
            AfSpecInet6, AfSpecUnspec, InfoData, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, LinkXdp,
            XdpAttached,
        },
    },
    sys::protocols::NETLINK_ROUTE,
};
use tracing::warn;

use super::{
    features::{self, Family},
    socket::{NetlinkError, Socket},
};

/// A VLAN sub-interface's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vlan {
    /// `ifindex` of the device that carries the tagged frames.
    pub parent: u32,
    /// VLAN ID.
    pub id: u16,
    /// Tag protocol: 0x8100 or 0x88a8.
    pub protocol: u16,
}

/// How an XDP program is attached to an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XdpProgram {
    /// Its id; 0 if several are attached.
    pub id: u32,
    /// Whether it runs on socket buffers (generic mode) and not in the driver or the device.
    pub generic: bool,
}

/// One network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its index.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// Link-layer address; zero where there is none of six bytes.
    pub mac: [u8; 6],
    /// MTU of the IP packet, bytes.
    pub mtu: u32,
    /// Whether it is administratively up.
    pub up: bool,
    /// The kind of a virtual device, as `ip link` writes it: `veth`, `vlan`, `bridge` …
    pub kind: Option<String>,
    /// For a VLAN sub-interface.
    pub vlan: Option<Vlan>,
    /// The device that it is a port of: a bond, a bridge.
    pub controller: Option<u32>,
    /// IPv4 addresses with the length of their prefix, in the kernel's order.
    pub ipv4: Vec<Ipv4Net>,
    /// IPv6 addresses with the length of their prefix, in the kernel's order.
    pub ipv6: Vec<Ipv6Net>,
    /// Whether the kernel takes IPv6 packets from it.
    pub takes_ipv6: bool,
    /// The XDP program that is attached.
    pub xdp_program: Option<XdpProgram>,
    /// `enum netdev_xdp_act`; `None`: the kernel does not say (before Linux 6.3).
    pub xdp_features: Option<u64>,
}

impl Interface {
    /// A NIC for tests.
    #[cfg(test)]
    pub(crate) fn example(name: &str) -> Self {
        Self {
            ifindex: 2,
            name: name.to_owned(),
            mac: [2; 6],
            mtu: 1500,
            up: true,
            kind: None,
            vlan: None,
            controller: None,
            ipv4: Vec::new(),
            ipv6: Vec::new(),
            takes_ipv6: true,
            xdp_program: None,
            xdp_features: None,
        }
    }

    /// Whether the driver gives a program frames of several buffers. Where the kernel does not say, hardly any driver does.
    #[must_use]
    pub fn takes_several_buffers(&self) -> bool {
        self.xdp_features.is_some_and(|features| features & features::RX_SG != 0)
            || self.kind.as_deref() == Some("veth")
    }

    /// Whether the device takes frames that XDP sends out of it. `None`: the kernel does not say.
    #[must_use]
    pub fn takes_xdp_frames(&self) -> Option<bool> {
        self.xdp_features.map(|features| features & features::NDO_XMIT != 0)
    }

    /// Whether it takes frames of several buffers, too. Where the kernel does not say, it loses them (before Linux 6.3).
    #[must_use]
    pub fn takes_xdp_frames_of_several_buffers(&self) -> bool {
        self.xdp_features.is_some_and(|features| features & features::NDO_XMIT_SG != 0)
    }
}

/// Every interface of the machine (of the daemon's network namespace), in the order of `ifindex`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// The interfaces.
    pub interfaces: Vec<Interface>,
}

impl Machine {
    /// Every address of every interface, with the name of the interface. Without the loopback addresses: a packet from or to one
    /// of them that comes over a wire is not the machine's own affair (RFC 1122 3.2.1.3, RFC 4291 2.5.3).
    pub fn addresses(&self) -> impl Iterator<Item = (IpAddr, &str)> {
        self.interfaces.iter().flat_map(|interface| {
            let ipv4 = interface.ipv4.iter().map(|net| IpAddr::from(net.addr()));
            let ipv6 = interface.ipv6.iter().map(|net| IpAddr::from(net.addr()));
            let all = ipv4.chain(ipv6).filter(|address| !address.is_loopback());
            all.map(|address| (address, interface.name.as_str()))
        })
    }

    /// The interface with this index.
    #[must_use]
    pub fn interface(&self, ifindex: u32) -> Option<&Interface> {
        let place = self.interfaces.binary_search_by_key(&ifindex, |interface| interface.ifindex).ok()?;
        Some(&self.interfaces[place])
    }

    /// The interfaces whose frames an XDP program sees: its own, that of a bond's ports, or that of the device that carries them with
    /// VLAN tags.
    pub fn with_program(&self) -> impl Iterator<Item = &Interface> {
        self.interfaces.iter().filter(|interface| self.has_program(interface))
    }

    fn has_program(&self, interface: &Interface) -> bool {
        let carrier = || self.interface(interface.vlan.as_ref()?.parent);
        let is_seen = |interface: &Interface| interface.xdp_program.is_some();
        is_seen(interface)
            || self.ports_of_bond(interface.ifindex).any(is_seen)
            || carrier().is_some_and(|carrier| self.has_program(carrier))
    }

    /// The bond that an interface is a port of.
    #[must_use]
    pub fn bond_of(&self, interface: &Interface) -> Option<&Interface> {
        self.interface(interface.controller?).filter(|controller| controller.kind.as_deref() == Some("bond"))
    }

    /// The ports of a bond; of anything else there are none.
    pub fn ports_of_bond(&self, bond: u32) -> impl Iterator<Item = &Interface> {
        let is_port = move |port: &&Interface| self.bond_of(port).is_some_and(|there| there.ifindex == bond);
        self.interfaces.iter().filter(is_port)
    }

    /// The interfaces whose frames become those of another one: the ports of a bond or a bridge, the carrier of a VLAN sub-interface, and
    /// what is below those.
    #[must_use]
    pub fn below(&self, upper: &Interface) -> Vec<&Interface> {
        let carrier = upper.vlan.map(|vlan| vlan.parent);
        let is_direct = |lower: &&Interface| {
            lower.ifindex != upper.ifindex
                && (lower.controller == Some(upper.ifindex) || carrier == Some(lower.ifindex))
        };
        let direct = self.interfaces.iter().filter(is_direct);
        direct.flat_map(|lower| std::iter::once(lower).chain(self.below(lower))).collect()
    }
}

/// The sockets that snapshots are taken through.
pub(super) struct Observer {
    route: Socket,
    generic: Socket,
    family: Option<Family>,
    /// The interfaces of the snapshot before.
    before: Vec<Interface>,
}

impl Observer {
    pub(super) fn open() -> Result<Self, NetlinkError> {
        let mut generic = features::open()?;
        let family = Family::find(&mut generic)?;
        Ok(Self { route: Socket::open(NETLINK_ROUTE)?, generic, family, before: Vec::new() })
    }

    /// The multicast group of XDP features' changes.
    pub(super) fn features_group(&self) -> Option<u32> {
        self.family?.management
    }

    pub(super) fn snapshot(&mut self) -> Result<Machine, NetlinkError> {
        let links = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let before = &self.before;
        let mut interfaces = self.route.dump("list the interfaces", &links, |kind, payload| {
            Ok(match read(kind, payload) {
                Some(RouteNetlinkMessage::NewLink(link)) => Some(interface(&link)),
                Some(_) => None,
                None => as_before(before, payload),
            })
        })?;
        interfaces.sort_by_key(|interface| interface.ifindex);
        let addresses = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let addresses = self.route.dump("list the addresses", &addresses, |kind, payload| {
            Ok(match read(kind, payload) {
                Some(RouteNetlinkMessage::NewAddress(address)) => Some(address),
                _ => None,
            })
        })?;
        let mut machine = Machine { interfaces };
        for address in &addresses {
            machine.add_address(address);
        }
        if let Some(family) = self.family {
            let features = family.features(&mut self.generic)?;
            for interface in &mut machine.interfaces {
                interface.xdp_features = features.get(&interface.ifindex).copied();
            }
        }
        self.before.clone_from(&machine.interfaces);
        Ok(machine)
    }
}

/// The interface of a message that cannot be read, as it was known before: it is not gone. Its addresses come with messages of
/// their own.
fn as_before(before: &[Interface], payload: &[u8]) -> Option<Interface> {
    // `struct ifinfomsg`: family, padding and type, then the index.
    let index = u32::from_ne_bytes(payload.get(4..8)?.try_into().ok()?);
    let known = before.iter().find(|interface| interface.ifindex == index)?;
    Some(Interface { ipv4: Vec::new(), ipv6: Vec::new(), ..known.clone() })
}

/// A message, or `None` and a warning: one strange interface must not hide the others.
fn read(kind: u16, payload: &[u8]) -> Option<RouteNetlinkMessage> {
    let mut header = NetlinkHeader::default();
    header.message_type = kind;
    RouteNetlinkMessage::deserialize(&header, payload)
        .inspect_err(|error| {
            warn!("an interface or address is left out or as before: the kernel's words cannot be read: {error}");
        })
        .ok()
}

fn interface(link: &LinkMessage) -> Interface {
    let mut interface = Interface {
        ifindex: link.header.index,
        name: String::new(),
        mac: [0; 6],
        mtu: 0,
        up: link.header.flags.contains(LinkFlags::Up),
        kind: None,
        vlan: None,
        controller: None,
        ipv4: Vec::new(),
        ipv6: Vec::new(),
        takes_ipv6: false,
        xdp_program: None,
        xdp_features: None,
    };
    let (mut parent, mut foreign_parent, mut vlan) = (None, false, None);
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => interface.name.clone_from(name),
            LinkAttribute::Address(bytes) => interface.mac = bytes.as_slice().try_into().unwrap_or_default(),
            LinkAttribute::Mtu(mtu) => interface.mtu = *mtu,
            LinkAttribute::Controller(ifindex) => interface.controller = Some(*ifindex).filter(|ifindex| *ifindex != 0),
            LinkAttribute::Link(ifindex) => parent = Some(*ifindex),
            LinkAttribute::LinkNetNsId(_) => foreign_parent = true,
            LinkAttribute::AfSpecUnspec(families) => interface.takes_ipv6 = takes_ipv6(families),
            LinkAttribute::Xdp(attributes) => interface.xdp_program = xdp_program(attributes),
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    match info {
                        LinkInfo::Kind(kind) => interface.kind = Some(kind.to_string()),
                        LinkInfo::Data(InfoData::Vlan(attributes)) => vlan = Some(tag(attributes)),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    // A parent in another network namespace has an index of that namespace.
    if let (Some((id, protocol)), Some(parent), false) = (vlan, parent, foreign_parent) {
        interface.vlan = Some(Vlan { parent, id, protocol });
    }
    interface
}

/// Whether IPv6 is there (it is not where the MTU is under 1280) and not switched off.
fn takes_ipv6(families: &[AfSpecUnspec]) -> bool {
    let settings = families.iter().find_map(|family| match family {
        AfSpecUnspec::Inet6(attributes) => attributes.iter().find_map(|attribute| match attribute {
            AfSpecInet6::DevConf(settings) => Some(settings),
            _ => None,
        }),
        _ => None,
    });
    settings.is_some_and(|settings| settings.disable_ipv6 == 0)
}

fn tag(attributes: &[InfoVlan]) -> (u16, u16) {
    let (mut id, mut protocol) = (0, 0x8100);
    for attribute in attributes {
        match attribute {
            InfoVlan::Id(value) => id = *value,
            InfoVlan::Protocol(value) => protocol = (*value).into(),
            _ => {}
        }
    }
    (id, protocol)
}

fn xdp_program(attributes: &[LinkXdp]) -> Option<XdpProgram> {
    let (mut program, mut attached) = (XdpProgram { id: 0, generic: false }, false);
    for attribute in attributes {
        match attribute {
            LinkXdp::Attached(mode) => {
                attached = *mode != XdpAttached::None;
                program.generic = *mode == XdpAttached::SocketBuffer;
            }
            LinkXdp::ProgId(id) => program.id = *id,
            _ => {}
        }
    }
    attached.then_some(program)
}

impl Machine {
    fn add_address(&mut self, message: &AddressMessage) {
        let Ok(place) = self.interfaces.binary_search_by_key(&message.header.index, |interface| interface.ifindex)
        else {
            return;
        };
        // With a peer (point-to-point), IFA_ADDRESS is the peer's and IFA_LOCAL the interface's own.
        let (mut own, mut other) = (None, None);
        for attribute in &message.attributes {
            match attribute {
                AddressAttribute::Local(address) => own = Some(*address),
                AddressAttribute::Address(address) => other = Some(*address),
                _ => {}
            }
        }
        let len = message.header.prefix_len;
        let interface = &mut self.interfaces[place];
        match own.or(other) {
            Some(IpAddr::V4(address)) => interface.ipv4.push(net4(address, len)),
            Some(IpAddr::V6(address)) => interface.ipv6.push(net6(address, len)),
            None => {}
        }
    }
}

fn net4(address: Ipv4Addr, len: u8) -> Ipv4Net {
    Ipv4Net::new(address, len).unwrap_or_else(|_| address.into())
}

fn net6(address: Ipv6Addr, len: u8) -> Ipv6Net {
    Ipv6Net::new(address, len).unwrap_or_else(|_| address.into())
}

#[cfg(test)]
mod tests {
    use rtnetlink::packet_route::link::{InfoKind, VlanProtocol};

    use super::*;

    /// What `ip link add link eth0 name eth0.7 type vlan proto 802.1ad id 7` makes.
    fn vlan(more: Option<LinkAttribute>) -> LinkMessage {
        let mut link = LinkMessage::default();
        link.header.index = 5;
        link.attributes = vec![
            LinkAttribute::IfName("eth0.7".to_owned()),
            LinkAttribute::Mtu(1500),
            LinkAttribute::Address(vec![2, 0, 0, 0, 0, 1]),
            LinkAttribute::Link(3),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Vlan),
                LinkInfo::Data(InfoData::Vlan(vec![InfoVlan::Id(7), InfoVlan::Protocol(VlanProtocol::Ieee8021Ad)])),
            ]),
        ];
        link.attributes.extend(more);
        link
    }

    #[test]
    fn a_bond_has_the_program_of_its_ports() {
        let device = |ifindex, controller| Interface { ifindex, controller, ..Interface::example("a device") };
        let bond = Interface { kind: Some("bond".to_owned()), ..device(2, None) };
        let xdp_program = Some(XdpProgram { id: 1, generic: false });
        let port = Interface { xdp_program, ..device(3, Some(2)) };
        let tagged = Interface { vlan: Some(Vlan { parent: 2, id: 7, protocol: 0x8100 }), ..device(4, None) };
        let machine = Machine { interfaces: vec![bond, port, tagged, device(5, None)] };
        let seen: Vec<u32> = machine.with_program().map(|interface| interface.ifindex).collect();
        assert_eq!(seen, [2, 3, 4]);
    }

    #[test]
    fn reads_a_vlan_sub_interface() {
        let read = interface(&vlan(None));
        assert_eq!((read.name.as_str(), read.kind.as_deref(), read.mtu), ("eth0.7", Some("vlan"), 1500));
        assert_eq!(read.vlan, Some(Vlan { parent: 3, id: 7, protocol: 0x88a8 }));
    }

    #[test]
    fn knows_no_parent_in_another_namespace() {
        assert_eq!(interface(&vlan(Some(LinkAttribute::LinkNetNsId(1)))).vlan, None);
    }

    #[test]
    fn reads_the_attached_program() {
        let native = [LinkXdp::Attached(XdpAttached::Driver), LinkXdp::ProgId(9)];
        assert_eq!(xdp_program(&native), Some(XdpProgram { id: 9, generic: false }));
        let generic = [LinkXdp::Attached(XdpAttached::SocketBuffer), LinkXdp::ProgId(9)];
        assert_eq!(xdp_program(&generic), Some(XdpProgram { id: 9, generic: true }));
        assert_eq!(xdp_program(&[LinkXdp::Attached(XdpAttached::None)]), None);
    }

    /// What cannot be read of an interface is no reason to take the program from it.
    #[test]
    fn an_interface_whose_message_cannot_be_read_is_as_it_was() {
        let before = [Interface { ifindex: 7, ..Interface::example("eth0") }];
        let payload = |index: u32| [&[0; 4][..], &index.to_ne_bytes(), &[0xff; 9]].concat();
        assert_eq!(as_before(&before, &payload(7)).map(|interface| interface.name), Some("eth0".to_owned()));
        assert_eq!(as_before(&before, &payload(8)), None);
        assert_eq!(as_before(&before, &[0; 7]), None);
    }
}
