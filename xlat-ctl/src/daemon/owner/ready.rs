//! Whether the relay is ready for traffic: asked by load balancers and routing daemons, which take it out of service otherwise.

use std::{
    cell::RefCell,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Duration, Instant},
};

use ipnet::Ipv4Net;

use super::{canary, relay::Relay, status::waiting_sentence};
use crate::{
    daemon::lookup::Rules,
    dataplane::DataPlane,
    netlink::{Interface, Machine},
};

/// For so long an answer holds, however often it is asked for.
const HOLDS: Duration = Duration::from_secs(1);

/// The last answer.
#[derive(Debug, Default)]
pub(super) struct Readiness {
    last: Option<(Instant, Result<(), String>)>,
    /// The entry that the last one is about: each is about another.
    tried: Option<Ipv4Net>,
}

/// The program in force, loaded once more: what runs through it is not counted.
struct Uncounted<'relay> {
    dataplane: RefCell<&'relay mut DataPlane>,
    rules: &'relay Rules<'relay>,
}

impl canary::Subject for Uncounted<'_> {
    fn run(&self, frame: &[u8], ifindex: u32) -> Result<(u32, Vec<u8>), String> {
        let mut dataplane = self.dataplane.borrow_mut();
        let destination = self.destination(frame).map(Ipv4Addr::to_bits);
        let tried = dataplane.try_frame(frame, ifindex, destination).map_err(|error| error.to_string())?;
        Ok((tried.action, tried.frame))
    }
}

impl Uncounted<'_> {
    /// The IPv4 address by which the way of an untagged frame's packet would be remembered.
    fn destination(&self, frame: &[u8]) -> Option<Ipv4Addr> {
        const ETHERNET: usize = 14;
        if frame.get(12..ETHERNET)? == [0x08, 0x00] {
            let octets: [u8; 4] = frame.get(ETHERNET + 16..ETHERNET + 20)?.try_into().ok()?;
            return Some(octets.into());
        }
        let octets: [u8; 16] = frame.get(ETHERNET + 24..ETHERNET + 40)?.try_into().ok()?;
        match self.rules.look_up(IpAddr::from(octets)).result? {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        }
    }
}

impl Relay {
    /// Whether canaries have been translated rightly in both directions within the last second, by the program that is attached to
    /// every configured interface. Otherwise why not: a sentence.
    pub(super) fn ready(&mut self) -> Result<(), String> {
        if let Some((when, answer)) = &self.readiness.last
            && when.elapsed() < HOLDS
        {
            return answer.clone();
        }
        self.look_for_losses();
        let answer = self.check_interfaces().and_then(|arrival| self.send_canaries(&arrival));
        self.readiness.last = Some((Instant::now(), answer.clone()));
        answer
    }

    /// Every configured interface must be there, up, and have the program. Gives one that canaries can come by.
    fn check_interfaces(&self) -> Result<Interface, String> {
        if let Some(pattern) = self.waiting.first() {
            return Err(waiting_sentence(pattern));
        }
        if let Some(reason) = self.links.values().find_map(|link| link.outcome.as_ref().err()) {
            return Err(reason.clone());
        }
        let machine = Arc::clone(&self.machine.borrow());
        let mut arrival = None;
        for (ifindex, link) in &self.links {
            match machine.interface(*ifindex) {
                Some(interface) if !interface.up => return Err(format!("interface {} is down", link.name)),
                Some(interface) if interface.mac != [0; 6] => arrival = arrival.or_else(|| Some(interface.clone())),
                _ => {}
            }
        }
        arrival.ok_or_else(|| "the program is attached to no Ethernet interface: nothing is translated".to_owned())
    }

    fn send_canaries(&mut self, arrival: &Interface) -> Result<(), String> {
        if !DataPlane::can_be_tried() {
            return Err("no canary can be sent: that takes Linux 5.15 or newer".to_owned());
        }
        let machine: Arc<Machine> = Arc::clone(&self.machine.borrow());
        let own = |address: IpAddr| {
            machine.addresses().find(|(own, _)| *own == address).map(|(_, interface)| interface.to_owned())
        };
        let rules = Rules { config: &self.config, table: &self.table, own: &own };
        let subject = Uncounted { dataplane: RefCell::new(&mut self.dataplane), rules: &rules };
        canary::send_both_ways(&subject, &rules, arrival, &mut self.readiness.tried)
    }
}
