//! The only place that asks the time. Everything that decides takes `now` as an argument.
//!
//! Ages and deadlines live on the monotonic clock, which a stepped wall clock cannot touch; it is
//! tokio's, so that a test which pauses tokio's time moves the whole gateway by hand. The wall clock
//! is asked only where the upstream or a client speaks of dates.

use jiff::Timestamp;
pub use tokio::time::Instant;

/// Now, on the monotonic clock.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub fn now() -> Instant {
    Instant::now()
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
