//! The control plane of xlat: everything behind the `xlat-ctl` command.

pub mod annotate;
pub mod api;
pub mod capture;
mod choice;
pub mod cli;
pub mod config;
mod crash;
pub mod daemon;
pub mod dataplane;
pub mod doctor;
pub mod eam;
pub mod eam_file;
pub mod import;
pub mod netlink;
mod plot;
pub mod reason;

/// The compiled XDP program, an ELF object, aligned as its parser needs it.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/xlat.o"));

/// The same for the program of captures.
pub static CAPTURE_OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/xlat-capture.o"));

/// What the operating system says, without the number that Rust appends.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error").map_or(text.clone(), |(words, _)| words.to_owned())
}
