//! The fragmenter through what may happen to its daemon: it is kept, made whole, and in the end removed.

use std::time::Duration;

use nix::sys::signal::Signal;
use xlat_tests::lab::{Daemon, Lab, SERVER_SEEN, is_within};

/// A packet that has to be fragmented comes through.
fn expect_large(lab: &Lab, daemon: &Daemon) {
    let ping = || lab.client.run(&format!("ping -n -c 1 -W 1 -M dont -s 1400 {SERVER_SEEN}")).success;
    assert!(is_within(Duration::from_secs(10), ping), "{}", daemon.log());
}

/// The instance that has made the namespace was attached nowhere, as no interface had the name that the configuration had.
#[test]
fn a_name_put_right_leaves_the_fragmenter_where_it_outlives_the_daemon() {
    let (right, wrong) = ("[\"inet4\", \"inet6\"]", "[\"inet44\"]");
    let lab = Lab::new().expect("a lab");
    let mut daemon = Daemon::begin(&lab.relay, &Lab::configuration().replace(right, wrong)).expect("a daemon");
    let is_ready = || daemon.log().contains("ready: control socket");
    assert!(is_within(Duration::from_secs(30), is_ready), "{}", daemon.log());
    let path = daemon.configuration();
    let text = std::fs::read_to_string(&path).expect("the configuration");
    std::fs::write(&path, text.replace(wrong, right)).expect("the configuration");
    daemon.ctl(&lab.relay, "reload").ok();
    expect_large(&lab, &daemon);
    let name = daemon.pins().file_name().expect("a name").to_string_lossy().into_owned() + "-fragmenter";
    assert!(lab.relay.run("ip netns list").ok().contains(&name), "{}", daemon.log());
    daemon.kill().expect("a daemon to kill");
    expect_large(&lab, &daemon);
}

/// As a daemon leaves it that is killed before it has set the far end up.
#[test]
fn a_fragmenter_that_is_not_whole_is_made_whole_by_the_next_daemon() {
    let (lab, mut daemon) = Lab::with_daemon().expect("a lab with a daemon");
    expect_large(&lab, &daemon);
    daemon.kill().expect("a daemon to kill");
    let namespace = format!("/run/netns/{}-fragmenter", daemon.pins().file_name().expect("a name").to_string_lossy());
    for command in ["ethtool -K far gro off", "ip -6 route flush default"] {
        lab.relay.run(&format!("nsenter --net={namespace} {command}")).ok();
    }
    assert!(!lab.client.run(&format!("ping -n -c 1 -W 1 -M dont -s 1400 {SERVER_SEEN}")).success);
    daemon.start_again(&lab.relay, &[]).expect("it starts");
    expect_large(&lab, &daemon);
    let routes = lab.relay.run(&format!("nsenter --net={namespace} ip -6 route show default")).ok();
    assert!(routes.contains("far"), "{routes}");
}

/// Nothing is left behind, also where the near end has gone before.
#[test]
fn rules_go_with_the_daemon_though_the_fragmenter_was_removed() {
    let (lab, mut daemon) = Lab::with_daemon().expect("a lab with a daemon");
    assert!(lab.relay.run("ip -6 rule").ok().contains("2001:db8:6464::/96"));
    lab.relay.ip("link del xlat0").expect("it can be removed");
    daemon.stop_by(Signal::SIGTERM).expect("a clean end");
    assert!(!lab.relay.run("ip -6 rule").ok().contains("2001:db8:6464::/96"), "{}", daemon.log());
}
