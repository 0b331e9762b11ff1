//! `[translation]` and `[[prefix_for]]`.

use super::*;

impl Checker {
    pub(super) fn translation(&mut self, section: file::Translation) -> Translation {
        let prefixes = self.translation_prefixes(section.prefixes);
        Translation {
            prefixes,
            lowest_ipv6_mtu: self.number(
                "translation.lowest_ipv6_mtu",
                section.lowest_ipv6_mtu,
                1280..=65535,
                " (no IPv6 link has less than 1280: RFC 8200 section 5)",
                1280,
            ),
            hairpin: self.word("translation.hairpin", section.hairpin, Hairpin::WORDS, Hairpin::Intrinsic),
            udp_zero_checksum: self.word(
                "translation.udp_zero_checksum",
                section.udp_zero_checksum,
                UdpZeroChecksum::WORDS,
                UdpZeroChecksum::Drop,
            ),
            traffic_class: self.dscp("translation.traffic_class", section.traffic_class),
            tos: self.dscp("translation.tos", section.tos),
            flow_label: self.word("translation.flow_label", section.flow_label, FlowLabel::WORDS, FlowLabel::Zero),
            mtu_plateaus: self.mtu_plateaus(section.mtu_plateaus),
            scope: self.word("translation.scope", section.scope, Scope::WORDS, Scope::Eam),
            well_known_prefix_strict: section.well_known_prefix_strict.is_none_or(Spanned::into_inner),
            strict: section.strict.is_some_and(Spanned::into_inner),
        }
    }

    fn translation_prefixes(&mut self, list: List<String>) -> Vec<Ipv6Net> {
        const KEY: &str = "translation.prefixes";
        let line = list.as_ref().and_then(|list| self.line(list));
        if list.as_ref().is_none_or(|list| list.get_ref().is_empty()) {
            self.warn(line, format!("{KEY} is empty: only packets whose addresses both match an EAM are translated"));
        }
        let prefixes = self.list(KEY, list, |text| translation_prefix(text));
        self.at_most(KEY, &prefixes, MAX_PREFIXES);
        for (index, (line, prefix)) in prefixes.iter().enumerate() {
            let other = prefixes[..index].iter().map(|(_, other)| other);
            if let Some(other) = other.into_iter().find(|other| other.contains(prefix) || prefix.contains(*other)) {
                self.fault(*line, format!("{KEY}: {prefix} overlaps {other}"));
            }
        }
        without_lines(prefixes)
    }

    fn mtu_plateaus(&mut self, list: List<Number>) -> Vec<u32> {
        const KEY: &str = "translation.mtu_plateaus";
        let Some(list) = list else {
            // RFC 1191 7.1
            return vec![65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68];
        };
        let line = self.line(&list);
        if list.get_ref().is_empty() {
            self.fault(line, format!("{KEY}: give at least one MTU"));
        }
        let mtus = self.list(KEY, Some(list), |mtu| match u32::try_from(mtu.0) {
            Ok(number @ 68..=65535) => Ok(number),
            _ => Err(format!("{mtu} is not an IPv4 MTU; give numbers from 68 to 65535")),
        });
        self.at_most(KEY, &mtus, MAX_PLATEAUS);
        if let Some(pair) = mtus.windows(2).find(|pair| pair[0].1 < pair[1].1) {
            self.fault(pair[1].0, format!("{KEY}: {} stands after {}; give the greatest first", pair[1].1, pair[0].1));
        }
        without_lines(mtus)
    }

    pub(super) fn prefix_for(&mut self, prefixes: &[Ipv6Net], rules: Vec<Spanned<file::PrefixFor>>) -> Vec<PrefixFor> {
        let mut read: Vec<PrefixFor> = Vec::new();
        for rule in rules {
            let line = self.line(&rule);
            let rule = rule.into_inner();
            let prefix = self.assigned_prefix(line, prefixes, rule.prefix);
            let is_empty = |list: &List<String>| list.as_ref().is_none_or(|list| list.get_ref().is_empty());
            if is_empty(&rule.interfaces) && is_empty(&rule.ipv4) {
                self.fault(line, "prefix_for: say for what: interfaces = […], ipv4 = […], or both");
            }
            let interfaces = self.list("prefix_for.interfaces", rule.interfaces, |text| Pattern::new(text));
            let ipv4 = self.list("prefix_for.ipv4", rule.ipv4, |text| eam::parse_ipv4(text).map_err(sentence));
            for (line, pattern) in &interfaces {
                if read.iter().any(|other| other.interfaces.contains(pattern)) {
                    self.fault(
                        *line,
                        format!("prefix_for.interfaces: {} has a prefix already", eam::cut(&pattern.to_string())),
                    );
                }
            }
            for (line, net) in &ipv4 {
                if read.iter().any(|other| other.ipv4.contains(net)) {
                    self.fault(*line, format!("prefix_for.ipv4: {net} has a prefix already"));
                }
            }
            let (interfaces, ipv4) = (without_lines(interfaces), without_lines(ipv4));
            read.push(PrefixFor { prefix, interfaces, ipv4 });
        }
        read
    }

    fn assigned_prefix(&mut self, line: Option<usize>, prefixes: &[Ipv6Net], prefix: Placed<String>) -> u8 {
        let Some(prefix) = prefix else {
            self.fault(line, "prefix_for.prefix is missing: give one of translation.prefixes");
            return 0;
        };
        let line = self.line(&prefix);
        let Some(net) = self.take(line, "prefix_for.prefix", eam::parse_ipv6(prefix.get_ref())) else { return 0 };
        let Some(index) = prefixes.iter().position(|other| *other == net) else {
            self.fault(line, format!("prefix_for.prefix: {net} is none of translation.prefixes"));
            return 0;
        };
        u8::try_from(index).unwrap_or(0)
    }
}

/// Reads a translation prefix and judges it by RFC 6052 2.2.
pub(in crate::config) fn translation_prefix(text: &str) -> Result<Ipv6Net, String> {
    let net = eam::parse_ipv6(text).map_err(sentence)?;
    if !PREFIX_LENGTHS.contains(&net.prefix_len()) {
        return Err(format!(
            "{net}: a translation prefix has the length 32, 40, 48, 56, 64 or 96, not {} (RFC 6052 section 2.2)",
            net.prefix_len()
        ));
    }
    if net.network().octets()[8] != 0 {
        return Err(format!("{net}: bits 64 to 71 of a translation prefix are zero (RFC 6052 section 2.2)"));
    }
    let unspecified: Ipv6Net = "::/128".parse().expect("a constant prefix");
    if net.contains(&unspecified) {
        return Err(format!("{net} holds the unspecified address and loopback"));
    }
    if let Some(range) = eam::illegal_ipv6(net) {
        return Err(format!("{net} is {range}: no packet may come from or go to it"));
    }
    Ok(net)
}
