//! What an address becomes, without a sentence about it: the rules of `daemon::lookup`, at the speed of a log.

use std::net::{Ipv4Addr, Ipv6Addr};

use rustc_hash::FxHashMap;
use xlat_common::{
    address,
    mapping::{embed, extract},
    settings::TranslationPrefix,
};

use crate::{
    config::{self, Config},
    daemon::lookup::is_global,
    eam::Pair,
};

/// The rules of one configuration and one table.
///
/// The relay's own addresses are not among them: they are the machine's, and a log may be another machine's.
pub struct Mapper {
    prefixes: Vec<TranslationPrefix>,
    config: Config,
    by_ipv4: Longest<u32>,
    by_ipv6: Longest<u128>,
    /// One bit for each first group of an IPv6 address that may be translated: most colons in a log are told apart by it.
    first_groups: Vec<u64>,
}

impl Mapper {
    /// The rules of a configuration with the pairs of a table, which need not be those of the configuration.
    #[must_use]
    pub fn new(config: Config, pairs: impl Iterator<Item = Pair>) -> Self {
        let rule_book = |prefix: &ipnet::Ipv6Net| {
            let global_only = config.translation.well_known_prefix_strict && *prefix == config::well_known_prefix();
            TranslationPrefix::new(prefix.network().into(), prefix.prefix_len().into(), global_only)
        };
        let prefixes = config.translation.prefixes.iter().map(rule_book).collect();
        let (mut by_ipv4, mut by_ipv6) = (Longest::default(), Longest::default());
        let mut first_groups = vec![0; 1024];
        for prefix in &config.translation.prefixes {
            mark(&mut first_groups, *prefix);
        }
        for pair in pairs {
            by_ipv4.insert(pair.ipv4().network().to_bits(), pair.ipv4().prefix_len(), pair);
            by_ipv6.insert(pair.ipv6().network().to_bits(), pair.ipv6().prefix_len(), pair);
            mark(&mut first_groups, pair.ipv6());
        }
        Self { prefixes, config, by_ipv4, by_ipv6, first_groups }
    }

    /// Whether an IPv6 address whose first 16 bits are these may be translated.
    #[inline]
    pub(super) fn may_begin_with(&self, group: u16) -> bool {
        self.first_groups[usize::from(group >> 6)] >> (group & 63) & 1 != 0
    }

    /// The IPv4 address of an IPv6 address (both in host order); `None`: it is not translated.
    #[must_use]
    pub fn to_ipv4(&self, ipv6: u128) -> Option<u32> {
        let address = Ipv6Addr::from_bits(ipv6);
        if address::Ipv6::from(address).is_illegal() || self.denied6(address) {
            return None;
        }
        let ipv4 = match self.by_ipv6.find(ipv6, |len| u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0)) {
            Some(pair) => pair.to_ipv4(address).to_bits(),
            None => self.by_prefix(address.into())?,
        };
        (!address::ipv4_is_illegal(ipv4) && !self.denied4(ipv4)).then_some(ipv4)
    }

    fn by_prefix(&self, ipv6: address::Ipv6) -> Option<u32> {
        let prefix = self.prefixes.iter().find(|prefix| ipv6.within(prefix.address, prefix.len))?;
        let ipv4 = extract(prefix, ipv6);
        self.allows(prefix, ipv4).then_some(ipv4)
    }

    /// The IPv6 address of an IPv4 address (both in host order), with the first translation prefix where no EAM covers it.
    #[must_use]
    pub fn to_ipv6(&self, ipv4: u32) -> Option<u128> {
        if address::ipv4_is_illegal(ipv4) || self.denied4(ipv4) {
            return None;
        }
        let ipv6 = match self.by_ipv4.find(ipv4, |len| u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0)) {
            Some(pair) => pair.to_ipv6(Ipv4Addr::from_bits(ipv4)),
            None => {
                let prefix = self.prefixes.first().filter(|prefix| self.allows(prefix, ipv4))?;
                embed(prefix, ipv4).into()
            }
        };
        (!address::Ipv6::from(ipv6).is_illegal() && !self.denied6(ipv6)).then_some(ipv6.to_bits())
    }

    /// Whether a second reading of an address is the likelier one: this one has bits where a translated address has none.
    pub(super) fn has_suffix(&self, ipv6: u128) -> bool {
        let address = address::Ipv6::from(Ipv6Addr::from_bits(ipv6));
        let prefix = self.prefixes.iter().find(|prefix| address.within(prefix.address, prefix.len));
        prefix.is_some_and(|prefix| embed(prefix, extract(prefix, address)) != address)
    }

    /// RFC 6052 3.1.
    fn allows(&self, prefix: &TranslationPrefix, ipv4: u32) -> bool {
        prefix.global_only == 0 || is_global(Ipv4Addr::from_bits(ipv4))
    }

    fn denied4(&self, ipv4: u32) -> bool {
        self.config.deny.ipv4.iter().any(|net| net.contains(&Ipv4Addr::from_bits(ipv4)))
    }

    fn denied6(&self, ipv6: Ipv6Addr) -> bool {
        self.config.deny.ipv6.iter().any(|net| net.contains(&ipv6))
    }
}

fn mark(first_groups: &mut [u64], net: ipnet::Ipv6Net) {
    let group = |address: Ipv6Addr| address.segments()[0];
    for first in group(net.network())..=group(net.broadcast()) {
        first_groups[usize::from(first >> 6)] |= 1 << (first & 63);
    }
}

/// Pairs by a prefix of one family; the longest that covers an address is found.
struct Longest<Bits> {
    pairs: FxHashMap<(Bits, u8), Pair>,
    /// The lengths that are there, longest first.
    lens: Vec<u8>,
}

impl<Bits> Default for Longest<Bits> {
    fn default() -> Self {
        Self { pairs: FxHashMap::default(), lens: Vec::new() }
    }
}

impl<Bits: Copy + Eq + std::hash::Hash + std::ops::BitAnd<Output = Bits>> Longest<Bits> {
    fn insert(&mut self, prefix: Bits, len: u8, pair: Pair) {
        self.pairs.insert((prefix, len), pair);
        if let Err(place) = self.lens.binary_search_by(|other| len.cmp(other)) {
            self.lens.insert(place, len);
        }
    }

    fn find(&self, address: Bits, mask: impl Fn(u8) -> Bits) -> Option<&Pair> {
        self.lens.iter().find_map(|len| self.pairs.get(&(address & mask(*len), *len)))
    }
}
