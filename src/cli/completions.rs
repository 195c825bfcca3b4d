//! `completions`.

use clap::CommandFactory;
use clap_complete::Shell;

use super::args::Cli;
use super::outcome::{Exit, print};

pub(crate) fn run(shell: Shell) -> Result<(), Exit> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "credira-gateway", &mut text);
    print(&String::from_utf8_lossy(&text))
}
