//! Why a driver refuses the program in native mode. The kernel's own words do not come with a BPF link; what is left is an error
//! number, and what the drivers are known to ask for.

use crate::netlink::{self, Device, Interface};

/// Bytes of a page, which a driver that gives XDP single buffers has for a frame and the room around it.
const PAGE: u32 = 4096;
/// What drivers keep of a page for the room before a frame and the record behind it, at least.
const ROOM: u32 = 256 + 320;

/// What to change so that the driver of an interface takes the program, or that nothing helps. `number`: the error of the kernel,
/// if it has refused. `None`: nothing is known to be in the way.
#[must_use]
pub fn native_mode(interface: &str, number: Option<i32>) -> Option<String> {
    let machine = netlink::snapshot().ok()?;
    let there = machine.interfaces.iter().find(|candidate| candidate.name == interface)?;
    sentence(there, &Device::of(interface), number)
}

/// In the place of an error number: the kernel has refused, and it is not known any more why.
pub const NOT_TOLD: i32 = 0;

fn sentence(interface: &Interface, device: &Device, number: Option<i32>) -> Option<String> {
    let (name, mtu, driver) = (&interface.name, interface.mtu, device.driver.as_str());
    let refused = number.is_some();
    let is = |other: i32| number == Some(other) || number == Some(NOT_TOLD);
    match driver {
        "virtio_net" if refused && device.rx_checksum && is(libc::EOPNOTSUPP) => Some(format!(
            "virtio_net takes no XDP program while the host hands it joined or half-summed packets: \
             `ethtool -K {name} rx off lro off gro-hw off`; where that is refused, switch guest_tso4, guest_tso6, guest_ecn, \
             guest_ufo and guest_csum off in the host's configuration of this NIC"
        )),
        _ if device.lro => Some(format!("{driver} takes no XDP program with LRO on: `ethtool -K {name} lro off`")),
        _ if refused && device.half_for_xdp() && too_many_queues(device).is_some() => Some(format!(
            "{driver} takes a native program on half of its queues only: `{}`",
            device.set_queues(name, too_many_queues(device).unwrap_or(1))
        )),
        "e1000e" | "e1000" | "r8169" | "tg3" | "bnx2" => {
            Some(format!("the driver {driver} has no native XDP: only generic mode is to be had on this NIC"))
        }
        "bonding" if is(libc::EOPNOTSUPP) => Some(format!(
            "a bond takes a native program only in the modes balance-rr, active-backup, 802.3ad and balance-xor (since \
             Linux 5.15), and if the driver of each of its NICs does: see `cat /proc/net/bonding/{name}`"
        )),
        "bridge" | "802.1Q VLAN Support" | "bonding" if is(libc::EOPNOTSUPP) => Some(format!(
            "{name} is no NIC but a {driver} on others: name the NICs under it in `interfaces`, or leave it in generic mode"
        )),
        "veth" if number == Some(libc::ENOSPC) => Some(format!(
            "the other end of the veth {name} has more transmit queues than {name} has receive queues: \
             `ethtool -L {name} rx N`, N being their number"
        )),
        "igb" | "ixgbe" | "i40e" if mtu > 1500 && is(libc::EINVAL) => Some(format!(
            "the MTU of {mtu} is too large for a program in {driver}, whose receive buffers for XDP hold some 1700 to \
             3000 bytes: `ip link set {name} mtu 1500`"
        )),
        _ if refused && mtu + ROOM > PAGE - 14 || number == Some(libc::ERANGE) => Some(format!(
            "the MTU of {mtu} is too large for a program in this driver{}: `ip link set {name} mtu 3400` or less",
            if driver == "veth" { " (that of its other end counts)" } else { "" }
        )),
        _ if number == Some(libc::EOPNOTSUPP) => Some(match driver {
            "" => "the driver does not support it".to_owned(),
            "vmxnet3" => "the driver vmxnet3 has native XDP since Linux 6.6 only".to_owned(),
            _ => format!("the driver {driver} does not support it"),
        }),
        _ => None,
    }
}

/// How many queues a device may have at most with a native program, where it has more.
fn too_many_queues(device: &Device) -> Option<u32> {
    let half = device.most_queues? / 2;
    (device.receive_queues? > half).then_some(half.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_how_many_queues_ena_may_have() {
        let device = |receive_queues| Device {
            driver: "ena".to_owned(),
            receive_queues: Some(receive_queues),
            most_queues: Some(8),
            combined: true,
            ..Device::default()
        };
        let words = sentence(&interface(1500), &device(8), Some(libc::EINVAL)).unwrap_or_default();
        assert!(words.contains("`ethtool -L ens1 combined 4`"), "{words}");
        assert_eq!(sentence(&interface(1500), &device(4), Some(libc::EINVAL)), None);
    }

    fn interface(mtu: u32) -> Interface {
        Interface { mtu, ..Interface::example("ens1") }
    }

    #[test]
    fn says_what_to_change() {
        let device = |driver: &str, lro, rx_checksum| Device {
            driver: driver.to_owned(),
            lro,
            rx_checksum,
            ..Device::default()
        };
        for (mtu, device, number, expected) in [
            (1500, device("virtio_net", false, true), libc::EOPNOTSUPP, "ethtool -K ens1 rx off"),
            (1500, device("ixgbe", true, false), libc::EINVAL, "ethtool -K ens1 lro off"),
            (9000, device("igb", false, false), libc::EINVAL, "MTU of 9000"),
            (3000, device("igb", false, false), libc::EINVAL, "MTU of 3000"),
            (9000, device("igb", false, false), NOT_TOLD, "mtu 1500"),
            (1500, device("virtio_net", false, true), NOT_TOLD, "ethtool -K ens1 rx off"),
            (1500, device("vmxnet3", false, false), NOT_TOLD, ""),
            (9000, device("veth", false, false), libc::ERANGE, "its other end"),
            (1500, device("veth", false, false), libc::ENOSPC, "receive queues"),
            (1500, device("e1000e", false, false), libc::EOPNOTSUPP, "has no native XDP"),
            (1500, device("vmxnet3", false, false), libc::EOPNOTSUPP, "since Linux 6.6"),
            (1500, device("bridge", false, false), libc::EOPNOTSUPP, "name the NICs under it"),
        ] {
            let words = sentence(&interface(mtu), &device, Some(number)).unwrap_or_default();
            assert!(words.contains(expected), "{}: {words}", device.driver);
        }
    }

    #[test]
    fn finds_nothing_in_the_way_of_an_ordinary_nic() {
        let device = Device { driver: "igb".to_owned(), rx_checksum: true, ..Device::default() };
        assert_eq!(sentence(&interface(1500), &device, None), None);
    }
}
