//! A relay on two NICs, tried step by step as an operator would use it: what works, what the driver refuses and in which words.
//!
//! ```text
//!  client               the relay                          server
//!  203.0.113.7 far0 ─── nic0 203.0.113.1   2001:db8:fe::1 nic1 ─── far1 2001:db8:fe::2, 2001:db8:5e1:1::10
//! ```
//!
//! `cargo xtask vm --nic DRIVER` makes the four NICs; without it they are veth pairs.

mod bench;
mod bond;
mod steps;
mod vlan;

pub use self::{
    bench::Bench,
    steps::{STEPS, Step},
};

/// What a step found.
#[derive(Debug)]
pub enum Found {
    /// It works; with what is worth telling.
    Works(String),
    /// The driver has no such thing, or refuses it; with the words for it.
    Refused(String),
}
