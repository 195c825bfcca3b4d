//! What becomes of an upstream answer: stored, passed on, or refused, and what it means for the entry
//! that was there. Pure: an answer, the policy and a little randomness in, a ruling out.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AGE, CACHE_CONTROL, CONTENT_ENCODING, DATE, ETAG, LAST_MODIFIED, RETRY_AFTER, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::envelope::{Envelope, is_error, is_object};
use super::etag;
use super::freeing::freed_one;
use super::freshness::{Exchange, Facts, Kind, Reckoning};
use super::head::{self, Fields};
use super::renewals::Renewals;
use super::reply::{Own, Reply};
use crate::clock::Instant;
use crate::config::Cache as Policy;
use crate::domain::{CallId, NotStored, Refusal, speaks_by_its_status};

/// A whole answer of the upstream.
#[derive(Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its header fields.
    pub headers: HeaderMap,
    /// Its body, complete.
    pub body: Bytes,
    /// When it was asked for and came.
    pub exchange: Exchange,
}

/// A stored answer.
#[derive(Debug)]
pub struct Entry {
    /// What clients get.
    pub reply: Reply,
    /// What is known of its freshness.
    pub facts: Facts,
    /// How its renewals went.
    renewals: Renewals,
}

impl Drop for Entry {
    fn drop(&mut self) {
        freed_one();
    }
}

/// What becomes of an answer.
#[derive(Debug)]
pub enum Ruling {
    /// Stored, and passed on.
    Store(Arc<Entry>),
    /// Passed on as it is.
    Pass {
        /// What clients get.
        reply: Reply,
        /// Why it isn't stored.
        why: NotStored,
        /// What happens to the entry that was there.
        older: Older,
    },
    /// Not passed on.
    Refuse {
        /// What clients get instead.
        refusal: Refusal,
        /// Why it isn't stored.
        why: NotStored,
        /// What happens to the entry that was there.
        older: Older,
    },
}

/// What happens to an older entry of the same call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Older {
    /// It stays.
    Stays,
    /// It goes: the call changed, or is gone, or isn't ours to see any more.
    Goes,
}

/// The upstream's own validators of a stored entry: the only part of an entry that is ever sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Validators {
    /// For `If-None-Match`.
    pub etag: Option<HeaderValue>,
    /// For `If-Modified-Since`.
    pub last_modified: Option<HeaderValue>,
}

impl Validators {
    /// Whether there are any.
    pub const fn are_empty(&self) -> bool {
        self.etag.is_none() && self.last_modified.is_none()
    }
}

impl Entry {
    fn new(reply: Reply, facts: Facts) -> Arc<Self> {
        Arc::new(Self { reply, facts, renewals: Renewals::default() })
    }

    /// The validators that the upstream gave for it.
    pub fn validators(&self) -> Validators {
        let is_tag = |value: &HeaderValue| value.to_str().is_ok_and(etag::is_tag);
        let upstreams = !self.reply.own().etag;
        Validators {
            etag: self.reply.field(&ETAG).filter(|value| upstreams && is_tag(value)).cloned(),
            last_modified: self.reply.field(&LAST_MODIFIED).cloned(),
        }
    }

    /// Whether it may be renewed in the background now, after renewals that failed.
    pub fn renewal_is_due(&self, now: Instant) -> bool {
        self.renewals.is_due(self.facts.received(), now)
    }

    /// A renewal gave way before it sent anything.
    pub fn note_delayed_renewal(&self, now: Instant) {
        self.renewals.note_delay(self.facts.received(), now);
    }

    /// A renewal failed.
    pub fn note_failed_renewal(&self, now: Instant) {
        self.renewals.note_failure(self.facts.received(), now);
    }

    /// Whether it is of no use any more: neither fresh, nor as a stale answer, nor to be validated.
    pub fn is_spent(&self, policy: &Policy, now: Instant) -> bool {
        Reckoning::of(&self.facts, policy, now).is_spent(policy)
    }

    /// Whether it remembers that there is no such call.
    pub fn is_missing(&self) -> bool {
        self.facts.is_missing()
    }
}

/// Rules on an answer to a request for `id` that asked for the whole call. `jitter` is 0 to 1000.
pub fn admit(answer: &Answer, id: &CallId, policy: &Policy, jitter: u16) -> Ruling {
    let refuse = |refusal, why| Ruling::Refuse { refusal, why, older: Older::Stays };
    let is_encoded = is_encoded(&answer.headers);
    match answer.status.as_u16() {
        401 => refuse(Refusal::UpstreamKeyRejected, NotStored::Status),
        _ if is_encoded && speaks_by_its_status(answer.status) => refuse_error(answer, Older::Goes),
        _ if is_encoded => refuse(Refusal::UpstreamFailed, NotStored::InvalidBody),
        200 => admit_call(answer, id, policy, jitter),
        201..=299 => pass(answer, NotStored::Status, Older::Stays),
        404 => admit_missing(answer, policy),
        403 | 410 => pass_error(answer, Older::Goes),
        400..=599 => pass_error(answer, Older::Stays),
        _ => refuse(Refusal::UpstreamFailed, NotStored::Status),
    }
}

fn is_encoded(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_ENCODING).iter().any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

fn pass(answer: &Answer, why: NotStored, older: Older) -> Ruling {
    let mut fields = head::finish(head::passed(&answer.headers), &date(answer));
    // An answer that isn't kept here is as old as the caches behind us say.
    fields.extend(answer.headers.get(AGE).map(|age| (AGE, age.clone())));
    Ruling::Pass { reply: Reply::new(answer.status, &fields, &answer.body), why, older }
}

/// An error keeps its body only if that is JSON, as every client of this API expects.
fn pass_error(answer: &Answer, older: Older) -> Ruling {
    if is_object(&answer.body) {
        return pass(answer, NotStored::Status, older);
    }
    refuse_error(answer, older)
}

fn refuse_error(answer: &Answer, older: Older) -> Ruling {
    let refusal =
        Refusal::UpstreamStatus { status: answer.status, retry_after: retry_after(&answer.headers) };
    Ruling::Refuse { refusal, why: NotStored::Status, older }
}

/// When the upstream says to come back, if it says so in seconds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn admit_call(answer: &Answer, id: &CallId, policy: &Policy, jitter: u16) -> Ruling {
    let refuse = |why| Ruling::Refuse { refusal: Refusal::UpstreamFailed, why, older: Older::Stays };
    let call = match Envelope::read(&answer.body) {
        Envelope::Unreadable => return refuse(NotStored::InvalidBody),
        Envelope::Ambiguous => return refuse(NotStored::Identity),
        Envelope::Read(call) => call,
    };
    match &call.id {
        Some(found) if found.as_bytes() != id.as_bytes() => return refuse(NotStored::Identity),
        Some(_) if call.success => {}
        Some(_) | None => return pass(answer, NotStored::NotSuccess, Older::Stays),
    }
    if call.duplicate_keys {
        return pass(answer, NotStored::DuplicateKeys, Older::Stays);
    }
    let cacheable =
        call.status.as_deref().is_some_and(|status| policy.cacheable_statuses.iter().any(|s| s == status));
    if !cacheable {
        return pass(answer, NotStored::NotCompleted, Older::Goes);
    }
    let facts = gather(&answer.headers, answer, Kind::Call(call.changed), jitter);
    if facts.forbids_storing(policy) {
        return pass(answer, NotStored::NoStore, Older::Goes);
    }
    if varies_by_all(&answer.headers) {
        return pass(answer, NotStored::Vary, Older::Goes);
    }
    let mut fields = head::passed(&answer.headers);
    let own = Own { etag: !head::has(&fields, &ETAG), cache_control: !head::has(&fields, &CACHE_CONTROL) };
    if own.etag {
        fields.push((ETAG, etag::generated(call.data)));
    }
    store_if_small(answer, fields, facts, own, policy)
}

/// A 404 is remembered only in the upstream's own words: a proxy's page says nothing about calls.
fn admit_missing(answer: &Answer, policy: &Policy) -> Ruling {
    let facts = gather(&answer.headers, answer, Kind::Missing, 0);
    if policy.not_found_ttl.is_zero() || !is_error(&answer.body) {
        return pass_error(answer, Older::Goes);
    }
    if facts.forbids_storing(policy) {
        return pass(answer, NotStored::NoStore, Older::Goes);
    }
    let fields = head::passed(&answer.headers);
    store_if_small(answer, fields, facts, Own::default(), policy)
}

fn store_if_small(answer: &Answer, fields: Fields, facts: Facts, own: Own, policy: &Policy) -> Ruling {
    let fields = head::finish(fields, &date(answer));
    let reply = Reply::new(answer.status, &fields, &answer.body).with_own(own);
    if reply.len() > policy.max_entry_bytes {
        return Ruling::Pass { reply, why: NotStored::TooLarge, older: Older::Goes };
    }
    Ruling::Store(Entry::new(reply, facts))
}

fn gather(headers: &HeaderMap, answer: &Answer, kind: Kind, jitter: u16) -> Facts {
    let age = answer.headers.get(AGE).and_then(|value| value.to_str().ok());
    Facts::gather(headers, age, answer.exchange, kind, jitter)
}

fn varies_by_all(headers: &HeaderMap) -> bool {
    let members = headers.get_all(VARY).into_iter().flat_map(|line| line.as_bytes().split(|b| *b == b','));
    members.into_iter().any(|member| member.trim_ascii() == b"*")
}

/// The response's date, or the time of receipt for one that has none.
fn date(answer: &Answer) -> HeaderValue {
    if let Some(date) = answer.headers.get(DATE) {
        return date.clone();
    }
    let text = httpdate::fmt_http_date(answer.exchange.received_at.into());
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))
}

/// Whether a 304 speaks of this entry: it names no other tag than the one it was asked about.
pub fn confirms(answer: &Answer, asked: &Validators) -> bool {
    let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let (named, known) = (answer.headers.get(ETAG).map(text), asked.etag.as_ref().map(text));
    match (named, known) {
        (Some(named), Some(known)) => etag::weakly_equal(&named, &known),
        (Some(_) | None, None) | (None, Some(_)) => true,
    }
}

/// What a 304 made of an entry.
#[derive(Debug)]
pub enum Renewal {
    /// It is good for longer.
    Renewed(Arc<Entry>),
    /// The 304 said `no-store`: it answers this once and goes.
    Forbidden(Arc<Entry>),
}

/// Renews an entry by a 304 that confirms it (RFC 9111 section 4.3.4).
pub fn renew(entry: &Entry, answer: &Answer, policy: &Policy, jitter: u16) -> Renewal {
    let mut own = entry.reply.own();
    let stored = entry.reply.fields().map(|(name, value)| (name.clone(), value.clone()));
    let fields = head::updated(stored.collect(), own.cache_control, &answer.headers, &date(answer));
    own.cache_control &= !answer.headers.contains_key(CACHE_CONTROL);
    own.etag &= !answer.headers.contains_key(ETAG);
    let in_force: HeaderMap =
        fields.iter().filter(|(name, _)| *name != CACHE_CONTROL || !own.cache_control).cloned().collect();
    let facts = gather(&in_force, answer, entry.facts.kind(), jitter);
    let forbidden = facts.forbids_storing(policy);
    let reply = Reply::new(entry.reply.status(), &fields, &entry.reply.body()).with_own(own);
    let renewed = Entry::new(reply, facts);
    if forbidden { Renewal::Forbidden(renewed) } else { Renewal::Renewed(renewed) }
}

#[cfg(test)]
mod tests;
