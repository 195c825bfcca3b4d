//! When a stale entry may be revalidated in the background again after failed attempts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::clock::Instant;

/// The pause after the first failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The pause after an attempt that yielded to waiting lookups.
const SHORT_PAUSE: Duration = Duration::from_millis(100);

/// The failed renewals of one entry. A successful one replaces the entry, and this with it.
///
/// Every entry has one, so it is a single word: the number of failures in the lowest [`FAILURE_BITS`], above them the
/// milliseconds after the entry's arrival from which the next attempt may begin.
#[derive(Debug, Default)]
pub(crate) struct RenewalBackoff(AtomicU64);

const FAILURE_BITS: u32 = 5;
const MOST_FAILURES: u64 = (1 << FAILURE_BITS) - 1;

fn millis(since: Instant, now: Instant) -> u64 {
    now.nanos_since(since) / 1_000_000
}

impl RenewalBackoff {
    /// Whether an attempt may begin; `since` is when the entry arrived.
    pub(crate) fn is_due(&self, since: Instant, now: Instant) -> bool {
        millis(since, now) >= self.0.load(Relaxed) >> FAILURE_BITS
    }

    /// Notes an attempt that sent nothing for lack of a connection or budget, which says nothing about the next.
    pub(crate) fn note_delay(&self, since: Instant, now: Instant) {
        self.pause(since, now + SHORT_PAUSE, self.failures());
    }

    /// Notes a failed attempt. Each entry has at most one in progress, so there is no concurrent update.
    pub(crate) fn note_failure(&self, since: Instant, now: Instant) {
        let failures = self.failures();
        let pause = FIRST_PAUSE.saturating_mul(1 << failures.min(16)).min(LONGEST_PAUSE);
        self.pause(since, now + pause, (failures + 1).min(MOST_FAILURES));
    }

    fn failures(&self) -> u64 {
        self.0.load(Relaxed) & MOST_FAILURES
    }

    fn pause(&self, since: Instant, until: Instant, failures: u64) {
        self.0.store(millis(since, until) << FAILURE_BITS | failures, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn failures_space_renewals_out_up_to_a_bound() {
        let start = clock::now();
        let renewals = RenewalBackoff::default();
        assert!(renewals.is_due(start, start));
        let mut now = start;
        for pause in [1, 2, 4, 8, 16].into_iter().chain([30; 100]) {
            renewals.note_failure(start, now);
            assert!(!renewals.is_due(start, now + Duration::from_millis(pause * 1000 - 1)), "{pause}");
            now += Duration::from_secs(pause);
            assert!(renewals.is_due(start, now), "{pause}");
        }
    }

    #[test]
    fn a_renewal_that_yielded_is_due_again_soon_however_often() {
        let start = clock::now();
        let mut now = start;
        let renewals = RenewalBackoff::default();
        for _ in 0..20 {
            renewals.note_delay(start, now);
            assert!(!renewals.is_due(start, now));
            now += SHORT_PAUSE;
            assert!(renewals.is_due(start, now));
        }
        renewals.note_failure(start, now);
        assert!(renewals.is_due(start, now + FIRST_PAUSE), "none of them was a failure");
    }
}
