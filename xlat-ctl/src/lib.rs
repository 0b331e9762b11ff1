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

/// What is said of a file's line where [`utf8`] has refused it.
const NOT_UTF8: &str = "this is not UTF-8: save the file as UTF-8, or take out what is not ASCII";

/// The text of a file.
///
/// # Errors
/// The line, from 1, of the first byte that is not UTF-8.
fn utf8(bytes: &[u8]) -> Result<&str, usize> {
    str::from_utf8(bytes)
        .map_err(|error| bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1)
}
