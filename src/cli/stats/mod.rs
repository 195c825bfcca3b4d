//! `stats`.

mod report;

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use http::Method;
use serde_json::Value;

use super::admin_plane::{AdminPlane, pretty};
use super::args::StatsArgs;
use super::colour::ColourChoice;
use super::outcome::{Exit, print};

/// Time between two reports of `--watch`.
const EVERY: Duration = Duration::from_secs(2);
/// Moves the cursor home and clears the terminal from there.
const CLEAR: &str = "\x1b[H\x1b[2J";

#[expect(clippy::disallowed_methods, reason = "a command has no workers that a sleep could block")]
pub(crate) fn run(args: &StatsArgs, colour: ColourChoice) -> Result<(), Exit> {
    let plane = AdminPlane::of(&args.admin)?;
    let ask = || plane.api(&Method::GET, "/api/v1/stats");
    let colour = colour.of(&io::stdout());
    let first = ask()?;
    if !args.watch {
        return print(&if args.admin.json { pretty(&first) } else { report::text(&first, colour) });
    }
    let mut reading = Ok(first);
    loop {
        match reading {
            Ok(stats) if args.admin.json => print(&one_line(&stats))?,
            Ok(stats) => print(&screen(&report::text(&stats, colour)))?,
            // It may be restarting.
            Err(exit @ Exit::Failure(_)) => exit.warn(),
            Err(exit) => return Err(exit),
        }
        std::thread::sleep(EVERY);
        reading = ask();
    }
}

/// One line for each report, for programs.
fn one_line(stats: &Value) -> String {
    format!("{stats}\n")
}

/// Replaces the last report in a terminal, follows it elsewhere.
fn screen(text: &str) -> String {
    if io::stdout().is_terminal() { format!("{CLEAR}{text}") } else { format!("{text}\n") }
}

impl Exit {
    /// Prints the reason of a failure that does not end the command.
    fn warn(self) {
        if let Self::Failure(reason) = self {
            // Ignore write errors: stderr is closed.
            let _ = writeln!(io::stderr(), "credira-gateway: {reason}");
        }
    }
}
