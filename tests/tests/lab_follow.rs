//! The machine changes under the daemon: each change is followed within a second, without a restart.

use std::{
    net::UdpSocket,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use nix::sys::signal::{Signal, kill};
use serde_json::Value;
use xlat_tests::lab::{Daemon, Lab, Namespace, SERVER_SEEN, SetAtEnd, best_of, is_within};

/// What is promised of following, and a little for the looking.
const SOON: Duration = Duration::from_millis(1200);
/// How often a change is made, one of which has to be followed soon: others have the machine now and then.
const TRIES: usize = 3;
/// What there are no news of is looked for every second; and patience.
const LOOKED_FOR: Duration = Duration::from_secs(6);
/// What another program instance may take, beside it.
const RELOAD: Duration = Duration::from_secs(10);

fn status(lab: &Lab, daemon: &Daemon) -> Value {
    let said = daemon.ctl(&lab.relay, "status --json");
    serde_json::from_str(&said.stdout)
        .unwrap_or_else(|error| panic!("no JSON ({error}): {}{}", said.stdout, said.stderr))
}

/// What `status` says of an interface: its state and its index.
fn interface(status: &Value, name: &str) -> Option<(String, Option<u64>)> {
    let all = status["interfaces"].as_array()?;
    let one = all.iter().find(|one| one["name"] == name)?;
    Some((one["state"].as_str()?.to_owned(), one["ifindex"].as_u64()))
}

/// Waits until something is so; an error if that is not soon.
fn soon(daemon: &Daemon, what: &str, is_so: impl FnMut() -> bool) -> Result<(), String> {
    is_within(SOON, is_so)
        .then_some(())
        .ok_or_else(|| format!("{what}: not within {SOON:?}; the log:\n{}", daemon.log()))
}

#[track_caller]
fn expect_within(most: Duration, daemon: &Daemon, what: &str, is_so: impl FnMut() -> bool) {
    assert!(is_within(most, is_so), "{what}: not within {most:?}; the log:\n{}", daemon.log());
}

fn attached(lab: &Lab, daemon: &Daemon, name: &str) -> bool {
    interface(&status(lab, daemon), name).is_some_and(|(state, _)| state == "attached")
}

/// One ping, of which an answer has to come.
fn ping(lab: &Lab) -> bool {
    ping_for(lab, 5.0)
}

fn ping_for(lab: &Lab, seconds: f32) -> bool {
    lab.client.run(&format!("ping -n -c 1 -W {seconds} {SERVER_SEEN}")).success
}

/// Interfaces that match a glob are taken as they appear, and let go of when their name does not match any more.
#[test]
fn a_glob_is_followed_through_appearing_and_renaming() {
    let (lab, daemon) =
        Lab::with_daemon_changed(&[("\"inet4\", \"inet6\"", "\"inet*\"")]).expect("a lab with a daemon");
    best_of(TRIES, || {
        let followed = through_renaming(&lab, &daemon);
        assert!(ping(&lab), "the others are disturbed");
        lab.router6.ip("link del seventh").expect("it goes");
        expect_within(LOOKED_FOR, &daemon, "the seventh interface goes", || {
            let status = status(&lab, &daemon);
            ["inet7", "other", "inet9"].iter().all(|name| interface(&status, name).is_none())
        });
        followed
    });
}

fn through_renaming(lab: &Lab, daemon: &Daemon) -> Result<(), String> {
    lab.relay.link("inet7", &lab.router6, "seventh").expect("a link");
    soon(daemon, "inet7 appears", || attached(lab, daemon, "inet7"))?;
    let rename = |from: &str, to: &str| {
        lab.relay.ip(&format!("link set {from} down")).expect("down");
        lab.relay.ip(&format!("link set {from} name {to}")).expect("another name");
        lab.relay.ip(&format!("link set {to} up")).expect("up");
    };
    rename("inet7", "other");
    soon(daemon, "inet7 is renamed", || {
        let status = status(lab, daemon);
        interface(&status, "inet7").is_none() && interface(&status, "other").is_none()
    })?;
    let shown = lab.relay.ip("-details link show dev other").expect("the interface");
    assert!(!shown.contains("prog/xdp"), "{shown}");
    rename("other", "inet9");
    soon(daemon, "it is renamed again", || attached(lab, daemon, "inet9"))
}

/// Datagrams from the client to the server for as long as this lives.
fn with_traffic(lab: &Lab, action: impl FnOnce()) {
    let done = AtomicBool::new(false);
    let socket = lab.client.inside(|| UdpSocket::bind("0.0.0.0:0")).expect("a socket");
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Relaxed) {
                for _ in 0..64 {
                    let _ = socket.send_to(&[0; 64], (SERVER_SEEN, 9));
                }
                thread::sleep(Duration::from_micros(500));
            }
        });
        let _end = SetAtEnd(&done);
        action();
    });
}

/// Under traffic an interface goes, and comes back with another index.
#[test]
fn an_interface_that_comes_back_is_taken_again() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    assert!(ping(&lab), "the lab works");
    let before = interface(&status(&lab, &daemon), "inet6").expect("it is there").1;
    with_traffic(&lab, || {
        thread::sleep(Duration::from_millis(200));
        best_of(TRIES, || goes_and_comes(&lab, &daemon));
    });
    let after = interface(&status(&lab, &daemon), "inet6").expect("it is there").1;
    assert_ne!(before, after, "it has its old index");
    let _far_end = lab.router6.pass("relay").expect("a program on the far end");
    // Its first question for the neighbour may have come before the neighbour had its address; the next is a second later.
    expect_within(Duration::from_secs(10), &daemon, "the way by inet6", || ping_for(&lab, 1.0));
}

fn goes_and_comes(lab: &Lab, daemon: &Daemon) -> Result<(), String> {
    lab.relay.ip("link del inet6").expect("it goes");
    let gone = soon(daemon, "inet6 goes", || {
        interface(&status(lab, daemon), "inet6").is_some_and(|(state, _)| state == "waiting")
    });
    lab.relay.link("inet6", &lab.router6, "relay").expect("it comes");
    lab.relay.ip("addr add 2001:db8:fe::1/64 dev inet6 nodad").expect("an address");
    lab.relay.ip("route add 2001:db8:5e1::/48 via 2001:db8:fe::2").expect("a route");
    lab.router6.ip("addr add 2001:db8:fe::2/64 dev relay nodad").expect("an address");
    lab.router6.ip("route add default via 2001:db8:fe::1").expect("a route");
    let back = soon(daemon, "inet6 comes back", || attached(lab, daemon, "inet6"));
    expect_within(LOOKED_FOR, daemon, "inet6", || attached(lab, daemon, "inet6"));
    gone.and(back)
}

#[test]
fn another_link_layer_address_is_followed() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    assert!(ping(&lab), "the lab works");
    for (name, router) in [("inet4", &lab.router4), ("inet6", &lab.router6)] {
        let mut addresses = (0x71..).map(|last| format!("02:00:00:00:00:{last:x}"));
        best_of(TRIES, || {
            let address = addresses.next().expect("another address");
            lab.relay.ip(&format!("link set {name} address {address}")).expect("another address");
            router.ip("neigh flush dev relay").expect("no neighbours");
            soon(&daemon, name, || ping_for(&lab, 0.2))
        });
    }
}

/// An address of a service that becomes the relay's own is not translated, and is again when the relay gives it up.
#[test]
fn addresses_of_the_relay_are_followed() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let rule = || {
        let said = daemon.ctl(&lab.relay, "lookup 198.51.100.66 --json").stdout;
        serde_json::from_str::<Value>(&said).expect("JSON")["rule"].as_str().unwrap_or_default().to_owned()
    };
    let answered = || lab.client.run("ping -n -c 1 -W 1 198.51.100.66").success;
    assert_eq!((rule().as_str(), answered()), ("eam", false));
    best_of(TRIES, || {
        lab.relay.ip("addr add 198.51.100.66/32 dev inet4").expect("an address");
        let comes = soon(&daemon, "the address comes", || rule() == "own" && answered());
        lab.relay.ip("addr del 198.51.100.66/32 dev inet4").expect("no address");
        let goes = soon(&daemon, "the address goes", || rule() == "eam");
        expect_within(LOOKED_FOR, &daemon, "the address", || rule() == "eam");
        comes.and(goes)
    });
    // It is translated: nobody is there to answer.
    assert!(!answered());
}

/// An address of the relay's own that lies in an EAM of more than one cuts that service off, which is told.
#[test]
fn an_address_inside_a_prefix_that_is_mapped_is_told() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    daemon.ctl(&lab.relay, "eam add 192.0.2.32/28 2001:db8:5e1:7::/124").ok();
    let mut last = 40..47;
    best_of(TRIES, || {
        let address = format!("192.0.2.{}", last.next().expect("an address of the entry"));
        lab.relay.ip(&format!("addr add {address}/32 dev inet4")).expect("an address");
        let told = format!("{address} is the relay's own address on inet4");
        soon(&daemon, "a warning", || daemon.log().contains(&told))
    });
}

/// The fragmenter's own end, older than the interface that packets come by: what comes by it is translated already.
#[test]
fn a_glob_that_the_relays_own_interface_matches_keeps_nothing_from_a_reload() {
    let names = [("\"inet4\", \"inet6\"", "\"xlat*\", \"inet[67]\"")];
    let (lab, daemon) = Lab::with_daemon_changed(&names).expect("a lab with a daemon");
    lab.relay.link("inet7", &lab.router6, "seventh").expect("a link");
    expect_within(LOOKED_FOR, &daemon, "inet7 appears", || attached(&lab, &daemon, "inet7"));
    lab.relay.ip("link del inet6").expect("an interface less");
    expect_within(LOOKED_FOR, &daemon, "inet6 is gone", || !attached(&lab, &daemon, "inet6"));
    assert!(!attached(&lab, &daemon, "xlat0"));
    daemon.ctl(&lab.relay, "reload").ok();
    assert!(attached(&lab, &daemon, "inet7"));
}

/// Who reloads is told where the new configuration is not in force.
#[test]
fn a_reload_tells_what_is_not_attached() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let file = daemon.configuration();
    let text = std::fs::read_to_string(&file).expect("the configuration");
    std::fs::write(file, text.replace("\"inet6\"", "\"inet66\"")).expect("a slip of the pen");
    let said = daemon.ctl(&lab.relay, "reload");
    assert!(said.stderr.contains("warning: interface inet66 is not there: waiting for it"), "{}", said.stderr);
}

/// More news than the socket holds: nothing is missed, and it is counted.
#[test]
fn an_overrun_of_the_news_is_made_good() {
    let (lab, daemon) =
        Lab::with_daemon_changed(&[("\"inet4\", \"inet6\"", "\"inet*\"")]).expect("a lab with a daemon");
    assert_eq!(overruns(&lab.relay), 0);
    let pid = nix::unistd::Pid::from_raw(status(&lab, &daemon)["pid"].as_i64().expect("a number") as i32);
    let mut batch = String::new();
    for number in 0..3000 {
        batch += &format!("link set inet4 mtu {}\n", 1400 + number % 2);
    }
    let file = daemon.directory().join("batch");
    std::fs::write(&file, batch + "link set inet4 mtu 1500\n").expect("a file");
    let mut others = 7..;
    best_of(TRIES, || {
        let name = format!("inet{}", others.next().expect("another interface"));
        kill(pid, Signal::SIGSTOP).expect("it can be stopped");
        lab.relay.ip(&format!("-batch {}", file.display())).expect("many changes");
        lab.relay.link(&name, &lab.router6, &name).expect("a link");
        kill(pid, Signal::SIGCONT).expect("it can go on");
        soon(&daemon, &name, || attached(&lab, &daemon, &name))
    });
    assert!(overruns(&lab.relay) > 0, "no overrun is counted; the log:\n{}", daemon.log());
    assert!(daemon.log().contains("more news"), "{}", daemon.log());
    assert!(ping(&lab), "{}", daemon.log());
}

fn overruns(relay: &Namespace) -> u64 {
    let page = relay.run("curl -s http://127.0.0.1:9464/metrics").ok();
    let line = page.lines().find_map(|line| line.strip_prefix("xlat_netlink_overruns_total "));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no counter in\n{page}"))
}

/// The metrics page has an address that comes after the daemon, as addresses do at a boot.
#[test]
fn a_metrics_address_that_comes_later_is_answered_on() {
    best_of(TRIES, || {
        let changes = [("127.0.0.1:9464", "198.18.0.77:9464")];
        let (lab, daemon) = Lab::with_daemon_changed(&changes).expect("a lab with a daemon");
        assert!(daemon.log().contains("the machine has no such address"), "{}", daemon.log());
        let curl = "curl -s --max-time 1 http://198.18.0.77:9464/metrics";
        let page = || lab.relay.run(curl).stdout.contains("xlat_ready");
        assert!(!page());
        lab.relay.ip("addr add 198.18.0.77/32 dev inet4").expect("an address");
        soon(&daemon, "the page", page)
    });
}

/// A hardened machine, with IPv6 where it is needed alone: what the kernel gets from the IPv4 side comes to it by xlat0.
#[test]
fn a_machine_on_which_ipv6_is_off_by_default_translates() {
    let lab = Lab::new().expect("a lab");
    for interface in ["default", "inet4"] {
        lab.relay.sysctl(&format!("ipv6/conf/{interface}/disable_ipv6"), "1").expect("IPv6 can be disabled");
    }
    let daemon = Daemon::start(&lab.relay, Lab::configuration()).expect("a daemon");
    lab.relay.run("ip -6 neigh flush dev inet6").ok();
    assert!(ping(&lab), "{}", daemon.log());
}

/// What others undo of the fragmenter is made anew: a network manager may remove what is not its own.
#[test]
fn the_fragmenter_is_kept_whole() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let large =
        |seconds: u32| lab.client.run(&format!("ping -n -c 1 -W {seconds} -M dont -s 1400 {SERVER_SEEN}")).success;
    let led = || {
        let table = u32::from_be_bytes(*b"xlat");
        let rules = lab.relay.ip("-6 rule show").expect("the rules");
        let routes = lab.relay.run(&format!("ip -6 route show table {table}")).stdout;
        rules.lines().filter(|rule| rule.starts_with("64:")).count() + routes.lines().count()
    };
    assert!(large(5), "{}", daemon.log());
    let all = led();
    assert!(all >= 2, "no rule or no route");
    lab.relay.ip("-6 rule del priority 64").expect("it can be removed");
    assert!(led() < all);
    expect_within(LOOKED_FOR, &daemon, "the rule", || led() == all);
    lab.relay.ip(&format!("-6 route flush table {}", u32::from_be_bytes(*b"xlat"))).expect("it can be removed");
    expect_within(LOOKED_FOR, &daemon, "the route", || led() == all);
    lab.relay.sysctl("ipv6/conf/xlat0/disable_ipv6", "1").expect("IPv6 can be disabled");
    expect_within(LOOKED_FOR, &daemon, "IPv6 on xlat0", || {
        lab.relay.run("cat /proc/sys/net/ipv6/conf/xlat0/disable_ipv6").stdout == "0\n" && led() == all
    });
    lab.relay.ip("link set xlat0 down").expect("it can be set down");
    expect_within(RELOAD, &daemon, "xlat0 up", || led() == all && large(1));
    lab.relay.ip("link del xlat0").expect("it can be removed");
    expect_within(RELOAD, &daemon, "another pair", || led() == all && large(1));
    assert!(ping(&lab), "{}", daemon.log());
    for words in [
        "`ip -6 rule add iif lo",
        "was missing: both are there again",
        "somebody has disabled IPv6 on xlat0",
        "somebody has set xlat0 down",
        "somebody has removed it",
    ] {
        assert!(daemon.log().contains(words), "{words}: {}", daemon.log());
    }
    // The other instance is not taken for somebody else's program.
    assert!(!daemon.log().contains("has taken the program"), "{}", daemon.log());
}

/// Takes the program from an interface and puts another there, for as long as what is given lives.
fn take_over(lab: &Lab, daemon: &Daemon, interface: &str) -> impl Drop {
    let ifindex = lab.relay.inside(|| nix::net::if_::if_nametoindex(interface)).expect("an interface");
    let pin = daemon.pins().join(format!("links/{ifindex}"));
    let link = lab.relay.run(&format!("bpftool -j link show pinned {}", pin.display())).ok();
    let link: Value = serde_json::from_str(&link).expect("bpftool speaks JSON");
    lab.relay.run(&format!("bpftool link detach id {}", link["id"])).ok();
    lab.relay.pass(interface).expect("their program takes the place")
}

/// Somebody else's program on xlat0: no new instance could be attached, so the one in force stays, and goes on being changed.
#[test]
fn an_instance_stays_in_force_where_the_next_would_have_no_fragmenter() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let theirs = take_over(&lab, &daemon, "xlat0");
    let lost = "packets that need fragmenting are lost until this succeeds";
    expect_within(LOOKED_FOR, &daemon, "the loss", || daemon.log().contains(lost));
    daemon.ctl(&lab.relay, "status").ok();
    lab.server.ip("addr add 2001:db8:5e1:1::20/64 dev eth0 nodad").expect("an address");
    daemon.ctl(&lab.relay, "eam add 198.51.100.20 2001:db8:5e1:1::20").ok();
    lab.client.run("ping -n -c 1 -W 2 198.51.100.20").ok();
    let refused = daemon.ctl(&lab.relay, "reload");
    assert!(!refused.success && refused.stderr.contains("xlat0 carries another XDP program"), "{refused:?}");
    drop(theirs);
    daemon.ctl(&lab.relay, "reload").ok();
    lab.client.run(&format!("ping -n -c 1 -W 5 -M dont -s 1400 {SERVER_SEEN}")).ok();
}

/// Another loader takes an interface: who it is stands in the status, and the metrics show that it is not translated there.
#[test]
fn a_program_of_somebody_else_is_named() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let theirs = take_over(&lab, &daemon, "inet4");
    expect_within(LOOKED_FOR, &daemon, "the other program", || !daemon.ctl(&lab.relay, "status").success);
    let said = daemon.ctl(&lab.relay, "status").stdout;
    let shown: Value = serde_json::from_str(&lab.relay.run("bpftool -j net show dev inet4").ok()).expect("JSON");
    let id = shown[0]["xdp"][0]["id"].as_u64().expect("the id of their program");
    let shown: Value =
        serde_json::from_str(&lab.relay.run(&format!("bpftool -j prog show id {id}")).ok()).expect("JSON");
    // This one has no name.
    let (id, tag) = (format!("id {id}"), shown["tag"].as_str().expect("a tag"));
    for words in ["another XDP program", "inet4", &id, tag] {
        assert!(said.contains(words), "`{words}` is missing: {said}");
        assert!(daemon.log().contains(words), "`{words}` is missing in the log: {}", daemon.log());
    }
    let page = lab.relay.run("curl -s http://127.0.0.1:9464/metrics").ok();
    assert!(page.contains("xlat_interface_xdp_mode{interface=\"inet4\",mode=\"none\"} 1"), "{page}");
    drop(theirs);
    expect_within(LOOKED_FOR, &daemon, "the place is free again", || daemon.ctl(&lab.relay, "status").success);
    assert!(ping(&lab), "{}", daemon.log());
}
