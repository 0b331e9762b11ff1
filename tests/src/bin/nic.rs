//! Tries a relay on two NICs: `cargo xtask vm --nic DRIVER -- nic`. One line for each step.

use std::process::ExitCode;

use xlat_tests::nic::{Bench, Found, STEPS};

fn main() -> ExitCode {
    let is_veth = std::env::args().skip(1).any(|argument| argument == "--veth");
    let mut bench = match Bench::new(is_veth) {
        Ok(bench) => bench,
        Err(error) => {
            eprintln!("nic: {error:#}");
            return ExitCode::from(2);
        }
    };
    let mut code = ExitCode::SUCCESS;
    for (name, step) in STEPS {
        let (word, words) = match step(&mut bench) {
            Ok(Found::Works(words)) => ("works", words),
            Ok(Found::Refused(words)) => ("refused", words),
            Err(error) => {
                code = ExitCode::FAILURE;
                ("fails", format!("{error:#}"))
            }
        };
        let is_first = *name == STEPS[0].0;
        println!("{name}\t{word}\t{}", words.replace(['\n', '\t'], " "));
        if is_first && word == "fails" {
            break;
        }
    }
    code
}
