//! docs/performance.md and what it shows: figures and plots of the last run that was asked to keep them.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{plot, report::Report, targets::targets};

/// Between these lines the document is written by the command.
const BEGIN: &str = "<!-- figures: written by `cargo xtask bench` -->";
const END: &str = "<!-- end of the figures -->";

/// Keeps the figures of a run: those of parts that it did not measure stay as they were.
///
/// # Errors
/// A file cannot be read or written.
pub(crate) fn write(report: Report) -> Result<()> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let directory = docs.join("performance");
    fs::create_dir_all(&directory).with_context(|| format!("making {}", directory.display()))?;
    let figures = directory.join("figures.json");
    let report = match fs::read_to_string(&figures) {
        Ok(text) => match serde_json::from_str(&text) {
            Ok(before) => report.over(before),
            // What was measured is worth more than what is not measured any more.
            Err(error) => {
                eprintln!(
                    "bench: nothing is kept of {}, which was written for other figures: {error}",
                    figures.display()
                );
                report
            }
        },
        Err(_) => report,
    };
    put(&figures, &(serde_json::to_string_pretty(&report)? + "\n"))?;
    let plots = plot::draw(&report, &directory)?;
    let document = docs.join("performance.md");
    let text = fs::read_to_string(&document).with_context(|| format!("reading {}", document.display()))?;
    let text = replaced(&text, &figures_text(&report, &plots))
        .with_context(|| format!("{} lacks the lines `{BEGIN}` and `{END}`", document.display()))?;
    put(&document, &text)?;
    println!("\n{} and {} are written", document.display(), directory.display());
    Ok(())
}

fn put(path: &PathBuf, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

fn replaced(text: &str, figures: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{figures}\n{END}{after}"))
}

fn figures_text(report: &Report, plots: &[&str]) -> String {
    let mut text = format!("Measured on {}.\n\n", report.machine);
    text += "| what | to reach | measured: median (least to greatest) | |\n|---|---|---|---|\n";
    for target in targets(report) {
        // Writing to a string does not fail.
        let _ =
            writeln!(text, "| {} | {} | {} | {} |", target.what, target.wanted, target.measured(), target.verdict());
    }
    for name in plots {
        let _ = writeln!(text, "\n![{}](performance/{name}.svg)", caption(name));
    }
    let _ = write!(text, "\nAll figures:\n\n```\n{}```\n", report.table().trim_start());
    text
}

fn caption(plot: &str) -> &'static str {
    match plot {
        "ns" => "time of one packet in every scene",
        "rates" => "packets a second through bare XDP, xlat, Linux and TAYGA",
        "sizes" => "packets a second by frame size",
        "load" => "what comes through at a load",
        _ => "TCP in bulk",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_lines_is_replaced() {
        let text = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        assert_eq!(replaced(&text, "new"), Some(format!("before\n{BEGIN}\n\nnew\n{END}\nafter\n")));
        assert_eq!(replaced("no lines", "new"), None);
    }
}
