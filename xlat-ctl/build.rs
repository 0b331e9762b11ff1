//! Compiles the XDP program and places its object where the library embeds it.

use std::process::ExitCode;

use xlat_ebpf_build::Object;

fn main() -> ExitCode {
    Object { package: "xlat-ebpf", binary: "xlat", crates: &["xlat-common", "xlat-ebpf"] }.build()
}
