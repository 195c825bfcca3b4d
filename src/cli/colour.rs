//! Whether a command's output is coloured.

use std::ffi::OsStr;
use std::io::IsTerminal;

use clap::ValueEnum;

use crate::telemetry::Colour;

/// The values of `--color`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ColourChoice {
    /// In a terminal, unless `NO_COLOR` is set.
    Auto,
    Always,
    Never,
}

impl ColourChoice {
    /// The choice for one output stream.
    pub(super) fn of(self, stream: &impl IsTerminal) -> Colour {
        let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").as_deref() == Some(OsStr::new("dumb"));
        match self {
            Self::Always => Colour::Ansi,
            Self::Auto if stream.is_terminal() && !is_unwanted => Colour::Ansi,
            Self::Auto | Self::Never => Colour::Plain,
        }
    }

    /// The choice for the argument parser, whose help and errors are coloured and which therefore needs it before
    /// parsing.
    pub(super) fn for_parser(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> clap::ColorChoice {
        let mut chosen = clap::ColorChoice::Auto;
        let mut is_value = false;
        for argument in arguments {
            let text = argument.to_string_lossy();
            let value = if is_value { Some(&*text) } else { text.strip_prefix("--color=") };
            chosen = match value {
                Some("always") => clap::ColorChoice::Always,
                Some("never") => clap::ColorChoice::Never,
                Some(_) | None => chosen,
            };
            is_value = text == "--color";
        }
        chosen
    }
}
