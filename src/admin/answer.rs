//! Responses of the admin plane.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

/// A response with a complete body.
pub(crate) type AdminResponse = Response<Full<Bytes>>;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A response of any content type.
pub(crate) fn typed(status: StatusCode, content_type: HeaderValue, body: Bytes) -> AdminResponse {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub(crate) fn text(status: StatusCode, body: impl Into<Bytes>) -> AdminResponse {
    typed(status, TEXT, body.into())
}

pub(crate) fn metrics(body: Vec<u8>) -> AdminResponse {
    typed(StatusCode::OK, METRICS, body.into())
}

/// A value as indented JSON.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> AdminResponse {
    // Strings and numbers under string keys always serialise.
    let mut text = serde_json::to_vec_pretty(value).unwrap_or_default();
    text.push(b'\n');
    typed(status, JSON, text.into())
}

/// JSON text, unchanged.
pub(crate) fn json_text(status: StatusCode, body: impl Into<Bytes>) -> AdminResponse {
    typed(status, JSON, body.into())
}

/// The response to `HEAD`: the head alone, with the length of the body.
pub(crate) fn head_of(mut answer: AdminResponse) -> AdminResponse {
    let length = http_body::Body::size_hint(answer.body()).exact().unwrap_or(0);
    answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    *answer.body_mut() = Full::default();
    answer
}
