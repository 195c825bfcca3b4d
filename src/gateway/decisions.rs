//! The decision on a lookup, based on the stored entry: pure.

use std::sync::Arc;

use http::HeaderMap;

use crate::cache::{Entry, Fallback, RequestDirectives, Reuse, StoreMode, judge_reuse};
use crate::clock::Instant;
use crate::config::{CacheControl, CacheSettings};
use crate::domain::{CacheOutcome, Forward, Level, StaleReason};

/// The decision on a lookup.
pub(super) enum CacheDecision {
    /// Answer from the entry.
    Serve(CachedAnswer),
    /// Answer from the entry, and revalidate it in the background.
    Renew(CachedAnswer),
    /// Ask upstream.
    Fetch(Miss),
    /// Refuse: the client accepts only cached answers, and there is no usable one.
    NotCached(Forward),
}

/// An answer from the cache.
pub(super) struct CachedAnswer {
    pub(super) entry: Arc<Entry>,
    /// In whole seconds.
    pub(super) age: u64,
    /// Why it is served.
    pub(super) outcome: CacheOutcome,
}

impl CachedAnswer {
    /// The same, from an entry that a level below memory had: a hit names the level.
    pub(super) fn recalled_from(mut self, level: Level) -> Self {
        if let CacheOutcome::Hit { ttl } = self.outcome {
            self.outcome = CacheOutcome::Recalled { ttl, level };
        }
        self
    }
}

/// A lookup that the cache can't answer.
pub(super) struct Miss {
    pub(super) forward: Forward,
    /// The entry at the time of this decision, usable or not.
    pub(super) seen: Option<Arc<Entry>>,
    /// Whether it may be served if the upstream fails.
    pub(super) fallback: Fallback,
    /// Whether this client allows the response to be stored.
    pub(super) store_mode: StoreMode,
}

impl Miss {
    /// The stored call, for revalidation or as a fallback. A negative entry serves neither.
    pub(super) fn entry(&self) -> Option<&Arc<Entry>> {
        self.seen.as_ref().filter(|entry| !entry.is_negative())
    }
}

/// A client's cache directives, if they are honoured.
pub(super) fn directives(headers: &HeaderMap, policy: &CacheSettings) -> RequestDirectives {
    match policy.client_cache_control {
        CacheControl::Honor => RequestDirectives::read(headers),
        CacheControl::Ignore => RequestDirectives::default(),
    }
}

/// Decides on a lookup.
pub(super) fn decide(
    entry: Option<Arc<Entry>>,
    directives: &RequestDirectives,
    policy: &CacheSettings,
    now: Instant,
) -> CacheDecision {
    let store_mode = if directives.no_store { StoreMode::NoStore } else { StoreMode::Store };
    let fetch = |forward, seen, fallback| match directives.only_if_cached {
        true => CacheDecision::NotCached(forward),
        false => CacheDecision::Fetch(Miss { forward, seen, fallback, store_mode }),
    };
    let Some(entry) = entry else { return fetch(Forward::UriMiss, None, Fallback::Allowed) };
    let freshness = entry.freshness(policy, now);
    // A negative entry is never served stale.
    if entry.is_negative() && !freshness.is_fresh() {
        return fetch(Forward::UriMiss, Some(entry), Fallback::Allowed);
    }
    let (age, ttl) = (freshness.age_seconds(), freshness.ttl());
    let answer = |entry, outcome| CachedAnswer { entry, age, outcome };
    let stale = |reason| CacheOutcome::Stale { ttl, reason };
    match judge_reuse(&freshness, directives) {
        Reuse::Fresh if entry.is_negative() => {
            CacheDecision::Serve(answer(entry, CacheOutcome::Negative { ttl }))
        }
        Reuse::Fresh => CacheDecision::Serve(answer(entry, CacheOutcome::Hit { ttl })),
        Reuse::Revalidate if directives.only_if_cached => {
            CacheDecision::Serve(answer(entry, stale(StaleReason::WhileRevalidate)))
        }
        Reuse::Revalidate => CacheDecision::Renew(answer(entry, stale(StaleReason::WhileRevalidate))),
        Reuse::Tolerated => CacheDecision::Serve(answer(entry, stale(StaleReason::Tolerated))),
        Reuse::Fetch { forward, fallback } => fetch(forward, Some(entry), fallback),
    }
}

/// The stale entry, if it may be served because the upstream has failed.
pub(super) fn fall_back(miss: &Miss, policy: &CacheSettings, now: Instant) -> Option<CachedAnswer> {
    let entry = miss.entry().filter(|_| miss.fallback == Fallback::Allowed)?;
    let freshness = entry.freshness(policy, now);
    freshness.may_serve_on_error().then(|| CachedAnswer {
        entry: Arc::clone(entry),
        age: freshness.age_seconds(),
        outcome: CacheOutcome::Stale { ttl: freshness.ttl(), reason: StaleReason::IfError },
    })
}
