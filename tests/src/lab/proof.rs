//! Nothing that an operator does costs a packet, or has one translated by a mixture of old and new: at 200,000 packets a second,
//! through reloads, whole-table changes, kills and upgrades to another layout of the maps and back.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use nix::sys::signal::Signal;

use super::{
    Daemon, Lab, Namespace, other_layout_path,
    stream::{Load, MIXED, NumberedFrame, Seen},
};
use crate::notation::ip4;

/// Packets a second.
const RATE: u32 = 200_000;
/// Entries of a whole table, which fills it: then single entries often come only after others have moved.
const ENTRIES: u32 = 16_000;
/// Of these, entries that packets are sent to.
const SERVICES: u32 = 500;
/// What can be between the sender and the program when a change is acknowledged: the veth's ring and the sender's batches.
const ON_THE_WAY: u64 = 1024;

/// The generation of a setting that a packet was translated by.
const GENERATION: [char; 2] = ['a', 'b'];
/// Verdicts: the two kinds of packets in their two generations.
const BY_PREFIX: [u8; 2] = [1, 2];
const BY_TABLE: [u8; 2] = [3, 4];

/// A configuration: both the prefix and the static entry are of the generation.
fn configuration(generation: usize, text: &str) -> String {
    let of = GENERATION[generation];
    text.replace("prefixes = [\"2001:db8:6464::/96\"]", &format!("prefixes = [\"2001:db8:646{of}::/96\"]"))
        .replace("2001:db8:5e1:1::10", &format!("2001:db8:77:{of}::10"))
}

/// A whole table: the client's and the service's address are of the generation, and so is everything else.
fn table(generation: usize) -> String {
    let of = GENERATION[generation];
    let mut text = format!("203.0.113.8,2001:db8:77:{of}::8\n");
    for number in 0..ENTRIES {
        text += &format!("{},2001:db8:78:{of}::{number:x}\n", service(number));
    }
    text
}

/// The IPv4 address of an entry.
fn service(number: u32) -> String {
    format!("100.64.{}.{}", number / 250, 1 + number % 250)
}

/// A packet from the prefix to the static entry, and one from an entry of the table to another. Each may become one of each
/// generation; nothing of two.
fn frames() -> Vec<NumberedFrame> {
    let address = |text: String| text.parse().expect("an address");
    let frame = |from: &str, to: &str, becomes| {
        let packet = ip4(from, to).udp(4711, 53, b"0123a packet of many").bytes();
        NumberedFrame::udp4([2, 0, 0, 0, 0, 4], [2, 0, 0, 0, 0, 1], &packet, becomes)
    };
    let each = |becomes: &dyn Fn(char) -> (String, String), verdicts: [u8; 2]| {
        let both = GENERATION.map(becomes).into_iter().zip(verdicts);
        both.map(|((source, destination), verdict)| (address(source), address(destination), verdict)).collect()
    };
    let by_prefix = |of| (format!("2001:db8:646{of}::203.0.113.7"), format!("2001:db8:77:{of}::10"));
    let spread = (0..SERVICES).map(|number| number * (ENTRIES / SERVICES));
    let two = |number: u32| {
        let by_table = move |of| (format!("2001:db8:77:{of}::8"), format!("2001:db8:78:{of}::{number:x}"));
        [
            frame("203.0.113.7", "198.51.100.10", each(&by_prefix, BY_PREFIX)),
            frame("203.0.113.8", &service(number), each(&by_table, BY_TABLE)),
        ]
    };
    spread.flat_map(two).collect()
}

/// From a packet's number on, all packets of a kind have a verdict.
struct Promise {
    from: u64,
    until: u64,
    verdict: u8,
}

struct Proof<L> {
    lab: Lab,
    daemon: Daemon,
    load: L,
    promises: Vec<Promise>,
}

impl<L: Load> Proof<L> {
    fn new(start: Start<L>) -> Self {
        let mut lab = Lab::new().expect("a lab");
        lab.free_far_ends();
        // What is translated goes out to router6, and ends there.
        lab.relay.ip("route add 2001:db8:77::/48 via 2001:db8:fe::2").expect("a route");
        lab.relay.ip("neigh replace 2001:db8:fe::2 lladdr 02:00:00:00:00:06 dev inet6").expect("a neighbour");
        lab.router6.ip("link set relay address 02:00:00:00:00:06").expect("an address");
        lab.router6.sysctl("ipv6/conf/all/forwarding", "0").expect("an end");
        lab.relay.ip("link set inet4 address 02:00:00:00:00:04").expect("an address");
        lab.relay.ip("route add 2001:db8:78::/48 via 2001:db8:fe::2").expect("a route");
        let room = format!("[dataplane]\nmax_eams = {}", ENTRIES + 300);
        let text = configuration(0, Lab::configuration()).replace("[dataplane]", &room);
        let daemon = Daemon::start(&lab.relay, &text).expect("a daemon");
        for generation in [1, 0] {
            fs::write(daemon.directory().join(format!("{generation}.csv")), table(generation)).expect("a file");
        }
        daemon.ctl(&lab.relay, &format!("eam apply --yes {}", daemon.directory().join("0.csv").display())).ok();
        let load = start((&lab.router4, "relay"), (&lab.router6, "relay"), frames(), RATE).expect("a load");
        // The first packets find the way, and grow the tables of the test itself.
        thread::sleep(Duration::from_millis(500));
        Self { lab, daemon, load, promises: Vec::new() }
    }

    /// After a change was acknowledged: packets of a kind have this verdict until it is changed again.
    fn promise(&mut self, begun: u64, verdict: u8) {
        let kind = |verdict: u8| BY_PREFIX.contains(&verdict);
        let before = self.promises.iter_mut().rev().find(|promise| kind(promise.verdict) == kind(verdict));
        if let Some(before) = before {
            before.until = before.until.min(begun);
        }
        self.promises.push(Promise { from: self.load.sent() + ON_THE_WAY, until: u64::MAX, verdict });
    }

    fn reloads(&mut self, count: usize) {
        let path = self.daemon.configuration();
        let text = fs::read_to_string(&path).expect("the configuration");
        for round in 1..=count {
            let generation = round % 2;
            let of = format!("646{}:", GENERATION[generation]);
            let other = text.replace("646a:", &of).replace("77:a:", &format!("77:{}:", GENERATION[generation]));
            fs::write(&path, other).expect("the configuration");
            let begun = self.load.sent();
            self.daemon.ctl(&self.lab.relay, "reload").ok();
            self.promise(begun, BY_PREFIX[generation]);
        }
        assert!(count.is_multiple_of(2), "what follows counts on the configuration of before");
    }

    fn applies(&mut self, count: usize) {
        for round in 1..=count {
            let generation = round % 2;
            let file = self.daemon.directory().join(format!("{generation}.csv"));
            let begun = self.load.sent();
            self.daemon.ctl(&self.lab.relay, &format!("eam apply --yes {}", file.display())).ok();
            self.promise(begun, BY_TABLE[generation]);
        }
    }

    /// Entries that come and go one by one, in the table that is in force.
    fn singles(&mut self, count: usize) {
        for number in 0..count {
            let add = format!("eam add 192.0.2.{} 2001:db8:79::{number:x}", number % 250);
            self.daemon.ctl(&self.lab.relay, &add).ok();
            if number >= 100 {
                self.daemon.ctl(&self.lab.relay, &format!("eam del 192.0.2.{}", (number - 100) % 250)).ok();
            }
        }
    }

    fn kills(&mut self, count: usize) {
        for _ in 0..count {
            self.daemon.kill().expect("a daemon to kill");
            self.daemon.start_again(&self.lab.relay, &[]).expect("the next daemon");
        }
    }

    /// To a build with another layout of its maps, and back, and so on.
    fn upgrades(&mut self, count: usize) {
        let other = other_layout_path().expect("another build");
        for round in 1..=count {
            self.daemon.stop_by(Signal::SIGUSR1).expect("a clean end");
            let abi = |daemon: &Daemon| {
                let names = fs::read_dir(daemon.pins()).expect("the pins");
                let names = names.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
                names.filter(|name| name.starts_with("instance-")).collect::<Vec<_>>()
            };
            let before = abi(&self.daemon);
            if round.is_multiple_of(2) {
                self.daemon.start_again(&self.lab.relay, &[]).expect("the build of before");
            } else {
                self.daemon.start_other(&self.lab.relay, &other).expect("the other build");
            }
            let after = abi(&self.daemon);
            let layout = |names: &[String]| names[0].split("-abi").nth(1).map(str::to_owned);
            assert_eq!((before.len(), after.len()), (1, 1), "{before:?}, {after:?}");
            assert_ne!(layout(&before), layout(&after), "both builds have one layout");
        }
    }

    /// `least`: packets a second that must have been sent.
    fn finish(self, least: f64) {
        let seen = self.load.finish().expect("the load");
        let Seen { verdicts, overflow, time } = seen;
        let count = |verdict: u8| verdicts.iter().filter(|one| **one == verdict).count();
        let rate = verdicts.len() as f64 / time.as_secs_f64();
        eprintln!(
            "{} packets in {:.1} s, {rate:.0} a second: {} lost, {} translated by a mixture, {} doubled",
            verdicts.len(),
            time.as_secs_f64(),
            count(0),
            count(MIXED),
            count(255)
        );
        assert_eq!(overflow, 0, "the test itself was too slow to take what arrived");
        // What a veth's ring had no room for has not come as far as the relay, or has left it.
        let before_the_relay = dropped(&self.lab.router4, "relay");
        assert_eq!(before_the_relay, 0, "the sender overran its own wire: the count says nothing");
        let lost: Vec<usize> = (0..verdicts.len()).filter(|number| verdicts[*number] == 0).take(10).collect();
        let stats = self.daemon.ctl(&self.lab.relay, "stats").stdout;
        assert!(lost.is_empty(), "lost: {} packets, {lost:?} …\n{stats}", count(0));
        assert_eq!((count(MIXED), count(255)), (0, 0));
        for Promise { from, until, verdict } in &self.promises {
            let kind = usize::from(!BY_PREFIX.contains(verdict));
            let all = (*from as usize..(*until as usize).min(verdicts.len())).filter(|number| number % 2 == kind);
            for number in all {
                assert_eq!(verdicts[number], *verdict, "packet {number}, sent after the change was acknowledged");
            }
        }
        assert!(rate > least, "only {rate:.0} packets a second were sent");
    }
}

/// Frames that an interface could not send.
fn dropped(machine: &Namespace, name: &str) -> u64 {
    let said = machine.ip(&format!("-s -j link show dev {name}")).expect("its counters");
    let counters: serde_json::Value = serde_json::from_str(&said).expect("ip speaks JSON");
    counters[0]["stats64"]["tx"]["dropped"].as_u64().expect("a number")
}

/// How often each is done, and how many packets a second must have been sent.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// New configurations.
    pub reloads: usize,
    /// Whole tables.
    pub applies: usize,
    /// Entries that come, and most of which go again.
    pub singles: usize,
    /// `kill -9`, and a start.
    pub kills: usize,
    /// To a build with another layout of its maps, or back.
    pub upgrades: usize,
    /// Packets a second, as a part of [`RATE`].
    pub least: f64,
}

/// What starts a load: from where, to where, which frames, how many a second.
pub type Start<L> = fn((&Namespace, &str), (&Namespace, &str), Vec<NumberedFrame>, u32) -> Result<L>;

/// Goes through a plan under a load.
///
/// # Panics
/// A packet was lost, or translated by a mixture of old and new, or by the old after the new was acknowledged.
pub fn prove<L: Load>(plan: Plan, start: Start<L>) {
    // It takes time to build, which is not the relay's.
    other_layout_path().expect("another build");
    let mut proof = Proof::new(start);
    for (what, count, action) in [
        ("reloads", plan.reloads, Proof::reloads as fn(&mut Proof<L>, usize)),
        ("whole tables applied", plan.applies, Proof::applies),
        ("single entries", plan.singles, Proof::singles),
        ("kill -9", plan.kills, Proof::kills),
        ("upgrades between two layouts", plan.upgrades, Proof::upgrades),
    ] {
        let begin = Instant::now();
        action(&mut proof, count);
        eprintln!("{count} {what} in {:.1} s", begin.elapsed().as_secs_f64());
    }
    proof.finish(plan.least * f64::from(RATE));
}
