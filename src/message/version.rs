//! The protocol versions that connections use.

/// The two protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HttpVersion {
    /// HTTP/1.1 or 1.0: one request at a time.
    Http1,
    /// HTTP/2: many requests at once.
    Http2,
}
