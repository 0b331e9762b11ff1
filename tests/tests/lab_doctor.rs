//! `xlat-ctl doctor` on a relay that is well, and on one that is broken in one way.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use xlat_tests::lab::{Lab, command_path};

/// A relay without a daemon that has nothing wrong, its configuration, and where that lies.
struct Patient {
    lab: Lab,
    configuration: PathBuf,
    _directory: TempDir,
}

impl Patient {
    fn new() -> Self {
        let lab = Lab::new().expect("a lab");
        let directory = tempfile::tempdir().expect("a directory");
        let configuration = directory.path().join("xlat.toml");
        let text = Lab::configuration()
            .replace("SOCKET", &directory.path().join("xlat.sock").to_string_lossy())
            .replace("STATE", &directory.path().join("state").to_string_lossy());
        std::fs::write(&configuration, text).expect("writing the configuration");
        let patient = Self { lab, configuration, _directory: directory };
        for tree in ["all", "default", "inet4", "inet6"] {
            patient.lab.relay.sysctl(&format!("ipv4/conf/{tree}/rp_filter"), "0").expect("no filter");
        }
        for command in [
            "link set inet6 mtu 1520",
            "route add default via 198.18.0.1",
            "route add unreachable 198.51.100.0/24",
            "-6 route add default via 2001:db8:fe::2",
            "-6 route add unreachable 2001:db8:6464::/96",
        ] {
            patient.ip(command);
        }
        patient
    }

    fn ip(&self, command: &str) {
        self.lab.relay.ip(command).expect("an `ip` command");
    }

    /// What is found: check, problem and remedy of each. The exit code fits.
    fn findings(&self) -> Vec<[String; 3]> {
        let program = command_path().expect("xlat-ctl");
        let command = format!("{} doctor --json --config {}", program.display(), self.configuration.display());
        let said = self.lab.relay.run(&command);
        let report: Value = serde_json::from_str(&said.stdout)
            .unwrap_or_else(|error| panic!("`doctor` prints JSON ({error}): {}{}", said.stdout, said.stderr));
        let findings = report["findings"].as_array().expect("findings");
        assert_eq!(said.code, Some(i32::from(!findings.is_empty())), "{findings:?}");
        let word = |finding: &Value, key: &str| finding[key].as_str().expect("a string").to_owned();
        findings.iter().map(|finding| ["check", "problem", "remedy"].map(|key| word(finding, key))).collect()
    }

    /// Exactly one thing is found, by this check, with this in the problem and this in the remedy.
    #[track_caller]
    fn expect(&self, check: &str, problem: &str, remedy: &str) {
        let findings = self.findings();
        let [[found, in_problem, in_remedy]] = &findings[..] else { panic!("one finding expected: {findings:#?}") };
        assert_eq!(found, check, "{findings:#?}");
        assert!(in_problem.contains(problem), "{in_problem}");
        assert!(in_remedy.contains(remedy), "{in_remedy}");
    }
}

#[test]
fn finds_nothing_on_a_relay_that_is_well() {
    let patient = Patient::new();
    assert_eq!(patient.findings(), Vec::<[String; 3]>::new());
}

#[test]
fn finds_forwarding_off() {
    let patient = Patient::new();
    patient.lab.relay.sysctl("ipv4/conf/inet6/forwarding", "0").expect("a value");
    patient.expect("forwarding", "inet6", "sysctl -w net.ipv4.conf.inet6.forwarding=1");
}

#[test]
fn finds_ipv6_forwarding_off() {
    let patient = Patient::new();
    patient.lab.relay.sysctl("ipv6/conf/inet4/forwarding", "0").expect("a value");
    patient.expect("forwarding", "IPv6 is not forwarded", "sysctl -w net.ipv6.conf.inet4.forwarding=1");
}

#[test]
fn finds_a_reverse_path_filter() {
    let patient = Patient::new();
    patient.lab.relay.sysctl("ipv4/conf/inet6/rp_filter", "2").expect("a value");
    patient.expect("reverse-path", "inet6", "net.ipv4.conf.inet6.rp_filter=0");
}

/// One interface for both sides, or an IPv6 side with an address for management.
#[test]
fn finds_a_reverse_path_filter_of_an_ipv6_side_with_an_ipv4_address() {
    let patient = Patient::new();
    patient.ip("addr add 192.0.2.1/24 dev inet6");
    patient.lab.relay.sysctl("ipv4/conf/inet6/rp_filter", "2").expect("a value");
    patient.expect("reverse-path", "inet6", "net.ipv4.conf.inet6.rp_filter=0");
}

#[test]
fn finds_another_program() {
    let patient = Patient::new();
    let _other = patient.lab.relay.pass("inet6").expect("somebody else's program");
    let findings = patient.findings();
    let found = findings.iter().find(|finding| finding[1].contains("inet6 carries another XDP program"));
    let remedy = &found.unwrap_or_else(|| panic!("{findings:#?}"))[2];
    assert!(remedy.contains("`ip link set dev inet6 xdp off`"), "{remedy}");
    // A BPF link holds it, so that this is refused, as the advice says.
    let refused = patient.lab.relay.ip("link set dev inet6 xdp off").expect_err("a BPF link stays").to_string();
    assert!(refused.contains("active BPF") && remedy.contains("`bpftool link detach id ID`"), "{refused}: {remedy}");
}

/// What only the daemon knows: that it could not attach the program, and why.
#[test]
fn finds_an_interface_that_has_not_got_the_program() {
    let patient = Patient::new();
    let daemon = xlat_tests::lab::Daemon::start(&patient.lab.relay, Lab::configuration()).expect("a daemon");
    let index = 20_000;
    patient.ip(&format!("link add veth9 index {index} type veth peer name far9"));
    patient.ip("link set veth9 up");
    let text = std::fs::read_to_string(daemon.configuration()).expect("the configuration");
    std::fs::write(daemon.configuration(), text.replace("\"inet4\"", "\"inet4\", \"veth9\"")).expect("another");
    let _ = daemon.ctl(&patient.lab.relay, "reload");
    let said = daemon.ctl(&patient.lab.relay, &format!("doctor --config {}", daemon.configuration().display())).stdout;
    assert!(said.contains("xdp: veth9 has not got the program: ") && said.contains(&index.to_string()), "{said}");
}

/// A daemon that hangs, and one that was killed and has left its socket.
#[test]
fn finds_a_daemon_that_does_not_answer() {
    let patient = Patient::new();
    let socket = patient.configuration.with_file_name("xlat.sock");
    let hanging = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    patient.expect("daemon", "has not answered for 5 seconds", "systemctl status xlat");
    drop(hanging);
    patient.expect("daemon", "the socket is left from one that was killed", "systemctl status xlat");
}

/// The socket is reached from everywhere, the daemon's interfaces are not.
#[test]
fn says_that_it_looks_at_another_network_namespace_than_the_daemons() {
    let patient = Patient::new();
    let daemon = xlat_tests::lab::Daemon::start(&patient.lab.relay, Lab::configuration()).expect("a daemon");
    let said = daemon.ctl(&patient.lab.server, &format!("doctor --config {}", daemon.configuration().display()));
    assert!(said.stderr.contains("runs in another network namespace") && said.stderr.contains("nsenter"), "{said:?}");
}

/// Entries that were made by command are in the daemon's table, not in the configuration.
#[test]
fn looks_at_the_ways_of_the_daemons_entries() {
    let patient = Patient::new();
    let daemon = xlat_tests::lab::Daemon::start(&patient.lab.relay, Lab::configuration()).expect("a daemon");
    daemon.ctl(&patient.lab.relay, "eam add 192.0.2.77 2001:db8:77::77").ok();
    let findings = daemon.ctl(&patient.lab.relay, &format!("doctor --config {}", daemon.configuration().display()));
    assert!(
        findings.stdout.contains("packets to 192.0.2.77/32 that are not translated are sent out of inet4, and circle"),
        "{}",
        findings.stdout
    );
}

#[test]
fn finds_an_ipv6_side_too_narrow_for_full_size_packets() {
    let patient = Patient::new();
    patient.ip("link set inet6 mtu 1500");
    patient.expect("mtu", "whose MTU is 1500", "ip link set inet6 mtu 1520");
    patient.ip("link set inet6 mtu 1520");
    patient.ip("-6 route replace 2001:db8:5e1::/48 via 2001:db8:fe::2 mtu 1400");
    patient.expect("mtu", "inet6, with a route whose MTU is 1400", "a route by inet6 without `mtu 1400`");
}

#[test]
fn finds_a_service_prefix_that_loops() {
    let patient = Patient::new();
    patient.ip("route del unreachable 198.51.100.0/24");
    let findings = patient.findings();
    assert_eq!(findings.len(), 2, "one for each mapping: {findings:#?}");
    assert!(findings[0][1].contains("circle"), "{findings:#?}");
    assert!(findings[0][2].contains("ip route replace unreachable 198.51.100.10/32"), "{findings:#?}");
}

#[test]
fn finds_a_translation_prefix_that_loops() {
    let patient = Patient::new();
    patient.ip("-6 route del unreachable 2001:db8:6464::/96");
    patient.expect("routes", "inet6, and circle", "ip -6 route replace unreachable 2001:db8:6464::/96");
}

/// What would mend a border relay would ruin an edge relay, behind which the IPv4 addresses are.
#[test]
fn sends_no_edge_relays_packets_to_nowhere() {
    let patient = Patient::new();
    patient.ip("-6 route del 2001:db8:5e1::/48");
    patient.ip("route del unreachable 198.51.100.0/24");
    patient.ip("route add 198.51.100.0/24 via 198.18.0.1");
    patient.expect("routes", "no route to the translation prefix", "ip -6 route add 2001:db8:6464::/96 via");
    patient.ip("-6 route del unreachable 2001:db8:6464::/96");
    assert_eq!(patient.findings(), Vec::<[String; 3]>::new());
}

/// A covering route, of another relay's announcement for one, tells nothing of what is behind this one.
#[test]
fn finds_routes_of_their_own_for_both_families_of_an_entry() {
    let patient = Patient::new();
    patient.ip("route del unreachable 198.51.100.0/24");
    patient.ip("route add 198.51.100.0/24 via 198.18.0.1");
    patient.ip("-6 route del default");
    patient.ip("-6 route add 2001:db8::/32 via 2001:db8:fe::2");
    let findings = patient.findings();
    let hint = findings.iter().filter(|finding| finding[1].contains("routed out of inet4, and")).collect::<Vec<_>>();
    assert!(hint.len() == 1 && hint[0][2].contains("ip route replace unreachable 198.51.100."), "{findings:#?}");
}

/// A relay without entries, between IPv4 and IPv6 nodes whose addresses are in the prefix.
#[test]
fn finds_a_translation_prefix_to_which_there_is_no_route() {
    let patient = Patient::new();
    let text = std::fs::read_to_string(&patient.configuration).expect("the configuration");
    let without = text.split("[[eam]]").next().expect("what is before the entries");
    let siit = without.replace("[translation]", "[translation]\nscope = \"all\"");
    std::fs::write(&patient.configuration, siit).expect("another");
    patient.ip("-6 route del default");
    patient.expect("routes", "no route to anything in the translation prefix", "ip -6 route add");
    patient.ip("-6 route add 2001:db8:6464::c000:200/120 via 2001:db8:fe::2");
    assert_eq!(patient.findings(), Vec::<[String; 3]>::new());
}

#[test]
fn finds_services_without_a_route() {
    let patient = Patient::new();
    patient.ip("-6 route del default");
    patient.ip("-6 route del 2001:db8:5e1::/48");
    let findings = patient.findings();
    assert!(findings.iter().all(|finding| finding[0] == "routes"), "{findings:#?}");
    assert!(findings[0][1].contains("no route to the service 2001:db8:5e1:1::10"), "{findings:#?}");
}

#[test]
fn finds_no_way_to_the_ipv4_internet() {
    let patient = Patient::new();
    patient.ip("route del default");
    patient.expect("routes", "no route to the IPv4 Internet", "ip route add default");
}

#[test]
fn finds_an_address_of_the_relays_own_among_the_services() {
    let patient = Patient::new();
    patient.ip("addr add 198.51.100.66/32 dev lo");
    patient.expect(
        "routes",
        "198.51.100.66, of the entry 198.51.100.66/32 2001:db8:5e1:1::66/128, is an address of the relay's own",
        "ip addr del 198.51.100.66/32 dev lo",
    );
    patient.ip("addr del 198.51.100.66/32 dev lo");
    patient.ip("addr add 2001:db8:5e1:1::66/64 dev lo");
    patient.expect("routes", "is an address of the relay's own", "ip addr del 2001:db8:5e1:1::66/64 dev lo");
    patient.ip("addr del 2001:db8:5e1:1::66/64 dev lo");
    assert_eq!(patient.findings(), Vec::<[String; 3]>::new());
}

#[test]
fn finds_an_interface_that_is_missing_and_one_that_is_down() {
    let patient = Patient::new();
    patient.ip("link set inet4 name other");
    let findings = patient.findings();
    assert!(findings.iter().any(|finding| finding[1].contains("there is no interface inet4")), "{findings:#?}");
    let patient = Patient::new();
    patient.ip("link set inet6 down");
    let findings = patient.findings();
    assert!(findings.iter().any(|finding| finding[1].contains("inet6 is down")), "{findings:#?}");
}

#[test]
fn finds_a_program_in_generic_mode() {
    let patient = Patient::new();
    let text = Lab::configuration().replace("[dataplane]", "[dataplane]\nxdp_mode = \"generic\"");
    let daemon = xlat_tests::lab::Daemon::start(&patient.lab.relay, &text).expect("a daemon");
    let findings = patient.findings();
    assert!(
        findings.iter().any(|finding| finding[0] == "xdp" && finding[1].contains("inet4 has the program in generic")),
        "{findings:#?}"
    );
    drop(daemon);
}

#[test]
fn finds_tables_that_do_not_fit_the_memory() {
    let patient = Patient::new();
    let said = with_memory(&patient, "$$", 4 << 20, &patient.configuration);
    assert!(
        said.contains("memory: the tables for 65536 EAMs take 8 MiB, and this control group may have 4 MiB"),
        "{said}"
    );
}

/// What counts is the daemon's control group, not that of the shell that asks; and it has to hold two tables for a moment.
#[test]
fn finds_a_bound_of_the_daemons_memory_that_a_reload_would_meet() {
    let patient = Patient::new();
    let daemon = xlat_tests::lab::Daemon::start(&patient.lab.relay, Lab::configuration()).expect("a daemon");
    let status: Value = serde_json::from_str(&daemon.ctl(&patient.lab.relay, "status --json").ok()).expect("JSON");
    let said = with_memory(&patient, &status["pid"].to_string(), 20 << 20, &daemon.configuration());
    let expected = "(two tables for 65536 EAMs, and the daemon), and the daemon's control group may have 20 MiB";
    assert!(said.contains(expected), "{said}");
}

/// What doctor says, seeing a process in a control group that may have so many bytes: by mounts of its own.
fn with_memory(patient: &Patient, process: &str, bytes: u64, configuration: &Path) -> String {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("memory.max"), bytes.to_string()).expect("a limit");
    std::fs::write(directory.path().join("cgroup"), "0::/\n").expect("a group");
    let script = format!(
        "mount --bind {0} /sys/fs/cgroup && mount --bind {0}/cgroup /proc/{process}/cgroup && exec {1} doctor --config {2}",
        directory.path().display(),
        command_path().expect("xlat-ctl").display(),
        configuration.display(),
    );
    let output = patient.lab.relay.command("unshare", &["--mount", "sh", "-c", &script]).output().expect("unshare");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
