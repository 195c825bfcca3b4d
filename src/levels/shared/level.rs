//! The level as a whole: its engine, the purges that it knows of, and whether it is in use.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::engine::{ClaimHolder, SharedEngine};
use super::ledger::PurgeLedger;
use super::switch::LevelSwitch;
use crate::clock::WallClock;
use crate::config::LevelKey;
use crate::levels::queue::WriteQueue;
use crate::levels::seal::FleetSeal;
use crate::telemetry::LevelMetrics;

/// The level, for all tenants.
pub(crate) struct SharedLevel {
    pub(super) engine: Arc<dyn SharedEngine>,
    pub(super) ledger: Arc<PurgeLedger>,
    pub(super) seal: Arc<FleetSeal>,
    pub(super) key: LevelKey,
    pub(super) switch: LevelSwitch,
    /// What a lookup waits for an answer, in microseconds.
    timeout: AtomicU64,
    pub(super) queue: Arc<WriteQueue>,
    pub(super) metrics: Arc<LevelMetrics>,
    pub(super) wall: WallClock,
    /// As whom this process claims to poll calls: it never competes with itself.
    pub(super) poller: ClaimHolder,
}

impl SharedLevel {
    /// The level on this engine. Sends nothing.
    pub(crate) fn new(
        engine: Arc<dyn SharedEngine>,
        seal: Arc<FleetSeal>,
        key: LevelKey,
        timeout: Duration,
        metrics: &Arc<LevelMetrics>,
        wall: WallClock,
    ) -> Arc<Self> {
        metrics.offer();
        let level = Self {
            engine,
            ledger: Arc::default(),
            seal,
            key,
            switch: LevelSwitch::new(Arc::clone(metrics)),
            timeout: AtomicU64::new(0),
            queue: Arc::default(),
            metrics: Arc::clone(metrics),
            wall,
            poller: ClaimHolder(fastrand::u128(..)),
        };
        level.set_timeout(timeout);
        Arc::new(level)
    }

    pub(crate) fn set_timeout(&self, timeout: Duration) {
        self.timeout.store(u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    /// What a lookup waits for an answer.
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_micros(self.timeout.load(Relaxed))
    }

    /// The purges that it knows of.
    pub(crate) const fn ledger(&self) -> &Arc<PurgeLedger> {
        &self.ledger
    }

    /// Whether it is in use.
    pub(crate) const fn switch(&self) -> &LevelSwitch {
        &self.switch
    }

    pub(crate) fn engine(&self) -> &dyn SharedEngine {
        &*self.engine
    }

    /// By how many seconds this machine's clock is ahead of the engine's, which shows this time since 1970.
    pub(crate) fn ahead_of(&self, engine: Duration) -> f64 {
        self.wall.now().as_duration().as_secs_f64() - engine.as_secs_f64()
    }

    pub(crate) const fn seal(&self) -> &Arc<FleetSeal> {
        &self.seal
    }
}
