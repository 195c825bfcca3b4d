//! A gateway's part of a fleet: the engine, the heartbeat and the leases.

use std::sync::Arc;

use crate::clock::WallClock;
use crate::config::{EngineSettings, SharedSettings};
use crate::fleet::{Fleet, Leases, RedisLeases, RedisLog};
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
