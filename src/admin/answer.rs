//! Answers of the admin plane.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

/// A whole answer.
pub type Answer = Response<Full<Bytes>>;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// An answer with a type of its own.
pub fn typed(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Answer {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Plain text.
pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    typed(status, TEXT, body.into())
}

/// Prometheus' text.
pub fn metrics(body: Vec<u8>) -> Answer {
    typed(StatusCode::OK, METRICS, body.into())
}

/// A value as JSON that people can read.
pub fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    // Strings and numbers under string keys always serialise.
    let mut text = serde_json::to_vec_pretty(value).unwrap_or_default();
    text.push(b'\n');
    typed(status, JSON, text.into())
}

/// JSON that is there already, or is too much to be read by people.
pub fn json_text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    typed(status, JSON, body.into())
}

/// The head of an answer alone, as `HEAD` wants it.
pub fn head_of(mut answer: Answer) -> Answer {
    let length = http_body::Body::size_hint(answer.body()).exact().unwrap_or(0);
    answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    *answer.body_mut() = Full::default();
    answer
}
