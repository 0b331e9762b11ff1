//! The captures that run: at most as many as the program has slots.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use ipnet::IpNet;
use tokio::sync::{mpsc, watch};
use tracing::{error, info};
use xlat_common::{
    address::Ipv6,
    capture::{Filter, SLOTS, Tally},
};

use super::{Refusal, refusal, relay::Relay};
use crate::{
    api::Code,
    dataplane::{Captured, DataPlane, Filters, Sink, kernel_time},
    netlink::Machine,
};

/// Events that wait for a client that is slow.
const QUEUE: usize = 1024;

/// What is to be captured; see [`crate::capture::Query`].
#[derive(Clone, Debug, Default)]
pub(in crate::daemon) struct Ask {
    pub(in crate::daemon) interface: Option<String>,
    pub(in crate::daemon) host: Option<IpNet>,
    pub(in crate::daemon) drops: bool,
    /// A bit for each reason.
    pub(in crate::daemon) reasons: u32,
    pub(in crate::daemon) snaplen: u32,
    pub(in crate::daemon) rate: u32,
    /// Who asks, for the log.
    pub(in crate::daemon) author: String,
}

/// What a client hears of its capture.
#[derive(Clone, Debug)]
pub(in crate::daemon) enum Event {
    Packet(Arc<Captured>),
    /// What it has counted so far.
    Tally(Tally),
    /// It has ended, for this reason.
    Ended(String),
}

/// A capture that has begun.
pub(in crate::daemon) struct Capturing {
    pub(in crate::daemon) id: u64,
    /// When this is dropped the capture ends.
    pub(in crate::daemon) events: mpsc::Receiver<Event>,
    /// Packets for which the queue of events had no room.
    pub(in crate::daemon) crowded: Arc<AtomicU64>,
    /// Interfaces that packets may arrive at.
    pub(in crate::daemon) interfaces: Vec<String>,
    /// The machine's interfaces.
    pub(in crate::daemon) machine: watch::Receiver<Arc<Machine>>,
}

/// Who gets the packets of a slot.
struct Subscriber {
    /// When it came, by the kernel's monotonic clock: what left before is of the capture that had its place before.
    since: u64,
    events: mpsc::Sender<Event>,
    crowded: Arc<AtomicU64>,
}

type Subscribers = Arc<Mutex<[Option<Subscriber>; SLOTS]>>;

/// One capture.
struct Slot {
    id: u64,
    filter: Filter,
    /// What the program had counted in this slot before.
    base: Tally,
    /// What it has counted in program instances before this one.
    carried: Tally,
    author: String,
}

/// All captures.
pub(super) struct Captures {
    slots: [Option<Slot>; SLOTS],
    subscribers: Subscribers,
    sink: Sink,
    next_id: u64,
}

impl Captures {
    pub(super) fn new() -> Self {
        let subscribers = Subscribers::default();
        let told = Arc::clone(&subscribers);
        Self {
            slots: Default::default(),
            subscribers,
            sink: Arc::new(move |captured| distribute(&told, captured)),
            next_id: 1,
        }
    }

    fn filters(&self) -> Filters {
        self.slots.each_ref().map(|slot| slot.as_ref().map(|slot| slot.filter))
    }

    /// Makes the captures those of the slots.
    fn put_in_force(&self, dataplane: &mut DataPlane) -> Result<(), String> {
        dataplane.set_captures(&self.filters(), &self.sink).map_err(|error| error.to_string())
    }

    /// Tells a client of its capture.
    fn tell(&self, place: usize, event: Event) {
        let subscribers = self.subscribers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(subscriber) = &subscribers[place] {
            // A client that is so slow hears it from the next one.
            let _ = subscriber.events.try_send(event);
        }
    }

    fn forget(&mut self, place: usize) -> Option<Slot> {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)[place] = None;
        self.slots[place].take()
    }

    /// Slots whose client has gone.
    fn left(&self) -> Vec<usize> {
        let subscribers = self.subscribers.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = |subscriber: &Subscriber| subscriber.events.is_closed();
        (0..SLOTS).filter(|place| subscribers[*place].as_ref().is_some_and(gone)).collect()
    }

    fn tally(&self, place: usize, counted: &[Tally; SLOTS]) -> Tally {
        self.slots[place].as_ref().map_or(Tally::default(), |slot| {
            let since = |now: u64, base: u64, carried: u64| now.saturating_sub(base) + carried;
            let (now, base, carried) = (&counted[place], &slot.base, &slot.carried);
            Tally {
                matched: since(now.matched, base.matched, carried.matched),
                over_rate: since(now.over_rate, base.over_rate, carried.over_rate),
                lost: since(now.lost, base.lost, carried.lost),
            }
        })
    }
}

/// Gives a packet to those who want it.
fn distribute(subscribers: &Subscribers, captured: Captured) {
    let (slots, left) = (captured.head.slots, captured.head.left);
    let captured = Arc::new(captured);
    let subscribers = subscribers.lock().unwrap_or_else(PoisonError::into_inner);
    for (slot, subscriber) in subscribers.iter().enumerate() {
        let wants = |subscriber: &&Subscriber| slots & 1 << slot != 0 && left >= subscriber.since;
        let Some(subscriber) = subscriber.as_ref().filter(wants) else { continue };
        if subscriber.events.try_send(Event::Packet(Arc::clone(&captured))).is_err() {
            subscriber.crowded.fetch_add(1, Relaxed);
        }
    }
}

impl Relay {
    pub(super) fn begin_capture(&mut self, ask: Ask) -> Result<Capturing, Refusal> {
        self.end_captures_of_clients_gone();
        let filter = self.filter(&ask)?;
        let Some(place) = self.captures.slots.iter().position(Option::is_none) else {
            let authors: Vec<&str> =
                self.captures.slots.iter().flatten().map(|capture| capture.author.as_str()).collect();
            let text = format!(
                "capture: {SLOTS} captures are running, as many as there can be at a time (of {}): end one of them",
                authors.join("; ")
            );
            return Err(refusal(Code::Conflict, text));
        };
        let base = self.dataplane.capture_tallies()[place];
        let (id, author) = (self.captures.next_id, ask.author);
        let (events, received) = mpsc::channel(QUEUE);
        let crowded = Arc::new(AtomicU64::new(0));
        self.captures.next_id += 1;
        info!("capture {id} begins, of {author}");
        self.captures.slots[place] = Some(Slot { id, filter, base, carried: Tally::default(), author });
        self.captures.subscribers.lock().unwrap_or_else(PoisonError::into_inner)[place] =
            Some(Subscriber { since: kernel_time(), events, crowded: Arc::clone(&crowded) });
        if let Err(reason) = self.captures.put_in_force(&mut self.dataplane) {
            self.captures.forget(place);
            self.end_captures(&format!("another capture could not begin: {reason}"));
            return Err(refusal(Code::Failed, format!("capture: {reason}")));
        }
        let (interfaces, machine) = (self.attached_names(), self.machine.clone());
        Ok(Capturing { id, events: received, crowded, interfaces, machine })
    }

    /// Ends a capture; gives what it has counted. `None`: it has ended before.
    pub(super) fn end_capture(&mut self, id: u64) -> Option<Tally> {
        let has_id = |slot: &Option<Slot>| slot.as_ref().is_some_and(|slot| slot.id == id);
        let place = self.captures.slots.iter().position(has_id)?;
        Some(self.end_capture_at(place))
    }

    fn end_capture_at(&mut self, place: usize) -> Tally {
        let tally = self.captures.tally(place, &self.dataplane.capture_tallies());
        if let Some(slot) = self.captures.forget(place) {
            info!("capture {} ends: {} packets matched, {} lost", slot.id, tally.matched, tally.lost);
        }
        if let Err(reason) = self.captures.put_in_force(&mut self.dataplane) {
            error!("{reason}");
        }
        tally
    }

    /// Ends all captures.
    pub(super) fn end_captures(&mut self, reason: &str) {
        for place in 0..SLOTS {
            if self.captures.slots[place].is_some() {
                self.captures.tell(place, Event::Ended(reason.to_owned()));
                self.end_capture_at(place);
            }
        }
    }

    /// Every second: ends what nobody wants, and tells the kernel and the clients that the rest goes on.
    pub(super) fn follow_captures(&mut self) {
        self.end_captures_of_clients_gone();
        self.dataplane.keep_captures();
        let counted = self.dataplane.capture_tallies();
        for place in 0..SLOTS {
            if self.captures.slots[place].is_some() {
                self.captures.tell(place, Event::Tally(self.captures.tally(place, &counted)));
            }
        }
    }

    fn end_captures_of_clients_gone(&mut self) {
        for place in self.captures.left() {
            self.end_capture_at(place);
        }
    }

    /// What an instance has counted whose place this one has taken, and gets no packets any more.
    pub(super) fn carry_capture_tallies(&mut self, old: &DataPlane) {
        let counted = old.capture_tallies();
        for place in 0..SLOTS {
            let carried = self.captures.tally(place, &counted);
            if let Some(slot) = &mut self.captures.slots[place] {
                (slot.base, slot.carried) = (Tally::default(), carried);
            }
        }
    }

    /// Goes on with the captures in a program instance that takes the place of `old`, before that is attached.
    pub(super) fn carry_captures(&mut self, old: &DataPlane) {
        if let Err(reason) = self.captures.put_in_force(&mut self.dataplane) {
            self.carry_capture_tallies(old);
            error!("captures do not go on: {reason}");
            self.end_captures(&format!("the configuration was reloaded, and then: {reason}"));
        }
    }

    /// Names of the interfaces that carry the program.
    fn attached_names(&self) -> Vec<String> {
        self.dataplane.attached().into_iter().map(|attached| attached.name).collect()
    }

    fn filter(&self, ask: &Ask) -> Result<Filter, Refusal> {
        let mut filter = Filter {
            ifindex: self.ifindex(ask.interface.as_deref())?,
            reasons: ask.reasons,
            flags: if ask.drops { Filter::DROPS } else { 0 },
            snaplen: ask.snaplen,
            rate: ask.rate,
            ..Filter::default()
        };
        if let Some(host) = ask.host {
            set_host(&mut filter, host);
            let is_one = host.prefix_len() == host.max_prefix_len();
            if let Some(other) = is_one.then(|| self.look_up(host.addr()).result).flatten() {
                set_host(&mut filter, other.into());
            }
        }
        Ok(filter)
    }

    /// The index of an interface that the program is attached to; 0: any, as for a bond, of which the program sees the ports.
    fn ifindex(&self, name: Option<&str>) -> Result<u32, Refusal> {
        let attached = self.dataplane.attached();
        let names = || self.attached_names().join(", ");
        match name {
            None if attached.is_empty() => {
                let text = "capture: the program is attached to no interface (`xlat-ctl status` says why)";
                Err(refusal(Code::Conflict, text))
            }
            None => Ok(0),
            Some(name) => {
                let found = attached.iter().find(|attached| attached.name == name);
                let machine = self.machine.borrow();
                let seen_as = |ifindex| if machine.ports_of_bond(ifindex).next().is_some() { 0 } else { ifindex };
                found.map(|attached| seen_as(attached.ifindex)).ok_or_else(|| {
                    let text = format!(
                        "capture --in {name}: the program is not attached to {name}, but to {}; packets of a VLAN \
                        sub-interface are captured at the device that carries it",
                        names()
                    );
                    refusal(Code::NotFound, text)
                })
            }
        }
    }
}

fn set_host(filter: &mut Filter, host: IpNet) {
    match (host.network(), host.netmask()) {
        (IpAddr::V4(address), IpAddr::V4(mask)) => {
            filter.flags |= Filter::HOST4;
            (filter.ipv4, filter.ipv4_mask) = (address.to_bits(), Ipv4Addr::to_bits(mask));
        }
        (IpAddr::V6(address), IpAddr::V6(mask)) => {
            filter.flags |= Filter::HOST6;
            (filter.ipv6, filter.ipv6_mask) = (Ipv6::from(address), Ipv6::from(mask));
        }
        _ => unreachable!("the mask of an address is of its family"),
    }
}
