//! The request for media: a function of the link, the tenant's key and four normalised fields of the client's.

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, HOST, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    RANGE, USER_AGENT, VIA,
};
use http::{HeaderValue, Request, Uri};
use http_body_util::Empty;

use super::hop::{Destination, Hop};
use crate::config::UpstreamKey;
use crate::domain::{ByteRange, MediaKind, RequestId};
use crate::message::{OUR_VIA, Validators, X_REQUEST_ID};
use crate::telemetry::TraceContext;
use crate::upstream::request::{IDENTITY, OUR_USER_AGENT};

/// A request for a recording or transcription.
#[derive(Debug, Clone)]
pub(crate) struct MediaRequest {
    pub(crate) kind: MediaKind,
    pub(crate) wanted: Wanted,
    /// The client's.
    pub(crate) range: Option<ByteRange>,
    /// The client's validator of the representation that it has a part of.
    pub(crate) if_range: Option<HeaderValue>,
    /// The validators of the copy that the client or the cache has.
    pub(crate) conditions: Option<Validators>,
    pub(crate) request_id: RequestId,
    pub(crate) trace: Option<TraceContext>,
}

/// How much is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Body,
    /// The head alone: a `GET` of the first byte says all that it holds.
    Length,
}

impl MediaRequest {
    /// The range that the upstream is asked for.
    pub(crate) fn asked_range(&self) -> Option<ByteRange> {
        match self.wanted {
            Wanted::Body => self.range,
            Wanted::Length => Some(ByteRange::FIRST_BYTE),
        }
    }

    /// The request for a hop, with the key if it is the upstream's own.
    pub(crate) fn build(&self, hop: &Hop, key: &UpstreamKey) -> Option<Request<Empty<Bytes>>> {
        let url = hop.link.uri();
        let target = url.path_and_query().map_or("/", |target| target.as_str());
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = Uri::try_from(target).ok()?;
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::from_str(url.authority()?.as_str()).ok()?);
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        headers.insert(ACCEPT_ENCODING, IDENTITY);
        headers.insert(USER_AGENT, OUR_USER_AGENT);
        headers.insert(VIA, OUR_VIA);
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        if let Some(range) = self.asked_range() {
            headers.insert(RANGE, HeaderValue::try_from(range.to_string()).ok()?);
            if let (Wanted::Body, Some(validator)) = (self.wanted, &self.if_range) {
                headers.insert(IF_RANGE, validator.clone());
            }
        }
        if let Some(Validators { etag, last_modified }) = &self.conditions {
            headers.extend(etag.clone().map(|etag| (IF_NONE_MATCH, etag)));
            headers.extend(last_modified.clone().map(|date| (IF_MODIFIED_SINCE, date)));
        }
        match hop.destination {
            Destination::MediaHost => {}
            Destination::Base => {
                headers.insert(X_REQUEST_ID, self.request_id.header_value());
                if let Some(trace) = &self.trace {
                    trace.write(headers);
                }
                headers.insert(AUTHORIZATION, key.authorization());
            }
        }
        Some(request)
    }
}
