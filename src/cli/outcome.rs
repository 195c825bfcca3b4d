//! How a command ends.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use super::args::{Cli, Command, TokenCommand};
use super::{
    check, completions, demo, explain, healthcheck, man, mock_upstream, purge, schema, serve, stats, token,
};
use crate::config::Problems;

/// Why a command failed: what is printed on standard error, and its exit code.
pub enum Exit {
    /// 1, with one line.
    Failure(String),
    /// 1, with nothing more to say.
    Silent,
    /// 2, with one line.
    Usage(String),
    /// 78 (`EX_CONFIG`), with every problem.
    Config(Problems),
}

impl Exit {
    /// A failure for this reason.
    pub fn failure(reason: impl fmt::Display) -> Self {
        Self::Failure(reason.to_string())
    }

    /// Says why on standard error, and gives the exit code.
    pub fn report(self) -> ExitCode {
        let (line, code) = match self {
            Self::Failure(reason) => (format!("credira-gateway: {reason}"), 1),
            Self::Silent => return ExitCode::from(1),
            Self::Usage(reason) => (format!("credira-gateway: {reason}"), 2),
            Self::Config(problems) => (problems.to_string(), 78),
        };
        // Without anybody to read it there is nobody to tell.
        let _ = writeln!(io::stderr(), "{line}");
        ExitCode::from(code)
    }
}

impl From<io::Error> for Exit {
    fn from(error: io::Error) -> Self {
        // A reader that has seen enough, as `head` does, is no failure worth a word.
        if error.kind() == io::ErrorKind::BrokenPipe { Self::Silent } else { Self::failure(error) }
    }
}

impl From<Problems> for Exit {
    fn from(problems: Problems) -> Self {
        Self::Config(problems)
    }
}

/// Runs a command to its end.
pub fn run(cli: Cli) -> Result<(), Exit> {
    match cli.command {
        Command::Serve(args) => serve::run(&args),
        Command::Demo => demo::run(),
        Command::Check(args) => check::run(&args),
        Command::MockUpstream(args) => mock_upstream::run(args),
        Command::Token(TokenCommand::New) => token::new(),
        Command::Purge(args) => purge::run(&args),
        Command::Stats(args) => stats::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Healthcheck(args) => healthcheck::run(&args),
        Command::Schema => schema::run(),
        Command::Completions { shell } => completions::run(shell),
        Command::Man { command } => man::run(&command),
    }
}

/// Prints a command's result.
pub(super) fn print(text: &str) -> Result<(), Exit> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}
