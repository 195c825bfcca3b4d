//! A running program: startup, signals, and shutdown.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;

use super::build::{AppContext, BuildError, Runtime, TransportKind};
use super::fleet::FleetContext;
use super::gateway_world::GatewayWorld;
use super::listeners::{Bound, Listeners};
use super::reload::{ReloadTargets, Reloader};
use super::service_manager::ServiceManager;
use super::signals::{Signal, Signals};
use super::source::ConfigSource;
use super::sweep::{sweep, sweep_disk};
use crate::admin::{AdminHandler, ListeningSocket, ProblemWatch, ProcessHealth, ProcessState, Rules};
use crate::clock::{self, WallClock};
use crate::config::{Address, Settings, ShutdownSettings};
use crate::gateway::{FetchSpawner, Gateway};
use crate::levels::DiskLevel;
use crate::server::{Drain, Drained, Workers};
use crate::telemetry::{CallHasher, LogControl, Metrics, MetricsError, Spans, Telemetry};

/// The time limit for sending answers that were cut off.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long a start waits for the engine of a fleet.
const FIRST_BEAT: Duration = Duration::from_secs(1);

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
        let context = context(&settings, log)?;
        let bound = Bound::open(&settings).await.map_err(StartError::Listen)?;
        let runtime = Runtime::build(settings, None, &context).map_err(StartError::Build)?;
        show_start(&runtime, &context);
        let (drain, admin_drain) = (Drain::new(), Drain::new());
        let gateway = gateway(&runtime, &context, &drain);
        join_fleet(&gateway).await;
        let admin_plane = admin_plane(&gateway, &runtime.settings);
        let workers = Workers::start().map_err(StartError::Threads)?;
        let listeners = listeners(&runtime.settings, &admin_plane, Arc::clone(&workers))?;
        let manager = ServiceManager::of_environment();
        let tenants = runtime.settings.tenants.len();
        let leases = context.fleet.as_ref().map(|fleet| Arc::clone(fleet.leases()));
        let (health, disk) = (admin_plane.health.clone(), context.disk.clone());
        let targets = ReloadTargets {
            gateway: Arc::clone(&gateway),
            health: health.clone(),
            rules: Arc::clone(&admin_plane.rules),
            listeners: Arc::clone(&listeners),
            manager: manager.clone(),
        };
        let reloader = Arc::new(Reloader::new(source, context, runtime, targets));
        offer_reload(&admin_plane, &reloader);
        let admin = bound.admin_addresses();
        let data = listeners.serve(bound, &drain, &admin_drain);
        let app = Self { gateway, reloader, health, disk, drain, admin_drain, manager, data, admin };
        app.maintain(&admin_plane, workers);
        if let Some(leases) = leases {
            app.gateway.tasks.spawn(leases.run());
        }
        app.health.note_listeners(sockets(&app.data, &app.admin));
        app.health.set(ProcessState::Ready);
        app.manager.ready(tenants).await;
        Ok(app)
    }

    /// Starts the tasks that run beside the requests for as long as the program does.
    fn maintain(&self, admin_plane: &AdminHandler, workers: Arc<Workers>) {
        let gateway = || Arc::clone(&self.gateway);
        let tasks = &self.gateway.tasks;
        tasks.spawn(Arc::clone(&self.reloader).watch());
        tasks.spawn(self.manager.clone().reassure(workers));
        tasks.spawn(sweep(gateway()));
        if let Some(fleet) = &self.gateway.fleet {
            tasks.spawn(Arc::clone(fleet).run());
        }
        if !self.admin.is_empty() {
            let AdminHandler { history, problems, started, .. } = admin_plane;
            tasks.spawn(Arc::clone(history).keep(gateway(), *started));
            tasks.spawn(Arc::clone(problems).keep(gateway(), self.health.clone()));
        }
        if let Some(disk) = &self.disk {
            let strays = Arc::clone(disk);
            tasks.spawn_blocking(move || strays.erase_strays());
            tasks.spawn(sweep_disk(Arc::clone(disk)));
        }
    }

    /// The data plane's addresses, ports resolved.
    pub(crate) fn data_addresses(&self) -> &[Address] {
        &self.data
    }

    /// The admin plane's addresses, ports resolved.
    pub(crate) fn admin_addresses(&self) -> &[Address] {
        &self.admin
    }

    /// The gateways of its fleet that it has heard of, itself included.
    pub(crate) fn fleet_size(&self) -> usize {
        self.gateway.fleet.as_ref().map_or(1, |fleet| fleet.members().len())
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
                self.drain.begin(LAST_WORDS);
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
        self.drain.begin(drain_timeout);
        if let Drained::CutOff(left) = self.drain.finish(drain_timeout).await {
            tracing::warn!(left, "drain timeout expired: lookups that still wait get 503");
            self.gateway.cutoff.now();
            self.drain.finish(LAST_WORDS).await;
        }
        self.admin_drain.begin(LAST_WORDS);
        self.admin_drain.finish(LAST_WORDS).await;
        if let Some(fleet) = &self.gateway.fleet {
            // Nothing is answered any more, so no purge has to wait for this gateway.
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

/// What every runtime of this process is built on.
fn context(settings: &Settings, log: LogControl) -> Result<AppContext, StartError> {
    let (wall, telemetry) = (WallClock::system(), Arc::new(telemetry(settings, log)?));
    let fleet = FleetContext::new(&settings.shared, &telemetry.metrics, wall.clone());
    let level = fleet.as_ref().map(|fleet| Arc::clone(fleet.level()));
    Ok(AppContext {
        disk: DiskLevel::new(&settings.disk, telemetry.metrics.disk(), wall.clone(), level),
        fleet,
        transport_kind: TransportKind::Network,
        telemetry,
        wall,
    })
}

fn telemetry(settings: &Settings, log: LogControl) -> Result<Telemetry, StartError> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|_| StartError::Random)?;
    let metrics = Metrics::new(log.drops()).map_err(StartError::Metrics)?;
    Ok(Telemetry::new(metrics, Spans::of_environment(), &settings.log, log, CallHasher::new(key)))
}

/// Gives the metrics what they show of a configuration from the start.
fn show_start(runtime: &Runtime, context: &AppContext) {
    let metrics = &context.telemetry.metrics;
    metrics.show_tenants(runtime.metrics());
    metrics.show_certificate(runtime.settings.certificate_expiry());
    metrics.count_start(context.wall.now());
}

fn gateway(runtime: &Runtime, context: &AppContext, drain: &Drain) -> Arc<Gateway> {
    let (snapshot, telemetry) = (Arc::clone(&runtime.snapshot), Arc::clone(&context.telemetry));
    let fetches = FetchSpawner::on(Handle::current());
    let fleet = context.fleet.as_ref().map(|fleet| Arc::clone(fleet.fleet()));
    Arc::new(Gateway::new(snapshot, telemetry, context.wall.clone(), fetches, drain.watch(), fleet))
}

/// Joins the fleet, if there is one, before anything is served: so it serves as one of the fleet from its first request
/// on, where that is possible.
async fn join_fleet(gateway: &Arc<Gateway>) {
    if let Some(fleet) = &gateway.fleet {
        tracing::info!(gateway = fleet.name(), "fleet: joining");
        fleet.set_world(Arc::new(GatewayWorld(Arc::clone(gateway))));
        let _ = clock::within(FIRST_BEAT, Box::pin(fleet.join())).await;
    }
}

fn admin_plane(gateway: &Arc<Gateway>, settings: &Settings) -> AdminHandler {
    let started = clock::now();
    AdminHandler {
        gateway: Arc::clone(gateway),
        health: ProcessHealth::new(),
        history: Arc::default(),
        problems: Arc::new(ProblemWatch::new(started)),
        rules: Arc::new(ArcSwap::from_pointee(Rules::of(settings))),
        // Set by the listeners.
        is_local: false,
        started,
        reload: Arc::default(),
        wall: gateway.wall.clone(),
    }
}

fn listeners(
    settings: &Settings,
    admin_plane: &AdminHandler,
    workers: Arc<Workers>,
) -> Result<Arc<Listeners>, StartError> {
    let gateway = &admin_plane.gateway;
    let metrics = &gateway.telemetry.metrics;
    let listeners = Listeners::new(settings, Arc::clone(gateway), admin_plane.clone(), metrics, workers);
    Ok(Arc::new(listeners.map_err(|error| StartError::Build(BuildError::Tls(error)))?))
}

/// Lets the admin plane reload. It must not import this module, so it gets a function.
fn offer_reload(admin_plane: &AdminHandler, reloader: &Arc<Reloader>) {
    let (reloader, tasks) = (Arc::clone(reloader), admin_plane.gateway.tasks.clone());
    let _ = admin_plane.reload.set(Box::new(move || {
        let reloader = Arc::clone(&reloader);
        // Continues if the requesting client disconnects: the service manager waits for its end.
        let reload = tasks.spawn(async move { reloader.reload().await });
        Box::pin(async move { reload.await.unwrap_or_else(|error| Err(vec![error.to_string()])) })
    }));
}
