//! Names of interfaces.

use std::fmt;

use globset::{GlobBuilder, GlobMatcher};

use crate::eam;

/// A name of an interface, or a glob for several.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    /// `None`: an exact name.
    glob: Option<GlobMatcher>,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl Pattern {
    /// Reads a name or glob.
    ///
    /// # Errors
    /// One sentence: no interface can have this name, or the glob cannot be read.
    pub fn new(text: &str) -> Result<Self, String> {
        const LONGEST_NAME: usize = 15;
        if text.is_empty() {
            return Err("an interface name is empty".to_owned());
        }
        let shown = eam::cut(text);
        if text.contains(|char: char| char == '/' || char.is_whitespace()) {
            return Err(format!("`{shown}` cannot be an interface's name: it contains a slash or white space"));
        }
        if !text.contains(['*', '?', '[', ']', '{', '}']) {
            if text.len() > LONGEST_NAME {
                return Err(format!("`{shown}` cannot be an interface's name: it is longer than {LONGEST_NAME} bytes"));
            }
            return Ok(Self { text: text.to_owned(), glob: None });
        }
        let glob = GlobBuilder::new(text).build().map_err(|error| format!("`{shown}`: {}", error.kind()))?;
        Ok(Self { text: text.to_owned(), glob: Some(glob.compile_matcher()) })
    }

    /// Whether an interface of this name is meant. A glob never means the loopback interface.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match &self.glob {
            None => self.text == name,
            Some(glob) => name != "lo" && glob.is_match(name),
        }
    }

    /// Whether it is a glob, and not one name.
    #[must_use]
    pub fn is_glob(&self) -> bool {
        self.glob.is_some()
    }
}
