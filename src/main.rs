//! Parses the command line, runs it, prints one error, exits.

use std::process::ExitCode;

use clap::Parser;
use credira_gateway::cli::{Cli, run};

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => exit.report(),
    }
}
