//! What every demo has: upstream keys, a stand-in upstream and gateways on loopback, and a log.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use tokio::net::TcpListener;

use crate::app::{App, ConfigSource};
use crate::cli::args::DemoArgs;
use crate::cli::colour::ColourChoice;
use crate::cli::outcome::Exit;
use crate::config::{self, Settings};
use crate::mock::{Mock, Options};
use crate::telemetry::{LogGuard, LogOptions, start_log};

/// The default ports, used if they are free.
pub(super) const DATA_PORT: u16 = 8080;
pub(super) const ADMIN_PORT: u16 = 9090;
/// The stand-in's, if it is free: what a demo has kept is of the upstream that it was fetched from.
const UPSTREAM_PORT: u16 = 8081;

pub(super) const KEYS: [&str; 2] = ["demo-upstream-key-of-billing", "demo-upstream-key-of-support"];

/// Where a demo listens. A port that is free may be taken before the demo listens there, so it tries any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DemoPorts {
    /// The usual ones where they are free, else any.
    Usual,
    Any,
}

impl DemoPorts {
    /// Tried in this order.
    pub(super) const TRIES: [Self; 2] = [Self::Usual, Self::Any];

    /// 0 takes any.
    pub(super) async fn port(self, usual: u16) -> u16 {
        let is_free = self == Self::Usual && TcpListener::bind(loopback(usual)).await.is_ok();
        if is_free { usual } else { 0 }
    }
}

pub(super) const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// Starts the stand-in upstream.
pub(super) async fn start_mock(options: Options) -> io::Result<Mock> {
    match Mock::start(loopback(UPSTREAM_PORT), options.clone()).await {
        Ok(mock) => Ok(mock),
        Err(_) => Mock::start(loopback(0), options).await,
    }
}

/// Starts a gateway with this configuration, and the log, unless it was started.
pub(super) async fn start_gateway(
    text: String,
    log: &mut Option<LogGuard>,
    args: &DemoArgs,
    colour: ColourChoice,
) -> Result<App, Exit> {
    let file = Path::new("demo.toml");
    let settings = config::load_text(file, text, &BTreeMap::new())?.settings;
    let control = log.get_or_insert_with(|| begin_log(&settings, args, colour)).control();
    let source = ConfigSource { file: file.into(), variables: BTreeMap::new() };
    App::start(settings, source, control).await.map_err(Exit::failure)
}

fn begin_log(settings: &Settings, args: &DemoArgs, colour: ColourChoice) -> LogGuard {
    let rust_log = std::env::var("RUST_LOG").ok();
    let options = LogOptions {
        rust_log: rust_log.as_deref().or(args.verbosity.as_rust_log()),
        colour: colour.of(&std::io::stderr()),
    };
    start_log(&settings.log, options)
}
