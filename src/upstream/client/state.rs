//! The state of a tenant's upstream client, and which parts of it survive a change of the configuration.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::super::breaker::Breaker;
use super::super::connector::Connector;
use super::super::key_ring::KeyRing;
use super::super::pause::Pause;
use super::super::permit::SharedBreaker;
use super::super::retry_budget::RetryBudget;
use super::super::transport::Transport;
use super::reports::LogThrottles;
use crate::clock::{Instant, WallClock};
use crate::config::{MediaSettings, UpstreamSettings};
use crate::limits::Limiter;
use crate::telemetry::{Telemetry, TenantMetrics};

/// A tenant's upstream client.
pub(crate) struct Upstream {
    pub(super) parts: Parts,
    pub(super) slots: Arc<Semaphore>,
    pub(super) breaker: Arc<SharedBreaker>,
    pub(super) pause: Arc<Pause>,
    pub(super) retries: Arc<RetryBudget>,
    pub(super) reports: Arc<LogThrottles>,
}

/// How a tenant gets media.
pub(crate) struct MediaParts {
    pub(crate) settings: MediaSettings,
    pub(crate) connector: Connector,
}

/// The parts of an [`Upstream`].
pub(crate) struct Parts {
    pub(crate) settings: UpstreamSettings,
    pub(crate) media: MediaParts,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) keys: Arc<KeyRing>,
    /// The tenant's `upstream_limit`.
    pub(crate) budget: Option<Arc<Limiter>>,
    pub(crate) metrics: Arc<TenantMetrics>,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) wall: WallClock,
}

/// The priority of a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// A client waits for it.
    Foreground,
    /// It renews an entry that is being served meanwhile: it yields when budget or connections are scarce.
    Background,
}

impl Upstream {
    /// With free connections and a closed breaker.
    pub(crate) fn new(parts: Parts) -> Self {
        let UpstreamSettings { max_connections, breaker, retry, .. } = parts.settings;
        Self {
            slots: Arc::new(Semaphore::new(max_connections)),
            breaker: Arc::new(SharedBreaker::new(Breaker::new(breaker))),
            pause: Arc::default(),
            retries: Arc::new(RetryBudget::new(retry.budget_percent)),
            reports: Arc::default(),
            parts,
        }
    }

    /// As [`new`](Self::new), but keeps what `before` has learnt if the relevant settings are the same.
    pub(crate) fn succeeding(before: &Self, parts: Parts) -> Self {
        let (old, new) = (before.parts.settings.clone(), parts.settings.clone());
        let mut next = Self::new(parts);
        if old.base_url == new.base_url {
            next.pause = Arc::clone(&before.pause);
            if old.max_connections == new.max_connections {
                next.slots = Arc::clone(&before.slots);
            }
            if old.breaker == new.breaker {
                next.breaker = Arc::clone(&before.breaker);
            }
            if old.retry == new.retry {
                next.retries = Arc::clone(&before.retries);
            }
        }
        // A new breaker is closed, whatever the metric says about the previous one.
        next.parts.metrics.upstream_breaker_open.set(next.breaker.lock().is_open().into());
        next
    }

    pub(crate) const fn settings(&self) -> &UpstreamSettings {
        &self.parts.settings
    }

    /// How it gets media.
    pub(crate) const fn media_settings(&self) -> &MediaSettings {
        &self.parts.media.settings
    }

    pub(crate) const fn keys(&self) -> &Arc<KeyRing> {
        &self.parts.keys
    }

    pub(crate) const fn transport(&self) -> &Arc<dyn Transport> {
        &self.parts.transport
    }

    /// Prepares for a fetch that may follow. Does not wait.
    pub(crate) fn foresee_fetch(&self, now: Instant) {
        if let Some(budget) = &self.parts.budget {
            budget.foresee(now);
        }
    }

    /// The tenant's `upstream_limit`.
    pub(crate) const fn budget(&self) -> Option<&Arc<Limiter>> {
        self.parts.budget.as_ref()
    }
}
