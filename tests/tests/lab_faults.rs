//! Faults of the machine around the daemon: it says what is wrong, and packets go on being translated.

use std::{fs, path::PathBuf, process::Command};

use xlat_tests::lab::{Daemon, Lab, SERVER_SEEN};

fn expect_service(lab: &Lab) {
    lab.client.run(&format!("ping -n -c 1 -W 2 {SERVER_SEEN}")).ok();
}

#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A disk of its own: a file system in a file.
struct Disk {
    place: PathBuf,
    device: String,
}

impl Disk {
    fn new(directory: &std::path::Path) -> Self {
        let (image, place) = (directory.join("image"), directory.join("disk"));
        fs::File::create(&image).and_then(|file| file.set_len(16 << 20)).expect("a file");
        fs::create_dir(&place).expect("a directory");
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image));
        let device = run(Command::new("losetup").args(["--find", "--show"]).arg(&image));
        let this = Self { place, device };
        run(Command::new("mount").args(["-t", "ext4", "-o", "errors=remount-ro", &this.device]).arg(&this.place));
        this
    }

    /// What a disk that fails does to its file system: it becomes read-only, whoever has files open.
    fn fail(&self) {
        let name = self.device.trim_start_matches("/dev/");
        fs::write(format!("/sys/fs/ext4/{name}/trigger_fs_error"), "an error for a test").expect("an error");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.place).status();
        let _ = Command::new("losetup").args(["--detach", &self.device]).status();
    }
}

#[test]
fn a_disk_that_becomes_read_only_refuses_changes_and_nothing_else() {
    let directory = tempfile::tempdir().expect("a directory");
    let disk = Disk::new(directory.path());
    let lab = Lab::new().expect("a lab");
    let state = disk.place.join("state").display().to_string();
    let mut daemon = Daemon::start(&lab.relay, &Lab::configuration().replace("STATE", &state)).expect("a daemon");
    daemon.ctl(&lab.relay, "eam add 198.51.100.20 2001:db8:5e1:1::20").ok();
    disk.fail();
    let said = daemon.ctl(&lab.relay, "eam add 198.51.100.21 2001:db8:5e1:1::21");
    assert!(said.code == Some(1) && said.stderr.contains("the change cannot be kept"), "{}", said.stderr);
    let list = daemon.ctl(&lab.relay, "eam list").ok();
    assert!(list.contains("198.51.100.20/") && !list.contains("198.51.100.21"), "{list}");
    let lookup = daemon.ctl(&lab.relay, "lookup 198.51.100.21").stdout;
    assert!(!lookup.contains("2001:db8:5e1:1::21"), "{lookup}");
    expect_service(&lab);
    daemon.kill().expect("it can be killed");
    expect_service(&lab);
    drop(daemon);
    drop(disk);
}

#[test]
fn a_missing_bpf_file_system_is_told_of() {
    let lab = Lab::new().expect("a lab");
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name).display().to_string();
    let text = Lab::configuration().replace("STATE", &path("state")).replace("SOCKET", &path("xlat.sock"));
    fs::write(path("xlat.toml"), text).expect("the configuration");
    let binary = xlat_tests::lab::command_path().expect("the command").display().to_string();
    // The second is what `ip netns exec` shows.
    for mount in ["mount -t tmpfs tmpfs /sys/fs/bpf", "mount -t sysfs sysfs /sys"] {
        let script = format!("{mount} && exec {binary} run --config {}", path("xlat.toml"));
        let mut command = lab.relay.command("unshare", &["--mount", "sh", "-c", &script]);
        let output = command.output().expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "it started");
        assert!(said.contains("not in a BPF file system") && said.contains("mount -t bpf bpf"), "{mount}: {said}");
    }
    let links = lab.relay.ip("-o link show").expect("links");
    assert!(!links.contains("xlat0"), "left behind: {links}");
}

#[test]
fn a_limit_of_memory_refuses_the_change_and_keeps_the_relay() {
    let (lab, mut daemon) = Lab::with_daemon().expect("a lab with a daemon");
    daemon.stop().expect("a clean end");
    // Of the arenas that glibc gives to threads, each takes 64 MiB of addresses, at its own time.
    daemon.start_again(&lab.relay, &[("MALLOC_ARENA_MAX", "1")]).expect("it starts again");
    let status: serde_json::Value = serde_json::from_str(&daemon.ctl(&lab.relay, "status --json").ok()).expect("JSON");
    let pid = status["pid"].to_string();
    let of_process = fs::read_to_string(format!("/proc/{pid}/statm")).expect("its memory");
    let pages: u64 = of_process.split(' ').next().and_then(|word| word.parse().ok()).expect("a number");
    // What a relay of the same size takes once more, and far less than one of four million entries.
    let limit = pages * 4096 + (256 << 20);
    run(Command::new("prlimit").args(["--pid", &pid, &format!("--as={limit}")]));
    let path = daemon.configuration();
    let text = fs::read_to_string(&path).expect("the configuration");
    fs::write(&path, text.replace("[dataplane]", "[dataplane]\nmax_eams = 4000000")).expect("a larger table");
    let said = daemon.ctl(&lab.relay, "reload");
    assert_eq!(said.code, Some(1), "{}", said.stdout);
    assert!(said.stderr.contains("not enough memory") && said.stderr.contains("nothing is changed"), "{}", said.stderr);
    expect_service(&lab);
    fs::write(&path, text).expect("the table of before");
    daemon.ctl(&lab.relay, "reload").ok();
    daemon.ctl(&lab.relay, "eam add 198.51.100.20 2001:db8:5e1:1::20").ok();
    expect_service(&lab);
}

#[test]
fn a_clock_that_is_set_back_changes_no_order() {
    let (lab, mut daemon) = Lab::with_daemon().expect("a lab with a daemon");
    daemon.ctl(&lab.relay, "eam add 198.51.100.20 2001:db8:5e1:1::20").ok();
    daemon.stop().expect("a clean end");
    let library = run(Command::new("faketime").args(["-f", "+0", "printenv", "LD_PRELOAD"]));
    // A year back; waiting goes by another clock, which is left alone.
    let past = [("LD_PRELOAD", library.as_str()), ("FAKETIME", "-365d"), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")];
    daemon.start_again(&lab.relay, &past).expect("it starts in the past");
    daemon.ctl(&lab.relay, "eam add 198.51.100.21 2001:db8:5e1:1::21").ok();
    daemon.ctl(&lab.relay, "eam del 198.51.100.20").ok();
    let history: serde_json::Value =
        serde_json::from_str(&daemon.ctl(&lab.relay, "eam history --json").ok()).expect("JSON");
    let told: Vec<(u64, &str)> = history["revisions"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| (one["revision"].as_u64().expect("a number"), one["time"].as_str().expect("a time")))
        .collect();
    assert_eq!(told.iter().map(|(revision, _)| *revision).collect::<Vec<_>>(), [3, 2, 1, 0]);
    // In the years of the calendar: the later revision has the earlier time.
    assert!(told[1].1 < told[2].1, "the clock was not set back: {told:?}");
    daemon.kill().expect("it can be killed");
    daemon.start_again(&lab.relay, &[]).expect("it starts in the present");
    let table = daemon.ctl(&lab.relay, "eam export").ok();
    assert!(table.contains("198.51.100.21/") && !table.contains("198.51.100.20/"), "{table}");
    daemon.ctl(&lab.relay, "eam rollback 1").ok();
    let table = daemon.ctl(&lab.relay, "eam export").ok();
    assert!(table.contains("198.51.100.20/") && !table.contains("198.51.100.21/"), "{table}");
    expect_service(&lab);
}
