//! What to do about a lookup, decided from what is stored: pure, but for the look into the store.

use std::sync::Arc;

use http::HeaderMap;

use crate::cache::{Demand, Entry, Fallback, Reckoning, Storing, Verdict, judge};
use crate::clock::Instant;
use crate::config::{Cache as Policy, CacheControl};
use crate::domain::{Forward, StaleReason, Story};

/// What to do.
pub enum Step {
    /// Answer from the entry.
    Serve(Served),
    /// Answer from the entry, and renew it in the background.
    Renew(Served),
    /// Ask upstream.
    Ask(Question),
    /// Refuse: the client wants only what is cached, and that isn't.
    NotCached(Forward),
}

/// An answer from the cache.
pub struct Served {
    /// The entry.
    pub entry: Arc<Entry>,
    /// Its age.
    pub age: u64,
    /// How it came to be served.
    pub story: Story,
}

/// A lookup that must be asked upstream.
pub struct Question {
    /// Why.
    pub forward: Forward,
    /// What was stored when this was decided, of whatever use that is.
    pub seen: Option<Arc<Entry>>,
    /// Whether that may be served if the upstream fails.
    pub fallback: Fallback,
    /// Whether the answer may be stored as far as this client goes.
    pub storing: Storing,
}

impl Question {
    /// The stored call, to be validated or fallen back on. A remembered 404 is neither.
    pub fn entry(&self) -> Option<&Arc<Entry>> {
        self.seen.as_ref().filter(|entry| !entry.is_missing())
    }
}

/// A client's demands, if clients are listened to.
pub fn demand(headers: &HeaderMap, policy: &Policy) -> Demand {
    match policy.client_cache_control {
        CacheControl::Honor => Demand::read(headers),
        CacheControl::Ignore => Demand::default(),
    }
}

/// Decides on a lookup.
pub fn decide(entry: Option<Arc<Entry>>, demand: &Demand, policy: &Policy, now: Instant) -> Step {
    let storing = if demand.no_store { Storing::Unwanted } else { Storing::Wanted };
    let miss = |seen| {
        ask(Question { forward: Forward::UriMiss, seen, fallback: Fallback::Allowed, storing }, demand)
    };
    let Some(entry) = entry else { return miss(None) };
    let reckoning = Reckoning::of(&entry.facts, policy, now);
    // A remembered 404 that is over is nothing, not something stale.
    if entry.is_missing() && !reckoning.is_fresh() {
        return miss(Some(entry));
    }
    let served = |entry: Arc<Entry>, story| Served { age: reckoning.age_seconds(), entry, story };
    let ttl = reckoning.ttl();
    match judge(&reckoning, demand) {
        Verdict::Fresh if entry.is_missing() => Step::Serve(served(entry, Story::Negative { ttl })),
        Verdict::Fresh => Step::Serve(served(entry, Story::Hit { ttl })),
        Verdict::Renew => {
            let served = served(entry, Story::Stale { ttl, reason: StaleReason::WhileRevalidate });
            if demand.only_if_cached { Step::Serve(served) } else { Step::Renew(served) }
        }
        Verdict::Tolerated => {
            Step::Serve(served(entry, Story::Stale { ttl, reason: StaleReason::Tolerated }))
        }
        Verdict::Fetch { forward, fallback } => {
            ask(Question { forward, seen: Some(entry), fallback, storing }, demand)
        }
    }
}

fn ask(question: Question, demand: &Demand) -> Step {
    if demand.only_if_cached { Step::NotCached(question.forward) } else { Step::Ask(question) }
}

/// The stale entry, if it may be served now that the upstream has failed.
pub fn fall_back(question: &Question, policy: &Policy, now: Instant) -> Option<Served> {
    let entry = question.entry().filter(|_| question.fallback == Fallback::Allowed)?;
    let reckoning = Reckoning::of(&entry.facts, policy, now);
    reckoning.may_serve_on_error().then(|| Served {
        entry: Arc::clone(entry),
        age: reckoning.age_seconds(),
        story: Story::Stale { ttl: reckoning.ttl(), reason: StaleReason::IfError },
    })
}
