//! Writes an answer: a response or the refusal's envelope, with the fields that differ between requests.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{
    AGE, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_RANGE, CONTENT_TYPE,
    DATE, ETAG, EXPIRES, LAST_MODIFIED, LINK, RETRY_AFTER, VARY, VIA, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};

use super::body::AnswerBody;
use super::media::answer::{MediaAnswer, MediaContent};
use super::media::stream::MediaStream;
use crate::cache::{Conditions, Entry, Represented};
use crate::clock::WallClock;
use crate::config::RateLimitHeaders;
use crate::domain::{
    ByteSpan, CacheOutcome, ContentRange, HeaderText, MediaKind, Refusal, RouteAccess, RouteLabel,
    put_decimal,
};
use crate::limits::Quota;
use crate::message::{
    CACHE_STATUS, ClientResponse, OUR_VARY, OUR_VIA, PREFERENCE_APPLIED, X_REQUEST_ID, error_envelope,
};
use crate::telemetry::{Record, Sent, WaitRecord};
use crate::tenant::LimitState;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The capacity of an answer's header map: more than any answer needs, because a map that is nearly full takes a
/// tenth longer to fill.
const ROOM: usize = 20;

/// The fields of a 304, taken from the response it stands for (RFC 9110 section 15.4.5).
const IN_304: [HeaderName; 9] =
    [CACHE_CONTROL, CONTENT_LOCATION, DATE, ETAG, EXPIRES, VARY, VIA, CACHE_STATUS, X_REQUEST_ID];

/// The answer to a request, before it is written.
pub(super) struct Answer {
    pub(super) found: Result<Found, Refusal>,
    pub(super) limits: LimitsToShow,
}

/// The limits shown in an answer.
pub(super) struct LimitsToShow {
    /// The tenant's rate limit, once charged.
    pub(super) tenant: Option<LimitState>,
    /// The tenant's upstream budget, if it caused the refusal.
    pub(super) upstream: Option<Box<LimitState>>,
    when: RateLimitHeaders,
}

impl LimitsToShow {
    pub(super) const fn none(when: RateLimitHeaders) -> Self {
        Self { tenant: None, upstream: None, when }
    }
}

/// A response to send.
pub(super) enum Found {
    /// A stored response, or one that has just arrived.
    Entry {
        entry: Arc<Entry>,
        /// In seconds, if it came from the cache.
        age: Option<u64>,
    },
    /// A part of what is stored.
    Part { entry: Arc<Entry>, age: Option<u64>, span: ByteSpan },
    /// A response that is not stored.
    PassThrough(Arc<ClientResponse>),
    /// A list that is reused.
    Again {
        response: Arc<ClientResponse>,
        /// In seconds, in this cache.
        age: u64,
    },
    /// A recording or transcription.
    Media(Box<MediaAnswer>),
}

impl Found {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Media(media) => media.status,
            Self::Part { .. } => StatusCode::PARTIAL_CONTENT,
            Self::Entry { entry, .. } => entry.response.status(),
            Self::PassThrough(response) | Self::Again { response, .. } => response.status,
        }
    }

    pub(super) fn body(&self) -> Bytes {
        match self {
            // It is taken as it is.
            Self::Media(_) => Bytes::new(),
            Self::Part { entry, span, .. } => {
                let whole = entry.response.body();
                let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(whole.len());
                whole.slice(place(span.first)..place(span.last.saturating_add(1)))
            }
            Self::Entry { entry, .. } => entry.response.body(),
            Self::PassThrough(response) | Self::Again { response, .. } => response.body.clone(),
        }
    }

    /// The validators that a client's conditions are evaluated against.
    fn represented(&self) -> Represented<'_> {
        match self {
            // The upstream has judged the client's conditions.
            Self::Media(_) => Represented::default(),
            Self::Entry { entry, .. } | Self::Part { entry, .. } => entry.response.represented(),
            Self::PassThrough(response) | Self::Again { response, .. } => {
                Represented { etag: response.field(&ETAG), last_modified: response.field(&LAST_MODIFIED) }
            }
        }
    }

    fn write_fields(&self, headers: &mut HeaderMap, text: &mut HeaderText) {
        match self {
            Self::Part { entry, age, span } => {
                entry.response.write_fields(headers);
                headers.extend(age.map(|age| (AGE, HeaderValue::from(age))));
                let held = ContentRange { span: *span, complete: Some(entry.response.body().len() as u64) };
                // Digits always make a header value.
                headers.extend(HeaderValue::try_from(held.to_string()).map(|held| (CONTENT_RANGE, held)));
            }
            Self::Entry { entry, age } => {
                entry.response.write_fields(headers);
                if let Some(age) = age.and_then(|age| text.value(|out| put_decimal(out, age))) {
                    headers.insert(AGE, age);
                }
            }
            Self::PassThrough(response) => headers.extend(response.fields.iter().cloned()),
            Self::Media(media) => headers.extend(media.fields.iter().cloned()),
            Self::Again { response, age } => {
                headers.extend(response.fields.iter().cloned());
                let before = headers.get(AGE).and_then(|age| age.to_str().ok()?.parse::<u64>().ok());
                headers.insert(AGE, HeaderValue::from(before.unwrap_or(0).saturating_add(*age)));
            }
        }
    }
}

impl Answer {
    /// A refusal before the tenant's limit was charged.
    pub(super) const fn refused(refusal: Refusal) -> Self {
        Self { found: Err(refusal), limits: LimitsToShow::none(RateLimitHeaders::Off) }
    }
}

/// The body of an answer, before it is one.
enum Outgoing {
    Bytes(Bytes),
    Media(MediaContent),
}

/// The parts of a request that are needed to write its answer.
pub(super) struct ResponseWriter {
    method: Method,
    version: Version,
    conditions: Option<Conditions>,
    body: RequestBodyState,
    /// The request's own map, emptied, whose capacity is reused for the answer.
    headers: HeaderMap,
}

/// Whether the request has a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RequestBodyState {
    None,
    /// There is one that may not have been read in full when the request is refused.
    Unread,
}

impl ResponseWriter {
    /// Takes them from a request.
    pub(super) fn of<B>(request: &mut Request<B>, has_conditions: bool, has_body: bool) -> Self {
        let mut headers = std::mem::take(request.headers_mut());
        let conditions = if has_conditions { Conditions::read(&headers) } else { None };
        headers.clear();
        let body = if has_body { RequestBodyState::Unread } else { RequestBodyState::None };
        Self {
            method: std::mem::take(request.method_mut()),
            version: request.version(),
            conditions,
            body,
            headers,
        }
    }

    /// Writes the answer, and passes its record to its body. Consumes what it writes; it is passed by reference only
    /// because it is large.
    pub(super) fn write(
        &mut self,
        answer: &mut Answer,
        record: &mut Record,
        wall: &WallClock,
    ) -> Response<AnswerBody> {
        self.headers.reserve(ROOM);
        let mut text = HeaderText::borrow();
        let refused = answer.found.as_ref().err().copied();
        let (status, body) = match &mut answer.found {
            Ok(Found::Media(media)) => self.media(media),
            Ok(found) => self.found(found, &mut text),
            Err(refusal) => self.envelope(*refusal, record, wall),
        };
        let mut headers = std::mem::take(&mut self.headers);
        if let Some(outcome) = &record.cache_outcome {
            write_cache_status(outcome, &mut headers, &mut text);
        }
        write_limits(&mut answer.limits, refused, &mut headers, &mut text);
        if record.links != RouteAccess::NONE && status == StatusCode::OK {
            headers.extend(links(record).map(|links| (LINK, links)));
        }
        let (body, stream) = self.body(body, status, &mut headers);
        if let Some(WaitRecord { applied, .. }) = record.wait {
            write_applied_wait(applied, &mut headers, &mut text);
        }
        if record.route == RouteLabel::Transcription && status.is_success() && !body.is_empty() {
            count_transcription(record, &body);
        }
        let sent = if stream.is_some() { Sent::Stream } else { Sent::Bytes(body.len()) };
        let (id, closing) = record.answered(status, refused, sent);
        headers.insert(X_REQUEST_ID, id);
        let mut response = Response::new(match stream {
            None => AnswerBody::new(body, closing),
            Some(stream) => AnswerBody::flowing(stream, closing),
        });
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }

    /// The bytes of the body, or its stream. Writes the length where the HTTP library would not know it.
    fn body(
        &self,
        body: Outgoing,
        status: StatusCode,
        headers: &mut HeaderMap,
    ) -> (Bytes, Option<Box<MediaStream>>) {
        match body {
            // As for a GET (RFC 9110 section 9.3.2); a 204 has none (section 8.6).
            Outgoing::Bytes(body) if self.method == Method::HEAD && status != StatusCode::NOT_MODIFIED => {
                if status != StatusCode::NO_CONTENT {
                    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
                }
                (Bytes::new(), None)
            }
            Outgoing::Bytes(body) => (body, None),
            Outgoing::Media(content) => {
                headers.extend(content.length().map(|length| (CONTENT_LENGTH, HeaderValue::from(length))));
                (Bytes::new(), content.into_stream())
            }
        }
    }

    fn media(&mut self, media: &mut MediaAnswer) -> (StatusCode, Outgoing) {
        self.headers.extend(std::mem::take(&mut media.fields));
        let nothing = MediaContent::Nothing { length: None };
        (media.status, Outgoing::Media(std::mem::replace(&mut media.body, nothing)))
    }

    fn found(&mut self, found: &Found, text: &mut HeaderText) -> (StatusCode, Outgoing) {
        found.write_fields(&mut self.headers, text);
        // A 206 that the upstream sent for a whole call is passed on as it is.
        let is_conditional = matches!(found, Found::Part { .. }) || found.status() == StatusCode::OK;
        let is_known = is_conditional
            && self.conditions.as_ref().is_some_and(|conditions| conditions.are_met(found.represented()));
        if is_known {
            let is_dropped = |name: &&HeaderName| !IN_304.contains(name) && **name != AGE;
            let dropped: Vec<_> = self.headers.keys().filter(is_dropped).cloned().collect();
            for name in dropped {
                self.headers.remove(name);
            }
            return (StatusCode::NOT_MODIFIED, Outgoing::Bytes(Bytes::new()));
        }
        (found.status(), Outgoing::Bytes(found.body()))
    }

    /// The upstream's own envelope around a refusal.
    fn envelope(&mut self, refusal: Refusal, record: &Record, wall: &WallClock) -> (StatusCode, Outgoing) {
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
        if let Refusal::RangeNotSatisfiable { complete: Some(complete) } = refusal {
            // Digits always make a header value.
            headers.extend(
                HeaderValue::try_from(format!("bytes */{complete}")).map(|range| (CONTENT_RANGE, range)),
            );
        }
        if refusal == Refusal::Unauthorized {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if refusal == Refusal::Method {
            let own =
                || HeaderValue::from_static(record.route.spec().map_or("GET, HEAD", |route| route.allow));
            headers.insert(ALLOW, record.allow.clone().unwrap_or_else(own));
        }
        if must_close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let body = error_envelope(refusal.code(), refusal.message(), wall.now(), record.id.as_str());
        (refusal.status(), Outgoing::Bytes(body))
    }

    /// Whether the connection must be closed because the next request can't be located reliably.
    fn must_close(&self, refusal: Refusal) -> bool {
        let ambiguous = matches!(refusal, Refusal::Framing(_));
        (ambiguous || self.body == RequestBodyState::Unread || self.method == Method::CONNECT)
            && self.version < Version::HTTP_2
    }
}

/// `Link` (RFC 8288) from a call to what belongs to it, as far as the tenant may ask for it.
fn links(record: &Record) -> Option<HeaderValue> {
    let id = record.call.as_ref().filter(|_| record.route == RouteLabel::Call)?;
    let kinds = MediaKind::ALL.into_iter().filter(|kind| record.links.allows(kind.route()));
    let link = |kind: MediaKind| {
        format!(
            "</v1/calls/{}/{kind}>; rel=\"enclosure\"; title=\"{kind}\"",
            id.as_str(),
            kind = kind.label()
        )
    };
    let links: Vec<_> = kinds.map(link).collect();
    // An ID is letters and digits.
    if links.is_empty() { None } else { HeaderValue::try_from(links.join(", ")).ok() }
}

/// The wait that was applied, in seconds (RFC 7240 section 3).
fn write_applied_wait(applied: u64, headers: &mut HeaderMap, text: &mut HeaderText) {
    let value = text.value(|out| {
        out.put_slice(b"wait=");
        put_decimal(out, applied);
    });
    if let Some(value) = value {
        headers.insert(PREFERENCE_APPLIED, value);
    }
}

/// Counts a transcription that is sent from memory. One that flows counts itself.
fn count_transcription(record: &Record, body: &Bytes) {
    if let Some(tenant) = &record.tenant {
        tenant.media.count_whole(MediaKind::Transcription, body.len() as u64);
    }
}

/// Our member of `Cache-Status`, after those of the caches behind us.
fn write_cache_status(outcome: &CacheOutcome, headers: &mut HeaderMap, text: &mut HeaderText) {
    let Some(ours) = text.value(|out| outcome.write_cache_status(out)) else { return };
    let Some(theirs) = headers.insert(CACHE_STATUS, ours) else { return };
    // Rare: the upstream's own line, which ours has just replaced.
    if let Some(ours) = headers.get_mut(CACHE_STATUS) {
        let list = [theirs.as_bytes(), b", ", ours.as_bytes()].concat();
        // Joined from header values, so it is one.
        if let Ok(list) = HeaderValue::try_from(list) {
            *ours = list;
        }
    }
}

/// `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers): an item for the tenant's limit, and one
/// for its upstream budget if that refused.
fn write_limits(
    limits: &mut LimitsToShow,
    refused: Option<Refusal>,
    headers: &mut HeaderMap,
    text: &mut HeaderText,
) {
    let is_shown = match limits.when {
        RateLimitHeaders::Always => true,
        RateLimitHeaders::OnRefusal => {
            matches!(refused, Some(Refusal::TenantLimit { .. } | Refusal::UpstreamBudget { .. }))
        }
        RateLimitHeaders::Off => false,
    };
    if !is_shown {
        return;
    }
    let (tenant, upstream) = (limits.tenant.take(), limits.upstream.take());
    let value = text.value(|out| {
        if let Some(LimitState { left, .. }) = &tenant {
            put_limit(out, b"\"tenant\"", left);
        }
        if let Some(upstream) = &upstream {
            if tenant.is_some() {
                out.put_slice(b", ");
            }
            put_limit(out, b"\"upstream\"", &upstream.left);
        }
    });
    let policy = match (tenant, upstream) {
        (None, None) => return,
        (Some(tenant), None) => Some(tenant.policy),
        (None, Some(upstream)) => Some(upstream.policy),
        (Some(tenant), Some(upstream)) => {
            let items = [tenant.policy.as_bytes(), b", ", upstream.policy.as_bytes()].concat();
            HeaderValue::try_from(items).ok()
        }
    };
    if let Some(policy) = policy {
        headers.insert(RATE_LIMIT_POLICY, policy);
    }
    if let Some(value) = value {
        headers.insert(RATE_LIMIT, value);
    }
}

/// One item of `RateLimit`.
fn put_limit(out: &mut BytesMut, name: &[u8], left: &Quota) {
    out.put_slice(name);
    out.put_slice(b";r=");
    put_decimal(out, left.remaining);
    out.put_slice(b";t=");
    put_decimal(out, left.full_in_seconds);
}
