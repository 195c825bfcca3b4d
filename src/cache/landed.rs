//! What a fetch brings to all who wait for it.

use std::sync::Arc;

use super::admission::{Answer, Entry, Older, Renewal, Ruling, Validators, admit, confirms, renew};
use super::flight::{Landing as FlightLanding, Storing};
use super::freshness::Reckoning;
use super::generation::Generation;
use super::reply::Reply;
use crate::clock;
use crate::config::Cache as Policy;
use crate::domain::{CallId, Landing, NotStored, Refusal, is_failure};
use crate::telemetry::TenantMetrics;

/// The end of a fetch, shared by all who waited.
#[derive(Debug, Clone)]
pub struct Landed {
    /// What the cache's story says of it.
    pub landing: Landing,
    /// What clients get.
    pub yields: Yield,
}

/// What clients get from a fetch.
#[derive(Debug, Clone)]
pub enum Yield {
    /// A call, or the word that there is none, with what is known of its freshness.
    Entry(Arc<Entry>),
    /// An answer that is passed on as it is.
    Reply(Reply),
    /// None.
    Refusal(Refusal),
    /// None: a renewal gave way before it sent anything. Who waits may lead a fetch of its own.
    GaveWay,
}

impl Landed {
    /// The end of a fetch that got no answer to rule on.
    pub const fn refused(landing: Landing, refusal: Refusal) -> Self {
        Self { landing, yields: Yield::Refusal(refusal) }
    }

    /// The end of a renewal that sent nothing.
    pub const fn gave_way() -> Self {
        Self { landing: Landing::NoResponse, yields: Yield::GaveWay }
    }

    /// Whether it left the store with a newer answer.
    pub const fn has_renewed(&self) -> bool {
        matches!(self.landing, Landing::Stored { .. } | Landing::Renewed { .. })
    }

    /// Whether the upstream failed, so that a stale entry is better.
    pub fn is_failure(&self) -> bool {
        match &self.yields {
            Yield::Entry(_) => false,
            Yield::Reply(reply) => is_failure(reply.status()),
            Yield::Refusal(refusal) => refusal.is_upstream_failure(),
            Yield::GaveWay => true,
        }
    }
}

/// What an answer is taken for: a ruling on it, or on what it says of the entry that was asked about.
#[derive(Debug)]
pub enum Verdict {
    /// A response of its own.
    Ruled(u16, Ruling),
    /// A 304 that renews the entry.
    Renewed(Renewal),
    /// A 304 about another version than the one asked about: it must be asked for as a whole.
    Unconfirmed,
}

/// Judges an answer to a request that had `asked` as its validators, those of `entry`.
pub fn judge_answer(
    answer: &Answer,
    id: &CallId,
    entry: Option<&Entry>,
    asked: &Validators,
    policy: &Policy,
    jitter: u16,
) -> Verdict {
    match entry {
        Some(entry) if answer.status.as_u16() == 304 && !asked.are_empty() => {
            if confirms(answer, asked) {
                Verdict::Renewed(renew(entry, answer, policy, jitter))
            } else {
                Verdict::Unconfirmed
            }
        }
        _ => Verdict::Ruled(answer.status.as_u16(), admit(answer, id, policy, jitter)),
    }
}

/// Carries a verdict out on the store, as far as the fetch may still change it.
pub fn settle(
    verdict: Verdict,
    id: &CallId,
    generation: &Generation,
    policy: &Policy,
    metrics: &TenantMetrics,
    landing: FlightLanding,
) -> Landed {
    let landed = match verdict {
        Verdict::Ruled(status, Ruling::Store(entry)) => {
            let landing = keep(status, &entry, id, generation, policy, metrics, landing);
            Landed { landing, yields: Yield::Entry(entry) }
        }
        Verdict::Renewed(Renewal::Renewed(entry)) => {
            let landing = keep(304, &entry, id, generation, policy, metrics, landing);
            Landed { landing, yields: Yield::Entry(entry) }
        }
        Verdict::Renewed(Renewal::Forbidden(entry)) => {
            forget(Older::Goes, id, generation, metrics, landing);
            Landed { landing: not_stored(304, NotStored::NoStore), yields: Yield::Entry(entry) }
        }
        Verdict::Ruled(status, Ruling::Pass { reply, why, older }) => {
            forget(older, id, generation, metrics, landing);
            Landed { landing: not_stored(status, why), yields: Yield::Reply(reply) }
        }
        Verdict::Ruled(status, Ruling::Refuse { refusal, why, older }) => {
            forget(older, id, generation, metrics, landing);
            Landed::refused(not_stored(status, why), refusal)
        }
        Verdict::Unconfirmed => Landed::refused(not_stored(304, NotStored::Status), Refusal::UpstreamFailed),
    };
    if let Landing::NotStored { why, .. } = landed.landing {
        metrics.count_not_stored(why);
        generation.note_refusal(id, why);
    }
    landed
}

const fn not_stored(status: u16, why: NotStored) -> Landing {
    Landing::NotStored { status, why }
}

/// Stores an entry, if it may be. The word that there is no such call holds even where it isn't stored:
/// the call that was there goes.
fn keep(
    status: u16,
    entry: &Arc<Entry>,
    id: &CallId,
    generation: &Generation,
    policy: &Policy,
    metrics: &TenantMetrics,
    landing: FlightLanding,
) -> Landing {
    let why = match landing {
        FlightLanding::Purged => return not_stored(status, NotStored::Purged),
        FlightLanding::Current(Storing::Unwanted) => NotStored::ClientNoStore,
        FlightLanding::Current(Storing::Wanted) if generation.store(id, Arc::clone(entry)) => {
            let ttl = Reckoning::of(&entry.facts, policy, clock::now()).ttl();
            return if status == 304 { Landing::Renewed { ttl } } else { Landing::Stored { status, ttl } };
        }
        FlightLanding::Current(Storing::Wanted) => NotStored::Status,
    };
    if entry.is_missing() {
        generation.forget(id, metrics);
    }
    not_stored(status, why)
}

/// Removes what the answer says must go. A fetch that was purged has nothing to say any more: whoever
/// asked after it will hear for itself.
fn forget(
    older: Older,
    id: &CallId,
    generation: &Generation,
    metrics: &TenantMetrics,
    landing: FlightLanding,
) {
    match (older, landing) {
        (Older::Goes, FlightLanding::Current(_)) => generation.forget(id, metrics),
        (Older::Goes, FlightLanding::Purged) | (Older::Stays, _) => {}
    }
}
