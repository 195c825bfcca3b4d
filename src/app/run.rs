//! A running program: its listeners, and its end.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::build::{self, BuildError};
use super::signals::Signals;
use crate::admin::{Admin, Readiness, State};
use crate::clock::WallClock;
use crate::config::{Address, Settings};
use crate::gateway::{Cutoff, Gateway, Snapshots};
use crate::server::{Drain, Drained, Handler, Listener, Protocol, Server, Timeouts};
use crate::telemetry::{CallHasher, LogDrops, Metrics, Telemetry};

/// Connections that the admin listener takes.
const ADMIN_CONNECTIONS: usize = 64;

/// How long answers that were cut off may take to leave.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A gateway that listens.
pub struct App {
    gateway: Arc<Gateway>,
    readiness: Readiness,
    drain: Drain,
    /// The admin plane goes on until the data plane has ended: probes and scrapes see the drain.
    admin_drain: Drain,
    drain_timeout: Duration,
    data: Vec<Address>,
    admin: Option<Address>,
}

/// Why a gateway does not start.
#[derive(Debug)]
pub enum StartError {
    /// An address can't be bound.
    Listen(io::Error),
    /// See there.
    Build(BuildError),
    /// Metrics could not be registered: a bug.
    Metrics(prometheus::Error),
    /// There is no randomness.
    Random,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(error) => fmt::Display::fmt(error, f),
            Self::Build(error) => fmt::Display::fmt(error, f),
            Self::Metrics(error) => write!(f, "cannot register metrics: {error}"),
            Self::Random => f.write_str("the system gives no randomness"),
        }
    }
}

impl std::error::Error for StartError {}

impl App {
    /// Binds every listener, then starts to serve.
    pub async fn start(settings: &Settings, log_drops: LogDrops) -> Result<Self, StartError> {
        let wall = WallClock::system();
        let telemetry = Arc::new(telemetry(settings, log_drops)?);
        let snapshot = build::snapshot(settings, &telemetry, &wall).map_err(StartError::Build)?;
        let shown = snapshot.directory.all().map(|tenant| Arc::clone(tenant.metrics())).collect();
        telemetry.metrics.show_tenants(shown);
        let gateway = Arc::new(Gateway {
            snapshots: Snapshots::from_pointee(snapshot),
            telemetry,
            wall: wall.clone(),
            tasks: TaskTracker::new(),
            cutoff: Cutoff::new(),
        });
        let mut app = Self {
            gateway,
            readiness: Readiness::new(),
            drain: Drain::new(),
            admin_drain: Drain::new(),
            drain_timeout: settings.shutdown.drain_timeout,
            data: Vec::new(),
            admin: None,
        };
        app.listen(settings, wall).await.map_err(StartError::Listen)?;
        app.readiness.set(State::Ready);
        Ok(app)
    }

    async fn listen(&mut self, settings: &Settings, wall: WallClock) -> io::Result<()> {
        let timeouts =
            Timeouts { head: settings.limits.header_read_timeout, idle: settings.limits.idle_timeout };
        let protocol = || Protocol::new(timeouts, settings.limits.max_header_bytes);
        // All are bound before any serves, so that a port in use leaves nothing half started.
        let mut listeners = Vec::new();
        for address in &settings.listen {
            listeners.push(Listener::bind(address).await?);
        }
        let admin = match &settings.admin {
            Some(address) => Some(Listener::bind(address).await?),
            None => None,
        };
        let data = Arc::new(Server {
            protocol: protocol(),
            permits: Arc::new(Semaphore::new(settings.limits.max_connections)),
            handler: Arc::clone(&self.gateway),
            connections: Arc::clone(self.gateway.telemetry.metrics.connections()),
        });
        for listener in listeners {
            tracing::info!(plane = "data", address = %listener.address(), "listening");
            self.data.push(listener.address().clone());
            serve(&data, listener, &self.drain);
        }
        if let Some(listener) = admin {
            let handler =
                Admin { gateway: Arc::clone(&self.gateway), readiness: self.readiness.clone(), wall };
            let server = Arc::new(Server {
                protocol: protocol(),
                permits: Arc::new(Semaphore::new(ADMIN_CONNECTIONS)),
                handler: Arc::new(handler),
                connections: Arc::default(),
            });
            tracing::info!(plane = "admin", address = %listener.address(), "listening");
            self.admin = Some(listener.address().clone());
            serve(&server, listener, &self.admin_drain);
        }
        Ok(())
    }

    /// The data plane's addresses, ports resolved.
    pub fn data_addresses(&self) -> &[Address] {
        &self.data
    }

    /// The admin plane's address, port resolved.
    pub const fn admin_address(&self) -> Option<&Address> {
        self.admin.as_ref()
    }

    /// Serves until a signal, then finishes what is under way. A second signal ends that at once.
    pub async fn run(self, signals: &mut Signals) {
        let signal = signals.end().await;
        tracing::info!(
            signal,
            drain_timeout_seconds = self.drain_timeout.as_secs_f64(),
            "draining: no new connections are taken, requests under way are finished"
        );
        tokio::select! {
            () = self.finish() => {}
            signal = signals.end() => tracing::warn!(signal, "a second signal: ending at once"),
        }
    }

    async fn finish(&self) {
        self.readiness.set(State::Draining);
        self.drain.begin();
        if let Drained::CutOff(connections) = self.drain.finish(self.drain_timeout).await {
            tracing::warn!(connections, "the drain timeout is over: what still waits gets 503");
            self.gateway.cutoff.now();
            self.drain.finish(LAST_WORDS).await;
        }
        self.admin_drain.begin();
        self.admin_drain.finish(LAST_WORDS).await;
        tracing::info!("drained");
    }
}

fn serve<H: Handler>(server: &Arc<Server<H>>, listener: Listener, drain: &Drain) {
    drain.watch().spawn(Arc::clone(server).run(listener, drain.watch()));
}

fn telemetry(settings: &Settings, log_drops: LogDrops) -> Result<Telemetry, StartError> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|_| StartError::Random)?;
    let metrics = Metrics::new(log_drops).map_err(StartError::Metrics)?;
    Ok(Telemetry::new(metrics, settings.log.access, settings.log.call_ids, CallHasher::new(key)))
}
