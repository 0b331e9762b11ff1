//! The emulator: one run of a virtual machine.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{Options, initramfs, kernels::Kernel, nics};
use crate::{
    interrupt,
    shell::{self, remove_leftovers, target_dir},
};

/// Of the guest's kernel. What guards against other guests costs most where every page table is emulated.
const PARAMETERS: &str = "panic=-1 oops=panic net.ifnames=0 mitigations=off apparmor=0 audit=0 systemd.unit=xlat-vm.service \
                          systemd.machine_id=8c1f0d8a5b7e4e0f9d1b3f6a2c4e7d90";

/// Where kernels and runs are kept.
pub(crate) fn directory() -> PathBuf {
    target_dir().join("vm")
}

/// A virtual machine to be.
pub(crate) struct Guest<'a> {
    /// Its kernel.
    pub(crate) kernel: &'a Kernel,
    /// The rest of it.
    pub(crate) options: &'a Options,
}

/// What is done with the command's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// It is shown as it comes.
    Show,
    /// It is given back.
    Keep,
}

/// How a run ended.
pub(crate) enum Ended {
    /// By the command's end.
    Command {
        /// Its exit code.
        code: u8,
        /// What it printed, if that was to be kept.
        output: String,
    },
    /// Otherwise: a panic of the kernel, too long a time. In words, with the kernel's last ones.
    Itself(String),
}

impl Guest<'_> {
    /// Starts the machine, runs the command in it, and waits for the end.
    pub(crate) fn run(&self, words: &[&str], output: Output) -> Result<Ended> {
        let run = Run::new()?;
        let cards = self.options.nic.map(nics::cards);
        let cards = cards.as_ref().map_or(&[][..], |cards| cards);
        initramfs::write(&run.path("initramfs"), self, cards, words)?;
        let mut qemu = self.command(&run);
        if let Some(root) = &self.options.root {
            let image = run.path("root");
            make_image(root, &image)?;
            qemu.args(["-drive", &format!("file={},format=raw,if=none,id=root,cache=unsafe", image.display())]);
            qemu.args(["-device", "virtio-blk-pci,drive=root"]);
        }
        qemu.args(cards.iter().flat_map(nics::Card::arguments));
        // At an end of its input the emulator would also take no more output.
        qemu.stdin(Stdio::piped());
        qemu.stdout(if output == Output::Show { Stdio::inherit() } else { Stdio::piped() });
        let mut machine = Machine(qemu.spawn().with_context(|| format!("cannot start `{}`", shell::spell(&qemu)))?);
        // Read meanwhile: a full pipe would stop the guest.
        let reader = machine.0.stdout.take().map(|mut pipe| {
            thread::spawn(move || {
                let mut bytes = Vec::new();
                pipe.read_to_end(&mut bytes).map(|_| String::from_utf8_lossy(&bytes).into_owned())
            })
        });
        let in_time = machine.wait(self.options.timeout)?;
        drop(machine);
        let printed = reader.map_or_else(|| Ok(String::new()), |reader| reader.join().expect("reading does not panic"));
        let printed = printed.context("reading the guest's output")?;
        let code = fs::read_to_string(run.path("exit")).unwrap_or_default();
        match code.parse() {
            Ok(code) => Ok(Ended::Command { code, output: printed }),
            Err(_) if in_time => Ok(Ended::Itself(format!("the kernel's last words:\n{}{printed}", run.last_words()))),
            Err(_) => Ok(Ended::Itself(format!(
                "it was switched off after {} seconds; the kernel's last words:\n{}{printed}",
                self.options.timeout.as_secs(),
                run.last_words()
            ))),
        }
    }

    fn command(&self, run: &Run) -> Command {
        let Options { cpus, memory, console, .. } = self.options;
        // Walking five levels of page tables costs an emulated processor a tenth of its time.
        let (accelerator, processor) = if has_kvm() { ("kvm", "max") } else { ("tcg", "max,la57=off") };
        let path = |name: &str| run.path(name).to_string_lossy().into_owned();
        let serial = if *console { "file:/dev/stderr".to_owned() } else { format!("file:{}", path("console")) };
        let level = if *console { 7 } else { 4 };
        let mut qemu = shell::command("qemu-system-x86_64", ["-nodefaults", "-no-user-config", "-display", "none"]);
        qemu.args(["-no-reboot", "-machine", "q35", "-cpu", processor, "-accel", accelerator]);
        qemu.args(["-smp", &cpus.to_string(), "-m", &memory.to_string(), "-serial", &serial]);
        qemu.args(["-kernel", &self.kernel.image().to_string_lossy(), "-initrd", &path("initramfs")]);
        qemu.args(["-append", &format!("console=ttyS0 loglevel={level} {PARAMETERS}")]);
        // This machine's files, which the guest can only read.
        let files = "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap";
        qemu.args(["-virtfs", files, "-device", "virtio-serial-pci"]);
        qemu.args(["-chardev", "stdio,id=output,signal=off", "-device", "virtserialport,chardev=output,name=output"]);
        qemu.args(["-chardev", &format!("file,id=exit,path={}", path("exit"))]);
        qemu.args(["-device", "virtserialport,chardev=exit,name=exit"]);
        qemu
    }
}

/// Makes the image of a root: the guest may change it, and an image costs fewer turns of the emulator than files of this machine.
fn make_image(root: &Path, image: &Path) -> Result<()> {
    const FEATURES: &str = "^has_journal,^metadata_csum";
    let words = ["-q", "-O", FEATURES, "-d", &root.to_string_lossy(), &image.to_string_lossy(), "2G"];
    shell::capture(&mut shell::command("mkfs.ext4", words)).context("making the image of the root").map(|_| ())
}

/// Whether the processor's own virtualization can be used. A device without the processor's flag is no good sign.
fn has_kvm() -> bool {
    let flags = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let has_flag = flags.split_whitespace().any(|flag| flag == "vmx" || flag == "svm");
    has_flag && fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok()
}

/// The files of one run, which go with it.
struct Run(PathBuf);

impl Run {
    fn new() -> Result<Self> {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        remove_leftovers(&directory(), "run-");
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let run = Self(directory().join(format!("run-{}-{number}", std::process::id())));
        fs::create_dir_all(&run.0).with_context(|| format!("making {}", run.0.display()))?;
        Ok(run)
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::join(&self.0, name)
    }

    fn last_words(&self) -> String {
        let console = fs::read(self.path("console")).unwrap_or_default();
        let text = String::from_utf8_lossy(&console).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(25)..].iter().map(|line| format!("{line}\n")).collect()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // What stays is under `target`.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running emulator, which ends with this.
struct Machine(Child);

impl Machine {
    /// Waits for its end. `false`: the time is over.
    fn wait(&mut self, timeout: Duration) -> Result<bool> {
        let begin = Instant::now();
        while self.0.try_wait().context("waiting for the emulator")?.is_none() {
            interrupt::check()?;
            if begin.elapsed() > timeout {
                return Ok(false);
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(true)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may have ended by itself, in which case there is nothing to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
