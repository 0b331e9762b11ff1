//! A netlink socket that asks and waits. The kernel answers at once, so that there is nothing to gain from waiting
//! asynchronously; and a socket stays in the network namespace that it was opened in, whoever uses it.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use nix::sys::socket::{setsockopt, sockopt};
use rtnetlink::{
    packet_core::{
        NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer, NetlinkHeader,
        NetlinkMessage, NetlinkPayload, NetlinkSerializable, NlasIterator,
    },
    sys::{Socket as RawSocket, SocketAddr},
};

use crate::plain;

/// How often news were lost since the process started.
static OVERRUNS: AtomicU64 = AtomicU64::new(0);

/// How often the kernel had more news than a socket has room for, since this process started. Each time the whole state is
/// looked at again.
#[must_use]
pub fn overruns() -> u64 {
    OVERRUNS.load(Relaxed)
}

/// A dump that changes under the reader is taken again, this often at most.
const DUMP_ATTEMPTS: u32 = 10;

/// What the kernel refused or could not say.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// There is no socket to ask with.
    #[error("cannot open a netlink socket: {}", plain(.0))]
    Open(#[source] io::Error),
    /// The kernel could not be asked.
    #[error("cannot {what}: the kernel could not be asked: {}", plain(.source))]
    Transport {
        /// What was being done.
        what: String,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The kernel refused.
    #[error("cannot {what}: {}{}", detail.as_deref().map_or_else(String::new, |text| format!("{text}: ")), plain(.source))]
    Refused {
        /// What was being done.
        what: String,
        /// The kernel's own words, if it had any.
        detail: Option<String>,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The kernel's answer cannot be read.
    #[error("cannot {what}: the kernel's answer makes no sense: {detail}")]
    Answer {
        /// What was being done.
        what: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The interfaces changed so fast that no complete list of them could be had.
    #[error("cannot {what}: it changed while it was being read, {DUMP_ATTEMPTS} times in a row")]
    Unsteady {
        /// What was being done.
        what: String,
    },
}

impl NetlinkError {
    /// The error number of a refusal.
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        match self {
            Self::Open(source) | Self::Transport { source, .. } | Self::Refused { source, .. } => source.raw_os_error(),
            Self::Answer { .. } | Self::Unsteady { .. } => None,
        }
    }
}

/// What takes the messages of an answer: type and payload. An error says what cannot be read.
type Each<'each> = dyn FnMut(u16, &[u8]) -> Result<(), String> + 'each;

/// A netlink socket in the network namespace of the thread that opened it.
pub(crate) struct Socket {
    raw: RawSocket,
    sequence: u32,
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the socket is open as long as `self` lives.
        unsafe { BorrowedFd::borrow_raw(self.raw.as_raw_fd()) }
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.raw.as_raw_fd()
    }
}

/// What [`Socket::read_news`] has come to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct News {
    /// The kernel had more than were read in time.
    pub(crate) lost: bool,
    /// Nothing more had arrived.
    pub(crate) is_all: bool,
}

impl Socket {
    /// Opens a socket of a netlink protocol (`NETLINK_ROUTE`, `NETLINK_GENERIC`).
    pub(crate) fn open(protocol: isize) -> Result<Self, NetlinkError> {
        let open = || {
            let mut raw = RawSocket::new(protocol)?;
            raw.bind_auto()?;
            raw.set_ext_ack(true)?;
            raw.set_cap_ack(true)?;
            Ok(raw)
        };
        Ok(Self { raw: open().map_err(NetlinkError::Open)?, sequence: 0 })
    }

    /// Subscribes to a multicast group. A socket for news is not asked anything: the two would mix.
    pub(crate) fn subscribe(&mut self, group: u32) -> Result<(), NetlinkError> {
        self.raw.add_membership(group).map_err(NetlinkError::Open)
    }

    /// Lets so many bytes of news wait (the kernel takes twice as much, for its records of them), if this process may. Where it may
    /// not, more news are lost, and all is asked for anew.
    pub(crate) fn make_room(&self, bytes: usize) {
        let _ = setsockopt(self, sockopt::RcvBufForce, &bytes);
    }

    /// Makes [`Self::drain`] return instead of waiting.
    pub(crate) fn set_non_blocking(&self) -> Result<(), NetlinkError> {
        self.raw.set_non_blocking(true).map_err(NetlinkError::Open)
    }

    /// Throws away what has arrived: that something has is all the news there is. `Ok(true)`: news were lost.
    pub(crate) fn drain(&self) -> io::Result<bool> {
        let mut lost = false;
        loop {
            let news = self.read_news(Duration::MAX, |_, _| {})?;
            lost |= news.lost;
            if news.is_all {
                return Ok(lost);
            }
        }
    }

    /// Hands over each message that has arrived, type and payload: for so long at most, and until news were lost.
    pub(crate) fn read_news(&self, most: Duration, mut each: impl FnMut(u16, &[u8])) -> io::Result<News> {
        let mut buffer = Vec::with_capacity(65_536);
        let begun = Instant::now();
        while begun.elapsed() < most {
            buffer.clear();
            match self.raw.recv(&mut buffer, 0) {
                Ok(_) => {
                    let mut rest = buffer.as_slice();
                    while let Ok(message) = NetlinkBuffer::new_checked(rest) {
                        each(message.message_type(), message.payload());
                        rest = rest.get((message.length() as usize).next_multiple_of(4)..).unwrap_or_default();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(News { lost: false, is_all: true });
                }
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    OVERRUNS.fetch_add(1, Relaxed);
                    return Ok(News { lost: true, is_all: false });
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(News { lost: false, is_all: false })
    }

    /// Has the kernel change something. `what` completes "cannot …".
    pub(crate) fn change(
        &mut self,
        what: &str,
        message: impl NetlinkSerializable,
        flags: u16,
    ) -> Result<(), NetlinkError> {
        self.send(what, message, NLM_F_REQUEST | NLM_F_ACK | flags)?;
        self.receive(what, &mut |_, _| Ok(())).map(|_| ())
    }

    /// Asks for one object and hands each message of the answer over.
    pub(crate) fn get(
        &mut self,
        what: &str,
        message: impl NetlinkSerializable,
        each: &mut Each<'_>,
    ) -> Result<(), NetlinkError> {
        self.send(what, message, NLM_F_REQUEST | NLM_F_ACK)?;
        self.receive(what, each).map(|_| ())
    }

    /// Asks for all objects of a kind: for each message of the answer `each` gives a value. A list that changed while it was
    /// read is read again.
    pub(crate) fn dump<T>(
        &mut self,
        what: &str,
        message: &(impl NetlinkSerializable + Clone),
        mut each: impl FnMut(u16, &[u8]) -> Result<Option<T>, String>,
    ) -> Result<Vec<T>, NetlinkError> {
        for _ in 0..DUMP_ATTEMPTS {
            let mut all = Vec::new();
            self.send(what, message.clone(), NLM_F_REQUEST | NLM_F_DUMP)?;
            let whole = self.receive(what, &mut |kind, payload| {
                all.extend(each(kind, payload)?);
                Ok(())
            })?;
            if whole {
                return Ok(all);
            }
        }
        Err(NetlinkError::Unsteady { what: what.to_owned() })
    }

    fn send(&mut self, what: &str, message: impl NetlinkSerializable, flags: u16) -> Result<(), NetlinkError> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        message.finalize();
        let mut buffer = vec![0; message.buffer_len()];
        message.serialize(&mut buffer);
        match self.raw.send_to(&buffer, &SocketAddr::new(0, 0), 0) {
            Ok(_) => Ok(()),
            Err(source) => Err(NetlinkError::Transport { what: what.to_owned(), source }),
        }
    }

    /// Reads the answer to the last message to its end. `Ok(false)`: what was listed changed meanwhile.
    fn receive(&self, what: &str, each: &mut Each<'_>) -> Result<bool, NetlinkError> {
        let nonsense = |detail: String| NetlinkError::Answer { what: what.to_owned(), detail };
        let mut whole = true;
        let mut bad = None;
        loop {
            let (datagram, _) = self
                .raw
                .recv_from_full()
                .map_err(|source| NetlinkError::Transport { what: what.to_owned(), source })?;
            let mut rest = datagram.as_slice();
            while !rest.is_empty() {
                let message = NetlinkBuffer::new_checked(rest).map_err(|error| nonsense(error.to_string()))?;
                rest = rest.get((message.length() as usize).next_multiple_of(4)..).unwrap_or_default();
                if message.sequence_number() != self.sequence {
                    continue;
                }
                whole &= message.flags() & NLM_F_DUMP_INTR == 0;
                match message.message_type() {
                    NLMSG_DONE => {
                        ended(what, message.payload())?;
                        return bad.map_or(Ok(whole), Err);
                    }
                    NLMSG_ERROR => {
                        let verdict = verdict(what, message.payload());
                        return verdict.and(bad.map_or(Ok(whole), Err));
                    }
                    // The rest of the answer is read all the same: the next question must not find it.
                    kind => {
                        if let Err(detail) = each(kind, message.payload()) {
                            bad = Some(nonsense(detail));
                        }
                    }
                }
            }
        }
    }
}

/// Reads the end of a list: the error number that it was cut short by. A kernel without a family lists nothing of it.
fn ended(what: &str, payload: &[u8]) -> Result<(), NetlinkError> {
    let code = payload.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
    if code >= 0 || [-libc::EAFNOSUPPORT, -libc::EOPNOTSUPP].contains(&code) {
        return Ok(());
    }
    Err(NetlinkError::Refused { what: what.to_owned(), detail: None, source: io::Error::from_raw_os_error(-code) })
}

/// Reads an acknowledgement: error number, the header of the question, then attributes with the kernel's words.
fn verdict(what: &str, payload: &[u8]) -> Result<(), NetlinkError> {
    /// `NLMSGERR_ATTR_MSG`.
    const MESSAGE: u16 = 1;
    const QUESTION_HEADER: usize = 16;
    let code = payload.first_chunk().map_or(-libc::EIO, |bytes| i32::from_ne_bytes(*bytes));
    if code == 0 {
        return Ok(());
    }
    let attributes = payload.get(4 + QUESTION_HEADER..).unwrap_or_default();
    let detail = NlasIterator::new(attributes)
        .filter_map(Result::ok)
        .find(|attribute| attribute.kind() == MESSAGE)
        .map(|attribute| String::from_utf8_lossy(attribute.value()).trim_end_matches('\0').to_owned());
    Err(NetlinkError::Refused { what: what.to_owned(), detail, source: io::Error::from_raw_os_error(-code) })
}
