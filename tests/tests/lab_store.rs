//! The table of the real daemon over restarts, faults and many hands.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::{
        fs::{FileExt, MetadataExt, chown},
        net::UnixStream,
    },
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use xlat_tests::lab::{Daemon, Lab, Namespace, Said};

/// Clients that stall at a time: more than the control socket's server has room for (256).
const STALLED: usize = 300;
/// Of them, those that do not read the table they asked for: more than it is copied for (4).
const READING: usize = 12;

/// The relay with its daemon.
struct Relay {
    // In this order they go.
    daemon: Daemon,
    lab: Lab,
}

impl Relay {
    fn new() -> Self {
        let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
        Self { daemon, lab }
    }

    fn ctl(&self, arguments: &str) -> Said {
        self.daemon.ctl(&self.lab.relay, arguments)
    }

    fn ok(&self, arguments: &str) -> String {
        self.ctl(arguments).ok()
    }

    /// What the command says when it refuses.
    #[track_caller]
    fn refused(&self, arguments: &str) -> String {
        let said = self.ctl(arguments);
        assert_eq!(said.code, Some(1), "`{arguments}`: {}{}", said.stdout, said.stderr);
        said.stderr
    }

    fn json(&self, arguments: &str) -> Value {
        let text = self.ok(&format!("{arguments} --json"));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("no JSON ({error}):\n{text}"))
    }

    fn revision(&self) -> u64 {
        self.json("eam list")["revision"].as_u64().expect("a revision")
    }

    fn table(&self) -> String {
        self.ok("eam export")
    }

    fn kill_and_start(&mut self) {
        self.daemon.kill().expect("it can be killed");
        self.daemon.start_again(&self.lab.relay, &[]).expect("it starts again");
    }

    /// A file beside the daemon.
    fn file(&self, name: &str, text: &str) -> String {
        let path = self.daemon.directory().join(name);
        fs::write(&path, text).expect("a file");
        path.display().to_string()
    }
}

const ADD: &str = "eam add 198.51.100.20 2001:db8:5e1:1::20 --comment new --message reason";

#[test]
fn acknowledged_entries_survive_a_kill_and_a_restart() {
    let mut relay = Relay::new();
    relay.lab.server.ip("addr add 2001:db8:5e1:1::20/64 dev eth0 nodad").expect("an address");
    relay.ok(ADD);
    relay.kill_and_start();
    assert!(relay.table().contains("198.51.100.20/32,2001:db8:5e1:1::20/128,new,dynamic"), "{}", relay.table());
    relay.lab.client.run("ping -n -c 1 -W 2 198.51.100.20").ok();
    relay.ok("eam del 198.51.100.20");
    relay.daemon.stop().expect("a clean end");
    relay.daemon.start_again(&relay.lab.relay, &[]).expect("it starts again");
    assert!(!relay.table().contains("198.51.100.20"), "{}", relay.table());
    assert_eq!(relay.revision(), 2);
}

#[test]
fn every_change_has_a_revision_an_author_and_a_message() {
    let relay = Relay::new();
    relay.ok(ADD);
    relay.ok("eam add 198.51.100.21 2001:db8:5e1:1::21");
    relay.ok("eam del 198.51.100.20 --message gone");
    let history = relay.json("eam history");
    let revisions = history["revisions"].as_array().expect("a list");
    let told: Vec<(u64, &str, &str, &str)> = revisions
        .iter()
        .map(|one| {
            let word = |key: &str| one[key].as_str().expect("a word");
            let user = one["author"]["user"].as_str().expect("a name");
            (one["revision"].as_u64().expect("a number"), word("verb"), word("message"), user)
        })
        .collect();
    assert_eq!(
        told,
        [(3, "del", "gone", "root"), (2, "add", "", "root"), (1, "add", "reason", "root"), (0, "create", "", "")]
    );
    let of_one = relay.json("eam history --entry 2001:db8:5e1:1::20");
    assert_eq!(of_one["revisions"].as_array().map(Vec::len), Some(2), "{of_one}");
    let shown = relay.ok("eam show 3");
    assert!(shown.contains("- 198.51.100.20 ↔ 2001:db8:5e1:1::20  “new”"), "{shown}");
    assert!(relay.refused("eam show 9").contains("the history has no such revision"));
    assert!(relay.ok("eam list").contains("revision 3"), "{}", relay.ok("eam list"));
}

#[test]
fn a_rollback_makes_the_table_what_it_was() {
    let mut relay = Relay::new();
    relay.ok(ADD);
    relay.ok("eam add 198.51.100.21 2001:db8:5e1:1::21");
    let wanted = relay.table();
    let file = relay.file("other.csv", "198.51.100.21,2001:db8:5e1:1::21,changed\n198.51.100.22,2001:db8:5e1:1::22\n");
    relay.ok(&format!("eam apply {file}"));
    assert_ne!(relay.table(), wanted);
    let dry = relay.ok("eam rollback 2 --dry-run");
    assert!(
        dry.contains("+ 198.51.100.20") && dry.contains("- 198.51.100.22") && dry.contains("~ 198.51.100.21"),
        "{dry}"
    );
    assert_eq!(relay.revision(), 3);
    relay.ok("eam rollback 2");
    assert_eq!((relay.table(), relay.revision()), (wanted.clone(), 4));
    relay.kill_and_start();
    assert_eq!(relay.table(), wanted);
    relay.ok("eam rollback 0");
    assert!(!relay.table().contains("dynamic"), "{}", relay.table());
    assert!(relay.refused("eam rollback 77").contains("the history goes from revision 0 to 5"));
}

#[test]
fn a_change_can_be_bound_to_a_revision() {
    let relay = Relay::new();
    relay.ok(&format!("{ADD} --if-revision 0"));
    let file = relay.file("empty.csv", "ipv4,ipv6\n");
    let stale = "the table is at revision 1, not 0: nothing is changed";
    for change in [
        "eam add 198.51.100.21 2001:db8:5e1:1::21 --if-revision 0",
        "eam del 198.51.100.20 --if-revision 0",
        &format!("eam apply {file} --if-revision 0"),
        "eam rollback 0 --if-revision 0",
    ] {
        let said = relay.refused(change);
        assert!(said.contains(stale), "{change}: {said}");
    }
    assert_eq!(relay.revision(), 1);
}

#[test]
fn static_entries_that_a_reload_changes_are_in_the_history() {
    let mut relay = Relay::new();
    let path = relay.daemon.configuration();
    let text = fs::read_to_string(&path).expect("the configuration");
    let entry = "\n[[eam]]\nipv4 = \"198.51.100.30\"\nipv6 = \"2001:db8:5e1:1::30\"\n";
    fs::write(&path, text.clone() + entry).expect("another entry");
    relay.ok("reload");
    assert!(relay.refused(&format!("{ADD} --if-revision 0")).contains("the table is at revision 1, not 0"));
    let shown = relay.ok("eam show 1");
    assert!(shown.contains(" reload ") && shown.contains("root (pid "), "{shown}");
    assert!(shown.contains("+ 198.51.100.30 ↔ 2001:db8:5e1:1::30  (static)"), "{shown}");
    relay.ok("reload");
    relay.ok(ADD);
    relay.daemon.stop().expect("a clean end");
    fs::write(&path, text).expect("the entries of before");
    relay.daemon.start_again(&relay.lab.relay, &[]).expect("it starts again");
    let shown = relay.json("eam show 3");
    assert_eq!((&shown["verb"], &shown["changes"][0]["origin"]), (&"start".into(), &"static".into()), "{shown}");
    let of_one = relay.json("eam history --entry 198.51.100.30");
    assert_eq!(of_one["revisions"].as_array().map(Vec::len), Some(2), "{of_one}");
    // A rollback is of what commands have changed.
    relay.ok("eam rollback 1");
    let table = relay.table();
    assert!(!table.contains("198.51.100.30") && !table.contains("198.51.100.20"), "{table}");
}

#[test]
fn an_entry_that_is_static_too_follows_files_and_rollbacks() {
    let mut relay = Relay::new();
    relay.ok(ADD);
    let path = relay.daemon.configuration();
    let text = fs::read_to_string(&path).expect("the configuration");
    let entry = "\n[[eam]]\nipv4 = \"198.51.100.20\"\nipv6 = \"2001:db8:5e1:1::20\"\n";
    fs::write(&path, text.clone() + entry).expect("another entry");
    relay.ok("reload");
    assert!(relay.refused("eam del 198.51.100.20").contains("it was made by command, too"));
    let empty = relay.file("empty.csv", "ipv4,ipv6\n");
    let named = relay.file("named.csv", "198.51.100.20,2001:db8:5e1:1::20,new\n");
    assert!(relay.ok(&format!("eam apply {named}")).contains("0 added, 0 removed"));
    assert!(relay.ok(&format!("eam apply {empty}")).contains("- 198.51.100.20"));
    relay.kill_and_start();
    assert!(relay.table().contains("198.51.100.20/32,2001:db8:5e1:1::20/128,,static"), "{}", relay.table());
    assert!(relay.ok("eam rollback 1").contains("+ 198.51.100.20"));
    assert!(relay.ok(&format!("eam apply {empty}")).contains("- 198.51.100.20"));
    fs::write(&path, text).expect("the entries of before");
    relay.ok("reload");
    assert!(!relay.table().contains("198.51.100.20"), "{}", relay.table());
    relay.ok("eam rollback 1");
    assert!(relay.table().contains("198.51.100.20/32,2001:db8:5e1:1::20/128,new,dynamic"), "{}", relay.table());
}

#[test]
fn a_reload_is_refused_for_what_a_command_would_be_refused_for() {
    let mut relay = Relay::new();
    relay.ok(ADD);
    let path = relay.daemon.configuration();
    let text = fs::read_to_string(&path).expect("the configuration");
    let rows = relay.table().lines().count() - 1;
    let few = text.replace("[dataplane]", &format!("[dataplane]\nmax_eams = {}", rows - 1));
    let deny = text.clone() + "\n[deny]\nipv4 = [\"198.51.100.20/30\"]\n";
    let by_name = "(delete it with `xlat-ctl eam del 198.51.100.20`)";
    let too_many = format!("{rows} entries are too many for dataplane.max_eams = {}", rows - 1);
    for (changed, words) in [(&few, too_many.as_str()), (&deny, by_name)] {
        fs::write(&path, changed).expect("the configuration");
        let said = relay.refused("reload");
        assert!(said.contains(words) && said.contains("nothing is changed"), "{said}");
    }
    // A relay that was stopped meanwhile starts with it, and says so.
    relay.daemon.stop().expect("a clean end");
    relay.daemon.start_again(&relay.lab.relay, &[]).expect("it starts again");
    let log = relay.daemon.log();
    assert!(log.contains("is in the deny list (delete it with"), "{log}");
    relay.ok("reload");
    relay.ok("eam del 198.51.100.20");
}

#[test]
fn what_is_exported_can_be_applied_in_every_format() {
    let relay = Relay::new();
    relay.ok(ADD);
    relay.ok("eam add 192.0.2.16/28 2001:db8:5e1:2::/124");
    let wanted = relay.table();
    for format in ["csv", "json", "toml"] {
        let file = relay.file(format, &relay.ok(&format!("eam export --format {format}")));
        let same = relay.json(&format!("eam apply {file}"));
        assert_eq!(
            (&same["unchanged"], &same["static_lines"], &same["revision"]),
            (&2.into(), &2.into(), &relay.revision().into())
        );
        relay.ok("eam rollback 0");
        let back = relay.json(&format!("eam apply {file} --format {format} --message back"));
        assert_eq!((&back["added"], &back["changes"][0]["kind"]), (&2.into(), &"+".into()));
        assert_eq!(relay.table(), wanted, "{format}");
    }
    assert_eq!(relay.ok("eam export --json"), relay.ok("eam export --format json"));
    let list = relay.file("list.json", &relay.ok("eam list --json"));
    assert_eq!(relay.json(&format!("eam apply {list}"))["unchanged"], 2);
}

#[test]
fn a_bad_line_refuses_the_whole_file() {
    let relay = Relay::new();
    relay.ok(ADD);
    let (before, revision) = (relay.ok("eam list --json"), relay.revision());
    let good = "192.0.2.1,2001:db8:1::1\n";
    for (line, sentence) in [
        ("192.0.2.2,2001:db8:1::g", "line 2: `2001:db8:1::g` is not an IPv6 address"),
        ("192.0.2.1,2001:db8:1::2", "line 2: 192.0.2.1 ↔ 2001:db8:1::2: line 1 has the IPv4 prefix 192.0.2.1 already"),
        ("192.0.2.2,2001:db8:1::1", "line 2: 192.0.2.2 ↔ 2001:db8:1::1: line 1 has the IPv6 prefix 2001:db8:1::1 too"),
        ("198.51.100.10,2001:db8:1::2", "the static entry 198.51.100.10 ↔ 2001:db8:5e1:1::10"),
        ("192.0.2.2,2001:db8:5e1:1::10", "the static entry 198.51.100.10 ↔ 2001:db8:5e1:1::10"),
        ("192.0.2.2,2001:db8:6464::5", "line 2: 192.0.2.2 ↔ 2001:db8:6464::5 lies inside the translation prefix"),
        ("198.18.0.0/24,2001:db8:1:2::/64", "covers 198.18.0.2, the relay's own address on inet4"),
        ("192.0.2.2,2001:db8:fe::1", "covers 2001:db8:fe::1, the relay's own address on inet6"),
    ] {
        let file = relay.file("bad.csv", &format!("{good}{line}\n"));
        let said = relay.refused(&format!("eam apply {file}"));
        assert!(said.contains(sentence), "{line}: {said}");
        assert!(said.contains(&format!("eam apply {file}: ")), "{line}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    let empty = relay.file("empty.csv", "");
    assert!(relay.refused(&format!("eam apply {empty}")).contains("the file has no entries"));
    assert!(relay.refused("eam add 198.18.0.2 2001:db8:1::9").contains("the relay's own address on inet4"));
    assert_eq!((relay.ok("eam list --json"), relay.revision()), (before, revision));
}

#[test]
fn a_hundred_writers_lose_nothing() {
    let mut relay = Relay::new();
    let add = |number: u32| {
        let arguments = format!("eam add 192.0.{}.{} 2001:db8:77::{number:x}", 10 + number / 200, 1 + number % 200);
        let begin = Instant::now();
        // A client that finds 256 others waits; one that is refused because of it tries again.
        while !relay.ctl(&arguments).success {
            assert!(begin.elapsed() < Duration::from_secs(60), "{}", relay.ctl(&arguments).stderr);
        }
    };
    thread::scope(|scope| {
        for writer in 0..100 {
            scope.spawn(move || (0..3).for_each(|entry| add(writer * 3 + entry)));
        }
    });
    let table = relay.table();
    assert_eq!((table.lines().filter(|line| line.ends_with(",dynamic")).count(), relay.revision()), (300, 300));
    let race = |number: u32| {
        let arguments = format!("eam add 192.0.99.{number} 2001:db8:99::{number:x} --if-revision 300");
        relay.ctl(&arguments).success
    };
    let race = &race;
    let winners = thread::scope(|scope| {
        let all: Vec<_> = (1..=20).map(|number| scope.spawn(move || race(number))).collect();
        all.into_iter().map(|one| one.join().expect("no panic")).filter(|won| *won).count()
    });
    assert_eq!((winners, relay.revision()), (1, 301));
    let before = relay.table();
    relay.kill_and_start();
    assert_eq!(relay.table(), before);
}

/// A change, and whether it is there after a daemon was killed at a point.
#[cfg(debug_assertions)]
#[test]
fn a_daemon_killed_at_any_step_leaves_the_table_of_the_store() {
    let mut relay = Relay::new();
    relay.lab.server.ip("addr add 2001:db8:5e1:1::20/64 dev eth0 nodad").expect("an address");
    relay.ok("eam add 198.51.100.30 2001:db8:5e1:1::30");
    let file = relay.file("new.csv", "ipv4,ipv6\n198.51.100.20,2001:db8:5e1:1::20\n198.51.100.31,2001:db8:5e1:1::31\n");
    let changes =
        [ADD.to_owned(), "eam del 198.51.100.20".to_owned(), format!("eam apply {file}"), "eam rollback 1".to_owned()];
    for change in changes {
        let (before, revision) = (relay.table(), relay.revision());
        for (point, kept) in
            [("begun", false), ("written", false), ("in-force", false), ("committed", true), ("acknowledged", true)]
        {
            if kept && relay.table() != before {
                relay.ok(&format!("eam rollback {revision}"));
            }
            let revision = relay.revision();
            relay.daemon.stop().expect("a clean end");
            relay.daemon.start_again(&relay.lab.relay, &[("XLAT_CRASH_AT", point)]).expect("it starts");
            let said = relay.ctl(&change);
            assert!(!said.success, "{change} at {point}: acknowledged by a dead daemon");
            // The difference is printed before anything of the change is begun.
            let is_shown = !change.contains("apply") || said.stdout.contains("+ 198.51.100.20");
            assert!(is_shown, "{change} at {point}: {}{}", said.stdout, said.stderr);
            relay.daemon.wait_for_end().expect("it was killed");
            relay.daemon.start_again(&relay.lab.relay, &[]).expect("it starts after the kill");
            assert_eq!(relay.table() != before, kept, "{change} at {point}: {}", relay.daemon.log());
            assert_eq!(relay.revision(), revision + u64::from(kept), "{change} at {point}");
            let there = relay.table().contains("198.51.100.20/");
            let ping = relay.lab.client.run("ping -n -c 1 -W 1 198.51.100.20");
            assert_eq!(ping.success, there, "{change} at {point}: the data plane's table is another than the store's");
        }
    }
}

/// A file system of its own for a state directory.
struct Mounted(PathBuf);

impl Mounted {
    fn new(directory: &Path, size: &str) -> Self {
        fs::create_dir_all(directory).expect("a directory");
        let this = Self(directory.to_owned());
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(directory));
        this
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn run(command: &mut Command) {
    assert!(command.status().expect("it starts").success(), "{command:?}");
}

fn with_state(directory: &Path) -> String {
    Lab::configuration().replace("STATE", &directory.display().to_string())
}

/// What a daemon says that does not start.
fn refusal(relay: &Namespace, directory: &Path) -> String {
    match Daemon::start(relay, &with_state(directory)) {
        Ok(_) => panic!("it started"),
        Err(error) => format!("{error:#}"),
    }
}

#[test]
fn a_full_disk_refuses_changes_and_keeps_the_table() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path().join("state");
    let mounted = Mounted::new(&place, "1m");
    let lab = Lab::new().expect("a lab");
    let daemon = Daemon::start(&lab.relay, &with_state(&place)).expect("a daemon");
    let mut relay = Relay { daemon, lab };
    relay.ok(ADD);
    let ballast = place.join("ballast");
    // As much as fits.
    let _ = fs::write(&ballast, vec![0; 2 << 20]);
    let before = relay.ok("eam list --json");
    let many: String =
        (0..2000).map(|number| format!("10.0.{}.{},2001:db8:1::{number:x}\n", number / 250, number % 250)).collect();
    let file = relay.file("many.csv", &many);
    let said = relay.refused(&format!("eam apply {file}"));
    assert!(said.contains("the change cannot be kept: ") && said.contains("the disk is full"), "{said}");
    assert_eq!(relay.ok("eam list --json"), before);
    let mut refusals = 0;
    for number in 0..200 {
        refusals += u32::from(!relay.ctl(&format!("eam add 192.0.2.{number} 2001:db8:2::{number:x}")).success);
        if refusals > 3 {
            break;
        }
    }
    assert!(refusals > 3, "a full disk takes two hundred entries");
    let acknowledged = relay.table();
    fs::remove_file(ballast).expect("the ballast");
    relay.ok("eam add 203.0.113.77 2001:db8:3::1");
    relay.ok("eam del 203.0.113.77");
    relay.kill_and_start();
    assert_eq!(relay.table(), acknowledged);
    drop(relay);
    drop(mounted);
}

#[test]
fn a_read_only_or_missing_directory_is_told_of() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path().join("state");
    let mounted = Mounted::new(&place, "1m");
    run(Command::new("mount").args(["-o", "remount,ro"]).arg(&place));
    let lab = Lab::new().expect("a lab");
    let said = refusal(&lab.relay, &place);
    assert!(said.contains("Read-only file system"), "{said}");
    drop(mounted);
    let said = refusal(&lab.relay, &directory.path().join("not/there"));
    assert!(said.contains("cannot make ") && said.contains("not/there: No such file or directory"), "{said}");
}

#[test]
fn a_second_daemon_does_not_get_the_state_directory() {
    let relay = Relay::new();
    let said = refusal(&relay.lab.router4, &relay.daemon.state());
    assert!(said.contains("belongs to another daemon (pid "), "{said}");
    relay.ok(ADD);
}

/// A daemon with 500 entries that was stopped, and a spoiler of its database.
fn spoilt(spoil: impl FnOnce(&Path)) -> (Relay, String) {
    let mut relay = Relay::new();
    let many: String =
        (0..500).map(|number| format!("10.0.{}.{},2001:db8:1::{number:x},c\n", number / 250, number % 250)).collect();
    let file = relay.file("many.csv", &many);
    relay.ok(&format!("eam apply {file}"));
    let table = relay.table();
    // The daemon copies a good store when it starts.
    relay.kill_and_start();
    let backup = relay.daemon.state().join("eam.backup.db");
    let begin = Instant::now();
    while !relay.daemon.log().contains("is a verified copy of revision 1") {
        assert!(begin.elapsed() < Duration::from_secs(10), "no copy at {}:\n{}", backup.display(), relay.daemon.log());
        thread::sleep(Duration::from_millis(20));
    }
    relay.daemon.stop().expect("a clean end");
    spoil(&relay.daemon.state().join("eam.db"));
    (relay, table)
}

#[track_caller]
fn is_refused_and_restored(spoil: impl FnOnce(&Path)) {
    let (mut relay, table) = spoilt(spoil);
    assert!(relay.daemon.start_again(&relay.lab.relay, &[]).is_err(), "it started with a damaged store");
    let log = relay.daemon.log();
    assert!(
        log.contains("eam.db is damaged: ") && log.contains("revision 1 (500 entries): `xlat-ctl state restore`"),
        "{log}"
    );
    relay.ok(&format!("state restore --config {}", relay.daemon.configuration().display()));
    relay.daemon.start_again(&relay.lab.relay, &[]).expect("it starts with the copy");
    assert_eq!((relay.table(), relay.revision()), (table, 2));
}

#[test]
fn a_truncated_store_is_refused_and_the_copy_restored() {
    is_refused_and_restored(|path| {
        let file = OpenOptions::new().write(true).open(path).expect("the database");
        file.set_len(file.metadata().expect("its size").len() / 2).expect("a shorter file");
    });
}

#[test]
fn flipped_bits_are_found_and_the_copy_restored() {
    is_refused_and_restored(|path| {
        let bytes = fs::read(path).expect("the database");
        let address = b"2001:db8:1::1f3";
        let at = bytes.windows(address.len()).position(|part| part == address).expect("the entry is there as text");
        let file = OpenOptions::new().write(true).open(path).expect("the database");
        file.write_all_at(b"4", at as u64 + address.len() as u64 - 1).expect("a flipped bit");
    });
}

#[test]
fn a_missing_store_is_not_taken_for_an_empty_one() {
    is_refused_and_restored(|path| fs::remove_file(path).expect("the database"));
}

#[test]
fn a_restore_refuses_for_a_sound_store_and_tells_what_is_lost() {
    let (mut relay, table) = spoilt(|_| {});
    let backup = relay.daemon.state().join("eam.backup.db");
    let copy = fs::read(&backup).expect("the copy");
    relay.daemon.start_again(&relay.lab.relay, &[]).expect("it starts again");
    relay.ok(ADD);
    relay.ok("eam del 198.51.100.20");
    relay.ok(ADD);
    let latest = relay.table();
    relay.daemon.kill().expect("it can be killed");
    fs::write(&backup, copy).expect("the copy of before");
    let restore = format!("state restore --config {}", relay.daemon.configuration().display());
    let said = relay.refused(&restore);
    assert!(said.contains("is sound and has revision 4, the copy ") && said.contains("has revision 1: "), "{said}");
    // A daemon need not be root, whoever restores its store.
    chown(relay.daemon.state(), Some(65534), Some(65534)).expect("another owner");
    let said = relay.ok(&format!("{restore} --anyway"));
    for name in ["eam.db", "acknowledged", "lock"] {
        assert_eq!(fs::metadata(relay.daemon.state().join(name)).expect(name).uid(), 65534, "{name}");
    }
    assert!(said.contains("the store had acknowledged revision 4; revisions 2 to 4 are lost\n"), "{said}");
    assert!(said.contains("eam.db.damaged-5\n") && said.contains("eam.db.damaged-5-wal\n"), "{said}");
    relay.daemon.start_again(&relay.lab.relay, &[]).expect("it starts with the copy");
    assert_eq!((relay.table(), relay.revision()), (table, 5));
    relay.daemon.stop().expect("a clean end");
    let aside = relay.daemon.state().join("eam.db.damaged-5");
    relay.ok(&format!("{restore} --from {} --anyway", aside.display()));
    relay.daemon.start_again(&relay.lab.relay, &[]).expect("it starts with what was put aside");
    assert_eq!((relay.table(), relay.revision()), (latest, 6));
}

/// Who stalls makes room for others: more clients than are served at a time, who do not end their request, or do not read the
/// answer.
#[test]
fn clients_that_stall_do_not_keep_others_waiting() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let directory = tempfile::tempdir().expect("a directory");
    let table = directory.path().join("table.csv");
    let line =
        |number: u32| format!("{},2001:db8:77::{number:x}\n", std::net::Ipv4Addr::from_bits(0x1200_0000 + number));
    fs::write(&table, (0..10_000).map(line).collect::<String>()).expect("a file");
    let apply = format!("eam apply --yes --json {}", table.display());
    daemon.ctl(&lab.relay, &apply).ok();
    let stalled = |request: &str| {
        let mut stream = UnixStream::connect(daemon.socket()).expect("a connection");
        // One that has had to make room already is none the less one that stalls.
        let _ = stream.write_all(request.as_bytes());
        stream
    };
    let reading = "GET /v1/eam HTTP/1.1\r\nHost: xlat\r\n\r\n";
    let sending =
        ["PUT /v1/eam?dry_run=true HTTP/1.1\r\nHost: xlat\r\nContent-Length: 1000\r\n\r\n#", "GET /v1/stat", ""];
    for command in [&*apply, "eam export --format csv", "eam add 192.0.2.77 2001:db8::77", "status"] {
        let streams: Vec<UnixStream> = (0..STALLED)
            .map(|number| stalled(if number < READING { reading } else { sending[number % sending.len()] }))
            .collect();
        let begun = Instant::now();
        daemon.ctl(&lab.relay, command).ok();
        let took = begun.elapsed();
        // Less than the five seconds that any of them would have if nobody waited.
        assert!(took < Duration::from_secs(4), "`{command}` took {took:?}");
        drop(streams);
    }
}
