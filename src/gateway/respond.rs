//! Writing an answer: the reply or the refusal's envelope, with what differs from request to request.

use std::sync::Arc;

use bytes::{BufMut, Bytes};
use http::header::{
    AGE, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE, DATE, ETAG,
    EXPIRES, RETRY_AFTER, VARY, VIA, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};

use super::body::AnswerBody;
use crate::cache::{CACHE_STATUS, Conditions, Entry, OUR_VARY, OUR_VIA, Reply, X_REQUEST_ID};
use crate::clock::WallClock;
use crate::config::RateLimitHeaders;
use crate::domain::{Refusal, Story, error_envelope, header_value, put_decimal};
use crate::telemetry::Record;
use crate::tenant::LimitState;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Fields for which an answer's map has room: more than any answer has, since a map that is nearly full
/// takes a tenth longer to fill.
const ROOM: usize = 20;

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
pub enum Found {
    /// What is stored, or has just come.
    Entry {
        /// The entry.
        entry: Arc<Entry>,
        /// Its age in seconds, if it came from the cache.
        age: Option<u64>,
    },
    /// What is not stored.
    Reply(Box<Reply>),
}

impl Found {
    fn reply(&self) -> (&Reply, Option<u64>) {
        match self {
            Self::Entry { entry, age } => (&entry.reply, *age),
            Self::Reply(reply) => (reply, None),
        }
    }
}

impl Answer {
    /// A refusal from before the tenant's limit.
    pub const fn refused(refusal: Refusal) -> Self {
        Self { found: Err(refusal), limit: None }
    }
}

/// What the writing of an answer needs to know of the request.
pub struct Asker {
    method: Method,
    version: Version,
    conditions: Option<Conditions>,
    /// The request's own map, emptied: the answer's fields find their room in it.
    headers: HeaderMap,
}

impl Asker {
    /// Who sent this request.
    pub fn of<B>(request: Request<B>, has_conditions: bool) -> Self {
        let (head, _) = request.into_parts();
        let mut headers = head.headers;
        let conditions = if has_conditions { Conditions::read(&headers) } else { None };
        headers.clear();
        Self { method: head.method, version: head.version, conditions, headers }
    }

    /// Writes the answer, and gives its record over to its body. Nothing is left of what it was written
    /// from; all of that is lent only because it is large.
    pub fn write(
        &mut self,
        answer: &mut Answer,
        record: &mut Record,
        wall: &WallClock,
    ) -> Response<AnswerBody> {
        self.headers.reserve(ROOM);
        let refused = answer.found.as_ref().err().copied();
        let (status, body) = match &answer.found {
            Ok(found) => self.found(found),
            Err(refusal) => self.envelope(*refusal, record, wall),
        };
        let mut headers = std::mem::take(&mut self.headers);
        if let Some(story) = &record.story {
            tell_story(story, &mut headers);
        }
        if let Some(limit) = answer.limit.take() {
            tell_limit(limit, refused, &mut headers);
        }
        let body = if self.method == Method::HEAD && status != StatusCode::NOT_MODIFIED {
            // What a GET would have (RFC 9110 section 9.3.2).
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
            Bytes::new()
        } else {
            body
        };
        let (id, closing) = record.answered(status, refused);
        headers.insert(X_REQUEST_ID, id);
        let mut response = Response::new(AnswerBody::new(body, closing));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }

    fn found(&mut self, found: &Found) -> (StatusCode, Bytes) {
        let (reply, age) = found.reply();
        reply.write_fields(&mut self.headers);
        if let Some(age) = age.and_then(|age| header_value(|out| put_decimal(out, age))) {
            self.headers.insert(AGE, age);
        }
        let known = reply.status() == StatusCode::OK
            && self.conditions.as_ref().is_some_and(|conditions| conditions.are_met(reply.validators()));
        if known {
            let dropped: Vec<_> =
                self.headers.keys().filter(|name| !IN_304.contains(name) && **name != AGE).cloned().collect();
            for name in dropped {
                self.headers.remove(name);
            }
            return (StatusCode::NOT_MODIFIED, Bytes::new());
        }
        (reply.status(), reply.body())
    }

    /// The upstream's own envelope around a refusal.
    fn envelope(&mut self, refusal: Refusal, record: &Record, wall: &WallClock) -> (StatusCode, Bytes) {
        let must_close = self.must_close(refusal);
        let headers = &mut self.headers;
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
        if must_close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let body = error_envelope(refusal.code(), refusal.message(), wall.now(), record.id.as_str());
        (refusal.status(), body)
    }

    /// Whether what follows on the connection can't be trusted to be the next request.
    fn must_close(&self, refusal: Refusal) -> bool {
        let ambiguous = matches!(refusal, Refusal::Framing(_));
        (ambiguous || self.method == Method::CONNECT) && self.version < Version::HTTP_2
    }
}

/// Our member of `Cache-Status`, after those of the caches behind us.
fn tell_story(story: &Story, headers: &mut HeaderMap) {
    let Some(ours) = header_value(|out| story.write_cache_status(out)) else { return };
    let Some(theirs) = headers.insert(CACHE_STATUS, ours) else { return };
    // Seldom: there was a line of theirs, before which ours took its place.
    if let Some(ours) = headers.get_mut(CACHE_STATUS) {
        let list = [theirs.as_bytes(), b", ", ours.as_bytes()].concat();
        // Joined from header values, so it is one.
        if let Ok(list) = HeaderValue::try_from(list) {
            *ours = list;
        }
    }
}

/// `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers).
fn tell_limit(limit: LimitToTell, refused: Option<Refusal>, headers: &mut HeaderMap) {
    let told = match limit.when {
        RateLimitHeaders::Always => true,
        RateLimitHeaders::OnRefusal => matches!(refused, Some(Refusal::TenantLimit { .. })),
        RateLimitHeaders::Off => false,
    };
    if !told {
        return;
    }
    let LimitState { policy, left } = limit.state;
    headers.insert(RATE_LIMIT_POLICY, policy);
    let value = header_value(|out| {
        out.put_slice(b"\"tenant\";r=");
        put_decimal(out, left.remaining);
        out.put_slice(b";t=");
        put_decimal(out, left.full_in_seconds);
    });
    if let Some(value) = value {
        headers.insert(RATE_LIMIT, value);
    }
}
