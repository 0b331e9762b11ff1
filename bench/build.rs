//! Compiles the bench's own XDP programs and places their object where the bench embeds it.

use std::process::ExitCode;

use xlat_ebpf_build::Object;

fn main() -> ExitCode {
    Object { package: "xlat-bench-ebpf", binary: "bench", features: &[], crates: &["bench/common", "bench/ebpf"] }
        .build()
}
