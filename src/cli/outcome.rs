//! Exit codes and final output of commands.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::config::Problems;

/// Why a command failed: its message on standard error, and its exit code.
pub enum Exit {
    /// 1, with one line.
    Failure(String),
    /// 1, without further output.
    Silent,
    /// 2, with one line.
    Usage(String),
    /// 78 (`EX_CONFIG`), with every problem.
    Config(Problems),
}

impl Exit {
    /// A failure for this reason.
    pub(crate) fn failure(reason: impl fmt::Display) -> Self {
        Self::Failure(reason.to_string())
    }

    /// As a failure (1), for a command that never exits with 78.
    pub(crate) fn into_failure(self) -> Self {
        match self {
            Self::Config(problems) => Self::Failure(problems.lines().collect::<Vec<_>>().join("\n")),
            Self::Failure(_) | Self::Silent | Self::Usage(_) => self,
        }
    }

    /// Prints the reason to standard error, and returns the exit code.
    pub fn report(self) -> ExitCode {
        let (line, code) = match self {
            Self::Failure(reason) => (format!("credira-gateway: {reason}"), 1),
            Self::Silent => return ExitCode::from(1),
            Self::Usage(reason) => (format!("credira-gateway: {reason}"), 2),
            Self::Config(problems) => (problems.to_string(), 78),
        };
        write_unless_blocked(io::stderr(), line + "\n");
        ExitCode::from(code)
    }
}

impl From<io::Error> for Exit {
    fn from(error: io::Error) -> Self {
        // The reader has closed the pipe, as `head` does: not worth a message.
        if error.kind() == io::ErrorKind::BrokenPipe { Self::Silent } else { Self::failure(error) }
    }
}

impl From<Problems> for Exit {
    fn from(problems: Problems) -> Self {
        Self::Config(problems)
    }
}

/// How long the final output waits for a reader.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_millis(300);

/// Writes a process's final output. Returns even if it is never read, for example because the reader of a pipe has
/// stalled: the thread is then abandoned. Write errors are ignored for the same reason.
pub(super) fn write_unless_blocked(mut output: impl Write + Send + 'static, text: String) {
    let (writing, written) = mpsc::channel::<()>();
    let thread = thread::Builder::new().spawn(move || {
        let _writing = writing;
        let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
    });
    if thread.is_ok() {
        // Disconnected as soon as it is written.
        let _ = written.recv_timeout(LAST_WORDS_TIMEOUT);
    }
}

/// Prints a command's result.
pub(super) fn print(text: &str) -> Result<(), Exit> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}
