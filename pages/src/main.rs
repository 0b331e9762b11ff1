//! `xlat-pages DIRECTORY`: writes man pages and completions below a directory that stands for `/usr/share`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [directory] = &arguments[..] else {
        eprintln!("xlat-pages: give one directory, which stands for /usr/share");
        return ExitCode::from(2);
    };
    match xlat_pages::write(directory.as_ref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xlat-pages: {error:#}");
            ExitCode::FAILURE
        }
    }
}
