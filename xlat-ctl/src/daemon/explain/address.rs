//! What addresses map to (docs/translation.md 3 and 4), by the tables that the program reads.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use xlat_common::{
    address::Ipv6,
    mapping::{eam_to_ipv4, eam_to_ipv6, embed, extract},
    reason::DropReason,
    table::Entry,
};

use super::book::{Answer, Book, Decided};
use crate::{api::Rule, daemon::lookup::origin, dataplane::Known};

/// Flags of an address: those of [`Entry`], and how it is mapped.
pub(super) mod flag {
    use xlat_common::table::Entry;

    pub(crate) const EAM: u32 = Entry::EAM as u32;
    pub(crate) const OWN: u32 = Entry::OWN as u32;
    pub(crate) const DENIED: u32 = Entry::DENIED as u32;
    pub(crate) const ILLEGAL: u32 = Entry::ILLEGAL as u32;
    pub(crate) const NON_GLOBAL: u32 = Entry::NON_GLOBAL as u32;
    /// Mapped by a translation prefix.
    pub(crate) const BY_PREFIX: u32 = 0x100;
    /// By prefix, and the IPv4 address is covered by an EAM (RFC 7757 4.2.2).
    pub(crate) const HAIRPIN: u32 = 0x200;
    pub(crate) const MAPPED: u32 = EAM | BY_PREFIX;
    pub(crate) const REFUSED: u32 = DENIED | ILLEGAL | NON_GLOBAL;
}
use flag::{BY_PREFIX, DENIED, EAM, HAIRPIN, ILLEGAL, MAPPED, NON_GLOBAL, OWN, REFUSED};

/// An address in both families, with all that is known of it.
#[derive(Clone, Debug)]
pub(super) struct Mapped {
    /// Host order; valid if mapped, or if it is the address that was asked for.
    pub(super) ipv4: u32,
    pub(super) ipv6: Ipv6,
    pub(super) flags: u32,
    /// By what: a sentence.
    pub(super) how: String,
}

impl Mapped {
    pub(super) fn is_mapped(&self) -> bool {
        self.flags & MAPPED != 0
    }

    pub(super) fn ipv4_text(&self) -> String {
        Ipv4Addr::from(self.ipv4).to_string()
    }

    pub(super) fn ipv6_text(&self) -> String {
        Ipv6Addr::from(self.ipv6).to_string()
    }
}

fn entry(known: &Known) -> Option<Entry> {
    let eam = known.eam.filter(|_| known.flags & Entry::EAM != 0)?;
    Some(Entry {
        ipv4: eam.ipv4.network().to_bits(),
        eam_len4: eam.ipv4.prefix_len(),
        eam_len6: eam.ipv6.prefix_len(),
        ipv6: eam.ipv6.network().into(),
        ..Entry::NONE
    })
}

impl Book<'_> {
    fn known4(&self, address: u32) -> Known {
        (self.table)(Ipv4Addr::from(address).into())
    }

    fn known6(&self, address: Ipv6) -> Known {
        (self.table)(Ipv6Addr::from(address).into())
    }

    /// Flags of an IPv4 address before it is mapped.
    pub(super) fn flags4(&self, address: u32) -> u32 {
        self.known4(address).flags.into()
    }

    /// Maps both addresses of an IPv4 packet. `without_eam` (source, destination): RFC 7757 4.2.1, as if it matched no EAM.
    pub(super) fn both4(&self, source: u32, destination: u32, without_eam: (bool, bool)) -> (Mapped, Mapped) {
        let known = |address, without: bool| {
            let known = self.known4(address);
            if without { Known { flags: known.flags & !Entry::EAM, eam: None } } else { known }
        };
        let (source_known, destination_known) = (known(source, without_eam.0), known(destination, without_eam.1));
        let mut from = self.map4(source, &source_known, &destination_known);
        let mut to = self.map4(destination, &destination_known, &source_known);
        for (mapped, without) in [(&mut from, without_eam.0), (&mut to, without_eam.1)] {
            if without {
                mapped.how.push_str(", EAMs left out (RFC 7757 4.2.1)");
            }
        }
        (from, to)
    }

    fn map4(&self, address: u32, known: &Known, other: &Known) -> Mapped {
        let flags = u32::from(known.flags) & (OWN | DENIED | ILLEGAL | NON_GLOBAL);
        if let Some(entry) = entry(known) {
            let ipv6 = eam_to_ipv6(&entry, address);
            let more = u32::from(self.known6(ipv6).flags) & (OWN | DENIED | ILLEGAL);
            let how = self.by_eam(Ipv4Addr::from(address).into());
            return Mapped { ipv4: address, ipv6, flags: flags & !NON_GLOBAL | more | EAM, how };
        }
        if self.settings.prefix_count == 0 {
            let how = "no EAM matches, and there is no translation prefix".to_owned();
            return Mapped { ipv4: address, ipv6: Ipv6::UNSPECIFIED, flags, how };
        }
        let (index, why) = match other.eam.and_then(|eam| eam.prefix) {
            Some(index) => (index, ", which [[prefix_for]] gives to the other address's EAM"),
            None if self.arrival.prefix != 0 => (self.arrival.prefix, ", which [[prefix_for]] gives to the interface"),
            None => (0, ""),
        };
        let prefix = self.settings.prefixes[usize::from(index)];
        let ipv6 = embed(&prefix, address);
        let flags = if prefix.global_only == 0 { flags & !NON_GLOBAL } else { flags };
        let more = u32::from(self.known6(ipv6).flags) & (OWN | DENIED);
        let how = format!("by the translation prefix {}{why}", self.prefix_text(index.into()));
        Mapped { ipv4: address, ipv6, flags: flags | more | BY_PREFIX, how }
    }

    /// Maps an IPv6 address: by its longest EAM, else by the translation prefix that it lies in.
    pub(super) fn map6(&self, address: Ipv6) -> Mapped {
        let known = self.known6(address);
        let flags = u32::from(known.flags);
        if let Some(entry) = entry(&known) {
            let ipv4 = eam_to_ipv4(&entry, address);
            let more = self.flags4(ipv4) & (OWN | DENIED | ILLEGAL);
            let how = self.by_eam(Ipv6Addr::from(address).into());
            return Mapped { ipv4, ipv6: address, flags: flags & !NON_GLOBAL | more, how };
        }
        let used = self.settings.prefixes.iter().take(self.settings.prefix_count as usize);
        let Some((index, prefix)) = used.enumerate().find(|(_, prefix)| prefix.contains(address)) else {
            let how = "it matches no EAM and lies in no translation prefix".to_owned();
            return Mapped { ipv4: 0, ipv6: address, flags: flags & !EAM, how };
        };
        let ipv4 = extract(prefix, address);
        let known4 = self.flags4(ipv4);
        let hairpin = if known4 & EAM != 0 { HAIRPIN } else { 0 };
        let all = (flags | known4) & !EAM;
        let all = if prefix.global_only == 0 { all & !NON_GLOBAL } else { all };
        let how = format!("by the translation prefix {}", self.prefix_text(index));
        Mapped { ipv4, ipv6: address, flags: all | hairpin | BY_PREFIX, how }
    }

    fn prefix_text(&self, index: usize) -> String {
        let prefix = self.settings.prefixes[index & (self.settings.prefixes.len() - 1)];
        format!("{}/{}", Ipv6Addr::from(prefix.address), prefix.len)
    }

    /// Which EAM it is: with its origin and comment.
    fn by_eam(&self, address: IpAddr) -> String {
        let table = self.rules.table;
        let entry = match address {
            IpAddr::V4(address) => table.longest_ipv4(address),
            IpAddr::V6(address) => table.longest_ipv6(address),
        };
        entry.map_or_else(|| "by an EAM".to_owned(), |entry| format!("by the {} {entry}", origin(entry.origin)))
    }

    /// Notes how an address maps. `what`: source or destination.
    pub(super) fn note4(&mut self, what: &str, mapped: &Mapped) {
        let (from, to) = (mapped.ipv4_text(), mapped.ipv6_text());
        self.note(what, &from, &to, mapped);
    }

    /// As [`Self::note4`], from IPv6.
    pub(super) fn note6(&mut self, what: &str, mapped: &Mapped) {
        let (from, to) = (mapped.ipv6_text(), mapped.ipv4_text());
        self.note(what, &from, &to, mapped);
    }

    fn note(&mut self, what: &str, from: &str, to: &str, mapped: &Mapped) {
        let source = if mapped.flags & EAM != 0 { "RFC 7757 3.3" } else { "RFC 6052 2.3" };
        if mapped.is_mapped() {
            self.step(what, source, "", format!("{from} → {to} {}", mapped.how));
        } else {
            self.step(what, "translation.md 3", "", format!("{from} maps to nothing: {}", mapped.how));
        }
    }

    /// Refuses by address (docs/translation.md 4). `prohibited` is the answer where no other is named.
    pub(super) fn refuse_addresses(
        &mut self,
        source: (u32, &Mapped),
        destination: (u32, &Mapped),
        prohibited: Answer,
    ) -> Decided<()> {
        const DENY: &str = "RFC 7915 4.4, 5.4";
        const WKP: &str = "RFC 6052 3.1";
        let ((from, from_mapped), (to, to_mapped)) = (source, destination);
        if (from | to) & REFUSED == 0 {
            return Ok(());
        }
        let why = |mapped: &Mapped, rule: Rule| {
            let addresses = [IpAddr::from(Ipv4Addr::from(mapped.ipv4)), Ipv6Addr::from(mapped.ipv6).into()];
            let found =
                addresses.into_iter().map(|address| self.rules.look_up(address)).find(|found| found.rule == rule);
            found.map_or_else(|| "a list refuses it".to_owned(), |found| found.detail)
        };
        let (from_denied, to_denied) = (why(from_mapped, Rule::Denied), why(to_mapped, Rule::Denied));
        let (from_illegal, to_illegal) = (why(from_mapped, Rule::Illegal), why(to_mapped, Rule::Illegal));
        if from & DENIED != 0 {
            self.refuse(DropReason::DeniedSource, prohibited, DENY, "[deny]", format!("the source: {from_denied}"))
        } else if to & DENIED != 0 {
            self.refuse(
                DropReason::DeniedDestination,
                prohibited,
                DENY,
                "[deny]",
                format!("the destination: {to_denied}"),
            )
        } else if from & ILLEGAL != 0 {
            self.drop(DropReason::IllegalSource, "RFC 7915 4.1, 5.1", "", format!("the source: {from_illegal}"))
        } else if to & ILLEGAL != 0 {
            self.drop(DropReason::IllegalDestination, "RFC 1812 5.3.7", "", format!("the destination: {to_illegal}"))
        } else {
            let mapped = if from & NON_GLOBAL != 0 { from_mapped } else { to_mapped };
            let text =
                format!("{} is not a global address: it may not stand in the well-known prefix", mapped.ipv4_text());
            self.refuse(DropReason::WellKnownPrefix, prohibited, WKP, "well_known_prefix_strict = true", text)
        }
    }
}
