//! What the XDP program and its daemon share: the rule book of the translation and the layout of everything that crosses
//! the kernel boundary.
//!
//! The crate knows neither BPF nor an operating system. Every rule is a small pure function, named by its RFC's words, that
//! works on values; loading and storing packet bytes is `xlat-ebpf`'s part.
//!
//! | module | rule family |
//! |---|---|
//! | [`address`] | IPv4 and IPv6 addresses as numbers, masks |
//! | [`mapping`] | EAM (RFC 7757) and translation prefix (RFC 6052) arithmetic |
//! | [`checksum`] | ones' complement sums and incremental updates (RFC 1624) |
//! | [`ipv4`], [`ipv6`] | header fields and how one family's come from the other's (RFC 7915 4.1, 5.1) |
//! | [`icmp`] | type, code, pointer and MTU tables (RFC 7915 4.2, 5.2) |
//! | [`extension`] | RFC 4884 and RFC 5837: where the extension lies and what becomes of it |
//! | [`table`] | the look-up table: layout, hash, probe |
//! | [`limit`] | rate limits |
//! | [`settings`], [`interface`], [`counters`], [`reason`], [`programs`], [`state`], [`outcome`], [`capture`] | what crosses the kernel boundary |

#![cfg_attr(not(any(test, feature = "user")), no_std)]

pub mod account;
pub mod address;
pub mod capture;
pub mod checksum;
pub mod counters;
pub mod extension;
pub mod icmp;
pub mod interface;
pub mod ipv4;
pub mod ipv6;
pub mod limit;
pub mod mapping;
pub mod next_hop;
pub mod outcome;
pub mod programs;
pub mod reason;
pub mod settings;
pub mod state;
pub mod table;

/// Version of every layout in this crate. A daemon uses only maps of a program with its own version.
pub const ABI_VERSION: u32 = if cfg!(feature = "other-layout") { 1_000_000 } else { 5 };
