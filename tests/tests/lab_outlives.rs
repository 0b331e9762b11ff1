//! The data plane outlives the daemon: no packet is lost when the daemon is killed, restarted or told to reload.

use std::{
    net::{SocketAddr, UdpSocket},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use xlat_tests::lab::{Daemon, Lab, Namespace, SERVER, SERVER_SEEN, command_path, is_within};

/// Datagrams a second.
const RATE: u32 = 2000;
/// Every so many datagrams one that the relay has to fragment.
const LARGE: u32 = 50;
/// How late the sender may be and still catch up.
const MOST_LATE: Duration = Duration::from_millis(2);
const PORT: u16 = 4242;

/// What became of a stream of numbered datagrams.
#[derive(Debug)]
struct Stream {
    sent: u32,
    lost: Vec<u32>,
}

/// Sends numbered datagrams from the client to the server all the while `action` runs.
fn stream(lab: &Lab, action: impl FnOnce()) -> Stream {
    // Without DF, so that the large ones go by the fragmenter.
    lab.client.sysctl("ipv4/ip_no_pmtu_disc", "1").expect("datagrams without DF");
    let server = socket(&lab.server, SocketAddr::from((SERVER, PORT)));
    let client = socket(&lab.client, "0.0.0.0:0".parse().expect("an address"));
    server.set_read_timeout(Some(Duration::from_millis(500))).expect("a time limit");
    let (done, sent_all) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            let (mut buffer, mut seen) = (vec![0; 4096], Vec::new());
            loop {
                match server.recv(&mut buffer) {
                    Ok(len) if len >= 4 => seen.push(u32::from_be_bytes(buffer[..4].try_into().expect("four bytes"))),
                    Ok(_) => {}
                    Err(_) if sent_all.load(Ordering::Acquire) => return seen,
                    Err(_) => {}
                }
            }
        });
        let sender = scope.spawn(|| {
            let to: SocketAddr = format!("{SERVER_SEEN}:{PORT}").parse().expect("an address");
            let (mut due, mut number) = (Instant::now(), 0_u32);
            while !done.load(Ordering::Acquire) {
                let size = if number.is_multiple_of(LARGE) { 2000 } else { 64 };
                let mut datagram = vec![0; size];
                datagram[..4].copy_from_slice(&number.to_be_bytes());
                client.send_to(&datagram, to).expect("sending");
                number += 1;
                let now = Instant::now();
                // More than a little lateness would be caught up with by a burst that overruns a veth's queue.
                due = (due + Duration::from_secs(1) / RATE).max(now.checked_sub(MOST_LATE).unwrap_or(now));
                thread::sleep(due.saturating_duration_since(now));
            }
            number
        });
        // The first packets find the way.
        thread::sleep(Duration::from_millis(300));
        // One that fails ends the stream too, or it would be waited for for ever.
        let acted = catch_unwind(AssertUnwindSafe(action));
        thread::sleep(Duration::from_millis(300));
        done.store(true, Ordering::Release);
        let sent = sender.join().expect("the sender");
        thread::sleep(Duration::from_millis(300));
        sent_all.store(true, Ordering::Release);
        let mut seen = receiver.join().expect("the receiver");
        acted.unwrap_or_else(|panic| resume_unwind(panic));
        seen.sort_unstable();
        let lost = (0..sent).filter(|number| seen.binary_search(number).is_err()).collect();
        Stream { sent, lost }
    })
}

fn socket(machine: &Namespace, address: SocketAddr) -> UdpSocket {
    let socket = machine.inside(|| UdpSocket::bind(address)).expect("a socket");
    nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::RcvBufForce, &(16 << 20)).expect("a large buffer");
    socket
}

fn expect_no_loss(stream: &Stream) {
    assert!(stream.sent > 500, "only {} datagrams were sent", stream.sent);
    assert!(stream.lost.is_empty(), "of {} datagrams {} were lost: {:?}", stream.sent, stream.lost.len(), stream.lost);
}

fn warmed(lab: &Lab) {
    assert!(lab.client.run(&format!("ping -n -c 2 -i 0.2 -W 2 {SERVER_SEEN}")).success, "the lab works");
}

#[test]
fn a_killed_daemon_costs_no_packet() {
    let (lab, mut daemon) = Lab::with_daemon().expect("a lab with a daemon");
    warmed(&lab);
    let stream = stream(&lab, || {
        for _ in 0..5 {
            daemon.kill().expect("a daemon to kill");
            thread::sleep(Duration::from_millis(200));
            daemon.start_again(&lab.relay, &[]).expect("the next daemon");
            assert!(daemon.log().contains("a program instance of before is attached"), "{}", daemon.log());
        }
    });
    expect_no_loss(&stream);
}

#[test]
fn a_restart_costs_no_packet_and_keeps_the_counts() {
    let (lab, mut daemon) = Lab::with_daemon().expect("a lab with a daemon");
    warmed(&lab);
    let stream = stream(&lab, || {
        daemon.stop_by(Signal::SIGUSR1).expect("a clean end");
        assert!(daemon.log().contains("packets go on being translated"), "{}", daemon.log());
        thread::sleep(Duration::from_millis(500));
        daemon.start_again(&lab.relay, &[]).expect("the next daemon");
    });
    expect_no_loss(&stream);
    let counted = translated(&lab, &daemon);
    assert!(counted >= u64::from(stream.sent), "{counted} of {} datagrams are counted", stream.sent);
}

/// Killed between taking the counts over and removing the instance that they are of.
#[test]
fn a_daemon_killed_while_it_takes_over_counts_each_packet_once() {
    let (lab, mut daemon) = Lab::with_daemon().expect("a lab with a daemon");
    warmed(&lab);
    let stream = stream(&lab, || {});
    let before = translated(&lab, &daemon);
    assert!(before >= u64::from(stream.sent), "{before} of {} datagrams are counted", stream.sent);
    daemon.kill().expect("a daemon to kill");
    for _ in 0..2 {
        let started = daemon.start_again(&lab.relay, &[("XLAT_CRASH_AT", "counted")]);
        assert!(started.is_err(), "it was not killed: {}", daemon.log());
    }
    daemon.start_again(&lab.relay, &[]).expect("the next daemon");
    assert_eq!(translated(&lab, &daemon), before);
    daemon.ctl(&lab.relay, "reload").ok();
    assert_eq!(translated(&lab, &daemon), before);
}

/// UDP packets from IPv4 that were translated.
fn translated(lab: &Lab, daemon: &Daemon) -> u64 {
    let stats: serde_json::Value = serde_json::from_str(&daemon.ctl(&lab.relay, "stats --json").ok()).expect("JSON");
    let cells = stats["traffic"].as_array().expect("a list");
    let is_udp = |cell: &&serde_json::Value| cell["direction"] == "four_to_six" && cell["protocol"] == "udp";
    let is_sent = |cell: &&serde_json::Value| {
        ["transmitted", "redirected", "to_kernel", "fragmented"].contains(&cell["verdict"].as_str().unwrap_or_default())
    };
    cells.iter().filter(is_udp).filter(is_sent).filter_map(|cell| cell["packets"].as_u64()).sum()
}

#[test]
fn a_reload_costs_no_packet_and_takes_the_new_file() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    warmed(&lab);
    let path = daemon.configuration();
    let text = std::fs::read_to_string(&path).expect("the configuration");
    let with_more = format!("{text}\n[[eam]]\nipv4 = \"198.51.100.20\"\nipv6 = \"2001:db8:5e1:1::20\"\n");
    lab.server.ip("addr add 2001:db8:5e1:1::20/64 dev eth0 nodad").expect("an address");
    let ping = || lab.client.run("ping -n -c 1 -W 2 198.51.100.20").success;
    assert!(!ping(), "the service is not there yet");
    let stream = stream(&lab, || {
        for round in 0..5 {
            std::fs::write(&path, if round % 2 == 0 { &with_more } else { &text }).expect("the configuration");
            daemon.ctl(&lab.relay, "reload").ok();
            assert_eq!(ping(), round % 2 == 0, "round {round}");
        }
    });
    expect_no_loss(&stream);
    let dynamic = "eam add 198.51.100.21 2001:db8:5e1:1::21";
    daemon.ctl(&lab.relay, dynamic).ok();
    daemon.ctl(&lab.relay, "reload").ok();
    assert!(
        daemon.ctl(&lab.relay, "eam list").ok().contains("198.51.100.21"),
        "a reload keeps what was added by command"
    );
}

/// Where mounts are not allowed the fragmenter's namespace is handed from instance to instance; at the end nothing of it is left.
#[test]
fn a_reload_costs_no_packet_where_no_namespace_can_be_kept() {
    let (lab, mut daemon) = Lab::with_daemon().expect("a lab with a daemon");
    daemon.stop_by(Signal::SIGINT).expect("a clean end");
    let script = daemon.state().with_file_name("unable");
    let command = command_path().expect("the daemon runs from it");
    let text = format!(
        "#!/bin/sh\nexec unshare --mount sh -c 'mount -t tmpfs -o ro none /run/netns && exec {} \"$@\"' sh \"$@\"\n",
        command.display()
    );
    std::fs::write(&script, text).expect("a script");
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a script");
    daemon.start_other(&lab.relay, &script).expect("it starts");
    assert!(daemon.log().contains("the fragmenter will not outlive the daemon"), "{}", daemon.log());
    warmed(&lab);
    let stream = stream(&lab, || {
        for _ in 0..3 {
            daemon.ctl(&lab.relay, "reload").ok();
        }
        daemon.ctl(&lab.relay, "eam add 198.51.100.20 2001:db8:5e1:1::20").ok();
    });
    expect_no_loss(&stream);
    daemon.stop_by(Signal::SIGTERM).expect("a clean end");
    let interfaces = lab.relay.run("ip -brief link").ok();
    assert!(!interfaces.contains("xlat0"), "{interfaces}");
    assert!(!lab.relay.run("ip -6 rule").ok().contains("2001:db8:6464::/96"));
}

/// Somebody may remove what keeps the fragmenter's namespace (`ip -all netns delete`): a reload keeps it again.
#[test]
fn a_reload_keeps_a_namespace_again_that_somebody_has_removed() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    warmed(&lab);
    let name = daemon.pins().file_name().expect("a name").to_string_lossy().into_owned() + "-fragmenter";
    lab.relay.run(&format!("ip netns delete {name}")).ok();
    let stream = stream(&lab, || {
        daemon.ctl(&lab.relay, "reload").ok();
    });
    expect_no_loss(&stream);
    assert!(lab.relay.run("ip netns list").ok().contains(&name));
}

#[test]
fn a_reload_of_a_wrong_file_changes_nothing() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let path = daemon.configuration();
    let text = std::fs::read_to_string(&path).expect("the configuration");
    for (wrong, part) in [
        (text.replace("[translation]", "[translation]\nhairpin = \"sometimes\""), "sometimes"),
        (text.replace("127.0.0.1:9464", "127.0.0.1:9465"), "metrics.listen"),
    ] {
        std::fs::write(&path, wrong).expect("the configuration");
        let said = daemon.ctl(&lab.relay, "reload");
        assert_eq!(said.code, Some(1));
        assert!(said.stderr.contains(part) && said.stderr.contains("nothing is changed"), "{}", said.stderr);
    }
    warmed(&lab);
}

/// A new instance that lacks an entry is found out by a packet, and never gets real ones.
#[cfg(debug_assertions)]
#[test]
fn a_new_instance_that_fails_its_trial_is_not_attached() {
    let (lab, mut daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let file = daemon.configuration().with_file_name("spoil");
    daemon.kill().expect("a daemon to kill");
    daemon.start_again(&lab.relay, &[("XLAT_SPOIL", file.to_str().expect("UTF-8"))]).expect("it starts");
    warmed(&lab);
    let running = || lab.relay.run("bpftool -j net show dev inet4").ok();
    let before = running();
    std::fs::write(&file, format!("{SERVER_SEEN}/32")).expect("written");
    let sent = stream(&lab, || {
        let said = daemon.ctl(&lab.relay, "reload");
        assert!(!said.success, "{}", said.stdout);
        for words in ["fails its trial and is not attached", SERVER_SEEN, &SERVER.to_string()] {
            assert!(said.stderr.contains(words), "`{words}` is missing: {}", said.stderr);
        }
    });
    expect_no_loss(&sent);
    assert_eq!(running(), before, "another program runs");
    std::fs::remove_file(&file).expect("removed");
    daemon.ctl(&lab.relay, "reload").ok();
    assert_ne!(running(), before, "the new instance does not run");
}

#[test]
fn detach_removes_what_a_killed_daemon_left() {
    let (lab, mut daemon) = Lab::with_daemon().expect("a lab with a daemon");
    warmed(&lab);
    let detach = format!("detach --config {}", daemon.configuration().display());
    let said = daemon.ctl(&lab.relay, &detach);
    assert_eq!(said.code, Some(1), "{}", said.stdout);
    assert!(said.stderr.contains("another daemon uses"), "{}", said.stderr);
    daemon.kill().expect("a daemon to kill");
    warmed(&lab);
    daemon.ctl(&lab.relay, &detach).ok();
    assert!(!lab.client.run(&format!("ping -n -c 1 -W 1 {SERVER_SEEN}")).success, "packets are still translated");
    assert!(!daemon.pins().exists(), "the pins are still there");
    let links = lab.relay.ip("-details link show").expect("the links");
    assert!(!links.contains("xlat0") && !links.contains("prog/xdp"), "{links}");
    assert!(!lab.relay.ip("-6 rule show").expect("the rules").contains("icmp"), "a rule is left");
    assert!(daemon.ctl(&lab.relay, &detach).ok().contains("nothing is attached"));
}

#[test]
fn detach_in_another_namespace_tells_what_may_be_left() {
    let (lab, mut daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let rules = || lab.relay.ip("-6 rule show").expect("the rules");
    let detach = format!("detach --config {}", daemon.configuration().display());
    daemon.kill().expect("a daemon to kill");
    assert!(rules().contains("icmp"), "{}", rules());
    let said = daemon.ctl(&lab.client, &detach);
    assert_eq!((said.code, &*said.stdout), (Some(1), ""), "{}", said.stderr);
    assert!(said.stderr.contains("is in another network namespace than this command"), "{}", said.stderr);
    // What is told to be detached is.
    assert!(!daemon.pins().exists(), "the pins are still there");
    let links = lab.relay.ip("-details link show").expect("the links");
    assert!(!links.contains("xlat0") && !links.contains("prog/xdp"), "{links}");
    // And what is told to remove the rest does.
    let command = said.stderr.split('`').find(|part| part.starts_with("ip -6 rule del")).expect("a command");
    lab.relay.run(command).ok();
    assert!(!rules().contains("icmp"), "a rule is left: {}", rules());
    assert!(daemon.ctl(&lab.relay, &detach).ok().contains("nothing is attached"));
}

#[test]
fn the_relay_itself_reaches_hosts_behind_another_relay() {
    // What the relay sends into the prefix is no error: it goes where its routes lead.
    let (lab, _daemon) = Lab::with_daemon().expect("a lab with a daemon");
    lab.router6.ip("addr add 2001:db8:6464::c612:6363/128 dev lo nodad").expect("a host in the prefix");
    lab.relay.ip("route add 2001:db8:6464::c612:6363/128 via 2001:db8:fe::2").expect("a route");
    lab.relay.run("ping -n -c 2 -i 0.2 -W 2 2001:db8:6464::c612:6363").ok();
}

#[test]
fn a_program_that_somebody_takes_away_is_noticed() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let ifindex = lab.relay.inside(|| nix::net::if_::if_nametoindex("inet4")).expect("an interface");
    let pin = daemon.pins().join(format!("links/{ifindex}"));
    let link = lab.relay.run(&format!("bpftool -j link show pinned {}", pin.display())).ok();
    let link: serde_json::Value = serde_json::from_str(&link).expect("bpftool speaks JSON");
    lab.relay.run(&format!("bpftool link detach id {}", link["id"])).ok();
    let is_noticed = || daemon.log().contains("somebody has taken the program from inet4");
    assert!(is_within(Duration::from_secs(10), is_noticed), "nobody notices:\n{}", daemon.log());
    thread::sleep(Duration::from_millis(300));
    // The place is free: the daemon takes it again.
    daemon.ctl(&lab.relay, "status").ok();
    warmed(&lab);
}

/// A cleaning job, say, that takes what it does not know.
#[test]
fn links_that_somebody_has_unpinned_cost_no_packet() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    warmed(&lab);
    let links = daemon.pins().join("links");
    let stream = stream(&lab, || {
        std::fs::remove_dir_all(&links).expect("they can be removed");
        daemon.ctl(&lab.relay, "reload").ok();
        let one = std::fs::read_dir(&links).expect("links again").next().expect("a link").expect("a name").path();
        std::fs::remove_file(one).expect("it can be removed");
        daemon.ctl(&lab.relay, "reload").ok();
    });
    expect_no_loss(&stream);
    assert!(daemon.log().contains("it is pinned again") && !daemon.log().contains("ERROR"), "{}", daemon.log());
}

/// A daemon that is to fail, by hand, as [`Daemon`] would clean up after it. Gives what it says.
fn start_that_fails(lab: &Lab, directory: &Path, name: &str) -> String {
    let (state, configuration) = (directory.join("state"), directory.join("xlat.toml"));
    let pins = format!("[dataplane]\npin_directory = \"/sys/fs/bpf/{name}\"");
    let text = Lab::configuration()
        .replace("STATE", &state.to_string_lossy())
        .replace("SOCKET", &directory.join("xlat.sock").to_string_lossy())
        .replace("[dataplane]", &pins);
    std::fs::write(&configuration, text).expect("the configuration");
    let binary = command_path().expect("the command");
    // One that starts after all is ended.
    let said = lab.relay.run(&format!("timeout 20 {} run --config {}", binary.display(), configuration.display()));
    assert!(!said.success, "{}", said.stderr);
    said.stderr
}

#[test]
fn a_namespace_of_somebody_else_is_left_alone() {
    let lab = Lab::new().expect("a lab");
    let directory = tempfile::tempdir().expect("a directory");
    let name = format!("xlat-test-{}-others", std::process::id());
    let namespace = format!("{name}-fragmenter");
    lab.relay.ip(&format!("netns add {namespace}")).expect("a namespace");
    let made = lab.relay.ip(&format!("link add here type veth peer name theirs netns {namespace}"));
    let made = made.and_then(|_| lab.relay.ip(&format!("-n {namespace} link set theirs up")));
    std::fs::create_dir(directory.path().join("state")).expect("a directory");
    let said = start_that_fails(&lab, directory.path(), &name);
    let there = lab.relay.ip(&format!("-n {namespace} -o link show"));
    let _ = xlat_ctl::dataplane::remove_pinned(Path::new(&format!("/sys/fs/bpf/{name}")));
    let there = there.and_then(|before| Ok(before + &lab.relay.ip(&format!("-n {namespace} -o link show"))?));
    let _ = lab.relay.ip(&format!("netns del {namespace}"));
    made.expect("somebody's interface");
    assert!(said.contains(&format!("{namespace} has the interface theirs")), "{said}");
    let there = there.expect("the namespace is still there");
    assert!(there.contains("theirs") && !there.contains("far"), "{there}");
}

#[test]
fn a_start_that_fails_leaves_nothing_behind() {
    let lab = Lab::new().expect("a lab");
    let directory = tempfile::tempdir().expect("a directory");
    let name = format!("xlat-test-{}-failed", std::process::id());
    let state = directory.path().join("state");
    std::fs::create_dir(&state).expect("a directory");
    std::fs::write(state.join("eam.db"), "this is no store").expect("a file");
    let said = start_that_fails(&lab, directory.path(), &name);
    assert!(said.contains("eam.db"), "{said}");
    let left: Vec<String> = [format!("/sys/fs/bpf/{name}"), format!("/run/netns/{name}-fragmenter")]
        .into_iter()
        .filter(|path| Path::new(path).exists())
        .collect();
    let links = lab.relay.ip("-o link show").expect("links");
    let _ = xlat_ctl::dataplane::remove_pinned(Path::new(&format!("/sys/fs/bpf/{name}")));
    assert!(left.is_empty() && !links.contains("xlat0"), "left behind: {left:?}\n{links}");
}

#[test]
fn captures_that_begin_and_end_cost_no_packet() {
    let (lab, mut daemon) = Lab::with_daemon().expect("a lab with a daemon");
    warmed(&lab);
    let capture = |arguments: &str| daemon.ctl(&lab.relay, &format!("capture {arguments}"));
    let first = stream(&lab, || {
        for _ in 0..5 {
            let said = capture("--host 198.51.100.10 --count 100");
            assert!(said.success && said.stderr.contains("100 packets captured"), "{}", said.stderr);
        }
        // One goes on over a reload.
        thread::scope(|scope| {
            let capturing = scope.spawn(|| capture("--in inet4 --duration 4"));
            thread::sleep(Duration::from_secs(1));
            daemon.ctl(&lab.relay, "reload").ok();
            let said = capturing.join().expect("a capture");
            assert!(said.success && said.stderr.contains("it has lasted 4 seconds"), "{}", said.stderr);
        });
    });
    expect_no_loss(&first);
    let counted = translated(&lab, &daemon);
    assert!(counted >= u64::from(first.sent), "{counted} of {} datagrams are counted", first.sent);

    // A daemon that is killed while a capture runs.
    let directory = daemon.directory().to_owned();
    let socket = daemon.socket().to_string_lossy().into_owned();
    let command = command_path().expect("the daemon runs from it").to_string_lossy().into_owned();
    let log = directory.join("capture");
    let second = stream(&lab, || {
        let _capturing =
            lab.relay.start(&command, &["--socket", &socket, "capture"], &log).expect("a capture in the background");
        let said = || std::fs::read_to_string(&log).expect("what the capture said");
        assert!(is_within(Duration::from_secs(20), || said().contains("IP 203.0.113.7")), "{}", said());
        daemon.kill().expect("a daemon to kill");
        thread::sleep(Duration::from_millis(500));
        daemon.start_again(&lab.relay, &[]).expect("the next daemon");
    });
    expect_no_loss(&second);
}
