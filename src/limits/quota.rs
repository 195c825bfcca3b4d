//! The state of a limit, as clients and operators see it.

use std::time::Duration;

/// For whom a limit holds, where gateways form a fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LimitScope {
    /// For all gateways of the fleet together.
    Fleet,
    /// For this gateway alone.
    Local,
}

impl LimitScope {
    /// As in `RateLimit-Policy`, `explain` and `stats`.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Fleet => "fleet",
            Self::Local => "local",
        }
    }
}

/// The remaining quota of a limit, as shown by `RateLimit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quota {
    /// Requests that would pass now.
    pub remaining: u32,
    /// Whole seconds until the bucket is full, rounded up.
    pub full_in_seconds: u64,
    /// `None` of a gateway that is in no fleet.
    pub scope: Option<LimitScope>,
}

/// A refusal: nothing left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exhausted {
    /// When the next one will pass.
    pub retry_after: Duration,
    /// The quota: nothing left.
    pub left: Quota,
}
