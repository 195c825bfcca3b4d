//! Parses the command line, runs it, prints one error, exits.

use std::process::ExitCode;

use credira_gateway::cli::{Cli, run};

fn main() -> ExitCode {
    match run(Cli::from_arguments()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => exit.report(),
    }
}
