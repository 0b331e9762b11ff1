//! Is the program attached, in native mode, and if not why?

use super::{Finding, Seen};
use crate::{config::Pattern, dataplane, netlink::Interface};

pub(super) const NAME: &str = "xdp";

/// Largest MTU, bytes, whose frames fit a page of 4096 with the room that drivers keep for XDP.
const ONE_PAGE: u32 = 3400;

/// Its receive queues of the default kind have no byte of a frame of several buffers in the first one.
const WITHOUT_FIRST_BUFFER: &str = "mlx5_core";

pub(super) fn check(seen: &Seen) -> Vec<Finding> {
    let absent = |pattern: &&Pattern| !seen.machine.interfaces.iter().any(|interface| pattern.matches(&interface.name));
    let absent = seen.config.dataplane.interfaces.iter().filter(absent).map(|pattern| {
        Finding::serious(
            NAME,
            format!("there is no interface {pattern}"),
            "correct dataplane.interfaces, or make the interface".to_owned(),
        )
    });
    let drivers = seen.with_device().filter_map(|(interface, device)| of_driver(interface, &device.driver));
    let mut findings: Vec<Finding> = absent.chain(seen.configured().flat_map(of_interface)).chain(drivers).collect();
    let failed: Vec<Finding> = seen.failed.iter().filter_map(|failed| not_attached(failed, &findings)).collect();
    findings.extend(failed);
    findings
}

/// What the daemon says of an interface that has not got the program, unless a finding of its own tells the reason.
fn not_attached((name, reason): &(String, String), findings: &[Finding]) -> Option<Finding> {
    let is_told = findings.iter().any(|finding| finding.serious && finding.problem.starts_with(&format!("{name} ")));
    let finding = || {
        Finding::serious(
            NAME,
            format!("{name} has not got the program: {reason}"),
            "the reason says what is in the way; the daemon tries again each second, and `xlat-ctl status` tells how it went"
                .to_owned(),
        )
    };
    (!is_told).then(finding)
}

fn of_driver(interface: &Interface, driver: &str) -> Option<Finding> {
    let name = &interface.name;
    let finding = || {
        Finding::hint(
            NAME,
            format!(
                "{name} has an MTU of {}, with which its driver ({driver}) hands XDP frames without their headers, which are not \
                 translated, unless rx_striding_rq is off",
                interface.mtu
            ),
            format!("ethtool --set-priv-flags {name} rx_striding_rq off, or ip link set {name} mtu {ONE_PAGE}"),
        )
    };
    (driver == WITHOUT_FIRST_BUFFER && interface.mtu > ONE_PAGE).then(finding)
}

fn of_interface(interface: &Interface) -> Vec<Finding> {
    let name = &interface.name;
    let mut findings = Vec::new();
    if !interface.up {
        findings.push(Finding::serious(NAME, format!("{name} is down"), format!("ip link set {name} up")));
    }
    if let Some(program) = interface.xdp_program
        && let Some(description) = dataplane::describe_other(program.id)
    {
        findings.push(Finding::serious(
            NAME,
            format!("{name} carries another XDP program ({description}): this relay's cannot be attached beside it"),
            format!("take it off first: {}", dataplane::detach_advice(name, program.generic)),
        ));
        return findings;
    }
    let is_generic = interface.xdp_program.is_some_and(|program| program.generic);
    let refusal = dataplane::native_mode(name, is_generic.then_some(dataplane::NOT_TOLD));
    if is_generic || interface.xdp_program.is_none() && refusal.is_some() {
        let what =
            if is_generic { "has the program in generic mode, which is slower" } else { "gets no native program" };
        findings.push(Finding::hint(
            NAME,
            format!("{name} {what}"),
            if is_generic {
                let why = refusal.unwrap_or_else(|| "the daemon's log says why (`journalctl -u xlat`)".to_owned());
                format!("{why}; then xdp_mode = \"native\" and `xlat-ctl reload`")
            } else {
                refusal.unwrap_or_else(|| "the driver does not support native mode".to_owned())
            },
        ));
    }
    let is_native = interface.xdp_program.is_some_and(|program| !program.generic);
    // Some drivers let the MTU be raised while a program is attached, and then receive no large frame.
    if is_native && interface.mtu > ONE_PAGE && !interface.takes_several_buffers() {
        findings.push(Finding::serious(
            NAME,
            format!("{name} has an MTU of {}, but its driver gives XDP no frame larger than a page", interface.mtu),
            format!("ip link set {name} mtu {ONE_PAGE}, or xdp_mode = \"generic\""),
        ));
    }
    if interface.takes_xdp_frames() == Some(false) && interface.xdp_program.is_some() {
        findings.push(Finding::hint(
            NAME,
            format!("{name} takes no frames from XDP: the kernel forwards them, which is slower"),
            if interface.kind.as_deref() == Some("veth") {
                format!("ethtool -K {name} gro on, and the same at its other end")
            } else {
                "a driver that takes redirected frames (ndo_xdp_xmit)".to_owned()
            },
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::XdpProgram;

    #[test]
    fn finds_an_mtu_raised_above_what_xdp_is_given() {
        let native = Interface {
            mtu: 9000,
            xdp_program: Some(XdpProgram { id: 1, generic: false }),
            ..Interface::example("no-such-nic")
        };
        assert!(of_interface(&native)[0].remedy.contains("mtu 3400"));
        let several = Interface { xdp_features: Some(0x7f), ..native.clone() };
        assert_eq!(of_interface(&several), []);
        assert!(of_driver(&several, "mlx5_core").is_some_and(|finding| finding.remedy.contains("rx_striding_rq off")));
        assert_eq!(of_driver(&several, "ice"), None);
        assert_eq!(of_driver(&Interface::example("eth0"), "mlx5_core"), None);
        assert_eq!(of_interface(&Interface { mtu: 1500, ..native }), []);
    }
}
