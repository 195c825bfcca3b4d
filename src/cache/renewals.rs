//! When a stale entry may be renewed in the background again, after renewals that failed.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::clock::Instant;

/// The pause after the first failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The pause after one that gave way to those who wait.
const SHORT_PAUSE: Duration = Duration::from_millis(100);

/// The renewals of one entry. One that succeeds replaces the entry, and these with it.
#[derive(Debug)]
pub struct Renewals {
    since: Instant,
    failures: AtomicU32,
    /// Milliseconds after `since`.
    due: AtomicU64,
}

impl Renewals {
    /// None yet, of an entry that came at this time.
    pub const fn new(since: Instant) -> Self {
        Self { since, failures: AtomicU32::new(0), due: AtomicU64::new(0) }
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.since).as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether one may begin.
    pub fn is_due(&self, now: Instant) -> bool {
        self.millis(now) >= self.due.load(Relaxed)
    }

    /// One sent nothing, for want of a connection or of budget: that says nothing about the next.
    pub fn note_delay(&self, now: Instant) {
        self.due.store(self.millis(now + SHORT_PAUSE), Relaxed);
    }

    /// One failed.
    pub fn note_failure(&self, now: Instant) {
        let failures = self.failures.fetch_add(1, Relaxed).min(16);
        let pause = FIRST_PAUSE.saturating_mul(1 << failures).min(LONGEST_PAUSE);
        self.due.store(self.millis(now + pause), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn failures_space_renewals_out_up_to_a_bound() {
        let start = clock::now();
        let renewals = Renewals::new(start);
        assert!(renewals.is_due(start));
        let mut now = start;
        for pause in [1, 2, 4, 8, 16, 30, 30] {
            renewals.note_failure(now);
            assert!(!renewals.is_due(now + Duration::from_millis(pause * 1000 - 1)), "{pause}");
            now += Duration::from_secs(pause);
            assert!(renewals.is_due(now), "{pause}");
        }
    }

    #[test]
    fn one_that_gave_way_comes_back_soon_however_often() {
        let mut now = clock::now();
        let renewals = Renewals::new(now);
        for _ in 0..20 {
            renewals.note_delay(now);
            assert!(!renewals.is_due(now));
            now += SHORT_PAUSE;
            assert!(renewals.is_due(now));
        }
        renewals.note_failure(now);
        assert!(renewals.is_due(now + FIRST_PAUSE), "none of them was a failure");
    }
}
