//! `[limits]`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::checker::Checker;
use crate::config::section::Section;
use crate::config::units::{Size, Span, count};

const MIN_HEADER_BYTES: u64 = 8 << 10;
const MAX_HEADER_BYTES: u64 = 1 << 20;

/// Limits on what clients take of the process.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Limits")]
pub(crate) struct RawLimits {
    /// Lookups waiting for a fetch, all tenants together; further ones get a 503. Hits are not counted.
    #[schemars(range(min = 1, max = 1_000_000))]
    max_in_flight: u32,
    /// Client connections; further ones wait to be accepted. Fewer, with a warning, where the limit of open
    /// files is too low for so many.
    #[schemars(range(min = 1, max = 1_000_000))]
    max_connections: u32,
    /// How long a request's head may take from its first byte, and a new connection to its first request.
    /// Above 0.
    header_read_timeout: Span,
    /// How long a connection may be idle, and how long a client may read nothing of its answer. Above 0.
    idle_timeout: Span,
    /// The largest request head, from 8KiB to 1MiB; a larger one, or one with more than 64 fields, gets a 431.
    max_header_bytes: Size,
    /// When `RateLimit` and `RateLimit-Policy` are sent.
    rate_limit_headers: RateLimitHeaders,
}

impl Default for RawLimits {
    fn default() -> Self {
        Self {
            max_in_flight: 4096,
            max_connections: 4096,
            header_read_timeout: Span::seconds(5),
            idle_timeout: Span::seconds(60),
            max_header_bytes: Size::kib(16),
            rate_limit_headers: RateLimitHeaders::Always,
        }
    }
}

/// When the rate-limit headers are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RateLimitHeaders {
    /// On every answer from the check of the tenant's limit on.
    Always,
    /// Only on a 429 from that limit.
    OnRefusal,
    /// Never.
    Off,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LimitSettings {
    pub(crate) max_in_flight: usize,
    pub(crate) max_connections: usize,
    pub(crate) header_read_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) max_header_bytes: usize,
    pub(crate) rate_limit_headers: RateLimitHeaders,
}

impl Section for LimitSettings {
    type Raw = RawLimits;
    type Effective = RawLimits;

    fn check(raw: RawLimits, checker: &mut Checker<'_>) -> Option<Self> {
        let header_read_timeout = checker.positive("limits.header_read_timeout", raw.header_read_timeout);
        let idle_timeout = checker.positive("limits.idle_timeout", raw.idle_timeout);
        let bytes = raw.max_header_bytes.bytes();
        if !(MIN_HEADER_BYTES..=MAX_HEADER_BYTES).contains(&bytes) {
            checker.problem("limits.max_header_bytes", "expected a size from 8KiB to 1MiB");
        }
        Some(Self {
            max_in_flight: raw.max_in_flight as usize,
            max_connections: raw.max_connections as usize,
            header_read_timeout,
            idle_timeout,
            max_header_bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
            rate_limit_headers: raw.rate_limit_headers,
        })
    }

    fn show(&self) -> RawLimits {
        RawLimits {
            max_in_flight: count(self.max_in_flight),
            max_connections: count(self.max_connections),
            header_read_timeout: self.header_read_timeout.into(),
            idle_timeout: self.idle_timeout.into(),
            max_header_bytes: self.max_header_bytes.into(),
            rate_limit_headers: self.rate_limit_headers,
        }
    }
}
