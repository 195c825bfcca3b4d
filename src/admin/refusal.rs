//! Everything that the admin plane refuses or fails with, and its words.

use http::header::{ALLOW, CONNECTION, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};

/// Why a request gets an envelope instead of what it asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It has a body. Nothing here takes one, and one that is not read must not become the next request.
    Body,
    /// No token, or a wrong one.
    Unauthorized,
    /// A page of another site sent it.
    OtherSite,
    /// There is no token, and the listener can be reached from elsewhere.
    NotLocal,
    /// It names what is not there.
    NotFound(Absent),
    /// There is such a path, but not for this method; these are.
    Method(&'static str),
    /// The request was meant for another name.
    Misdirected,
    /// The configuration that was to be loaded is not valid.
    InvalidConfig,
    /// A bug.
    Internal,
}

/// What is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// The path.
    Route,
    /// The tenant.
    Tenant,
    /// The entry.
    Entry,
}

impl Refused {
    /// One of each.
    #[cfg(test)]
    pub const ALL: [Self; 11] = [
        Self::Body,
        Self::Unauthorized,
        Self::OtherSite,
        Self::NotLocal,
        Self::NotFound(Absent::Route),
        Self::NotFound(Absent::Tenant),
        Self::NotFound(Absent::Entry),
        Self::Method(""),
        Self::Misdirected,
        Self::InvalidConfig,
        Self::Internal,
    ];

    /// The status of the answer.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Body => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::OtherSite | Self::NotLocal => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::InvalidConfig => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The envelope's `error.code`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Body => "INVALID_REQUEST",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::OtherSite | Self::NotLocal => "FORBIDDEN",
            Self::NotFound(_) => "NOT_FOUND",
            Self::Method(_) => "METHOD_NOT_ALLOWED",
            Self::Misdirected => "MISDIRECTED",
            Self::InvalidConfig => "INVALID_CONFIG",
            Self::Internal => "INTERNAL",
        }
    }

    /// The envelope's `error.message`.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Body => "Requests to this listener have no body",
            Self::Unauthorized => "Invalid or missing admin token",
            Self::OtherSite => "Requests from other sites are refused",
            Self::NotLocal => "Without admin.token, the admin API answers only on loopback and Unix sockets",
            Self::NotFound(Absent::Route) => "No such route",
            Self::NotFound(Absent::Tenant) => "No tenant of this name is configured",
            Self::NotFound(Absent::Entry) => "No entry is stored for this call of this tenant",
            Self::Method(_) => "Method not allowed",
            Self::Misdirected => "This Host is not served here; add it to admin.hosts if it should be",
            Self::InvalidConfig => "The configuration was not reloaded; the running one stays",
            Self::Internal => "Internal error",
        }
    }

    /// The header that goes with it, if one does.
    pub const fn header(self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            // What follows on the connection might be the body: it is not read as a request.
            Self::Body => Some((CONNECTION, HeaderValue::from_static("close"))),
            Self::Unauthorized => Some((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            Self::Method(allowed) => Some((ALLOW, HeaderValue::from_static(allowed))),
            Self::OtherSite
            | Self::NotLocal
            | Self::NotFound(_)
            | Self::Misdirected
            | Self::InvalidConfig
            | Self::Internal => None,
        }
    }
}
