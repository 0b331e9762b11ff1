//! A network device whose frames this process gets.

use std::{
    ffi::{c_char, c_short},
    fs::{File, OpenOptions},
    io::Read as _,
    os::fd::{AsFd as _, AsRawFd as _},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Namespace;

nix::ioctl_write_int!(set_interface, b'T', 202);

/// A tap of a machine; gone when this is dropped.
#[derive(Debug)]
pub struct Tap {
    file: File,
}

impl Tap {
    /// Makes one, without address and not up.
    ///
    /// # Errors
    /// The machine has one of that name, or the kernel has no taps.
    pub fn new(machine: &Namespace, name: &str) -> Result<Self> {
        machine.inside(|| {
            let mut request = libc::ifreq {
                ifr_name: [0; libc::IFNAMSIZ],
                ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: (libc::IFF_TAP | libc::IFF_NO_PI) as c_short },
            };
            for (place, byte) in request.ifr_name.iter_mut().zip(name.bytes().take(libc::IFNAMSIZ - 1)) {
                *place = byte as c_char;
            }
            let file =
                OpenOptions::new().read(true).write(true).open("/dev/net/tun").context("opening /dev/net/tun")?;
            // SAFETY: the kernel reads a request that lives until the call returns.
            unsafe { set_interface(file.as_raw_fd(), (&raw const request) as u64) }
                .with_context(|| format!("making the tap {name}"))?;
            Ok(Self { file })
        })
    }

    /// The next frame for which `is_wanted` holds; `None`: none comes in time.
    ///
    /// # Errors
    /// The kernel gives none any more.
    pub fn frame(&mut self, within: Duration, is_wanted: impl Fn(&[u8]) -> bool) -> Result<Option<Vec<u8>>> {
        let end = Instant::now() + within;
        let mut frame = vec![0; 1 << 16];
        loop {
            let left = PollTimeout::try_from(end.saturating_duration_since(Instant::now())).context("waiting")?;
            if poll(&mut [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)], left).context("waiting for a frame")? == 0
            {
                return Ok(None);
            }
            let len = self.file.read(&mut frame).context("reading a frame")?;
            if is_wanted(&frame[..len]) {
                frame.truncate(len);
                return Ok(Some(frame));
            }
        }
    }
}
