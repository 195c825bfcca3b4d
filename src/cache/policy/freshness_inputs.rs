//! The inputs of a response's freshness: collected once, when it is received, and kept with the entry.
//!
//! Stores inputs rather than conclusions, so a changed policy applies to existing entries.

use http::header::{DATE, ETAG, EXPIRES, LAST_MODIFIED};
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;

use super::directives::{MAX_SECONDS, ResponseDirectives, ReuseDirectives, Seconds};
use super::envelope::Changed;
use super::etag::is_tag;
use crate::clock::Instant;
use crate::config::{CacheControl, CacheSettings};
use crate::message::{ExchangeTimes, single_date};

/// The inputs of one entry. Every entry has them, so they are kept small.
#[derive(Debug, Clone)]
pub(crate) struct FreshnessInputs {
    pub(super) received: Instant,
    /// Seconds since 1970, by our wall clock.
    pub(super) received_at: i64,
    /// How many seconds that is later than the response's own `Date`.
    pub(super) ahead: i32,
    /// `corrected_initial_age` of RFC 9111 section 4.2.3, in nanoseconds.
    pub(super) initial_age: u64,
    pub(super) explicit: Option<(LifetimeSource, u32)>,
    pub(super) reuse: ReuseDirectives,
    /// When a call last changed, in seconds since 1970, or [`UNKNOWN`].
    pub(super) changed: i64,
    /// When the first of a call's links expires, in seconds since 1970, or [`UNKNOWN`].
    pub(super) links_expire: i64,
    pub(super) is_negative: bool,
    /// Whether something has shown that the call has changed since.
    pub(crate) must_validate: bool,
    /// Whether the upstream sent validators, so that the entry can be revalidated.
    pub(super) has_validators: bool,
    /// Ten-thousandths by which a configured lifetime is shortened: 0 to 1000.
    pub(super) jitter: u16,
}

/// The kind of stored response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryKind {
    Call {
        changed: Changed,
        /// When the first of its links expires, in seconds since 1970, if that can be read.
        links_expire: Option<i64>,
    },
    /// The upstream's 404.
    Negative,
}

/// Where a freshness lifetime comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LifetimeSource {
    SharedMaxAge,
    MaxAge,
    Expires,
    NoCache,
    Settled,
    Settling,
    /// The expiry of the links in the call.
    Link,
    Negative,
}

impl LifetimeSource {
    /// As `explain` shows it: the directive, field or key.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::SharedMaxAge => "s-maxage",
            Self::MaxAge => "max-age",
            Self::Expires => "Expires",
            Self::NoCache => "no-cache",
            Self::Settled => "cache.ttl",
            Self::Settling => "cache.settle_ttl",
            Self::Link => "link",
            Self::Negative => "cache.not_found_ttl",
        }
    }
}

/// Later than any clock shows.
pub(super) const UNKNOWN: i64 = i64::MAX;

/// A second in nanoseconds, the unit of all sums.
pub(super) const SECOND: u64 = 1_000_000_000;

impl FreshnessInputs {
    /// Collects the inputs of a response. `headers` are the effective fields, those of a 304 applied to the stored
    /// ones; `age` is the `Age` of the response just received.
    pub(crate) fn gather(
        headers: &HeaderMap,
        age: Option<&HeaderValue>,
        times: ExchangeTimes,
        kind: EntryKind,
        jitter: u16,
    ) -> Self {
        let directives = ResponseDirectives::read(headers);
        let dated = single_date(headers, &DATE).map(|date| date.as_second());
        let received_at = times.received_at.as_second();
        let ahead = dated.map_or(0, |dated| received_at.saturating_sub(dated));
        // apparent_age = max(0, response_time - date_value)
        let apparent_age = u64::try_from(ahead).unwrap_or(0).saturating_mul(SECOND);
        // corrected_age_value = age_value + response_delay
        let delay = times.received.nanos_since(times.sent);
        let corrected_age = (u64::from(age.map_or(0, age_value)) * SECOND).saturating_add(delay);
        let changed = match kind {
            EntryKind::Call { changed: Changed::At(then), .. } => {
                then.as_second().saturating_add(begun_second(then))
            }
            EntryKind::Call { changed: Changed::Unknown, .. } | EntryKind::Negative => UNKNOWN,
        };
        let links_expire = match kind {
            EntryKind::Call { links_expire, .. } => links_expire.unwrap_or(UNKNOWN),
            EntryKind::Negative => UNKNOWN,
        };
        let is_etag = |value: &HeaderValue| value.to_str().is_ok_and(is_tag);
        Self {
            received: times.received,
            received_at,
            ahead: i32::try_from(ahead).unwrap_or(if ahead < 0 { i32::MIN } else { i32::MAX }),
            initial_age: apparent_age.max(corrected_age),
            explicit: explicit_lifetime(headers, &directives, dated.unwrap_or(received_at)),
            reuse: directives.reuse(),
            changed,
            links_expire,
            is_negative: kind == EntryKind::Negative,
            must_validate: false,
            has_validators: headers.get(ETAG).is_some_and(is_etag) || headers.contains_key(LAST_MODIFIED),
            jitter,
        }
    }

    pub(crate) fn kind(&self) -> EntryKind {
        if self.is_negative {
            return EntryKind::Negative;
        }
        // `UNKNOWN` is beyond every timestamp.
        let changed = Timestamp::from_second(self.changed).map_or(Changed::Unknown, Changed::At);
        EntryKind::Call { changed, links_expire: Some(self.links_expire).filter(|then| *then != UNKNOWN) }
    }

    pub(crate) const fn is_negative(&self) -> bool {
        self.is_negative
    }

    pub(crate) const fn received(&self) -> Instant {
        self.received
    }

    /// `corrected_initial_age`, in nanoseconds.
    pub(crate) const fn initial_age(&self) -> u64 {
        self.initial_age
    }

    /// When the response was received, by the wall clock, in whole seconds.
    pub(crate) fn received_at(&self) -> Timestamp {
        Timestamp::from_second(self.received_at).unwrap_or_default()
    }

    /// Whether the response forbids storing it.
    pub(crate) fn forbids_storing(&self, policy: &CacheSettings) -> bool {
        self.reuse.no_store && policy.upstream_cache_control == CacheControl::Honor
    }

    /// Whether the response itself says that it is stale from the start, or must always be revalidated, which defeats
    /// a cache.
    pub(crate) fn defeats_caching(&self) -> bool {
        self.reuse.no_store || self.reuse.no_cache || matches!(self.explicit, Some((_, 0)))
    }
}

/// 1 for a time within a second: a change counts from the end of its second, because what was read in that second may
/// predate the change.
fn begun_second(then: Timestamp) -> i64 {
    i64::from(then.subsec_nanosecond() > 0)
}

/// `age_value`: the first member; an unreadable one is ignored (RFC 9111 section 5.1).
fn age_value(line: &HeaderValue) -> u32 {
    let first = line.to_str().unwrap_or_default().split(',').next().unwrap_or_default().trim();
    let is_number = !first.is_empty() && first.bytes().all(|b| b.is_ascii_digit());
    if is_number { first.parse().unwrap_or(u32::MAX).min(MAX_SECONDS) } else { 0 }
}

/// RFC 9111 section 4.2.1. Present but unreadable means 0, which is stale. `date` is in seconds since 1970.
fn explicit_lifetime(
    headers: &HeaderMap,
    directives: &ResponseDirectives,
    date: i64,
) -> Option<(LifetimeSource, u32)> {
    let given = |source, seconds: Option<Seconds>| seconds.map(|seconds| (source, seconds.or_zero()));
    let expires = || {
        headers.contains_key(EXPIRES).then(|| {
            let expires = single_date(headers, &EXPIRES);
            let seconds = expires.map_or(0, |expires| expires.as_second().saturating_sub(date));
            (LifetimeSource::Expires, u32::try_from(seconds.clamp(0, MAX_SECONDS.into())).unwrap_or(0))
        })
    };
    given(LifetimeSource::SharedMaxAge, directives.s_maxage)
        .or(given(LifetimeSource::MaxAge, directives.max_age))
        .or_else(expires)
}
