//! Guards around a request that goes upstream: what the breaker is told of it, and that it is counted
//! while it is under way.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::breaker::{Admission, Breaker, Change, Health};
use super::failure::Ending;
use crate::clock::{self, Instant};
use crate::telemetry::TenantMetrics;

/// The breaker's leave to send; must be told what came of it. Dropped untold, as by a request that
/// was never sent, it gives a probe's place back.
pub struct Leave<'a> {
    breaker: &'a Mutex<Breaker>,
    metrics: &'a TenantMetrics,
    admission: Admission,
    ending: Option<Ending>,
}

impl<'a> Leave<'a> {
    /// Asks the breaker; if it is open, the error says when a probe may pass.
    pub fn ask(
        breaker: &'a Mutex<Breaker>,
        metrics: &'a TenantMetrics,
        now: Instant,
    ) -> Result<Self, Duration> {
        match lock(breaker).admit(now) {
            Admission::Refuse { retry_after } => Err(retry_after),
            admission => Ok(Self { breaker, metrics, admission, ending: None }),
        }
    }

    /// Tells the breaker what came of it.
    pub fn end(mut self, ending: Ending) {
        self.ending = Some(ending);
    }
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        let mut breaker = lock(self.breaker);
        let health = self.ending.map_or(Health::Unknown, Ending::health);
        let change = breaker.report(self.admission, health, clock::now());
        self.metrics.upstream_breaker_open.set(breaker.is_open().into());
        drop(breaker);
        let tenant = self.metrics.name().as_str();
        match change {
            Some(Change::Opened) => tracing::warn!(
                tenant,
                last_failure = self.ending.map(tracing::field::display),
                "the upstream keeps failing for this tenant: its breaker is open. Lookups are answered from the cache, \
                 or 503; single requests try whether it is back, so only the upstream or the way to it needs help"
            ),
            Some(Change::Closed) => tracing::info!(
                tenant,
                "the upstream is back: the tenant's breaker is closed and lookups go there again; nothing is left to do"
            ),
            Some(Change::Reopened) => {
                tracing::debug!(tenant, "the upstream still fails: the breaker stays open")
            }
            None => {}
        }
    }
}

/// Counts an upstream request while it is under way.
pub struct UnderWay<'a>(&'a TenantMetrics);

impl<'a> UnderWay<'a> {
    /// From now until it is dropped.
    pub fn begin(metrics: &'a TenantMetrics) -> Self {
        metrics.upstream_in_flight.raise();
        Self(metrics)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.upstream_in_flight.lower();
    }
}

/// The breaker, whose state is whole at every step, so that a panic elsewhere spoils nothing.
pub fn lock(breaker: &Mutex<Breaker>) -> MutexGuard<'_, Breaker> {
    breaker.lock().unwrap_or_else(PoisonError::into_inner)
}
