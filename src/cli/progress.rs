//! Shows the progress of a long operation in a terminal: one line on standard error, overwritten in place.

use std::io::{self, IsTerminal, Write};

use super::args::Verbosity;

/// A line that is overwritten in place. Invisible unless standard error is a terminal.
pub(crate) struct ProgressLine {
    is_shown: bool,
    width: usize,
}

impl ProgressLine {
    /// Visible in a terminal, unless the command is quiet.
    pub(crate) fn new(verbosity: Verbosity) -> Self {
        let is_shown = verbosity == Verbosity::Normal && io::stderr().is_terminal();
        Self { is_shown, width: 0 }
    }

    /// Replaces the line.
    pub(crate) fn show(&mut self, text: &str) {
        if self.is_shown {
            let width = text.chars().count();
            // Ignore write errors: stderr is closed.
            let _ = write!(io::stderr(), "\r{text}{}", " ".repeat(self.width.saturating_sub(width)));
            let _ = io::stderr().flush();
            self.width = width;
        }
    }

    /// Removes the line.
    pub(crate) fn clear(&mut self) {
        self.show("");
        if self.is_shown {
            let _ = write!(io::stderr(), "\r");
        }
    }
}
