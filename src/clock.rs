//! The only place that asks the time. Everything that decides takes `now` as an argument.
//!
//! Ages and deadlines live on the monotonic clock, which a stepped wall clock cannot touch; it is
//! tokio's, so that a test which pauses tokio's time moves the whole gateway by hand. The wall clock
//! is asked only where the upstream or a client speaks of dates.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};
pub use tokio::time::Instant;

/// Now, on the monotonic clock.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub fn now() -> Instant {
    Instant::now()
}

/// The wall clock, which may be stepped: by its administrator, or by a test.
#[derive(Debug, Clone, Default)]
pub struct WallClock {
    /// Seconds that a test has stepped the clock by.
    step: Option<Arc<AtomicI64>>,
}

impl WallClock {
    /// The machine's clock.
    pub const fn system() -> Self {
        Self { step: None }
    }

    /// The machine's clock plus a number of seconds that can be changed at any time.
    #[cfg(test)]
    pub fn stepped_by(seconds: Arc<AtomicI64>) -> Self {
        Self { step: Some(seconds) }
    }

    /// Now, by the calendar.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        let step = self.step.as_ref().map_or(0, |step| step.load(Ordering::Relaxed));
        now.saturating_add(SignedDuration::from_secs(step)).unwrap_or(now)
    }
}
