//! Judges a response to a request that may have been conditional: a complete response, or a 304 that renews the
//! stored entry (RFC 9111 section 4.3).

use http::header::{CACHE_CONTROL, ETAG};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::admission::{Admission, Candidate, admit, gather, varies_by_all};
use super::etag::{is_tag, is_weak, strongly_equal, weakly_equal};
use crate::config::CacheSettings;
use crate::domain::{CallId, NotStored};
use crate::message::{UpstreamResponse, Validators, updated};

/// The meaning of a response for its request.
#[derive(Debug)]
pub(crate) enum Judgement {
    /// A complete response, with the upstream's status.
    Admitted(u16, Admission),
    /// A 304 that renews the entry.
    Renewed(Candidate),
    /// A 304 that forbids keeping the entry: it answers this request and is removed.
    Withdrawn(Candidate, NotStored),
    /// A 304 about another version than the stored one: the request must be repeated without validators.
    OtherVersion,
}

/// Judges a response to a request with the validators `asked`, those of `stored`.
pub(crate) fn judge_response(
    response: &UpstreamResponse,
    id: &CallId,
    stored: Option<Candidate>,
    asked: &Validators,
    policy: &CacheSettings,
    jitter: u16,
) -> Judgement {
    match stored {
        Some(stored) if response.status == StatusCode::NOT_MODIFIED && !asked.are_empty() => {
            judge_renewal(response, stored, asked, policy, jitter)
        }
        Some(_) | None => Judgement::Admitted(response.status.as_u16(), admit(response, id, policy, jitter)),
    }
}

/// Judges a 304 to a request that carried `asked`, the validators of `stored`.
pub(crate) fn judge_renewal(
    response: &UpstreamResponse,
    stored: Candidate,
    asked: &Validators,
    policy: &CacheSettings,
    jitter: u16,
) -> Judgement {
    match confirms(response, asked) {
        true => renew(stored, response, policy, jitter),
        false => Judgement::OtherVersion,
    }
}

/// Whether a 304 is about the version in question. A 304 with a strong tag is about the version with that tag, so
/// never about one stored without it; a weak tag must match the stored one, if there is one (RFC 9111 section 4.3.4).
fn confirms(response: &UpstreamResponse, asked: &Validators) -> bool {
    let named = response.headers.get(ETAG).and_then(|tag| tag.to_str().ok()).filter(|tag| is_tag(tag));
    let known = asked.etag.as_ref().and_then(|tag| tag.to_str().ok());
    match (named, known) {
        (Some(named), Some(known)) if is_weak(named) => weakly_equal(named, known),
        (Some(named), Some(known)) => strongly_equal(named, known),
        (Some(named), None) => is_weak(named),
        (None, _) => true,
    }
}

/// Applies a 304's fields to the stored ones (RFC 9111 section 3.2).
fn renew(stored: Candidate, response: &UpstreamResponse, policy: &CacheSettings, jitter: u16) -> Judgement {
    let Candidate { response: mut client, mut own, inputs } = stored;
    let kind = inputs.kind();
    client.fields = updated(client.fields, own.cache_control, &response.headers, &response.date());
    own.cache_control &= !response.headers.contains_key(CACHE_CONTROL);
    own.etag &= !response.headers.contains_key(ETAG);
    let is_ours = |name: &http::HeaderName| {
        (own.cache_control && *name == CACHE_CONTROL) || (own.etag && *name == ETAG)
    };
    let in_force: HeaderMap<HeaderValue> =
        client.fields.iter().filter(|(name, _)| !is_ours(name)).cloned().collect();
    let inputs = gather(&in_force, response, kind, jitter);
    let forbids_storing = inputs.forbids_storing(policy);
    let renewed = Candidate { response: client, own, inputs };
    if forbids_storing {
        Judgement::Withdrawn(renewed, NotStored::NoStore)
    } else if varies_by_all(&response.headers) {
        Judgement::Withdrawn(renewed, NotStored::Vary)
    } else {
        Judgement::Renewed(renewed)
    }
}
