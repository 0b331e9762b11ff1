//! Do all processors get packets?

use std::{num::NonZero, thread};

use super::{Finding, Seen};
use crate::netlink::{Device, Interface};

pub(super) const NAME: &str = "queues";

pub(super) fn check(seen: &Seen) -> Vec<Finding> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get) as u32;
    of_cores(seen, cores)
}

fn of_cores(seen: &Seen, cores: u32) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (interface, device) in seen.with_device() {
        let (Some(queues), Some(most)) = (device.receive_queues, device.most_queues) else { continue };
        let wanted = cores.min(if device.half_for_xdp() { most / 2 } else { most });
        if interface.kind.as_deref() == Some("veth") || queues >= wanted {
            continue;
        }
        let name = &interface.name;
        findings.push(Finding::hint(
            NAME,
            format!("{name} receives in {queues} queues for {cores} processors"),
            remedy(interface, device, wanted),
        ));
    }
    findings
}

/// What gives a NIC so many queues.
fn remedy(interface: &Interface, device: &Device, wanted: u32) -> String {
    let command = device.set_queues(&interface.name, wanted);
    if device.driver == "virtio_net" && interface.xdp_program.is_some_and(|program| !program.generic) {
        return format!(
            "while no native program is attached, which virtio_net asks for: stop the daemon (`xlat-ctl detach` if it keeps the program), {command}, start it"
        );
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::XdpProgram;

    #[test]
    fn finds_processors_that_get_no_packets() {
        let device = Device { receive_queues: Some(1), most_queues: Some(4), combined: true, ..Device::default() };
        let seen = Seen::example(vec![(Interface::example("eth0"), device)]);
        assert_eq!(of_cores(&seen, 1), []);
        assert_eq!(of_cores(&seen, 8)[0].remedy, "ethtool -L eth0 combined 4");
        let device = Device {
            receive_queues: Some(1),
            most_queues: Some(8),
            driver: "ena".to_owned(),
            combined: true,
            ..Device::default()
        };
        let seen = Seen::example(vec![(Interface::example("eth0"), device.clone())]);
        assert_eq!(of_cores(&seen, 16)[0].remedy, "ethtool -L eth0 combined 4");
        let gve = Device { driver: "gve".to_owned(), combined: false, ..device.clone() };
        let seen = Seen::example(vec![(Interface::example("eth0"), gve)]);
        assert_eq!(of_cores(&seen, 16)[0].remedy, "ethtool -L eth0 rx 4 tx 4");
        let native =
            Interface { xdp_program: Some(XdpProgram { id: 1, generic: false }), ..Interface::example("eth0") };
        let seen = Seen::example(vec![(native, Device { driver: "virtio_net".to_owned(), ..device })]);
        assert!(of_cores(&seen, 2)[0].remedy.contains("stop the daemon"));
    }
}
