//! What the command line asks for.

use std::path::PathBuf;

use clap::Parser;

/// Measures xlat beside its alternatives, in one run on one machine. Every figure is a ratio inside the run, with its spread.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask bench", after_help = crate::HELP)]
pub(crate) struct Options {
    /// Two minutes instead of ten to twenty-five: the scenes that the targets speak of, few rounds, small tables.
    #[arg(long)]
    pub(crate) quick: bool,
    /// How often each scene is measured, in turn with all others.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: Option<u32>,
    /// One part of the bench only: `ns` (time of one packet), `rig` (packets a second), `load` (loss and
    /// latency), `bulk` (iperf3); `ns` and `rig` with a text after a colon: those scenes of it that have the text in their name.
    #[arg(long, value_name = "NAME", value_parser = scene)]
    pub(crate) scene: Option<String>,
    /// Only compares the size of each program, and what the verifier goes through, with what is recorded; fails where it has grown.
    #[arg(long)]
    pub(crate) check: bool,
    /// With `--check`: records instead of comparing.
    #[arg(long, requires = "check")]
    pub(crate) record: bool,
    /// Only measures the control plane: starts, changes, memory.
    #[arg(long, conflicts_with = "check")]
    pub(crate) control: bool,
    /// Measures packets a second beside Jool and Linux forwarding only, where `XLAT_JOOL` names Jool's files: `cargo xtask
    /// compare` has a virtual machine do so.
    #[arg(long, hide = true, conflicts_with_all = ["check", "control", "scene", "docs"])]
    pub(crate) jool: bool,
    /// Measures nothing: `cargo xtask prove`.
    #[arg(long, hide = true, exclusive = true)]
    pub(crate) prove: bool,
    /// Has every relay of xlat count for each EAM, natively passing packets too (`[accounting]`), to see what that costs.
    #[arg(long, conflicts_with_all = ["check", "control", "docs"])]
    pub(crate) accounting: bool,
    /// Keeps the figures in docs/performance.md, with their plots, as a whole run does. Parts that are not measured stay.
    #[arg(long, conflicts_with = "quick")]
    pub(crate) docs: bool,
    /// Writes all figures to a file.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// A part of the bench, of which some have scenes.
fn scene(text: &str) -> Result<String, String> {
    match text.split_once(':').map_or((text, false), |(part, _)| (part, true)) {
        ("ns" | "rig", _) | ("load" | "bulk", false) => Ok(text.to_owned()),
        ("load" | "bulk", true) => Err("it has no scenes to choose from".to_owned()),
        _ => Err("the parts are ns, rig, load and bulk; the control plane is --control".to_owned()),
    }
}

impl Options {
    /// Rounds, where nothing else is said this many or, if in a hurry, three.
    pub(crate) fn rounds(&self, otherwise: u32) -> u32 {
        self.rounds.unwrap_or(if self.quick { 3 } else { otherwise })
    }

    /// Whether all is measured, and for as long as it takes.
    pub(crate) fn is_whole(&self) -> bool {
        !self.quick && !self.control && !self.accounting && self.rounds.is_none() && self.scene.is_none()
    }

    /// Whether a part of the bench is asked for.
    pub(crate) fn wants(&self, part: &str) -> bool {
        !self.control && self.scene.as_deref().is_none_or(|scene| scene.split(':').next() == Some(part))
    }

    /// Whether a scene of a part that is asked for is.
    pub(crate) fn wants_scene(&self, name: &str) -> bool {
        let text = self.scene.as_deref().and_then(|scene| scene.split_once(':'));
        text.is_none_or(|(_, text)| name.contains(text))
    }
}
