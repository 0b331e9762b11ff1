//! A lab of network namespaces: an IPv4-only client, a relay and an IPv6-only server, joined by veth pairs.
//!
//! ```text
//!  client                     relay                              server
//!  203.0.113.7/24 ── inet4: 203.0.113.1/24
//!                             inet6: 2001:db8:5e1:1::1/64 ── 2001:db8:5e1:1::10/64
//! ```
//!
//! The client has no IPv6 and the server no IPv4; each has the relay as its default router. Only the `ip` command and
//! what every Linux system has beside it are used.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::ErrorKind,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::shell::{capture, command};

/// Where the programs of the lab keep their sockets.
pub(crate) const RUNTIME_DIRECTORY: &str = "/run/xlat-demo";

/// How long processes in the lab get to end by themselves when it is taken down.
const GRACE: Duration = Duration::from_secs(10);

/// The machines of the lab.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Host {
    Client,
    Relay,
    Server,
}

impl Host {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Client, Self::Relay, Self::Server];

    /// The word for it on command lines.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Relay => "relay",
            Self::Server => "server",
        }
    }

    /// Its network namespace, as `ip netns` lists it.
    pub(crate) fn namespace(self) -> String {
        format!("xlat-demo-{}", self.name())
    }

    /// A command that this host runs. Only the network is the host's own: `ip netns exec` would also hide the BPF file
    /// system, in which the relay pins its programs.
    pub(crate) fn command(self, program: &str, arguments: &[&str]) -> Command {
        let mut command = command("nsenter", [format!("--net=/run/netns/{}", self.namespace())]);
        command.arg("--").arg(program).args(arguments);
        command
    }

    /// Starts a program that goes on running on this host, with its output in a file.
    pub(crate) fn start(self, program: &str, arguments: &[&str], log: &Path) -> Result<Child> {
        let output = File::create(log).with_context(|| format!("making the log {}", log.display()))?;
        let mut command = self.command(program, arguments);
        // A process group of its own: Ctrl-C is for the one who takes the lab down, in order.
        command.process_group(0).stdin(Stdio::null()).stderr(output.try_clone()?).stdout(output);
        command.spawn().with_context(|| format!("starting {program} on the {}", self.name()))
    }

    fn ip(self, arguments: &str) -> Result<()> {
        let namespace = self.namespace();
        let words = ["-n", &namespace].into_iter().chain(arguments.split(' '));
        capture(&mut command("ip", words)).map(|_| ())
    }

    fn sysctl(self, key: &str, value: &str) -> Result<()> {
        let script = format!("echo {value} > /proc/sys/net/{key}");
        capture(&mut self.command("sh", &["-c", &script])).map(|_| ())
    }
}

/// The relay's two interfaces, each with the host behind it and the addresses of both ends.
const LINKS: [Link; 2] = [
    Link { name: "inet4", host: Host::Client, relay: "203.0.113.1/24", peer: "203.0.113.7/24", router: "203.0.113.1" },
    Link {
        name: "inet6",
        host: Host::Server,
        relay: "2001:db8:5e1:1::1/64",
        peer: "2001:db8:5e1:1::10/64",
        router: "2001:db8:5e1:1::1",
    },
];

struct Link {
    name: &'static str,
    host: Host,
    relay: &'static str,
    peer: &'static str,
    router: &'static str,
}

/// The lab as long as it is up; dropping it takes it down.
pub(crate) struct Lab(());

impl Lab {
    /// Makes the namespaces and the links between them, after removing what an earlier run left.
    pub(crate) fn up() -> Result<Self> {
        down()?;
        let lab = Self(());
        fs::create_dir_all(RUNTIME_DIRECTORY).with_context(|| format!("making {RUNTIME_DIRECTORY}"))?;
        for host in Host::ALL {
            capture(&mut command("ip", ["netns", "add", &host.namespace()]))?;
            host.ip("link set lo up")?;
        }
        // `default` is what the interfaces made from here on begin with.
        for tree in ["conf/default", "conf/all"] {
            Host::Relay.sysctl(&format!("ipv4/{tree}/forwarding"), "1")?;
            Host::Relay.sysctl(&format!("ipv6/{tree}/forwarding"), "1")?;
            Host::Relay.sysctl(&format!("ipv4/{tree}/rp_filter"), "0")?;
        }
        // Not even a link-local address: the client's only way to the server is the translator.
        Host::Client.sysctl("ipv6/conf/all/disable_ipv6", "1")?;
        Host::Client.sysctl("ipv6/conf/default/disable_ipv6", "1")?;
        LINKS.iter().try_for_each(Link::make)?;
        Ok(lab)
    }

    /// Takes the lab down, with an error where that fails.
    pub(crate) fn down(self) -> Result<()> {
        std::mem::forget(self);
        down()
    }

    /// Leaves the lab up when this process ends.
    pub(crate) fn leave_up(self) {
        std::mem::forget(self);
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Err(error) = down() {
            eprintln!("xtask: the lab is not wholly removed, `cargo xtask lab down` tries again: {error:#}");
        }
    }
}

impl Link {
    /// One receive queue for the one transmit queue of the other end: XDP_REDIRECT out of a veth sends on the queue
    /// with the number of the CPU, and refuses where the other end has none to receive it.
    fn make(&self) -> Result<()> {
        let namespace = self.host.namespace();
        Host::Relay.ip(&format!(
            "link add {} numtxqueues 1 numrxqueues 1 type veth peer name eth0 netns {namespace} numtxqueues 1 \
             numrxqueues 1",
            self.name
        ))?;
        self.behave_like_a_wire()?;
        for (host, interface, address) in [(Host::Relay, self.name, self.relay), (self.host, "eth0", self.peer)] {
            // IPv6 addresses would otherwise first be probed for duplicates, for a second.
            let flags = if address.contains(':') { " nodad" } else { "" };
            host.ip(&format!("addr add {address} dev {interface}{flags}"))?;
            host.ip(&format!("link set {interface} up"))?;
        }
        self.host.ip(&format!("route add default via {}", self.router))
    }

    /// No real wire carries half-made checksums or packets larger than its MTU. The receiving offload stays on: it is
    /// what lets a veth receive from XDP_REDIRECT.
    fn behave_like_a_wire(&self) -> Result<()> {
        let off = ["tx", "off", "tso", "off", "gso", "off", "gro", "on"];
        for (host, interface) in [(Host::Relay, self.name), (self.host, "eth0")] {
            capture(host.command("ethtool", &["-K", interface]).args(off))?;
        }
        Ok(())
    }
}

/// Ends every process that runs in the lab, and removes it. Without a lab it does nothing.
pub(crate) fn down() -> Result<()> {
    let present: Vec<Host> = Host::ALL.into_iter().filter(|host| exists(*host)).collect();
    end_processes(&present)?;
    if present.contains(&Host::Relay) {
        for link in &LINKS {
            // A link that was never made, or went with its other end, is as good as removed.
            let _ = Host::Relay.ip(&format!("link del {}", link.name));
        }
    }
    for host in present {
        capture(&mut command("ip", ["netns", "del", &host.namespace()]))?;
    }
    match fs::remove_dir_all(RUNTIME_DIRECTORY) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {RUNTIME_DIRECTORY}"))
        }
        _ => Ok(()),
    }
}

/// Whether the lab has this host.
pub(crate) fn exists(host: Host) -> bool {
    Path::new("/run/netns").join(host.namespace()).exists()
}

/// The relay detaches its programs when it is asked to end, so it is asked first and forced only after a while.
fn end_processes(hosts: &[Host]) -> Result<()> {
    let begin = Instant::now();
    let mut signal = libc::SIGTERM;
    let mut asked = BTreeSet::new();
    loop {
        let running = processes(hosts)?;
        if running.is_empty() {
            return Ok(());
        }
        if begin.elapsed() > 2 * GRACE {
            bail!("processes {running:?} in the lab's namespaces do not end");
        }
        if begin.elapsed() > GRACE && signal == libc::SIGTERM {
            signal = libc::SIGKILL;
            asked.clear();
        }
        for process in running {
            if asked.insert(process) {
                // SAFETY: kill takes two numbers and touches no memory of this process.
                unsafe { libc::kill(process, signal) };
            }
        }
        sleep(Duration::from_millis(50));
    }
}

/// Processes whose network is one of these hosts'. Those that have ended but were not waited for have none.
fn processes(hosts: &[Host]) -> Result<BTreeSet<i32>> {
    let mut processes = BTreeSet::new();
    for host in hosts {
        let list = capture(&mut command("ip", ["netns", "pids", &host.namespace()]))?;
        processes.extend(list.lines().filter_map(|line| line.trim().parse::<i32>().ok()));
    }
    Ok(processes)
}
