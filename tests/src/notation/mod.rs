//! Packets as the rows of the conformance table write them.
//!
//! A packet begins with [`ip4`] or [`ip6`] and its two hosts, and goes on with what is particular about it:
//!
//! ```text
//! ip4(CLIENT, SERVER).tos(0xb8).udp(4711, 53, b"question")
//! ip6(SERVER, CLIENT).hop_by_hop(&[1, 4, 0, 0, 0, 0]).tcp(80, 4711, b"")
//! ip4(ROUTER, CLIENT).icmp(3, 1).about(ip4(CLIENT, SERVER).udp(4711, 53, b"question"))
//! ```
//!
//! What is not said is ordinary: TTL 64, right lengths, right checksums. Nothing here knows how xlat works: checksums are
//! computed from the whole packet, from RFC 791, 8200, 768, 9293, 792 and 4443 alone.

mod body;
mod bytes;
mod frame;
mod packet;

pub use self::{
    body::Body,
    frame::{Frame, Mac},
    packet::{Address4, Address6, Host, Packet, ip4, ip6},
};
pub use bytes::{checksum, ones_complement_sum};

/// `len` bytes that differ from each other, so that a byte in the wrong place shows.
#[must_use]
pub fn data(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8 + 1).collect()
}
