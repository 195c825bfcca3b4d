use std::time::Duration;

use http::StatusCode;

use super::error_code::ErrorCode;
use super::media_kind::MediaKind;

/// A fault in a request's framing, for every method and client alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// A `#`, which no request target contains (RFC 9112 section 3.2).
    Fragment,
    /// HTTP/1.1 without exactly one valid `Host` (RFC 9112 section 3.2), HTTP/2 with more than one, or with
    /// one that differs from its `:authority` (RFC 9113 section 8.3.1).
    Host,
    /// A body where none is accepted, without exactly one length, or over the endpoint's limit.
    BodyBound,
    /// `Content-Length` above 0 or more than one, any `Transfer-Encoding`, or a body without either.
    Body,
}

/// When to ask again for what a call does not have yet.
const NOT_READY_SECONDS: u64 = 5;

/// Which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overload {
    /// `limits.max_in_flight`, for all tenants together.
    MaxInFlight,
    /// `upstream.max_waiting`, for one tenant.
    MaxWaiting,
    /// `media.max_streams`, of one tenant.
    MediaStreams,
}

/// Why a request got no call: every answer that the gateway generates itself. These texts are public and fixed; the
/// private cause of a failure never appears in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// 400, and the connection closes.
    Framing(Framing),
    /// 417: an `Expect` other than `100-continue`.
    Expectation,
    /// 401: credentials missing, repeated, unknown or malformed; the answer does not say which.
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
    /// 400: a list takes exactly one invoice.
    ListQuery,
    /// 400: the segment is not a call ID.
    CallIdFormat,
    /// 429: the tenant's budget of upstream requests.
    UpstreamBudget {
        /// When the next fetch will pass.
        retry_after: Duration,
    },
    /// 429: the upstream asked this tenant to wait.
    UpstreamPaused {
        /// When it said to come back.
        retry_after: Duration,
    },
    /// 503: the breaker is open.
    UpstreamUnavailable {
        /// When the next probe may pass.
        retry_after: Duration,
    },
    /// 404: the call has none.
    NoMedia(MediaKind),
    /// 409: the call may still get what it does not have yet.
    NotReady,
    /// 416: the range lies outside of the whole, of this length if the upstream said so.
    RangeNotSatisfiable { complete: Option<u64> },
    /// 503: a media host told us to wait.
    MediaHostBusy { retry_after: Option<Duration> },
    /// 504: the client wanted only what is cached.
    NotCached,
    /// The upstream's own error status, whose body was not JSON.
    UpstreamStatus {
        /// The upstream's status.
        status: StatusCode,
        /// When to come back, if the upstream said so.
        retry_after: Option<Duration>,
    },
    /// 503: too many lookups wait for a fetch.
    Overloaded(Overload),
    /// 503: cut off by the end of the drain.
    ShuttingDown,
    /// 503: a reload ended the wait for a final call before anything was fetched for it.
    WaitEnded,
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
    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::Framing(_) | Self::Query | Self::ListQuery | Self::CallIdFormat => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::NoRoute | Self::NoMedia(_) => StatusCode::NOT_FOUND,
            Self::NotReady => StatusCode::CONFLICT,
            Self::RangeNotSatisfiable { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::TenantLimit { .. } | Self::UpstreamBudget { .. } | Self::UpstreamPaused { .. } => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::UpstreamStatus { status, .. } => *status,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::UpstreamFailed | Self::UpstreamKeyRejected => StatusCode::BAD_GATEWAY,
            Self::Overloaded(_)
            | Self::ShuttingDown
            | Self::WaitEnded
            | Self::UpstreamUnavailable { .. }
            | Self::MediaHostBusy { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::UpstreamTimeout | Self::NotCached => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The envelope's `error.code`.
    pub(crate) const fn code(&self) -> &'static str {
        self.error_code().label()
    }

    /// The code, from the closed list.
    pub(crate) const fn error_code(&self) -> ErrorCode {
        match self {
            Self::Framing(_) | Self::Query | Self::ListQuery | Self::CallIdFormat | Self::Expectation => {
                ErrorCode::InvalidRequest
            }
            Self::Unauthorized => ErrorCode::Unauthorized,
            Self::NoRoute | Self::NoMedia(_) => ErrorCode::NotFound,
            Self::NotReady => ErrorCode::NotReady,
            Self::RangeNotSatisfiable { .. } => ErrorCode::RangeNotSatisfiable,
            Self::Method => ErrorCode::MethodNotAllowed,
            Self::TenantLimit { .. } | Self::UpstreamBudget { .. } | Self::UpstreamPaused { .. } => {
                ErrorCode::RateLimited
            }
            Self::Internal => ErrorCode::Internal,
            Self::UpstreamFailed | Self::UpstreamKeyRejected | Self::UpstreamStatus { .. } => {
                ErrorCode::UpstreamError
            }
            Self::UpstreamUnavailable { .. } | Self::MediaHostBusy { .. } => ErrorCode::UpstreamUnavailable,
            Self::NotCached => ErrorCode::NotCached,
            Self::Overloaded(_) => ErrorCode::Overloaded,
            Self::ShuttingDown | Self::WaitEnded => ErrorCode::ShuttingDown,
            Self::UpstreamTimeout => ErrorCode::UpstreamTimeout,
        }
    }

    /// The envelope's `error.message`: a fixed text with nothing of the request in it.
    pub(crate) const fn message(&self) -> &'static str {
        match self {
            Self::Framing(Framing::Fragment) => "A request target has no fragment",
            Self::Framing(Framing::Host) => "A request needs exactly one valid host name",
            Self::Framing(Framing::Body) => "Requests to this service have no body",
            Self::Framing(Framing::BodyBound) => "The body is too large, or has no single length",
            Self::Expectation => "The only supported expectation is 100-continue",
            Self::Unauthorized => "Invalid or missing gateway token",
            Self::TenantLimit { .. } => "Rate limit exceeded",
            Self::NoRoute => "No such route",
            Self::Method => "Method not allowed",
            Self::Query => "This endpoint takes no query string",
            Self::ListQuery => "The query must be exactly one invoice_id",
            Self::CallIdFormat => "Invalid call ID format",
            Self::UpstreamBudget { .. } => "The budget of upstream requests is spent",
            Self::UpstreamPaused { .. } => "The upstream asked this tenant to wait",
            Self::UpstreamUnavailable { .. } => "The upstream is failing; it is asked again shortly",
            Self::NoMedia(MediaKind::Recording) => "This call has no recording",
            Self::NoMedia(MediaKind::Transcription) => "This call has no transcription",
            Self::NotReady => "This call does not have it yet",
            Self::RangeNotSatisfiable { .. } => "The range lies outside of what there is",
            Self::MediaHostBusy { .. } => "The host of this recording or transcription is busy",
            Self::NotCached => "Nothing usable is cached, and the request allowed nothing else",
            Self::UpstreamStatus { .. } => "The upstream answered with an error",
            Self::Overloaded(Overload::MaxInFlight | Overload::MaxWaiting) => {
                "Too many lookups are waiting for the upstream"
            }
            Self::Overloaded(Overload::MediaStreams) => {
                "Too many recordings and transcriptions are being sent"
            }
            Self::ShuttingDown => "The gateway is shutting down",
            Self::WaitEnded => "A change of the gateway's configuration ended this wait",
            Self::UpstreamTimeout => "The upstream did not answer in time",
            Self::UpstreamFailed => "The upstream gave no usable answer",
            Self::UpstreamKeyRejected => "The upstream rejected this tenant's API key",
            Self::Internal => "Internal error",
        }
    }

    /// The `detail` of the access line: which of several causes of one status applied. A closed list.
    pub(crate) const fn detail(&self) -> &'static str {
        match self {
            Self::Framing(Framing::Fragment) => "fragment",
            Self::Framing(Framing::Host) => "host",
            Self::Framing(Framing::Body | Framing::BodyBound) => "body",
            Self::Expectation => "expectation",
            Self::Unauthorized => "token",
            Self::TenantLimit { .. } => "tenant-limit",
            Self::NoRoute => "route",
            Self::Method => "method",
            Self::Query | Self::ListQuery => "query",
            Self::CallIdFormat => "call-id",
            Self::UpstreamBudget { .. } => "upstream-budget",
            Self::UpstreamPaused { .. } => "upstream-pause",
            Self::UpstreamUnavailable { .. } => "breaker",
            Self::NoMedia(_) => "no-media",
            Self::NotReady => "not-ready",
            Self::RangeNotSatisfiable { .. } => "range",
            Self::NotCached => "only-if-cached",
            Self::UpstreamStatus { .. } | Self::MediaHostBusy { .. } => "upstream-status",
            Self::Overloaded(Overload::MaxInFlight) => "max-in-flight",
            Self::Overloaded(Overload::MaxWaiting) => "max-waiting",
            Self::Overloaded(Overload::MediaStreams) => "media-streams",
            Self::ShuttingDown => "draining",
            Self::WaitEnded => "reloaded",
            Self::UpstreamTimeout => "upstream-timeout",
            Self::UpstreamFailed => "upstream-failed",
            Self::UpstreamKeyRejected => "key-rejected",
            Self::Internal => "panic",
        }
    }

    /// Whether it means that the upstream failed, so that a stale answer is better (RFC 5861 section
    /// 4). A rejected key is not: the tenant may have lost its right to the call.
    pub(crate) fn is_upstream_failure(&self) -> bool {
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
            | Self::ListQuery
            | Self::CallIdFormat
            | Self::NoMedia(_)
            | Self::NotReady
            | Self::RangeNotSatisfiable { .. }
            | Self::MediaHostBusy { .. }
            | Self::NotCached
            | Self::Overloaded(_)
            | Self::ShuttingDown
            | Self::WaitEnded
            | Self::UpstreamKeyRejected
            | Self::Internal => false,
        }
    }

    /// `Retry-After` in whole seconds, rounded up and at least 1, if the refusal has one.
    pub(crate) fn retry_after(&self) -> Option<u64> {
        match self {
            Self::TenantLimit { retry_after }
            | Self::UpstreamBudget { retry_after }
            | Self::UpstreamPaused { retry_after }
            | Self::UpstreamUnavailable { retry_after }
            | Self::MediaHostBusy { retry_after: Some(retry_after) }
            | Self::UpstreamStatus { retry_after: Some(retry_after), .. } => {
                let begun = u64::from(retry_after.subsec_nanos() > 0);
                Some(retry_after.as_secs().saturating_add(begun).max(1))
            }
            Self::Overloaded(_) | Self::ShuttingDown | Self::WaitEnded => Some(1),
            Self::NotReady => Some(NOT_READY_SECONDS),
            Self::Framing(_)
            | Self::Expectation
            | Self::Unauthorized
            | Self::NoRoute
            | Self::Method
            | Self::Query
            | Self::ListQuery
            | Self::CallIdFormat
            | Self::NoMedia(_)
            | Self::RangeNotSatisfiable { .. }
            | Self::MediaHostBusy { retry_after: None }
            | Self::NotCached
            | Self::UpstreamStatus { retry_after: None, .. }
            | Self::UpstreamTimeout
            | Self::UpstreamFailed
            | Self::UpstreamKeyRejected
            | Self::Internal => None,
        }
    }
}

/// Whether the status is conclusive whatever the body: the key is rejected, or the call doesn't exist or isn't
/// visible.
pub(crate) const fn is_conclusive(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::GONE
    )
}

/// Whether an upstream status means that the upstream failed: 5xx and 429.
pub(crate) fn is_failure(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

#[cfg(test)]
impl Refusal {
    /// One of each; the exhaustive match in [`Self::place`] makes sure that a new one is added.
    pub(crate) fn one_of_each() -> Vec<Self> {
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
            Self::Overloaded(Overload::MaxWaiting),
            Self::ShuttingDown,
            Self::UpstreamTimeout,
            Self::UpstreamFailed,
            Self::UpstreamKeyRejected,
            Self::Internal,
            Self::WaitEnded,
            Self::ListQuery,
            Self::NoMedia(MediaKind::Recording),
            Self::NotReady,
            Self::RangeNotSatisfiable { complete: Some(7) },
            Self::MediaHostBusy { retry_after: Some(retry_after) },
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
            Self::Overloaded(_) => 13,
            Self::ShuttingDown => 14,
            Self::UpstreamTimeout => 15,
            Self::UpstreamFailed => 16,
            Self::UpstreamKeyRejected => 17,
            Self::Internal => 18,
            Self::WaitEnded => 19,
            Self::ListQuery => 20,
            Self::NoMedia(_) => 21,
            Self::NotReady => 22,
            Self::RangeNotSatisfiable { .. } => 23,
            Self::MediaHostBusy { .. } => 24,
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
    fn the_page_of_operations_lists_every_detail() {
        let row =
            include_str!("../../docs/operations.md").lines().find(|line| line.starts_with("| `detail` |"));
        let (_, list) = row.and_then(|row| row.split_once("a refusal ")).expect("the list");
        let listed: Vec<_> = list.split('`').skip(1).step_by(2).collect();
        let nested = [Refusal::Framing(Framing::Fragment), Refusal::Framing(Framing::Body)];
        let overloads = [Overload::MaxInFlight, Overload::MediaStreams].map(Refusal::Overloaded);
        let nested = nested.into_iter().chain(overloads);
        let details: Vec<_> =
            Refusal::one_of_each().iter().chain(&nested.collect::<Vec<_>>()).map(Refusal::detail).collect();
        for detail in &details {
            assert!(listed.contains(detail), "docs/operations.md does not list {detail}");
        }
        assert!(listed.iter().all(|word| details.contains(word)), "{listed:?}");
    }

    #[test]
    fn the_page_of_errors_lists_every_refusal() {
        for refusal in
            Refusal::one_of_each().into_iter().chain([Framing::Fragment, Framing::Body].map(Refusal::Framing))
        {
            let row = format!("| {} | `{}` |", refusal.status().as_u16(), refusal.code());
            assert!(include_str!("../../docs/errors.md").contains(&row), "docs/errors.md has no row {row}");
        }
    }
}
