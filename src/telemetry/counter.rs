//! Counters and gauges as plain atomics, and counters by HTTP status.
//!
//! A tenant has some fifty series, and there may be a thousand tenants: what is counted is a number
//! in the tenant's own struct, found without a hash or a lock, and becomes a named series only when
//! it is scraped.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use http::StatusCode;

/// A count that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Counts several.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A figure that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// The figure.
    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }

    /// Replaces the figure.
    pub fn set(&self, value: u64) {
        self.0.store(i64::try_from(value).unwrap_or(i64::MAX), Relaxed);
    }

    /// Adds one.
    pub fn raise(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// Takes one away again.
    pub fn lower(&self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Counts by HTTP status. The statuses of nearly all answers cost one atomic addition; the others,
/// of which there can be no more than a thousand, take a lock.
#[derive(Debug, Default)]
pub struct StatusCounter {
    ok: Counter,
    not_modified: Counter,
    others: Mutex<BTreeMap<u16, u64>>,
}

impl StatusCounter {
    /// Counts an answer.
    pub fn increment(&self, status: StatusCode) {
        match status {
            StatusCode::OK => self.ok.increment(),
            StatusCode::NOT_MODIFIED => self.not_modified.increment(),
            other => {
                let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
                *others.entry(other.as_u16()).or_default() += 1;
            }
        }
    }

    /// Every status seen with its count, and 200 in any case.
    pub fn counts(&self) -> BTreeMap<u16, u64> {
        let mut counts = self.others.lock().unwrap_or_else(PoisonError::into_inner).clone();
        counts.insert(200, self.ok.get());
        let not_modified = self.not_modified.get();
        if not_modified > 0 {
            counts.insert(304, not_modified);
        }
        counts
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
