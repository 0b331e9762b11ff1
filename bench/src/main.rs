//! `cargo xtask bench`: measures xlat beside its alternatives, in one run on one machine.

mod address;
mod frame;
mod ns;
mod programs;
mod progress;
mod relay;
mod rig;
mod scene;
mod schedule;
mod stats;

use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let report = ns::run(&scene::for_one_packet(), 5)?;
    println!("{}", serde_json::to_string_pretty(&report)?);
    Ok(())
}
