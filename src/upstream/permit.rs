//! Guards around an upstream request: its result is reported to the breaker, and it is counted while in flight.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::breaker::{Breaker, BreakerChange, BreakerDecision, HealthSignal};
use super::error::RequestEnd;
use crate::clock::{self, Instant};
use crate::telemetry::TenantMetrics;

/// A tenant's breaker, with the last logged kind of failure.
#[derive(Debug)]
pub(crate) struct SharedBreaker {
    breaker: Mutex<Breaker>,
    /// The kind of failure that the last line named.
    reported: Mutex<Option<String>>,
}

impl SharedBreaker {
    pub(crate) fn new(breaker: Breaker) -> Self {
        Self { breaker: Mutex::new(breaker), reported: Mutex::default() }
    }

    /// Its state is consistent at every step, so a panic elsewhere does no harm.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether `failure` differs in kind from the last one logged.
    fn is_news(&self, failure: Option<String>) -> bool {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = *reported != failure;
        *reported = failure;
        is_news
    }
}

/// The breaker's permission to send one request. Dropped without a result, as for a request that was never sent, it
/// frees a probe's place.
pub(crate) struct BreakerPermit<'a> {
    breaker: &'a SharedBreaker,
    metrics: &'a TenantMetrics,
    decision: BreakerDecision,
    ending: Option<RequestEnd>,
}

impl<'a> BreakerPermit<'a> {
    /// Asks the breaker; if it is open, the error says when a probe may pass.
    pub(crate) fn ask(
        breaker: &'a SharedBreaker,
        metrics: &'a TenantMetrics,
        now: Instant,
    ) -> Result<Self, Duration> {
        match breaker.lock().admit(now) {
            BreakerDecision::Refuse { retry_after } => Err(retry_after),
            decision @ (BreakerDecision::Pass | BreakerDecision::Probe) => {
                Ok(Self { breaker, metrics, decision, ending: None })
            }
        }
    }

    /// Reports how the request ended.
    pub(crate) fn end(mut self, ending: RequestEnd) {
        self.ending = Some(ending);
    }
}

impl Drop for BreakerPermit<'_> {
    fn drop(&mut self) {
        let mut breaker = self.breaker.lock();
        let health = self.ending.map_or(HealthSignal::Unknown, RequestEnd::health);
        let change = breaker.report(self.decision, health, clock::now());
        self.metrics.upstream_breaker_open.set(breaker.is_open().into());
        drop(breaker);
        if let (Some(change), Some(ending)) = (change, self.ending) {
            self.log(change, ending);
        }
    }
}

impl BreakerPermit<'_> {
    fn log(&self, change: BreakerChange, ending: RequestEnd) {
        let (tenant, ending) = (self.metrics.name().as_str(), ending.to_string());
        match change {
            BreakerChange::Opened => {
                self.breaker.is_news(Some(ending.clone()));
                tracing::warn!(
                    tenant,
                    last_failure = ending,
                    "upstream breaker opened: too many requests failed. Lookups are answered from the cache or \
                     with 503 while single requests probe the upstream; check the upstream and the way to it"
                );
            }
            BreakerChange::Closed => {
                self.breaker.is_news(None);
                tracing::info!(
                    tenant,
                    answer = ending,
                    "upstream breaker closed: the upstream answered a probe, so lookups are sent again"
                );
            }
            BreakerChange::Reopened if self.breaker.is_news(Some(ending.clone())) => tracing::warn!(
                tenant,
                last_failure = ending,
                "upstream breaker stays open: the probe failed in another way than before"
            ),
            BreakerChange::Reopened => {
                tracing::debug!(
                    tenant,
                    last_failure = ending,
                    "upstream breaker stays open: the probe failed"
                );
            }
        }
    }
}

/// Counts an upstream request while it is in flight.
pub(crate) struct InFlightGuard<'a>(&'a TenantMetrics);

impl<'a> InFlightGuard<'a> {
    /// From now until it is dropped.
    pub(crate) fn begin(metrics: &'a TenantMetrics) -> Self {
        metrics.upstream_in_flight.raise();
        Self(metrics)
    }
}

impl Drop for InFlightGuard<'_> {
    fn drop(&mut self) {
        self.0.upstream_in_flight.lower();
    }
}
