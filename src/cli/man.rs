//! `man`.

use std::io;

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use super::args::Cli;
use super::outcome::{Exit, print};
use crate::telemetry::VERSION;

/// What the command line itself can't tell, as roff.
const MORE: &str = r#".SH SIGNALS
.TP
.B SIGHUP
Reads the configuration, its secrets and its certificates again. If anything is wrong with them, all of it is logged and nothing changes.
.TP
.B SIGTERM, SIGINT
Turns readiness off, accepts connections for shutdown.grace more, finishes the requests under way within shutdown.drain_timeout, and ends. A second one ends at once.
.SH FILES
.TP
.I /etc/credira\-gateway/gateway.toml
The configuration of the system service.
.SH ENVIRONMENT
.TP
.B CREDIRA_GATEWAY_CONFIG
The configuration file, where \-\-config is not given.
.TP
.B CREDIRA_GATEWAY__SECTION__KEY
Replaces one value of the configuration, as CREDIRA_GATEWAY__CACHE__TTL=1h does.
.TP
.B RUST_LOG
Levels of the log by target; wins over log.level.
.TP
.B HTTPS_PROXY, NO_PROXY
The proxy through which the upstream is reached.
"#;

pub fn run(names: &[String]) -> Result<(), Exit> {
    // `help COMMAND` needs no page of its own.
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let mut command = &program;
    for name in names {
        let found = command.find_subcommand(name);
        command = found.ok_or_else(|| Exit::Usage(format!("there is no command {}", names.join(" "))))?;
    }
    print(&String::from_utf8_lossy(&page(command)?))
}

fn page(command: &Command) -> io::Result<Vec<u8>> {
    let source = format!("credira-gateway {VERSION}");
    let man = Man::new(command.clone()).manual("Credira gateway").source(source);
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    if command.get_arguments().next().is_some() {
        man.render_options_section(&mut text)?;
    }
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    man.render_extra_section(&mut text)?;
    if command.get_name() == "credira-gateway" {
        text.extend_from_slice(MORE.as_bytes());
    }
    Ok(text)
}
