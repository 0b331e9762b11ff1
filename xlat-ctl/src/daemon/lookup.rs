//! What an address translates to and by which rule, in the order of docs/translation.md: own, denied, illegal, EAM, prefix.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use xlat_common::{
    address,
    mapping::{embed, extract},
    settings::TranslationPrefix,
};

use crate::{
    api::{Alternative, Eam, Lookup, Rule},
    config::{self, Config},
    eam,
};

/// What is known when an address is looked up.
pub(crate) struct Rules<'daemon> {
    pub(crate) config: &'daemon Config,
    pub(crate) table: &'daemon eam::Table,
    /// The machine's own addresses, each with the name of its interface.
    pub(crate) own: &'daemon dyn Fn(IpAddr) -> Option<String>,
}

/// IPv4 prefixes that are not global in the sense of RFC 6052 3.1 (docs/translation.md, section 4).
const NON_GLOBAL: [Ipv4Net; 14] = [
    Ipv4Net::new_assert(Ipv4Addr::new(0, 0, 0, 0), 8),
    Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8),
    Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 0), 10),
    Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8),
    Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16),
    Ipv4Net::new_assert(Ipv4Addr::new(172, 16, 0, 0), 12),
    Ipv4Net::new_assert(Ipv4Addr::new(192, 0, 0, 0), 24),
    Ipv4Net::new_assert(Ipv4Addr::new(192, 0, 2, 0), 24),
    Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 0, 0), 16),
    Ipv4Net::new_assert(Ipv4Addr::new(198, 18, 0, 0), 15),
    Ipv4Net::new_assert(Ipv4Addr::new(198, 51, 100, 0), 24),
    Ipv4Net::new_assert(Ipv4Addr::new(203, 0, 113, 0), 24),
    Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 4),
    Ipv4Net::new_assert(Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// Whether an address is global in the sense of RFC 6052 3.1.
pub(crate) fn is_global(address: Ipv4Addr) -> bool {
    !NON_GLOBAL.iter().any(|net| net.contains(&address))
}

fn rule_book(prefix: Ipv6Net) -> TranslationPrefix {
    TranslationPrefix::new(prefix.network().into(), prefix.prefix_len().into(), false)
}

/// How an address maps, before the result is judged.
enum Mapped<'daemon> {
    Eam(&'daemon eam::Entry, IpAddr),
    Prefix(Ipv6Net, IpAddr),
    Nothing,
}

impl Rules<'_> {
    /// What `address` translates to.
    pub(crate) fn look_up(&self, address: IpAddr) -> Lookup {
        let mut answer = Lookup {
            address,
            result: None,
            rule: Rule::None,
            eam: None,
            prefix: None,
            detail: String::new(),
            alternatives: Vec::new(),
        };
        if let Some((rule, detail)) = self.refusal(address) {
            (answer.rule, answer.detail) = (rule, detail);
            return answer;
        }
        let result = match self.map(address) {
            Mapped::Nothing => {
                answer.detail = self.why_nothing(address);
                return answer;
            }
            Mapped::Eam(entry, result) => {
                (answer.rule, answer.eam) = (Rule::Eam, Some(Eam::from(entry)));
                answer.detail = format!("by the {} {entry}", origin(entry.origin));
                result
            }
            Mapped::Prefix(prefix, result) => {
                (answer.rule, answer.prefix) = (Rule::Prefix, Some(prefix));
                answer.detail = format!("by the translation prefix {prefix}");
                if let Some(detail) = self.well_known(prefix, address, result) {
                    (answer.rule, answer.detail) = (Rule::WellKnownPrefix, detail);
                    return answer;
                }
                answer.alternatives = self.alternatives(address);
                result
            }
        };
        match self.refusal(result) {
            Some((rule, detail)) => {
                (answer.rule, answer.detail) = (rule, format!("it would become {result}, and {detail}"));
                answer.alternatives.clear();
            }
            None => answer.result = Some(result),
        }
        answer
    }

    /// Why packets with this address are not translated, whatever it maps to.
    fn refusal(&self, address: IpAddr) -> Option<(Rule, String)> {
        if let Some(interface) = (self.own)(address) {
            return Some((Rule::Own, format!("{address} is the relay's own address on {interface}, never translated")));
        }
        let deny = &self.config.deny;
        let denied = match address {
            IpAddr::V4(address) => deny
                .ipv4
                .iter()
                .filter(|net| net.contains(&address))
                .max_by_key(|net| net.prefix_len())
                .map(Ipv4Net::to_string),
            IpAddr::V6(address) => deny
                .ipv6
                .iter()
                .filter(|net| net.contains(&address))
                .max_by_key(|net| net.prefix_len())
                .map(Ipv6Net::to_string),
        };
        if let Some(net) = denied {
            return Some((Rule::Denied, format!("{address} is in the deny list ({net})")));
        }
        let range = match address {
            IpAddr::V4(address) => eam::illegal_ipv4(address.into()),
            IpAddr::V6(address) => eam::illegal_ipv6(address.into()),
        };
        range.map(|range| (Rule::Illegal, format!("{address} is {range}: no packet may come from or go to it")))
    }

    fn map(&self, address: IpAddr) -> Mapped<'_> {
        let prefixes = &self.config.translation.prefixes;
        match address {
            IpAddr::V4(ipv4) => {
                if let Some(entry) = self.table.longest_ipv4(ipv4) {
                    return Mapped::Eam(entry, entry.pair.to_ipv6(ipv4).into());
                }
                prefixes.first().map_or(Mapped::Nothing, |prefix| Mapped::Prefix(*prefix, represent(*prefix, ipv4)))
            }
            IpAddr::V6(ipv6) => {
                if let Some(entry) = self.table.longest_ipv6(ipv6) {
                    return Mapped::Eam(entry, entry.pair.to_ipv4(ipv6).into());
                }
                prefixes.iter().find(|prefix| prefix.contains(&ipv6)).map_or(Mapped::Nothing, |prefix| {
                    let ipv4 = extract(&rule_book(*prefix), address::Ipv6::from(ipv6));
                    Mapped::Prefix(*prefix, Ipv4Addr::from_bits(ipv4).into())
                })
            }
        }
    }

    /// Why the well-known prefix may not be used for this address (RFC 6052 3.1).
    fn well_known(&self, prefix: Ipv6Net, address: IpAddr, result: IpAddr) -> Option<String> {
        let ((IpAddr::V4(ipv4), _) | (_, IpAddr::V4(ipv4))) = (address, result) else { return None };
        let strict = self.config.translation.well_known_prefix_strict && prefix == config::well_known_prefix();
        (strict && !is_global(ipv4)).then(|| {
            format!(
                "{ipv4} is not a global address and may not be represented in the well-known prefix {prefix} \
                 (RFC 6052 section 3.1; setting well_known_prefix_strict)"
            )
        })
    }

    /// What an IPv4 address becomes under the translation prefixes that are not the default.
    fn alternatives(&self, address: IpAddr) -> Vec<Alternative> {
        let IpAddr::V4(ipv4) = address else { return Vec::new() };
        let prefixes = &self.config.translation.prefixes;
        let rules = self.config.prefix_for.iter().filter(|rule| rule.prefix != 0);
        rules
            .filter_map(|rule| {
                let prefix = *prefixes.get(usize::from(rule.prefix))?;
                let interfaces = rule.interfaces.iter().map(|pattern| format!("arriving at {pattern}"));
                let eams = rule.ipv4.iter().map(|net| format!("to or from EAMs within {net}"));
                let when = interfaces.chain(eams).collect::<Vec<_>>().join(", ");
                Some(Alternative { prefix, result: represent(prefix, ipv4), when })
            })
            .collect()
    }

    fn why_nothing(&self, address: IpAddr) -> String {
        match address {
            IpAddr::V4(_) => format!("{address} matches no EAM, and there is no translation prefix"),
            IpAddr::V6(_) => format!("{address} matches no EAM and is in no translation prefix"),
        }
    }
}

fn represent(prefix: Ipv6Net, ipv4: Ipv4Addr) -> IpAddr {
    Ipv6Addr::from(embed(&rule_book(prefix), ipv4.to_bits())).into()
}

/// Where an entry comes from, in words.
pub(super) fn origin(origin: eam::Origin) -> &'static str {
    match origin {
        eam::Origin::Static => "static EAM",
        eam::Origin::Dynamic => "EAM",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"
        [dataplane]
        interfaces = ["eth0"]
        [translation]
        prefixes = ["2001:db8:6464::/96", "2001:db8:7700::/40", "64:ff9b::/96"]
        [[prefix_for]]
        prefix = "2001:db8:7700::/40"
        interfaces = ["eth9"]
        [[eam]]
        ipv4 = "198.51.100.0/28"
        ipv6 = "2001:db8:5e1::/124"
        [[eam]]
        ipv4 = "198.51.100.64"
        ipv6 = "2001:db8:5e1:1::40"
        [deny]
        ipv4 = ["198.51.100.3"]
        ipv6 = ["2001:db8:5e1::4"]
    "#;

    #[test]
    fn names_the_rule_for_every_kind_of_address() {
        let config = config::parse(CONFIG).unwrap().config;
        let mut table = eam::Table::default();
        for entry in &config.eams {
            table.insert(entry.clone()).unwrap();
        }
        let own = |address: IpAddr| (address.to_string() == "192.0.2.254").then(|| "eth0".to_owned());
        let rules = Rules { config: &config, table: &table, own: &own };
        for (address, rule, result) in [
            ("198.51.100.1", Rule::Eam, "2001:db8:5e1::1"),
            ("2001:db8:5e1::1", Rule::Eam, "198.51.100.1"),
            ("198.51.100.64", Rule::Eam, "2001:db8:5e1:1::40"),
            ("8.8.8.8", Rule::Prefix, "2001:db8:6464::808:808"),
            ("2001:db8:6464::808:808", Rule::Prefix, "8.8.8.8"),
            ("2001:db8:7708:808:8::", Rule::Prefix, "8.8.8.8"),
            ("64:ff9b::808:808", Rule::Prefix, "8.8.8.8"),
            ("64:ff9b::a00:1", Rule::WellKnownPrefix, ""),
            ("192.0.2.254", Rule::Own, ""),
            ("2001:db8:6464::c000:2fe", Rule::Own, ""),
            ("198.51.100.3", Rule::Denied, ""),
            ("2001:db8:5e1::3", Rule::Denied, ""),
            ("198.51.100.4", Rule::Denied, ""),
            ("127.0.0.1", Rule::Illegal, ""),
            ("2001:db8:6464::7f00:1", Rule::Illegal, ""),
            ("fe80::1", Rule::Illegal, ""),
            ("2001:db8:ffff::1", Rule::None, ""),
        ] {
            let answer = rules.look_up(address.parse().unwrap());
            assert_eq!(answer.rule, rule, "{address}: {}", answer.detail);
            assert_eq!(answer.result.map_or_else(String::new, |result| result.to_string()), result, "{address}");
            assert!(!answer.detail.is_empty(), "{address}");
        }
        let alternatives = rules.look_up("8.8.8.8".parse().unwrap()).alternatives;
        assert_eq!(alternatives.len(), 1);
        assert_eq!(alternatives[0].result.to_string(), "2001:db8:7708:808:8::");
        assert_eq!(alternatives[0].when, "arriving at eth9");
    }
}
