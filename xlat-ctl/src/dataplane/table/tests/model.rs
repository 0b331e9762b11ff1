//! A naive model of the tables, and changes to both.

use std::{
    collections::HashSet,
    mem::offset_of,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::atomic::Ordering::Acquire,
};

use ipnet::{Ipv4Net, Ipv6Net};
use proptest::prelude::*;
use xlat_common::table::{Entry, TableHeader};

use super::{
    super::{super::TableInput, *},
    eam_of,
    reader::{Reader, Shared},
};

/// The lists, looked through from end to end for every question.
#[derive(Clone, Default)]
pub(super) struct Model {
    pub(super) eams: Vec<Eam>,
    pub(super) deny4: Vec<Ipv4Net>,
    pub(super) deny6: Vec<Ipv6Net>,
    pub(super) own: HashSet<IpAddr>,
    pub(super) well_known: bool,
}

impl Model {
    /// Flags and EAM of an IPv4 address; the EAM as the entry has it.
    pub(super) fn ipv4(&self, address: Ipv4Addr) -> (u8, Option<Eam>) {
        let illegal = ["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4"];
        let non_global = [
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
        ];
        let within = |nets: &[&str]| nets.iter().any(|net| net.parse::<Ipv4Net>().unwrap().contains(&address));
        let mut flags = 0;
        flags |= if within(&illegal) { Entry::ILLEGAL } else { 0 };
        flags |= if self.well_known && within(&non_global) { Entry::NON_GLOBAL } else { 0 };
        flags |= if self.deny4.iter().any(|net| net.contains(&address)) { Entry::DENIED } else { 0 };
        flags |= if self.own.contains(&address.into()) { Entry::OWN } else { 0 };
        let eam = self.eams.iter().filter(|eam| eam.ipv4.contains(&address)).max_by_key(|eam| eam.ipv4.prefix_len());
        (flags, eam.copied())
    }

    pub(super) fn ipv6(&self, address: Ipv6Addr) -> (u8, Option<Eam>) {
        let illegal = ["::/128", "::1/128", "fe80::/10", "ff00::/8"];
        let mut flags = 0;
        if illegal.iter().any(|net| net.parse::<Ipv6Net>().unwrap().contains(&address)) {
            flags |= Entry::ILLEGAL;
        }
        flags |= if self.deny6.iter().any(|net| net.contains(&address)) { Entry::DENIED } else { 0 };
        flags |= if self.own.contains(&address.into()) { Entry::OWN } else { 0 };
        let eam = self.eams.iter().filter(|eam| eam.ipv6.contains(&address)).max_by_key(|eam| eam.ipv6.prefix_len());
        (flags, eam.copied())
    }

    pub(super) fn clashes(&self, eam: &Eam) -> bool {
        self.eams.iter().any(|there| there.ipv4 == eam.ipv4 || there.ipv6 == eam.ipv6)
    }

    pub(super) fn input(&self) -> TableInput {
        TableInput { eams: self.eams.clone(), deny4: self.deny4.clone(), deny6: self.deny6.clone() }
    }
}

pub(super) fn said4(entry: Option<Entry>) -> (u8, Option<Eam>) {
    entry.map_or((0, None), |entry| {
        let content = V4::content(&entry);
        (content.flags, content.rule.and_then(eam))
    })
}

pub(super) fn said6(entry: Option<Entry>) -> (u8, Option<Eam>) {
    entry.map_or((0, None), |entry| {
        let content = V6::content(&entry);
        (content.flags, content.rule.and_then(eam))
    })
}

/// Compares everything at the edges of everything.
pub(super) fn compare(model: &Model, table: &Table<Shared>, reader: &mut Reader) {
    let mut addresses4: Vec<u32> = vec![0, 0x0808_0808, 0x7f00_0001, 0xa9fe_0101, 0xe000_0001, u32::MAX, 0x0a01_0203];
    let mut addresses6: Vec<u128> = vec![0, 1, 2, 0xfe80 << 112, 0xff02 << 112, 0x2001_0db8 << 96];
    for net in model.eams.iter().map(|eam| eam.ipv4).chain(model.deny4.iter().copied()) {
        let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
        addresses4.extend([first, last, first.wrapping_sub(1), last.wrapping_add(1), first | ((last - first) / 2)]);
    }
    for net in model.eams.iter().map(|eam| eam.ipv6).chain(model.deny6.iter().copied()) {
        let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
        addresses6.extend([first, last, first.wrapping_sub(1), last.wrapping_add(1), first | ((last - first) / 2)]);
    }
    for address in &model.own {
        match address {
            IpAddr::V4(address) => addresses4.push(address.to_bits()),
            IpAddr::V6(address) => addresses6.push(address.to_bits()),
        }
    }
    let is_refused =
        |(flags, eam): (u8, Option<Eam>)| eam.is_some() && flags & (Entry::OWN | Entry::DENIED | Entry::ILLEGAL) != 0;
    // Of two prefixes of which one lies in the other, the first address of the inner one is in both.
    let refused4 = addresses4.iter().any(|address| is_refused(model.ipv4((*address).into())));
    let refused6 = addresses6.iter().any(|address| is_refused(model.ipv6((*address).into())));
    let bits = reader.header.0[offset_of!(TableHeader, refused_by_eam) / 8].load(Acquire);
    assert_eq!((bits & TableHeader::REFUSED4 != 0, bits & TableHeader::REFUSED6 != 0), (refused4, refused6));
    for address in addresses4 {
        let expected = model.ipv4(address.into());
        assert_eq!(said4(reader.find4(address)), expected, "{}", Ipv4Addr::from(address));
        let known = table.lookup(Ipv4Addr::from(address).into());
        assert_eq!((known.flags & !Entry::EAM, known.eam), expected);
    }
    for address in addresses6 {
        let address = Ipv6Addr::from(address);
        let expected = model.ipv6(address);
        assert_eq!(said6(reader.find6(address.into())), expected, "{address}");
        let known = table.lookup(address.into());
        assert_eq!((known.flags & !Entry::EAM, known.eam), expected);
    }
}

#[derive(Clone, Debug)]
pub(super) enum Change {
    Insert(Eam),
    Remove(prop::sample::Index),
    Own(Vec<IpAddr>),
    Replace(Vec<Eam>, Vec<Ipv4Net>, Vec<Ipv6Net>),
}

/// Few distinct bits, so that prefixes lie in each other.
pub(super) fn net4() -> impl Strategy<Value = Ipv4Net> {
    let len = prop_oneof![5 => Just(32_u8), 3 => 20_u8..32, 1 => 0_u8..20];
    (0_u32..64, len).prop_map(|(bits, len)| Ipv4Net::new((0xc000_0000 | (bits * 0x101)).into(), len).unwrap().trunc())
}

pub(super) fn net6(shortest: u8) -> impl Strategy<Value = Ipv6Net> {
    let len = prop_oneof![5 => Just(128_u8), 3 => 96_u8..128, 1 => 0_u8..96];
    (0_u128..64, len).prop_map(move |(bits, len)| {
        Ipv6Net::new(((0x2001_0db8 << 96) | (bits * 0x101)).into(), len.max(shortest)).unwrap().trunc()
    })
}

pub(super) fn any_eam() -> impl Strategy<Value = Eam> {
    let prefix = prop_oneof![Just(None), (0_u8..7).prop_map(Some)];
    (net4(), net6(0), prefix)
        .prop_filter("the IPv4 suffix is no longer than the IPv6 suffix", |(ipv4, ipv6, _)| {
            32 - ipv4.prefix_len() <= 128 - ipv6.prefix_len()
        })
        .prop_map(|(ipv4, ipv6, prefix)| Eam { ipv4, ipv6, prefix })
}

pub(super) fn own() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (0_u32..64).prop_map(|bits| Ipv4Addr::from(0xc000_0000 | (bits * 0x101)).into()),
        (0_u128..64).prop_map(|bits| Ipv6Addr::from((0x2001_0db8 << 96) | (bits * 0x101)).into()),
        Just(Ipv4Addr::LOCALHOST.into()),
    ]
}

pub(super) fn change() -> impl Strategy<Value = Change> {
    let lists = (
        prop::collection::vec(any_eam(), 0..12),
        prop::collection::vec(net4(), 0..3),
        prop::collection::vec(net6(8), 0..3),
    );
    prop_oneof![
        6 => any_eam().prop_map(Change::Insert),
        4 => any::<prop::sample::Index>().prop_map(Change::Remove),
        1 => prop::collection::vec(own(), 0..4).prop_map(Change::Own),
        1 => lists.prop_map(|(eams, deny4, deny6)| Change::Replace(eams, deny4, deny6)),
    ]
}

pub(super) fn without_clashes(eams: Vec<Eam>) -> Vec<Eam> {
    let mut model = Model::default();
    for eam in eams {
        if !model.clashes(&eam) {
            model.eams.push(eam);
        }
    }
    model.eams
}

pub(super) fn perform(change: Change, model: &mut Model, table: &mut Table<Shared>, grace: &mut Grace) {
    match change {
        Change::Insert(eam) => {
            let clash = model.clashes(&eam);
            match table.insert(&eam, grace) {
                Ok(()) => {
                    assert!(!clash, "{eam:?} was taken");
                    model.eams.push(eam);
                }
                Err(error) => assert!(clash || matches!(error, TableError::Full { .. }), "{error}"),
            }
        }
        Change::Remove(_) if model.eams.is_empty() => {
            assert!(table.remove(&eam_of("192.0.2.1/32", "2001:db8::9/128"), grace).is_err());
        }
        Change::Remove(index) => {
            let eam = model.eams.remove(index.index(model.eams.len()));
            table.remove(&eam, grace).unwrap();
            assert!(table.remove(&eam, grace).is_err());
        }
        Change::Own(own) => {
            let own: HashSet<IpAddr> = own.into_iter().collect();
            table.set_own(own.clone(), grace).unwrap();
            model.own = own;
        }
        Change::Replace(eams, deny4, deny6) => {
            let next = Model { eams: without_clashes(eams), deny4, deny6, ..model.clone() };
            table.replace(&next.input(), next.own.clone(), grace).unwrap();
            *model = next;
        }
    }
}
