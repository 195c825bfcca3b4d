//! Writing an answer: the reply or the refusal's envelope, with what differs from request to request.

use bytes::Bytes;
use http::header::{
    AGE, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE, DATE, ETAG,
    EXPIRES, RETRY_AFTER, VARY, VIA, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};

use super::body::AnswerBody;
use crate::cache::{CACHE_STATUS, Conditions, OUR_VARY, OUR_VIA, Reply, X_REQUEST_ID};
use crate::clock::WallClock;
use crate::config::RateLimitHeaders;
use crate::domain::{Refusal, Story, error_envelope};
use crate::telemetry::Record;
use crate::tenant::LimitState;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// What a 304 carries of the reply it stands for (RFC 9110 section 15.4.5).
const IN_304: [HeaderName; 9] =
    [CACHE_CONTROL, CONTENT_LOCATION, DATE, ETAG, EXPIRES, VARY, VIA, CACHE_STATUS, X_REQUEST_ID];

/// The answer to a request, before it is written.
pub struct Answer {
    /// What was found, or why nothing was.
    pub found: Result<Found, Refusal>,
    /// The tenant's limit, once it was charged.
    pub limit: Option<LimitToTell>,
}

/// The tenant's limit, and when clients are told of it.
pub struct LimitToTell {
    /// Its state.
    pub state: LimitState,
    /// When it is told.
    pub when: RateLimitHeaders,
}

/// A reply to pass on.
pub struct Found {
    /// The reply.
    pub reply: Reply,
    /// Its age in seconds, if it came from the cache.
    pub age: Option<u64>,
}

impl Answer {
    /// A refusal from before the tenant's limit.
    pub const fn refused(refusal: Refusal) -> Self {
        Self { found: Err(refusal), limit: None }
    }
}

/// Writes answers to one request.
pub struct Writer<'a, B> {
    /// The request.
    pub request: &'a Request<B>,
    /// For the dates in envelopes.
    pub wall: &'a WallClock,
}

impl<B> Writer<'_, B> {
    /// Writes the answer and gives it the record to close.
    pub fn write(&self, answer: Answer, mut record: Record) -> Response<AnswerBody> {
        let refused = answer.found.as_ref().err().copied();
        let (status, mut headers, body) = match answer.found {
            Ok(found) => self.found(&found),
            Err(refusal) => self.envelope(refusal, &record),
        };
        headers.insert(X_REQUEST_ID, record.id.header_value());
        if let Some(story) = &record.story {
            tell_story(story, &mut headers);
        }
        if let Some(limit) = answer.limit {
            tell_limit(&limit, refused, &mut headers);
        }
        record.status = status;
        let body = if *self.request.method() == Method::HEAD && status != StatusCode::NOT_MODIFIED {
            // What a GET would have (RFC 9110 section 9.3.2).
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
            Bytes::new()
        } else {
            body
        };
        let mut response = Response::new(AnswerBody::new(body, record));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }

    fn found(&self, found: &Found) -> (StatusCode, HeaderMap, Bytes) {
        let reply = &found.reply;
        let mut headers = HeaderMap::with_capacity(16);
        for (name, value) in reply.fields() {
            headers.append(name, value);
        }
        if let Some(age) = found.age {
            headers.insert(AGE, HeaderValue::from(age));
        }
        let known = reply.status() == StatusCode::OK
            && Conditions::read(self.request.headers())
                .is_some_and(|conditions| reply.with_validators(|validators| conditions.are_met(validators)));
        if known {
            let dropped: Vec<_> =
                headers.keys().filter(|name| !IN_304.contains(name) && **name != AGE).cloned().collect();
            for name in dropped {
                headers.remove(name);
            }
            return (StatusCode::NOT_MODIFIED, headers, Bytes::new());
        }
        (reply.status(), headers, reply.body())
    }

    /// The upstream's own envelope around a refusal.
    fn envelope(&self, refusal: Refusal, record: &Record) -> (StatusCode, HeaderMap, Bytes) {
        let mut headers = HeaderMap::with_capacity(16);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(VIA, OUR_VIA);
        headers.insert(VARY, OUR_VARY);
        if let Some(seconds) = refusal.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if refusal == Refusal::Unauthorized {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if refusal == Refusal::Method {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        if self.must_close(refusal) {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let body = error_envelope(refusal.code(), refusal.message(), self.wall.now(), record.id.as_str());
        (refusal.status(), headers, body)
    }

    /// Whether what follows on the connection can't be trusted to be the next request.
    fn must_close(&self, refusal: Refusal) -> bool {
        let ambiguous = matches!(refusal, Refusal::Framing(_));
        (ambiguous || *self.request.method() == Method::CONNECT) && self.request.version() < Version::HTTP_2
    }
}

/// Our member of `Cache-Status`, after those of the caches behind us.
fn tell_story(story: &Story, headers: &mut HeaderMap) {
    let mut line = String::with_capacity(64);
    for before in headers.get_all(CACHE_STATUS) {
        if let Ok(text) = before.to_str() {
            line.push_str(text);
            line.push_str(", ");
        }
    }
    story.write_cache_status(&mut line);
    // Made of ASCII.
    if let Ok(value) = HeaderValue::try_from(line) {
        headers.insert(CACHE_STATUS, value);
    }
}

/// `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers).
fn tell_limit(limit: &LimitToTell, refused: Option<Refusal>, headers: &mut HeaderMap) {
    let told = match limit.when {
        RateLimitHeaders::Always => true,
        RateLimitHeaders::OnRefusal => matches!(refused, Some(Refusal::TenantLimit { .. })),
        RateLimitHeaders::Off => false,
    };
    if !told {
        return;
    }
    let LimitState { policy, left } = &limit.state;
    headers.insert(RATE_LIMIT_POLICY, policy.clone());
    let mut line = String::with_capacity(40);
    line.push_str("\"tenant\";r=");
    line.push_str(itoa::Buffer::new().format(left.remaining));
    line.push_str(";t=");
    line.push_str(itoa::Buffer::new().format(left.full_in_seconds));
    if let Ok(value) = HeaderValue::try_from(line) {
        headers.insert(RATE_LIMIT, value);
    }
}
