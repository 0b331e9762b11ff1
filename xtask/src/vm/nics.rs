//! The NICs of a virtual machine, and the wires between them.

use std::str::FromStr;

use anyhow::{Result, bail};

/// A NIC that the emulator has, by the name of its driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nic {
    /// Of virtual machines.
    VirtioNet,
    /// Intel 82576.
    Igb,
    /// Of VMware.
    Vmxnet3,
    /// Intel 82574L.
    E1000e,
}

impl Nic {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::VirtioNet, Self::Igb, Self::Vmxnet3, Self::E1000e];

    /// The driver's name, which is also its module's.
    pub(crate) const fn driver(self) -> &'static str {
        match self {
            Self::VirtioNet => "virtio_net",
            Self::Igb => "igb",
            Self::Vmxnet3 => "vmxnet3",
            Self::E1000e => "e1000e",
        }
    }

    /// The emulator's name for it.
    const fn device(self) -> &'static str {
        match self {
            Self::VirtioNet => "virtio-net-pci",
            Self::Igb => "igb",
            Self::Vmxnet3 => "vmxnet3",
            Self::E1000e => "e1000e",
        }
    }
}

impl FromStr for Nic {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match Self::ALL.into_iter().find(|nic| nic.driver() == text) {
            Some(nic) => Ok(nic),
            None => bail!("--nic {text}: the drivers are {}", Self::ALL.map(Self::driver).join(", ")),
        }
    }
}

/// A NIC of the machine: its name there, its link-layer address, by which it is found, and its driver.
pub(crate) struct Card {
    /// Its name in the guest.
    pub(crate) name: &'static str,
    /// Its link-layer address.
    pub(crate) mac: &'static str,
    /// What it is.
    pub(crate) nic: Nic,
    /// The wire that it is on.
    wire: u8,
}

/// Two NICs of the kind under test, and on the wire of each another one to talk with.
pub(crate) fn cards(nic: Nic) -> [Card; 4] {
    /// The plainest driver: no offloads, jumbo frames.
    const FAR: Nic = Nic::E1000e;
    [
        Card { name: "nic0", mac: "52:54:00:00:00:10", nic, wire: 0 },
        Card { name: "nic1", mac: "52:54:00:00:00:11", nic, wire: 1 },
        Card { name: "far0", mac: "52:54:00:00:00:20", nic: FAR, wire: 0 },
        Card { name: "far1", mac: "52:54:00:00:00:21", nic: FAR, wire: 1 },
    ]
}

impl Card {
    /// The emulator's arguments for it. A hub is the wire: whatever one of its ports is given, all others get. Each card has a
    /// port of its own, since the functions of an igb take the next slot as well.
    pub(crate) fn arguments(&self) -> [String; 6] {
        let Self { name, mac, nic, wire } = self;
        let slot = &mac[mac.len() - 2..];
        [
            "-netdev".to_owned(),
            format!("hubport,id={name},hubid={wire}"),
            "-device".to_owned(),
            format!("pcie-root-port,id=port-{name},chassis={slot}"),
            "-device".to_owned(),
            format!("{},netdev={name},mac={mac},bus=port-{name}", nic.device()),
        ]
    }
}
