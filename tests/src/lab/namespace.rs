//! One machine: a network namespace, commands that run in it, threads that enter it.

use std::{
    fs::File,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sched::{CloneFlags, setns, unshare},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A network namespace without a name; it is gone with its last process, thread and handle.
#[derive(Debug)]
pub struct Namespace {
    handle: File,
}

/// What a command said and how it ended.
#[derive(Clone, Debug)]
pub struct Said {
    /// The command.
    pub command: String,
    /// Whether it ended with 0.
    pub success: bool,
    /// Its exit code, if it ended by itself.
    pub code: Option<i32>,
    /// Its output.
    pub stdout: String,
    /// Its complaints.
    pub stderr: String,
}

impl Said {
    /// The output.
    ///
    /// # Panics
    /// The command failed.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.success, "`{}` failed ({:?}):\n{}{}", self.command, self.code, self.stdout, self.stderr);
        self.stdout
    }
}

/// A program that goes on running; it is killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
}

impl Running {
    /// Asks it to end, and gives it ten seconds.
    ///
    /// # Errors
    /// It does not end.
    pub fn terminate(&mut self, signal: Signal) -> Result<std::process::ExitStatus> {
        self.signal(signal)?;
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if begin.elapsed() > Duration::from_secs(10) {
                bail!("process {} does not end within ten seconds of {signal}", self.child.id());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).context("sending a signal")
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn ended(&mut self) -> Result<Option<std::process::ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Its process number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Namespace {
    /// A machine with nothing but a loopback interface.
    ///
    /// # Errors
    /// Without root.
    pub fn new() -> Result<Self> {
        let make = || {
            unshare(CloneFlags::CLONE_NEWNET).context("making a network namespace (these tests need root)")?;
            Ok(Self { handle: File::open("/proc/thread-self/ns/net")? })
        };
        let this =
            thread::spawn(make).join().unwrap_or_else(|_| bail!("the thread that makes a namespace panicked"))?;
        this.ip("link set lo up")?;
        this.sysctl("ipv4/conf/all/rp_filter", "0")?;
        this.sysctl("ipv4/conf/default/rp_filter", "0")?;
        // Addresses can be used at once: looking for duplicates takes a second or two, in which no neighbour is found.
        this.sysctl("ipv6/conf/default/accept_dad", "0")?;
        this.sysctl("ipv6/conf/default/dad_transmits", "0")?;
        this.sysctl("ipv4/ping_group_range", "0 2147483647")?;
        Ok(this)
    }

    /// Where other programs find it as long as this process lives.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.handle.as_raw_fd())
    }

    /// A command that runs here. Only the network is the machine's own.
    #[must_use]
    pub fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path())).arg("--").arg(program).args(arguments);
        command
    }

    /// Runs a command, its words divided by spaces, to its end.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn run(&self, command: &str) -> Said {
        let words: Vec<&str> = command.split_whitespace().collect();
        let output = self.command(words[0], &words[1..]).stdin(Stdio::null()).output();
        let output = output.unwrap_or_else(|error| panic!("starting `nsenter` for `{command}`: {error}"));
        Said {
            command: command.to_owned(),
            success: output.status.success(),
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Starts a program that goes on running, its output in a file.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&self, program: &str, arguments: &[&str], log: &std::path::Path) -> Result<Running> {
        let output = File::create(log).with_context(|| format!("making {}", log.display()))?;
        let mut command = self.command(program, arguments);
        command.stdin(Stdio::null()).stderr(output.try_clone()?).stdout(output);
        Ok(Running { child: command.spawn().with_context(|| format!("starting {program}"))? })
    }

    /// An `ip` command.
    ///
    /// # Errors
    /// What `ip` says.
    pub fn ip(&self, arguments: &str) -> Result<String> {
        let said = self.run(&format!("ip {arguments}"));
        if !said.success {
            bail!("`ip {arguments}` failed: {}", said.stderr.trim());
        }
        Ok(said.stdout)
    }

    /// Sets a value below `/proc/sys/net`.
    ///
    /// # Errors
    /// The kernel has no such value.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/net/{key}");
        self.inside(|| std::fs::write(&path, value)).with_context(|| format!("writing {value} to {path}"))
    }

    /// Takes an interface out of the namespace of another process.
    ///
    /// # Errors
    /// What `ip` says.
    pub fn adopt(&self, interface: &str, from: Pid) -> Result<()> {
        let net = format!("--net=/proc/{from}/ns/net");
        let arguments = [&net, "--", "ip", "link", "set", interface, "netns", &self.path()];
        let output = Command::new("nsenter").args(arguments).output().context("starting nsenter")?;
        if !output.status.success() {
            bail!("moving {interface}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }

    /// Does something in a thread of this machine.
    ///
    /// # Panics
    /// What is done panics.
    pub fn inside<T: Send>(&self, action: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.enter();
                action()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Brings the calling thread here for good.
    ///
    /// # Panics
    /// Without root.
    pub fn enter(&self) {
        setns(self.handle.as_fd(), CloneFlags::CLONE_NEWNET).expect("entering a network namespace of the lab");
    }

    /// Puts an XDP program on an interface that passes everything, as long as the handle lives.
    ///
    /// # Errors
    /// Without BPF.
    pub fn pass(&self, name: &str) -> Result<OwnedFd> {
        self.inside(|| super::pass::attach(nix::net::if_::if_nametoindex(name)?))
    }

    /// A cable to another machine: a veth pair that behaves like a wire. It carries no half-made checksums and nothing larger
    /// than its MTU, and takes what XDP sends.
    ///
    /// # Errors
    /// What `ip` or `ethtool` says.
    pub fn link(&self, name: &str, other: &Self, other_name: &str) -> Result<()> {
        let queues = "numtxqueues 1 numrxqueues 1";
        self.ip(&format!("link add {name} {queues} type veth peer name {other_name} netns {} {queues}", other.path()))?;
        for (machine, interface) in [(self, name), (other, other_name)] {
            let said = machine.run(&format!("ethtool -K {interface} tx off tso off gso off gro on"));
            if !said.success {
                bail!("`{}` failed: {}", said.command, said.stderr.trim());
            }
        }
        // What an end takes from XDP is settled when it comes up, by what the other end is then.
        self.ip(&format!("link set {name} up"))?;
        other.ip(&format!("link set {other_name} up"))?;
        Ok(())
    }
}
