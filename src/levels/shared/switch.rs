//! Whether the shared level is in use: one flag, which failures set and only the heartbeat clears.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::failure::EngineFailure;
use crate::clock;
use crate::telemetry::{LevelMetrics, LogThrottle};

/// Failures in a row after which nothing is sent any more.
const DOWN_AFTER: u32 = 3;

/// The flag, which is down before the first heartbeat.
#[derive(Debug)]
pub(crate) struct LevelSwitch {
    is_down: AtomicBool,
    failures: AtomicU32,
    last_failure: Mutex<Option<EngineFailure>>,
    log: LogThrottle<EngineFailure>,
    metrics: Arc<LevelMetrics>,
}

impl LevelSwitch {
    pub(crate) fn new(metrics: Arc<LevelMetrics>) -> Self {
        metrics.down.raise();
        Self {
            is_down: AtomicBool::new(true),
            failures: AtomicU32::new(0),
            last_failure: Mutex::default(),
            log: LogThrottle::default(),
            metrics,
        }
    }

    pub(crate) fn is_down(&self) -> bool {
        self.is_down.load(Ordering::Acquire)
    }

    /// Why it is out of use, if it is, and why is known.
    pub(crate) fn failure(&self) -> Option<EngineFailure> {
        let failure = *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.filter(|_| self.is_down())
    }

    /// Notes an answer to a lookup.
    pub(crate) fn note_success(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }

    /// Notes a lookup's failure; a few in a row are tolerated.
    pub(crate) fn note_failure(&self, failure: EngineFailure) {
        if self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1) >= DOWN_AFTER {
            self.set_down(failure);
        }
    }

    /// Nothing more is sent.
    pub(crate) fn set_down(&self, failure: EngineFailure) {
        *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
        if !self.is_down.swap(true, Ordering::AcqRel) {
            self.metrics.down.raise();
        }
        if self.log.allows(failure, clock::now()) {
            tracing::warn!(
                cause = failure.text(),
                "shared level: not in use for now, so calls are fetched and purged by this gateway alone; tried again \
                 twice a second"
            );
        }
    }

    /// The heartbeat has succeeded.
    pub(crate) fn set_up(&self) {
        self.failures.store(0, Ordering::Relaxed);
        if self.is_down.swap(false, Ordering::AcqRel) {
            self.metrics.down.lower();
            tracing::info!("shared level: in use");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failures_in_a_row_set_it_and_only_the_heartbeat_clears_it() {
        let metrics = Arc::new(LevelMetrics::default());
        let switch = LevelSwitch::new(Arc::clone(&metrics));
        assert!(switch.is_down() && switch.failure().is_none());
        switch.set_up();
        for _ in 0..2 {
            switch.note_failure(EngineFailure::Timeout);
        }
        switch.note_success();
        for _ in 0..2 {
            switch.note_failure(EngineFailure::Timeout);
        }
        assert!(!switch.is_down() && metrics.down.get() == 0);
        switch.note_failure(EngineFailure::Full);
        assert_eq!((switch.failure(), metrics.down.get()), (Some(EngineFailure::Full), 1));
        switch.note_success();
        assert!(switch.is_down());
        switch.set_up();
        assert!(!switch.is_down() && metrics.down.get() == 0);
    }
}
