//! Why a table cannot be changed.

use ipnet::{Ipv4Net, Ipv6Net};

use super::{family::Family, memory::Memory, writer::Writer};

/// Why the table cannot be changed. Nothing has been.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// No room.
    #[error(
        "the {family} table is full: it has room for {capacity} entries (EAMs, deny lists and the machine's addresses \
         together): raise dataplane.max_eams"
    )]
    Full {
        /// "IPv4" or "IPv6".
        family: &'static str,
        /// Entries that fit.
        capacity: usize,
    },
    /// Two EAMs have the same prefix.
    #[error("two EAMs have the same {family} prefix: {prefix}")]
    Twice {
        /// "IPv4" or "IPv6".
        family: &'static str,
        /// The prefix.
        prefix: String,
    },
    /// No EAM has these prefixes.
    #[error("there is no EAM {ipv4} ↔ {ipv6} in the table")]
    Missing {
        /// IPv4 prefix.
        ipv4: Ipv4Net,
        /// IPv6 prefix.
        ipv6: Ipv6Net,
    },
}

pub(super) fn twice<F: Family>(prefix: String) -> TableError {
    TableError::Twice { family: F::NAME, prefix }
}

pub(super) fn full<F: Family, M: Memory>(writer: &Writer<F, M>) -> TableError {
    TableError::Full { family: F::NAME, capacity: writer.capacity() }
}
