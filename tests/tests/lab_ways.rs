//! The next-hop cache never forwards to yesterday's place: routes, neighbours, interfaces, rules and MTUs change under traffic.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use xlat_tests::lab::{CLIENT, CLIENT_SEEN, Daemon, Lab, Namespace, SERVER, SERVER_SEEN, SetAtEnd, best_of, is_within};

const PORT: u16 = 4243;
/// Between two datagrams.
const GAP: Duration = Duration::from_micros(500);
/// How long a wrong way may be taken with a daemon, and without one.
const WITH_DAEMON: Duration = Duration::from_millis(100);
const WITHOUT_DAEMON: Duration = Duration::from_secs(2);
/// How often a change is made, one of which has to be followed in that time: others have the machine now and then.
const TRIES: usize = 5;
/// What nobody measures the time of is waited for so long.
const AT_LAST: Duration = Duration::from_secs(15);

/// A second way to the server beside the lab's own: another router, of which the relay knows.
struct OtherWay {
    router: Namespace,
}

impl OtherWay {
    fn new(lab: &Lab) -> Self {
        let router = Namespace::new().expect("a machine");
        router.sysctl("ipv6/conf/all/forwarding", "1").expect("forwarding");
        lab.relay.link("other6", &router, "relay").expect("a link");
        router.link("server", &lab.server, "eth1").expect("a link");
        lab.relay.ip("addr add 2001:db8:fd::1/64 dev other6 nodad").expect("an address");
        router.ip("addr add 2001:db8:fd::2/64 dev relay nodad").expect("an address");
        router.ip("addr add 2001:db8:5e1:2::1/64 dev server nodad").expect("an address");
        lab.server.ip("addr add 2001:db8:5e1:2::10/64 dev eth1 nodad").expect("an address");
        router.ip("route add 2001:db8:5e1:1::10/128 via 2001:db8:5e1:2::10").expect("a route");
        // Known before the first packet: none is lost to the finding out.
        assert!(lab.relay.run("ping -n -c 1 -W 2 2001:db8:fd::2").success);
        assert!(router.run("ping -n -c 1 -W 2 2001:db8:5e1:2::10").success);
        Self { router }
    }

    /// Packets that came this way.
    fn packets(&self) -> u64 {
        let said = self.router.ip("-s -j link show dev relay").expect("the counters");
        let counters: serde_json::Value = serde_json::from_str(&said).expect("ip speaks JSON");
        counters[0]["stats64"]["rx"]["packets"].as_u64().expect("a number")
    }
}

/// Sends datagrams from the client to the server while `action` runs, and says when which came by the old and by the new way.
fn send_while(lab: &Lab, action: impl FnOnce()) {
    let server = lab.server.inside(|| UdpSocket::bind(SocketAddr::from((SERVER, PORT)))).expect("a socket");
    let client = lab.client.inside(|| UdpSocket::bind("0.0.0.0:0")).expect("a socket");
    server.set_nonblocking(true).expect("no waiting");
    let done = AtomicBool::new(false);
    let to: SocketAddr = format!("{SERVER_SEEN}:{PORT}").parse().expect("an address");
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut buffer = [0; 64];
            while !done.load(Ordering::Relaxed) {
                client.send_to(b"on its way", to).expect("sending");
                while server.recv(&mut buffer).is_ok() {}
                thread::sleep(GAP);
            }
        });
        let _end = SetAtEnd(&done);
        thread::sleep(Duration::from_millis(300));
        action();
    });
}

/// Waits until something is so; an error if that takes longer than `most`.
fn within(most: Duration, what: &str, mut is_so: impl FnMut() -> bool) -> Result<(), String> {
    // The reading of counters takes its time, too.
    let most = most + Duration::from_millis(100);
    let begin = Instant::now();
    loop {
        let is_so = is_so();
        match begin.elapsed() {
            late if late >= most => {
                return Err(format!("{what}: still the old way, or the new one only after {late:?}"));
            }
            _ if is_so => return Ok(()),
            _ => thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// Makes a change and takes it back: both are to be followed in time. A try begins when all is as it was before.
#[track_caller]
fn expect_followed(what: &str, change: impl Fn(bool), is_followed: impl Fn() -> bool) {
    best_of(TRIES, || {
        change(true);
        let there = within(WITH_DAEMON, what, &is_followed);
        change(false);
        let back = within(WITH_DAEMON, &format!("{what}, taken back"), || !is_followed());
        assert!(is_within(AT_LAST, || !is_followed()), "{what}: it is never taken back");
        there.and(back)
    });
}

/// Every neighbour is known.
fn warmed(lab: &Lab) {
    assert!(lab.client.run(&format!("ping -n -c 3 -i 0.5 -W 3 {SERVER_SEEN}")).success, "the lab works");
    assert!(lab.server.run(&format!("ping -n -c 1 -W 3 {CLIENT_SEEN}")).success, "the lab works");
}

/// One ping, of which an answer comes soon.
fn expect_answer(machine: &Namespace, address: &str, otherwise: &str) -> Result<(), String> {
    let answered = machine.run(&format!("ping -n -c 1 -W 1 {address}")).success;
    answered.then_some(()).ok_or_else(|| otherwise.to_owned())
}

fn is_cached(daemon: &Daemon) -> bool {
    !daemon.log().contains("the way of each packet is asked for")
}

/// What the daemon has said last of it.
fn is_cached_again(daemon: &Daemon) -> bool {
    daemon.log().lines().rfind(|line| line.contains("way")).is_none_or(|line| line.contains("cached"))
}

/// No more packets go the other way than the machines send by themselves.
fn is_left(other: &OtherWay) -> bool {
    let before = other.packets();
    thread::sleep(Duration::from_millis(200));
    other.packets() <= before + 5
}

fn change_the_route(lab: &Lab, other: &OtherWay, most: Duration) {
    let change = || {
        let before = other.packets();
        lab.relay.ip("route replace 2001:db8:5e1::/48 via 2001:db8:fd::2").expect("another route");
        let taken = within(most, "a route", || other.packets() > before + 20);
        thread::sleep(Duration::from_millis(100));
        lab.relay.ip("route replace 2001:db8:5e1::/48 via 2001:db8:fe::2").expect("the first route");
        thread::sleep(most);
        let left = is_left(other);
        assert!(left || is_within(AT_LAST, || is_left(other)), "packets go the way that is no more for ever");
        taken.and(left.then_some(()).ok_or_else(|| "packets still go the way that is no more".to_owned()))
    };
    send_while(lab, || best_of(TRIES, change));
}

#[test]
fn another_route_is_taken_at_once() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let other = OtherWay::new(&lab);
    assert!(is_cached(&daemon), "{}", daemon.log());
    change_the_route(&lab, &other, WITH_DAEMON);
}

#[test]
fn another_route_is_taken_without_a_daemon() {
    let (lab, mut daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let other = OtherWay::new(&lab);
    daemon.kill().expect("a daemon to kill");
    change_the_route(&lab, &other, WITHOUT_DAEMON);
}

#[test]
fn a_neighbours_new_link_layer_address_is_used_at_once() {
    let (lab, _daemon) = Lab::with_daemon().expect("a lab with a daemon");
    warmed(&lab);
    // Each try has an address of its own: that of the one before is an old one.
    let mut addresses = (0x10..).map(|last| format!("02:00:00:00:66:{last:x}"));
    let change = || {
        let address = addresses.next().expect("another address");
        lab.router6.ip(&format!("link set relay address {address}")).expect("another address");
        let neighbour = format!("2001:db8:fe::2 lladdr {address} nud reachable dev inet6");
        lab.relay.ip(&format!("neigh replace {neighbour}")).expect("a neighbour");
        thread::sleep(WITH_DAEMON);
        expect_answer(&lab.client, SERVER_SEEN, "packets still go to the old link-layer address")
    };
    send_while(&lab, || best_of(TRIES, change));
}

#[test]
fn a_policy_rule_is_obeyed_at_once_and_ends_the_caching() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let other = OtherWay::new(&lab);
    lab.relay.ip("-6 route add 2001:db8:5e1::/48 via 2001:db8:fd::2 table 100").expect("a route");
    let change = || {
        let before = other.packets();
        lab.relay.ip("-6 rule add from 2001:db8:6464::/96 lookup 100").expect("a rule");
        let obeyed = within(WITH_DAEMON, "a rule", || other.packets() > before + 20);
        lab.relay.ip("-6 rule del from 2001:db8:6464::/96 lookup 100").expect("no rule");
        assert!(is_within(AT_LAST, || is_left(&other)), "packets go by a rule that is no more");
        obeyed
    };
    send_while(&lab, || best_of(TRIES, change));
    assert!(!is_cached(&daemon), "the way depends on the source: {}", daemon.log());
}

/// A route that asks for more than the destination ends the caching as long as it is there, and no longer.
#[test]
fn the_caching_comes_back_with_the_end_of_a_special_route() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let change = |there: bool| {
        let change = if there { "add" } else { "del" };
        lab.relay.ip(&format!("route {change} 203.0.113.0/24 tos 0x10 via 198.18.0.1")).expect("a route");
    };
    for _ in 0..2 {
        expect_followed("a special route", change, || !is_cached_again(&daemon));
    }
}

/// What one interface forwards, another need not.
#[test]
fn an_interface_that_does_not_forward_ends_the_caching() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let change = |off: bool| {
        lab.relay.sysctl("ipv6/conf/inet6/forwarding", if off { "0" } else { "1" }).expect("a setting");
    };
    expect_followed("no forwarding", change, || !is_cached_again(&daemon));
}

/// More news than the socket holds, and that of a special route among what is lost.
#[test]
fn a_special_route_that_nobody_heard_of_ends_the_caching() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let said = daemon.ctl(&lab.relay, "status --json").ok();
    let status: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    let pid = Pid::from_raw(status["pid"].as_i64().expect("a number") as i32);
    kill(pid, Signal::SIGSTOP).expect("it can be stopped");
    let mut batch: String =
        (0..60_000).map(|n| format!("route add unreachable 10.{}.{}.0/24\n", n / 256, n % 256)).collect();
    batch += "route add 203.0.113.0/24 tos 0x10 via 198.18.0.1\n";
    let file = daemon.directory().join("batch");
    std::fs::write(&file, batch).expect("a file");
    lab.relay.ip(&format!("-batch {}", file.display())).expect("many changes");
    kill(pid, Signal::SIGCONT).expect("it can go on");
    // All routes are to be read before the special one is known of; until then no way is taken for granted.
    assert!(is_within(AT_LAST, || !is_cached(&daemon)), "{}", daemon.log());
    assert!(daemon.log().contains("every way is asked for until it is known again"), "{}", daemon.log());
}

/// A neighbour of which there was no news since the daemon started is forgotten as fast as any other.
#[test]
fn a_neighbour_from_before_the_daemon_is_forgotten_at_once() {
    let (lab, mut daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let ping = || lab.client.run(&format!("ping -n -c 1 -W 1 {SERVER_SEEN}")).success;
    warmed(&lab);
    best_of(TRIES, || {
        daemon.stop().expect("a clean end");
        // Nobody has this address.
        let neighbour = "2001:db8:fe::2 lladdr 02:00:00:00:66:66 nud permanent dev inet6";
        lab.relay.ip(&format!("neigh replace {neighbour}")).expect("a neighbour");
        daemon.start_again(&lab.relay, &[]).expect("it starts again");
        assert!(!ping() && !ping());
        lab.relay.ip("neigh del 2001:db8:fe::2 dev inet6").expect("no neighbour");
        thread::sleep(WITH_DAEMON);
        expect_answer(&lab.client, SERVER_SEEN, "packets still go to the old link-layer address")
    });
}

/// What only the program sends to, the kernel does not ask for by itself: one that has moved without a word would be sent to where
/// it was for ever.
#[track_caller]
fn expect_to_be_found_again(
    lab: &Lab,
    (family, interface, neighbour): (&str, &str, &str),
    router: &Namespace,
    ping: impl Fn(u32) -> bool,
) {
    for (name, value) in
        [("base_reachable_time_ms", "2500"), ("delay_first_probe_time", "1"), ("retrans_time_ms", "200")]
    {
        lab.relay.sysctl(&format!("{family}/neigh/{interface}/{name}"), value).expect("a time");
    }
    lab.relay.ip(&format!("neigh flush dev {interface}")).expect("those times count from here on");
    warmed(lab);
    let begin = Instant::now();
    while !lab.relay.ip(&format!("neigh show dev {interface} nud stale")).expect("neighbours").contains(neighbour) {
        assert!(begin.elapsed() < Duration::from_secs(10), "the neighbour does not become stale");
        assert!(ping(5), "the lab works");
    }
    router.ip("link set relay address 02:00:00:00:66:66").expect("another address");
    // Until the daemon looks, 5 s; until the kernel asks, 1; three questions; and one to everybody.
    let begin = Instant::now();
    assert!(!ping(1), "nobody sends to the old address");
    while !ping(1) {
        assert!(
            begin.elapsed() < Duration::from_secs(12),
            "packets go to where nobody is, after {:?}",
            begin.elapsed()
        );
    }
}

#[test]
fn an_ipv6_neighbour_that_moves_without_a_word_is_found_again() {
    let (lab, _daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let ping = |seconds| lab.client.run(&format!("ping -n -c 1 -W {seconds} {SERVER_SEEN}")).success;
    expect_to_be_found_again(&lab, ("ipv6", "inet6", "2001:db8:fe::2"), &lab.router6, ping);
}

#[test]
fn an_ipv4_neighbour_that_moves_without_a_word_is_found_again() {
    let (lab, _daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let ping = |seconds| lab.server.run(&format!("ping -n -c 1 -W {seconds} {CLIENT_SEEN}")).success;
    expect_to_be_found_again(&lab, ("ipv4", "inet4", "198.18.0.1"), &lab.router4, ping);
}

#[test]
fn a_smaller_mtu_is_told_at_once() {
    let (lab, _daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let ping = |size: u32| lab.client.run(&format!("ping -n -M do -s {size} -c 1 -W 1 {SERVER_SEEN}"));
    warmed(&lab);
    let change = || {
        // The client knows nothing of the try before.
        lab.client.ip("route flush cache").expect("the client forgets");
        assert!(is_within(AT_LAST, || ping(1400).success), "a wide link is not used");
        lab.relay.ip("link set inet6 mtu 1400").expect("a narrow link");
        thread::sleep(WITH_DAEMON);
        let said = ping(1400);
        lab.relay.ip("link set inet6 mtu 1500").expect("a wide link");
        let text = said.stdout + &said.stderr;
        if said.success || !text.contains("1380") { Err(format!("the old MTU: {text}")) } else { Ok(()) }
    };
    send_while(&lab, || best_of(TRIES, change));
}

#[test]
fn an_ipv4_route_is_followed_too() {
    let (lab, _daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let answer = |otherwise: &str| expect_answer(&lab.server, CLIENT_SEEN, otherwise);
    warmed(&lab);
    best_of(TRIES, || {
        assert!(is_within(AT_LAST, || answer("").is_ok()), "the lab works");
        lab.relay.ip(&format!("route add unreachable {CLIENT}/32")).expect("a route to nowhere");
        thread::sleep(WITH_DAEMON);
        let is_old = answer("").is_ok();
        lab.relay.ip(&format!("route del unreachable {CLIENT}/32")).expect("a route to take away");
        thread::sleep(WITH_DAEMON);
        let back = answer("the route that is no more is still taken");
        if is_old { Err("the old route is still taken".to_owned()) } else { back }
    });
}
