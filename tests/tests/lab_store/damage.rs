//! Disks that are full, and stores that are damaged, missing or in use.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::{FileExt, MetadataExt, chown},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use xlat_tests::lab::{Daemon, Lab, Namespace};

use super::{ADD, Relay};

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
    for lost in [2, 4] {
        let said = relay.refused(&format!("eam rollback {lost}"));
        assert!(said.contains("a restore has put an older revision in the place of this one, which is lost"), "{said}");
    }
    relay.daemon.stop().expect("a clean end");
    let aside = relay.daemon.state().join("eam.db.damaged-5");
    relay.ok(&format!("{restore} --from {} --anyway", aside.display()));
    relay.daemon.start_again(&relay.lab.relay, &[]).expect("it starts with what was put aside");
    assert_eq!((relay.table(), relay.revision()), (latest, 6));
}
