//! xlat.toml(5), from the commented configuration that is installed too.

use roff::{Roff, bold, roman};

use crate::{
    Page,
    markup::{paragraphs, section, see_also, title, verbatim},
};

/// A part of the commented configuration: lines without an empty one between them.
enum Block<'a> {
    /// `[section]`
    Section(&'a str),
    /// Settings with the comment above them.
    Settings { settings: Vec<&'a str>, comment: Vec<&'a str> },
    /// `[[table]]`, in comments: what is said of it, and its lines.
    Table { name: &'a str, comment: Vec<&'a str>, lines: Vec<&'a str> },
    /// Of the file itself.
    Prose,
}

/// The page.
pub(crate) fn page(source: &str) -> Page {
    let mut roff = Roff::new();
    title(&mut roff, "xlat.toml", "5");
    section(&mut roff, "NAME");
    roff.text([roman("xlat.toml - configuration of xlat, the IPv4/IPv6 translator")]);
    section(&mut roff, "DESCRIPTION");
    let description = "\
The daemon reads this file, in TOML, when it starts (xlat-ctl run) and when it is told to (xlat-ctl reload). It is
judged as a whole: where anything is wrong in it, every fault is told with its line, and nothing changes.
xlat-ctl check does that without a daemon.

Settings stand with their default. Those marked \u{201c}to be set\u{201d} have none that is of use; an example is shown.";
    paragraphs(&mut roff, description.lines());
    section(&mut roff, "SETTINGS");
    for block in blocks(source) {
        write(&mut roff, &block);
    }
    section(&mut roff, "FILES");
    roff.control("TP", []);
    roff.text([bold(xlat_ctl::config::DEFAULT_PATH)]);
    roff.text([roman("where the daemon looks for it, unless it is given another with --config")]);
    let others = ["check", "reload", "run"].map(|verb| format!("xlat-ctl-{verb}(1)"));
    see_also(&mut roff, &[&["xlat-ctl(1)".to_owned()], &others[..]].concat());
    Page { path: "man/man5/xlat.toml.5".to_owned(), text: roff.render() }
}

fn blocks(source: &str) -> impl Iterator<Item = Block<'_>> {
    let lines: Vec<&str> = source.lines().collect();
    let paragraphs: Vec<Vec<&str>> = lines.split(|line| line.is_empty()).map(<[&str]>::to_vec).collect();
    paragraphs.into_iter().filter(|lines| !lines.is_empty()).map(|lines| block(&lines))
}

fn block<'a>(lines: &[&'a str]) -> Block<'a> {
    if let Some(name) = lines[0].strip_prefix('[') {
        return Block::Section(name.trim_end_matches(']'));
    }
    let comment = |lines: &[&'a str]| lines.iter().filter_map(|line| is_comment(line)).collect::<Vec<_>>();
    if let Some(at) = lines.iter().position(|line| line.starts_with("# [[")) {
        let table = comment(&lines[at..]);
        let comment = comment(&lines[..at]).into_iter().filter(|line| !line.is_empty()).collect();
        return Block::Table { name: table[0], comment, lines: table };
    }
    let settings: Vec<&str> = lines.iter().copied().filter(|line| is_comment(line).is_none()).collect();
    if settings.is_empty() { Block::Prose } else { Block::Settings { settings, comment: comment(lines) } }
}

/// The text of a comment. `#key = value` is a setting.
fn is_comment(line: &str) -> Option<&str> {
    if line == "#" { Some("") } else { line.strip_prefix("# ") }
}

fn write(roff: &mut Roff, block: &Block<'_>) {
    match block {
        Block::Prose => {}
        Block::Section(name) => {
            roff.control("SS", [format!("[{name}]").as_str()]);
        }
        Block::Table { name, comment, lines } => {
            roff.control("SS", [*name]);
            paragraphs(roff, comment.iter().copied());
            verbatim(roff, lines.iter().copied());
        }
        Block::Settings { settings, comment } => {
            for (index, setting) in settings.iter().enumerate() {
                roff.control(if index == 0 { "TP" } else { "TQ" }, []);
                let is_default = setting.strip_prefix('#');
                let (key, value) = is_default.unwrap_or(setting).split_once(" = ").unwrap_or((setting, ""));
                let mark = if is_default.is_none() { "  (to be set)" } else { "" };
                roff.text([bold(key), roman(format!(" = {value}{mark}"))]);
            }
            paragraphs(roff, comment.iter().copied());
        }
    }
}
