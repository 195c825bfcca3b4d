/// The `error.code` of an envelope, on either plane; the `code` label of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ErrorCode {
    Forbidden,
    Internal,
    InvalidConfig,
    InvalidRequest,
    MethodNotAllowed,
    Misdirected,
    NotCached,
    NotFound,
    NotReady,
    Overloaded,
    PurgeIncomplete,
    RangeNotSatisfiable,
    RateLimited,
    ShuttingDown,
    Unauthorized,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnavailable,
}

impl ErrorCode {
    /// Every code.
    pub(crate) const ALL: [Self; 18] = [
        Self::Forbidden,
        Self::Internal,
        Self::InvalidConfig,
        Self::InvalidRequest,
        Self::MethodNotAllowed,
        Self::Misdirected,
        Self::NotCached,
        Self::NotFound,
        Self::NotReady,
        Self::Overloaded,
        Self::PurgeIncomplete,
        Self::RangeNotSatisfiable,
        Self::RateLimited,
        Self::ShuttingDown,
        Self::Unauthorized,
        Self::UpstreamError,
        Self::UpstreamTimeout,
        Self::UpstreamUnavailable,
    ];

    /// As clients and scrapes see it.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Forbidden => "FORBIDDEN",
            Self::Internal => "INTERNAL",
            Self::InvalidConfig => "INVALID_CONFIG",
            Self::InvalidRequest => "INVALID_REQUEST",
            Self::MethodNotAllowed => "METHOD_NOT_ALLOWED",
            Self::Misdirected => "MISDIRECTED",
            Self::NotCached => "NOT_CACHED",
            Self::NotFound => "NOT_FOUND",
            Self::NotReady => "NOT_READY",
            Self::Overloaded => "OVERLOADED",
            Self::PurgeIncomplete => "PURGE_INCOMPLETE",
            Self::RangeNotSatisfiable => "RANGE_NOT_SATISFIABLE",
            Self::RateLimited => "RATE_LIMITED",
            Self::ShuttingDown => "SHUTTING_DOWN",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::UpstreamError => "UPSTREAM_ERROR",
            Self::UpstreamTimeout => "UPSTREAM_TIMEOUT",
            Self::UpstreamUnavailable => "UPSTREAM_UNAVAILABLE",
        }
    }
}
