//! Counters and gauges as plain atomics, and counters by HTTP status.
//!
//! A tenant has some fifty series, and there may be a thousand tenants. So a count is a number in the tenant's own
//! struct, reached without hashing or locking, and becomes a named series only during a scrape.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use http::StatusCode;

use crate::domain::ErrorCode;

/// A count that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn increment(&self) {
        self.add(1);
    }

    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    /// The count so far.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that rises and falls.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicI64);

impl Gauge {
    pub(crate) fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(i64::try_from(value).unwrap_or(i64::MAX), Relaxed);
    }

    pub(crate) fn raise(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    pub(crate) fn lower(&self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Counts by HTTP status. The two most frequent cost one atomic addition; the others, at most a thousand, take
/// a lock.
#[derive(Debug, Default)]
pub(crate) struct StatusCounter {
    ok: Counter,
    not_modified: Counter,
    others: Mutex<BTreeMap<u16, u64>>,
}

impl StatusCounter {
    pub(crate) fn increment(&self, status: StatusCode) {
        match status {
            StatusCode::OK => self.ok.increment(),
            StatusCode::NOT_MODIFIED => self.not_modified.increment(),
            other => {
                let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
                *others.entry(other.as_u16()).or_default() += 1;
            }
        }
    }

    /// Every status that was counted, and always 200.
    pub(crate) fn counts(&self) -> BTreeMap<u16, u64> {
        let mut counts = self.others.lock().unwrap_or_else(PoisonError::into_inner).clone();
        counts.insert(200, self.ok.get());
        let not_modified = self.not_modified.get();
        if not_modified > 0 {
            counts.insert(304, not_modified);
        }
        counts
    }
}

/// Counts by error code.
#[derive(Debug, Default)]
pub(crate) struct CodeCounter([Counter; ErrorCode::ALL.len()]);

impl CodeCounter {
    pub(crate) fn increment(&self, code: ErrorCode) {
        // The array has the length of `ALL`, so the element is there.
        if let Some(counter) = self.0.get(code as usize) {
            counter.increment();
        }
    }

    pub(crate) fn counts(&self) -> impl Iterator<Item = (ErrorCode, u64)> {
        ErrorCode::ALL.into_iter().zip(self.0.iter().map(Counter::get))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_counted_apart_and_200_is_there_from_the_start() {
        let counter = StatusCounter::default();
        assert_eq!(counter.counts(), BTreeMap::from([(200, 0)]));
        for status in [200, 304, 404, 404] {
            counter.increment(StatusCode::from_u16(status).unwrap());
        }
        assert_eq!(counter.counts(), BTreeMap::from([(200, 1), (304, 1), (404, 2)]));
    }
}
