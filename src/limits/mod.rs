//! A rate limiter: a bucket of cells (GCRA, by governor) and what its state says to clients. Doesn't
//! know whose it is, nor what it counts.
//!
//! Time is the crate's monotonic clock, so a stepped wall clock grants nothing; whoever asks says what
//! time it is.

use std::num::NonZeroU64;
use std::ops::Add;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::{Clock, Reference};
use governor::middleware::{StateInformationMiddleware, StateSnapshot};
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};
use governor::{NotUntil, Quota, RateLimiter};

use crate::clock::{self, Instant};
use crate::config::Rate;

/// A limiter of one rate. Its state outlives reloads that leave the rate as it is.
pub struct Limiter {
    rate: Rate,
    /// When the bucket is full again: what [`Cells`] keeps.
    due: Arc<AtomicU64>,
    cells: RateLimiter<NotKeyed, Cells, Hand, StateInformationMiddleware>,
    /// The same cells, looked at without taking one.
    view: RateLimiter<NotKeyed, View, Hand, StateInformationMiddleware>,
    hand: Hand,
}

/// What is left of a limit, as `RateLimit` tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// Requests that would pass now.
    pub remaining: u32,
    /// Whole seconds until the bucket is full, rounded up.
    pub full_in_seconds: u64,
}

/// A refusal: nothing left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// When the next one will pass.
    pub retry_after: Duration,
    /// What is left: nothing.
    pub left: Left,
}

impl Limiter {
    /// A full bucket.
    pub fn new(rate: Rate) -> Self {
        let hand = Hand { start: clock::now(), now: Arc::default() };
        let due = Arc::default();
        let (cells, view) = (Cells(Arc::clone(&due)), View(Arc::clone(&due)));
        // `with_period` is `None` only for a period of zero, which a `Rate` never has.
        let quota = Quota::with_period(rate.interval).unwrap_or_else(|| Quota::per_second(rate.burst));
        let quota = quota.allow_burst(rate.burst);
        Self {
            rate,
            due,
            cells: RateLimiter::new(quota, cells, hand.clone()),
            view: RateLimiter::new(quota, view, hand.clone()),
            hand,
        }
    }

    /// The rate.
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// Takes one cell, or says when there will be one.
    pub fn take(&self, now: Instant) -> Result<Left, Spent> {
        self.hand.show(now);
        self.cells
            .check()
            .map(|state| self.left_of(state.remaining_burst_capacity()))
            .map_err(|until| self.spent(&until))
    }

    /// As [`take`](Self::take), without taking any: what is left, or when there will be something.
    pub fn look(&self, now: Instant) -> Result<Left, Spent> {
        self.hand.show(now);
        // The view's answer is that of a request that passed: give its cell back.
        let left = |state: StateSnapshot| self.left_of(state.remaining_burst_capacity().saturating_add(1));
        self.view.check().map(left).map_err(|until| self.spent(&until))
    }

    /// What is left, without taking any.
    pub fn left(&self, now: Instant) -> Left {
        self.look(now).unwrap_or_else(|spent| spent.left)
    }

    fn spent(&self, until: &NotUntil<Reading>) -> Spent {
        let now = self.hand.now();
        Spent { retry_after: until.wait_time_from(now), left: self.left_of(0) }
    }

    fn left_of(&self, remaining: u32) -> Left {
        let full_in = self.due.load(Ordering::Relaxed).saturating_sub(self.hand.now().0);
        Left { remaining, full_in_seconds: full_in.div_ceil(1_000_000_000) }
    }
}

/// GCRA's one number: the time at which the bucket is full again, in nanoseconds since the start; 0
/// before the first.
#[derive(Default)]
struct Cells(Arc<AtomicU64>);

impl StateStore for Cells {
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

/// [`Cells`] that are never replaced.
struct View(Arc<AtomicU64>);

impl StateStore for View {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let due = NonZeroU64::new(self.0.load(Ordering::Acquire));
        decide(due.map(|due| due.get().into())).map(|(seen, _)| seen)
    }
}

/// A clock that shows the time that those who ask have read, in nanoseconds since the limiter was made.
///
/// governor asks its clock itself, and reading the time once more would cost as much as the limit. Two
/// who ask at once may see each other's time, which is as good as their own.
#[derive(Clone)]
struct Hand {
    start: Instant,
    now: Arc<AtomicU64>,
}

impl Hand {
    fn show(&self, now: Instant) {
        self.now.store(now.nanos_since(self.start), Ordering::Relaxed);
    }
}

/// A reading of [`Hand`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Reading(u64);

impl Clock for Hand {
    type Instant = Reading;

    fn now(&self) -> Reading {
        Reading(self.now.load(Ordering::Relaxed))
    }
}

impl Reference for Reading {
    fn duration_since(&self, earlier: Self) -> Nanos {
        self.0.saturating_sub(earlier.0).into()
    }

    fn saturating_sub(&self, duration: Nanos) -> Self {
        Self(self.0.saturating_sub(duration.into()))
    }
}

impl Add<Nanos> for Reading {
    type Output = Self;

    fn add(self, more: Nanos) -> Self {
        Self(self.0.saturating_add(more.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn limiter(interval_millis: u64, burst: u32) -> Limiter {
        let interval = Duration::from_millis(interval_millis);
        Limiter::new(Rate { interval, burst: NonZeroU32::new(burst).unwrap() })
    }

    async fn after(millis: u64) {
        tokio::time::advance(Duration::from_millis(millis)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_and_the_next_is_told_when_to_come_back() {
        let limiter = limiter(500, 2);
        assert_eq!(limiter.take(clock::now()), Ok(Left { remaining: 1, full_in_seconds: 1 }));
        assert_eq!(limiter.take(clock::now()), Ok(Left { remaining: 0, full_in_seconds: 1 }));
        let spent = limiter.take(clock::now()).unwrap_err();
        assert_eq!(spent.retry_after, Duration::from_millis(500));
        assert_eq!(spent.left, Left { remaining: 0, full_in_seconds: 1 });
        after(499).await;
        assert_eq!(limiter.take(clock::now()).unwrap_err().retry_after, Duration::from_millis(1));
        after(1).await;
        assert!(limiter.take(clock::now()).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_takes_nothing() {
        let limiter = limiter(1000, 3);
        assert_eq!(limiter.left(clock::now()), Left { remaining: 3, full_in_seconds: 0 });
        limiter.take(clock::now()).unwrap();
        for _ in 0..5 {
            assert_eq!(limiter.left(clock::now()), Left { remaining: 2, full_in_seconds: 1 });
        }
        limiter.take(clock::now()).unwrap();
        limiter.take(clock::now()).unwrap();
        assert_eq!(limiter.left(clock::now()), Left { remaining: 0, full_in_seconds: 3 });
        after(3000).await;
        assert_eq!(limiter.left(clock::now()), Left { remaining: 3, full_in_seconds: 0 });
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_come_back_of_a_cell_counts() {
        let limiter = limiter(10_000, 1);
        limiter.take(clock::now()).unwrap();
        after(8_500).await;
        let spent = limiter.take(clock::now()).unwrap_err();
        assert_eq!(spent.left, Left { remaining: 0, full_in_seconds: 2 });
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
