//! The far ends of a machine's links: what is sent into one, and what comes out of all.

use std::{
    io::Error,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{setsockopt, sockopt::ReceiveTimeout};
use nix::sys::time::{TimeVal, TimeValLike as _};

use super::outcome::Sent;
use crate::{
    harness::world::{self, INTERFACES, World},
    lab::Namespace,
};

/// Nothing more comes after a packet when nothing has come for so long.
const SILENCE: Duration = Duration::from_millis(40);
/// Neighbours that [`world`] leaves unresolved: the kernel would answer for them seconds later, amid other packets.
const RESOLVED: [&str; 2] = [
    "neigh replace 198.18.4.77 lladdr 02:00:00:00:04:4d dev v4 nud permanent",
    "neigh replace 2001:db8:fe:6::77 lladdr 02:00:00:00:06:4d dev v6 nud permanent",
];

/// A machine as [`world`] has it, and a socket at the far ends of its links.
#[derive(Debug)]
pub struct Wire {
    /// The machine.
    pub machine: Namespace,
    socket: OwnedFd,
    /// Indices of the far ends, in the order of the interfaces.
    far: Vec<u32>,
    /// What has the far ends take frames of XDP_TX at once.
    _programs: Vec<OwnedFd>,
}

impl Wire {
    /// Makes the machine.
    ///
    /// # Errors
    /// Without root.
    pub fn new() -> Result<Self> {
        let machine = Namespace::new()?;
        machine.inside(World::build)?;
        for command in RESOLVED {
            machine.ip(command)?;
        }
        // Every error that is due is to be seen.
        machine.sysctl("ipv4/icmp_ratelimit", "0")?;
        machine.sysctl("ipv6/icmp/ratelimit", "0")?;
        let (socket, far) = machine.inside(|| -> Result<_> {
            let far = (0..INTERFACES.len()).map(|number| if_nametoindex(format!("peer{number}").as_str()));
            let far = far.collect::<Result<_, _>>().context("looking for the far ends")?;
            Ok((open()?, far))
        })?;
        let programs = (0..INTERFACES.len()).map(|number| machine.pass(&format!("peer{number}")));
        let programs = programs.collect::<Result<_>>()?;
        Ok(Self { machine, socket, far, _programs: programs })
    }

    /// Sends a packet to the relay as if by the gateway behind an interface.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn send(&self, arrives_by: &str, packet: &[u8], is_ipv6: bool) -> Result<()> {
        let place =
            INTERFACES.iter().position(|interface| interface.name == arrives_by).context("no such interface")?;
        let arrival = world::interface(arrives_by);
        let ether_type: [u8; 2] = if is_ipv6 { [0x86, 0xdd] } else { [0x08, 0x00] };
        let frame = [&arrival.mac[..], &arrival.gateway_mac, &ether_type, packet].concat();
        send(&self.socket, self.far[place], &frame).context("sending a frame")
    }

    /// What the relay has sent, until there is silence.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn listen(&self) -> Result<Vec<Sent>> {
        self.receive_all(0)
    }

    /// What the relay has sent already.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn heard(&self) -> Result<Vec<Sent>> {
        self.receive_all(libc::MSG_DONTWAIT)
    }

    fn receive_all(&self, flags: libc::c_int) -> Result<Vec<Sent>> {
        let mut all = Vec::new();
        while let Some((index, frame)) = receive(&self.socket, flags).context("listening for frames")? {
            let Some(place) = self.far.iter().position(|far| *far == index) else { continue };
            all.extend(Sent::of(INTERFACES[place].name, &frame));
        }
        Ok(all)
    }
}

fn open() -> Result<OwnedFd> {
    let protocol = i32::from((libc::ETH_P_ALL as u16).to_be());
    // SAFETY: a call with numbers only; the descriptor is new, and nobody else has it.
    let socket = unsafe {
        let socket = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol);
        if socket < 0 {
            return Err(Error::last_os_error()).context("opening a packet socket");
        }
        OwnedFd::from_raw_fd(socket)
    };
    let silence = TimeVal::milliseconds(SILENCE.as_millis().try_into()?);
    setsockopt(&socket, ReceiveTimeout, &silence).context("setting how long to listen")?;
    Ok(socket)
}

fn send(socket: &OwnedFd, index: u32, frame: &[u8]) -> std::io::Result<()> {
    // SAFETY: all of it are numbers, of which 0 is a value.
    let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    to.sll_family = libc::AF_PACKET as u16;
    to.sll_ifindex = index.cast_signed();
    // SAFETY: frame and address live until the call returns, and are as long as it is told.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            frame.as_ptr().cast(),
            frame.len(),
            0,
            (&raw const to).cast(),
            size_of::<libc::sockaddr_ll>() as u32,
        )
    };
    if sent < 0 { Err(Error::last_os_error()) } else { Ok(()) }
}

/// The next frame that arrives at an interface, with its index; `None`: there was silence.
fn receive(socket: &OwnedFd, flags: libc::c_int) -> std::io::Result<Option<(u32, Vec<u8>)>> {
    let mut frame = vec![0u8; 65_536];
    loop {
        // SAFETY: all of it are numbers, of which 0 is a value.
        let mut from: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        let mut length = size_of::<libc::sockaddr_ll>() as u32;
        // SAFETY: buffer and address live until the call returns, and are as long as it is told.
        let received = unsafe {
            libc::recvfrom(
                socket.as_raw_fd(),
                frame.as_mut_ptr().cast(),
                frame.len(),
                flags,
                (&raw mut from).cast(),
                &raw mut length,
            )
        };
        match usize::try_from(received) {
            Ok(_) if from.sll_pkttype == libc::PACKET_OUTGOING => {}
            Ok(received) => {
                frame.truncate(received);
                return Ok(Some((from.sll_ifindex.cast_unsigned(), frame)));
            }
            Err(_) => {
                let error = Error::last_os_error();
                return if error.kind() == std::io::ErrorKind::WouldBlock { Ok(None) } else { Err(error) };
            }
        }
    }
}
