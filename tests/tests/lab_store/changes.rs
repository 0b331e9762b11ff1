//! Changes, their history, and what survives.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use super::{ADD, Relay};

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
fn a_table_that_is_too_large_takes_what_makes_it_smaller() {
    let mut relay = Relay::new();
    let lines: String = (20..30).map(|last| format!("198.51.100.{last},2001:db8:5e1:1::{last}\n")).collect();
    relay.ok(&format!("eam apply {}", relay.file("all.csv", &lines)));
    relay.daemon.stop().expect("a clean end");
    let path = relay.daemon.configuration();
    let text = fs::read_to_string(&path).expect("the configuration");
    fs::write(&path, text.replace("[dataplane]", "[dataplane]\nmax_eams = 5")).expect("the configuration");
    relay.daemon.start_again(&relay.lab.relay, &[]).expect("it starts again");
    assert!(relay.refused("eam add 198.51.100.50 2001:db8:5e1:1::50").contains("are too many"));
    let fewer: String = lines.lines().skip(1).map(|line| format!("{line},commented\n")).collect();
    let fewer = relay.file("fewer.csv", &fewer);
    assert!(relay.ok(&format!("eam apply {fewer} --dry-run")).contains("- 198.51.100.20"));
    assert!(relay.ok(&format!("eam apply {fewer}")).contains("0 added, 1 removed, 9 with another comment"));
    relay.ok("eam del 198.51.100.21");
}

/// Commands refuse such an entry; what the file has is not translated, and who reloads is told.
#[test]
fn a_reload_tells_of_a_static_entry_that_covers_an_own_address() {
    let relay = Relay::new();
    let path = relay.daemon.configuration();
    let text = fs::read_to_string(&path).expect("the configuration");
    let entry = "\n[[eam]]\nipv4 = \"198.18.0.2\"\nipv6 = \"2001:db8:5e1:1::31\"\n";
    fs::write(&path, text + entry).expect("another entry");
    let said = relay.daemon.ctl(&relay.lab.relay, "reload");
    let told = "198.18.0.2 ↔ 2001:db8:5e1:1::31 is not translated: 198.18.0.2 is the relay's own address on inet4";
    assert!(said.stderr.contains(told), "{said:?}");
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
