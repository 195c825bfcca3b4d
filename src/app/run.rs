//! A running program: startup, signals, and shutdown.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use super::build::{AppContext, BuildError, Runtime, TransportKind};
use super::fleet::{FleetContext, GatewayWorld};
use super::listeners::{Bound, Listeners};
use super::reload::{ReloadTargets, Reloader};
use super::service_manager::ServiceManager;
use super::signals::{Signal, Signals};
use super::source::ConfigSource;
use super::sweep::{sweep, sweep_disk};
use crate::admin::{
    AdminHandler, ListeningSocket, ProblemWatch, ProcessHealth, ProcessState, Rules, SampleHistory,
};
use crate::clock::{self, WallClock};
use crate::config::{Address, Settings, ShutdownSettings};
use crate::gateway::{Cutoff, FetchSpawner, Gateway, Snapshots, WaitDrain};
use crate::levels::DiskLevel;
use crate::server::{Drain, Drained, Workers};
use crate::telemetry::{CallHasher, LogControl, Metrics, MetricsError, Spans, Telemetry};

/// The time limit for sending answers that were cut off.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long a start waits for the engine of a fleet.
const FIRST_BEAT: Duration = Duration::from_secs(1);

/// The longest time over which the ends of waits are spread by a drain.
const LONGEST_SPREAD: Duration = Duration::from_secs(2);

/// A listening gateway.
pub(crate) struct App {
    gateway: Arc<Gateway>,
    reloader: Arc<Reloader>,
    health: ProcessHealth,
    disk: Option<Arc<DiskLevel>>,
    drain: Drain,
    /// The admin plane runs until the data plane has ended, so that probes and scrapes see the drain.
    admin_drain: Drain,
    manager: ServiceManager,
    data: Vec<Address>,
    admin: Vec<Address>,
}

/// Why a gateway did not start.
#[derive(Debug)]
pub(crate) enum StartError {
    /// An address can't be bound.
    Listen(io::Error),
    /// The runtime can't be built.
    Build(BuildError),
    /// Metrics could not be registered: a bug.
    Metrics(MetricsError),
    /// No thread can be started.
    Threads(io::Error),
    /// The system provides no randomness.
    Random,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(error) => fmt::Display::fmt(error, f),
            Self::Build(error) => fmt::Display::fmt(error, f),
            Self::Metrics(error) => write!(f, "cannot register metrics: {error}"),
            Self::Threads(error) => write!(f, "cannot start threads: {error}"),
            Self::Random => f.write_str("the system provides no randomness"),
        }
    }
}

impl std::error::Error for StartError {}

impl App {
    /// Binds every listener, then starts to serve.
    pub(crate) async fn start(
        settings: Settings,
        source: ConfigSource,
        log: LogControl,
    ) -> Result<Self, StartError> {
        let wall = WallClock::system();
        let telemetry = Arc::new(telemetry(&settings, log)?);
        let fleet = FleetContext::new(&settings.shared, &telemetry.metrics, wall.clone());
        let context = AppContext {
            telemetry: Arc::clone(&telemetry),
            wall: wall.clone(),
            transport_kind: TransportKind::Network,
            disk: DiskLevel::new(
                &settings.disk,
                telemetry.metrics.disk(),
                wall.clone(),
                fleet.as_ref().map(|fleet| Arc::clone(fleet.level())),
            ),
            fleet,
        };
        let disk = context.disk.clone();
        let fleet = context.fleet.as_ref().map(|fleet| Arc::clone(fleet.fleet()));
        let bound = Bound::open(&settings).await.map_err(StartError::Listen)?;
        let runtime = Runtime::build(settings, None, &context).map_err(StartError::Build)?;
        telemetry.metrics.show_tenants(runtime.metrics());
        telemetry.metrics.show_certificate(runtime.settings.certificate_expiry());
        telemetry.metrics.count_start(wall.now());
        let tasks = TaskTracker::new();
        let gateway = Arc::new(Gateway {
            snapshots: Snapshots::from(Arc::clone(&runtime.snapshot)),
            telemetry: Arc::clone(&telemetry),
            wall: wall.clone(),
            fetches: FetchSpawner::on(Handle::current(), tasks.clone()),
            tasks,
            cutoff: Cutoff::new(),
            wait_drain: WaitDrain::new(),
            fleet: fleet.clone(),
        });
        if let Some(fleet) = &fleet {
            fleet.set_world(Arc::new(GatewayWorld(Arc::clone(&gateway))));
            // Before it serves, so that it serves as one of the fleet from its first request on, where that is possible.
            let _ = clock::within(FIRST_BEAT, fleet.join()).await;
        }
        let health = ProcessHealth::new();
        let rules = Arc::new(ArcSwap::from_pointee(Rules::of(&runtime.settings)));
        let (history, started) = (Arc::new(SampleHistory::default()), clock::now());
        let problems = Arc::new(ProblemWatch::new(started));
        let admin = AdminHandler {
            gateway: Arc::clone(&gateway),
            health: health.clone(),
            history: Arc::clone(&history),
            problems: Arc::clone(&problems),
            rules: Arc::clone(&rules),
            // Set by the listeners.
            is_local: false,
            started,
            reload: Arc::default(),
            wall,
        };
        let reload_slot = Arc::clone(&admin.reload);
        let workers = Workers::start().map_err(StartError::Threads)?;
        let serving = Arc::clone(&workers);
        let listeners =
            Listeners::new(&runtime.settings, Arc::clone(&gateway), admin, &telemetry.metrics, serving);
        let listeners = Arc::new(listeners.map_err(|error| StartError::Build(BuildError::Tls(error)))?);
        let manager = ServiceManager::of_environment();
        let tenants = runtime.settings.tenants.len();
        let targets = ReloadTargets {
            gateway: Arc::clone(&gateway),
            health: health.clone(),
            rules,
            listeners: Arc::clone(&listeners),
            manager: manager.clone(),
        };
        let reloader = Arc::new(Reloader::new(source, context, runtime, targets));
        let (reloading, tasks) = (Arc::clone(&reloader), gateway.tasks.clone());
        // The admin plane must not import this module, so it gets a function.
        let _ = reload_slot.set(Box::new(move || {
            let reloader = Arc::clone(&reloading);
            // Continues if the requesting client disconnects: the service manager waits for its end.
            let reload = tasks.spawn(async move { reloader.reload().await });
            Box::pin(async move { reload.await.unwrap_or_else(|error| Err(vec![error.to_string()])) })
        }));
        let (drain, admin_drain) = (Drain::new(), Drain::new());
        let admin_addresses = bound.admin_addresses();
        let data = listeners.serve(bound, &drain, &admin_drain);
        gateway.tasks.spawn(Arc::clone(&reloader).watch());
        gateway.tasks.spawn(manager.clone().reassure(workers));
        gateway.tasks.spawn(sweep(Arc::clone(&gateway)));
        if let Some(fleet) = fleet {
            gateway.tasks.spawn(fleet.run());
        }
        if !admin_addresses.is_empty() {
            gateway.tasks.spawn(history.keep(Arc::clone(&gateway), started));
            gateway.tasks.spawn(problems.keep(Arc::clone(&gateway), health.clone()));
        }
        health.note_listeners(sockets(&data, &admin_addresses));
        if let Some(disk) = &disk {
            let strays = Arc::clone(disk);
            gateway.tasks.spawn_blocking(move || strays.erase_strays());
            gateway.tasks.spawn(sweep_disk(Arc::clone(disk)));
        }
        health.set(ProcessState::Ready);
        manager.ready(tenants).await;
        let admin = admin_addresses;
        Ok(Self { gateway, reloader, health, disk, drain, admin_drain, manager, data, admin })
    }

    /// The data plane's addresses, ports resolved.
    pub(crate) fn data_addresses(&self) -> &[Address] {
        &self.data
    }

    /// The admin plane's addresses, ports resolved.
    pub(crate) fn admin_addresses(&self) -> &[Address] {
        &self.admin
    }

    /// Serves until a signal to end, then finishes requests in progress. A second signal ends that at once.
    pub(crate) async fn run(self, signals: &mut Signals) {
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
            "draining: readiness is off, requests in flight are finished, then the process ends"
        );
        tokio::select! {
            () = self.finish(&shutdown) => {}
            signal = signals.end() => {
                tracing::warn!(signal, "second signal received: ending at once");
                self.drain.begin();
                self.gateway.cutoff.now();
                self.drain.finish(LAST_WORDS).await;
            }
        }
    }

    /// Reloads in a separate task: a file that blocks its reader must not keep the process from ending. The reload
    /// itself reports its result.
    fn reload_aside(&self) {
        let reloader = Arc::clone(&self.reloader);
        self.gateway.tasks.spawn(async move { drop(reloader.reload().await) });
    }

    async fn finish(&self, shutdown: &ShutdownSettings) {
        self.health.set(ProcessState::Draining);
        let ShutdownSettings { grace, drain_timeout } = *shutdown;
        self.manager.stopping(grace + drain_timeout + 3 * LAST_WORDS).await;
        // Load balancers must notice first; until then, requests are served, and answers announce the end.
        self.drain.announce();
        tokio::time::sleep(grace).await;
        self.gateway.wait_drain.begin((drain_timeout / 4).min(LONGEST_SPREAD));
        self.drain.begin();
        if let Drained::CutOff(left) = self.drain.finish(drain_timeout).await {
            tracing::warn!(left, "drain timeout expired: lookups that still wait get 503");
            self.gateway.cutoff.now();
            self.drain.finish(LAST_WORDS).await;
        }
        self.admin_drain.begin();
        self.admin_drain.finish(LAST_WORDS).await;
        if let Some(fleet) = &self.gateway.fleet {
            // Nothing is answered any more, so nobody has to wait for this gateway.
            fleet.leave().await;
        }
        if let Some(disk) = self.disk.clone() {
            // What cannot be written in time is fetched again.
            let _ = tokio::task::spawn_blocking(move || disk.finish(LAST_WORDS)).await;
        }
        self.gateway.telemetry.spans.flush(LAST_WORDS).await;
        tracing::info!("drained: process ends now");
    }
}

fn sockets(data: &[Address], admin: &[Address]) -> Vec<ListeningSocket> {
    let data = data.iter().map(|address| ListeningSocket { plane: "data", address: address.clone() });
    let admin = admin.iter().map(|address| ListeningSocket { plane: "admin", address: address.clone() });
    data.chain(admin).collect()
}

fn telemetry(settings: &Settings, log: LogControl) -> Result<Telemetry, StartError> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|_| StartError::Random)?;
    let metrics = Metrics::new(log.drops()).map_err(StartError::Metrics)?;
    Ok(Telemetry::new(metrics, Spans::of_environment(), &settings.log, log, CallHasher::new(key)))
}
