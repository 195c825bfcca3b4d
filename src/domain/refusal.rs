use std::time::Duration;

use http::StatusCode;

/// What is wrong with a request's framing, whoever sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// HTTP/1.1 without exactly one valid `Host` (RFC 9112 section 3.2).
    Host,
    /// `Content-Length` above 0, any `Transfer-Encoding`, or a body without either.
    Body,
}

/// Why a request got no call: every answer that the gateway makes up itself. The words in here are
/// public and fixed; the private cause of a failure never comes this way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// 400, and the connection closes.
    Framing(Framing),
    /// 417: an `Expect` other than `100-continue`.
    Expectation,
    /// 401: no, several, unknown or malformed credentials, not told apart.
    Unauthorized,
    /// 429: the tenant's own rate limit.
    TenantLimit {
        /// When the next request will pass.
        retry_after: Duration,
    },
    /// 404: no such route.
    NoRoute,
    /// 405.
    Method,
    /// 400: a lookup takes no query string.
    Query,
    /// 400: the segment is not a call ID.
    CallIdFormat,
    /// 429: the tenant's budget of upstream requests.
    UpstreamBudget {
        /// When the next fetch will pass.
        retry_after: Duration,
    },
    /// 429: the upstream told this tenant to wait.
    UpstreamPaused {
        /// When it said to come back.
        retry_after: Duration,
    },
    /// 503: the breaker is open.
    UpstreamUnavailable {
        /// When the next probe may pass.
        retry_after: Duration,
    },
    /// 504: the client wanted only what is cached.
    NotCached,
    /// The upstream's own error status, whose body was not JSON.
    UpstreamStatus {
        /// The status.
        status: StatusCode,
        /// When to come back, if the upstream said so.
        retry_after: Option<Duration>,
    },
    /// 503: too many lookups wait for a fetch.
    Overloaded,
    /// 503: cut off by the end of the drain.
    ShuttingDown,
    /// 504: the upstream took too long.
    UpstreamTimeout,
    /// 502: the upstream could not be reached, or its answer was unusable.
    UpstreamFailed,
    /// 502: the upstream said 401 to this tenant's key.
    UpstreamKeyRejected,
    /// 500: a bug.
    Internal,
}

impl Refusal {
    /// The status of the answer.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Framing(_) | Self::Query | Self::CallIdFormat => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::TenantLimit { .. } | Self::UpstreamBudget { .. } | Self::UpstreamPaused { .. } => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::UpstreamStatus { status, .. } => *status,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::UpstreamFailed | Self::UpstreamKeyRejected => StatusCode::BAD_GATEWAY,
            Self::Overloaded | Self::ShuttingDown | Self::UpstreamUnavailable { .. } => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::UpstreamTimeout | Self::NotCached => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The envelope's `error.code`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Framing(_) | Self::Query | Self::CallIdFormat | Self::Expectation => "INVALID_REQUEST",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::NoRoute => "NOT_FOUND",
            Self::Method => "METHOD_NOT_ALLOWED",
            Self::TenantLimit { .. } | Self::UpstreamBudget { .. } | Self::UpstreamPaused { .. } => {
                "RATE_LIMITED"
            }
            Self::Internal => "INTERNAL",
            Self::UpstreamFailed | Self::UpstreamKeyRejected | Self::UpstreamStatus { .. } => {
                "UPSTREAM_ERROR"
            }
            Self::UpstreamUnavailable { .. } => "UPSTREAM_UNAVAILABLE",
            Self::NotCached => "NOT_CACHED",
            Self::Overloaded => "OVERLOADED",
            Self::ShuttingDown => "SHUTTING_DOWN",
            Self::UpstreamTimeout => "UPSTREAM_TIMEOUT",
        }
    }

    /// The envelope's `error.message`: fixed words, nothing of the request in them.
    pub const fn message(&self) -> &'static str {
        match self {
            Self::Framing(Framing::Host) => "An HTTP/1.1 request needs exactly one valid Host header",
            Self::Framing(Framing::Body) => "Requests to this service have no body",
            Self::Expectation => "The only supported expectation is 100-continue",
            Self::Unauthorized => "Invalid or missing gateway token",
            Self::TenantLimit { .. } => "Rate limit exceeded",
            Self::NoRoute => "No such route",
            Self::Method => "Method not allowed",
            Self::Query => "This endpoint takes no query string",
            Self::CallIdFormat => "Invalid call ID format",
            Self::UpstreamBudget { .. } => "The budget of upstream requests is spent",
            Self::UpstreamPaused { .. } => "The upstream asked this tenant to wait",
            Self::UpstreamUnavailable { .. } => "The upstream is failing; it is asked again shortly",
            Self::NotCached => "Nothing usable is cached, and the request allowed nothing else",
            Self::UpstreamStatus { .. } => "The upstream answered with an error",
            Self::Overloaded => "Too many lookups are waiting for the upstream",
            Self::ShuttingDown => "The gateway is shutting down",
            Self::UpstreamTimeout => "The upstream did not answer in time",
            Self::UpstreamFailed => "The upstream gave no usable answer",
            Self::UpstreamKeyRejected => "The upstream rejected this tenant's API key",
            Self::Internal => "Internal error",
        }
    }

    /// Whether it means that the upstream failed, so that a stale answer is better (RFC 5861 section
    /// 4). A rejected key is not: the tenant may have lost its right to the call.
    pub fn is_upstream_failure(&self) -> bool {
        match self {
            Self::UpstreamBudget { .. }
            | Self::UpstreamPaused { .. }
            | Self::UpstreamUnavailable { .. }
            | Self::UpstreamTimeout
            | Self::UpstreamFailed => true,
            Self::UpstreamStatus { status, .. } => is_failure(*status),
            Self::Framing(_)
            | Self::Expectation
            | Self::Unauthorized
            | Self::TenantLimit { .. }
            | Self::NoRoute
            | Self::Method
            | Self::Query
            | Self::CallIdFormat
            | Self::NotCached
            | Self::Overloaded
            | Self::ShuttingDown
            | Self::UpstreamKeyRejected
            | Self::Internal => false,
        }
    }

    /// `Retry-After` in whole seconds, rounded up and at least 1, where there is one.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::TenantLimit { retry_after }
            | Self::UpstreamBudget { retry_after }
            | Self::UpstreamPaused { retry_after }
            | Self::UpstreamUnavailable { retry_after }
            | Self::UpstreamStatus { retry_after: Some(retry_after), .. } => {
                let begun = u64::from(retry_after.subsec_nanos() > 0);
                Some(retry_after.as_secs().saturating_add(begun).max(1))
            }
            Self::Overloaded | Self::ShuttingDown => Some(1),
            Self::Framing(_)
            | Self::Expectation
            | Self::Unauthorized
            | Self::NoRoute
            | Self::Method
            | Self::Query
            | Self::CallIdFormat
            | Self::NotCached
            | Self::UpstreamStatus { retry_after: None, .. }
            | Self::UpstreamTimeout
            | Self::UpstreamFailed
            | Self::UpstreamKeyRejected
            | Self::Internal => None,
        }
    }
}

/// Whether a status says all there is to say, whatever its body: the key is rejected, or the call is not
/// there or not to be seen.
pub const fn speaks_by_its_status(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::GONE
    )
}

/// Whether a status of the upstream's means that it failed: 5xx and 429.
pub fn is_failure(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

#[cfg(test)]
impl Refusal {
    /// One of each; a new one has to be added, for [`Self::place`] names them all.
    pub fn one_of_each() -> Vec<Self> {
        let retry_after = Duration::from_secs(1);
        let all = vec![
            Self::Framing(Framing::Host),
            Self::Expectation,
            Self::Unauthorized,
            Self::TenantLimit { retry_after },
            Self::NoRoute,
            Self::Method,
            Self::Query,
            Self::CallIdFormat,
            Self::UpstreamBudget { retry_after },
            Self::UpstreamPaused { retry_after },
            Self::UpstreamUnavailable { retry_after },
            Self::NotCached,
            Self::UpstreamStatus { status: StatusCode::BAD_GATEWAY, retry_after: Some(retry_after) },
            Self::Overloaded,
            Self::ShuttingDown,
            Self::UpstreamTimeout,
            Self::UpstreamFailed,
            Self::UpstreamKeyRejected,
            Self::Internal,
        ];
        assert!(all.iter().map(Self::place).eq(0..all.len()));
        all
    }

    fn place(&self) -> usize {
        match self {
            Self::Framing(_) => 0,
            Self::Expectation => 1,
            Self::Unauthorized => 2,
            Self::TenantLimit { .. } => 3,
            Self::NoRoute => 4,
            Self::Method => 5,
            Self::Query => 6,
            Self::CallIdFormat => 7,
            Self::UpstreamBudget { .. } => 8,
            Self::UpstreamPaused { .. } => 9,
            Self::UpstreamUnavailable { .. } => 10,
            Self::NotCached => 11,
            Self::UpstreamStatus { .. } => 12,
            Self::Overloaded => 13,
            Self::ShuttingDown => 14,
            Self::UpstreamTimeout => 15,
            Self::UpstreamFailed => 16,
            Self::UpstreamKeyRejected => 17,
            Self::Internal => 18,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_rounded_up_to_whole_seconds() {
        let after =
            |millis| Refusal::TenantLimit { retry_after: Duration::from_millis(millis) }.retry_after();
        assert_eq!(after(0), Some(1));
        assert_eq!(after(1), Some(1));
        assert_eq!(after(1000), Some(1));
        assert_eq!(after(1001), Some(2));
        assert_eq!(Refusal::TenantLimit { retry_after: Duration::MAX }.retry_after(), Some(u64::MAX));
        assert_eq!(Refusal::Unauthorized.retry_after(), None);
    }

    #[test]
    fn the_readme_tells_callers_what_each_refusal_means() {
        for refusal in Refusal::one_of_each().into_iter().chain([Refusal::Framing(Framing::Body)]) {
            let row = format!("| {} | `{}` |", refusal.status().as_u16(), refusal.code());
            assert!(include_str!("../../README.md").contains(&row), "README.md has no row {row}");
        }
    }
}
