//! The way out: the kernel's routing table asked for the translated header (docs/translation.md 11).

use aya_ebpf::{
    EbpfContext,
    bindings::{
        BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_SUCCESS, bpf_fib_lookup as FibLookup,
        bpf_fib_lookup__bindgen_ty_1, bpf_fib_lookup__bindgen_ty_2, bpf_fib_lookup__bindgen_ty_3,
        bpf_fib_lookup__bindgen_ty_4, bpf_fib_lookup__bindgen_ty_5, xdp_action,
    },
    helpers::generated::{bpf_fib_lookup, bpf_redirect},
    programs::XdpContext,
};
use xlat_common::{address::Ipv6, counters::Verdict, interface::Interface, next_hop};

use crate::{
    conclude::{Sent, counters, scratch},
    context::Context,
    link::{self, Arrival, Link},
    next_hop::Cache,
    packet, setting,
    verifier::reload,
};

/// Linux' address family numbers.
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// The way out of a packet.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Way {
    /// `XDP_TX`: by the interface it came in by; `XDP_REDIRECT`: by another; `XDP_PASS`: to the kernel, which forwards it.
    pub action: u32,
    /// The interface of a redirect.
    pub ifindex: u32,
    /// MTU of the next hop, bytes; `u32::MAX` where the kernel is to find out.
    pub mtu: u32,
    /// Its Ethernet header.
    pub link: Link,
}

impl Way {
    /// Hop limit or TTL of a packet that arrived with `hop_limit`: one is taken, by whom it may be.
    #[inline(always)]
    pub fn hop_limit(&self, hop_limit: u8, taken: bool) -> u8 {
        if self.is_detour() {
            // The kernel takes two.
            return hop_limit.saturating_add(if taken { 2 } else { 1 });
        }
        match (self.is_kernel(), taken) {
            // The kernel takes one.
            (true, false) => hop_limit,
            (true, true) => hop_limit.saturating_add(1),
            (false, false) => hop_limit.wrapping_sub(1),
            (false, true) => hop_limit,
        }
    }

    /// Sends the packet, whose headers are written.
    #[inline(always)]
    pub fn send(&self) -> Sent {
        let verdict = if self.is_detour() { Verdict::ToKernel } else { Verdict::Redirected };
        match self.action {
            xdp_action::XDP_TX => Sent::new(xdp_action::XDP_TX, Verdict::Transmitted),
            xdp_action::XDP_REDIRECT => {
                // SAFETY: the helper takes numbers only.
                let action = unsafe { bpf_redirect(self.ifindex, 0) };
                Sent::new(action as u32, verdict)
            }
            _ => Sent::new(xdp_action::XDP_PASS, Verdict::ToKernel),
        }
    }

    /// Nowhere yet: the link-layer header as it came, for a second pass over the same frame.
    #[inline(always)]
    pub fn back(ctx: &Context, arrival: &Arrival) -> &'static Self {
        Self { action: xdp_action::XDP_PASS, ifindex: 0, mtu: u32::MAX, link: arrival.link }.keep(ctx)
    }

    /// The same, in the scratch record.
    #[inline(always)]
    pub fn keep(self, ctx: &Context) -> &'static Self {
        let place = &mut ctx.scratch().way;
        *place = self;
        place
    }

    /// Becomes the way to the kernel, by the interface it came in by.
    #[inline(always)]
    fn lead_to_kernel(&mut self, arrival: &Arrival) {
        self.action = xdp_action::XDP_PASS;
        self.ifindex = 0;
        self.link = match link::interface(arrival.ifindex) {
            // The fragmenter does not resolve addresses: what it sends is addressed to nobody.
            Some(interface) if arrival.slow_path => arrival.link.to(&interface.mac),
            _ => arrival.link,
        };
    }

    /// Where the kernel would have to take an IPv6 packet from an interface that it takes none from: by the fragmenter, which sends
    /// it back as it is.
    #[inline(always)]
    fn lead_ipv6(&mut self, arrival: &Arrival) {
        if !self.is_kernel() || arrival.ipv6_ifindex == arrival.logical_ifindex {
            return;
        }
        if let Some(near) = link::interface(arrival.ipv6_ifindex) {
            self.action = xdp_action::XDP_REDIRECT;
            self.ifindex = arrival.ipv6_ifindex;
            self.link = Link::untagged(&near.peer_mac, &near.mac);
        }
    }

    /// Whether the kernel gets the packet by way of the fragmenter, which no other packet is redirected to here.
    #[inline(always)]
    fn is_detour(&self) -> bool {
        self.action == xdp_action::XDP_REDIRECT && self.ifindex == setting!(fragmenter_ifindex)
    }

    /// Whether the kernel gets the packet.
    #[inline(always)]
    pub const fn is_kernel(&self) -> bool {
        self.action == xdp_action::XDP_PASS
    }
}

/// The way of an IPv6 packet of `total_len` bytes, as it is remembered or as the routing table says. Where it is remembered, it
/// depends on the destination alone, and so does the choice among several next hops: the source is not told.
#[inline(always)]
pub fn six(ctx: &Context, arrival: &Arrival, header: &Flow6, total_len: u32, cache: Cache) -> &'static Way {
    let scratch = ctx.scratch();
    let epoch = cache.epoch();
    if epoch != 0 && cache.lead(ctx, arrival, scratch.both.next_hop, epoch, total_len, &mut scratch.way) {
        reload();
        return &scratch.way;
    }
    let source = if epoch != 0 { Ipv6::UNSPECIFIED } else { header.source };
    let fib = &mut scratch.fib;
    begin(fib, AF_INET6, header.next_header, arrival, total_len);
    fib.__bindgen_anon_2 = bpf_fib_lookup__bindgen_ty_2 { flowinfo: (u32::from(header.traffic_class) << 20).to_be() };
    fib.__bindgen_anon_3 = bpf_fib_lookup__bindgen_ty_3 { ipv6_src: words(source) };
    fib.__bindgen_anon_4 = bpf_fib_lookup__bindgen_ty_4 { ipv6_dst: words(header.destination) };
    fib.ifindex = arrival.ipv6_ifindex;
    find(ctx, true);
    cache.remember(header.destination, scratch.hop, epoch);
    &scratch.way
}

/// The way of an IPv4 packet of `total_len` bytes; see [`six`].
#[inline(always)]
pub fn four(ctx: &Context, arrival: &Arrival, header: &Flow4, total_len: u32, cache: Cache) -> &'static Way {
    let scratch = ctx.scratch();
    let epoch = cache.epoch();
    if epoch != 0 && cache.lead(ctx, arrival, 0, epoch, total_len, &mut scratch.way) {
        reload();
        return &scratch.way;
    }
    let source = if epoch != 0 { 0 } else { header.source };
    let fib = &mut scratch.fib;
    begin(fib, AF_INET, header.protocol, arrival, total_len);
    fib.__bindgen_anon_2 = bpf_fib_lookup__bindgen_ty_2 { flowinfo: 0 };
    fib.__bindgen_anon_2.tos = header.tos & 0xfc;
    fib.__bindgen_anon_3 = bpf_fib_lookup__bindgen_ty_3 { ipv4_src: source.to_be() };
    fib.__bindgen_anon_4 = bpf_fib_lookup__bindgen_ty_4 { ipv4_dst: header.destination.to_be() };
    find(ctx, false);
    cache.remember(Ipv6::UNSPECIFIED, scratch.hop, epoch);
    &scratch.way
}

/// Asks the question in the scratch record and leaves the way there.
#[inline(always)]
fn find(ctx: &Context, ipv6: bool) {
    // Everything is written where it stays: a copy would read in words what has just been written in bytes.
    let scratch = ctx.scratch();
    if let Some(counters) = counters() {
        counters.route_lookups += 1;
    }
    let (arrival, way) = (&scratch.arrival, &mut scratch.way);
    scratch.hop = ask(ctx, arrival, &mut scratch.fib, way);
    if ipv6 {
        way.lead_ipv6(arrival);
    }
    reload();
}

/// The interface that the last answer of the routing table was for.
#[inline(always)]
pub fn asked_ifindex() -> u32 {
    scratch().map_or(0, |scratch| scratch.fib.ifindex)
}

/// What of an IPv6 header decides its way.
pub struct Flow6 {
    /// Source Address.
    pub source: Ipv6,
    /// Destination Address.
    pub destination: Ipv6,
    /// Traffic Class.
    pub traffic_class: u8,
    /// The upper-layer protocol.
    pub next_header: u8,
}

/// What of an IPv4 header decides its way.
pub struct Flow4 {
    /// Source Address, host order.
    pub source: u32,
    /// Destination Address, host order.
    pub destination: u32,
    /// Type of Service.
    pub tos: u8,
    /// Protocol.
    pub protocol: u8,
}

#[inline(always)]
const fn words(address: Ipv6) -> [u32; 4] {
    [
        ((address.hi >> 32) as u32).to_be(),
        (address.hi as u32).to_be(),
        ((address.lo >> 32) as u32).to_be(),
        (address.lo as u32).to_be(),
    ]
}

#[inline(always)]
fn begin(fib: &mut FibLookup, family: u8, protocol: u8, arrival: &Arrival, total_len: u32) {
    fib.family = family;
    fib.l4_protocol = protocol;
    fib.sport = 0;
    fib.dport = 0;
    let tot_len = if total_len > 0xffff { 0xffff } else { total_len as u16 };
    fib.__bindgen_anon_1 = bpf_fib_lookup__bindgen_ty_1 { tot_len };
    fib.ifindex = arrival.logical_ifindex;
    fib.__bindgen_anon_5 = bpf_fib_lookup__bindgen_ty_5 { tbid: 0 };
}

/// Gives the next hop, if it may be remembered: if the interface's MTU is the way's, and frames can leave by it.
#[inline(always)]
fn ask(ctx: &XdpContext, arrival: &Arrival, fib: &mut FibLookup, way: &mut Way) -> u64 {
    // SAFETY: `fib` is a whole bpf_fib_lookup, its length is given.
    let result = unsafe { bpf_fib_lookup(ctx.as_ptr(), fib, size_of::<FibLookup>() as i32, 0) };
    // SAFETY: the helper has replaced tot_len by the MTU (since Linux 5.12) wherever it looked at it.
    let mtu = u32::from(unsafe { fib.__bindgen_anon_1.mtu_result });
    let found = result == i64::from(BPF_FIB_LKUP_RET_SUCCESS);
    let mtu = if found || result == i64::from(BPF_FIB_LKUP_RET_FRAG_NEEDED) {
        mtu
    } else if result == i64::from(BPF_FIB_LKUP_RET_NO_NEIGH) {
        // It fits, but the helper has not said into what.
        link::interface(fib.ifindex).map_or(u32::MAX, |interface| interface.mtu)
    } else {
        u32::MAX
    };
    way.mtu = mtu;
    way.link = Link::untagged(&fib.dmac, &fib.smac);
    if !found || lead_to_device(ctx, arrival, fib.ifindex, way).is_none() {
        way.lead_to_kernel(arrival);
        return 0;
    }
    match link::interface(fib.ifindex) {
        Some(interface) if interface.mtu == mtu => next_hop::hop(fib.ifindex, fib.dmac),
        _ => 0,
    }
}

/// Whether an interface that takes frames takes this one: without the flag, one of several buffers would be lost there.
#[inline(always)]
fn takes_frame(ctx: &XdpContext, interface: &Interface) -> bool {
    interface.flags & Interface::TAKES_BUFFERS != 0 || packet::frame_len(ctx) == ctx.data_end() - ctx.data()
}

/// Leads to the device that carries the frames of an interface, with its VLAN tags. `None`: it cannot take frames from XDP.
#[inline(always)]
pub fn lead_to_device(ctx: &XdpContext, arrival: &Arrival, mut ifindex: u32, way: &mut Way) -> Option<()> {
    let mut interface = link::interface(ifindex)?;
    if interface.flags & Interface::VLAN != 0 {
        way.link = way.link.push(interface.vlan_protocol, interface.vlan_id);
        ifindex = interface.parent;
        interface = link::interface(ifindex)?;
        if interface.flags & Interface::VLAN != 0 {
            way.link = way.link.push(interface.vlan_protocol, interface.vlan_id);
            ifindex = interface.parent;
            interface = link::interface(ifindex)?;
        }
    }
    way.ifindex = ifindex;
    way.action = if ifindex == arrival.ifindex && interface.flags & Interface::CAN_TX != 0 {
        xdp_action::XDP_TX
    } else if interface.flags & Interface::CAN_REDIRECT != 0 && takes_frame(ctx, interface) {
        xdp_action::XDP_REDIRECT
    } else {
        return None;
    };
    Some(())
}
