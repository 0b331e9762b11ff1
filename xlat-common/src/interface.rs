//! What the program knows of each interface: an array indexed by `ifindex`, filled by the daemon from netlink.

use crate::address::Ipv6;

/// Number of places in the interface array. An interface whose index is not below it cannot be used.
pub const MAX_IFINDEX: u32 = 16_384;

/// One interface. An all-zero record is an interface the daemon has not told of.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// The `Interface::*` flags.
    pub flags: u32,
    /// MTU in bytes, of the IP packet.
    pub mtu: u32,
    /// For a VLAN sub-interface: the device that carries the tagged frames; for a port of a bond: the bond; else 0.
    pub parent: u32,
    /// For a VLAN sub-interface: the VLAN ID (host order).
    pub vlan_id: u16,
    /// For a VLAN sub-interface: the tag protocol, 0x8100 or 0x88a8 (host order).
    pub vlan_protocol: u16,
    /// Link-layer address.
    pub mac: [u8; 6],
    /// Index of the translation prefix that stands for the IPv4 Internet for packets arriving here.
    pub prefix: u8,
    /// Zero.
    pub reserved: u8,
    /// Source of ICMPv4 errors sent from here, host order; 0: none.
    pub ipv4: u32,
    /// The interface that the kernel is told IPv6 packets from here have arrived by: this one, or the fragmenter's near end where
    /// the kernel takes no IPv6 packets from this one (`disable_ipv6`, or an MTU under 1280: RFC 8200 5).
    pub ipv6_ifindex: u32,
    /// Source of ICMPv6 errors sent from here (a global address if there is one); `::`: none.
    pub ipv6: Ipv6,
    /// Of the fragmenter's near end: the far end's link-layer address.
    pub peer_mac: [u8; 6],
    /// Zero; room up to one cache line.
    pub reserved3: [u16; 5],
}

const _: () = assert!(size_of::<Interface>() == 64);

impl Interface {
    /// The record is filled.
    pub const PRESENT: u32 = 1;
    /// The near end of the fragmenter: packets that arrive here have had their hop limit taken already, and what is not
    /// translated here is dropped, never passed (it would circle).
    pub const SLOW_PATH: u32 = 2;
    /// `XDP_TX` out of this interface works.
    pub const CAN_TX: u32 = 4;
    /// `XDP_REDIRECT` into this interface works.
    pub const CAN_REDIRECT: u32 = 8;
    /// A VLAN sub-interface of `parent`.
    pub const VLAN: u32 = 16;
    /// A port of the bond `parent`: it runs the bond's program, and what arrives by it has arrived by the bond.
    pub const PORT: u32 = 32;
    /// `XDP_REDIRECT` into this interface works with frames of several buffers, too.
    pub const TAKES_BUFFERS: u32 = 64;

    /// The record as words, in their order in memory.
    #[cfg(feature = "user")]
    #[must_use]
    pub fn words(&self) -> [u64; 8] {
        // SAFETY: 64 bytes of integers without padding.
        unsafe { core::mem::transmute(*self) }
    }
}

/// Key of the map from a tagged frame to the VLAN sub-interface that would get it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct VlanKey {
    /// The device the frame arrives at.
    pub parent: u32,
    /// VLAN ID, host order.
    pub vlan_id: u16,
    /// Tag protocol, host order.
    pub vlan_protocol: u16,
}

/// Key of the set of the machine's link-layer addresses.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MacKey {
    /// The address, then two zero bytes.
    pub bytes: [u8; 8],
}

impl MacKey {
    /// The key of a link-layer address.
    #[must_use]
    pub const fn new(mac: [u8; 6]) -> Self {
        Self { bytes: [mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], 0, 0] }
    }
}

#[cfg(feature = "user")]
mod pod {
    // SAFETY: repr(C), only integers and bytes, no implicit padding (see the size assertion and the reserved fields).
    unsafe impl aya::Pod for super::Interface {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::VlanKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::MacKey {}
}
