//! `[upstream.retry]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When a failed upstream request is retried: refused or reset connections, 502, 503 and 504.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Retry")]
pub(crate) struct RawRetry {
    /// Attempts, the first one included.
    #[schemars(range(min = 1, max = 10))]
    max_attempts: u32,
    /// Retries may add at most this share of load, but always one per second.
    #[schemars(range(min = 0, max = 100))]
    budget_percent: u32,
}

impl Default for RawRetry {
    fn default() -> Self {
        Self { max_attempts: 2, budget_percent: 20 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RetrySettings {
    /// The first one included; at least 1.
    pub(crate) max_attempts: u32,
    /// 0 to 100.
    pub(crate) budget_percent: u8,
}

impl From<&RawRetry> for RetrySettings {
    fn from(raw: &RawRetry) -> Self {
        Self {
            max_attempts: raw.max_attempts,
            // The schema keeps it in range.
            budget_percent: u8::try_from(raw.budget_percent).unwrap_or(100),
        }
    }
}

impl RetrySettings {
    pub(crate) fn show(self) -> RawRetry {
        RawRetry { max_attempts: self.max_attempts, budget_percent: self.budget_percent.into() }
    }
}
