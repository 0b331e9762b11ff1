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
    // SAFETY: a system call with numbers only.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just opened, nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    let mut value = Value { command: offload as u32, data: on.into() };
    // SAFETY: all-zero bytes are a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if interface.len() >= request.ifr_name.len() {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast::<c_void>().cast();
    // SAFETY: `request` names an interface and points to a value that outlives the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
