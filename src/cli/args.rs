//! The command line's arguments.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;

use super::colour::ColourChoice;
use crate::admin::Endpoint;

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
    /// Colour the output: auto (in a terminal, unless NO_COLOR is set), always or never.
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        value_enum,
        default_value = "auto",
        hide_possible_values = true
    )]
    pub(super) color: ColourChoice,
    #[command(subcommand)]
    pub(super) command: Command,
}

impl Cli {
    /// Parses the process's arguments. Help, the version and wrong usage end the process.
    pub fn from_arguments() -> Self {
        let command = Self::command().color(ColourChoice::for_parser(std::env::args_os()));
        Self::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the gateway until SIGTERM or SIGINT.
    ///
    /// Logs go to standard error. Each listener is logged with its bound address, so port 0 is usable.
    #[command(
        after_help = "Examples:\n  credira-gateway serve --config /etc/credira-gateway/gateway.toml\n  \
                            CREDIRA_GATEWAY__CACHE__TTL=1h credira-gateway serve -c gateway.toml"
    )]
    Serve(ServeArgs),
    /// Run a gateway and a stand-in upstream with no configuration.
    ///
    /// Starts the stand-in upstream and a gateway in front of it on loopback, prints commands to try,
    /// and runs until Ctrl-C.
    #[command(after_help = "Examples:\n  credira-gateway demo\n  credira-gateway demo --load\n  \
                            credira-gateway demo --fleet")]
    Demo(DemoArgs),
    /// Validate a configuration without serving.
    ///
    /// Reports every problem with file, line, column and key, and warns of risks. Exits with 78 if there is
    /// a problem, and with 1 if a probe fails.
    #[command(after_help = "Examples:\n  credira-gateway check --config gateway.toml\n  \
                            credira-gateway check --config gateway.toml --print\n  \
                            credira-gateway check --config gateway.toml --without-secrets\n  \
                            credira-gateway check --config gateway.toml --probe")]
    Check(CheckArgs),
    /// Run the stand-in for the Credira API, for local work, tests and demos.
    ///
    /// Any well-formed ID names a completed call. IDs that begin with call_missing, call_forbidden,
    /// call_progress, call_initiated and call_settling name a call that isn't there, one that may not be
    /// seen, two that are not finished, and one that has just been completed; call_untilN names one that is in
    /// progress until N, in seconds since 1970.
    ///
    /// Calls have recordings and transcriptions: those of call_unrecorded are absent, those of call_signed and
    /// call_redirected come from a media host, whose address is printed, and that of call_broken breaks off.
    #[command(after_help = "Examples:\n  credira-gateway mock-upstream --listen 127.0.0.1:8081\n  \
                            credira-gateway mock-upstream --listen 127.0.0.1:8081 --latency 200ms --error-rate 0.1")]
    MockUpstream(MockArgs),
    /// Make gateway tokens.
    #[command(subcommand, after_help = "Example:\n  credira-gateway token new")]
    Token(TokenCommand),
    /// Remove entries from a running gateway's caches.
    ///
    /// After it returns, nothing older is served, and no fetch that was in flight stores it again.
    #[command(
        override_usage = "credira-gateway purge [OPTIONS] <--all | TENANT [ID…|-]>",
        after_help = "Examples:\n  credira-gateway purge billing call_123456789\n  credira-gateway purge billing\n  \
                            credira-gateway purge billing - < ids.txt\n  credira-gateway purge --all --admin unix:/run/credira-gateway-admin.sock"
    )]
    Purge(PurgeArgs),
    /// Have a running gateway read its configuration, secrets and certificates again.
    ///
    /// Takes effect whole or not at all. Exits with 1 and lists every problem if it is rejected; the gateway then
    /// keeps running the previous configuration.
    #[command(after_help = "Examples:\n  credira-gateway reload --config gateway.toml\n  \
                            credira-gateway reload --admin unix:/run/credira-gateway-admin.sock")]
    Reload(ReloadArgs),
    /// Have a running gateway ask for a call again, because it has changed.
    ///
    /// A stored call is renewed in the background, and one that lookups wait for is asked for now, at most once
    /// per wait.poll_min. Nothing is fetched for any other.
    #[command(after_help = "Example:\n  credira-gateway refresh billing call_123456789")]
    Refresh(RefreshArgs),
    /// Show a running gateway's problems and figures, tenant by tenant.
    ///
    /// Lookups, errors, 429s and upstream requests are counted since the start; covered and saved are of the last
    /// five minutes: the share of lookups that were answered without the upstream, or would have been had it
    /// failed, and the upstream requests that the cache has saved.
    #[command(
        after_help = "Examples:\n  credira-gateway stats --admin 127.0.0.1:9090\n  credira-gateway stats --watch\n  \
                            credira-gateway stats --json | jq .tenants.billing.outcomes"
    )]
    Stats(StatsArgs),
    /// Explain what would happen to a lookup now. Nothing is sent or changed.
    #[command(after_help = "Examples:\n  credira-gateway explain billing call_123456789\n  \
                            credira-gateway explain billing call_123456789 --cache-control no-cache")]
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
        /// The shell.
        shell: Shell,
    },
    /// Print a manual page, for `man -l -` or a file.
    #[command(after_help = "Examples:\n  credira-gateway man | man -l -\n  \
                            credira-gateway man serve > credira-gateway-serve.1")]
    Man {
        /// The command; the program's own page by default.
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
    pub(crate) config: PathBuf,
}

/// How much is logged, where `RUST_LOG` does not say.
#[derive(Debug, Args)]
pub(super) struct VerbosityArgs {
    /// Log at level debug, given twice at level trace, instead of log.level.
    #[arg(short, long, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    verbose: u8,
    /// Log warnings and errors only.
    #[arg(short, long)]
    quiet: bool,
}

impl VerbosityArgs {
    /// The equivalent value of `RUST_LOG`.
    pub(super) const fn as_rust_log(&self) -> Option<&'static str> {
        match (self.verbose, self.quiet) {
            (0, false) => None,
            (0, true) => Some("warn"),
            (1, _) => Some("debug"),
            (_, _) => Some("trace"),
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    #[command(flatten)]
    pub(crate) verbosity: VerbosityArgs,
}

#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// Send a steady mix of lookups, so that the dashboard has something to show.
    #[arg(long)]
    pub(crate) load: bool,
    /// Keep calls in this directory, which a demo before this one may have left. Default: a new one for temporary files.
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
    /// Run two gateways that share a Valkey or Redis, if one is installed: its server must be on the PATH. Not with --load
    /// or --keep.
    #[arg(long, conflicts_with_all = ["load", "keep"])]
    pub(crate) fleet: bool,
    #[command(flatten)]
    pub(crate) verbosity: VerbosityArgs,
}

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Print the effective configuration as TOML, every secret redacted.
    #[arg(long)]
    pub(crate) print: bool,
    /// Pass over secrets and certificates that are missing: for pipelines, which have none.
    #[arg(long)]
    pub(crate) without_secrets: bool,
    /// Also connect to the upstream, verify its certificate, try each tenant's keys with a request for a call that
    /// does not exist, and use the levels on disk and in the engine as a gateway does, without disturbing one.
    #[arg(long, conflicts_with_all = ["without_secrets", "print"])]
    pub(crate) probe: bool,
}

#[derive(Debug, Args)]
pub(super) struct MockArgs {
    /// Address to listen on. Port 0 takes a free port; the address is printed.
    #[arg(long, value_name = "ADDR", value_parser = parse_socket_address)]
    pub(crate) listen: SocketAddr,
    /// Delay before each answer.
    #[arg(long, value_name = "DURATION", default_value = "0s")]
    pub(crate) latency: String,
    /// Share of requests answered with 500, from 0 to 1.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub(crate) error_rate: f64,
    /// An API key to accept. Repeatable; without one, any key is accepted.
    #[arg(long = "api-key", value_name = "KEY")]
    pub(crate) api_keys: Vec<String>,
}

/// The location of the admin listener.
#[derive(Debug, Args)]
pub(super) struct AdminArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Admin plane to use instead of the configuration's: host name, address, URL or unix:PATH.
    #[arg(long, value_name = "ADDR", value_parser = parse_endpoint)]
    pub(crate) admin: Option<Endpoint>,
    /// File with the admin token, instead of the configuration's.
    #[arg(long, value_name = "FILE")]
    pub(crate) admin_token_file: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct PurgeArgs {
    /// Tenant whose cache to purge.
    #[arg(required_unless_present_any = ["all", "forget"], conflicts_with_all = ["all", "forget"])]
    pub(crate) tenant: Option<String>,
    /// IDs of the calls to purge; `-` reads them from standard input, one a line.
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// Purge every tenant's cache.
    #[arg(long)]
    pub(crate) all: bool,
    /// Purge nothing, but no longer wait for this gateway of the fleet, which won't come back.
    #[arg(long, value_name = "NAME", conflicts_with = "all")]
    pub(crate) forget: Option<String>,
    /// Print failures only.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

impl PurgeArgs {
    /// How much is shown.
    pub(crate) const fn verbosity(&self) -> Verbosity {
        Verbosity::of(self.quiet)
    }
}

#[derive(Debug, Args)]
pub(super) struct StatsArgs {
    /// Refresh every two seconds until Ctrl-C; with --json, print one line each time.
    #[arg(short, long)]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

#[derive(Debug, Args)]
pub(super) struct ReloadArgs {
    /// Print problems only.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

impl ReloadArgs {
    /// How much is shown.
    pub(crate) const fn verbosity(&self) -> Verbosity {
        Verbosity::of(self.quiet)
    }
}

/// How much a command shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verbosity {
    /// Its result, and in a terminal its progress.
    Normal,
    /// Failures.
    Quiet,
}

impl Verbosity {
    /// The verbosity with this `--quiet`.
    const fn of(quiet: bool) -> Self {
        if quiet { Self::Quiet } else { Self::Normal }
    }
}

#[derive(Debug, Args)]
pub(super) struct RefreshArgs {
    /// The tenant whose call has changed.
    pub tenant: String,
    /// The call.
    pub id: String,
    /// Print failures only.
    #[arg(short, long)]
    pub quiet: bool,
    #[command(flatten)]
    pub admin: AdminArgs,
}

impl RefreshArgs {
    /// How much is shown.
    pub(super) const fn verbosity(&self) -> Verbosity {
        Verbosity::of(self.quiet)
    }
}

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// Tenant of the lookup.
    pub(crate) tenant: String,
    /// ID of the call.
    pub(crate) id: String,
    /// Cache-Control of the lookup, as in no-cache or only-if-cached.
    #[arg(long, value_name = "VALUE")]
    pub(crate) cache_control: Option<String>,
    /// Prefer of the lookup, as in wait=30.
    #[arg(long, value_name = "VALUE")]
    pub(crate) prefer: Option<String>,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

fn parse_endpoint(text: &str) -> Result<Endpoint, String> {
    text.parse().map_err(|()| format!("expected {}", Endpoint::EXPECTED))
}

fn parse_socket_address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "expected an IP address and a port such as \"127.0.0.1:8081\"")
}
