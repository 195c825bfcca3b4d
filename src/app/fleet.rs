//! Connects a gateway with its fleet: the engine, the heartbeat, and the caches that purges are applied to.

use std::sync::Arc;

use crate::admin::purge_here;
use crate::clock::WallClock;
use crate::config::{EngineSettings, SharedSettings};
use crate::domain::{PurgeTarget, TenantName};
use crate::fleet::{Fleet, FleetWorld, Leases, RedisLeases, RedisLog, WorldFuture};
use crate::gateway::Gateway;
use crate::levels::{FleetSeal, RedisEngine, SharedLevel};
use crate::telemetry::Metrics;

/// A gateway's part of a fleet.
pub(super) struct FleetContext {
    fleet: Arc<Fleet>,
    engine: Arc<RedisEngine>,
    leases: Arc<Leases>,
}

/// An engine that a test plays.
#[cfg(test)]
pub(super) struct PlayedEngine {
    pub(super) entries: Arc<dyn crate::levels::SharedEngine>,
    pub(super) log: Arc<dyn crate::fleet::FleetLog>,
}

impl FleetContext {
    /// The configured fleet, if there is one. Sends nothing yet.
    pub(super) fn new(settings: &SharedSettings, metrics: &Metrics, wall: WallClock) -> Option<Self> {
        let settings = settings.engine.clone()?;
        let seal = Arc::new(FleetSeal::new(&settings.key, &settings.prefix)?);
        let (key, timeout, expected) = (settings.key.clone(), settings.timeout, settings.gateways());
        let engine = Arc::new(RedisEngine::new(settings));
        let level = SharedLevel::new(Arc::clone(&engine) as _, seal, key, timeout, metrics.shared(), wall);
        let log = Arc::new(RedisLog::new(Arc::clone(&engine)));
        let buckets = Arc::new(RedisLeases::new(Arc::clone(&engine)));
        let fleet = Fleet::new(log, Arc::clone(&level), metrics.fleet());
        let leases = Leases::new(buckets, level, Arc::clone(fleet.heard()), expected);
        Some(Self { fleet, engine, leases })
    }

    /// The configured fleet, on an engine that a test plays: but for leases, which are asked of the configured one.
    #[cfg(test)]
    pub(super) fn on(
        played: PlayedEngine,
        settings: &SharedSettings,
        metrics: &Metrics,
        wall: WallClock,
    ) -> Option<Self> {
        let settings = settings.engine.clone()?;
        let seal = Arc::new(FleetSeal::new(&settings.key, &settings.prefix)?);
        let (key, timeout, expected) = (settings.key.clone(), settings.timeout, settings.gateways());
        let level = SharedLevel::new(played.entries, seal, key, timeout, metrics.shared(), wall);
        let engine = Arc::new(RedisEngine::new(settings));
        let buckets = Arc::new(RedisLeases::new(Arc::clone(&engine)));
        let fleet = Fleet::new(played.log, Arc::clone(&level), metrics.fleet());
        let leases = Leases::new(buckets, level, Arc::clone(fleet.heard()), expected);
        Some(Self { fleet, engine, leases })
    }

    pub(super) const fn fleet(&self) -> &Arc<Fleet> {
        &self.fleet
    }

    /// The limits that it shares.
    pub(super) const fn leases(&self) -> &Arc<Leases> {
        &self.leases
    }

    pub(super) fn level(&self) -> &Arc<SharedLevel> {
        self.fleet.level()
    }

    /// Uses other settings: passwords, certificates and the timeout follow a reload.
    pub(super) fn set_settings(&self, settings: &EngineSettings) {
        self.level().set_timeout(settings.timeout);
        self.leases.set_expected(settings.gateways());
        if *self.engine.settings() != *settings {
            self.engine.set_settings(settings.clone());
            self.fleet.reconnect();
        }
    }
}

/// The caches of a gateway.
pub(super) struct GatewayWorld(pub(super) Arc<Gateway>);

impl FleetWorld for GatewayWorld {
    fn apply(&self, targets: Vec<PurgeTarget>) -> WorldFuture<'_, usize> {
        let gateway = Arc::clone(&self.0);
        let purging = tokio::task::spawn_blocking(move || purge_here(&gateway, &targets));
        Box::pin(async move { purging.await.unwrap_or(0) })
    }

    fn forget_memory(&self) -> WorldFuture<'_, ()> {
        let snapshot = self.0.snapshots.load_full();
        let forgetting = tokio::task::spawn_blocking(move || {
            snapshot.directory.all().for_each(|tenant| tenant.forget_memory());
        });
        // A panic has been logged already.
        Box::pin(async move { drop(forgetting.await) })
    }

    fn tenants(&self) -> Vec<TenantName> {
        self.0.snapshots.load().directory.all().map(|tenant| tenant.name().clone()).collect()
    }

    fn keys(&self) -> Vec<u8> {
        let snapshot = self.0.snapshots.load();
        let mut all: Vec<_> = snapshot
            .directory
            .all()
            .filter_map(|tenant| Some([tenant.name().as_str().as_bytes(), &[0], &tenant.key_ids()?].concat()))
            .collect();
        all.sort_unstable();
        all.concat()
    }
}
