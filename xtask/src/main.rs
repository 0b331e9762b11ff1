//! The one door to everything that is not plain cargo: `cargo xtask VERB`.

use std::process::ExitCode;

use anyhow::{Result, bail};

mod bench;
mod build;
mod compare;
mod demo;
mod fuzz;
mod interrupt;
mod lab;
mod lab_verb;
mod lint;
mod package;
mod page;
mod prove;
mod relay;
mod release;
mod serve;
mod setup;
mod shell;
mod test;
mod vm;

const HELP: &str = "\
cargo xtask VERB: everything about xlat that is not plain cargo. Each verb first sets up what it needs.

  setup                  install what is missing: the toolchain's parts and the tools of the tests and the demo
  build                  compile xlat-ctl, XDP program included, to target/release/xlat-ctl
  lint                   formatting and clippy for every crate, warnings refused
  test [ARGS]            lint, then every test; ARGS go to `cargo test`, a part of a test's name for example
  fuzz [ARGS]            random packets through the XDP program and a second translator, which must agree (needs root);
                         `cargo xtask fuzz --help` lists ARGS
  bench [OPTIONS]        measure xlat beside its alternatives (needs root); `cargo xtask bench --help` lists OPTIONS
  compare [WORD]         xlat beside Jool in a virtual machine, packet by packet and by speed (needs root); `compare --help`
  prove                  100 reloads, 100 whole tables, 20 kills and 5 upgrades at 200,000 packets a second, of which none
                         may be lost: some ten minutes (needs root)
  package [--test]       make the Debian package, the tarball and what belongs to them; with --test try them in a virtual
                         machine (needs root)
  release                make all of that twice, from what is committed, in two directories, and compare the sums: the same
                         bytes both times, or an error that names the files
  page                   the status page in a headless Chromium, which it installs; pictures in target/page (needs root)
  vm [OPTIONS] -- CMD    run a command in a virtual machine with another kernel and other NICs; `cargo xtask vm --help`
  demo                   an IPv4-only client talks to an IPv6-only server through the relay, step by step (needs root)
  lab up                 make the demo's namespaces, start the relay in them, and leave both (needs root)
  lab exec HOST -- CMD   run a command as the host `client`, `relay` or `server` of that lab
  lab down               stop the relay and remove the lab
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    shell::add_system_directories();
    match run(&arguments) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Does what the words say. Gives the exit code: 0, or that of a command that was to be run elsewhere.
fn run(arguments: &[String]) -> Result<u8> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["vm", rest @ ..] = words.as_slice() {
        return vm::run(rest);
    }
    verb(&words).map(|()| 0)
}

fn verb(words: &[&str]) -> Result<()> {
    match words {
        [] | ["help" | "-h" | "--help"] => {
            print!("{HELP}");
            Ok(())
        }
        ["setup"] => setup::everything(),
        ["build"] => build::run(),
        ["lint"] => lint::run(),
        ["test", rest @ ..] => test::run(rest),
        ["page"] => page::run(),
        ["prove"] => prove::run(),
        ["package", rest @ ..] => package::run(rest),
        ["release"] => release::run(),
        ["fuzz", rest @ ..] => fuzz::run(rest),
        ["bench", rest @ ..] => bench::run(rest),
        ["compare", rest @ ..] => compare::run(rest),
        ["demo"] => demo::run(),
        ["lab", rest @ ..] => lab_verb::run(rest),
        ["serve"] => serve::run(),
        _ => bail!("`{}` is not a verb with its arguments; the verbs are:\n\n{HELP}", words.join(" ")),
    }
}
