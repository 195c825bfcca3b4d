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
use crate::config::{self, Address, Settings};
use crate::mock::{Mock, Options};
use crate::telemetry::{LogControl, LogGuard, LogOptions, start_log};

/// The default ports of both planes, used if they are free.
pub(super) const USUAL_PORTS: [u16; 2] = [8080, 9090];
/// The stand-in's, if it is free: what a demo has kept is of the upstream that it was fetched from.
const UPSTREAM_PORT: u16 = 8081;

pub(super) const KEYS: [&str; 2] = ["demo-upstream-key-of-billing", "demo-upstream-key-of-support"];

/// A gateway of a demo, and where it listens.
pub(super) struct DemoGateway {
    pub(super) app: App,
    pub(super) data: Address,
    pub(super) admin: Address,
}

/// The log of a demo, begun with its first gateway.
pub(super) struct DemoLog<'a> {
    args: &'a DemoArgs,
    colour: ColourChoice,
    guard: Option<LogGuard>,
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

/// Starts a gateway on these ports of both planes where they are free, else on any. `configuration` returns its file's
/// text for the ports that it is given; 0 takes any.
pub(super) async fn start_gateway(
    usual: [u16; 2],
    configuration: impl Fn([u16; 2]) -> String,
    log: &mut DemoLog<'_>,
) -> Result<DemoGateway, Exit> {
    let [data, admin] = usual;
    let free = [free_port(data).await, free_port(admin).await];
    let app = match start_app(configuration(free), log).await {
        // A port that was free may have been taken since.
        Err(_) if free != [0, 0] => start_app(configuration([0, 0]), log).await?,
        started => started?,
    };
    let (data, admin) = (app.data_addresses().first().cloned(), app.admin_addresses().first().cloned());
    let (Some(data), Some(admin)) = (data, admin) else {
        return Err(Exit::failure("the demo has no listeners"));
    };
    Ok(DemoGateway { app, data, admin })
}

/// The port if it is free, else 0.
async fn free_port(usual: u16) -> u16 {
    if TcpListener::bind(loopback(usual)).await.is_ok() { usual } else { 0 }
}

async fn start_app(text: String, log: &mut DemoLog<'_>) -> Result<App, Exit> {
    let file = Path::new("demo.toml");
    let settings = config::load_text(file, text, &BTreeMap::new())?.settings;
    let source = ConfigSource { file: file.into(), variables: BTreeMap::new() };
    App::start(settings.clone(), source, log.control(&settings)).await.map_err(Exit::failure)
}

impl<'a> DemoLog<'a> {
    /// A log that has not begun.
    pub(super) const fn new(args: &'a DemoArgs, colour: ColourChoice) -> Self {
        Self { args, colour, guard: None }
    }

    fn control(&mut self, settings: &Settings) -> LogControl {
        let begin = || {
            let rust_log = std::env::var("RUST_LOG").ok();
            let options = LogOptions {
                rust_log: rust_log.as_deref().or(self.args.verbosity.as_rust_log()),
                colour: self.colour.of(&io::stderr()),
            };
            start_log(&settings.log, options)
        };
        self.guard.get_or_insert_with(begin).control()
    }
}
