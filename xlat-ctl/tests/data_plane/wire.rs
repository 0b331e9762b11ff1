//! A wire's far end, on which frames are sent and received.

use super::*;

/// A socket that sends and receives frames of one interface.
pub(super) struct Wire(OwnedFd);

impl Wire {
    pub(super) fn open(name: &str) -> Self {
        let protocol = (libc::ETH_P_ALL as u16).to_be();
        // SAFETY: a system call with numbers only.
        let socket = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_NONBLOCK, protocol.into()) };
        assert!(socket >= 0);
        // SAFETY: just opened.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        // SAFETY: all-zero bytes are a valid address.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = protocol;
        address.sll_ifindex = ifindex(name) as i32;
        // SAFETY: the address is whole and outlives the call.
        let result = unsafe {
            libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size_of_val(&address) as libc::socklen_t)
        };
        assert_eq!(result, 0);
        Self(socket)
    }

    pub(super) fn send(&self, frame: &[u8]) {
        // SAFETY: the frame outlives the call.
        let sent = unsafe { libc::send(self.0.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        assert_eq!(sent, frame.len() as isize);
    }

    /// IPv6 frames from inside the translation prefix, until there are `count` or half a second has passed.
    pub(super) fn receive(&self, count: usize) -> Vec<Vec<u8>> {
        let translated =
            |frame: &[u8]| frame[12..14] == [0x86, 0xdd] && frame[22..34] == prefix().network().octets()[..12];
        self.receive_those(count, translated)
    }

    /// Frames that are wanted, until there are `count` or half a second has passed and nothing more is there.
    pub(super) fn receive_those(&self, count: usize, wanted: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
        let (start, mut frames) = (Instant::now(), Vec::new());
        while frames.len() < count {
            let is_over = start.elapsed() >= Duration::from_millis(500);
            let mut frame = vec![0; 70_000];
            // SAFETY: the buffer outlives the call.
            let got = unsafe { libc::recv(self.0.as_raw_fd(), frame.as_mut_ptr().cast(), frame.len(), 0) };
            if got < 0 {
                assert_eq!(Error::last_os_error().kind(), ErrorKind::WouldBlock);
                if is_over {
                    break;
                }
                thread::sleep(Duration::from_millis(2));
                continue;
            }
            frame.truncate(got as usize);
            if wanted(&frame) {
                frames.push(frame);
            }
        }
        frames
    }
}
