//! Metrics of the limits that a fleet shares.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::counter::{Counter, Gauge};

/// The answer to a request for tokens; the `result` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaseResult {
    /// All that was asked for.
    Granted,
    Partial,
    None,
    /// No answer.
    Failed,
}

impl LeaseResult {
    pub(super) const ALL: [Self; 4] = [Self::Granted, Self::Partial, Self::None, Self::Failed];

    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Partial => "partial",
            Self::None => "none",
            Self::Failed => "failed",
        }
    }
}

/// The metrics of one limit of a tenant.
#[derive(Debug, Default)]
pub(crate) struct LeaseMetrics {
    is_offered: AtomicBool,
    results: [Counter; LeaseResult::ALL.len()],
    /// 1 while the gateway's share of the limit is used; updated before each scrape.
    pub(crate) fallback: Gauge,
}

impl LeaseMetrics {
    /// Notes whether the limit is one that a fleet shares.
    pub(crate) fn offer(&self, is_offered: bool) {
        self.is_offered.store(is_offered, Relaxed);
    }

    pub(super) fn is_offered(&self) -> bool {
        self.is_offered.load(Relaxed)
    }

    pub(crate) fn count(&self, result: LeaseResult) {
        if let Some(counter) = self.results.get(result as usize) {
            counter.increment();
        }
    }

    pub(super) fn results(&self) -> impl Iterator<Item = (LeaseResult, u64)> {
        LeaseResult::ALL.into_iter().zip(self.results.iter().map(Counter::get))
    }
}
