//! The command line: one file a command.

mod admin_address;
mod args;
mod check;
mod completions;
mod demo;
mod environment;
mod healthcheck;
mod mock_upstream;
mod outcome;
mod schema;
mod serve;
mod token;

pub use args::Cli;
pub use outcome::{Exit, run};
