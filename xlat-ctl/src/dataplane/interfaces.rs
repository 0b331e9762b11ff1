//! From the machine's interfaces to the records that the program reads.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    mem::offset_of,
    net::{Ipv4Addr, Ipv6Addr},
    sync::{Arc, atomic::Ordering::Release},
};

use aya::{
    Pod,
    maps::{self, MapData},
};
use globset::{Glob, GlobMatcher};
use tracing::warn;
use xlat_common::{
    interface::{Interface as Record, MAX_IFINDEX, MacKey, VlanKey},
    state::State,
};

use super::{XdpMode, error::DataPlaneError, mapping::Mapping, table::Memory};
use crate::netlink::{Interface, Machine};

/// The fragmenter's near end, as the program needs to know it.
#[derive(Clone, Copy, Debug)]
pub(super) struct NearEnd {
    pub(super) ifindex: u32,
    pub(super) mac: [u8; 6],
    pub(super) peer_mac: [u8; 6],
    pub(super) mtu: u32,
}

/// Everything that the records follow from.
pub(super) struct Sources<'sources> {
    pub(super) machine: &'sources Machine,
    /// Where the program is attached, and how; the fragmenter's near end included.
    pub(super) attached: &'sources BTreeMap<u32, XdpMode>,
    pub(super) near_end: Option<NearEnd>,
    pub(super) prefixes: &'sources PrefixOfInterface,
}

/// Which translation prefix stands for the IPv4 Internet, by the arrival interface's name.
pub(super) struct PrefixOfInterface(Vec<(GlobMatcher, u8)>);

impl PrefixOfInterface {
    /// From names or globs with the index of the prefix; the first that matches counts.
    pub(super) fn new(list: &[(String, u8)]) -> Result<Self, DataPlaneError> {
        let compile = |(text, index): &(String, u8)| match Glob::new(text) {
            Ok(glob) => Ok((glob.compile_matcher(), *index)),
            Err(error) => Err(DataPlaneError::Kernel {
                what: format!("read the interface pattern `{text}`"),
                reason: error.kind().to_string(),
            }),
        };
        Ok(Self(list.iter().map(compile).collect::<Result<_, _>>()?))
    }

    pub(super) fn of(&self, name: &str) -> u8 {
        self.0.iter().find(|(glob, _)| glob.is_match(name)).map_or(0, |(_, index)| *index)
    }
}

/// What the three maps are to hold.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Records {
    pub(super) interfaces: HashMap<u32, Record>,
    pub(super) vlans: HashMap<VlanKey, u32>,
    pub(super) macs: HashMap<MacKey, u8>,
}

impl Records {
    pub(super) fn new(sources: &Sources<'_>) -> Self {
        let mut records = Self::default();
        for interface in sources.machine.interfaces.iter().filter(|interface| interface.ifindex < MAX_IFINDEX) {
            records.interfaces.insert(interface.ifindex, record(interface, sources));
            if interface.mac != [0; 6] {
                records.macs.insert(MacKey::new(interface.mac), 1);
            }
            if let Some(vlan) = interface.vlan {
                let key = VlanKey { parent: vlan.parent, vlan_id: vlan.id, vlan_protocol: vlan.protocol };
                records.vlans.insert(key, interface.ifindex);
            }
        }
        if let Some(near) = sources.near_end {
            let record = Record {
                flags: Record::PRESENT | Record::SLOW_PATH,
                mtu: near.mtu,
                mac: near.mac,
                peer_mac: near.peer_mac,
                ipv6_ifindex: near.ifindex,
                ..Record::default()
            };
            records.interfaces.insert(near.ifindex, record);
            records.macs.insert(MacKey::new(near.mac), 1);
        }
        records
    }
}

fn record(interface: &Interface, sources: &Sources<'_>) -> Record {
    let mut record = Record {
        flags: Record::PRESENT | ways_out(interface, sources),
        mtu: interface.mtu,
        mac: interface.mac,
        prefix: sources.prefixes.of(&interface.name),
        ipv4: source4(interface).map_or(0, Ipv4Addr::to_bits),
        ipv6: source6(interface).unwrap_or(Ipv6Addr::UNSPECIFIED).into(),
        ipv6_ifindex: match sources.near_end {
            Some(near) if !interface.takes_ipv6 => near.ifindex,
            _ => interface.ifindex,
        },
        ..Record::default()
    };
    if let Some(vlan) = interface.vlan {
        record.flags |= Record::VLAN;
        (record.parent, record.vlan_id, record.vlan_protocol) = (vlan.parent, vlan.id, vlan.protocol);
    } else if let Some(bond) = sources.machine.bond_of(interface) {
        record.flags |= Record::PORT;
        record.parent = bond.ifindex;
    }
    record
}

/// How frames can leave by an interface from XDP.
fn ways_out(interface: &Interface, sources: &Sources<'_>) -> u32 {
    let attached = sources.attached;
    let mode = attached.get(&interface.ifindex);
    let is_veth = |interface: &Interface| interface.kind.as_deref() == Some("veth");
    // What leaves by a bond leaves by one of its ports.
    let is_bond = interface.kind.as_deref() == Some("bond");
    let veth = is_veth(interface) || is_bond && sources.machine.ports_of_bond(interface.ifindex).any(is_veth);
    // Where the kernel does not say (before Linux 6.3): drivers that run programs nearly always also take frames once a
    // program is attached. A veth takes them only if its peer is prepared, which cannot be known from this end.
    let takes = interface.takes_xdp_frames().unwrap_or(mode == Some(&XdpMode::Native) && !veth);
    // Generic mode sends by the ordinary way, any device will do; but only if no frame can come from native mode.
    let all_generic = !attached.is_empty() && attached.values().all(|mode| *mode == XdpMode::Generic);
    let generic = mode == Some(&XdpMode::Generic);
    // What XDP_TX sends out of a veth lies there until something else wakes the other end, unless that one has a program
    // too (`veth_xdp_flush`). XDP_REDIRECT, also back out of the same interface, wakes it.
    let tx = if generic || !veth { Record::CAN_TX } else { 0 };
    let redirect = if takes || all_generic { Record::CAN_REDIRECT } else { 0 };
    let buffers = interface.takes_xdp_frames_of_several_buffers() || all_generic;
    tx | redirect | if buffers { Record::TAKES_BUFFERS } else { 0 }
}

/// The source of ICMPv4 errors from an interface.
pub(crate) fn source4(interface: &Interface) -> Option<Ipv4Addr> {
    interface.ipv4.iter().map(ipnet::Ipv4Net::addr).find(|address| !address.is_loopback() && !address.is_link_local())
}

/// The source of ICMPv6 errors from an interface: a global address rather than a unique local one.
fn source6(interface: &Interface) -> Option<Ipv6Addr> {
    let usable = |address: &Ipv6Addr| !address.is_loopback() && !address.is_unicast_link_local();
    let all = || interface.ipv6.iter().map(ipnet::Ipv6Net::addr).filter(usable);
    all().find(|address| !address.is_unique_local()).or_else(|| all().next())
}

/// Sources of ICMP errors where the arrival interface has none: the first address that any interface has.
pub(crate) fn default_sources(machine: &Machine) -> (Option<Ipv4Addr>, Option<Ipv6Addr>) {
    (machine.interfaces.iter().find_map(source4), machine.interfaces.iter().find_map(source6))
}

/// The three maps.
pub(super) struct Maps {
    state: Arc<Mapping>,
    vlans: maps::HashMap<MapData, VlanKey, u32>,
    macs: maps::HashMap<MapData, MacKey, u8>,
    /// What they hold.
    held: Records,
}

impl Maps {
    /// Takes over empty maps.
    pub(super) fn new(
        state: Arc<Mapping>,
        vlans: maps::HashMap<MapData, VlanKey, u32>,
        macs: maps::HashMap<MapData, MacKey, u8>,
    ) -> Self {
        Self { state, vlans, macs, held: Records::default() }
    }

    /// Makes them hold the records: what is new first, then without what has gone.
    pub(super) fn hold(&mut self, mut records: Records) -> Result<(), DataPlaneError> {
        let failed = |error: maps::MapError| DataPlaneError::new("tell the program of the interfaces", &error);
        for (ifindex, record) in differing(&records.interfaces, &self.held.interfaces) {
            self.set(*ifindex, *record);
        }
        for ifindex in self.held.interfaces.keys().filter(|key| !records.interfaces.contains_key(key)) {
            self.set(*ifindex, Record::default());
        }
        replace(&mut self.vlans, &mut records.vlans, &self.held.vlans, "VLAN sub-interfaces").map_err(failed)?;
        replace(&mut self.macs, &mut records.macs, &self.held.macs, "link-layer addresses").map_err(failed)?;
        self.held = records;
        Ok(())
    }

    /// Writes one interface's record; the word with its flags last, so that a new interface is none before its record is whole.
    fn set(&self, ifindex: u32, record: Record) {
        const WORDS: usize = size_of::<Record>() / size_of::<u64>();
        // Those beyond are not attached to, and the program passes to the kernel what would leave by them.
        if ifindex >= MAX_IFINDEX {
            return;
        }
        let start = offset_of!(State, interfaces) / size_of::<u64>() + ifindex as usize * WORDS;
        let Some(place) = self.state.words().get(start..start + WORDS) else { return };
        for (place, word) in place.iter().zip(record.words()).rev() {
            place.store(word, Release);
        }
    }
}

fn differing<'maps, K: Eq + Hash, V: PartialEq>(
    new: &'maps HashMap<K, V>,
    old: &'maps HashMap<K, V>,
) -> impl Iterator<Item = (&'maps K, &'maps V)> {
    new.iter().filter(|(key, value)| old.get(*key) != Some(*value))
}

/// Makes a map hold `new` in place of `old`. What it does not take goes from `new`, so that it is tried again.
fn replace<K: Pod + Eq + Hash, V: Pod + PartialEq>(
    map: &mut maps::HashMap<MapData, K, V>,
    new: &mut HashMap<K, V>,
    old: &HashMap<K, V>,
    what: &str,
) -> Result<(), maps::MapError> {
    // What goes makes room.
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        match map.remove(key) {
            Ok(()) | Err(maps::MapError::KeyNotFound) => {}
            Err(maps::MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::ENOENT) => {}
            Err(error) => return Err(error),
        }
    }
    let mut refused = Vec::new();
    for (key, value) in differing(new, old) {
        if let Err(error) = map.insert(key, value, 0) {
            refused.push((*key, error));
        }
    }
    // One that does not fit is passed to the kernel, which translates nothing but loses nothing either.
    if let Some((_, error)) = refused.first() {
        warn!("the program cannot know {} of the {what}, and passes what comes by them: {error}", refused.len());
    }
    for (key, _) in refused {
        new.remove(&key);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::Vlan;

    fn interface(ifindex: u32, name: &str) -> Interface {
        Interface { ifindex, mac: [2, 0, 0, 0, 0, ifindex as u8], ..Interface::example(name) }
    }

    fn records(interfaces: Vec<Interface>, attached: &[(u32, XdpMode)], near_end: Option<NearEnd>) -> Records {
        Records::new(&Sources {
            machine: &Machine { interfaces },
            attached: &attached.iter().copied().collect(),
            near_end,
            prefixes: &PrefixOfInterface::new(&[("up*".to_owned(), 2)]).unwrap(),
        })
    }

    fn ways_out(records: &Records, ifindex: u32) -> (bool, bool) {
        let flags = records.interfaces[&ifindex].flags;
        (flags & Record::CAN_TX != 0, flags & Record::CAN_REDIRECT != 0)
    }

    #[test]
    fn describes_an_interface() {
        let mut eth = interface(3, "uplink");
        eth.ipv4 = vec!["169.254.1.1/16".parse().unwrap(), "192.0.2.1/24".parse().unwrap()];
        eth.ipv6 = ["fe80::1/64", "fd00::1/64", "2001:db8::1/64"].iter().map(|text| text.parse().unwrap()).collect();
        let records = records(vec![eth, interface(4, "eth1")], &[], None);
        let record = &records.interfaces[&3];
        assert_eq!((record.mtu, record.mac, record.prefix), (1500, [2, 0, 0, 0, 0, 3], 2));
        assert_eq!(Ipv4Addr::from(record.ipv4), Ipv4Addr::new(192, 0, 2, 1));
        assert_eq!(Ipv6Addr::from(record.ipv6), "2001:db8::1".parse::<Ipv6Addr>().unwrap());
        assert_eq!(records.interfaces[&4].prefix, 0);
        assert_eq!(records.macs.len(), 2);
    }

    #[test]
    fn leads_a_tag_to_its_sub_interface() {
        let mut tagged = interface(5, "uplink.7");
        tagged.vlan = Some(Vlan { parent: 3, id: 7, protocol: 0x8100 });
        let records = records(vec![interface(3, "uplink"), tagged], &[], None);
        let key = VlanKey { parent: 3, vlan_id: 7, vlan_protocol: 0x8100 };
        assert_eq!(records.vlans, HashMap::from([(key, 5)]));
        let record = &records.interfaces[&5];
        assert_eq!((record.flags & Record::VLAN, record.parent), (Record::VLAN, 3));
    }

    #[test]
    fn leads_a_port_to_its_bond_and_not_to_a_bridge() {
        let port = |ifindex, controller| Interface { controller: Some(controller), ..interface(ifindex, "port") };
        let kind = |ifindex, kind: &str| Interface { kind: Some(kind.to_owned()), ..interface(ifindex, kind) };
        let all = vec![port(3, 5), port(4, 6), kind(5, "bond"), kind(6, "bridge")];
        let records = records(all, &[], None);
        let found = [3, 4, 5].map(|ifindex| {
            let record = &records.interfaces[&ifindex];
            (record.flags & Record::PORT != 0, record.parent)
        });
        assert_eq!(found, [(true, 5), (false, 0), (false, 0)]);
    }

    #[test]
    fn sends_by_a_bond_of_veths_as_by_a_veth() {
        let port = |kind: Option<&str>| Interface {
            controller: Some(5),
            kind: kind.map(str::to_owned),
            ..interface(3, "port")
        };
        let bond = || Interface { kind: Some("bond".to_owned()), xdp_features: None, ..interface(5, "bond0") };
        for (kind, ways) in [(Some("veth"), (false, false)), (None, (true, true))] {
            let known = records(vec![port(kind), bond()], &[(5, XdpMode::Native)], None);
            assert_eq!(ways_out(&known, 5), ways, "{kind:?}");
        }
    }

    #[test]
    fn leaves_out_what_the_program_has_no_place_for() {
        assert!(records(vec![interface(MAX_IFINDEX, "far")], &[], None).interfaces.is_empty());
    }

    #[test]
    fn marks_the_fragmenter_even_before_the_machine_shows_it() {
        let near = NearEnd { ifindex: 9, mac: [2; 6], peer_mac: [2; 6], mtu: 65_535 };
        let records = records(Vec::new(), &[], Some(near));
        assert_eq!(records.interfaces[&9].flags, Record::PRESENT | Record::SLOW_PATH);
        assert_eq!(records.interfaces[&9].peer_mac, [2; 6]);
    }

    #[test]
    fn leads_ipv6_round_an_interface_that_takes_none() {
        let near = NearEnd { ifindex: 9, mac: [2; 6], peer_mac: [2; 6], mtu: 65_535 };
        let narrow = || Interface { takes_ipv6: false, ..interface(4, "narrow") };
        let known = records(vec![interface(3, "eth0"), narrow()], &[], Some(near));
        let ways = [3, 4, 9].map(|ifindex| known.interfaces[&ifindex].ipv6_ifindex);
        assert_eq!(ways, [3, 9, 9]);
        assert_eq!(records(vec![narrow()], &[], None).interfaces[&4].ipv6_ifindex, 4);
    }

    #[test]
    fn sends_by_xdp_only_where_frames_arrive() {
        let veth = |takes: Option<bool>| Interface {
            kind: Some("veth".to_owned()),
            xdp_features: takes.map(|takes| if takes { 7 } else { 3 }),
            ..interface(3, "veth")
        };
        let eth = |takes: Option<bool>| Interface { kind: None, ..veth(takes) };
        let (native, generic) = ([(3, XdpMode::Native)], [(3, XdpMode::Generic)]);
        for (interface, attached, expected) in [
            // Linux 6.3 and later says it.
            (veth(Some(true)), &native[..], (false, true)),
            (veth(Some(false)), &native, (false, false)),
            (eth(Some(true)), &native, (true, true)),
            (eth(Some(false)), &native, (true, false)),
            (eth(Some(true)), &[], (true, true)),
            // Older kernels do not.
            (veth(None), &native, (false, false)),
            (eth(None), &native, (true, true)),
            (eth(None), &[], (true, false)),
            // Generic mode sends by the ordinary way, as long as nothing comes from native mode.
            (veth(Some(false)), &generic, (true, true)),
            (eth(None), &[(3, XdpMode::Generic), (4, XdpMode::Native)], (true, false)),
        ] {
            let text = format!("{:?} {:?} {attached:?}", interface.kind, interface.xdp_features);
            assert_eq!(ways_out(&records(vec![interface], attached, None), 3), expected, "{text}");
        }
    }
}
