//! The upstream request: a pure function of the tenant's configuration, the URL built from a parsed ID, and the
//! upstream's own validators. The request ID and the trace context are the only parts that a client sent.

use std::fmt;

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, IF_MODIFIED_SINCE, IF_NONE_MATCH, USER_AGENT, VIA,
};
use http::{HeaderName, HeaderValue, Method, Request, Uri};

use super::plan::Repeats;
use crate::config::UpstreamKey;
use crate::domain::RequestId;
use crate::message::{OUR_VIA, Validators, X_REQUEST_ID};
use crate::telemetry::TraceContext;

/// The content of an upstream request.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    /// Below the tenant's `base_url`. `None` if it can't be built, which a checked configuration and a parsed ID rule
    /// out.
    pub(crate) url: Option<Uri>,
    /// Those of the stored response.
    pub(crate) validators: Validators,
    /// The ID of the request that caused this one.
    pub(crate) request_id: RequestId,
    pub(crate) trace: Option<TraceContext>,
    /// Method and content of a passed-through request; `None` for a plain `GET`.
    pub(crate) passed: Option<Box<PassedThrough>>,
}

/// The parts of a client's own request that are passed through.
#[derive(Clone)]
pub(crate) struct PassedThrough {
    pub(crate) method: Method,
    pub(crate) body: Bytes,
    /// Whether the client declared its body to be JSON.
    pub(crate) content: Content,
    /// The validated `Idempotency-Key`.
    pub(crate) idempotency_key: Option<HeaderValue>,
}

/// The declared type of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    Json,
    Unsaid,
}

/// Shows nothing of the body: it is personal data.
impl fmt::Debug for PassedThrough {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PassedThrough({}, {} bytes)", self.method, self.body.len())
    }
}

/// `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header).
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

impl Ask {
    /// Whether the request may be repeated if the upstream may have processed it.
    pub(crate) fn repeats(&self) -> Repeats {
        match &self.passed {
            Some(passed) if !passed.method.is_safe() => Repeats::Never,
            Some(_) | None => Repeats::Allowed,
        }
    }
}

/// Our name and version.
pub(super) const OUR_USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("credira-gateway/", env!("CARGO_PKG_VERSION")));
/// Bodies are passed byte for byte, so they must not be encoded.
pub(super) const IDENTITY: HeaderValue = HeaderValue::from_static("identity");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Builds the request with a tenant's key, which is added last.
pub(crate) fn build(ask: &Ask, validators: &Validators, key: &UpstreamKey) -> Option<Request<Bytes>> {
    let mut request = Request::new(Bytes::new());
    *request.uri_mut() = ask.url.clone()?;
    let headers = request.headers_mut();
    headers.insert(ACCEPT, JSON);
    headers.insert(ACCEPT_ENCODING, IDENTITY);
    headers.insert(USER_AGENT, OUR_USER_AGENT);
    headers.insert(VIA, OUR_VIA);
    headers.insert(X_REQUEST_ID, ask.request_id.header_value());
    if let Some(trace) = &ask.trace {
        trace.write(headers);
    }
    if let Some(etag) = &validators.etag {
        headers.insert(IF_NONE_MATCH, etag.clone());
    }
    if let Some(date) = &validators.last_modified {
        headers.insert(IF_MODIFIED_SINCE, date.clone());
    }
    if let Some(passed) = &ask.passed {
        if passed.content == Content::Json {
            headers.insert(CONTENT_TYPE, JSON);
        }
        if let Some(key) = &passed.idempotency_key {
            headers.insert(IDEMPOTENCY_KEY, key.clone());
        }
    }
    headers.insert(AUTHORIZATION, key.authorization());
    if let Some(passed) = &ask.passed {
        // A `HEAD` is answered from the response to a `GET`.
        let is_head = passed.method == Method::HEAD;
        *request.method_mut() = if is_head { Method::GET } else { passed.method.clone() };
        *request.body_mut() = passed.body.clone();
    }
    Some(request)
}
