//! Reload: the new world is built and checked whole, then takes over in one step. What is wrong with
//! it is told in full and changes nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::{Mutex, watch};

use super::build::{Ground, World};
use super::listeners::Listeners;
use super::service_manager::{Reloaded, ServiceManager};
use crate::admin::{Health, Rules};
use crate::config::{self, Loaded, Shutdown};
use crate::gateway::Gateway;

/// Reloads the configuration of a running gateway, one reload at a time.
pub struct Reloader {
    source: Source,
    ground: Ground,
    gateway: Arc<Gateway>,
    health: Health,
    rules: Arc<arc_swap::ArcSwap<Rules>>,
    listeners: Arc<Listeners>,
    manager: ServiceManager,
    world: Mutex<World>,
    /// How often the files are looked at.
    poll: watch::Sender<Option<Duration>>,
    /// How the process ends.
    shutdown: arc_swap::ArcSwap<Shutdown>,
}

/// Where the configuration comes from.
#[derive(Clone)]
pub struct Source {
    /// The file.
    pub file: PathBuf,
    /// The environment, as it was at the start.
    pub variables: BTreeMap<String, String>,
}

/// What a [`Reloader`] works on.
pub struct Subjects {
    /// Where its snapshot is replaced.
    pub gateway: Arc<Gateway>,
    /// Where the outcome is told.
    pub health: Health,
    /// Where the admin plane's rules are replaced.
    pub rules: Arc<arc_swap::ArcSwap<Rules>>,
    /// Where limits of connections and certificates are replaced.
    pub listeners: Arc<Listeners>,
    /// Who is told of each reload.
    pub manager: ServiceManager,
}

impl Reloader {
    /// For a gateway that runs `world`.
    pub fn new(source: Source, ground: Ground, world: World, subjects: Subjects) -> Self {
        let Subjects { gateway, health, rules, listeners, manager } = subjects;
        let (poll, _) = watch::channel(world.settings.reload_poll);
        let shutdown = arc_swap::ArcSwap::from_pointee(world.settings.shutdown.clone());
        let world = Mutex::new(world);
        Self { source, ground, gateway, health, rules, listeners, manager, world, poll, shutdown }
    }

    /// How the process ends, by the configuration in force. Waits for no reload that is under way.
    pub fn shutdown(&self) -> Arc<Shutdown> {
        self.shutdown.load_full()
    }

    /// Reads the configuration again. The error lists every problem.
    pub async fn reload(&self) -> Result<(), Vec<String>> {
        let mut world = self.world.lock().await;
        self.manager.reloading().await;
        let result = self.take_over(&mut world).await;
        let metrics = &self.ground.telemetry.metrics;
        let now = self.ground.wall.now();
        match &result {
            Ok(()) => {
                metrics.count_reload_success(now);
                tracing::info!(
                    config = %self.source.file.display(),
                    tenants = world.settings.tenants.len(),
                    "reloaded: new requests see the new configuration"
                );
            }
            Err(problems) => {
                metrics.count_reload_failure();
                for problem in problems {
                    tracing::error!(
                        problem,
                        "not reloaded: the running configuration stays; mend the file and reload"
                    );
                }
            }
        }
        self.health.note_reload(now, result.as_ref().err().cloned().unwrap_or_default());
        let how = if result.is_ok() { Reloaded::Done } else { Reloaded::Refused };
        self.manager.reloaded(how, world.settings.tenants.len()).await;
        result
    }

    async fn take_over(&self, world: &mut World) -> Result<(), Vec<String>> {
        let Source { file, variables } = self.source.clone();
        let loading = tokio::task::spawn_blocking(move || config::load(&file, &variables));
        let loaded = loading.await.map_err(|error| vec![error.to_string()])?;
        let Loaded { settings, warnings } =
            loaded.map_err(|problems| problems.lines().collect::<Vec<_>>())?;
        let fixed = config::needs_restart(&world.settings, &settings);
        if !fixed.is_empty() {
            let told = |key| format!("{key}: changing it needs a restart; the running value stays");
            return Err(fixed.into_iter().map(told).collect());
        }
        let serving = self.listeners.prepare(&settings).map_err(|error| vec![error.to_string()])?;
        let next =
            World::build(settings, Some(world), &self.ground).map_err(|error| vec![error.to_string()])?;
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        self.listeners.replace(serving, &next.settings);
        self.ground.telemetry.set_log(&next.settings.log);
        self.rules.store(Arc::new(Rules::of(&next.settings)));
        // From here on new requests see the new world, whole.
        self.gateway.snapshots.store(Arc::clone(&next.snapshot));
        let metrics = &self.ground.telemetry.metrics;
        metrics.show_tenants(next.metrics());
        metrics.show_certificate(next.settings.listen.certificate_expiry());
        self.poll.send_replace(next.settings.reload_poll);
        self.shutdown.store(Arc::new(next.settings.shutdown.clone()));
        *world = next;
        Ok(())
    }

    /// Reloads whenever the content of a file of the configuration has changed.
    pub async fn watch(self: Arc<Self>) {
        let mut poll = self.poll.subscribe();
        loop {
            // The sender is in `self`, so waiting ends only with the program.
            let Ok(every) = poll.wait_for(Option::is_some).await.map(|poll| poll.unwrap_or_default()) else {
                return;
            };
            let mut seen = self.fingerprint().await;
            while *poll.borrow_and_update() == Some(every) {
                tokio::select! {
                    () = tokio::time::sleep(every) => {}
                    _ = poll.changed() => continue,
                }
                let found = self.fingerprint().await;
                if found != seen {
                    seen = found;
                    // The outcome is told by the reload itself.
                    let _ = self.reload().await;
                }
            }
        }
    }

    /// A digest of every file that the configuration consists of.
    async fn fingerprint(&self) -> [u8; 32] {
        let mut files = self.world.lock().await.settings.files(&self.source.file);
        files.push(self.source.file.clone());
        let digesting = tokio::task::spawn_blocking(move || digest(&files));
        digesting.await.unwrap_or_default()
    }
}

fn digest(files: &[PathBuf]) -> [u8; 32] {
    let digest = files.iter().fold(Sha256::new(), |digest, file| {
        let content = std::fs::read(file as &Path).map(|content| Sha256::digest(&content));
        // A file that is gone has another digest than one that is empty.
        let known = content.as_ref().map_or(&[][..], |content| content.as_slice());
        digest.chain_update([u8::from(content.is_ok())]).chain_update(known)
    });
    digest.finalize().into()
}
