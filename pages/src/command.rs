//! The man pages of the command and of its verbs, section 1, from clap's tree.

use clap::Command;
use clap_mangen::Man;
use roff::Roff;

use crate::{
    Page,
    markup::{paragraphs, section, see_also, title, verbatim},
};

/// The page of a command, and those of all below it.
pub(crate) fn pages(command: &Command) -> Vec<Page> {
    pages_below(command, None)
}

fn pages_below(command: &Command, above: Option<&Command>) -> Vec<Page> {
    let own = Page { path: format!("man/man1/{}.1", name(command)), text: page(command, above) };
    let below = visible(command).flat_map(|verb| pages_below(verb, Some(command)));
    std::iter::once(own).chain(below).collect()
}

/// `xlat-ctl-eam-add`
fn name(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|verb| !verb.is_hide_set())
}

fn page(command: &Command, above: Option<&Command>) -> String {
    let man = Man::new(command.clone());
    let after = command.get_after_long_help().or_else(|| command.get_after_help());
    let after = after.map(ToString::to_string).unwrap_or_default();
    let (prose, examples) = divide(&after);
    let mut pieces = Pieces::default();
    pieces.own(|roff| title(roff, name(command), "1"));
    pieces.clap(|bytes| man.render_name_section(bytes));
    pieces.clap(|bytes| man.render_synopsis_section(bytes));
    pieces.clap(|bytes| man.render_description_section(bytes));
    pieces.own(|roff| {
        if !prose.is_empty() {
            roff.control("PP", []);
            paragraphs(roff, prose.lines());
        }
    });
    pieces.clap(|bytes| man.render_options_section(bytes));
    if command.has_subcommands() {
        pieces.clap(|bytes| man.render_subcommands_section(bytes));
    }
    pieces.own(|roff| {
        if !examples.is_empty() {
            section(roff, "EXAMPLES");
            verbatim(roff, examples.lines().map(str::trim_start));
        }
        see_also(roff, &related(command, above));
    });
    pieces.0
}

/// The prose of a text after the help, and the examples at its end.
fn divide(after: &str) -> (&str, &str) {
    let heading = ["Example:\n", "Examples:\n"].into_iter().find_map(|heading| Some((after.find(heading)?, heading)));
    match heading {
        Some((at, heading)) => (after[..at].trim(), after[at + heading.len()..].trim_end()),
        None => (after.trim(), ""),
    }
}

/// The page above, those beside, those below; and the configuration.
fn related(command: &Command, above: Option<&Command>) -> Vec<String> {
    let beside = above.into_iter().flat_map(visible).filter(|verb| name(verb) != name(command));
    let commands = above.into_iter().chain(beside).chain(visible(command));
    commands.map(|command| format!("{}(1)", name(command))).chain(["xlat.toml(5)".to_owned()]).collect()
}

/// A page in the making.
#[derive(Default)]
struct Pieces(String);

impl Pieces {
    fn own(&mut self, write: impl FnOnce(&mut Roff)) {
        let mut roff = Roff::new();
        write(&mut roff);
        self.take(&roff.render());
    }

    fn clap(&mut self, render: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) {
        let mut bytes = Vec::new();
        render(&mut bytes).expect("writing to memory");
        self.take(&String::from_utf8(bytes).expect("roff is UTF-8"));
    }

    /// Each piece begins with the same two lines, which define an apostrophe.
    fn take(&mut self, piece: &str) {
        const PREAMBLE: usize = 2;
        let skip = if self.0.is_empty() { 0 } else { PREAMBLE };
        for line in piece.lines().skip(skip) {
            self.0 += line.trim_end();
            self.0.push('\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::divide;

    #[test]
    fn examples_stand_after_the_prose() {
        assert_eq!(divide("Says.\n\nExample:\n  one\n"), ("Says.", "  one"));
        assert_eq!(divide("Examples:\n  one\n  two"), ("", "  one\n  two"));
        assert_eq!(divide("Says."), ("Says.", ""));
    }
}
