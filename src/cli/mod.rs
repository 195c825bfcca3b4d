//! The command line: one file a command.

mod admin_plane;
mod args;
mod arguments;
mod check;
mod colour;
mod completions;
mod demo;
mod dispatch;
mod environment;
mod explain;
mod healthcheck;
mod man;
mod mock_upstream;
mod outcome;
mod progress;
mod purge;
mod refresh;
mod reload;
mod schema;
mod serve;
mod stats;
mod token;

pub use args::Cli;
pub use dispatch::run;
pub use outcome::Exit;
