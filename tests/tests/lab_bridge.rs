//! A relay whose way to the IPv6 network is a bridge: the program on the bridge's port, and on the bridge itself.

use xlat_tests::lab::{CLIENT_SEEN, Daemon, Lab, Namespace, SERVER_SEEN};

/// The lab's machines, with the relay's address towards IPv6 on a bridge, of which `inet6` is a port.
fn bridged() -> Lab {
    let lab = Lab::new().expect("a lab");
    lab.relay.ip("link add br0 type bridge forward_delay 0").expect("a bridge");
    lab.relay.ip("link set inet6 master br0").expect("a port");
    lab.relay.ip("link set br0 up").expect("a bridge that is up");
    lab.relay.ip("addr flush dev inet6").expect("no address on the port");
    lab.relay.ip("addr add 2001:db8:fe::1/64 dev br0 nodad").expect("an address on the bridge");
    lab.relay.ip("route replace 2001:db8:5e1::/48 via 2001:db8:fe::2").expect("a route");
    lab
}

fn start(lab: &Lab, interfaces: &str) -> Daemon {
    let named = r#"interfaces = ["inet4", "inet6"]"#;
    assert!(Lab::configuration().contains(named), "{}", Lab::configuration());
    Daemon::start(&lab.relay, &Lab::configuration().replace(named, interfaces)).expect("a daemon")
}

fn ping(from: &Namespace, to: &str, size: u32) {
    from.run(&format!("ping -n -q -c 5 -i 0.1 -W 2 -s {size} {to}")).ok();
}

#[test]
fn the_port_of_a_bridge_translates_in_both_directions() {
    let lab = bridged();
    let daemon = start(&lab, r#"interfaces = ["inet4", "inet6"]"#);
    for size in [56, 1400] {
        ping(&lab.client, SERVER_SEEN, size);
        ping(&lab.server, CLIENT_SEEN, size);
    }
    let status = daemon.ctl(&lab.relay, "status").ok();
    let line = status.lines().find(|line| line.starts_with("inet6")).unwrap_or_else(|| panic!("{status}"));
    assert!(line.ends_with("native"), "{status}");
}

#[test]
fn the_bridge_itself_translates_in_generic_mode() {
    let lab = bridged();
    let daemon = start(&lab, r#"interfaces = ["inet4", "br0"]"#);
    ping(&lab.client, SERVER_SEEN, 56);
    ping(&lab.server, CLIENT_SEEN, 56);
    let status = daemon.ctl(&lab.relay, "status").ok();
    let line = status.lines().find(|line| line.contains("br0")).unwrap_or_else(|| panic!("{status}"));
    assert!(line.contains("generic"), "{status}");
}

/// A glob may name both: what the port's program has translated must not be translated again on the bridge.
#[test]
fn a_bridge_whose_port_has_the_program_gets_none() {
    let lab = bridged();
    let daemon = start(&lab, r#"interfaces = ["inet4", "inet6", "br*"]"#);
    for size in [56, 1400] {
        ping(&lab.client, SERVER_SEEN, size);
        ping(&lab.server, CLIENT_SEEN, size);
    }
    let status = daemon.ctl(&lab.relay, "status").ok();
    assert!(status.starts_with("state     attached\n"), "{status}");
    let line = status.lines().find(|line| line.starts_with("br0")).unwrap_or_else(|| panic!("{status}"));
    assert!(line.contains("covered") && line.ends_with("the program on inet6 sees its packets"), "{status}");
    // The port leaves: nothing but the bridge sees the packets of its other ports.
    lab.relay.ip("link set inet6 nomaster").expect("no port");
    let begin = std::time::Instant::now();
    loop {
        let status = daemon.ctl(&lab.relay, "status").ok();
        let line = status.lines().find(|line| line.starts_with("br0")).unwrap_or_else(|| panic!("{status}"));
        if line.contains("attached") {
            break;
        }
        assert!(begin.elapsed() < std::time::Duration::from_secs(10), "{status}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// The kernel takes no program below a device that has one: the bridge's is taken off before the port gets its own.
#[test]
fn the_program_goes_from_a_bridge_to_its_port_at_once() {
    let lab = bridged();
    let daemon = start(&lab, r#"interfaces = ["inet4", "br0"]"#);
    ping(&lab.client, SERVER_SEEN, 56);
    let path = daemon.configuration();
    let text = std::fs::read_to_string(&path).expect("the configuration");
    for interfaces in [r#""inet6", "br0""#, r#""br0""#] {
        std::fs::write(&path, text.replace(r#""br0""#, interfaces)).expect("another configuration");
        let said = daemon.ctl(&lab.relay, "reload");
        assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("the configuration is reloaded\n", ""));
        let status = daemon.ctl(&lab.relay, "status").ok();
        assert!(status.starts_with("state     attached\n"), "{status}{}", daemon.log());
        ping(&lab.client, SERVER_SEEN, 56);
    }
}

/// A port that cannot have the program is no reason for its bridge to lose it.
#[test]
fn a_reload_to_a_port_that_is_taken_is_taken_back() {
    let lab = bridged();
    let _theirs = lab.relay.pass("inet6").expect("somebody else's program");
    let daemon = start(&lab, r#"interfaces = ["inet4", "br0"]"#);
    ping(&lab.client, SERVER_SEEN, 56);
    let path = daemon.configuration();
    let text = std::fs::read_to_string(&path).expect("the configuration");
    std::fs::write(&path, text.replace(r#""br0""#, r#""inet6", "br0""#)).expect("another configuration");
    let said = daemon.ctl(&lab.relay, "reload");
    assert!(
        !said.success && said.stderr.contains("inet6 carries another XDP program"),
        "{}{}",
        said.stdout,
        said.stderr
    );
    assert!(said.stderr.contains("the configuration of before is in force again"), "{}", said.stderr);
    let status = daemon.ctl(&lab.relay, "status").ok();
    assert!(status.starts_with("state     attached\n"), "{status}");
    ping(&lab.client, SERVER_SEEN, 56);
}
