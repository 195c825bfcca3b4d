//! The request for a call: a pure function of the tenant's configuration, the call's ID and the
//! validators that the upstream itself gave. Nothing else of what a client sent is in it, but for the
//! request ID and the trace.

use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, IF_MODIFIED_SINCE, IF_NONE_MATCH, USER_AGENT, VIA,
};
use http::{HeaderValue, Request};

use crate::cache::{OUR_VIA, Validators, X_REQUEST_ID};
use crate::config::{BaseUrl, UpstreamKey};
use crate::domain::{CallId, RequestId};
use crate::telemetry::TraceContext;

/// What is asked.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The call.
    pub id: CallId,
    /// What is stored of it already.
    pub validators: Validators,
    /// The ID of the request that caused this.
    pub request_id: RequestId,
    /// Its trace.
    pub trace: Option<TraceContext>,
}

/// Our name and version.
const OUR_USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("credira-gateway/", env!("CARGO_PKG_VERSION")));
/// Bodies are passed byte for byte, so they must come as they are.
const IDENTITY: HeaderValue = HeaderValue::from_static("identity");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Builds the request with a tenant's key. `None` if the URL can't be built, which a checked
/// configuration and a parsed ID rule out.
pub fn build(ask: &Ask, base: &BaseUrl, key: &UpstreamKey) -> Option<Request<()>> {
    let mut request = Request::new(());
    *request.uri_mut() = base.call(&ask.id)?;
    let headers = request.headers_mut();
    headers.insert(ACCEPT, JSON);
    headers.insert(ACCEPT_ENCODING, IDENTITY);
    headers.insert(USER_AGENT, OUR_USER_AGENT);
    headers.insert(VIA, OUR_VIA);
    headers.insert(X_REQUEST_ID, ask.request_id.header_value());
    if let Some(trace) = &ask.trace {
        trace.write(headers);
    }
    if let Some(etag) = &ask.validators.etag {
        headers.insert(IF_NONE_MATCH, etag.clone());
    }
    if let Some(date) = &ask.validators.last_modified {
        headers.insert(IF_MODIFIED_SINCE, date.clone());
    }
    headers.insert(AUTHORIZATION, key.authorization());
    Some(request)
}
