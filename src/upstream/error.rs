//! Why a fetch has no response, and what that means for the client, the cache, the breaker and the metrics.

use std::fmt;
use std::time::Duration;

use http::StatusCode;

use super::breaker::HealthSignal;
use crate::domain::{ForwardOutcome, NotStored, Refusal};
use crate::telemetry::UpstreamFailure;

/// Why an exchange yielded no complete response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExchangeError {
    /// No connection: refused, unreachable, unknown host, untrusted certificate.
    Connect,
    /// No connection in time.
    ConnectTimeout,
    /// No head, or no end of the body, in time.
    Timeout,
    /// A reused connection ended before any byte of the response: the upstream closed it as idle at the moment of its
    /// reuse.
    Closed,
    /// The connection ended, or the stream was refused or reset, before any byte of this response.
    Reset,
    /// The connection ended within the response's head.
    ResetInHead,
    /// The connection ended within the body.
    Truncated(StatusCode),
    /// The body is larger than `max_response_bytes`.
    Oversized(StatusCode),
    /// More interim (1xx) responses than one exchange may have.
    InterimFlood,
    /// More header fields than a response may have.
    TooManyFields,
    /// Not HTTP, or HTTP that parsers may interpret differently.
    Invalid,
}

/// The log message about a failed exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Complaint {
    /// None: the connection or the breaker logs it.
    None,
    /// No complete response arrived.
    Interrupted(&'static str),
    /// The response is unusable.
    Unusable(&'static str),
    /// The response is about another call.
    MixUp,
}

impl ExchangeError {
    /// How it is counted.
    pub(crate) const fn label(self) -> UpstreamFailure {
        match self {
            Self::Connect => UpstreamFailure::Connect,
            Self::ConnectTimeout | Self::Timeout => UpstreamFailure::Timeout,
            Self::Closed | Self::Reset | Self::ResetInHead | Self::Truncated(_) => UpstreamFailure::Reset,
            Self::Oversized(_) | Self::InterimFlood | Self::TooManyFields | Self::Invalid => {
                UpstreamFailure::Invalid
            }
        }
    }

    /// The log message about it.
    pub(crate) const fn complaint(self) -> Complaint {
        match self {
            Self::Connect => Complaint::None,
            Self::ConnectTimeout => Complaint::Interrupted("no connection within upstream.connect_timeout"),
            Self::Timeout => Complaint::Interrupted("no whole response in time"),
            Self::Closed | Self::Reset => {
                Complaint::Interrupted("the connection was closed before the response began")
            }
            Self::ResetInHead => {
                Complaint::Interrupted("the connection was closed within the response's head")
            }
            Self::Truncated(_) => {
                Complaint::Interrupted("the connection was closed within the response's body")
            }
            Self::Oversized(_) => Complaint::Unusable("its body is larger than upstream.max_response_bytes"),
            Self::InterimFlood => Complaint::Unusable("more than 16 interim (1xx) responses came before it"),
            Self::TooManyFields => {
                Complaint::Unusable("it has more than 256 header fields, or a head of more than 64 KiB")
            }
            Self::Invalid => {
                Complaint::Unusable("it is not HTTP, or its end is ambiguous (lengths and transfer codings)")
            }
        }
    }

    const fn health(self) -> HealthSignal {
        match self {
            Self::Oversized(_) | Self::InterimFlood | Self::TooManyFields | Self::Invalid => {
                HealthSignal::Good
            }
            Self::Connect
            | Self::ConnectTimeout
            | Self::Timeout
            | Self::Closed
            | Self::Reset
            | Self::ResetInHead
            | Self::Truncated(_) => HealthSignal::Bad,
        }
    }
}

/// Why a fetch has no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FetchError {
    Exchange(ExchangeError),
    /// No connection became free in time.
    NoConnection,
    /// The breaker is open.
    Unavailable {
        /// When a probe may pass.
        retry_after: Duration,
    },
    /// The pause that the upstream's `Retry-After` asked for hasn't ended.
    Paused {
        retry_after: Duration,
    },
    /// The tenant's budget is used up, or scarce and this is a renewal.
    Budget {
        retry_after: Duration,
    },
    /// No request could be built: a bug.
    Unbuildable,
}

impl FetchError {
    /// The refusal that clients get.
    pub(crate) const fn refusal(&self) -> Refusal {
        match *self {
            Self::Exchange(ExchangeError::Timeout | ExchangeError::ConnectTimeout) | Self::NoConnection => {
                Refusal::UpstreamTimeout
            }
            Self::Exchange(
                ExchangeError::Connect
                | ExchangeError::Closed
                | ExchangeError::Reset
                | ExchangeError::ResetInHead
                | ExchangeError::Truncated(_)
                | ExchangeError::Oversized(_)
                | ExchangeError::InterimFlood
                | ExchangeError::TooManyFields
                | ExchangeError::Invalid,
            ) => Refusal::UpstreamFailed,
            Self::Unavailable { retry_after } => Refusal::UpstreamUnavailable { retry_after },
            Self::Paused { retry_after } => Refusal::UpstreamPaused { retry_after },
            Self::Budget { retry_after } => Refusal::UpstreamBudget { retry_after },
            Self::Unbuildable => Refusal::Internal,
        }
    }

    /// The outcome of the forwarded lookup.
    pub(crate) const fn outcome(&self) -> ForwardOutcome {
        match *self {
            Self::Exchange(ExchangeError::Truncated(status)) => {
                ForwardOutcome::NotStored { status: status.as_u16(), why: NotStored::InvalidBody }
            }
            Self::Exchange(ExchangeError::Oversized(status)) => {
                ForwardOutcome::NotStored { status: status.as_u16(), why: NotStored::TooLarge }
            }
            Self::Exchange(_)
            | Self::NoConnection
            | Self::Unavailable { .. }
            | Self::Paused { .. }
            | Self::Budget { .. }
            | Self::Unbuildable => ForwardOutcome::NoResponse,
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum RequestEnd {
    Answered(StatusCode),
    Failed(ExchangeError),
}

impl RequestEnd {
    /// The indication of the upstream's health.
    pub(crate) fn health(self) -> HealthSignal {
        match self {
            Self::Answered(status) if status.is_server_error() => HealthSignal::Bad,
            Self::Answered(_) => HealthSignal::Good,
            Self::Failed(error) => error.health(),
        }
    }
}

/// As shown in the `code` label.
impl fmt::Display for RequestEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered(status) => f.write_str(status.as_str()),
            Self::Failed(error) => f.write_str(error.label().label()),
        }
    }
}
