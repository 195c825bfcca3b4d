//! Why a fetch has no answer, and what that means to the client, the cache, the breaker and the metrics.

use std::fmt;
use std::time::Duration;

use http::StatusCode;

use super::breaker::Health;
use super::transport::Broken;
use crate::domain::{Landing, NotStored, Refusal};
use crate::telemetry::UpstreamFailure;

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The exchange broke.
    Broken(Broken),
    /// No connection became free in time.
    NoConnection,
    /// The breaker is open.
    Unavailable {
        /// When a probe may pass.
        retry_after: Duration,
    },
    /// The upstream told the tenant to wait.
    Paused {
        /// For how long still.
        retry_after: Duration,
    },
    /// The tenant's budget is spent, or short and this is a renewal.
    Budget {
        /// When there will be some.
        retry_after: Duration,
    },
    /// No request could be built: a bug.
    Unbuildable,
}

impl Failure {
    /// What a client is told.
    pub const fn refusal(&self) -> Refusal {
        match *self {
            Self::Broken(Broken::Timeout | Broken::ConnectTimeout) | Self::NoConnection => {
                Refusal::UpstreamTimeout
            }
            Self::Broken(
                Broken::Connect
                | Broken::Stale
                | Broken::Reset
                | Broken::ResetInHead
                | Broken::Truncated(_)
                | Broken::Oversized(_)
                | Broken::Invalid,
            ) => Refusal::UpstreamFailed,
            Self::Unavailable { retry_after } => Refusal::UpstreamUnavailable { retry_after },
            Self::Paused { retry_after } => Refusal::UpstreamPaused { retry_after },
            Self::Budget { retry_after } => Refusal::UpstreamBudget { retry_after },
            Self::Unbuildable => Refusal::Internal,
        }
    }

    /// What the cache's story says of it.
    pub const fn landing(&self) -> Landing {
        match *self {
            Self::Broken(Broken::Truncated(status)) => {
                Landing::NotStored { status: status.as_u16(), why: NotStored::InvalidBody }
            }
            Self::Broken(Broken::Oversized(status)) => {
                Landing::NotStored { status: status.as_u16(), why: NotStored::TooLarge }
            }
            _ => Landing::NoResponse,
        }
    }

    /// Whether nothing was sent.
    pub const fn is_unsent(&self) -> bool {
        !matches!(self, Self::Broken(_))
    }

    /// What it says about the upstream.
    pub const fn health(&self) -> Health {
        match self {
            Self::Broken(Broken::Oversized(_) | Broken::Invalid) => Health::Good,
            Self::Broken(
                Broken::Connect
                | Broken::ConnectTimeout
                | Broken::Timeout
                | Broken::Stale
                | Broken::Reset
                | Broken::ResetInHead
                | Broken::Truncated(_),
            ) => Health::Bad,
            Self::NoConnection
            | Self::Unavailable { .. }
            | Self::Paused { .. }
            | Self::Budget { .. }
            | Self::Unbuildable => Health::Unknown,
        }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy)]
pub enum Ending {
    /// With an answer.
    Answered(StatusCode),
    /// Without.
    Failed(Failure),
}

impl Ending {
    /// What it says about the upstream.
    pub fn health(self) -> Health {
        match self {
            Self::Answered(status) if status.is_server_error() => Health::Bad,
            Self::Answered(_) => Health::Good,
            Self::Failed(failure) => failure.health(),
        }
    }
}

/// As the `code` label has it.
impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered(status) => f.write_str(status.as_str()),
            Self::Failed(Failure::Broken(broken)) => f.write_str(label(*broken).label()),
            Self::Failed(_) => f.write_str("unsent"),
        }
    }
}

/// What a broken exchange is counted as.
pub const fn label(broken: Broken) -> UpstreamFailure {
    match broken {
        Broken::Connect => UpstreamFailure::Connect,
        Broken::ConnectTimeout | Broken::Timeout => UpstreamFailure::Timeout,
        Broken::Stale | Broken::Reset | Broken::ResetInHead | Broken::Truncated(_) => UpstreamFailure::Reset,
        Broken::Oversized(_) | Broken::Invalid => UpstreamFailure::Invalid,
    }
}
