//! The real daemon and its command as an operator meets them.

use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::Value;
use xlat_tests::lab::{Daemon, Lab, Namespace, SERVER_SEEN, is_within};

/// Everything of a machine that a daemon could leave behind, in an order of its own.
fn state(machine: &Namespace) -> String {
    settle(machine);
    let mut lines = Vec::new();
    for arguments in [
        "-details link show",
        "address show",
        "-4 route show table all",
        "-6 route show table all",
        "-4 rule show",
        "-6 rule show",
        "neigh show nud permanent",
    ] {
        let said = machine.ip(arguments).expect("an ip command");
        // Times that run.
        let said = said.lines().filter(|line| !line.contains("valid_lft"));
        lines.extend(said.map(|line| format!("{arguments}: {line}")));
    }
    // Routes that the kernel makes by itself are listed in the order in which they came.
    lines.sort();
    lines.join("\n")
}

/// Waits until the kernel has no IPv6 address under duplicate address detection, which begins anew when a link comes up: until
/// it ends, the address is marked, and its routes are missing.
fn settle(machine: &Namespace) {
    let begin = Instant::now();
    while !machine.ip("-6 address show tentative").expect("an ip command").is_empty() {
        assert!(begin.elapsed() < Duration::from_secs(10), "duplicate address detection does not end");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn pins() -> BTreeSet<String> {
    fn walk(path: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                walk(&entry.path(), found);
            } else {
                found.insert(entry.path().display().to_string());
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(Path::new("/sys/fs/bpf"), &mut found);
    found
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("no JSON ({error}):\n{text}"))
}

#[test]
fn sigterm_leaves_nothing_behind() {
    let lab = Lab::new().expect("a lab");
    let _ = lab.client.run(&format!("ping -n -c 1 -W 1 {SERVER_SEEN}"));
    let (before, pins_before) = (state(&lab.relay), pins());
    let mut daemon = Daemon::start(&lab.relay, Lab::configuration()).expect("a daemon");
    assert!(lab.client.run(&format!("ping -n -c 1 -W 2 {SERVER_SEEN}")).success);
    assert_ne!(state(&lab.relay), before, "a running daemon can be seen");
    let socket = daemon.socket();
    daemon.stop().expect("a clean end");
    assert_eq!(state(&lab.relay), before);
    assert!(!socket.exists(), "the control socket is still there");
    // Other relays of this machine have theirs.
    let own = daemon.pins().display().to_string();
    let left: Vec<String> = pins().difference(&pins_before).filter(|path| path.starts_with(&own)).cloned().collect();
    assert!(left.is_empty(), "pinned in bpffs: {left:?}");
    assert!(!lab.client.run(&format!("ping -n -c 1 -W 1 {SERVER_SEEN}")).success, "packets are still translated");
}

#[test]
fn status_tells_what_runs() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let said = daemon.ctl(&lab.relay, "status").ok();
    for word in ["attached", "inet4", "inet6", "native"] {
        assert!(said.contains(word), "`{word}` is missing:\n{said}");
    }
    let status = json(&daemon.ctl(&lab.relay, "status --json").ok());
    assert_eq!(status["state"], "attached");
    assert_eq!(status["interfaces"].as_array().map(Vec::len), Some(2));
}

#[test]
fn status_without_a_daemon_fails_with_a_sentence() {
    let (lab, mut daemon) = Lab::with_daemon().expect("a lab with a daemon");
    daemon.stop().expect("a clean end");
    let said = daemon.ctl(&lab.relay, "status");
    assert_eq!(said.code, Some(1));
    assert!(said.stderr.contains("xlat.sock"), "{}", said.stderr);
    assert_eq!(said.stderr.lines().count(), 1, "one sentence: {}", said.stderr);
}

#[test]
fn a_service_comes_and_goes_while_packets_flow() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    lab.server.ip("addr add 2001:db8:5e1:1::20/64 dev eth0 nodad").expect("an address");
    let ping = || lab.client.run("ping -n -c 1 -W 1 198.51.100.20").success;
    assert!(!ping(), "without a mapping there is no service");
    daemon.ctl(&lab.relay, "eam add 198.51.100.20 2001:db8:5e1:1::20 --comment new").ok();
    assert!(ping(), "the mapping has no effect");
    let listed = daemon.ctl(&lab.relay, "eam list").ok();
    assert!(listed.contains("198.51.100.20") && listed.contains("new"), "{listed}");
    daemon.ctl(&lab.relay, "eam del 198.51.100.20").ok();
    assert!(!ping(), "the removed mapping still has an effect");
}

#[test]
fn the_table_is_listed_as_text_json_and_csv() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let text = daemon.ctl(&lab.relay, "eam list").ok();
    assert!(text.contains("198.51.100.10") && text.contains("2001:db8:5e1:1::10") && text.contains("www"), "{text}");
    let list = json(&daemon.ctl(&lab.relay, "eam list --json").ok());
    assert_eq!(list["entries"].as_array().map(Vec::len), Some(2), "{list}");
    let csv = daemon.ctl(&lab.relay, "eam list --csv").ok();
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some("ipv4,ipv6,comment,origin"));
    // Prefixes with their lengths, as in the other two forms: nothing is left to be guessed.
    assert_eq!(lines.next(), Some("198.51.100.10/32,2001:db8:5e1:1::10/128,www,static"));
    assert_eq!(lines.next(), Some("198.51.100.66/32,2001:db8:5e1:1::66/128,,static"));
    assert_eq!(lines.next(), None);
    for (entry, line) in list["entries"].as_array().into_iter().flatten().zip(csv.lines().skip(1)) {
        for (name, field) in ["ipv4", "ipv6", "comment", "origin"].into_iter().zip(line.split(',')) {
            assert_eq!(entry[name], field, "{name} of {line}");
            assert!(text.contains(field), "`{field}` is missing:\n{text}");
        }
    }
}

#[test]
fn refused_mappings_change_nothing() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let before = daemon.ctl(&lab.relay, "eam list --json").ok();
    for (arguments, code) in [
        ("eam add 198.51.100.10 2001:db8::1", 1),
        ("eam add 198.51.100.30 2001:db8:5e1:1::10", 1),
        ("eam add 192.0.2.0/24 2001:db8::/125", 1),
        ("eam add 192.0.2.1/24 2001:db8::/64", 1),
        ("eam add 224.0.0.1 2001:db8::1", 1),
        ("eam add 127.0.0.1 2001:db8::1", 1),
        ("eam add 192.0.2.1 fe80::1", 1),
        ("eam del 203.0.113.99", 1),
        ("eam del 198.51.100.10", 1),
    ] {
        let said = daemon.ctl(&lab.relay, arguments);
        assert_eq!(said.code, Some(code), "`{arguments}`: {}{}", said.stdout, said.stderr);
        assert!(said.stderr.trim().lines().count() == 1 && said.stderr.len() > 20, "`{arguments}`: {}", said.stderr);
    }
    assert_eq!(daemon.ctl(&lab.relay, "eam list --json").ok(), before);
}

#[test]
fn wrong_usage_ends_with_2() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    for arguments in ["", "nonsense", "eam add", "eam add 198.51.100.10", "lookup", "stats --watch=soon"] {
        let said = daemon.ctl(&lab.relay, arguments);
        assert_eq!(said.code, Some(2), "`{arguments}`: {}{}", said.stdout, said.stderr);
    }
}

#[test]
fn lookup_tells_the_rule() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    for (address, expected) in [
        ("198.51.100.10", "2001:db8:5e1:1::10"),
        ("2001:db8:5e1:1::10", "198.51.100.10"),
        ("203.0.113.7", "2001:db8:6464::cb00:7107"),
        ("2001:db8:6464::cb00:7107", "203.0.113.7"),
    ] {
        let said = daemon.ctl(&lab.relay, &format!("lookup {address}")).ok();
        assert!(said.contains(expected), "lookup {address}: {said}");
    }
}

#[test]
fn stats_and_metrics_count_packets() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    lab.client.run(&format!("ping -n -c 5 -i 0.05 -W 2 {SERVER_SEEN}")).ok();
    let text = daemon.ctl(&lab.relay, "stats").ok();
    assert!(text.contains("four_to_six") && text.contains("six_to_four"), "{text}");
    let _ = json(&daemon.ctl(&lab.relay, "stats --json").ok());
    let page = lab.relay.run("curl --silent --show-error --fail http://127.0.0.1:9464/metrics").ok();
    let of = |direction: &str| -> f64 {
        let label = format!("direction=\"{direction}\"");
        let lines = page.lines().filter(|line| line.starts_with("xlat_packets_total{") && line.contains(&label));
        lines.filter(|line| line.contains("icmp")).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    };
    assert!(of("four_to_six") >= 5.0 && of("six_to_four") >= 5.0, "{page}");
    for name in ["xlat_drops_total", "xlat_bytes_total"] {
        assert!(page.contains(name), "{name} is missing:\n{page}");
    }
}

#[test]
fn check_judges_a_configuration() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let path = daemon.configuration();
    daemon.ctl(&lab.relay, &format!("check --config {}", path.display())).ok();
    let text = std::fs::read_to_string(&path).expect("the configuration");
    let broken = daemon.directory().join("broken.toml");
    std::fs::write(&broken, text.replace("[translation]", "[translation]\nhairpin = \"sometimes\"\nnonsense = 1"))
        .expect("a file");
    let said = daemon.ctl(&lab.relay, &format!("check --config {}", broken.display()));
    assert_eq!(said.code, Some(1));
    assert!(said.stderr.contains("nonsense") || said.stderr.contains("sometimes"), "{}", said.stderr);
}

#[test]
fn a_second_daemon_says_so_and_ends() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let path = daemon.configuration();
    let said = daemon.ctl(&lab.relay, &format!("run --config {}", path.display()));
    assert_eq!(said.code, Some(1), "{}", said.stderr);
    assert!(daemon.ctl(&lab.relay, "status").success, "the first daemon is disturbed");
    lab.client.run(&format!("ping -n -c 1 -W 2 {SERVER_SEEN}")).ok();
}

#[test]
fn a_reload_changes_the_mode_at_once() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let path = daemon.configuration();
    let text = std::fs::read_to_string(&path).expect("the configuration");
    for mode in ["generic", "native"] {
        let changed = text.replace("[dataplane]", &format!("[dataplane]\nxdp_mode = \"{mode}\""));
        std::fs::write(&path, changed).expect("another mode");
        assert_eq!(daemon.ctl(&lab.relay, "reload").ok(), "the configuration is reloaded\n");
        let status = json(&daemon.ctl(&lab.relay, "status --json").ok());
        let modes = status["interfaces"].as_array().expect("a list").iter().map(|one| &one["mode"]);
        assert!(modes.eq([mode, mode]), "{status}");
        lab.client.run(&format!("ping -n -c 1 -W 2 {SERVER_SEEN}")).ok();
    }
    assert!(!daemon.log().contains("carries another XDP program"), "{}", daemon.log());
}

/// No interface is left without its program because the file asks for a mode that a driver refuses.
#[test]
fn a_reload_to_a_mode_that_a_driver_refuses_is_taken_back() {
    let lab = Lab::new().expect("a lab");
    // A bridge's own device takes no native program.
    lab.relay.ip("link add inet8 type bridge").expect("a bridge");
    lab.relay.ip("link set inet8 up").expect("a bridge that is up");
    let generic = "[dataplane]\nxdp_mode = \"generic\"";
    let text = Lab::configuration().replace("[dataplane]", generic).replace("\"inet6\"]", "\"inet6\", \"inet8\"]");
    let daemon = Daemon::start(&lab.relay, &text).expect("a daemon");
    let path = daemon.configuration();
    let old = std::fs::read_to_string(&path).expect("the configuration");
    std::fs::write(&path, old.replace("\"generic\"", "\"native\"").replace("198.51.100.66", "198.51.100.67"))
        .expect("writing");
    let said = daemon.ctl(&lab.relay, "reload");
    assert_eq!(said.code, Some(1), "{}{}", said.stdout, said.stderr);
    assert!(said.stderr.contains("inet8") && said.stderr.contains("is in force again"), "{}", said.stderr);
    let status = json(&daemon.ctl(&lab.relay, "status --json").ok());
    assert_eq!(status["state"], "attached", "{status}");
    let modes = status["interfaces"].as_array().expect("a list").iter().map(|one| &one["mode"]);
    assert!(modes.eq(["generic", "generic", "generic"]), "{status}");
    assert!(daemon.ctl(&lab.relay, "eam list").ok().contains("198.51.100.66"), "the table of before");
    lab.client.run(&format!("ping -n -c 1 -W 2 {SERVER_SEEN}")).ok();
}

#[test]
fn a_reload_leaves_the_kernels_errors_alone_and_leads_them_again() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let path = daemon.configuration();
    let text = std::fs::read_to_string(&path).expect("the configuration");
    let has_rule = || lab.relay.run("ip -6 rule").ok().contains("to 2001:db8:6464::/96");
    assert!(has_rule(), "from the start");
    for kernel_errors in [false, true] {
        let changed = text.replace("[icmp]", &format!("[icmp]\nkernel_errors = {kernel_errors}"));
        std::fs::write(&path, changed).expect("another configuration");
        daemon.ctl(&lab.relay, "reload").ok();
        assert_eq!(has_rule(), kernel_errors);
    }
}

/// A package that is removed after its configuration leaves nothing pinned, either.
#[test]
fn detach_without_a_configuration_looks_at_the_usual_place() {
    let lab = Lab::new().expect("a lab");
    let command = xlat_tests::lab::command_path().expect("xlat-ctl");
    let script = format!(
        "mount -t tmpfs none /etc && mount -t bpf none /sys/fs/bpf && {0} detach; mkdir -p /sys/fs/bpf/xlat && {0} detach; \
         mkdir -p /sys/fs/bpf/xlat/instance-7-abi5 && {0} detach; \
         echo \"$?\"; ls -d /sys/fs/bpf/xlat",
        command.display()
    );
    let output = lab.relay.command("unshare", &["--mount", "sh", "-c", &script]).output().expect("unshare");
    let said = String::from_utf8_lossy(&output.stderr);
    let place = "/sys/fs/bpf/xlat, the usual place of its pins, was looked at all the same";
    for (what, times) in [("nothing is attached from there", 2), ("what was attached from there is detached", 1)] {
        assert_eq!(said.matches(&format!("{place}: {what}")).count(), times, "{what}: {said}");
    }
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1\n", "an exit code of 1, and nothing left: {said}");
}

/// What holds for the daemon's whole life is refused by name, and so is all else that the file changes.
#[test]
fn a_reload_refuses_what_takes_a_restart() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let path = daemon.configuration();
    let text = std::fs::read_to_string(&path).expect("the configuration");
    for (from, to, key) in [
        ("127.0.0.1:9464", "127.0.0.1:9465", "metrics.listen"),
        ("group = \"root\"", "group = \"daemon\"", "control.group"),
        ("xlat.sock\"", "other.sock\"", "control.socket"),
        ("[state]", "[state]\nhistory = 5", "state"),
    ] {
        assert!(text.contains(from), "{from}: {text}");
        let changed = text.replacen(from, to, 1).replace("198.51.100.66", "198.51.100.67");
        std::fs::write(&path, changed).expect("another configuration");
        let said = daemon.ctl(&lab.relay, "reload");
        let expected = format!("xlat-ctl: reload: {key} cannot be changed without a restart; nothing is changed\n");
        assert_eq!((said.code, said.stderr), (Some(1), expected));
        assert!(daemon.ctl(&lab.relay, "eam list").ok().contains("198.51.100.66"));
    }
}

#[test]
fn mtus_are_followed_without_a_restart() {
    let (lab, _daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let ping = |wait: u32| lab.client.run(&format!("ping -n -M do -s 1400 -c 1 -W {wait} {SERVER_SEEN}"));
    assert!(ping(5).success);
    lab.relay.ip("link set inet6 mtu 1400").expect("a narrow link");
    let is_refused = || {
        let said = ping(1);
        !said.success && (said.stdout + &said.stderr).contains("1380")
    };
    assert!(is_within(Duration::from_secs(10), is_refused), "nobody is told the MTU");
}

#[test]
fn an_interface_that_comes_later_is_picked_up() {
    let changes = [("\"inet4\", \"inet6\"", "\"inet4\", \"inet6\", \"late0\"")];
    let lab = Lab::new().expect("a lab");
    let text = changes.iter().fold(Lab::configuration().to_owned(), |text, (from, to)| text.replace(from, to));
    // `status` is content only when all are attached.
    let add = std::thread::scope(|scope| {
        let daemon = scope.spawn(|| Daemon::start(&lab.relay, &text));
        std::thread::sleep(Duration::from_secs(3));
        lab.relay.link("late0", &lab.router6, "late").expect("a link");
        daemon.join().expect("no panic")
    });
    let daemon = add.expect("a daemon that picks up the interface");
    let said = daemon.ctl(&lab.relay, "status").ok();
    assert!(said.contains("late0"), "{said}");
}

#[test]
fn the_relay_stays_a_router_and_reachable() {
    let (lab, _daemon) = Lab::with_daemon().expect("a lab with a daemon");
    lab.router4.run("ping -n -c 1 -W 2 198.18.0.2").ok();
    lab.router6.run("ping -n -c 1 -W 2 2001:db8:fe::1").ok();
    lab.client.run("ping -n -c 1 -W 2 198.18.0.2").ok();
    lab.server.run("ping -n -c 1 -W 2 2001:db8:fe::1").ok();
}
