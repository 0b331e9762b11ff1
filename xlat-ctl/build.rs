//! Compiles the XDP programs and places their objects where the library embeds them.

use std::{env, process::ExitCode};

use xlat_ebpf_build::Object;

fn main() -> ExitCode {
    let features: &[&str] = if env::var_os("CARGO_FEATURE_OTHER_LAYOUT").is_some() { &["other-layout"] } else { &[] };
    let object =
        |binary| Object { package: "xlat-ebpf", binary, features, crates: &["xlat-common", "xlat-ebpf"] }.build();
    match object("xlat") {
        ExitCode::SUCCESS => object("xlat-capture"),
        failure => failure,
    }
}
