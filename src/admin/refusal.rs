//! The refusals of the admin plane, with their status, code and message.

use http::header::{ALLOW, CONNECTION, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};

use crate::domain::ErrorCode;

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It has a body. No route accepts one, and an unread body must not be parsed as the next request.
    Body,
    /// Its target has a `#`, which other parsers cut off, or a needless `%`.
    Target,
    /// It is a mutation with a query. The scope of a mutation is its path alone.
    Query,
    /// Its query names other fields of a lookup than may be given, or can't be decoded.
    LookupFields,
    /// Its path has a malformed call ID.
    CallId,
    /// No token, or a wrong one.
    Unauthorized,
    /// A page of another site sent it.
    OtherSite,
    /// No token is configured, and other machines can reach the listener.
    NotLocal,
    /// Its token permits nothing but refreshing.
    RefreshOnly,
    /// It names something that does not exist.
    NotFound(Absent),
    /// The path supports other methods, listed here.
    Method(&'static str),
    /// Its `Host` is not served here.
    Misdirected,
    /// The new configuration is invalid.
    InvalidConfig,
    /// The purge is done in memory here, and not on every disk or gateway.
    PurgeIncomplete,
    /// The engine of the shared level can't be reached.
    Unavailable,
    /// A bug.
    Internal,
}

/// The kind of object that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Absent {
    Route,
    Tenant,
    Entry,
    Member,
}

impl Refused {
    #[cfg(test)]
    pub(crate) const ALL: [Self; 19] = [
        Self::Body,
        Self::Target,
        Self::Query,
        Self::LookupFields,
        Self::CallId,
        Self::Unauthorized,
        Self::OtherSite,
        Self::NotLocal,
        Self::RefreshOnly,
        Self::NotFound(Absent::Route),
        Self::NotFound(Absent::Tenant),
        Self::NotFound(Absent::Entry),
        Self::NotFound(Absent::Member),
        Self::Method(""),
        Self::Misdirected,
        Self::InvalidConfig,
        Self::PurgeIncomplete,
        Self::Unavailable,
        Self::Internal,
    ];

    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::Body | Self::Target | Self::Query | Self::LookupFields | Self::CallId => {
                StatusCode::BAD_REQUEST
            }
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::OtherSite | Self::NotLocal | Self::RefreshOnly => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::InvalidConfig => StatusCode::UNPROCESSABLE_ENTITY,
            Self::PurgeIncomplete | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The envelope's `error.code`.
    pub(crate) const fn code(self) -> &'static str {
        self.error_code().label()
    }

    /// The code, from the closed list.
    pub(crate) const fn error_code(self) -> ErrorCode {
        match self {
            Self::Body | Self::Target | Self::Query | Self::LookupFields | Self::CallId => {
                ErrorCode::InvalidRequest
            }
            Self::Unauthorized => ErrorCode::Unauthorized,
            Self::OtherSite | Self::NotLocal | Self::RefreshOnly => ErrorCode::Forbidden,
            Self::NotFound(_) => ErrorCode::NotFound,
            Self::Method(_) => ErrorCode::MethodNotAllowed,
            Self::Misdirected => ErrorCode::Misdirected,
            Self::InvalidConfig => ErrorCode::InvalidConfig,
            Self::PurgeIncomplete | Self::Unavailable => ErrorCode::PurgeIncomplete,
            Self::Internal => ErrorCode::Internal,
        }
    }

    /// The envelope's `error.message`.
    pub(crate) const fn message(self) -> &'static str {
        match self {
            Self::Body => "Requests to this listener have no body",
            Self::Target => "The request target has a fragment or a needless percent-encoding",
            Self::Query => "This request takes no query: its scope is its path",
            Self::LookupFields => "The query takes cache-control and prefer, each at most once",
            Self::CallId => "Invalid call ID format",
            Self::Unauthorized => "Invalid or missing admin token",
            Self::OtherSite => "Requests from other sites are refused",
            Self::NotLocal => "Without admin.token, the admin API answers only on loopback and Unix sockets",
            Self::RefreshOnly => "This token may do nothing but refresh calls",
            Self::NotFound(Absent::Route) => "No such route",
            Self::NotFound(Absent::Tenant) => "No tenant of this name is configured",
            Self::NotFound(Absent::Member) => "The fleet has no gateway of this name",
            Self::NotFound(Absent::Entry) => "No entry is stored for this call of this tenant",
            Self::Method(_) => "Method not allowed",
            Self::Misdirected => "This Host is not served here; add it to admin.hosts if it should be",
            Self::InvalidConfig => "Reload rejected; still running the previous configuration",
            Self::PurgeIncomplete => {
                "Nothing older is served here any more, but a disk was not erased, or a gateway of the fleet has not applied \
                 it yet: repeat the purge"
            }
            Self::Unavailable => "The engine of the shared level does not answer",
            Self::Internal => "Internal error",
        }
    }

    /// Its additional header, if it has one.
    pub(crate) const fn header(self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            // The next bytes of the connection may be the body.
            Self::Body | Self::Target => Some((CONNECTION, HeaderValue::from_static("close"))),
            Self::Unauthorized => Some((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            Self::Method(allowed) => Some((ALLOW, HeaderValue::from_static(allowed))),
            Self::Query
            | Self::LookupFields
            | Self::CallId
            | Self::OtherSite
            | Self::NotLocal
            | Self::RefreshOnly
            | Self::NotFound(_)
            | Self::Misdirected
            | Self::InvalidConfig
            | Self::PurgeIncomplete
            | Self::Unavailable
            | Self::Internal => None,
        }
    }
}
