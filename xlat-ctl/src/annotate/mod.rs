//! Addresses in text: those that were translated become what they were, the rest of the text stays byte for byte.
//!
//! [`address`] reads addresses as logs spell them, [`mapper`] says what they become, [`scan`] finds them in text,
//! [`stream`] carries text from a reader to a writer.

mod address;
mod mapper;
mod scan;
mod stream;

pub use self::{mapper::Mapper, scan::Annotator, stream::copy};

/// Which addresses are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// IPv6 addresses, by the IPv4 addresses that they stand for.
    ToIpv4,
    /// IPv4 addresses, by the IPv6 addresses under which servers see them.
    ToIpv6,
}

#[cfg(test)]
mod tests;
