//! Maps arguments to commands.

use super::args::{Cli, Command, TokenCommand};
use super::outcome::Exit;
use super::{
    check, completions, demo, explain, healthcheck, man, mock_upstream, purge, refresh, reload, schema,
    serve, stats, token,
};

/// Runs a command to its end.
pub fn run(cli: Cli) -> Result<(), Exit> {
    match cli.command {
        Command::Serve(args) => serve::run(&args, cli.color),
        Command::Demo(args) => demo::run(&args, cli.color),
        Command::Check(args) => check::run(&args),
        Command::MockUpstream(args) => mock_upstream::run(args),
        Command::Token(TokenCommand::New) => token::new(),
        Command::Purge(args) => purge::run(&args),
        Command::Reload(args) => reload::run(&args),
        Command::Refresh(args) => refresh::run(&args),
        Command::Stats(args) => stats::run(&args, cli.color),
        Command::Explain(args) => explain::run(&args),
        Command::Healthcheck(args) => healthcheck::run(&args),
        Command::Schema => schema::run(),
        Command::Completions { shell } => completions::run(shell),
        Command::Man { command } => man::run(&command),
    }
}
