//! Completions, where bash, zsh and fish look for those of packages.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::Page;

/// Each shell with the place of its file.
const PLACES: [(Shell, &str); 3] = [
    (Shell::Bash, "bash-completion/completions/xlat-ctl"),
    (Shell::Zsh, "zsh/vendor-completions/_xlat-ctl"),
    (Shell::Fish, "fish/vendor_completions.d/xlat-ctl.fish"),
];

/// One for each shell.
pub(crate) fn pages() -> Vec<Page> {
    PLACES.iter().map(|(shell, path)| Page { path: (*path).to_owned(), text: script(*shell) }).collect()
}

fn script(shell: Shell) -> String {
    let mut bytes = Vec::new();
    clap_complete::generate(shell, &mut xlat_ctl::cli::Cli::command(), "xlat-ctl", &mut bytes);
    String::from_utf8(bytes).expect("clap writes UTF-8")
}
