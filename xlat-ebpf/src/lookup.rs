//! Mapping addresses: EAM table, translation prefixes, and the flags that hold for an address (docs/translation.md 3, 4).

use xlat_common::{
    account,
    address::Ipv6,
    mapping::{eam_to_ipv4, eam_to_ipv6, embed, extract},
    settings::{MAX_PREFIXES, PREFIX_PLACES, TranslationPrefix},
    table::{Entry, Found, TableHeader},
};

use crate::{
    context::Context,
    setting,
    tables::{at_length4, find4, find4_in, find6, find6_in, header, lengths},
    verifier::reload,
};

/// The translation prefix at `index`.
#[inline(always)]
pub fn prefix(index: usize) -> TranslationPrefix {
    let index = index & (PREFIX_PLACES - 1);
    TranslationPrefix {
        address: Ipv6 { hi: setting!(prefixes[index].address.hi), lo: setting!(prefixes[index].address.lo) },
        mask: Ipv6 { hi: setting!(prefixes[index].mask.hi), lo: setting!(prefixes[index].mask.lo) },
        len: setting!(prefixes[index].len),
        global_only: setting!(prefixes[index].global_only),
    }
}

/// The translation prefix that an IPv6 address lies in.
#[inline(always)]
fn prefix_of(address: Ipv6) -> Option<(usize, TranslationPrefix)> {
    let count = setting!(prefix_count) as usize;
    for index in 0..MAX_PREFIXES {
        if index >= count {
            break;
        }
        let prefix = prefix(index);
        if prefix.contains(address) {
            return Some((index, prefix));
        }
    }
    None
}

/// In [`Mapped4::flags`] and [`Mapped6::flags`], above the flags of [`Entry`]: mapped by a translation prefix (RFC 6052). Mapped
/// by an EAM is [`Entry::EAM`]; neither: not mapped at all. Above them is the EAM's account.
pub const BY_PREFIX: u32 = 0x20;
/// In [`Mapped4::flags`]: by prefix, and the IPv4 address is covered by an EAM (RFC 7757 4.2.2 A2 and A3).
pub const HAIRPIN: u32 = 0x40;

const _: () = assert!((BY_PREFIX | HAIRPIN) & (account::FLAGS_MASK | Entry::FLAGS as u32) == 0);

/// An IPv4 address and what is known of it.
#[derive(Clone, Copy)]
struct Known4 {
    /// Flags of [`Entry`], without the prefix index, and the account of the EAM.
    flags: u32,
    /// Index of the translation prefix that the address's EAM asks for, or [`Entry::PREFIX_DEFAULT`].
    prefix: u8,
    /// The IPv6 address by EAM; valid if `flags` has [`Entry::EAM`].
    eam: Ipv6,
    /// What its entry remembers of its next hop; nothing that counts in entries of more than one address.
    next_hop: u64,
    /// The length of its entry's prefix; 0, too: it has none, or it is of no matter.
    len: u32,
}

impl Known4 {
    /// RFC 7757 4.2.1: "as if they did not match any EAM".
    #[inline(always)]
    const fn without_eam(self) -> Self {
        Self {
            flags: self.flags & !(EAM | account::FLAGS_MASK),
            prefix: Entry::PREFIX_DEFAULT,
            eam: Ipv6::UNSPECIFIED,
            next_hop: 0,
            len: 0,
        }
    }
}

/// Everything the IPv4 table says of an address.
#[inline(always)]
fn known4(address: u32) -> Known4 {
    let found = find4(address);
    let entry = found.entry();
    Known4 {
        flags: flags_of(found) | account::in_flags(entry.next_hop),
        prefix: entry.flags >> Entry::PREFIX_SHIFT,
        eam: eam_to_ipv6(&entry, address),
        next_hop: entry.next_hop,
        len: u32::from(entry.len),
    }
}

/// The entry of one IPv4 address. `None`: it has none of its own.
#[inline(always)]
pub fn own_entry4(address: u32) -> Found<'static> {
    at_length4(address, 32)
}

/// Whether an EAM covers an IPv4 address.
#[inline(always)]
pub fn has_eam4(address: u32) -> bool {
    known4_flags(address) & EAM != 0
}

/// The flags of [`known4`]. A global function (see `tables::shorter_length4`).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn known4_flags(address: u32) -> u32 {
    flags_of(find4(address))
}

/// An IPv4 address mapped to IPv6.
#[derive(Clone, Copy)]
pub struct Mapped6 {
    /// The IPv6 address.
    pub address: Ipv6,
    /// How it was mapped, and the flags of [`Entry`] that hold for the IPv4 or the IPv6 address.
    pub flags: u32,
}

impl Mapped6 {
    /// Whether it maps to anything.
    #[inline(always)]
    pub const fn is_mapped(&self) -> bool {
        self.flags & (BY_PREFIX | EAM) != 0
    }
}

/// [`Entry::EAM`] among the wider flags.
pub const EAM: u32 = Entry::EAM as u32;
/// [`Entry::OWN`] among the wider flags.
pub const OWN: u32 = Entry::OWN as u32;
/// The flags that hold for an IPv4 address however it is mapped.
const OWN_FLAGS: u32 = (Entry::OWN | Entry::DENIED | Entry::ILLEGAL | Entry::NON_GLOBAL) as u32;
/// [`Entry::NON_GLOBAL`] among the wider flags.
const NON_GLOBAL: u32 = Entry::NON_GLOBAL as u32;
/// [`Entry::DENIED`] among the wider flags.
pub const DENIED: u32 = Entry::DENIED as u32;
/// The flags that make a packet refused.
pub const REFUSED: u32 = (Entry::DENIED | Entry::ILLEGAL | Entry::NON_GLOBAL) as u32;

/// The addresses of an IPv4 packet, mapped to IPv6. In the scratch record: it holds until the next two are mapped.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Both6 {
    /// Flags of [`Entry`] that hold for the IPv4 source, and the account of its EAM.
    pub known_source: u32,
    /// Flags of [`Entry`] that hold for the IPv4 destination, and the account of its EAM.
    pub known_destination: u32,
    /// What the destination's entry remembers of its next hop; 0 where it is mapped in another way than by an EAM.
    pub next_hop: u64,
    /// 32: the destination has an entry of its own.
    pub destination_len: u32,
    /// Zero; keeps what follows aligned.
    pub reserved: u32,
    /// The source.
    pub source: Mapped6,
    /// The destination.
    pub destination: Mapped6,
}

/// In the `rules` of [`map_both4`]: the source is mapped as if it did not match any EAM (RFC 7757 4.2.1).
pub const SOURCE_WITHOUT_EAM: u32 = 1;
/// In the `rules` of [`map_both4`]: so is the destination.
pub const DESTINATION_WITHOUT_EAM: u32 = 2;
/// In the `rules` of [`map_both4`]: the source is taken for none of the relay's own.
pub const SOURCE_NOT_OWN: u32 = 4;

/// Maps both addresses of an IPv4 packet. `prefix` is the translation prefix of the interface that it came by: where an
/// address has an EAM that asks for a prefix, that one stands for the other.
#[inline(always)]
pub fn map_both4(ctx: &Context, source: u32, destination: u32, rules: u32, prefix: u8) -> &'static Both6 {
    let (mut known_source, mut known_destination) = (known4(source), known4(destination));
    if rules & SOURCE_WITHOUT_EAM != 0 {
        known_source = known_source.without_eam();
    }
    if rules & DESTINATION_WITHOUT_EAM != 0 {
        known_destination = known_destination.without_eam();
    }
    if rules & SOURCE_NOT_OWN != 0 {
        known_source.flags &= !OWN;
    }
    let both = &mut ctx.scratch().both;
    both.known_source = known_source.flags;
    both.known_destination = known_destination.flags;
    both.next_hop = known_destination.next_hop;
    both.destination_len = known_destination.len;
    both.source = map4(source, &known_source, prefix_for(&known_destination, prefix));
    both.destination = map4(destination, &known_destination, prefix_for(&known_source, prefix));
    reload();
    both
}

/// 1: the EAM of an IPv4 address gives one of the relay's own IPv6 addresses. A global function (see `tables::shorter_length4`).
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn maps_to_own(address: u32) -> u32 {
    let known = known4(address);
    u32::from(known.flags & EAM != 0 && refused6(known.eam.hi, known.eam.lo) & OWN != 0)
}

/// The account that an IPv4 packet counts for, whose addresses have been mapped.
#[inline(always)]
pub fn account4(both: &Both6) -> u32 {
    account::of_flags(both.known_destination, both.known_source)
}

/// The account that an IPv6 packet counts for, whose addresses these are.
#[inline(always)]
pub fn account6(source: &Mapped4, destination: &Mapped4) -> u32 {
    account::of_flags(source.flags, destination.flags)
}

/// Maps an IPv4 address. `known` is of the address; `prefix_index` is the translation prefix's.
#[inline(always)]
fn map4(address: u32, known: &Known4, prefix_index: u8) -> Mapped6 {
    let flags = known.flags & OWN_FLAGS;
    if known.flags & EAM != 0 {
        let may_be_refused = header().is_some_and(|header| may_be_refused(header, TableHeader::REFUSED6));
        let refused = if may_be_refused { refused6(known.eam.hi, known.eam.lo) } else { 0 };
        return Mapped6 { address: known.eam, flags: flags & !NON_GLOBAL | refused | EAM };
    }
    if setting!(prefix_count) == 0 {
        return Mapped6 { address: Ipv6::UNSPECIFIED, flags };
    }
    let prefix = prefix(prefix_index as usize);
    let mapped = embed(&prefix, address);
    let flags = if prefix.global_only == 0 { flags & !NON_GLOBAL } else { flags };
    Mapped6 { address: mapped, flags: flags | flags_inside_prefix(prefix_index as usize, mapped) | BY_PREFIX }
}

/// The flags that the IPv6 table adds to an address inside a translation prefix: nearly always there is nothing to look for.
#[inline(always)]
fn flags_inside_prefix(index: usize, address: Ipv6) -> u32 {
    let Some(header) = header() else { return 0 };
    if !prefix_has_entries(header, index) {
        return 0;
    }
    refused6(address.hi, address.lo) & u32::from(Entry::OWN | Entry::DENIED)
}

/// Whether the IPv6 table holds anything inside a translation prefix, so that addresses there must be looked up.
#[inline(always)]
pub fn prefix_has_entries(header: &TableHeader, index: usize) -> bool {
    lengths(header).prefixes_with_entries >> (index & 31) & 1 != 0
}

/// Whether addresses that EAMs give must be looked up too; `bit` is of [`TableHeader::refused_by_eam`].
#[inline(always)]
pub fn may_be_refused(header: &TableHeader, bit: u64) -> bool {
    header.refused_by_eam & bit != 0
}

/// The flags that refuse an IPv6 address. A global function (see `tables::shorter_length4`).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn refused6(hi: u64, lo: u64) -> u32 {
    flags_of(find6(Ipv6 { hi, lo })) & u32::from(Entry::OWN | Entry::DENIED | Entry::ILLEGAL)
}

/// Which translation prefix stands for the other end of a packet with an address known as `service`.
#[inline(always)]
fn prefix_for(service: &Known4, arrival: u8) -> u8 {
    if service.prefix == Entry::PREFIX_DEFAULT { arrival } else { service.prefix }
}

/// An IPv6 address mapped to IPv4.
#[derive(Clone, Copy)]
pub struct Mapped4 {
    /// The IPv4 address, host order.
    pub address: u32,
    /// How it was mapped, and the flags of [`Entry`] that hold for the IPv6 or the IPv4 address.
    pub flags: u32,
}

impl Mapped4 {
    /// Whether it maps to anything.
    #[inline(always)]
    pub const fn is_mapped(&self) -> bool {
        self.flags & (BY_PREFIX | EAM) != 0
    }
}

/// Maps an IPv6 address: by its longest EAM, else by the translation prefix it lies in.
#[inline(always)]
pub fn map6(address: Ipv6) -> Mapped4 {
    let packed = map6_packed(address.hi, address.lo);
    Mapped4 { address: packed as u32, flags: (packed >> 32) as u32 }
}

/// [`map6`] as a global function (see `tables::shorter_length4`): the address in the low, the flags in the high half.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn map6_packed(hi: u64, lo: u64) -> u64 {
    let Some(header) = header() else { return 0 };
    let mapped = map6_in(header, Ipv6 { hi, lo });
    u64::from(mapped.flags) << 32 | u64::from(mapped.address)
}

/// [`map6`] without a call.
#[inline(always)]
pub fn map6_in(header: &TableHeader, address: Ipv6) -> Mapped4 {
    if let Some((index, prefix)) = prefix_of(address) {
        let found = if prefix_has_entries(header, index) { find6_in(header, address) } else { Found::NOTHING };
        if found.flags() & Entry::EAM != 0 {
            return by_eam(header, found, address);
        }
        return by_prefix(header, &prefix, address, flags_of(found));
    }
    let found = find6_in(header, address);
    if found.flags() & Entry::EAM != 0 {
        return by_eam(header, found, address);
    }
    Mapped4 { address: 0, flags: flags_of(found) }
}

/// An entry's flags without the prefix index.
#[inline(always)]
fn flags_of(found: Found<'_>) -> u32 {
    u32::from(found.flags() & Entry::FLAGS)
}

#[inline(always)]
fn by_eam(header: &TableHeader, found: Found<'_>, address: Ipv6) -> Mapped4 {
    let ipv4 = eam_to_ipv4(&found.entry(), address);
    let mut flags = flags_of(found) & !NON_GLOBAL | account::in_flags(found.next_hop());
    if may_be_refused(header, TableHeader::REFUSED4) {
        flags |= flags_of(find4_in(header, ipv4)) & u32::from(Entry::OWN | Entry::DENIED | Entry::ILLEGAL);
    }
    Mapped4 { address: ipv4, flags }
}

#[inline(always)]
fn by_prefix(header: &TableHeader, prefix: &TranslationPrefix, address: Ipv6, flags: u32) -> Mapped4 {
    let ipv4 = extract(prefix, address);
    let known = flags_of(find4_in(header, ipv4));
    let hairpin = if known & EAM != 0 { HAIRPIN } else { 0 };
    let all = (flags | known) & !EAM;
    let all = if prefix.global_only == 0 { all & !NON_GLOBAL } else { all };
    Mapped4 { address: ipv4, flags: all | hairpin | BY_PREFIX }
}
