//! `man`.

use std::io;

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use super::args::Cli;
use super::outcome::{Exit, print};
use crate::telemetry::VERSION;

/// Exit codes, with the commands that use them.
fn exit_status(command: &Command) -> String {
    let mut rows = vec![("0", "success"), ("2", "wrong usage")];
    match command.get_name() {
        "credira-gateway" => {
            rows.push(("78", "the configuration is invalid or can't be read; every problem is listed"));
            rows.push(("1", "anything else, with one line on standard error"));
        }
        "healthcheck" => rows.push(("1", "the gateway takes no traffic, or did not answer")),
        "reload" => rows.push(("1", "the gateway rejected its configuration, or did not answer")),
        "serve" | "check" => {
            rows.push(("1", "failure, with one line on standard error"));
            rows.push(("78", "the configuration is invalid or can't be read; every problem is listed"));
        }
        _ => {
            rows.push(("1", "failure, with one line on standard error"));
            if reads_configuration(command) {
                rows.push(("78", "the configuration can't be read, and --admin was not given"));
            }
        }
    }
    rows.sort_unstable();
    let row = |(code, meaning): (&str, &str)| format!(".TP\n.B {code}\n{meaning}\n");
    format!(".SH EXIT STATUS\n{}", rows.into_iter().map(row).collect::<String>())
}

/// The examples of the command's help, as they are, below what is said of them.
fn examples(command: &Command) -> String {
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let parts = help.split_once("Examples:\n").or_else(|| help.split_once("Example:\n"));
    let Some((notes, lines)) = parts else { return String::new() };
    // The exit codes have a section of their own.
    let notes = if notes.starts_with("Exit codes") { "" } else { notes.trim_end() };
    let escaped = |text: &str| text.replace('\\', "\\\\").replace('-', "\\-");
    let lines: String = lines.lines().map(|line| format!("{}\n", escaped(line.trim_start()))).collect();
    let notes = if notes.is_empty() { String::new() } else { format!("{}\n.PP\n", escaped(notes)) };
    format!(".SH EXAMPLES\n{notes}.nf\n.RS 4\n{lines}.RE\n.fi\n")
}

fn reads_configuration(command: &Command) -> bool {
    command.get_arguments().any(|argument| argument.get_id() == "config")
}

/// The environment of a command that reads the configuration.
const ENVIRONMENT: &str = r#".SH ENVIRONMENT
.TP
.B CREDIRA_GATEWAY_CONFIG
The configuration file, if \-\-config is not given.
.TP
.B CREDIRA_GATEWAY__SECTION__KEY
Replaces one value of the configuration, as CREDIRA_GATEWAY__CACHE__TTL=1h does.
.TP
.B NO_COLOR
Turns colour off, whatever its value.
"#;

/// The additional environment of a running gateway.
const ENVIRONMENT_OF_A_GATEWAY: &str = r#".TP
.B RUST_LOG
Levels of the log by target; takes precedence over log.level.
.TP
.B HTTPS_PROXY, NO_PROXY
The proxy through which the upstream is reached.
"#;

const FILES: &str = r#".SH FILES
.TP
.I config/gateway.toml
The configuration, if neither \-\-config nor CREDIRA_GATEWAY_CONFIG names one.
.TP
.I /etc/credira\-gateway/gateway.toml
The configuration of the system service.
"#;

const SIGNALS: &str = r#".SH SIGNALS
.TP
.B SIGHUP
Reads the configuration, its secrets and its certificates again. If anything is wrong with them, all of it is logged and nothing changes.
.TP
.B SIGTERM, SIGINT
Turns readiness off, accepts connections for another shutdown.grace, finishes requests in flight within shutdown.drain_timeout, and ends. A second one ends at once.
"#;

pub(crate) fn run(names: &[String]) -> Result<(), Exit> {
    // `help COMMAND` doesn't need a page of its own.
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
    text.extend_from_slice(examples(command).as_bytes());
    text.extend_from_slice(exit_status(command).as_bytes());
    let sections: &[&str] = if command.get_name() == "credira-gateway" {
        &[SIGNALS, FILES, ENVIRONMENT, ENVIRONMENT_OF_A_GATEWAY]
    } else if reads_configuration(command) {
        &[ENVIRONMENT, FILES]
    } else {
        &[]
    };
    text.extend_from_slice(sections.concat().as_bytes());
    Ok(text)
}
