//! A running program: its start, its signals, and its end.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use super::build::{BuildError, Ground, Reach, World};
use super::listeners::{Bound, Listeners};
use super::reload::{Reloader, Source, Subjects};
use super::service_manager::ServiceManager;
use super::signals::{Signal, Signals};
use super::sweep::sweep;
use crate::admin::{Admin, Health, History, Rules, Socket, State};
use crate::clock::{self, WallClock};
use crate::config::{Address, Settings, Shutdown};
use crate::gateway::{Cutoff, Fetches, Gateway, Snapshots};
use crate::server::{Drain, Drained, Workers};
use crate::telemetry::{CallHasher, LogControl, Metrics, MetricsError, Spans, Telemetry};

/// How long answers that were cut off may take to leave.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A gateway that listens.
pub struct App {
    gateway: Arc<Gateway>,
    reloader: Arc<Reloader>,
    health: Health,
    drain: Drain,
    /// The admin plane goes on until the data plane has ended: probes and scrapes see the drain.
    admin_drain: Drain,
    manager: ServiceManager,
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
    Metrics(MetricsError),
    /// No thread can be started.
    Threads(io::Error),
    /// There is no randomness.
    Random,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(error) => fmt::Display::fmt(error, f),
            Self::Build(error) => fmt::Display::fmt(error, f),
            Self::Metrics(error) => write!(f, "cannot register metrics: {error}"),
            Self::Threads(error) => write!(f, "cannot start threads: {error}"),
            Self::Random => f.write_str("the system gives no randomness"),
        }
    }
}

impl std::error::Error for StartError {}

impl App {
    /// Binds every listener, then starts to serve.
    pub async fn start(settings: Settings, source: Source, log: LogControl) -> Result<Self, StartError> {
        let wall = WallClock::system();
        let telemetry = Arc::new(telemetry(&settings, log)?);
        let ground = Ground { telemetry: Arc::clone(&telemetry), wall: wall.clone(), reach: Reach::Network };
        let bound = Bound::open(&settings).await.map_err(StartError::Listen)?;
        let world = World::build(settings, None, &ground).map_err(StartError::Build)?;
        telemetry.metrics.show_tenants(world.metrics());
        telemetry.metrics.show_certificate(world.settings.listen.certificate_expiry());
        telemetry.metrics.count_start(wall.now());
        let tasks = TaskTracker::new();
        let gateway = Arc::new(Gateway {
            snapshots: Snapshots::from(Arc::clone(&world.snapshot)),
            telemetry: Arc::clone(&telemetry),
            wall: wall.clone(),
            fetches: Fetches::on(Handle::current(), tasks.clone()),
            tasks,
            cutoff: Cutoff::new(),
        });
        let health = Health::new();
        let rules = Arc::new(ArcSwap::from_pointee(Rules::of(&world.settings)));
        let (history, started) = (Arc::new(History::default()), clock::now());
        let admin = Admin {
            gateway: Arc::clone(&gateway),
            health: health.clone(),
            history: Arc::clone(&history),
            rules: Arc::clone(&rules),
            is_local: bound.admin_address().is_some_and(Address::is_local),
            started,
            reload: Arc::default(),
            wall,
        };
        let reload_slot = Arc::clone(&admin.reload);
        let connections = Arc::clone(telemetry.metrics.connections());
        let workers = Workers::start().map_err(StartError::Threads)?;
        let serving = Arc::clone(&workers);
        let listeners = Listeners::new(&world.settings, Arc::clone(&gateway), admin, connections, serving);
        let listeners = Arc::new(listeners.map_err(|error| StartError::Build(BuildError::Tls(error)))?);
        let manager = ServiceManager::of_environment();
        let tenants = world.settings.tenants.len();
        let subjects = Subjects {
            gateway: Arc::clone(&gateway),
            health: health.clone(),
            rules,
            listeners: Arc::clone(&listeners),
            manager: manager.clone(),
        };
        let reloader = Arc::new(Reloader::new(source, ground, world, subjects));
        let (reloading, tasks) = (Arc::clone(&reloader), gateway.tasks.clone());
        // The admin plane is above: it is handed reload as a function.
        let _ = reload_slot.set(Box::new(move || {
            let reloader = Arc::clone(&reloading);
            // It goes on if the client who asked leaves: the service manager waits for its end.
            let reload = tasks.spawn(async move { reloader.reload().await });
            Box::pin(async move { reload.await.unwrap_or_else(|error| Err(vec![error.to_string()])) })
        }));
        let (drain, admin_drain) = (Drain::new(), Drain::new());
        let admin_address = bound.admin_address().cloned();
        let data = listeners.serve(bound, &drain, &admin_drain);
        gateway.tasks.spawn(Arc::clone(&reloader).watch());
        gateway.tasks.spawn(manager.clone().reassure(workers));
        gateway.tasks.spawn(sweep(Arc::clone(&gateway)));
        if admin_address.is_some() {
            gateway.tasks.spawn(history.keep(Arc::clone(&gateway), started));
        }
        health.note_listeners(sockets(&data, admin_address.as_ref()));
        health.set(State::Ready);
        manager.ready(tenants).await;
        Ok(Self { gateway, reloader, health, drain, admin_drain, manager, data, admin: admin_address })
    }

    /// The data plane's addresses, ports resolved.
    pub fn data_addresses(&self) -> &[Address] {
        &self.data
    }

    /// The admin plane's address, port resolved.
    pub const fn admin_address(&self) -> Option<&Address> {
        self.admin.as_ref()
    }

    /// Serves until a signal to end, then finishes what is under way. A second one ends that at once.
    pub async fn run(self, signals: &mut Signals) {
        let signal = loop {
            match signals.next().await {
                Signal::Reload => self.reload_aside(),
                Signal::End(name) => break name,
            }
        };
        let shutdown = self.reloader.shutdown();
        tracing::info!(
            signal,
            grace_seconds = shutdown.grace.as_secs_f64(),
            drain_timeout_seconds = shutdown.drain_timeout.as_secs_f64(),
            "draining: readiness is off, requests under way are finished, then the process ends"
        );
        tokio::select! {
            () = self.finish(&shutdown) => {}
            signal = signals.end() => {
                tracing::warn!(signal, "a second signal: ending at once");
                self.drain.begin();
                self.gateway.cutoff.now();
                self.drain.finish(LAST_WORDS).await;
            }
        }
    }

    /// Reloads on a task of its own: a file that can't be read to its end must not keep the process from
    /// ending. The outcome is told by the reload itself.
    fn reload_aside(&self) {
        let reloader = Arc::clone(&self.reloader);
        self.gateway.tasks.spawn(async move { drop(reloader.reload().await) });
    }

    async fn finish(&self, shutdown: &Shutdown) {
        self.health.set(State::Draining);
        let Shutdown { grace, drain_timeout } = *shutdown;
        self.manager.stopping(grace + drain_timeout + 3 * LAST_WORDS).await;
        // Those who send here must notice first; until then they are served, and told.
        self.drain.announce();
        tokio::time::sleep(grace).await;
        self.drain.begin();
        if let Drained::CutOff(left) = self.drain.finish(drain_timeout).await {
            tracing::warn!(left, "the drain timeout is over: lookups that still wait get 503");
            self.gateway.cutoff.now();
            self.drain.finish(LAST_WORDS).await;
        }
        self.admin_drain.begin();
        self.admin_drain.finish(LAST_WORDS).await;
        self.gateway.telemetry.spans.flush(LAST_WORDS).await;
        tracing::info!("drained: the process ends now");
    }
}

fn sockets(data: &[Address], admin: Option<&Address>) -> Vec<Socket> {
    let data = data.iter().map(|address| Socket { plane: "data", address: address.clone() });
    let admin = admin.map(|address| Socket { plane: "admin", address: address.clone() });
    data.chain(admin).collect()
}

fn telemetry(settings: &Settings, log: LogControl) -> Result<Telemetry, StartError> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|_| StartError::Random)?;
    let metrics = Metrics::new(log.drops()).map_err(StartError::Metrics)?;
    Ok(Telemetry::new(metrics, Spans::of_environment(), &settings.log, log, CallHasher::new(key)))
}
