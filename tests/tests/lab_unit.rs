//! The daemon as the shipped systemd unit runs it: its own user, its own view of the files, the unit's capabilities and no more.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use nix::{sys::signal::Signal, unistd::User};
use tempfile::TempDir;
use xlat_tests::lab::{Lab, Running, SERVER_SEEN, Said, command_path};

/// A user and a group that every machine has, in place of `xlat`.
const USER: &str = "nobody";

fn contrib(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../contrib/systemd").join(name)
}

fn unit() -> String {
    fs::read_to_string(contrib("xlat.service")).expect("the unit")
}

/// The value of a setting of the unit.
fn setting(key: &str) -> String {
    let unit = unit();
    let mut values = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    values.next().unwrap_or_else(|| panic!("the unit says no {key}")).to_owned()
}

fn output(command: &mut Command) -> Output {
    command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error} (`cargo xtask setup` installs what is missing)"))
}

#[track_caller]
fn expect_success(command: &mut Command) {
    let output = output(command);
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success(), "{command:?}:\n{said}");
}

#[test]
fn systemd_takes_the_unit_and_finds_little_to_expose() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("xlat.service");
    let binary = command_path().expect("the command").display().to_string();
    fs::write(&path, unit().replace("/usr/local/bin/xlat-ctl", &binary)).expect("the unit");
    let verified = output(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path));
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success() && !said.contains("xlat.service"), "{said}");
    // In tenths: more than 2.0 is a failure.
    let threshold = ["security", "--offline=true", "--no-pager", "--threshold=20"];
    expect_success(Command::new("systemd-analyze").args(threshold).arg(&path));
}

#[test]
fn the_user_and_the_directories_are_made() {
    let root = tempfile::tempdir().expect("a directory");
    fs::create_dir(root.path().join("etc")).expect("a directory");
    let root = format!("--root={}", root.path().display());
    expect_success(Command::new("systemd-sysusers").arg(&root).arg(contrib("xlat.sysusers.conf")));
    expect_success(Command::new("systemd-tmpfiles").args(["--create", &root]).arg(contrib("xlat.tmpfiles.conf")));
    let state = fs::metadata(Path::new(&root["--root=".len()..]).join("var/lib/xlat")).expect("the state directory");
    assert!(state.mode() & 0o7777 == 0o700 && state.uid() != 0, "{state:?}");
}

/// A relay whose daemon runs as the unit runs it.
struct Unit {
    process: Option<Running>,
    lab: Lab,
    directory: TempDir,
    pins: PathBuf,
}

impl Drop for Unit {
    fn drop(&mut self) {
        self.process = None;
        let _ = xlat_ctl::dataplane::remove_pinned(&self.pins);
        let _ = xlat_ctl::dataplane::tidy(&self.pins);
    }
}

impl Unit {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let pins = PathBuf::from(format!("/sys/fs/bpf/xlat-unit-{}", std::process::id()));
        let this = Self { process: None, lab: Lab::new().expect("a lab"), directory, pins };
        let user = User::from_name(USER).expect("the users").expect("a user that every machine has");
        let own = |path: &Path| chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).expect("another owner");
        fs::set_permissions(this.path(""), fs::Permissions::from_mode(0o755)).expect("the mode");
        fs::copy(command_path().expect("the command"), this.path("xlat-ctl")).expect("a copy for everybody");
        for name in ["state", "run"] {
            fs::create_dir(this.path(name)).expect("a directory");
            own(&this.path(name));
        }
        let text = Lab::configuration()
            .replace("STATE", &this.path("state").to_string_lossy())
            .replace("SOCKET", &this.path("run/xlat.sock").to_string_lossy())
            .replace("\"root\"", &format!("\"{}\"", nix::unistd::Group::from_gid(user.gid).unwrap().unwrap().name))
            .replace("[dataplane]", &format!("[dataplane]\npin_directory = \"{}\"", this.pins.display()));
        fs::write(this.path("xlat.toml"), text).expect("the configuration");
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn prepare(&self, more: &str) {
        let (binary, config) = (self.path("xlat-ctl"), self.path("xlat.toml"));
        let line = format!("{} prepare --user {USER} {more} --config {}", binary.display(), config.display());
        self.lab.relay.run(&line).ok();
    }

    /// What `ExecStartPre` and `ExecStart` do.
    fn start(&mut self) {
        self.prepare("");
        let view = format!(
            "set -e; kept=$(mktemp -d); mount --bind {pins} $kept; mount -t tmpfs -o mode=755 tmpfs /sys/fs/bpf; \
             mkdir {pins}; mount --bind $kept {pins}; umount $kept; rmdir $kept; exec \"$@\"",
            pins = self.pins.display()
        );
        let names: Vec<String> = setting("CapabilityBoundingSet")
            .split_whitespace()
            .map(|name| format!("+{}", name.trim_start_matches("CAP_").to_lowercase()))
            .collect();
        let set = format!("-all,{}", names.join(","));
        let id = User::from_name(USER).expect("the users").expect("the user");
        let user = [format!("--reuid={}", id.uid), format!("--regid={}", id.gid), "--clear-groups".to_owned()];
        let rights = [
            format!("--bounding-set={set}"),
            format!("--inh-caps={set}"),
            format!("--ambient-caps={set}"),
            "--no-new-privs".to_owned(),
        ];
        let config = self.path("xlat.toml").display().to_string();
        let binary = self.path("xlat-ctl").display().to_string();
        let mut words: Vec<&str> = vec!["--mount", "--propagation", "slave", "sh", "-c", &view, "sh", "setpriv"];
        words.extend(user.iter().chain(&rights).map(String::as_str));
        words.extend([binary.as_str(), "run", "--config", &config]);
        self.process = Some(self.lab.relay.start("unshare", &words, &self.path("log")).expect("it starts"));
        let begin = Instant::now();
        while !self.log().contains("ready:") {
            let ended = self.process.as_mut().and_then(|process| process.ended().expect("a state"));
            assert!(ended.is_none() && begin.elapsed() < Duration::from_secs(30), "{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn stop(&mut self, signal: Signal) {
        self.process.as_mut().expect("it runs").terminate(signal).expect("it ends");
        self.prepare("--undo");
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn ctl(&self, arguments: &str) -> Said {
        let (binary, socket) = (self.path("xlat-ctl"), self.path("run/xlat.sock"));
        self.lab.relay.run(&format!("{} --socket {} {arguments}", binary.display(), socket.display()))
    }

    fn expect_service(&self) {
        self.lab.client.run(&format!("ping -n -c 2 -i 0.2 -W 2 {SERVER_SEEN}")).ok();
    }

    /// The capabilities that the daemon has, each set as the kernel shows it.
    fn capabilities(&self) -> BTreeMap<String, u64> {
        let id = self.process.as_ref().expect("it runs").id();
        let status = fs::read_to_string(format!("/proc/{id}/status")).expect("its status");
        let sets = status.lines().filter_map(|line| line.strip_prefix("Cap")?.split_once(":\t"));
        sets.map(|(name, bits)| (name.to_owned(), u64::from_str_radix(bits, 16).expect("a number"))).collect()
    }
}

#[test]
fn everything_works_with_the_rights_of_the_unit() {
    let mut unit = Unit::new();
    unit.start();
    let words: u64 = [39, 38, 12, 21].iter().map(|number| 1_u64 << number).sum();
    let rights = unit.capabilities();
    assert_eq!((rights["Eff"], rights["Prm"], rights["Amb"], rights["Inh"]), (words, words, 0, 0), "{rights:x?}");
    let socket = fs::metadata(unit.path("run/xlat.sock")).expect("the socket");
    let user = User::from_name(USER).expect("the users").expect("the user");
    assert_eq!((socket.mode() & 0o7777, socket.gid()), (0o660, user.gid.as_raw()));
    assert_eq!(fs::metadata(&unit.pins).expect("the pins").mode() & 0o7777, 0o700);
    unit.expect_service();
    unit.ctl("status").ok();

    unit.lab.server.ip("addr add 2001:db8:5e1:1::20/64 dev eth0 nodad").expect("an address");
    unit.ctl("eam add 198.51.100.20 2001:db8:5e1:1::20").ok();
    unit.lab.client.run("ping -n -c 1 -W 2 198.51.100.20").ok();
    unit.ctl("reload").ok();
    unit.lab.client.run("ping -n -c 1 -W 2 198.51.100.20").ok();
    // A packet that nobody has sent, and what a load balancer asks.
    unit.ctl("explain udp 203.0.113.7 198.51.100.20 --size 1400 --df").ok();
    let ready = unit.lab.relay.run("curl --silent --show-error --fail http://127.0.0.1:9464/readyz");
    assert!(ready.success, "{}{}", ready.stdout, ready.stderr);
    // By the fragmenter: a large datagram without DF comes through only in pieces (a fragmented ping would not).
    let large = |unit: &Unit| {
        unit.lab.client.sysctl("ipv4/ip_no_pmtu_disc", "1").expect("no DF");
        let server =
            unit.lab.server.inside(|| std::net::UdpSocket::bind("[2001:db8:5e1:1::10]:4244")).expect("a socket");
        server.set_read_timeout(Some(Duration::from_secs(2))).expect("a limit");
        let client = unit.lab.client.inside(|| std::net::UdpSocket::bind("0.0.0.0:0")).expect("a socket");
        client.send_to(&[7; 3000], (SERVER_SEEN, 4244)).expect("sending");
        let mut buffer = [0; 4096];
        assert_eq!(server.recv(&mut buffer).expect("a datagram"), 3000);
    };
    large(&unit);

    // Another daemon takes over; one that is killed leaves a relay that works.
    unit.stop(Signal::SIGUSR1);
    unit.expect_service();
    large(&unit);
    unit.start();
    assert!(unit.log().contains("a program instance of before is attached"), "{}", unit.log());
    large(&unit);
    unit.stop(Signal::SIGKILL);
    unit.expect_service();
    unit.start();
    unit.lab.client.run("ping -n -c 1 -W 2 198.51.100.20").ok();
    assert!(!unit.log().contains("WARN") && !unit.log().contains("ERROR"), "{}", unit.log());

    unit.stop(Signal::SIGTERM);
    assert!(!unit.pins.exists(), "the pin directory is left");
    let name = unit.pins.file_name().expect("a name").to_string_lossy().into_owned();
    let kept = Path::new("/run/netns").join(format!("{name}-fragmenter"));
    assert!(!kept.exists(), "{} is left", kept.display());
    let links = unit.lab.relay.ip("-o link show").expect("links");
    assert!(!links.contains("xlat0"), "{links}");

    // Nobody but root could give the socket to a group that the user is not in: no reason to have no daemon.
    let text = fs::read_to_string(unit.path("xlat.toml")).expect("the configuration");
    let group = text.lines().find(|line| line.starts_with("group = ")).expect("a group");
    fs::write(unit.path("xlat.toml"), text.replace(group, "group = \"root\"")).expect("another group");
    unit.start();
    assert!(unit.log().contains("cannot be given to the group root (control.group)"), "{}", unit.log());
    unit.ctl("status").ok();
    unit.stop(Signal::SIGTERM);
}
