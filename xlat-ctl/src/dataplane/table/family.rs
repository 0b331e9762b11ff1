//! What differs between the IPv4 and the IPv6 table, so that everything else is written once.

use std::{fmt::Debug, hash::Hash};

use xlat_common::{
    account,
    address::{Ipv6, mask32},
    table::{Entry, LEN4_MASK, hash4, hash6},
};

/// An EAM as the table keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// IPv4 prefix, host order.
    pub(crate) ipv4: u32,
    /// Its length.
    pub(crate) len4: u8,
    /// IPv6 prefix.
    pub(crate) ipv6: Ipv6,
    /// Its length.
    pub(crate) len6: u8,
    /// Index of the translation prefix, or [`Entry::PREFIX_DEFAULT`].
    pub(crate) prefix: u8,
    /// The account that its packets count for; 0: none.
    pub(crate) account: u32,
}

/// What holds for a prefix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    /// `Entry`'s flags but [`Entry::EAM`] and the prefix index.
    pub(crate) flags: u8,
    /// The longest EAM that covers it.
    pub(crate) rule: Option<Rule>,
}

impl Content {
    /// What a prefix takes over from the longest one around it. The relay's own addresses are single ones.
    pub(crate) fn inherited(self) -> Self {
        Self { flags: self.flags & !Entry::OWN, rule: self.rule }
    }
}

/// A prefix; bits after `len` are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key<Address> {
    pub(crate) address: Address,
    pub(crate) len: u8,
}

/// An address family.
pub(crate) trait Family: Sized + 'static {
    /// An address in host order.
    type Address: Copy + Debug + Eq + Hash + Send + Sync;
    /// Length of a whole address.
    const FULL: u8;
    /// For messages.
    const NAME: &'static str;

    fn masked(address: Self::Address, len: u8) -> Self::Address;
    fn first_byte(address: Self::Address) -> u8;
    fn hash(key: Key<Self::Address>, seed: u64) -> u64;
    fn key(entry: &Entry) -> Key<Self::Address>;
    /// The rule's prefix of this family.
    fn key_of(rule: &Rule) -> Key<Self::Address>;
    /// The table's entry.
    fn entry(key: Key<Self::Address>, content: Content) -> Entry;
    /// The covering EAM of an entry that has one.
    fn rule(entry: &Entry) -> Rule;

    /// What an entry says.
    fn content(entry: &Entry) -> Content {
        Content {
            flags: entry.flags & !(Entry::EAM | Entry::PREFIX_DEFAULT << Entry::PREFIX_SHIFT),
            rule: (entry.flags & Entry::EAM != 0).then(|| Self::rule(entry)),
        }
    }

    fn prefix(address: Self::Address, len: u8) -> Key<Self::Address> {
        Key { address: Self::masked(address, len), len }
    }

    fn contains(outer: Key<Self::Address>, inner: Key<Self::Address>) -> bool {
        outer.len <= inner.len && Self::masked(inner.address, outer.len) == outer.address
    }
}

fn flags(content: Content) -> u8 {
    let (eam, prefix) = content.rule.map_or((0, Entry::PREFIX_DEFAULT), |rule| (Entry::EAM, rule.prefix));
    content.flags | eam | prefix << Entry::PREFIX_SHIFT
}

/// IPv4.
pub(crate) enum V4 {}

impl Family for V4 {
    type Address = u32;
    const FULL: u8 = 32;
    const NAME: &'static str = "IPv4";

    fn masked(address: u32, len: u8) -> u32 {
        address & mask32(len.into())
    }

    fn first_byte(address: u32) -> u8 {
        address.to_be_bytes()[0]
    }

    fn hash(key: Key<u32>, seed: u64) -> u64 {
        hash4(key.address, key.len.into(), seed)
    }

    fn key(entry: &Entry) -> Key<u32> {
        Key { address: entry.ipv4, len: entry.len }
    }

    fn key_of(rule: &Rule) -> Key<u32> {
        Key { address: rule.ipv4, len: rule.len4 }
    }

    fn entry(key: Key<u32>, content: Content) -> Entry {
        let base = Entry { ipv4: key.address, len: key.len, flags: flags(content), ..Entry::NONE };
        match content.rule {
            Some(rule) => Entry {
                eam_len4: rule.len4,
                eam_len6: rule.len6,
                ipv6: rule.ipv6,
                next_hop: account::in_word(rule.account),
                ..base
            },
            None => base,
        }
    }

    fn rule(entry: &Entry) -> Rule {
        let len4 = entry.eam_len4 & LEN4_MASK;
        Rule {
            ipv4: Self::masked(entry.ipv4, len4),
            len4,
            ipv6: entry.ipv6,
            len6: entry.eam_len6,
            prefix: entry.flags >> Entry::PREFIX_SHIFT,
            account: account::of_word(entry.next_hop),
        }
    }
}

/// IPv6.
pub(crate) enum V6 {}

impl Family for V6 {
    type Address = Ipv6;
    const FULL: u8 = 128;
    const NAME: &'static str = "IPv6";

    fn masked(address: Ipv6, len: u8) -> Ipv6 {
        address.masked(len.into())
    }

    fn first_byte(address: Ipv6) -> u8 {
        address.hi.to_be_bytes()[0]
    }

    fn hash(key: Key<Ipv6>, seed: u64) -> u64 {
        hash6(key.address, key.len.into(), seed)
    }

    fn key(entry: &Entry) -> Key<Ipv6> {
        Key { address: entry.ipv6, len: entry.len }
    }

    fn key_of(rule: &Rule) -> Key<Ipv6> {
        Key { address: rule.ipv6, len: rule.len6 }
    }

    fn entry(key: Key<Ipv6>, content: Content) -> Entry {
        let base = Entry { ipv6: key.address, len: key.len, flags: flags(content), ..Entry::NONE };
        match content.rule {
            Some(rule) => Entry {
                eam_len4: rule.len4,
                eam_len6: rule.len6,
                ipv4: rule.ipv4,
                next_hop: account::in_word(rule.account),
                ..base
            },
            None => base,
        }
    }

    fn rule(entry: &Entry) -> Rule {
        Rule {
            ipv4: entry.ipv4,
            len4: entry.eam_len4 & LEN4_MASK,
            ipv6: Self::masked(entry.ipv6, entry.eam_len6),
            len6: entry.eam_len6,
            prefix: entry.flags >> Entry::PREFIX_SHIFT,
            account: account::of_word(entry.next_hop),
        }
    }
}
