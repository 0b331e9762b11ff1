//! What became of a packet, as one program tells another by one number: a kind, and below it what the kind says more.
//!
//! | kind | bits 0 to 7 | bits 8 to 15 |
//! |---|---|---|
//! | [`SENT`] | XDP action | [`crate::counters::Verdict`] |
//! | [`DROP`], [`REFUSE`] | [`crate::reason::DropReason`] | |
//! | [`FRAGMENT`] | XDP action | |
//! | [`TAIL_CALL`] | the program | |

/// Translated and sent.
pub const SENT: u32 = 0;
/// Not in scope: the kernel gets it as it came.
pub const PASS: u32 = 1 << 16;
/// Dropped in silence.
pub const DROP: u32 = 2 << 16;
/// Dropped, and the sender is told.
pub const REFUSE: u32 = 3 << 16;
/// Given to the kernel's fragmenter.
pub const FRAGMENT: u32 = 4 << 16;
/// Another program's part.
pub const TAIL_CALL: u32 = 5 << 16;
/// Neither IPv4 nor IPv6, or not for this machine: the kernel gets it as it came.
pub const OTHER: u32 = 6 << 16;
/// The bits of the kind.
pub const KIND: u32 = 0xff_0000;
/// Which word of the programs' scratch record it is in.
pub const PLACE: usize = 6;
