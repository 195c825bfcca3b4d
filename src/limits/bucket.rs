//! A token bucket (GCRA, by governor) in this process.
//!
//! Time is the crate's monotonic clock, so steps of the wall clock grant nothing; callers pass the current time.

use std::num::NonZeroU64;
use std::ops::Add;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use governor::clock::{Clock, Reference};
use governor::middleware::{StateInformationMiddleware, StateSnapshot};
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};
use governor::{NotUntil, RateLimiter};

use super::quota::{Exhausted, LimitScope, Quota};
use crate::clock::{self, Instant};
use crate::config::Rate;

/// The bucket of one rate.
pub(super) struct LocalBucket {
    rate: Rate,
    scope: Option<LimitScope>,
    /// When the bucket is full again, as kept by [`GcraState`].
    due: Arc<AtomicU64>,
    limiter: RateLimiter<NotKeyed, GcraState, SharedClock, StateInformationMiddleware>,
    /// The same limiter, read without taking a cell.
    peek: RateLimiter<NotKeyed, PeekState, SharedClock, StateInformationMiddleware>,
    clock: SharedClock,
}

impl LocalBucket {
    /// A full bucket. `scope` is for whom it holds, in a fleet.
    pub(super) fn new(rate: Rate, scope: Option<LimitScope>) -> Self {
        let clock = SharedClock { start: clock::now(), now: Arc::default() };
        let due = Arc::default();
        let (limiter, peek) = (GcraState(Arc::clone(&due)), PeekState(Arc::clone(&due)));
        // `with_period` is `None` only for a period of zero, which a `Rate` never has.
        let quota = governor::Quota::with_period(rate.interval)
            .unwrap_or_else(|| governor::Quota::per_second(rate.burst));
        let quota = quota.allow_burst(rate.burst);
        Self {
            rate,
            scope,
            due,
            limiter: RateLimiter::new(quota, limiter, clock.clone()),
            peek: RateLimiter::new(quota, peek, clock.clone()),
            clock,
        }
    }

    pub(super) const fn rate(&self) -> Rate {
        self.rate
    }

    /// For whom it holds, in a fleet.
    pub(super) const fn scope(&self) -> Option<LimitScope> {
        self.scope
    }

    /// Takes one cell, or says when one will be available.
    pub(super) fn take(&self, now: Instant) -> Result<Quota, Exhausted> {
        self.clock.show(now);
        self.limiter
            .check()
            .map(|state| self.left_of(state.remaining_burst_capacity()))
            .map_err(|until| self.spent(&until))
    }

    /// As [`take`](Self::take), without taking a cell.
    pub(super) fn look(&self, now: Instant) -> Result<Quota, Exhausted> {
        self.clock.show(now);
        // The peek reports the state after a request that passed: add its cell back.
        let left = |state: StateSnapshot| self.left_of(state.remaining_burst_capacity().saturating_add(1));
        self.peek.check().map(left).map_err(|until| self.spent(&until))
    }

    fn spent(&self, until: &NotUntil<ClockReading>) -> Exhausted {
        let now = self.clock.now();
        Exhausted { retry_after: until.wait_time_from(now), left: self.left_of(0) }
    }

    fn left_of(&self, remaining: u32) -> Quota {
        let full_in = self.due.load(Ordering::Relaxed).saturating_sub(self.clock.now().0);
        Quota { remaining, full_in_seconds: full_in.div_ceil(1_000_000_000), scope: self.scope }
    }
}

/// GCRA's only number: when the bucket is full again, in nanoseconds since the limiter was made; 0 before the first
/// request.
#[derive(Default)]
struct GcraState(Arc<AtomicU64>);

impl StateStore for GcraState {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut due = self.0.load(Ordering::Acquire);
        loop {
            let (taken, next) = decide(NonZeroU64::new(due).map(|due| due.get().into()))?;
            match self.0.compare_exchange_weak(due, next.into(), Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return Ok(taken),
                Err(newer) => due = newer,
            }
        }
    }
}

/// [`GcraState`] that is read and never replaced.
struct PeekState(Arc<AtomicU64>);

impl StateStore for PeekState {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let due = NonZeroU64::new(self.0.load(Ordering::Acquire));
        decide(due.map(|due| due.get().into())).map(|(seen, _)| seen)
    }
}

/// A clock that shows the time passed in by the last caller, in nanoseconds since the limiter was made.
///
/// governor reads its clock itself, and reading the time again would cost as much as the limit. Concurrent callers
/// may see each other's time, which is equally valid.
#[derive(Clone)]
struct SharedClock {
    start: Instant,
    now: Arc<AtomicU64>,
}

impl SharedClock {
    fn show(&self, now: Instant) {
        self.now.store(now.nanos_since(self.start), Ordering::Relaxed);
    }
}

/// A reading of [`SharedClock`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct ClockReading(u64);

impl Clock for SharedClock {
    type Instant = ClockReading;

    fn now(&self) -> ClockReading {
        ClockReading(self.now.load(Ordering::Relaxed))
    }
}

impl Reference for ClockReading {
    fn duration_since(&self, earlier: Self) -> Nanos {
        self.0.saturating_sub(earlier.0).into()
    }

    fn saturating_sub(&self, duration: Nanos) -> Self {
        Self(self.0.saturating_sub(duration.into()))
    }
}

impl Add<Nanos> for ClockReading {
    type Output = Self;

    fn add(self, more: Nanos) -> Self {
        Self(self.0.saturating_add(more.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use super::*;

    fn limiter(interval_millis: u64, burst: u32) -> LocalBucket {
        let interval = Duration::from_millis(interval_millis);
        LocalBucket::new(Rate { interval, burst: NonZeroU32::new(burst).unwrap() }, None)
    }

    fn quota(remaining: u32, full_in_seconds: u64) -> Quota {
        Quota { remaining, full_in_seconds, scope: None }
    }

    fn left(limiter: &LocalBucket) -> Quota {
        limiter.look(clock::now()).unwrap_or_else(|spent| spent.left)
    }

    async fn after(millis: u64) {
        tokio::time::advance(Duration::from_millis(millis)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_and_the_next_request_learns_when_to_come_back() {
        let limiter = limiter(500, 2);
        assert_eq!(limiter.take(clock::now()), Ok(quota(1, 1)));
        assert_eq!(limiter.take(clock::now()), Ok(quota(0, 1)));
        let spent = limiter.take(clock::now()).unwrap_err();
        assert_eq!(spent.retry_after, Duration::from_millis(500));
        assert_eq!(spent.left, quota(0, 1));
        after(499).await;
        assert_eq!(limiter.take(clock::now()).unwrap_err().retry_after, Duration::from_millis(1));
        after(1).await;
        assert!(limiter.take(clock::now()).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn looking_takes_no_cell() {
        let limiter = limiter(1000, 3);
        assert_eq!(left(&limiter), quota(3, 0));
        limiter.take(clock::now()).unwrap();
        for _ in 0..5 {
            assert_eq!(left(&limiter), quota(2, 1));
        }
        limiter.take(clock::now()).unwrap();
        limiter.take(clock::now()).unwrap();
        assert_eq!(left(&limiter), quota(0, 3));
        after(3000).await;
        assert_eq!(left(&limiter), quota(3, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn partly_refilled_cells_count() {
        let limiter = limiter(10_000, 1);
        limiter.take(clock::now()).unwrap();
        after(8_500).await;
        let spent = limiter.take(clock::now()).unwrap_err();
        assert_eq!(spent.left, quota(0, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_limiter_never_grants_more_than_its_burst() {
        let limiter = limiter(10, 2);
        after(3_600_000).await;
        assert!(
            limiter.take(clock::now()).is_ok()
                && limiter.take(clock::now()).is_ok()
                && limiter.take(clock::now()).is_err()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_slower_than_one_a_minute_is_kept() {
        let limiter = limiter(120_000, 1);
        assert!(limiter.take(clock::now()).is_ok());
        assert_eq!(limiter.take(clock::now()).unwrap_err().retry_after, Duration::from_secs(120));
    }
}
