//! What can be typed.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::config::Address;

/// The sidecar that services ask for voice calls instead of asking the Credira API.
///
/// It knows each caller by a gateway token, asks upstream with that caller's own key, keeps the
/// answers for finished calls, and limits what each caller may cost.
#[derive(Debug, Parser)]
#[command(
    name = "credira-gateway",
    version = concat!(env!("CARGO_PKG_VERSION"), " (", env!("CREDIRA_GATEWAY_REVISION"), ")"),
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 success; 1 failure; 2 wrong usage; 78 invalid configuration.\n\n\
                  Examples:\n  credira-gateway demo\n  credira-gateway token new\n  \
                  credira-gateway check --config gateway.toml\n  credira-gateway serve --config gateway.toml"
)]
pub struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the gateway until SIGTERM or SIGINT.
    ///
    /// Logs go to standard error. Each listener is logged with the address it is bound to, so port 0
    /// is usable.
    #[command(
        after_help = "Examples:\n  credira-gateway serve --config /etc/credira-gateway/gateway.toml\n  \
                            CREDIRA_GATEWAY__CACHE__TTL=1h credira-gateway serve -c gateway.toml"
    )]
    Serve(ConfigArgs),
    /// Try it with nothing to configure.
    ///
    /// Starts the stand-in upstream and a gateway in front of it on loopback, prints commands to try,
    /// and runs until Ctrl-C.
    #[command(after_help = "Example:\n  credira-gateway demo")]
    Demo,
    /// Validate a configuration without serving.
    ///
    /// Reports every problem with file, line, column and key, and warns of what is risky. Exits with
    /// 78 if there is a problem.
    #[command(after_help = "Examples:\n  credira-gateway check --config gateway.toml\n  \
                            credira-gateway check --config gateway.toml --print")]
    Check(CheckArgs),
    /// Run the stand-in for the Credira API, for local work, tests and demos.
    ///
    /// Any well-formed ID names a completed call. IDs that begin with call_missing, call_forbidden,
    /// call_progress, call_initiated and call_settling name a call that isn't there, one that may not be
    /// seen, two that are not finished, and one that has just been completed.
    #[command(after_help = "Examples:\n  credira-gateway mock-upstream --listen 127.0.0.1:8081\n  \
                            credira-gateway mock-upstream --listen 127.0.0.1:8081 --latency 200ms --error-rate 0.1")]
    MockUpstream(MockArgs),
    /// Make gateway tokens.
    #[command(subcommand, after_help = "Example:\n  credira-gateway token new")]
    Token(TokenCommand),
    /// Remove entries from a running gateway's caches.
    ///
    /// When it returns, nothing older is served, and no fetch that was under way brings it back.
    #[command(
        override_usage = "credira-gateway purge [OPTIONS] <--all | TENANT [ID]>",
        after_help = "Examples:\n  credira-gateway purge billing call_123456789\n  credira-gateway purge billing\n  \
                            credira-gateway purge --all --admin unix:/run/credira-gateway-admin.sock"
    )]
    Purge(PurgeArgs),
    /// Show a running gateway's figures, tenant by tenant.
    #[command(after_help = "Examples:\n  credira-gateway stats --admin 127.0.0.1:9090\n  \
                            credira-gateway stats --json | jq .tenants.billing.outcomes")]
    Stats(AdminArgs),
    /// Tell what would happen to a lookup now, and why. Nothing is sent or changed.
    #[command(after_help = "Example:\n  credira-gateway explain billing call_123456789")]
    Explain(ExplainArgs),
    /// Ask a running gateway's /readyz: exit code 0 if it takes traffic, else 1.
    #[command(after_help = "Examples:\n  credira-gateway healthcheck --config gateway.toml\n  \
                            credira-gateway healthcheck --admin 127.0.0.1:9090")]
    Healthcheck(AdminArgs),
    /// Print the JSON Schema of the configuration file.
    #[command(after_help = "Example:\n  credira-gateway schema > gateway.schema.json")]
    Schema,
    /// Print shell completions.
    #[command(
        after_help = "Example:\n  credira-gateway completions bash > /etc/bash_completion.d/credira-gateway"
    )]
    Completions {
        /// For which shell.
        shell: Shell,
    },
    /// Print a manual page, for `man -l -` or a file.
    #[command(after_help = "Examples:\n  credira-gateway man | man -l -\n  \
                            credira-gateway man serve > credira-gateway-serve.1")]
    Man {
        /// The command whose page it is; without one, the program's.
        command: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Print a fresh 256-bit token, and the line of the configuration that recognises it.
    #[command(
        after_help = "Give the token to the caller, and put the second line into the caller's [[tenants]] entry.\n\n\
                      Example:\n  credira-gateway token new"
    )]
    New,
}

/// Where the configuration is.
#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    /// The configuration file.
    #[arg(
        short,
        long,
        value_name = "FILE",
        env = "CREDIRA_GATEWAY_CONFIG",
        default_value = "config/gateway.toml"
    )]
    pub config: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Print the configuration in effect as TOML, every secret redacted.
    #[arg(long)]
    pub print: bool,
}

#[derive(Debug, Args)]
pub(super) struct MockArgs {
    /// Where to listen. Port 0 takes a free port; the address is printed.
    #[arg(long, value_name = "ADDR", value_parser = parse_socket_address)]
    pub listen: SocketAddr,
    /// How long each answer takes.
    #[arg(long, value_name = "DURATION", default_value = "0s")]
    pub latency: String,
    /// The share of requests that get a 500: 0 to 1.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub error_rate: f64,
    /// A key that is accepted. Repeatable; without one, any key is.
    #[arg(long = "api-key", value_name = "KEY")]
    pub api_keys: Vec<String>,
}

/// Where the admin listener is.
#[derive(Debug, Args)]
pub(super) struct AdminArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The admin listener's address, instead of the configuration's.
    #[arg(long, value_name = "ADDR", value_parser = parse_address)]
    pub admin: Option<Address>,
    /// The file that has the admin token, if one is configured.
    #[arg(long, value_name = "FILE")]
    pub admin_token_file: Option<PathBuf>,
    /// Print JSON instead of text for people.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(super) struct PurgeArgs {
    /// The tenant whose cache is purged.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub tenant: Option<String>,
    /// The one call of it that is purged.
    pub id: Option<String>,
    /// Purge every tenant's cache.
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    pub admin: AdminArgs,
}

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The tenant that would ask.
    pub tenant: String,
    /// The call that it would ask for.
    pub id: String,
    #[command(flatten)]
    pub admin: AdminArgs,
}

fn parse_address(text: &str) -> Result<Address, String> {
    text.parse().map_err(|()| format!("expected {}", Address::EXPECTED))
}

fn parse_socket_address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "expected an IP address and a port such as \"127.0.0.1:8081\"")
}
