//! Canaries: packets that a new program instance must translate rightly before it gets real ones.
//!
//! What is right is not asked of the instance but of the rules over the operator's lists ([`Rules`]), and the bytes that come
//! out are read by a decoder that has nothing to do with the program.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{LaxNetSlice, LaxSlicedPacket, PacketBuilder, TransportSlice};
use ipnet::Ipv4Net;

use crate::{
    api::Rule,
    config::Scope,
    daemon::lookup::Rules,
    eam,
    netlink::{Interface, Machine},
};

/// Most entries that canaries are sent to: spread over the table.
const MOST: usize = 64;
/// Clients of the IPv4 Internet, of which the first that is translated by a prefix is taken.
const CLIENTS: [&str; 4] = ["8.8.8.8", "192.0.2.7", "203.0.113.7", "198.51.100.7"];
const PAYLOAD: &[u8] = b"canary of xlat";
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;
const XDP_REDIRECT: u32 = 4;

/// Runs a frame through the instance as if it came in by an interface; gives the XDP action and the frame as it is then.
pub(super) trait Subject {
    fn run(&self, frame: &[u8], ifindex: u32) -> Result<(u32, Vec<u8>), String>;
}

/// Sends canaries in both directions for entries all over the table, and one that is not to be translated. Gives how many
/// there were.
///
/// # Errors
/// Which packet failed, and how.
pub(super) fn send(
    subject: &impl Subject,
    rules: &Rules<'_>,
    machine: &Machine,
    wanted: impl Fn(&Interface) -> bool,
) -> Result<usize, String> {
    let is_ethernet = |interface: &&Interface| interface.mac != [0; 6] && interface.mtu >= 576 && interface.takes_ipv6;
    let Some(arrival) = machine.interfaces.iter().filter(is_ethernet).find(|interface| wanted(interface)) else {
        return Ok(0);
    };
    let canary = Canary { subject, rules, arrival };
    let mut sent = canary.untranslated()?;
    let Some(client) = clients(rules).next() else { return Ok(sent) };
    let step = rules.table.len().div_ceil(MOST).max(1);
    for entry in rules.table.iter().step_by(step) {
        sent += canary.entry(client, entry)?;
    }
    Ok(sent)
}

/// Sends one canary in each direction, for the first of a few entries behind `last` that is translated both ways; `last` becomes the
/// entry that was tried last.
///
/// # Errors
/// Which packet failed, and how; or why there is none to be sent.
pub(super) fn send_both_ways(
    subject: &impl Subject,
    rules: &Rules<'_>,
    arrival: &Interface,
    last: &mut Option<Ipv4Net>,
) -> Result<(), String> {
    let canary = Canary { subject, rules, arrival };
    let mut clients = clients(rules);
    let Some(client) = clients.next() else {
        return Err("no IPv4 client is translated by a translation prefix: see `xlat-ctl lookup 8.8.8.8`".to_owned());
    };
    let count = rules.table.len();
    if count == 0 {
        return match clients.next() {
            Some(other) if rules.config.translation.scope == Scope::All => {
                canary.pair(client, other, "no EAM").map(|_| ())
            }
            _ => Err("the table is empty: no service is translated".to_owned()),
        };
    }
    for entry in rules.table.iter_behind(*last).take(MOST) {
        *last = Some(entry.pair.ipv4());
        if canary.entry(client, entry)? == 2 {
            return Ok(());
        }
    }
    Err(format!("none of {} entries is translated in both directions: see `xlat-ctl lookup`", count.min(MOST)))
}

/// Clients that are translated by a prefix.
fn clients(rules: &Rules<'_>) -> impl Iterator<Item = Ipv4Addr> {
    let clients = CLIENTS.map(|text| text.parse::<Ipv4Addr>().expect("a constant address"));
    clients.into_iter().filter(|client| rules.look_up((*client).into()).rule == Rule::Prefix)
}

struct Canary<'a, S> {
    subject: &'a S,
    rules: &'a Rules<'a>,
    arrival: &'a Interface,
}

impl<S: Subject> Canary<'_, S> {
    /// Sends one packet from a client to an entry's first address, and one back. Gives how many.
    fn entry(&self, client: Ipv4Addr, entry: &eam::Entry) -> Result<usize, String> {
        let service = entry.pair.ipv4().network();
        let is_by_eam = self.rules.look_up(service.into()).rule == Rule::Eam;
        if is_by_eam { self.pair(client, service, &format!("EAM {entry}")) } else { Ok(0) }
    }

    /// Sends one packet from a client to a service, and one back. Gives how many. `by`: what maps the service.
    fn pair(&self, client: Ipv4Addr, service: Ipv4Addr, by: &str) -> Result<usize, String> {
        let (to, from) = (self.rules.look_up(service.into()), self.rules.look_up(client.into()));
        let (rule, Some(IpAddr::V6(service6))) = (to.rule, to.result) else { return Ok(0) };
        let clients6: Vec<IpAddr> = from.result.into_iter().chain(from.alternatives.iter().map(|a| a.result)).collect();
        let name = format!("a UDP packet from {client} to {service} ({by})");
        let (source, destination) = self.expect_translated(&name, &ipv4(self.arrival.mac, client, service))?;
        if destination != IpAddr::V6(service6) || !clients6.contains(&source) {
            let expected = clients6.first().map_or_else(String::new, IpAddr::to_string);
            return Err(format!("{name} became {source} to {destination}; expected {expected} to {service6}"));
        }
        let IpAddr::V6(client6) = source else { return Ok(1) };
        // Where entries overlap, the way back may be another (RFC 7757 5).
        let (back, to) = (self.rules.look_up(service6.into()), self.rules.look_up(client6.into()));
        if back.result != Some(service.into()) || back.rule != rule || to.result != Some(client.into()) {
            return Ok(1);
        }
        let name = format!("a UDP packet from {service6} to {client6} ({by})");
        let (source, destination) = self.expect_translated(&name, &ipv6(self.arrival.mac, service6, client6))?;
        if (source, destination) != (service.into(), client.into()) {
            return Err(format!("{name} became {source} to {destination}; expected {service} to {client}"));
        }
        Ok(2)
    }

    /// A frame of another protocol passes as it is.
    fn untranslated(&self) -> Result<usize, String> {
        let mut frame = vec![0; 60];
        frame[..6].copy_from_slice(&self.arrival.mac);
        frame[12..14].copy_from_slice(&[0x08, 0x06]);
        match self.subject.run(&frame, self.arrival.ifindex)? {
            (XDP_PASS, out) if out == frame => Ok(1),
            (action, _) => Err(format!("an ARP frame was not passed untouched but had the XDP action {action}")),
        }
    }

    /// Sends a frame; gives the addresses of the packet that it is translated into, checksums and content judged.
    fn expect_translated(&self, name: &str, frame: &[u8]) -> Result<(IpAddr, IpAddr), String> {
        let (action, out) =
            self.subject.run(frame, self.arrival.ifindex).map_err(|error| format!("{name}: {error}"))?;
        if !matches!(action, XDP_PASS | XDP_TX | XDP_REDIRECT) {
            return Err(format!("{name} was dropped"));
        }
        judge(&out).map_err(|reason| format!("{name} {reason}"))
    }
}

/// The addresses of a UDP packet whose checksums are right and whose content is the canary's.
fn judge(frame: &[u8]) -> Result<(IpAddr, IpAddr), String> {
    let packet = LaxSlicedPacket::from_ethernet(frame).map_err(|error| format!("came out unreadable: {error}"))?;
    let Some(TransportSlice::Udp(udp)) = &packet.transport else { return Err("came out without UDP".to_owned()) };
    let header = udp.to_header();
    let (addresses, checksum): ((IpAddr, IpAddr), _) = match &packet.net {
        Some(LaxNetSlice::Ipv4(ip)) => {
            let (source, destination) = (ip.header().source_addr(), ip.header().destination_addr());
            let checksum = header.calc_checksum_ipv4_raw(source.octets(), destination.octets(), udp.payload());
            ((source.into(), destination.into()), checksum)
        }
        Some(LaxNetSlice::Ipv6(ip)) => {
            let (source, destination) = (ip.header().source_addr(), ip.header().destination_addr());
            let checksum = header.calc_checksum_ipv6_raw(source.octets(), destination.octets(), udp.payload());
            ((source.into(), destination.into()), checksum)
        }
        _ => return Err("came out as neither IPv4 nor IPv6".to_owned()),
    };
    if checksum.ok() != Some(header.checksum) {
        return Err(format!("came out with the wrong checksum {:#06x}", header.checksum));
    }
    if udp.payload() != PAYLOAD {
        return Err("came out with another content".to_owned());
    }
    Ok(addresses)
}

/// Where a canary comes from: a locally administered address that nobody has.
const FROM: [u8; 6] = [2, 0, 0, 0, 0, 0];
const HOPS: u8 = 64;

fn ipv4(to: [u8; 6], source: Ipv4Addr, destination: Ipv4Addr) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(FROM, to)
        .ipv4(source.octets(), destination.octets(), HOPS)
        .udp(4711, 53)
        .write(&mut frame, PAYLOAD)
        .expect("a small packet");
    frame
}

fn ipv6(to: [u8; 6], source: Ipv6Addr, destination: Ipv6Addr) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(FROM, to)
        .ipv6(source.octets(), destination.octets(), HOPS)
        .udp(53, 4711)
        .write(&mut frame, PAYLOAD)
        .expect("a small packet");
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{self, Config},
        eam::Table,
    };

    /// An instance that translates by a function of its own.
    struct Fake<F>(F);

    impl<F: Fn(&[u8]) -> (u32, Vec<u8>)> Subject for Fake<F> {
        fn run(&self, frame: &[u8], _ifindex: u32) -> Result<(u32, Vec<u8>), String> {
            Ok((self.0)(frame))
        }
    }

    fn config() -> Config {
        let text = r#"
            dataplane.interfaces = ["eth0"]
            translation.prefixes = ["2001:db8:6464::/96"]
            eam = [{ ipv4 = "198.51.100.10", ipv6 = "2001:db8:5e1:1::10" }]
        "#;
        config::parse(text).expect("a configuration").config
    }

    fn machine() -> Machine {
        let interface = Interface { mac: [2, 0, 0, 0, 0, 9], ..Interface::example("eth0") };
        Machine { interfaces: vec![interface] }
    }

    fn send_to(answer: impl Fn(&[u8]) -> (u32, Vec<u8>)) -> Result<usize, String> {
        let config = config();
        let mut table = Table::default();
        config.eams.iter().for_each(|entry| table.insert(entry.clone()).expect("a new entry"));
        let rules = Rules { config: &config, table: &table, own: &|_| None };
        send(&Fake(answer), &rules, &machine(), |there| there.name == "eth0")
    }

    const CLIENT6: &str = "2001:db8:6464::808:808";
    const SERVICE6: &str = "2001:db8:5e1:1::10";

    fn translate(frame: &[u8], service6: &str) -> (u32, Vec<u8>) {
        let mac = [2, 0, 0, 0, 0, 9];
        let (client, service): (Ipv4Addr, Ipv4Addr) = ("8.8.8.8".parse().unwrap(), "198.51.100.10".parse().unwrap());
        match frame[12..14] {
            [0x08, 0x00] => {
                // The ports of the packet from the client.
                let mut out = Vec::new();
                let (from, to): (Ipv6Addr, Ipv6Addr) = (CLIENT6.parse().unwrap(), service6.parse().unwrap());
                let packet = PacketBuilder::ethernet2(FROM, mac).ipv6(from.octets(), to.octets(), HOPS - 1);
                packet.udp(4711, 53).write(&mut out, PAYLOAD).unwrap();
                (XDP_REDIRECT, out)
            }
            [0x86, 0xdd] => (XDP_TX, ipv4(mac, service, client)),
            _ => (XDP_PASS, frame.to_vec()),
        }
    }

    #[test]
    fn is_content_with_what_translates_rightly() {
        assert_eq!(send_to(|frame| translate(frame, SERVICE6)), Ok(3));
    }

    #[test]
    fn tells_a_wrong_address() {
        let refused = send_to(|frame| translate(frame, "2001:db8:5e1:1::11")).unwrap_err();
        assert_eq!(
            refused,
            "a UDP packet from 8.8.8.8 to 198.51.100.10 (EAM 198.51.100.10 ↔ 2001:db8:5e1:1::10) became \
             2001:db8:6464::808:808 to 2001:db8:5e1:1::11; expected 2001:db8:6464::808:808 to 2001:db8:5e1:1::10"
        );
    }

    #[test]
    fn tells_a_drop_a_bad_checksum_and_a_frame_that_was_touched() {
        let dropped =
            send_to(
                |frame| if frame[12] == 8 && frame[13] == 0 { (1, Vec::new()) } else { translate(frame, SERVICE6) },
            );
        assert!(dropped.unwrap_err().ends_with("was dropped"));
        let damaged = send_to(|frame| {
            let (action, mut out) = translate(frame, SERVICE6);
            if action != XDP_PASS {
                *out.last_mut().unwrap() ^= 1;
            }
            (action, out)
        });
        assert!(damaged.unwrap_err().contains("wrong checksum"));
        let touched = send_to(|frame| (XDP_PASS, frame[1..].to_vec()));
        assert!(touched.unwrap_err().contains("ARP"));
    }
}
