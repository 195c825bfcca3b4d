//! Reload: the new runtime is built and checked as a whole, then takes over in one step. A rejected reload is
//! reported in full and changes nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};

use super::build::{AppContext, Runtime};
use super::listeners::{Listeners, Prepared};
use super::service_manager::{Reloaded, ServiceManager};
use super::source::{ConfigSource, Files};
use crate::admin::{ProcessHealth, Rules};
use crate::config::{self, Loaded, ShutdownSettings};
use crate::gateway::Gateway;

/// Reloads the configuration of a running gateway, one reload at a time.
pub(super) struct Reloader {
    source: ConfigSource,
    context: AppContext,
    gateway: Arc<Gateway>,
    health: ProcessHealth,
    rules: Arc<arc_swap::ArcSwap<Rules>>,
    listeners: Arc<Listeners>,
    manager: ServiceManager,
    running: Mutex<RunningConfig>,
    /// How often the files are checked for changes.
    poll: watch::Sender<Option<Duration>>,
    /// How the process stops.
    shutdown: arc_swap::ArcSwap<ShutdownSettings>,
}

/// The configuration in force, and the result of the last reload.
struct RunningConfig {
    runtime: Runtime,
    /// As read by the last reload, or at startup.
    files: Files,
    /// The problems of the last reload, if it was rejected.
    rejected: Vec<String>,
}

/// A configuration that is ready to take over.
struct PreparedReload {
    runtime: Runtime,
    serving: Prepared,
    warnings: Vec<String>,
}

/// The objects that a [`Reloader`] updates.
pub(super) struct ReloadTargets {
    /// Its snapshot is replaced.
    pub gateway: Arc<Gateway>,
    /// Gets the result.
    pub health: ProcessHealth,
    /// The admin plane's rules are replaced.
    pub rules: Arc<arc_swap::ArcSwap<Rules>>,
    /// Connection limits and certificates are replaced.
    pub listeners: Arc<Listeners>,
    /// Notified of each reload.
    pub manager: ServiceManager,
}

impl Reloader {
    /// For a gateway that runs `runtime`.
    pub(super) fn new(
        source: ConfigSource,
        context: AppContext,
        runtime: Runtime,
        targets: ReloadTargets,
    ) -> Self {
        let ReloadTargets { gateway, health, rules, listeners, manager } = targets;
        let (poll, _) = watch::channel(runtime.settings.reload.poll);
        let shutdown = arc_swap::ArcSwap::from_pointee(runtime.settings.shutdown.clone());
        let files = source.files(&runtime.settings);
        let running = Mutex::new(RunningConfig { runtime, files, rejected: Vec::new() });
        Self { source, context, gateway, health, rules, listeners, manager, running, poll, shutdown }
    }

    /// How the process stops, by the configuration in force. Doesn't wait for a reload in progress.
    pub(super) fn shutdown(&self) -> Arc<ShutdownSettings> {
        self.shutdown.load_full()
    }

    /// Reads the configuration again. The error lists every problem.
    pub(super) async fn reload(&self) -> Result<(), Vec<String>> {
        let mut running = self.running.lock().await;
        self.manager.reloading().await;
        let prepared = self.prepare(&mut running).await;
        self.finish(&mut running, prepared).await
    }

    /// Reloads if a file has changed since the last reload, or if that was rejected: what was missing then, such as a
    /// secret's file, may exist now.
    async fn reload_if_due(&self) {
        let mut running = self.running.lock().await;
        let before = running.files.clone();
        let looking = tokio::task::spawn_blocking(move || before.again() != before);
        let has_changed = looking.await.unwrap_or(false);
        if !has_changed && running.rejected.is_empty() {
            return;
        }
        let prepared = self.prepare(&mut running).await;
        // Reported already when it was first rejected for this reason.
        if !has_changed && prepared.as_ref().err() == Some(&running.rejected) {
            return;
        }
        self.manager.reloading().await;
        // The reload itself reports its result.
        let _ = self.finish(&mut running, prepared).await;
    }

    /// Reads the configuration and builds its runtime. Changes nothing that is in force.
    async fn prepare(&self, running: &mut RunningConfig) -> Result<PreparedReload, Vec<String>> {
        let (source, known) = (self.source.clone(), running.files.clone());
        let loading = tokio::task::spawn_blocking(move || source.load(&known));
        let (files, loaded) = loading.await.map_err(|error| vec![error.to_string()])?;
        running.files = files;
        let Loaded { settings, warnings } =
            loaded.map_err(|problems| problems.lines().collect::<Vec<_>>())?;
        let fixed = config::needs_restart(&running.runtime.settings, &settings);
        if !fixed.is_empty() {
            let explain = |key| format!("{key}: changing it needs a restart; the running value stays");
            return Err(fixed.into_iter().map(explain).collect());
        }
        let serving = self.listeners.prepare(&settings).map_err(|error| vec![error.to_string()])?;
        let runtime = Runtime::build(settings, Some(&running.runtime), &self.context)
            .map_err(|error| vec![error.to_string()])?;
        Ok(PreparedReload { runtime, serving, warnings })
    }

    /// Applies or rejects a configuration, and reports the result.
    async fn finish(
        &self,
        running: &mut RunningConfig,
        next: Result<PreparedReload, Vec<String>>,
    ) -> Result<(), Vec<String>> {
        let result = next.map(|next| self.take_over(running, next));
        let tenants = running.runtime.settings.tenants.len();
        let metrics = &self.context.telemetry.metrics;
        let now = self.context.wall.now();
        match &result {
            Ok(()) => {
                metrics.count_reload_success(now);
                tracing::info!(
                    config = %self.source.file.display(),
                    tenants,
                    "reloaded: new requests see the new configuration"
                );
            }
            Err(problems) => {
                metrics.count_reload_failure();
                for problem in problems {
                    tracing::error!(
                        problem,
                        "reload rejected; still running the previous configuration. Fix the file and reload again"
                    );
                }
            }
        }
        running.rejected = result.as_ref().err().cloned().unwrap_or_default();
        self.health.note_reload(now, running.rejected.clone());
        let how = if result.is_ok() { Reloaded::Done } else { Reloaded::Refused };
        self.manager.reloaded(how, tenants).await;
        result
    }

    fn take_over(&self, running: &mut RunningConfig, next: PreparedReload) {
        let PreparedReload { runtime, serving, warnings } = next;
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        let settings = &runtime.settings;
        self.listeners.replace(serving, settings);
        self.context.telemetry.set_log(&settings.log);
        if let (Some(fleet), Some(engine)) = (&self.context.fleet, &settings.shared.engine) {
            fleet.set_settings(engine);
        }
        self.rules.store(Arc::new(Rules::of(settings)));
        // From here on new requests see the complete new runtime.
        self.gateway.replace(Arc::clone(&runtime.snapshot));
        let metrics = &self.context.telemetry.metrics;
        metrics.show_tenants(runtime.metrics());
        metrics.show_certificate(settings.certificate_expiry());
        self.poll.send_replace(settings.reload.poll);
        self.shutdown.store(Arc::new(settings.shutdown.clone()));
        running.runtime = runtime;
    }

    /// Polls the configuration's files for as long as `reload.poll` says so.
    pub(super) async fn watch(self: Arc<Self>) {
        let mut poll = self.poll.subscribe();
        loop {
            // `self` holds the sender, so waiting ends only with the program.
            let Ok(every) = poll.wait_for(Option::is_some).await.map(|poll| poll.unwrap_or_default()) else {
                return;
            };
            while *poll.borrow_and_update() == Some(every) {
                tokio::select! {
                    () = tokio::time::sleep(every) => self.reload_if_due().await,
                    _ = poll.changed() => {}
                }
            }
        }
    }
}
