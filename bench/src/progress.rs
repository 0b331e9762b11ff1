//! How far the bench is, on a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A line that says what is being measured, and how much is left. Nothing where there is no terminal.
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Begins `steps` steps.
    ///
    /// # Panics
    /// Never: the template is valid.
    #[must_use]
    pub(crate) fn new(what: &str, steps: usize) -> Self {
        let bar = ProgressBar::new(steps as u64).with_prefix(what.to_owned());
        let style = ProgressStyle::with_template("{prefix} {bar:24} {pos}/{len} {elapsed}, {eta} left: {wide_msg}");
        bar.set_style(style.expect("a valid template"));
        bar.enable_steady_tick(Duration::from_millis(250));
        Self { bar }
    }

    /// Says what is being done.
    pub(crate) fn say(&self, what: &str) {
        self.bar.set_message(what.to_owned());
    }

    /// Begins the next step.
    pub(crate) fn step(&mut self, what: &str) {
        self.say(what);
        self.bar.inc(1);
    }

    /// All is done.
    pub(crate) fn end(self) {
        self.bar.finish_and_clear();
    }
}
