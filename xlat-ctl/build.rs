//! Compiles the XDP program and places its object where the library embeds it.

use std::{env, process::ExitCode};

use xlat_ebpf_build::Object;

fn main() -> ExitCode {
    let features: &[&str] = if env::var_os("CARGO_FEATURE_OTHER_LAYOUT").is_some() { &["other-layout"] } else { &[] };
    Object { package: "xlat-ebpf", binary: "xlat", features, crates: &["xlat-common", "xlat-ebpf"] }.build()
}
