//! What the guest begins with: enough to find the machine's files and its own modules, and the command.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use super::{busybox, kernels::Kernel, nics::Card, qemu::Guest};
use crate::shell::{self, capture, command};

/// What the first stage needs and Debian's kernels do not have built in. `vmw_vsock` and the like are not among them.
const MODULES: [&str; 4] = ["virtio_pci", "virtio_console", "9pnet_virtio", "9p"];
/// What it needs for this machine's files, and for another root's, which are an image.
const FOR_OWN_ROOT: [&str; 1] = ["overlay"];
const FOR_OTHER_ROOT: [&str; 2] = ["virtio_blk", "ext4"];

/// The first stage, in the initramfs: this machine's files, read-only, with changes kept in the guest's memory; or the image of
/// another root, which is this run's own.
const FIRST_STAGE: &str = "\
#!/bin/busybox sh
export PATH=/bin
/bin/busybox mkdir -p /bin /proc /sys /dev /host /change /new
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for module in $(cat /modules/order); do insmod /modules/$module || echo \"xlat-vm: module $module\"; done
mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=262144 host /host || echo 'xlat-vm: no host'
if [ -e /unit ]; then
  mount -t ext4 /dev/vda /new || echo 'xlat-vm: no image'
else
  mount -t tmpfs -o size=80% change /change
  mkdir -p /change/files /change/work
  mount -t overlay -o lowerdir=/host,upperdir=/change/files,workdir=/change/work new /new || echo 'xlat-vm: no overlay'
fi
release=$(uname -r)
mkdir -p /new/lib/modules/$release
mount -o bind \"/host$(cat /kernel-modules)\" /new/lib/modules/$release
mount -t proc proc /new/proc
mount -t sysfs sysfs /new/sys
mount -t devtmpfs dev /new/dev
mkdir -p /new/dev/pts /new/dev/shm
mount -t devpts devpts /new/dev/pts
mount -t tmpfs shm /new/dev/shm
mount -t tmpfs run /new/run
mount -t bpf bpf /new/sys/fs/bpf
mount -t cgroup2 cgroup2 /new/sys/fs/cgroup
mount -t debugfs debugfs /new/sys/kernel/debug
mkdir -p /new/run/vm /new/run/host
mount -o bind /host /new/run/host
cp /stage2 /command /new/run/vm/
if [ ! -e /unit ]; then exec switch_root /new /bin/sh /run/vm/stage2; fi
cp /unit /new/etc/systemd/system/xlat-vm.service
umount /new/sys/fs/bpf /new/sys/fs/cgroup /new/sys/kernel/debug
exec switch_root /new /sbin/init
";

/// What has the second stage run where another root's service manager is the first process, which boots for this unit: consoles
/// to log in at and timers would cost minutes of an emulated processor.
const UNIT: &str = "\
[Unit]
Requires=sysinit.target
After=sysinit.target
[Service]
ExecStart=/bin/sh /run/vm/stage2
";

/// The second stage, with this machine's own programs: the NICs, then the command. Sysrq `b` ends the emulator at once.
const SECOND_STAGE: &str = "\
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb XLAT_VM=1
ulimit -l unlimited
ip link set lo up
for driver in $DRIVERS; do modprobe \"$driver\" || echo \"xlat-vm: driver $driver\" >/dev/console; done
for device in /sys/class/net/*; do
  case \"$(cat \"$device/address\")\" in
$NAMES
    *) continue ;;
  esac
  ip link set \"${device##*/}\" name \"$name\"
done
for port in /sys/class/virtio-ports/*; do
  case \"$(cat \"$port/name\")\" in
    output) output=/dev/${port##*/} ;;
    exit) code=/dev/${port##*/} ;;
  esac
done
cd \"$DIRECTORY\" || cd /
sh /run/vm/command </dev/null >\"$output\" 2>&1
printf %s $? >\"$code\"
echo b >/proc/sysrq-trigger
";

/// Writes the archive for one run.
pub(crate) fn write(archive: &Path, guest: &Guest<'_>, cards: &[Card], words: &[&str]) -> Result<()> {
    let Guest { kernel, options } = guest;
    let root = archive.with_extension("d");
    fs::create_dir_all(root.join("bin"))?;
    fs::create_dir_all(root.join("modules"))?;
    let busybox = busybox::get()?;
    fs::copy(&busybox, root.join("bin/busybox")).context("copying busybox")?;
    let also = if options.root.is_some() { &FOR_OTHER_ROOT[..] } else { &FOR_OWN_ROOT[..] };
    let order = modules(kernel, &[&MODULES[..], also].concat(), &root.join("modules"))?;
    fs::write(root.join("modules/order"), order.join("\n"))?;
    fs::write(root.join("kernel-modules"), kernel.modules().to_string_lossy().as_bytes())?;
    if options.root.is_some() {
        fs::write(root.join("unit"), UNIT)?;
    }
    fs::write(root.join("init"), FIRST_STAGE)?;
    fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755))?;
    fs::write(root.join("stage2"), second_stage(cards)?)?;
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    fs::write(root.join("command"), format!("exec {}\n", words.join(" ")))?;
    pack(&busybox, &root, archive)
}

fn second_stage(cards: &[Card]) -> Result<String> {
    let mut drivers: Vec<&str> = cards.iter().map(|card| card.nic.driver()).collect();
    drivers.dedup();
    let names: Vec<String> = cards.iter().map(|card| format!("    {}) name={} ;;\n", card.mac, card.name)).collect();
    // Where a root of its own has no such directory, it is not gone to.
    let directory = std::env::current_dir().context("finding the working directory")?;
    Ok(SECOND_STAGE
        .replace("$DRIVERS", &drivers.join(" "))
        .replace("$NAMES\n", &names.concat())
        .replace("\"$DIRECTORY\"", &quoted(&directory.to_string_lossy())))
}

/// A word of a shell command that stands for itself.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Copies the modules, unpacked, and gives their names in the order of loading.
fn modules(kernel: &Kernel, names: &[&str], to: &Path) -> Result<Vec<String>> {
    let mut order = Vec::new();
    for module in names {
        for file in kernel.module_files(module)? {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let plain = name.trim_end_matches(".xz").trim_end_matches(".zst").to_owned();
            if order.contains(&plain) {
                continue;
            }
            let path = file.to_string_lossy();
            let content = match &name[plain.len()..] {
                "" => fs::read(&file).with_context(|| format!("reading {path}"))?,
                ".xz" => unpacked("xz", &path)?,
                _ => unpacked("zstd", &path)?,
            };
            fs::write(to.join(&plain), content)?;
            order.push(plain);
        }
    }
    Ok(order)
}

fn unpacked(program: &str, path: &str) -> Result<Vec<u8>> {
    let output = command(program, ["--decompress", "--stdout", path]).output();
    let output = output.with_context(|| format!("starting {program}"))?;
    if !output.status.success() {
        bail!("`{program} --decompress {path}` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output.stdout)
}

fn pack(busybox: &Path, root: &Path, archive: &Path) -> Result<()> {
    let names = capture(command("find", ["."]).current_dir(root))?;
    let mut cpio = Command::new(busybox);
    cpio.args(["cpio", "-o", "-H", "newc"]).current_dir(root);
    cpio.stdin(Stdio::piped()).stdout(fs::File::create(archive)?).stderr(Stdio::null());
    let mut child = cpio.spawn().with_context(|| format!("starting `{}`", shell::spell(&cpio)))?;
    child.stdin.take().context("the standard input of cpio")?.write_all(names.as_bytes())?;
    if !child.wait()?.success() {
        bail!("packing the initramfs with busybox' cpio failed");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_for_themselves() {
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
    }

    #[test]
    fn names_each_card_by_its_address() {
        let script = second_stage(&super::super::nics::cards(super::super::nics::Nic::Igb)).unwrap();
        assert!(script.contains("for driver in igb e1000e;"), "{script}");
        assert!(script.contains("52:54:00:00:00:21) name=far1 ;;\n    *) continue"), "{script}");
    }
}
