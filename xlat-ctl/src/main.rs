//! The `xlat-ctl` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    xlat_ctl::cli::main()
}
