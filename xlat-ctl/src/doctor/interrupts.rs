//! Do the interrupts of a NIC's queues go to different processors?

use std::{collections::BTreeMap, fs, num::NonZero, path::Path, thread};

use super::{Finding, Seen};

pub(super) const NAME: &str = "interrupts";

pub(super) fn check(seen: &Seen) -> Vec<Finding> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let mut findings = Vec::new();
    for (interface, _) in seen.with_device() {
        let by_core = by_core(Path::new("/"), &interface.name);
        findings.extend(crowded(&interface.name, &by_core, cores));
    }
    findings
}

/// The interrupts of an interface's receive queues, by the processors that they go to; `root`: where `proc` and `sys` are.
fn by_core(root: &Path, interface: &str) -> BTreeMap<String, Vec<u32>> {
    let text = fs::read_to_string(root.join("proc/interrupts")).unwrap_or_default();
    let of_device = irqs_of_device(&root.join("sys/class/net").join(interface).join("device"));
    let mut by_core: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for (irq, name) in text.lines().filter_map(irq_and_name) {
        let is_its_own = of_device.contains(&irq) && is_receive_queue(name, interface);
        if !is_its_own && !has_name_of(name, interface) {
            continue;
        }
        let affinity = root.join(format!("proc/irq/{irq}/effective_affinity_list"));
        if let Ok(core) = fs::read_to_string(affinity) {
            by_core.entry(core.trim().to_owned()).or_default().push(irq);
        }
    }
    by_core
}

/// The interrupts of a device, or, of virtio, of the PCI device that it is on.
fn irqs_of_device(device: &Path) -> Vec<u32> {
    let list = |directory: &Path| fs::read_dir(directory.join("msi_irqs")).ok();
    // The device is a symbolic link: what is above it is above what it leads to.
    let above = || list(fs::canonicalize(device).ok()?.parent()?);
    let Some(entries) = list(device).or_else(above) else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// A line of `/proc/interrupts`: the number, and the name that the driver gave.
fn irq_and_name(line: &str) -> Option<(u32, &str)> {
    let (irq, rest) = line.split_once(':')?;
    Some((irq.trim().parse().ok()?, rest.split_whitespace().last()?))
}

/// Whether an interrupt of a device is that of a receive queue, not of its mailbox, link state or transmit queue: `mlx5_comp0@…`,
/// `virtio0-input.0`, `i40e-eth0-TxRx-0`, `ena-Tx-Rx-0`.
fn is_receive_queue(name: &str, interface: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    ["rx", "input", "comp"].iter().any(|word| lower.contains(word)) || has_name_of(name, interface)
}

fn has_name_of(name: &str, interface: &str) -> bool {
    name.strip_prefix(interface).is_some_and(|rest| rest.starts_with('-') && !rest.starts_with("-tx-"))
}

fn crowded(name: &str, by_core: &BTreeMap<String, Vec<u32>>, cores: usize) -> Option<Finding> {
    let irqs: usize = by_core.values().map(Vec::len).sum();
    if irqs < 2 || cores < 2 || by_core.len() > 1 {
        return None;
    }
    let (core, numbers) = by_core.first_key_value()?;
    Some(Finding::hint(
        NAME,
        format!("all {irqs} interrupts of {name} go to processor {core}"),
        format!("run irqbalance, or spread them: `echo N >/proc/irq/{}/smp_affinity_list`, and so on", numbers[0]),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Drivers name their interrupts each in its own way.
    const INTERRUPTS: &str = "           CPU0  CPU1\n 24:  1  2  PCI-MSIX 0-edge  eth0\n 25:  1  0  PCI-MSIX 1-edge  eth0-TxRx-0\n \
        26:  1  0  PCI-MSIX 2-edge  eth0-TxRx-1\n 27:  1  0  PCI-MSIX  eth01-TxRx-0\n 30: 0 0 virtio1-config\n \
        31: 4 0 virtio1-input.0\n 32: 4 0 virtio1-output.0\n 33: 4 0 virtio1-input.1\n 40: 0 0 mlx5_async0@pci:0000:01:00.0\n \
        41: 9 0 mlx5_comp0@pci:0000:01:00.0\n 42: 9 0 mlx5_comp1@pci:0000:01:00.0\nNMI:  0 0  Non-maskable\n";

    #[test]
    fn finds_the_interrupts_of_each_kind_of_driver() {
        let root = tempfile::tempdir().expect("a directory");
        let make = |path: &str| fs::create_dir_all(root.path().join(path)).expect("a directory");
        let write = |path: &str, text: &str| fs::write(root.path().join(path), text).expect("writing");
        make("proc");
        write("proc/interrupts", INTERRUPTS);
        for irq in 24..43 {
            make(&format!("proc/irq/{irq}"));
            write(&format!("proc/irq/{irq}/effective_affinity_list"), "0\n");
        }
        make("sys/class/net/eth0");
        for irq in [30, 31, 32, 33] {
            make(&format!("sys/devices/pci1/msi_irqs/{irq}"));
        }
        make("sys/devices/pci1/virtio1/net/eth1");
        make("sys/class/net/eth1");
        let link = |to: &str, at: &str| std::os::unix::fs::symlink(root.path().join(to), root.path().join(at));
        link("sys/devices/pci1/virtio1", "sys/class/net/eth1/device").expect("a link");
        for irq in [40, 41, 42] {
            make(&format!("sys/devices/pci2/msi_irqs/{irq}"));
        }
        make("sys/class/net/eth2");
        link("sys/devices/pci2", "sys/class/net/eth2/device").expect("a link");
        for (interface, irqs) in [("eth0", [25, 26]), ("eth1", [31, 33]), ("eth2", [41, 42])] {
            assert_eq!(
                by_core(root.path(), interface),
                BTreeMap::from([("0".to_owned(), irqs.to_vec())]),
                "{interface}"
            );
        }
    }

    #[test]
    fn finds_a_crowded_processor() {
        let one = BTreeMap::from([("0".to_owned(), vec![25, 26])]);
        let two = BTreeMap::from([("0".to_owned(), vec![25]), ("1".to_owned(), vec![26])]);
        assert!(crowded("eth0", &one, 2).is_some_and(|finding| finding.remedy.contains("/proc/irq/25/")));
        assert_eq!(crowded("eth0", &two, 2), None);
        assert_eq!(crowded("eth0", &one, 1), None);
    }
}
