//! The settings of one program instance: read-only data, fixed when the program is loaded, so that the verifier removes
//! the branches that are off. A changed setting is a new instance.

use crate::address::Ipv6;

/// Most translation prefixes a relay can have (an entry's 3 bits for the index have one value that means "default").
pub const MAX_PREFIXES: usize = 7;
/// Places for them: a power of two, so that any index can be brought inside by a mask.
pub const PREFIX_PLACES: usize = 8;
/// Most entries of `ipv4_pool` and of `ipv6_pool`.
pub const MAX_POOL: usize = 16;
/// Most values of `mtu_plateaus`.
pub const MAX_PLATEAUS: usize = 16;

/// A translation prefix (RFC 6052 2.2).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TranslationPrefix {
    /// The prefix; bits after `len` are zero.
    pub address: Ipv6,
    /// The first `len` bits set.
    pub mask: Ipv6,
    /// 32, 40, 48, 56, 64 or 96.
    pub len: u32,
    /// 1: the well-known prefix with its restriction to global IPv4 addresses in force (RFC 6052 3.1).
    pub global_only: u32,
}

impl TranslationPrefix {
    /// From the prefix, whose bits after `len` are zero; `global_only`: see the field.
    #[must_use]
    pub const fn new(address: Ipv6, len: u32, global_only: bool) -> Self {
        let mask = Ipv6 { hi: u64::MAX, lo: u64::MAX }.masked(len);
        Self { address, mask, len, global_only: global_only as u32 }
    }

    /// Whether an address lies in it.
    #[inline(always)]
    #[must_use]
    pub const fn contains(&self, address: Ipv6) -> bool {
        ((address.hi & self.mask.hi) ^ self.address.hi) | ((address.lo & self.mask.lo) ^ self.address.lo) == 0
    }
}

/// A range of IPv4 addresses to take ICMP error sources from (RFC 6791).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ipv4Range {
    /// First address, host order.
    pub first: u32,
    /// Number of addresses, at least 1 in a used entry.
    pub count: u32,
}

/// A range of IPv6 addresses to take ICMPv6 error sources from.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ipv6Range {
    /// First address.
    pub first: Ipv6,
    /// Number of addresses used (a prefix with more gives its first 2^32 − 1), at least 1 in a used entry.
    pub count: u64,
}

/// How a byte of the header is set: traffic class and TOS.
pub mod dscp {
    /// Copied from the other family's header.
    pub const COPY: u32 = 0;
    /// Set to the configured value.
    pub const FIXED: u32 = 1;
}

/// Values of [`Settings::hairpin`] (RFC 7757 4).
pub mod hairpin {
    /// No hairpinning.
    pub const OFF: u32 = 0;
    /// RFC 7757 4.2.1.
    pub const SIMPLE: u32 = 1;
    /// RFC 7757 4.2.2.
    pub const INTRINSIC: u32 = 2;
}

/// Values of [`Settings::icmp_errors`].
pub mod icmp_errors {
    /// Never sent.
    pub const OFF: u32 = 0;
    /// At most [`super::Settings::icmp_rate`] a second.
    pub const RATE_LIMITED: u32 = 1;
    /// Always sent.
    pub const ON: u32 = 2;
}

/// The settings of one program instance. Field by field the keys of `xlat.toml`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// [`crate::ABI_VERSION`].
    pub abi: u32,
    /// Number of used entries of `prefixes`.
    pub prefix_count: u32,
    /// Translation prefixes; the first is the default.
    pub prefixes: [TranslationPrefix; PREFIX_PLACES],
    /// `lowest_ipv6_mtu`, bytes, 1280 or more.
    pub lowest_ipv6_mtu: u32,
    /// One of [`hairpin`].
    pub hairpin: u32,
    /// 1: compute the checksum of IPv4 UDP packets that have none; 0: drop them.
    pub udp_zero_checksum_compute: u32,
    /// One of [`dscp`] for the IPv6 traffic class.
    pub traffic_class_mode: u32,
    /// The traffic class if fixed.
    pub traffic_class: u32,
    /// One of [`dscp`] for the IPv4 TOS.
    pub tos_mode: u32,
    /// The TOS if fixed.
    pub tos: u32,
    /// 1: flow label from a hash (RFC 6438); 0: zero.
    pub flow_label_hash: u32,
    /// 1: the translation prefix alone suffices; 0: one address at least by an EAM.
    pub scope_all: u32,
    /// 1: what is in no scope is dropped.
    pub strict: u32,
    /// One of [`icmp_errors`].
    pub icmp_errors: u32,
    /// ICMP errors of the relay's own a second.
    pub icmp_rate: u32,
    /// 1: RFC 5837 Interface Information Object with the true IPv6 source.
    pub interface_info: u32,
    /// Events logged a second.
    pub event_rate: u32,
    /// Number of used entries of `plateaus`.
    pub plateau_count: u32,
    /// `mtu_plateaus`, bytes, descending.
    pub plateaus: [u32; MAX_PLATEAUS],
    /// Number of used entries of `ipv4_pool`.
    pub ipv4_pool_count: u32,
    /// Addresses in `ipv4_pool` in all.
    pub ipv4_pool_size: u32,
    /// RFC 6791 sources.
    pub ipv4_pool: [Ipv4Range; MAX_POOL],
    /// Number of used entries of `ipv6_pool`.
    pub ipv6_pool_count: u32,
    /// `ifindex` of the fragmenter's near end; 0: there is none.
    pub fragmenter_ifindex: u32,
    /// How many bits of the kernel's clock a tick of the next-hop cache leaves out (`crate::next_hop`).
    pub tick_shift: u32,
    /// Sources for unmapped ICMPv4 errors.
    pub ipv6_pool: [Ipv6Range; MAX_POOL],
    /// Number of buckets of each table, minus one; a power of two minus one.
    pub bucket_mask: u32,
    /// 1: the kernel handles multi-buffer frames (Linux 5.18 and later), `bpf_xdp_get_buff_len` exists.
    pub multi_buffer: u32,
    /// Accounts of each CPU's part (`crate::account`); 0: nothing is counted for single EAMs.
    pub accounts: u32,
    /// Zero.
    pub reserved: u32,
    /// Seed of the table's hash.
    pub seed: u64,
}

impl Settings {
    /// The defaults of `xlat.toml`, without a translation prefix.
    pub const DEFAULT: Self = Self {
        abi: crate::ABI_VERSION,
        prefix_count: 0,
        prefixes: [TranslationPrefix::new(Ipv6::UNSPECIFIED, 0, false); PREFIX_PLACES],
        lowest_ipv6_mtu: 1280,
        hairpin: hairpin::INTRINSIC,
        udp_zero_checksum_compute: 0,
        traffic_class_mode: dscp::COPY,
        traffic_class: 0,
        tos_mode: dscp::COPY,
        tos: 0,
        flow_label_hash: 0,
        scope_all: 0,
        strict: 0,
        icmp_errors: icmp_errors::RATE_LIMITED,
        icmp_rate: 1000,
        interface_info: 0,
        event_rate: 10,
        plateau_count: 11,
        // RFC 1191 7.1
        plateaus: [65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68, 0, 0, 0, 0, 0],
        ipv4_pool_count: 0,
        ipv4_pool_size: 0,
        ipv4_pool: [Ipv4Range { first: 0, count: 0 }; MAX_POOL],
        ipv6_pool_count: 0,
        fragmenter_ifindex: 0,
        tick_shift: 7,
        ipv6_pool: [Ipv6Range { first: Ipv6::UNSPECIFIED, count: 0 }; MAX_POOL],
        bucket_mask: 0,
        multi_buffer: 0,
        accounts: 0,
        reserved: 0,
        seed: 0,
    };
}

impl Default for Settings {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(feature = "user")]
// SAFETY: repr(C), only integers; every 8-byte field stands at a multiple of 8 (checked below).
unsafe impl aya::Pod for Settings {}

const _: () = {
    assert!(core::mem::offset_of!(Settings, prefixes) == 8);
    assert!(core::mem::offset_of!(Settings, ipv6_pool) % 8 == 0);
    assert!(
        core::mem::offset_of!(Settings, ipv6_pool) == core::mem::offset_of!(Settings, tick_shift) + size_of::<u32>()
    );
    assert!(core::mem::offset_of!(Settings, seed) + 8 == size_of::<Settings>());
};
