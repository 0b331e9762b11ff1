//! Do all processors get packets?

use std::{num::NonZero, thread};

use super::{Finding, Seen};

pub(super) const NAME: &str = "queues";

/// Drivers that refuse a program on more than half of their queues.
const HALF_FOR_XDP: [&str; 2] = ["ena", "gve"];

pub(super) fn check(seen: &Seen) -> Vec<Finding> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get) as u32;
    of_cores(seen, cores)
}

fn of_cores(seen: &Seen, cores: u32) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (interface, device) in seen.with_device() {
        let (Some(queues), Some(most)) = (device.receive_queues, device.most_queues) else { continue };
        // The other half is for what the program sends.
        let most = if HALF_FOR_XDP.contains(&device.driver.as_str()) { most / 2 } else { most };
        let wanted = cores.min(most);
        if interface.kind.as_deref() == Some("veth") || queues >= wanted {
            continue;
        }
        let name = &interface.name;
        findings.push(Finding::hint(
            NAME,
            format!("{name} receives in {queues} queues for {cores} processors"),
            format!("ethtool -L {name} combined {wanted}"),
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::{Device, Interface};

    #[test]
    fn finds_processors_that_get_no_packets() {
        let device = Device { receive_queues: Some(1), most_queues: Some(4), ..Device::default() };
        let seen = Seen::example(vec![(Interface::example("eth0"), device)]);
        assert_eq!(of_cores(&seen, 1), []);
        assert_eq!(of_cores(&seen, 8)[0].remedy, "ethtool -L eth0 combined 4");
        let device =
            Device { receive_queues: Some(1), most_queues: Some(8), driver: "ena".to_owned(), ..Device::default() };
        let seen = Seen::example(vec![(Interface::example("eth0"), device)]);
        assert_eq!(of_cores(&seen, 16)[0].remedy, "ethtool -L eth0 combined 4");
    }
}
