//! The real XDP program on a small machine made for it, one packet at a time.
//!
//! A [`Relay`] is what the daemon would be: `xlat.toml` read by `xlat_ctl::config`, the program loaded by
//! `xlat_ctl::dataplane`. It stands in a network namespace of its own with a few interfaces, neighbours and routes (the
//! [`world`]), so that the kernel's answers to `bpf_fib_lookup` are known beforehand. Packets go through by
//! `BPF_PROG_TEST_RUN`; nothing is on a wire.
//!
//! [`row`] compares what comes out with what a row of the conformance table says.

mod relay;
pub mod row;
pub mod world;

pub use self::relay::{Outcome, Relay, Verdict, settings};
