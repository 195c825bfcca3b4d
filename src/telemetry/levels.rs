//! Metrics of the levels below memory.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use super::counter::{Counter, Gauge};
use super::eviction::Eviction;
use super::histogram::Histogram;

/// The result of a request to a level; the `result` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LevelResult {
    /// A fresh entry.
    Hit,
    Stale,
    Miss,
    /// No answer in time.
    Timeout,
    /// Out of use for now, so nothing was requested.
    Down,
    Error,
    /// The returned bytes are not what was written.
    Invalid,
    /// The returned entry was received in the future.
    Skew,
    /// The returned entry is older than a purge.
    Purged,
    /// The returned entry would not be stored by the current policy.
    Refused,
    /// What another gateway of the fleet had just fetched.
    Awaited,
}

impl LevelResult {
    pub(crate) const ALL: [Self; 11] = [
        Self::Hit,
        Self::Stale,
        Self::Miss,
        Self::Timeout,
        Self::Down,
        Self::Error,
        Self::Invalid,
        Self::Skew,
        Self::Purged,
        Self::Refused,
        Self::Awaited,
    ];

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Miss => "miss",
            Self::Timeout => "timeout",
            Self::Down => "down",
            Self::Error => "error",
            Self::Invalid => "invalid",
            Self::Skew => "skew",
            Self::Purged => "purged",
            Self::Refused => "refused",
            Self::Awaited => "awaited",
        }
    }
}

/// The result of a write; the `result` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteResult {
    Stored,
    /// Not attempted: too many were queued, it was purged meanwhile, or it is too large.
    Dropped,
    Failed,
}

impl WriteResult {
    pub(crate) const ALL: [Self; 3] = [Self::Stored, Self::Dropped, Self::Failed];

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Dropped => "dropped",
            Self::Failed => "failed",
        }
    }
}

/// One tenant's counts.
#[derive(Debug, Default)]
pub(crate) struct TenantLevelMetrics {
    /// Whether the tenant has a part of the level.
    is_offered: AtomicBool,
    requests: [Counter; LevelResult::ALL.len()],
    writes: [Counter; WriteResult::ALL.len()],
    evictions: [Counter; Eviction::ALL.len()],
    entries: Gauge,
    bytes: Gauge,
}

impl TenantLevelMetrics {
    /// Notes whether the tenant has a part of the level.
    pub(crate) fn offer(&self, is_offered: bool) {
        self.is_offered.store(is_offered, Relaxed);
    }

    pub(crate) fn is_offered(&self) -> bool {
        self.is_offered.load(Relaxed)
    }

    pub(crate) fn count_request(&self, result: LevelResult) {
        if let Some(counter) = self.requests.get(result as usize) {
            counter.increment();
        }
    }

    pub(crate) fn count_writes(&self, result: WriteResult, entries: u64) {
        if let Some(counter) = self.writes.get(result as usize) {
            counter.add(entries);
        }
    }

    pub(crate) fn count_evictions(&self, cause: Eviction, entries: u64) {
        if let Some(counter) = self.evictions.get(cause as usize) {
            counter.add(entries);
        }
    }

    /// Notes the level's content.
    pub(crate) fn show_size(&self, entries: u64, bytes: u64) {
        self.entries.set(entries);
        self.bytes.set(bytes);
    }

    pub(crate) fn requests(&self) -> impl Iterator<Item = (LevelResult, u64)> {
        LevelResult::ALL.into_iter().zip(self.requests.iter().map(Counter::get))
    }

    pub(crate) fn writes(&self) -> impl Iterator<Item = (WriteResult, u64)> {
        WriteResult::ALL.into_iter().zip(self.writes.iter().map(Counter::get))
    }

    pub(crate) fn evictions(&self) -> impl Iterator<Item = (Eviction, u64)> {
        Eviction::ALL.into_iter().zip(self.evictions.iter().map(Counter::get))
    }

    /// Entries and bytes, as of its last use.
    pub(crate) fn size(&self) -> (u64, u64) {
        let of = |gauge: &Gauge| u64::try_from(gauge.get()).unwrap_or(0);
        (of(&self.entries), of(&self.bytes))
    }
}

/// The metrics of a level as a whole.
#[derive(Debug, Default)]
pub(crate) struct LevelMetrics {
    is_offered: AtomicBool,
    /// Bytes of the entries that wait to be written.
    pub(crate) queue_bytes: Gauge,
    /// Tenants' parts that are not in use.
    pub(crate) down: Gauge,
    times: Histogram,
}

impl LevelMetrics {
    /// The level is configured.
    pub(crate) fn offer(&self) {
        self.is_offered.store(true, Relaxed);
    }

    pub(crate) fn is_offered(&self) -> bool {
        self.is_offered.load(Relaxed)
    }

    /// Takes the time of an answer.
    pub(crate) fn time(&self, took: Duration) {
        self.times.observe(took);
    }

    pub(super) const fn times(&self) -> &Histogram {
        &self.times
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_enums_stand_in_the_order_of_their_lists() {
        assert!(LevelResult::ALL.iter().enumerate().all(|(place, item)| *item as usize == place));
        assert!(WriteResult::ALL.iter().enumerate().all(|(place, item)| *item as usize == place));
    }
}
