//! `[upstream.breaker]`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::checker::Checker;
use crate::config::units::Span;

/// When requests to a failing upstream stop for a while: lookups are then answered from stale entries or with a
/// 503.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Breaker")]
pub(crate) struct RawBreaker {
    /// The share of failures (no connection, timeout, broken connection, 5xx) that opens it.
    #[schemars(range(min = 1, max = 100))]
    failure_percent: u32,
    /// The breaker stays closed while the window has fewer requests than this.
    #[schemars(range(min = 1, max = 1_000_000))]
    min_requests: u32,
    /// The time over which requests are counted. Above 0.
    window: Span,
    /// How long the breaker stays open before it lets a probe through. Above 0.
    open_for: Span,
}

impl Default for RawBreaker {
    fn default() -> Self {
        Self { failure_percent: 50, min_requests: 20, window: Span::seconds(10), open_for: Span::seconds(5) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BreakerSettings {
    /// 1 to 100.
    pub(crate) failure_percent: u32,
    /// At least 1.
    pub(crate) min_requests: u32,
    pub(crate) window: Duration,
    pub(crate) open_for: Duration,
}

impl BreakerSettings {
    pub(crate) fn check(raw: &RawBreaker, checker: &mut Checker<'_>) -> Self {
        Self {
            failure_percent: raw.failure_percent,
            min_requests: raw.min_requests,
            window: checker.positive("upstream.breaker.window", raw.window),
            open_for: checker.positive("upstream.breaker.open_for", raw.open_for),
        }
    }

    pub(crate) fn show(self) -> RawBreaker {
        RawBreaker {
            failure_percent: self.failure_percent,
            min_requests: self.min_requests,
            window: self.window.into(),
            open_for: self.open_for.into(),
        }
    }
}
