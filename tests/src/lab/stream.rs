//! Many numbered packets a second through the relay, each one watched for: raw Ethernet frames out of one interface, and what
//! arrives at another.

use std::{
    io,
    net::Ipv6Addr,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::Namespace;

/// Frames that are sent together, with one system call: far fewer than a veth holds.
const BATCH: usize = 32;
/// How late the sender may be and still catch up.
const MOST_LATE: Duration = Duration::from_millis(2);
/// Bytes of an arriving frame that are looked at.
const LOOK: usize = 128;
/// What the receiving socket holds while its thread does not run: two seconds' worth.
const BUFFER: usize = 1 << 29;

/// A frame to be sent again and again, its number in the first four bytes of its UDP data.
#[derive(Clone)]
pub struct NumberedFrame {
    /// With zeros in place of number and checksum.
    pub bytes: Vec<u8>,
    /// Sum over the words that the checksum covers, as long as number and checksum are zero.
    pub sum: u32,
    /// What the translated packet may be from and to, with a verdict (1 to 254) for each; all else is a [`MIXED`] one.
    pub becomes: Vec<(Ipv6Addr, Ipv6Addr, u8)>,
}

/// Verdict on a packet that none of what it may become is.
pub const MIXED: u8 = 254;

/// Where the number of a [`NumberedFrame`] is.
pub const NUMBER_AT: usize = 42;
/// Where its checksum is.
pub const CHECKSUM_AT: usize = 40;

impl NumberedFrame {
    /// `packet`: an IPv4 packet with UDP and a payload of at least four bytes, right in all else. `to`, `from`: link-layer addresses.
    ///
    /// # Panics
    /// The packet is shorter.
    #[must_use]
    pub fn udp4(to: [u8; 6], from: [u8; 6], packet: &[u8], becomes: Vec<(Ipv6Addr, Ipv6Addr, u8)>) -> Self {
        const ETHERNET: usize = 14;
        const UDP: usize = ETHERNET + 20;
        let mut bytes = [&to[..], &from, &[0x08, 0x00], packet].concat();
        bytes[UDP + 6..UDP + 12].fill(0);
        let words = |bytes: &[u8]| -> u32 {
            bytes.chunks(2).map(|two| u32::from(u16::from_be_bytes([two[0], *two.get(1).unwrap_or(&0)]))).sum()
        };
        let length = u32::try_from(bytes.len() - UDP).expect("a short packet");
        let sum = words(&bytes[ETHERNET + 12..UDP]) + 17 + length + words(&bytes[UDP..]);
        Self { bytes, sum, becomes }
    }

    fn write(&self, number: u32, to: &mut [u8]) {
        to.copy_from_slice(&self.bytes);
        to[NUMBER_AT..NUMBER_AT + 4].copy_from_slice(&number.to_be_bytes());
        let mut sum = self.sum + (number >> 16) + (number & 0xffff);
        while sum > 0xffff {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        let checksum = match !(sum as u16) {
            0 => 0xffff,
            other => other,
        };
        to[CHECKSUM_AT..CHECKSUM_AT + 2].copy_from_slice(&checksum.to_be_bytes());
    }
}

/// What became of each number.
pub struct Seen {
    /// By number: 0: it did not arrive; 255: more than once; else the verdict on it.
    pub verdicts: Vec<u8>,
    /// Arrived frames that the receiving socket had no room for: with any the count says nothing.
    pub overflow: u64,
    /// How long frames were sent.
    pub time: Duration,
}

/// A running load.
pub trait Load {
    /// The number of frames that have been sent.
    fn sent(&self) -> u64;

    /// Ends the load, waits for what is on its way, and tells of all numbers.
    ///
    /// # Errors
    /// The kernel refused to send or to receive.
    fn finish(self) -> anyhow::Result<Seen>;
}

/// A load out of raw sockets and into them.
pub struct SocketLoad {
    sent: Arc<AtomicU64>,
    done: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
    sender: JoinHandle<io::Result<Duration>>,
    receiver: JoinHandle<io::Result<(Vec<u8>, u64)>>,
    received: Arc<AtomicUsize>,
}

/// A raw socket of an interface. `protocol` 0: for sending only.
fn raw_socket(interface: &str, protocol: u16) -> io::Result<OwnedFd> {
    let index = nix::net::if_::if_nametoindex(interface)?;
    // SAFETY: a call with numbers only; the descriptor is new, and nobody else has it.
    let socket = unsafe {
        let socket = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0);
        if socket < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(socket)
    };
    nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::RcvBufForce, &BUFFER)?;
    // SAFETY: all bit patterns of the structure are valid.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol.to_be();
    address.sll_ifindex = index.cast_signed();
    let len = size_of_val(&address) as libc::socklen_t;
    // SAFETY: the address is of the length that is given.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len) };
    if bound < 0 { Err(io::Error::last_os_error()) } else { Ok(socket) }
}

impl SocketLoad {
    /// Sends the frames in turn, `rate` a second, from one interface, and looks at all IPv6 frames that come in by the other.
    ///
    /// # Errors
    /// Without root.
    pub fn start(
        from: (&Namespace, &str),
        to: (&Namespace, &str),
        frames: Vec<NumberedFrame>,
        rate: u32,
    ) -> io::Result<Self> {
        let out = from.0.inside(|| raw_socket(from.1, 0))?;
        let into = to.0.inside(|| raw_socket(to.1, libc::ETH_P_IPV6 as u16))?;
        let (sent, received) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicUsize::new(0)));
        let (done, over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let sender = {
            let (sent, done, frames) = (Arc::clone(&sent), Arc::clone(&done), frames.clone());
            thread::spawn(move || send(&out, &frames, rate, &sent, &done))
        };
        let receiver = {
            let (over, received) = (Arc::clone(&over), Arc::clone(&received));
            thread::spawn(move || receive(&into, &frames, &over, &received))
        };
        Ok(Self { sent, done, over, sender, receiver, received })
    }
}

impl Load for SocketLoad {
    fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    fn finish(self) -> anyhow::Result<Seen> {
        self.done.store(true, Relaxed);
        let time = self.sender.join().expect("the sender")?;
        // Until nothing comes any more.
        let mut before = usize::MAX;
        while std::mem::replace(&mut before, self.received.load(Relaxed)) != self.received.load(Relaxed) {
            thread::sleep(Duration::from_millis(200));
        }
        self.over.store(true, Relaxed);
        let (mut verdicts, overflow) = self.receiver.join().expect("the receiver")?;
        verdicts.resize(self.sent.load(Relaxed) as usize, 0);
        Ok(Seen { verdicts, overflow, time })
    }
}

/// The number of a packet that has arrived, and the verdict on it. `None`: it is none of these.
fn judge(frames: &[NumberedFrame], frame: &[u8]) -> Option<(u32, u8)> {
    let address = |at: usize| Some(Ipv6Addr::from(<[u8; 16]>::try_from(frame.get(at..at + 16)?).ok()?));
    if *frame.get(20)? != 17 {
        return None;
    }
    let number = u32::from_be_bytes(frame.get(62..66)?.try_into().ok()?);
    let arrived = (address(22)?, address(38)?);
    let becomes = &frames[number as usize % frames.len()].becomes;
    let right = becomes.iter().find(|(source, destination, _)| (*source, *destination) == arrived);
    Some((number, right.map_or(MIXED, |(_, _, verdict)| *verdict)))
}

fn send(
    socket: &OwnedFd,
    frames: &[NumberedFrame],
    rate: u32,
    sent: &AtomicU64,
    done: &AtomicBool,
) -> io::Result<Duration> {
    let longest = frames.iter().map(|frame| frame.bytes.len()).max().unwrap_or(0);
    let mut bytes = vec![0; BATCH * longest];
    let begin = Instant::now();
    let mut due = begin;
    let mut number = 0_u64;
    while !done.load(Relaxed) {
        // SAFETY: all bit patterns of these structures are valid.
        let mut vectors: [libc::iovec; BATCH] = unsafe { std::mem::zeroed() };
        // SAFETY: as above.
        let mut messages: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
        for (index, place) in bytes.chunks_mut(longest).enumerate() {
            let number = number as u32 + index as u32;
            let frame = &frames[number as usize % frames.len()];
            frame.write(number, &mut place[..frame.bytes.len()]);
            vectors[index] = libc::iovec { iov_base: place.as_mut_ptr().cast(), iov_len: frame.bytes.len() };
            messages[index].msg_hdr.msg_iov = &raw mut vectors[index];
            messages[index].msg_hdr.msg_iovlen = 1;
        }
        let mut from = 0;
        while from < BATCH {
            let rest = &mut messages[from..];
            // SAFETY: the messages point to vectors, and these to bytes, which all live until the call returns.
            let count = unsafe { libc::sendmmsg(socket.as_raw_fd(), rest.as_mut_ptr(), rest.len() as libc::c_uint, 0) };
            if count < 0 {
                return Err(io::Error::last_os_error());
            }
            from += count as usize;
        }
        number += BATCH as u64;
        sent.store(number, Relaxed);
        due += Duration::from_nanos(BATCH as u64 * 1_000_000_000 / u64::from(rate));
        let now = Instant::now();
        // A sleep takes at least 50 µs longer than it should.
        if due > now + Duration::from_micros(100) {
            thread::sleep(due - now);
        }
        // A little lateness is caught up with; more would be a burst that no wire has.
        due = due.max(now.checked_sub(MOST_LATE).unwrap_or(now));
    }
    Ok(begin.elapsed())
}

fn receive(
    socket: &OwnedFd,
    frames: &[NumberedFrame],
    over: &AtomicBool,
    received: &AtomicUsize,
) -> io::Result<(Vec<u8>, u64)> {
    nix::sys::socket::setsockopt(
        socket,
        nix::sys::socket::sockopt::ReceiveTimeout,
        &nix::sys::time::TimeVal::new(0, 50_000),
    )?;
    let mut verdicts = Vec::new();
    let mut bytes = vec![0_u8; BATCH * LOOK];
    while !over.load(Relaxed) {
        // SAFETY: all bit patterns of these structures are valid.
        let mut vectors: [libc::iovec; BATCH] = unsafe { std::mem::zeroed() };
        // SAFETY: as above.
        let mut messages: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
        for (index, place) in bytes.chunks_mut(LOOK).enumerate() {
            vectors[index] = libc::iovec { iov_base: place.as_mut_ptr().cast(), iov_len: LOOK };
            messages[index].msg_hdr.msg_iov = &raw mut vectors[index];
            messages[index].msg_hdr.msg_iovlen = 1;
        }
        let (socket, first) = (socket.as_raw_fd(), messages.as_mut_ptr());
        // SAFETY: the messages point to vectors, and these to bytes, which all live until the call returns.
        let count =
            unsafe { libc::recvmmsg(socket, first, BATCH as libc::c_uint, libc::MSG_WAITFORONE, std::ptr::null_mut()) };
        if count < 0 {
            let error = io::Error::last_os_error();
            match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => continue,
                _ => return Err(error),
            }
        }
        for (message, place) in messages.iter().zip(bytes.chunks(LOOK)).take(count as usize) {
            let Some((number, verdict)) = judge(frames, &place[..LOOK.min(message.msg_len as usize)]) else {
                continue;
            };
            let number = number as usize;
            if verdicts.len() <= number {
                verdicts.resize((number + 1).next_power_of_two().max(1 << 20), 0);
            }
            verdicts[number] = if verdicts[number] == 0 { verdict } else { 255 };
        }
        received.fetch_add(count as usize, Relaxed);
    }
    Ok((verdicts, overflow(socket)?))
}

/// How many frames the socket had no room for.
fn overflow(socket: &OwnedFd) -> io::Result<u64> {
    let mut counted = [0_u32; 2];
    let mut len = size_of_val(&counted) as libc::socklen_t;
    let place = counted.as_mut_ptr().cast();
    // SAFETY: the place is of the length that is given.
    let result =
        unsafe { libc::getsockopt(socket.as_raw_fd(), libc::SOL_PACKET, libc::PACKET_STATISTICS, place, &raw mut len) };
    // `struct tpacket_stats`: all frames, and those without room.
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(counted[1].into()) }
}
