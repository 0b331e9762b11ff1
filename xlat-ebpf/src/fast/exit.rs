//! The way out of a packet whose next hop is remembered.

use aya_ebpf::{bindings::xdp_action, helpers::generated::bpf_redirect};
use xlat_common::{
    counters::{Counters, Verdict},
    interface::Interface,
    next_hop::PLACES,
    state::State,
};

use super::frame::MAC;
use crate::{
    conclude::{Tally, count_account, count_in},
    link,
};

/// A next hop and the interface it is at.
pub struct Exit {
    /// Link-layer address of the next hop, in the lower six bytes.
    pub destination: u64,
    /// Link-layer address of the interface, in the lower six bytes.
    pub source: u64,
    /// MTU of the interface, bytes.
    pub mtu: u32,
    /// The interface; 0: the one that the packet came by.
    ifindex: u32,
}

impl Exit {
    /// By the next hop in a place of the cache. `None`: there is none, or its frames are tagged, or it cannot take any.
    #[inline(always)]
    pub fn by(state: &State, place: u32, arrival_ifindex: u32) -> Option<Self> {
        if place == 0 {
            return None;
        }
        let hop = state.next_hops[(place & (PLACES - 1)) as usize];
        let ifindex = hop as u32 & 0xffff;
        let interface = link::interface_in(state, ifindex)?;
        let same = ifindex == arrival_ifindex && interface.flags & Interface::CAN_TX != 0;
        if interface.flags & Interface::VLAN != 0 || !same && interface.flags & Interface::CAN_REDIRECT == 0 {
            return None;
        }
        let (destination, source) = (hop >> 16, mac(interface));
        Some(Self { destination, source, mtu: interface.mtu, ifindex: if same { 0 } else { ifindex } })
    }

    /// Sends the packet, whose headers are written, and counts it.
    #[inline(always)]
    pub fn send(&self, counters: &mut Counters, tally: &Tally) -> u32 {
        count_account(tally);
        if self.ifindex == 0 {
            count_in(counters, tally, Verdict::Transmitted as u32);
            return xdp_action::XDP_TX;
        }
        count_in(counters, tally, Verdict::Redirected as u32);
        // SAFETY: the helper takes numbers only.
        unsafe { bpf_redirect(self.ifindex, 0) as u32 }
    }
}

/// The link-layer address of an interface, in the lower six bytes.
#[inline(always)]
pub fn mac(interface: &Interface) -> u64 {
    const { assert!(core::mem::offset_of!(Interface, mac) + 8 <= size_of::<Interface>()) };
    // SAFETY: eight bytes within the record.
    MAC & unsafe {
        *core::ptr::from_ref(interface).cast::<u8>().add(core::mem::offset_of!(Interface, mac)).cast::<u64>()
    }
}
