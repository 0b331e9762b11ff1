//! Is the kernel too old for something?

use super::{Finding, Seen};

pub(super) const NAME: &str = "kernel";

/// Since which version the kernel has something, what is without it, and whether that loses packets.
const FEATURES: [((u32, u32), &str, bool); 4] = [
    ((5, 12), "next hops are looked up for each packet, which is slower", false),
    ((5, 15), "a new program instance is not tried with canaries before it gets real packets", false),
    ((5, 18), "frames larger than a page (jumbo) cannot be translated in native mode", false),
    ((6, 3), "frames larger than a page that have to be fragmented are lost in native mode", false),
];
/// Since when programs on arm64 may have functions and go on to others.
const ARM64: (u32, u32) = (6, 0);
/// Since when interfaces say what they can do with XDP.
const XDP_FEATURES: (u32, u32) = (6, 3);
/// Drivers that take frames from XDP (`ndo_xdp_xmit`) since Linux 5.15 or before.
const TAKE_FRAMES: [&str; 14] = [
    "bnxt_en",
    "ena",
    "fsl_dpaa2_eth",
    "i40e",
    "ice",
    "igb",
    "igc",
    "ixgbe",
    "mlx5_core",
    "mvneta",
    "mvpp2",
    "sfc",
    "veth",
    "virtio_net",
];

pub(super) fn check(seen: &Seen) -> Vec<Finding> {
    let (major, minor) = seen.kernel;
    let of = |(since_major, since_minor): (u32, u32), without: &str, serious: bool| Finding {
        check: NAME,
        serious,
        problem: format!("Linux {major}.{minor}: {without}"),
        remedy: format!("a kernel of Linux {since_major}.{since_minor} or newer"),
    };
    let loads = !cfg!(target_arch = "aarch64") || seen.kernel >= ARM64;
    let refused = (!loads).then(|| of(ARM64, "the kernel takes no XDP programs of this kind on arm64", true));
    let missing = FEATURES.iter().filter(|(since, _, _)| seen.kernel < *since);
    let mut findings: Vec<Finding> = refused.into_iter().collect();
    findings.extend(missing.map(|(since, without, serious)| of(*since, without, *serious)));
    for (interface, device) in seen.with_device().filter(|_| seen.kernel < XDP_FEATURES) {
        if device.driver != "bonding" && !TAKE_FRAMES.contains(&device.driver.as_str()) {
            let name = &interface.name;
            let driver = if device.driver.is_empty() { "without a name" } else { &device.driver };
            let lost = format!(
                "{name} does not say whether its driver ({driver}) takes frames from XDP: where it does not, what goes out there is \
                 lost"
            );
            findings.push(of(XDP_FEATURES, &lost, false));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::{Device, Interface};

    #[test]
    fn an_old_kernel_is_without_what_came_later() {
        let device = |driver: &str| Device { driver: driver.to_owned(), ..Device::default() };
        let mut seen = Seen::example(vec![(Interface::example("eth0"), device("ixgbe"))]);
        assert_eq!(check(&seen), []);
        seen.kernel = (5, 15);
        let findings = check(&seen);
        let remedies: Vec<&str> = findings.iter().map(|finding| finding.remedy.as_str()).collect();
        assert_eq!(remedies, ["a kernel of Linux 5.18 or newer", "a kernel of Linux 6.3 or newer"]);
        let mut seen = Seen::example(vec![(Interface::example("eth0"), device("e1000e"))]);
        seen.kernel = (6, 1);
        assert!(check(&seen).iter().any(|finding| finding.problem.contains("its driver (e1000e)")));
    }
}
