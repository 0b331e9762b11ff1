//! Which address becomes which: the EAM table of RFC 7757 section 3, then the translation prefixes of RFC 6052 section 2.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use super::{Arrival, Config, Scope};

/// The rule that an address was mapped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The EAM of this index in [`Config::eams`].
    Eam(usize),
    /// The translation prefix of this index in [`Config::prefixes`].
    Prefix(usize),
}

/// An address in the other family, and why it is that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapped<Address> {
    /// The address in the other family.
    pub address: Address,
    /// The rule it comes from.
    pub rule: Rule,
}

impl<Address> Mapped<Address> {
    /// Whether an explicit address mapping was used.
    pub fn by_eam(&self) -> bool {
        matches!(self.rule, Rule::Eam(_))
    }
}

/// Which of a packet's two IPv4 addresses may be looked up in the EAM table (RFC 7757 section 4.2.1 forbids some).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EamAllowed {
    /// For the source address.
    pub source: bool,
    /// For the destination address.
    pub destination: bool,
}

impl EamAllowed {
    /// No restriction.
    pub const BOTH: Self = Self { source: true, destination: true };
}

/// RFC 6052 section 2.2: the IPv6 address that embeds `ipv4` in `prefix`, bits 64 to 71 and the suffix zero.
#[must_use]
pub fn embed(prefix: Ipv6Net, ipv4: Ipv4Addr) -> Ipv6Addr {
    let mut octets = prefix.network().octets();
    let mut position = usize::from(prefix.prefix_len() / 8);
    for octet in ipv4.octets() {
        if position == 8 {
            position += 1;
        }
        octets[position] = octet;
        position += 1;
    }
    Ipv6Addr::from(octets)
}

/// RFC 6052 section 2.3: the IPv4 address embedded in `ipv6`, whatever its octet u and its suffix hold.
#[must_use]
pub fn extract(prefix: Ipv6Net, ipv6: Ipv6Addr) -> Ipv4Addr {
    let octets = ipv6.octets();
    let mut position = usize::from(prefix.prefix_len() / 8);
    let mut ipv4 = [0; 4];
    for octet in &mut ipv4 {
        if position == 8 {
            position += 1;
        }
        *octet = octets[position];
        position += 1;
    }
    Ipv4Addr::from(ipv4)
}

/// RFC 7757 section 3.3.1: the suffix bits of the IPv4 address behind the IPv6 prefix, zeros after them.
#[must_use]
pub fn eam_to_ipv6(ipv4_prefix: Ipv4Net, ipv6_prefix: Ipv6Net, ipv4: Ipv4Addr) -> Ipv6Addr {
    let suffix_length = 32 - u32::from(ipv4_prefix.prefix_len());
    let suffix = u128::from(u32::from(ipv4)) & ((1u128 << suffix_length) - 1);
    let room = 128 - u32::from(ipv6_prefix.prefix_len());
    Ipv6Addr::from(u128::from(ipv6_prefix.network()) | suffix << (room - suffix_length))
}

/// RFC 7757 section 3.3.2: the first suffix bits of the IPv6 address behind the IPv4 prefix, the rest discarded.
#[must_use]
pub fn eam_to_ipv4(ipv4_prefix: Ipv4Net, ipv6_prefix: Ipv6Net, ipv6: Ipv6Addr) -> Ipv4Addr {
    let suffix_length = 32 - u32::from(ipv4_prefix.prefix_len());
    let room = 128 - u32::from(ipv6_prefix.prefix_len());
    let suffix = u128::from(ipv6) >> (room - suffix_length) & ((1u128 << suffix_length) - 1);
    let suffix = u32::try_from(suffix).expect("an IPv4 suffix has at most 32 bits");
    Ipv4Addr::from(u32::from(ipv4_prefix.network()) | suffix)
}

impl Config {
    /// The index of the EAM whose IPv4 prefix matches longest.
    #[must_use]
    pub fn eam_of_ipv4(&self, address: Ipv4Addr) -> Option<usize> {
        let matching = self.eams.iter().enumerate().filter(|(_, eam)| eam.ipv4.contains(&address));
        matching.max_by_key(|(_, eam)| eam.ipv4.prefix_len()).map(|(index, _)| index)
    }

    /// The index of the EAM whose IPv6 prefix matches longest.
    #[must_use]
    pub fn eam_of_ipv6(&self, address: Ipv6Addr) -> Option<usize> {
        let matching = self.eams.iter().enumerate().filter(|(_, eam)| eam.ipv6.contains(&address));
        matching.max_by_key(|(_, eam)| eam.ipv6.prefix_len()).map(|(index, _)| index)
    }

    /// What an IPv6 address becomes, if it maps.
    #[must_use]
    pub fn map_ipv6(&self, address: Ipv6Addr) -> Option<Mapped<Ipv4Addr>> {
        if let Some(index) = self.eam_of_ipv6(address) {
            let eam = &self.eams[index];
            return Some(Mapped { address: eam_to_ipv4(eam.ipv4, eam.ipv6, address), rule: Rule::Eam(index) });
        }
        let matching = self.prefixes.iter().enumerate().filter(|(_, prefix)| prefix.contains(&address));
        let (index, prefix) = matching.max_by_key(|(_, prefix)| prefix.prefix_len())?;
        Some(Mapped { address: extract(*prefix, address), rule: Rule::Prefix(index) })
    }

    /// What a packet's two IPv4 addresses become: they are mapped together, because the prefix of an address without an
    /// EAM is that assigned to the EAM of the other one, else that of the interface the packet arrived by.
    #[must_use]
    pub fn map_ipv4_pair(
        &self,
        source: Ipv4Addr,
        destination: Ipv4Addr,
        allowed: EamAllowed,
        arrival: &Arrival,
    ) -> (Option<Mapped<Ipv6Addr>>, Option<Mapped<Ipv6Addr>>) {
        let source_eam = if allowed.source { self.eam_of_ipv4(source) } else { None };
        let destination_eam = if allowed.destination { self.eam_of_ipv4(destination) } else { None };
        (
            self.map_ipv4(source, source_eam, destination_eam, arrival),
            self.map_ipv4(destination, destination_eam, source_eam, arrival),
        )
    }

    fn map_ipv4(
        &self,
        address: Ipv4Addr,
        eam: Option<usize>,
        other_eam: Option<usize>,
        arrival: &Arrival,
    ) -> Option<Mapped<Ipv6Addr>> {
        if let Some(index) = eam {
            let eam = &self.eams[index];
            return Some(Mapped { address: eam_to_ipv6(eam.ipv4, eam.ipv6, address), rule: Rule::Eam(index) });
        }
        let assigned = other_eam.and_then(|index| self.eams[index].prefix);
        let index = assigned.or(arrival.prefix).unwrap_or(0);
        let prefix = self.prefixes.get(index)?;
        Some(Mapped { address: embed(*prefix, address), rule: Rule::Prefix(index) })
    }

    /// Whether a pair of addresses that both map belongs to this translator.
    #[must_use]
    pub fn in_scope<Address>(&self, source: &Mapped<Address>, destination: &Mapped<Address>) -> bool {
        match self.scope {
            Scope::All => true,
            Scope::Eam => source.by_eam() || destination.by_eam(),
        }
    }

    /// Whether this mapping is one of a non-global IPv4 address and the well-known prefix, and that is forbidden
    /// (RFC 6052 section 3.1).
    #[must_use]
    pub fn forbidden_by_well_known_prefix(&self, ipv4: Ipv4Addr, rule: Rule) -> bool {
        let Rule::Prefix(index) = rule else { return false };
        self.well_known_prefix_strict && self.prefixes[index] == well_known_prefix() && is_non_global(ipv4)
    }

    /// Whether the operator denies this IPv4 address.
    #[must_use]
    pub fn denies_ipv4(&self, address: Ipv4Addr) -> bool {
        self.deny4.iter().any(|net| net.contains(&address))
    }

    /// Whether the operator denies this IPv6 address.
    #[must_use]
    pub fn denies_ipv6(&self, address: Ipv6Addr) -> bool {
        self.deny6.iter().any(|net| net.contains(&address))
    }
}

/// 64:ff9b::/96, RFC 6052 section 2.1.
fn well_known_prefix() -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96)
}

const fn net(a: u8, b: u8, c: u8, length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, 0), length)
}

/// Addresses that are no source and no destination of a forwarded IPv4 packet.
const ILLEGAL_IPV4: [Ipv4Net; 5] =
    [net(0, 0, 0, 8), net(127, 0, 0, 8), net(169, 254, 0, 16), net(224, 0, 0, 4), net(240, 0, 0, 4)];

/// Addresses that must not be represented in the well-known prefix.
const NON_GLOBAL_IPV4: [Ipv4Net; 14] = [
    net(0, 0, 0, 8),
    net(10, 0, 0, 8),
    net(100, 64, 0, 10),
    net(127, 0, 0, 8),
    net(169, 254, 0, 16),
    net(172, 16, 0, 12),
    net(192, 0, 0, 24),
    net(192, 0, 2, 24),
    net(192, 168, 0, 16),
    net(198, 18, 0, 15),
    net(198, 51, 100, 24),
    net(203, 0, 113, 24),
    net(224, 0, 0, 4),
    net(240, 0, 0, 4),
];

/// Whether no router forwards a packet with this IPv4 address (RFC 1812 section 5.3.7).
#[must_use]
pub fn is_illegal_ipv4(address: Ipv4Addr) -> bool {
    ILLEGAL_IPV4.iter().any(|net| net.contains(&address))
}

/// Whether no router forwards a packet with this IPv6 address.
#[must_use]
pub fn is_illegal_ipv6(address: Ipv6Addr) -> bool {
    address.is_unspecified() || address.is_loopback() || is_link_local_ipv6(address) || address.is_multicast()
}

/// `fe80::/10`.
#[must_use]
pub fn is_link_local_ipv6(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xffc0 == 0xfe80
}

/// Whether RFC 6052 section 3.1 keeps this address out of the well-known prefix.
#[must_use]
pub fn is_non_global(address: Ipv4Addr) -> bool {
    NON_GLOBAL_IPV4.iter().any(|net| net.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Eam};
    use super::*;

    fn ipv4(text: &str) -> Ipv4Addr {
        text.parse().expect("an IPv4 address")
    }

    fn ipv6(text: &str) -> Ipv6Addr {
        text.parse().expect("an IPv6 address")
    }

    #[test]
    fn embeds_and_extracts_the_addresses_of_rfc_6052_section_2_4() {
        for (prefix, expected) in [
            ("2001:db8::/32", "2001:db8:c000:221::"),
            ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
            ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
            ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
            ("64:ff9b::/96", "64:ff9b::192.0.2.33"),
        ] {
            let prefix: Ipv6Net = prefix.parse().expect("an IPv6 prefix");
            assert_eq!(embed(prefix, ipv4("192.0.2.33")), ipv6(expected), "{prefix}");
            assert_eq!(extract(prefix, ipv6(expected)), ipv4("192.0.2.33"), "{prefix}");
        }
    }

    /// The table of RFC 7757 figure 1.
    pub(crate) fn figure_1() -> Vec<Eam> {
        [
            ("192.0.2.1/32", "2001:db8:aaaa::/128"),
            ("192.0.2.2/32", "2001:db8:bbbb::b/128"),
            ("192.0.2.16/28", "2001:db8:cccc::/124"),
            ("192.0.2.128/26", "2001:db8:dddd::/64"),
            ("192.0.2.192/29", "2001:db8:eeee:8::/62"),
            ("192.0.2.224/31", "64:ff9b::/127"),
        ]
        .into_iter()
        .map(|(ipv4, ipv6)| Eam { ipv4: ipv4.parse().expect("IPv4"), ipv6: ipv6.parse().expect("IPv6"), prefix: None })
        .collect()
    }

    #[test]
    fn maps_the_addresses_of_rfc_7757_figure_7() {
        let config =
            Config { eams: figure_1(), prefixes: vec!["64:ff9b::/96".parse().expect("prefix")], ..Config::default() };
        for (v4, v6, by_eam) in [
            ("192.0.2.1", "2001:db8:aaaa::", true),
            ("192.0.2.2", "2001:db8:bbbb::b", true),
            ("192.0.2.16", "2001:db8:cccc::", true),
            ("192.0.2.24", "2001:db8:cccc::8", true),
            ("192.0.2.31", "2001:db8:cccc::f", true),
            ("192.0.2.128", "2001:db8:dddd::", true),
            ("192.0.2.152", "2001:db8:dddd:0:6000::", true),
            ("192.0.2.183", "2001:db8:dddd:0:dc00::", true),
            ("192.0.2.191", "2001:db8:dddd:0:fc00::", true),
            ("192.0.2.195", "2001:db8:eeee:9:8000::", true),
            ("192.0.2.225", "64:ff9b::1", true),
            ("192.0.2.248", "64:ff9b::c000:2f8", false),
        ] {
            let (mapped, _) = config.map_ipv4_pair(ipv4(v4), ipv4("192.0.2.250"), EamAllowed::BOTH, &config.arrival4);
            let mapped = mapped.expect("maps");
            assert_eq!((mapped.address, mapped.by_eam()), (ipv6(v6), by_eam), "{v4}");
            let back = config.map_ipv6(ipv6(v6)).expect("maps");
            assert_eq!((back.address, back.by_eam()), (ipv4(v4), by_eam), "{v6}");
        }
    }

    #[test]
    fn prefers_the_longest_match_of_rfc_7757_figure_2() {
        let config = Config {
            eams: vec![
                Eam { ipv4: net(0, 0, 0, 0), ipv6: "2001:db8:ff00::/40".parse().expect("IPv6"), prefix: None },
                Eam {
                    ipv4: "198.51.100.64/32".parse().expect("IPv4"),
                    ipv6: "2001:db8::abcd/128".parse().expect("IPv6"),
                    prefix: None,
                },
            ],
            ..Config::default()
        };
        let back = config.map_ipv6(ipv6("2001:db8:ffc6:3364:4000::")).expect("maps");
        assert_eq!(back.address, ipv4("198.51.100.64"));
        let (there, _) = config.map_ipv4_pair(back.address, back.address, EamAllowed::BOTH, &config.arrival4);
        assert_eq!(there.expect("maps").address, ipv6("2001:db8::abcd"));
    }
}
