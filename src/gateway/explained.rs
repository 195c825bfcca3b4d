//! What would come of a lookup, in words: the first lines of an explanation.

use std::borrow::Cow;

use serde::Serialize;

use crate::domain::{CacheOutcome, Forward, NotStored, Overload, Refusal, StaleReason};

/// What would come of a lookup.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Explained {
    would: Would,
    /// The error code that the lookup would get.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    /// Which of several causes of that code, as the access line has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'static str>,
    /// The `Retry-After` that the lookup would get, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
    /// Why, in a sentence.
    because: Cow<'static, str>,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum Would {
    Hit,
    Negative,
    Stale,
    Fetch,
    Follow,
    Wait,
    Refuse,
}

impl Explained {
    fn of(would: Would, because: impl Into<Cow<'static, str>>) -> Self {
        Self { would, code: None, detail: None, retry_after: None, because: because.into() }
    }

    pub(super) fn refused(refusal: Refusal) -> Self {
        Self {
            code: Some(refusal.code()),
            detail: Some(refusal.detail()),
            retry_after: refusal.retry_after(),
            ..Self::of(Would::Refuse, cause(refusal))
        }
    }

    /// An answer from the cache.
    pub(super) fn served(outcome: CacheOutcome) -> Self {
        match outcome {
            CacheOutcome::Negative { ttl } => {
                Self::of(Would::Negative, format!("the upstream's 404 is remembered for another {ttl} s"))
            }
            CacheOutcome::Hit { ttl } => Self::of(Would::Hit, format!("fresh for another {ttl} s")),
            CacheOutcome::Stale { ttl, reason: StaleReason::WhileRevalidate } => {
                let seconds = ttl.unsigned_abs();
                Self::of(Would::Stale, format!("stale for {seconds} s, served while it is renewed"))
            }
            CacheOutcome::Stale { ttl, reason: StaleReason::Tolerated | StaleReason::IfError } => {
                let seconds = ttl.unsigned_abs();
                Self::of(Would::Stale, format!("stale for {seconds} s, which the request allows"))
            }
            CacheOutcome::Recalled { ttl, level } => {
                let level = level.label();
                Self::of(Would::Hit, format!("in the {level} level, fresh for another {ttl} s"))
            }
            CacheOutcome::Forwarded { .. } | CacheOutcome::Unstored { .. } => {
                Self::of(Would::Fetch, "the upstream must be asked")
            }
        }
    }

    /// A stale entry in place of a refusal.
    pub(super) fn stale_for(refusal: Refusal) -> Self {
        Self::of(Would::Stale, format!("{}; the stale entry may be served", cause(refusal)))
    }

    pub(super) fn fetch(forward: Forward, key_was_rejected: bool) -> Self {
        let because = match forward {
            Forward::UriMiss => "nothing is stored for this call",
            Forward::Stale => "the entry must be revalidated upstream first",
            Forward::Request => "the request does not accept the entry as it is",
        };
        match key_was_rejected {
            true => {
                Self::of(Would::Fetch, format!("{because}; the upstream rejected the key when last asked"))
            }
            false => Self::of(Would::Fetch, because),
        }
    }

    pub(super) fn follow() -> Self {
        Self::of(Would::Follow, "a fetch of this call is in flight")
    }

    pub(super) fn wait() -> Self {
        Self::of(Would::Wait, "the call is polled until it is final, and the request may wait for that")
    }

    /// A request for the media of a call that would not be served from the cache.
    pub(super) fn before_media(&self) -> Self {
        match self.would {
            Would::Hit | Would::Negative | Would::Stale | Would::Refuse => self.clone(),
            Would::Fetch | Would::Follow | Would::Wait => {
                let because = format!("first the call itself: {}", self.because);
                Self { because: because.into(), ..self.clone() }
            }
        }
    }

    /// A call or link of which no use can be made.
    pub(super) fn unusable(why: NotStored, because: &'static str) -> Self {
        let because = because.into();
        Self { detail: Some(why.label()), because, ..Self::refused(Refusal::UpstreamFailed) }
    }

    pub(super) fn link_followed() -> Self {
        Self::of(Would::Fetch, "the link would be followed")
    }

    pub(super) fn transcript_followed() -> Self {
        Self::of(Would::Follow, "a fetch of this transcription is in flight")
    }
}

/// Why a lookup would be refused, in an operator's words.
const fn cause(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::TenantLimit { .. } => "the tenant's rate_limit is spent",
        Refusal::NoRoute => "the tenant's routes do not include calls by ID",
        Refusal::CallIdFormat => "the ID does not match ^call_[A-Za-z0-9]{1,64}$",
        Refusal::NotCached => "nothing usable is stored, and the request allows nothing else",
        Refusal::Overloaded(Overload::MaxInFlight | Overload::MaxWaiting) => {
            "as many lookups as may be already wait for a fetch"
        }
        Refusal::Overloaded(Overload::MediaStreams) => {
            "the tenant has as many streams as media.max_streams allows"
        }
        Refusal::UpstreamPaused { .. } => "the upstream asked this tenant to wait",
        Refusal::UpstreamUnavailable { .. } => "the breaker is open",
        Refusal::UpstreamBudget { .. } => "the tenant's upstream_limit is spent",
        // Only the request's head, a fetch or the end of the process brings these to light.
        Refusal::Framing(_)
        | Refusal::Expectation
        | Refusal::Unauthorized
        | Refusal::Method
        | Refusal::Query
        | Refusal::ListQuery
        | Refusal::UpstreamStatus { .. }
        | Refusal::ShuttingDown
        | Refusal::WaitEnded
        | Refusal::UpstreamTimeout
        | Refusal::UpstreamFailed
        | Refusal::UpstreamKeyRejected
        | Refusal::NoMedia(_)
        | Refusal::NotReady
        | Refusal::RangeNotSatisfiable { .. }
        | Refusal::MediaHostBusy { .. }
        | Refusal::Internal => refusal.message(),
    }
}
