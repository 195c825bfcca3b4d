//! The only place that asks the time. Everything that decides takes `now` as an argument.
//!
//! Ages and deadlines live on the monotonic clock, which a stepped wall clock cannot touch; it is
//! tokio's, so that a test which pauses tokio's time moves the whole gateway by hand. The wall clock
//! is asked only where the upstream or a client speaks of dates.

use std::ops::{Add, AddAssign};
use std::time::Duration;

use jiff::Timestamp;

/// A reading of the monotonic clock, in nanoseconds since some moment before the process began.
///
/// The standard library's takes twice the memory, which every stored entry would pay for, and its
/// arithmetic some sixty instructions a subtraction, which every request would. All arithmetic here
/// saturates; 64 bits of nanoseconds last for 584 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(u64);

/// Now, on the monotonic clock: the one that tokio's timers run by, too.
#[cfg(not(test))]
pub fn now() -> Instant {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    // Neither is ever negative on this clock.
    Instant(
        now.tv_sec.cast_unsigned().saturating_mul(1_000_000_000).saturating_add(now.tv_nsec.cast_unsigned()),
    )
}

/// Now, on tokio's clock, which a test may pause and move by hand.
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub fn now() -> Instant {
    use std::sync::LazyLock;
    // An hour before the first reading, so that no paused clock is ever behind it.
    static ORIGIN: LazyLock<std::time::Instant> =
        LazyLock::new(|| std::time::Instant::now() - Duration::from_secs(3600));
    Instant(saturated(tokio::time::Instant::now().into_std().duration_since(*ORIGIN)))
}

const fn saturated(duration: Duration) -> u64 {
    match duration.as_secs().checked_mul(1_000_000_000) {
        Some(nanos) => nanos.saturating_add(duration.subsec_nanos() as u64),
        None => u64::MAX,
    }
}

impl Instant {
    /// The time since `earlier`; none if that is later.
    pub const fn duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.nanos_since(earlier))
    }

    /// The same in nanoseconds.
    pub const fn nanos_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The same moment for tokio's timers; now, if it is over. One beyond all clocks is thirty years
    /// away.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn for_timer(self) -> tokio::time::Instant {
        const FAR: Duration = Duration::from_secs(30 * 366 * 24 * 3600);
        tokio::time::Instant::now() + self.duration_since(now()).min(FAR)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, more: Duration) -> Self {
        Self(self.0.saturating_add(saturated(more)))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, more: Duration) {
        *self = *self + more;
    }
}

/// The wall clock.
#[derive(Debug, Clone, Default)]
pub struct WallClock {
    /// Where a test keeps its own time, in seconds since 1970.
    #[cfg(test)]
    by_hand: Option<std::sync::Arc<std::sync::atomic::AtomicI64>>,
}

impl WallClock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that shows what a test sets.
    #[cfg(test)]
    pub fn by_hand(seconds: std::sync::Arc<std::sync::atomic::AtomicI64>) -> Self {
        Self { by_hand: Some(seconds) }
    }

    /// Now, by the calendar.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn now(&self) -> Timestamp {
        #[cfg(test)]
        if let Some(seconds) = &self.by_hand {
            let seconds = seconds.load(std::sync::atomic::Ordering::SeqCst);
            return Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
        }
        Timestamp::now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_moves_with_a_paused_clock_and_no_arithmetic_overflows() {
        let start = now();
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(now().duration_since(start), Duration::from_secs(90));
        assert_eq!(start.duration_since(now()), Duration::ZERO);
        assert_eq!(start + Duration::MAX, Instant(u64::MAX));
        assert!((start + Duration::MAX).for_timer() > now().for_timer());
        tokio::time::sleep_until((now() + Duration::from_secs(5)).for_timer()).await;
        assert_eq!(now().duration_since(start), Duration::from_secs(95));
    }
}
