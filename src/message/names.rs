//! Header names that crate `http` lacks, and values that never change.

use http::{HeaderName, HeaderValue};

/// `Cache-Status` (RFC 9211).
pub(crate) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Our member of `Via`.
pub(crate) const OUR_VIA: HeaderValue = HeaderValue::from_static("1.1 credira-gateway");
/// Our member of `Vary`: responses differ by tenant.
pub(crate) const OUR_VARY: HeaderValue = HeaderValue::from_static("Authorization");
/// The `Cache-Control` of a response for which the upstream gives none: bodies are personal data.
pub(crate) const OUR_CACHE_CONTROL: HeaderValue = HeaderValue::from_static("private, no-cache");
