//! Offloads of a device, by the ethtool interface.

use std::{
    ffi::c_void,
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

/// What can be switched on and off, by its `ETHTOOL_S…` command.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Offload {
    TransmitChecksum = 0x17,
    TcpSegmentation = 0x1f,
    GenericSegmentation = 0x24,
    GenericReceive = 0x2c,
}

#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// Switches an offload of an interface in the calling thread's network namespace.
///
/// # Errors
/// As the kernel says.
pub(crate) fn set(interface: &str, offload: Offload, on: bool) -> io::Result<()> {
    ask(interface, &mut Value { command: offload as u32, data: on.into() })
}

/// What a device is and has switched on, as far as its driver says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// Name of the driver; empty where there is none.
    pub driver: String,
    /// Large receive offload: packets are joined before XDP sees them.
    pub lro: bool,
    /// Generic receive offload: TCP segments are joined, but for a native program, and for a generic one of the device itself.
    pub gro: bool,
    /// VLAN tags are taken out of received frames.
    pub rxvlan: bool,
    /// Received checksums may be judged, or left half made, before the frame is seen.
    pub rx_checksum: bool,
    /// Queues that receive; `None`: the driver does not say.
    pub receive_queues: Option<u32>,
    /// Most queues that it can be given.
    pub most_queues: Option<u32>,
    /// Whether its queues receive and transmit, so that they are set as `combined` ones.
    pub combined: bool,
}

impl Device {
    /// Asks for all of it in the calling thread's network namespace. What the driver does not say is as if it were off.
    #[must_use]
    pub fn of(interface: &str) -> Self {
        let value = |command: u32| {
            let mut value = Value { command, data: 0 };
            ask(interface, &mut value).map_or(0, |()| value.data)
        };
        let flags = value(ETHTOOL_GFLAGS);
        let mut channels = Channels { command: ETHTOOL_GCHANNELS, ..Channels::default() };
        let has_channels = ask(interface, &mut channels).is_ok();
        let ([most_receive, _, _, most_combined], [receive, _, _, combined]) = (channels.most, channels.now);
        Self {
            driver: driver(interface),
            lro: flags & FLAG_LRO != 0,
            gro: value(ETHTOOL_GGRO) != 0,
            rxvlan: flags & FLAG_RXVLAN != 0,
            rx_checksum: value(ETHTOOL_GRXCSUM) != 0,
            receive_queues: has_channels.then_some(receive + combined),
            most_queues: has_channels.then_some(most_combined.max(most_receive)),
            combined: most_combined > 0,
        }
    }
}

/// Drivers that refuse a program on more than half of their queues: the other half is for what the program sends.
const HALF_FOR_XDP: [&str; 2] = ["ena", "gve"];

impl Device {
    /// Whether the driver takes a native program on half of its queues only.
    #[must_use]
    pub fn half_for_xdp(&self) -> bool {
        HALF_FOR_XDP.contains(&self.driver.as_str())
    }

    /// The command that gives it so many queues.
    #[must_use]
    pub fn set_queues(&self, name: &str, number: u32) -> String {
        if self.combined {
            format!("ethtool -L {name} combined {number}")
        } else {
            format!("ethtool -L {name} rx {number} tx {number}")
        }
    }
}

/// From `linux/ethtool.h`.
const ETHTOOL_GDRVINFO: u32 = 0x3;
const ETHTOOL_GRXCSUM: u32 = 0x14;
const ETHTOOL_GFLAGS: u32 = 0x25;
const ETHTOOL_GGRO: u32 = 0x2b;
const ETHTOOL_GCHANNELS: u32 = 0x3c;
const FLAG_RXVLAN: u32 = 1 << 8;
const FLAG_LRO: u32 = 1 << 15;

/// `struct ethtool_channels`: the most of receive, transmit, other and combined ones, and then how many there are.
#[repr(C)]
#[derive(Default)]
struct Channels {
    command: u32,
    most: [u32; 4],
    now: [u32; 4],
}

fn driver(interface: &str) -> String {
    /// `struct ethtool_drvinfo`: the command, then the name in 32 bytes.
    const LENGTH: usize = 196;
    let mut info = [0_u32; LENGTH / 4];
    info[0] = ETHTOOL_GDRVINFO;
    if ask(interface, &mut info).is_err() {
        return String::new();
    }
    let bytes: Vec<u8> = info[1..9].iter().flat_map(|word| word.to_ne_bytes()).take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// One question or command to a device: `argument` is as its command word has it.
fn ask<T>(interface: &str, argument: &mut T) -> io::Result<()> {
    // SAFETY: a system call with numbers only.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just opened, nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: all-zero bytes are a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if interface.len() >= request.ifr_name.len() {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = std::ptr::from_mut(argument).cast::<c_void>().cast();
    // SAFETY: `request` names an interface and points to the structure of its command, which outlives the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
