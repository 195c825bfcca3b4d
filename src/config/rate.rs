//! Rates: their notation, and the token bucket that they describe.

use std::num::NonZeroU32;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::checker::Checker;

const YEAR: Duration = Duration::from_secs(366 * 24 * 3600);

/// A rate: a bucket of `burst` requests that refills with `per_second` (or `per_minute`).
#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Rate")]
pub(crate) struct RawRate {
    /// Requests per second; may be a fraction.
    per_second: Option<f64>,
    /// Requests per minute, instead of `per_second`.
    #[serde(skip_serializing_if = "Option::is_none")]
    per_minute: Option<f64>,
    /// Requests that may come at once. Default: those of one second, at least 1.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    burst: Option<u32>,
}

/// A bucket of `burst` cells that refills with one cell every `interval`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Time until one more request passes: a nanosecond to a year.
    pub(crate) interval: Duration,
    /// Requests that may come at once.
    pub(crate) burst: NonZeroU32,
}

impl Rate {
    /// Checks the rate at `key`.
    pub(crate) fn check(key: &str, raw: RawRate, checker: &mut Checker<'_>) -> Option<Self> {
        let per_second = match (raw.per_second, raw.per_minute) {
            (Some(rate), None) => rate,
            (None, Some(rate)) => rate / 60.0,
            (None, None) | (Some(_), Some(_)) => {
                checker.problem(key, "expected either per_second or per_minute");
                return None;
            }
        };
        let sane = per_second.is_finite() && (1e-7..=1e9).contains(&per_second);
        if !sane {
            checker.problem(key, "expected a rate above 0, from one in 16 weeks to 1000000000 a second");
            return None;
        }
        let interval = Duration::from_secs_f64(1.0 / per_second).max(Duration::from_nanos(1));
        // The conversion saturates, and the bounds above keep it in range.
        let default_burst = per_second.ceil().max(1.0) as u32;
        let burst = NonZeroU32::new(raw.burst.unwrap_or(default_burst))?;
        if interval.saturating_mul(burst.get()) > YEAR {
            checker.problem(key, "expected a burst that refills within a year");
        }
        Some(Self { interval, burst })
    }

    /// The rate as the file would have it; always per second.
    pub(crate) fn show(self) -> RawRate {
        let per_second = 1.0 / self.interval.as_secs_f64();
        RawRate { per_second: Some(per_second), per_minute: None, burst: Some(self.burst.get()) }
    }

    /// The `w` of `RateLimit-Policy`: whole seconds from an empty bucket to a full one, rounded up.
    pub(crate) fn window_seconds(&self) -> u64 {
        let nanos = self.interval.as_nanos().saturating_mul(u128::from(self.burst.get()));
        u64::try_from(nanos.div_ceil(1_000_000_000)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policys_window_is_burst_over_rate_rounded_up() {
        let window = |millis, burst| {
            Rate { interval: Duration::from_millis(millis), burst: NonZeroU32::new(burst).unwrap() }
                .window_seconds()
        };
        assert_eq!(window(10, 200), 2);
        assert_eq!(window(10, 1), 1);
        assert_eq!(window(333, 10), 4);
    }
}
