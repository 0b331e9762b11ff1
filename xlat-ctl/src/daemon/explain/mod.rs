//! What becomes of a packet that nobody has sent, and why: by the program in force, run once more beside its counters
//! (`dataplane::trial`), and by the rule book, decision by decision. The two must agree.

mod address;
mod book;
mod compare;
mod decode;
mod error_to_four;
mod error_to_six;
mod four_to_six;
mod headers;
mod icmp_error;
mod six_to_four;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use xlat_common::counters::Verdict;

use self::{
    address::flag,
    book::{Arrival, Book, Outcome, Way},
    compare::Done,
    headers::{Header4, Header6},
};
use super::lookup::Rules;
use crate::{
    api::{Code, Explained, Step, Trial, WayOut},
    config::Config,
    dataplane::{DataPlane, DataPlaneError, Tried, default_sources, source4},
    eam,
    netlink::{self, Interface, Machine, Route},
    reason::Reason,
};

/// Where the frames come from: a locally administered address that nobody has.
const FROM: [u8; 6] = [2, 0, 0, 0, 0, 0];
const XDP_REDIRECT: u32 = 4;

/// What there is to be asked.
pub(super) struct Subject<'relay> {
    pub(super) config: &'relay Config,
    pub(super) table: &'relay eam::Table,
    pub(super) machine: &'relay Machine,
    /// Interfaces that the program is attached to, by index.
    pub(super) attached: Vec<u32>,
}

/// Explains one packet, from its IP header on.
///
/// # Errors
/// What is wrong with the question ([`Code::Invalid`]), or why the program cannot be run ([`Code::Failed`]): a sentence.
pub(super) fn explain(
    subject: &Subject<'_>,
    dataplane: &mut DataPlane,
    packet: &[u8],
    interface: Option<&str>,
) -> Result<Explained, (Code, String)> {
    let invalid = |text: String| (Code::Invalid, text);
    let failed = |error: DataPlaneError| (Code::Failed, error.to_string());
    let ether_type = match packet.first().map(|first| first >> 4) {
        Some(4) => 0x0800_u16,
        Some(6) => 0x86dd,
        Some(other) => {
            return Err(invalid(format!("the packet begins with version {other}: it is neither IPv4 nor IPv6")));
        }
        None => return Err(invalid("the packet is empty".to_owned())),
    };
    let arrival = arrival(subject, packet, interface).map_err(invalid)?;
    let device = device(subject, arrival).map_err(invalid)?;
    let tags = dataplane.prepare_trial().map_err(failed)?;
    let Decisions { outcome, steps, remembered_by } = consult(subject, dataplane, packet, arrival);
    let frame = frame(subject.machine, arrival, device, ether_type, packet);
    let tried = dataplane.try_frame(&frame, device.ifindex, remembered_by).map_err(failed)?;
    let done = Done::new(&tried.counters, tried.action == XDP_REDIRECT, without_link(&tried.frame).to_vec());
    let differences = compare::differences(packet, &outcome, &done);
    let sent = done.reason.is_none() || done.answered;
    let result = (sent && done.verdict != Verdict::Passed).then_some(done.packet.as_slice());
    Ok(Explained {
        interface: arrival.name.clone(),
        verdict: done.verdict.name().to_owned(),
        action: action(tried.action).to_owned(),
        reason: done.reason.map(Reason::from),
        answered: done.answered,
        fields: decode::beside(packet, result),
        way_out: result.and_then(|result| way_out(subject, &tried, &done, result)),
        program: Trial { tag: tags.in_force, trial_tag: tags.trial },
        agrees: differences.is_empty(),
        differences,
        packet: hex::encode(packet),
        result: result.map(hex::encode),
        steps: with_end(with_answer(steps, &outcome, &done, packet), subject, arrival, &done),
    })
}

/// The steps, with the answer to the sender as the last.
fn with_answer(mut steps: Vec<Step>, outcome: &Outcome, done: &Done, packet: &[u8]) -> Vec<Step> {
    let Outcome::Dropped(_, Some(answer)) = outcome else { return steps };
    let error = icmp_error::answer_text(*answer, packet[0] >> 4 == 4);
    let text = match (done.answered, done.suppressed) {
        (true, _) => format!("the sender is told: {error}; in traffic, as far as `[icmp] rate` allows"),
        (false, true) => format!("{error} is not sent: `[icmp] errors` is \"off\", or the rate is 0"),
        (false, false) => {
            format!("{error} is not sent: about this packet none may be, or the relay has no address of this family")
        }
    };
    let (rule, source) = ("answer".to_owned(), "RFC 1812 4.3.2.7, RFC 4443 2.4; translation.md 10".to_owned());
    steps.push(Step { rule, source, by: None, text });
    steps
}

/// The steps, with the reason why the kernel gets a packet whose way is known as the last.
fn with_end(mut steps: Vec<Step>, subject: &Subject<'_>, arrival: &Interface, done: &Done) -> Vec<Step> {
    let Some(destination) = destination(&done.packet).filter(|_| done.verdict == Verdict::ToKernel) else {
        return steps;
    };
    let interface = subject.machine.interface(route(subject.machine, arrival, destination).ifindex);
    let (Some(interface), Ok(way)) = (interface, netlink::way_to(destination)) else { return steps };
    let hop = way.gateway.map_or_else(|| "the destination".to_owned(), |gateway| gateway.to_string());
    let text = if interface.takes_xdp_frames() == Some(false) {
        format!(
            "the kernel forwards it: {} takes no frames from XDP, unless it is named in `interfaces`",
            interface.name
        )
    } else {
        format!(
            "the kernel forwards it: it has no link-layer address of {hop} yet (`ip neigh show dev {}`), or forwarding is its own affair here (a policy rule, another MTU)",
            interface.name
        )
    };
    let (rule, source) = ("kernel".to_owned(), "translation.md 11".to_owned());
    steps.push(Step { rule, source, by: None, text });
    steps
}

/// The destination of a packet.
fn destination(packet: &[u8]) -> Option<IpAddr> {
    match packet.first()? >> 4 {
        4 => Some(Ipv4Addr::from(Header4::read(packet)?.destination).into()),
        _ => Some(Ipv6Addr::from(Header6::read(packet)?.destination).into()),
    }
}

/// The interface that a packet is taken to arrive by: of a bond's ports, which run its program, the bond.
fn arrival<'machine>(
    subject: &Subject<'machine>,
    packet: &[u8],
    name: Option<&str>,
) -> Result<&'machine Interface, String> {
    let interfaces = &subject.machine.interfaces;
    if let Some(name) = name {
        let named = interfaces.iter().find(|interface| interface.name == name);
        let named = named.ok_or_else(|| format!("there is no interface {name}"))?;
        return Ok(subject.machine.bond_of(named).unwrap_or(named));
    }
    let source: Option<IpAddr> = match packet[0] >> 4 {
        4 => Header4::read(packet).map(|header| Ipv4Addr::from(header.source).into()),
        _ => Header6::read(packet).map(|header| Ipv6Addr::from(header.source).into()),
    };
    let back = source.and_then(|source| netlink::route_to(source).ok());
    let by_route = interfaces.iter().find(|interface| Some(Route::Out(interface.ifindex)) == back);
    let by_route = by_route.filter(|interface| device(subject, interface).is_ok());
    let first = || interfaces.iter().find(|interface| subject.attached.contains(&interface.ifindex));
    by_route.or_else(first).ok_or_else(|| "the program is attached to no interface: see `xlat-ctl status`".to_owned())
}

/// The device at which the frames of an interface arrive: for a VLAN sub-interface the one below it, for a bond whose ports have
/// the program a port.
fn device<'machine>(
    subject: &Subject<'machine>,
    interface: &'machine Interface,
) -> Result<&'machine Interface, String> {
    let mut device = interface;
    let is_attached = |interface: &Interface| subject.attached.contains(&interface.ifindex);
    while !is_attached(device) {
        let below = device.vlan.and_then(|vlan| subject.machine.interface(vlan.parent));
        let port = || subject.machine.ports_of_bond(device.ifindex).find(|port| is_attached(port));
        device = below.or_else(port).ok_or_else(|| {
            format!("the program is not attached to {}: packets that arrive there are not translated", interface.name)
        })?;
    }
    Ok(device)
}

/// A frame with the packet, as it would arrive at the device.
fn frame(machine: &Machine, arrival: &Interface, device: &Interface, ether_type: u16, packet: &[u8]) -> Vec<u8> {
    let mut tags = Vec::new();
    let mut interface = Some(arrival);
    while let Some(vlan) = interface.filter(|interface| interface.ifindex != device.ifindex).and_then(|i| i.vlan) {
        tags.splice(0..0, [vlan.protocol, vlan.id]);
        interface = machine.interface(vlan.parent);
    }
    let mut frame = [device.mac, FROM].concat();
    frame.extend(tags.iter().chain([&ether_type]).flat_map(|word| word.to_be_bytes()));
    frame.extend(packet);
    frame
}

/// A frame without its Ethernet header and tags.
fn without_link(frame: &[u8]) -> &[u8] {
    let mut at = 12;
    while matches!(headers::u16_at(frame, at), Some(0x8100 | 0x88a8)) {
        at += 4;
    }
    frame.get(at + 2..).unwrap_or(&[])
}

/// What the rule book decides.
struct Decisions {
    outcome: Outcome,
    steps: Vec<Step>,
    /// The IPv4 address by which the next hop would be remembered.
    remembered_by: Option<u32>,
}

/// Has the rule book decide.
fn consult(subject: &Subject<'_>, dataplane: &DataPlane, packet: &[u8], interface: &Interface) -> Decisions {
    let machine = subject.machine;
    let own = |address: IpAddr| {
        machine.addresses().find(|(own, _)| *own == address).map(|(_, interface)| interface.to_owned())
    };
    let own_ipv4 = |ifindex: u32| {
        let own = machine.interface(ifindex).and_then(source4).or_else(|| default_sources(machine).0);
        own.map_or(0, Ipv4Addr::to_bits)
    };
    let mut book = Book {
        settings: dataplane.settings(),
        rules: Rules { config: subject.config, table: subject.table, own: &own },
        arrival: Arrival {
            ifindex: interface.ifindex,
            prefix: dataplane.prefix_of(&interface.name),
            mtu: interface.mtu,
        },
        table: &|address| dataplane.lookup(address),
        route: &|address| route(machine, interface, address),
        own_ipv4: &own_ipv4,
        steps: Vec::new(),
    };
    let outcome = if packet[0] >> 4 == 4 { book.four_to_six(packet, false) } else { book.six_to_four(packet) };
    let remembered_by = match packet[0] >> 4 {
        4 => Header4::read(packet).map(|header| header.destination),
        _ => Header6::read(packet).and_then(|header| {
            let mapped = book.map6(header.destination);
            (mapped.flags & flag::MAPPED != 0).then_some(mapped.ipv4)
        }),
    };
    Decisions { outcome, steps: book.steps, remembered_by }
}

/// The way out to an address, as the routing table says for a packet from an interface.
fn route(machine: &Machine, arrival: &Interface, address: IpAddr) -> Way {
    let by_kernel = |text: String| Way { ifindex: 0, mtu: u32::MAX, text };
    let family = if address.is_ipv4() { "ipv4" } else { "ipv6" };
    if let Ok(text) = std::fs::read_to_string(format!("/proc/sys/net/{family}/conf/{}/forwarding", arrival.name))
        && text.trim() == "0"
    {
        let name = &arrival.name;
        return by_kernel(format!(
            "the kernel does not forward from {name} (net.{family}.conf.{name}.forwarding = 0): it gets the packet"
        ));
    }
    let found = match netlink::way_to(address) {
        Ok(found) => found,
        Err(error) => return by_kernel(error.to_string()),
    };
    match found.route {
        Route::Out(ifindex) => {
            let interface = machine.interface(ifindex);
            let mtu = interface.map_or(u32::MAX, |interface| interface.mtu);
            let mtu = found.mtu.map_or(mtu, |own| own.min(mtu));
            let name = interface.map_or_else(|| format!("interface {ifindex}"), |interface| interface.name.clone());
            let hop = found.gateway.map_or_else(|| "on the link".to_owned(), |gateway| format!("via {gateway}"));
            Way { ifindex, mtu, text: format!("{address} is routed {hop} by {name}, MTU {mtu}") }
        }
        Route::Local => {
            by_kernel(format!("{address} is the machine's own by the routing table: the kernel gets the packet"))
        }
        Route::Nowhere => {
            by_kernel(format!("there is no route to {address}: the kernel gets the translated packet, and answers it"))
        }
    }
}

/// Where the packet that is left goes.
fn way_out(subject: &Subject<'_>, tried: &Tried, done: &Done, packet: &[u8]) -> Option<WayOut> {
    let route = netlink::way_to(destination(packet)?).ok()?;
    let by_route = match route.route {
        Route::Out(ifindex) => subject.machine.interface(ifindex),
        Route::Local | Route::Nowhere => None,
    };
    if matches!(done.verdict, Verdict::ToKernel | Verdict::Fragmented) {
        let interface = by_route.map(|interface| interface.name.clone());
        let next_hop = route.gateway.map(|gateway| gateway.to_string());
        return Some(WayOut {
            interface,
            next_hop,
            next_hop_mac: None,
            mtu: by_route.map(|i| i.mtu),
            by: "kernel".to_owned(),
        });
    }
    let (to, from) = (tried.frame.get(..6)?, tried.frame.get(6..12)?);
    let mac: Vec<String> = to.iter().map(|byte| format!("{byte:02x}")).collect();
    let agrees = by_route.filter(|interface| interface.mac == from);
    let interface = agrees.or_else(|| subject.machine.interfaces.iter().find(|interface| interface.mac == from));
    Some(WayOut {
        interface: interface.map(|interface| interface.name.clone()),
        next_hop: agrees.and(route.gateway).map(|gateway| gateway.to_string()),
        next_hop_mac: Some(mac.join(":")),
        mtu: interface.map(|interface| route.mtu.map_or(interface.mtu, |own| own.min(interface.mtu))),
        by: if tried.remembered { "remembered" } else { "routing_table" }.to_owned(),
    })
}

/// The name of an XDP action.
fn action(number: u32) -> &'static str {
    match number {
        0 => "XDP_ABORTED",
        1 => "XDP_DROP",
        2 => "XDP_PASS",
        3 => "XDP_TX",
        XDP_REDIRECT => "XDP_REDIRECT",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{eam::Table, netlink::Vlan};

    fn machine() -> Machine {
        let interface = |ifindex, name: &str, vlan| Interface { ifindex, vlan, ..Interface::example(name) };
        let vlan = |parent, id, protocol| Some(Vlan { parent, id, protocol });
        let interfaces = vec![
            interface(2, "eth0", None),
            interface(3, "eth0.7", vlan(2, 7, 0x88a8)),
            interface(4, "eth0.7.9", vlan(3, 9, 0x8100)),
            interface(5, "other", None),
            Interface { kind: Some("bond".to_owned()), ..interface(6, "bond0", None) },
            Interface { controller: Some(6), ..interface(7, "port", None) },
        ];
        Machine { interfaces }
    }

    #[test]
    fn packets_of_a_vlan_arrive_tagged_at_the_device_below_it() {
        let text = "dataplane.interfaces = [\"eth0\"]\ntranslation.prefixes = [\"2001:db8:6464::/96\"]";
        let config = crate::config::parse(text).expect("a configuration").config;
        let (table, machine) = (Table::default(), machine());
        let subject = Subject { config: &config, table: &table, machine: &machine, attached: vec![2] };
        for (name, tags) in
            [("eth0", &[][..]), ("eth0.7", &[0x88, 0xa8, 0, 7]), ("eth0.7.9", &[0x88, 0xa8, 0, 7, 0x81, 0, 0, 9])]
        {
            let interface = arrival(&subject, &[0x45], Some(name)).unwrap();
            let device = device(&subject, interface).unwrap();
            assert_eq!(device.name, "eth0");
            let frame = frame(&machine, interface, device, 0x0800, &[0x45, 1, 2]);
            assert_eq!(frame[12..], [tags, &[8, 0, 0x45, 1, 2]].concat(), "{name}");
            assert_eq!(without_link(&frame), [0x45, 1, 2], "{name}");
        }
        let bond = arrival(&subject, &[0x45], Some("port")).unwrap();
        assert_eq!(bond.name, "bond0");
        let at_the_port = Subject { attached: vec![7], ..subject };
        assert_eq!(device(&at_the_port, bond).unwrap().name, "port");
        let other = arrival(&subject, &[0x45], Some("other")).unwrap();
        assert!(device(&subject, other).unwrap_err().contains("not attached to other"));
        assert!(arrival(&subject, &[0x45], Some("eth9")).is_err());
    }
}
