//! The link layer: where a frame came from, its VLAN tags, and writing the header of the frame that leaves.

use aya_ebpf::programs::XdpContext;
use xlat_common::{
    interface::{Interface, MAX_IFINDEX, MacKey, VlanKey},
    state::State,
};

use crate::{
    context::Context,
    maps::{MACS, VLANS},
    packet,
    tables::state,
    verifier::{bounded, reload},
};

/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;
/// Bytes of an Ethernet header without tags.
pub const ETHERNET_LEN: usize = 14;
/// Bytes of one VLAN tag.
pub const TAG_LEN: usize = 4;

/// The two link-layer addresses of a frame, as they stand on the wire: the first four bytes of both, the last two of both.
/// Without padding, which the compiler would copy from where the verifier sees nothing.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Macs {
    destination: u32,
    source: u32,
    destination_end: u16,
    source_end: u16,
}

impl Macs {
    #[inline(always)]
    const fn new(destination: (u32, u16), source: (u32, u16)) -> Self {
        Self { destination: destination.0, source: source.0, destination_end: destination.1, source_end: source.1 }
    }

    #[inline(always)]
    const fn destination(self) -> (u32, u16) {
        (self.destination, self.destination_end)
    }

    #[inline(always)]
    const fn source(self) -> (u32, u16) {
        (self.source, self.source_end)
    }
}

/// The bytes of a link-layer address as two numbers.
#[inline(always)]
fn split(mac: &[u8; 6]) -> (u32, u16) {
    let start = core::ptr::from_ref(mac);
    // SAFETY: six bytes, read without regard to alignment (see `packet::at`).
    unsafe { (*start.cast::<u32>(), *start.cast::<u16>().add(2)) }
}

/// An Ethernet header up to its EtherType, as it stands on the wire.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Link {
    /// Destination and source address.
    pub macs: Macs,
    /// VLAN tags: tag protocol and tag control, as they stand on the wire.
    pub tags: [u32; 2],
    /// How many of `tags` there are: 0, 1 or 2.
    pub tag_count: u32,
}

impl Link {
    /// Bytes of the header, EtherType included.
    #[inline(always)]
    pub const fn len(&self) -> usize {
        // It may have been in memory, where the verifier forgets its bound.
        ETHERNET_LEN + TAG_LEN * (self.tag_count & 3) as usize
    }

    /// From the addresses alone.
    #[inline(always)]
    pub fn untagged(destination: &[u8; 6], source: &[u8; 6]) -> Self {
        Self { macs: Macs::new(split(destination), split(source)), tags: [0; 2], tag_count: 0 }
    }

    /// With one VLAN tag more, outside of the others. At most two: a third is not made.
    #[inline(always)]
    pub const fn push(mut self, protocol: u16, id: u16) -> Self {
        self.tags[1] = self.tags[0];
        let (p, i) = (protocol.to_be_bytes(), id.to_be_bytes());
        self.tags[0] = u32::from_ne_bytes([p[0], p[1], i[0], i[1]]);
        if self.tag_count < 2 {
            self.tag_count += 1;
        }
        self
    }

    /// Back to where it came from: destination and source address change places.
    #[inline(always)]
    pub const fn reversed(self) -> Self {
        Self { macs: Macs::new(self.macs.source(), self.macs.destination()), ..self }
    }

    /// To another destination address.
    #[inline(always)]
    pub fn to(self, destination: &[u8; 6]) -> Self {
        Self { macs: Macs::new(split(destination), self.macs.source()), ..self }
    }

    /// Writes the header at the start of the frame.
    #[inline(always)]
    pub fn write(&self, ctx: &XdpContext, ether_type: u16) -> Option<()> {
        let place = packet::at::<[u16; 6]>(ctx, 0)?.cast::<u8>();
        // SAFETY: `at` has checked twelve bytes.
        unsafe {
            *place.cast::<u32>() = self.macs.destination;
            *place.add(4).cast::<u16>() = self.macs.destination_end;
            *place.add(6).cast::<u32>() = self.macs.source;
            *place.add(10).cast::<u16>() = self.macs.source_end;
        }
        if self.tag_count == 0 {
            return packet::store(ctx, 12, ether_type.to_be());
        }
        packet::store(ctx, 12, self.tags[0])?;
        if self.tag_count == 1 {
            return packet::store(ctx, 16, ether_type.to_be());
        }
        packet::store(ctx, 16, self.tags[1])?;
        packet::store(ctx, 20, ether_type.to_be())
    }
}

/// How a frame arrived.
#[derive(Clone, Copy)]
pub struct Arrival {
    /// The device that runs this program.
    pub ifindex: u32,
    /// The VLAN sub-interface that the kernel would give the frame to, else the device itself.
    pub logical_ifindex: u32,
    /// The Ethernet header.
    pub link: Link,
    /// Its last EtherType, host order.
    pub ether_type: u16,
    /// From the fragmenter: the hop limit has been taken already.
    pub slow_path: bool,
    /// Index of this interface's translation prefix.
    pub prefix: u8,
    /// MTU of the interface, bytes.
    pub mtu: u32,
    /// The interface that the kernel is told the packet has arrived by once it is IPv6.
    pub ipv6_ifindex: u32,
}

/// What is known of an interface.
#[inline(always)]
pub fn interface(ifindex: u32) -> Option<&'static Interface> {
    interface_in(state()?, ifindex)
}

/// As [`interface`], with the record beside the tables at hand.
#[inline(always)]
pub fn interface_in(state: &State, ifindex: u32) -> Option<&Interface> {
    if ifindex >= MAX_IFINDEX {
        return None;
    }
    // SAFETY: an index under their number.
    let interface = unsafe { state.interfaces.get_unchecked(bounded::<{ MAX_IFINDEX - 1 }>(ifindex)) };
    if interface.flags & Interface::PRESENT != 0 { Some(interface) } else { None }
}

/// The interface that a frame has arrived by: of a bond's ports the bond.
#[inline(always)]
pub fn ingress(ctx: &XdpContext) -> u32 {
    let ifindex = ctx.ingress_ifindex() as u32;
    match interface(ifindex) {
        Some(port) if port.flags & Interface::PORT != 0 => port.parent,
        _ => ifindex,
    }
}

/// Reads the link layer into the scratch record. `None`: not for this program, the kernel gets the frame as it is (docs/translation.md 1).
#[inline(always)]
pub fn arrival(ctx: &Context) -> Option<&'static Arrival> {
    let arrival = &mut ctx.scratch().arrival;
    read(ctx, arrival)?;
    reload();
    Some(arrival)
}

#[inline(always)]
fn read(ctx: &XdpContext, arrival: &mut Arrival) -> Option<()> {
    let ifindex = ingress(ctx);
    let place = packet::at::<[u16; 7]>(ctx, 0)?.cast::<u8>();
    // SAFETY: `at` has checked fourteen bytes.
    let (macs, first) = unsafe {
        let destination = (*place.cast::<u32>(), *place.add(4).cast::<u16>());
        let source = (*place.add(6).cast::<u32>(), *place.add(10).cast::<u16>());
        (Macs::new(destination, source), u16::from_be(*place.add(12).cast::<u16>()))
    };
    *arrival = Arrival {
        ifindex,
        logical_ifindex: ifindex,
        link: Link { macs, tags: [0; 2], tag_count: 0 },
        ether_type: first,
        slow_path: false,
        prefix: 0,
        mtu: u32::MAX,
        ipv6_ifindex: ifindex,
    };
    if let Some(interface) = interface(ifindex) {
        arrival.slow_path = interface.flags & Interface::SLOW_PATH != 0;
        arrival.prefix = interface.prefix;
        arrival.mtu = interface.mtu;
        arrival.ipv6_ifindex = interface.ipv6_ifindex;
        if !arrival.slow_path && !is_for_this_machine(macs, &interface.mac) {
            return None;
        }
    }
    if is_tag(first) {
        arrival.ether_type = tags(ctx, arrival)?;
    }
    Some(())
}

#[inline(always)]
const fn is_tag(ether_type: u16) -> bool {
    ether_type == 0x8100 || ether_type == 0x88a8
}

/// Unicast to the interface's address, or to another of the machine's (VRRP, a VLAN or macvlan sub-interface).
#[inline(always)]
fn is_for_this_machine(macs: Macs, own: &[u8; 6]) -> bool {
    macs.destination() == split(own) || is_of_this_machine(macs.destination())
}

/// Whether a link-layer address, as [`split`] gives it, is one of the machine's.
#[inline(always)]
pub fn is_of_this_machine(mac: (u32, u16)) -> bool {
    let (a, b) = (mac.0.to_ne_bytes(), mac.1.to_ne_bytes());
    if a[0] & 1 != 0 {
        return false;
    }
    let key = MacKey::new([a[0], a[1], a[2], a[3], b[0], b[1]]);
    MACS.get_ptr(key).is_some()
}

/// Reads one or two VLAN tags; gives the EtherType after them.
#[inline(always)]
fn tags(ctx: &XdpContext, arrival: &mut Arrival) -> Option<u16> {
    let first: [u16; 4] = packet::load(ctx, 12)?;
    let mut ether_type = u16::from_be(first[2]);
    arrival.link.tags[0] = tag(first[0], first[1]);
    arrival.link.tag_count = 1;
    // Behind a VLAN that the kernel does not know it looks at no other, but behind a tag of priority alone.
    let goes_on = enter(arrival, first[0], first[1]) || u16::from_be(first[1]) & 0xfff == 0;
    if is_tag(ether_type) {
        let second: [u16; 3] = packet::load(ctx, 16)?;
        arrival.link.tags[1] = tag(second[0], second[1]);
        arrival.link.tag_count = 2;
        if goes_on {
            enter(arrival, second[0], second[1]);
        }
        ether_type = u16::from_be(second[2]);
    }
    Some(ether_type)
}

#[inline(always)]
const fn tag(protocol: u16, control: u16) -> u32 {
    let (p, c) = (protocol.to_ne_bytes(), control.to_ne_bytes());
    u32::from_ne_bytes([p[0], p[1], c[0], c[1]])
}

/// Follows a tag to the VLAN sub-interface that the kernel would give the frame to; says whether there is one.
#[inline(always)]
fn enter(arrival: &mut Arrival, protocol: u16, control: u16) -> bool {
    let key = VlanKey {
        parent: arrival.logical_ifindex,
        vlan_id: u16::from_be(control) & 0xfff,
        vlan_protocol: u16::from_be(protocol),
    };
    let Some(ifindex) = VLANS.get_ptr(key) else { return false };
    // SAFETY: a map value, valid for the whole run of the program.
    arrival.logical_ifindex = unsafe { *ifindex };
    if let Some(interface) = interface(arrival.logical_ifindex) {
        arrival.prefix = interface.prefix;
        arrival.mtu = interface.mtu;
        arrival.ipv6_ifindex = interface.ipv6_ifindex;
    }
    true
}
