//! The conformance table: packets through the real XDP program, by subject. A row is
//!
//! ```text
//! name_of_the_behaviour "section" with "settings in TOML, if not the usual ones":
//!     the packet
//!     => what becomes of it;
//! ```
//!
//! `cargo test --package xlat-tests --test conformance NAME` runs one. The words of packets are in `xlat_tests::notation`, the
//! hosts and the outcomes in `xlat_tests::harness::row`, the machine that the relay stands on in `xlat_tests::harness::world`.

mod accounts;
mod addresses;
mod captures;
mod counters;
mod extension_headers;
mod extensions;
mod forwarding;
mod fragments;
mod frames;
mod hairpin;
mod headers;
mod hop_limit;
mod icmp_errors_4to6;
mod icmp_errors_6to4;
mod icmp_query;
mod illegal_and_denied;
mod inner_packets;
mod malformed;
mod mtu;
mod mtu_refusals;
mod next_hops;
mod options;
mod pointers;
mod rfc6791;
mod scope;
mod settings;
mod transports;
mod udp_zero_checksum;
mod well_known_prefix;

/// What `cargo xtask vm --all` runs on each kernel.
#[test]
#[ignore = "the rows are tests of their own: `cargo xtask vm --all` asks for them together"]
fn every_row() {
    match xlat_tests::harness::row::check_all() {
        Ok(number) => println!("{number} rows"),
        Err(failed) => panic!("rows that fail: {}", failed.join(", ")),
    }
}
