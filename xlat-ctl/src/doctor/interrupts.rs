//! Do the interrupts of a NIC's queues go to different processors?

use std::{collections::BTreeMap, fs, num::NonZero, thread};

use super::{Finding, Seen};

pub(super) const NAME: &str = "interrupts";

pub(super) fn check(seen: &Seen) -> Vec<Finding> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let text = fs::read_to_string("/proc/interrupts").unwrap_or_default();
    let affinity = |irq: u32| fs::read_to_string(format!("/proc/irq/{irq}/effective_affinity_list")).ok();
    let mut findings = Vec::new();
    for interface in seen.configured() {
        let irqs = irqs_of(&text, &interface.name);
        let mut by_core: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for irq in &irqs {
            if let Some(core) = affinity(*irq) {
                by_core.entry(core.trim().to_owned()).or_default().push(*irq);
            }
        }
        findings.extend(crowded(&interface.name, &by_core, cores));
    }
    findings
}

/// The numbers of the interrupts whose name begins with an interface's, queues only.
fn irqs_of(interrupts: &str, name: &str) -> Vec<u32> {
    let queue = |line: &&str| {
        let last = line.split_whitespace().last().unwrap_or_default();
        last.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'))
    };
    interrupts.lines().filter(queue).filter_map(|line| line.trim().split(':').next()?.parse().ok()).collect()
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

    const INTERRUPTS: &str = "           CPU0  CPU1\n 24:  1  2  PCI-MSIX 0-edge  eth0\n 25:  1  0  PCI-MSIX 1-edge  eth0-TxRx-0\n \
        26:  1  0  PCI-MSIX 2-edge  eth0-TxRx-1\n 27:  1  0  PCI-MSIX  eth01-TxRx-0\n";

    #[test]
    fn finds_a_crowded_processor() {
        assert_eq!(irqs_of(INTERRUPTS, "eth0"), [25, 26]);
        let one = BTreeMap::from([("0".to_owned(), vec![25, 26])]);
        let two = BTreeMap::from([("0".to_owned(), vec![25]), ("1".to_owned(), vec![26])]);
        assert!(crowded("eth0", &one, 2).is_some_and(|finding| finding.remedy.contains("/proc/irq/25/")));
        assert_eq!(crowded("eth0", &two, 2), None);
        assert_eq!(crowded("eth0", &one, 1), None);
    }
}
