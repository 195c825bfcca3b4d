//! Metrics of the fleet.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use super::counter::{Counter, Gauge};
use crate::clock::{self, Instant};

/// The result of a purge; the `result` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FleetPurgeResult {
    /// Begun here, and applied everywhere.
    Done,
    /// Begun here, and not applied everywhere in time.
    Incomplete,
    /// Of another gateway, and applied here.
    Applied,
    /// A record that could not be opened.
    Ignored,
}

impl FleetPurgeResult {
    pub(super) const ALL: [Self; 4] = [Self::Done, Self::Incomplete, Self::Applied, Self::Ignored];

    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Incomplete => "incomplete",
            Self::Applied => "applied",
            Self::Ignored => "ignored",
        }
    }
}

/// The metrics of a gateway's membership in its fleet.
#[derive(Debug, Default)]
pub(crate) struct FleetMetrics {
    is_offered: AtomicBool,
    gateways: Gauge,
    owed: Gauge,
    purges: [Counter; FleetPurgeResult::ALL.len()],
    /// The last heartbeat that was answered, and by how many seconds this clock was ahead of the engine's.
    last_beat: Mutex<Option<(Instant, f64)>>,
}

impl FleetMetrics {
    /// There is a fleet.
    pub(crate) fn offer(&self) {
        self.is_offered.store(true, Relaxed);
    }

    pub(super) fn is_offered(&self) -> bool {
        self.is_offered.load(Relaxed)
    }

    /// Notes the gateways that are heard of, this one included, and the purges that they have not heard of.
    pub(crate) fn show(&self, gateways: usize, owed: usize) {
        self.gateways.set(gateways as u64);
        self.owed.set(owed as u64);
    }

    /// Notes a heartbeat that was answered, and by how many seconds this clock is ahead of the engine's.
    pub(crate) fn show_beat(&self, at: Instant, ahead: f64) {
        *self.last_beat.lock().unwrap_or_else(PoisonError::into_inner) = Some((at, ahead));
    }

    /// Counts records of other gateways and of this one, as they were applied or could not be opened.
    pub(crate) fn count_applied(&self, applied: u64, ignored: u64) {
        self.count(FleetPurgeResult::Applied, applied);
        self.count(FleetPurgeResult::Ignored, ignored);
    }

    /// Counts a purge of this gateway.
    pub(crate) fn count_purge(&self, is_everywhere: bool) {
        self.count(if is_everywhere { FleetPurgeResult::Done } else { FleetPurgeResult::Incomplete }, 1);
    }

    fn count(&self, result: FleetPurgeResult, purges: u64) {
        if let Some(counter) = self.purges.get(result as usize) {
            counter.add(purges);
        }
    }

    pub(super) fn purges(&self) -> impl Iterator<Item = (FleetPurgeResult, u64)> {
        FleetPurgeResult::ALL.into_iter().zip(self.purges.iter().map(Counter::get))
    }

    pub(super) const fn gauges(&self) -> [&Gauge; 2] {
        [&self.gateways, &self.owed]
    }

    /// Seconds since the last heartbeat that was answered, and by how many this clock was ahead then.
    pub(super) fn last_beat(&self) -> Option<(f64, f64)> {
        let last = *self.last_beat.lock().unwrap_or_else(PoisonError::into_inner);
        last.map(|(at, ahead)| (clock::now().duration_since(at).as_secs_f64(), ahead))
    }
}
