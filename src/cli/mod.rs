//! The command line: one file a command.

mod admin_plane;
mod args;
mod check;
mod completions;
mod demo;
mod environment;
mod explain;
mod healthcheck;
mod man;
mod mock_upstream;
mod outcome;
mod purge;
mod schema;
mod serve;
mod stats;
mod token;

pub use args::Cli;
pub use outcome::{Exit, run};
