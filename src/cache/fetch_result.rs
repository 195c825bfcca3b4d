//! How a fetch ended, and the result that its followers get.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::header::RETRY_AFTER;
use jiff::Timestamp;

use super::policy::{Admission, Existing, Judgement};
use super::store::Entry;
use crate::clock::Instant;
use crate::config::CacheSettings;
use crate::domain::{Effort, ForwardOutcome, Level, NotStored, Refusal, is_failure};
use crate::message::{ClientResponse, retry_after};

/// How a fetch ended, before the store is changed, and the effort it took.
#[derive(Debug)]
pub(crate) struct FetchOutcome {
    pub(crate) end: FetchEnd,
    pub(crate) effort: Effort,
}

#[derive(Debug)]
pub(crate) enum FetchEnd {
    /// With a response to be stored: the upstream's status, the entry, and its freshness in seconds.
    Store { status: u16, entry: Arc<Entry>, ttl: i64 },
    /// With a response that is not to be stored.
    PassOn { status: u16, response: FetchResponse, why: NotStored, existing: Existing },
    /// With what a level below memory had.
    Recalled { level: Level, entry: Arc<Entry> },
    /// Without a response that could be judged.
    Unanswered { outcome: ForwardOutcome, refusal: Refusal },
    /// A renewal yielded to waiting lookups before it sent anything.
    GaveWay,
    /// A renewal or poll left the call to another gateway of the fleet before it sent anything.
    LeftToFleet,
}

/// The end of a fetch, shared by all its followers.
#[derive(Debug, Clone)]
pub(crate) struct FetchResult {
    pub(crate) outcome: ForwardOutcome,
    pub(crate) response: FetchResponse,
    pub(crate) effort: Effort,
}

/// The response that clients get from a fetch.
#[derive(Debug, Clone)]
pub(crate) enum FetchResponse {
    /// A call, or a negative entry, with its freshness inputs.
    Entry(Arc<Entry>),
    /// A response that is passed on unchanged.
    PassThrough(Arc<ClientResponse>),
    Refusal(Refusal),
    /// None: a renewal yielded before it sent anything. A follower may lead a fetch of its own.
    GaveWay,
    /// None, and no failure either: another gateway of the fleet fetches or polls the call. The same for followers.
    LeftToFleet,
}

impl FetchEnd {
    /// The end of a fetch whose response was judged as `judgement`.
    pub(crate) fn judged(judgement: Judgement, policy: &CacheSettings, now: Instant) -> Self {
        let store = |status, candidate| {
            let entry = Entry::new(&candidate);
            let ttl = entry.freshness(policy, now).ttl();
            Self::Store { status, entry, ttl }
        };
        match judgement {
            Judgement::Admitted(status, Admission::Store(candidate)) => store(status, candidate),
            Judgement::Renewed(candidate) => store(304, candidate),
            Judgement::Withdrawn(candidate, why) => {
                let response = FetchResponse::Entry(Entry::new(&candidate));
                Self::PassOn { status: 304, response, why, existing: Existing::Invalidate }
            }
            Judgement::Admitted(status, Admission::PassThrough { response, why, existing }) => {
                let response = FetchResponse::PassThrough(Arc::new(response));
                Self::PassOn { status, response, why, existing }
            }
            Judgement::Admitted(status, Admission::Reject { refusal, why, existing }) => {
                Self::PassOn { status, response: FetchResponse::Refusal(refusal), why, existing }
            }
            Judgement::OtherVersion => Self::PassOn {
                status: 304,
                response: FetchResponse::Refusal(Refusal::UpstreamFailed),
                why: NotStored::Status,
                existing: Existing::Keep,
            },
        }
    }
}

impl FetchOutcome {
    /// For a fetch that sent nothing.
    pub(crate) const fn unsent(end: FetchEnd) -> Self {
        Self { end, effort: Effort::NONE }
    }

    /// For a fetch that was refused before it sent anything.
    pub(crate) const fn refused(refusal: Refusal) -> Self {
        Self::unsent(FetchEnd::Unanswered { outcome: ForwardOutcome::NotSent, refusal })
    }
}

/// The meaning of a fetch's result for lookups that wait until the call is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResultKind {
    /// The final call.
    Final,
    /// The current state of a call that is not final.
    Unfinished,
    /// An answer that waiting would not change: 404, 403, 410, a rejected key.
    Conclusive,
    /// The upstream failed, or was not asked: the next request may succeed.
    Failure,
    /// Nothing: another gateway asks the upstream.
    Nothing,
}

impl FetchResult {
    /// The result for a final call found in the store.
    pub(crate) const fn stored(entry: Arc<Entry>, ttl: i64) -> Self {
        let outcome = ForwardOutcome::Stored { status: 200, ttl };
        Self { outcome, response: FetchResponse::Entry(entry), effort: Effort::NONE }
    }

    /// Its meaning for lookups that wait until the call is final.
    pub(crate) fn kind(&self) -> ResultKind {
        if self.is_unfinished() {
            return ResultKind::Unfinished;
        }
        match &self.response {
            FetchResponse::LeftToFleet => ResultKind::Nothing,
            FetchResponse::Entry(entry) if !entry.is_negative() => ResultKind::Final,
            FetchResponse::PassThrough(response) if response.status == StatusCode::OK => ResultKind::Final,
            FetchResponse::Refusal(Refusal::Internal | Refusal::Overloaded(_)) => ResultKind::Failure,
            _ if self.is_failure() => ResultKind::Failure,
            FetchResponse::Entry(_) | FetchResponse::PassThrough(_) | FetchResponse::Refusal(_) => {
                ResultKind::Conclusive
            }
            FetchResponse::GaveWay => ResultKind::Failure,
        }
    }

    /// Whether it is a 200 about a call that is not final.
    pub(crate) const fn is_unfinished(&self) -> bool {
        matches!(self.outcome, ForwardOutcome::NotStored { status: 200, why: NotStored::NotCompleted })
    }

    /// When the upstream asked to be retried, if it failed and said so.
    pub(crate) fn retry_after(&self, now: Timestamp) -> Option<Duration> {
        match &self.response {
            FetchResponse::Refusal(refusal) => refusal.retry_after().map(Duration::from_secs),
            FetchResponse::PassThrough(response) => {
                let field = response.field(&RETRY_AFTER)?.clone();
                retry_after(&[(RETRY_AFTER, field)].into_iter().collect(), now)
            }
            FetchResponse::Entry(_) | FetchResponse::GaveWay | FetchResponse::LeftToFleet => None,
        }
    }

    /// The result for followers of a fetch that ended without a response.
    pub(crate) const fn unanswered(outcome: ForwardOutcome, refusal: Refusal) -> Self {
        Self { outcome, response: FetchResponse::Refusal(refusal), effort: Effort::NONE }
    }

    /// What a level below memory had, if that is the result.
    pub(crate) const fn recalled(&self) -> Option<(Level, &Arc<Entry>)> {
        match (self.outcome, &self.response) {
            (ForwardOutcome::Recalled(level), FetchResponse::Entry(entry)) => Some((level, entry)),
            _ => None,
        }
    }

    /// Whether it stored a newer response.
    pub(crate) const fn has_renewed(&self) -> bool {
        matches!(self.outcome, ForwardOutcome::Stored { .. } | ForwardOutcome::Renewed { .. })
    }

    /// Whether the upstream sent an answer, whatever it said.
    pub(crate) const fn is_from_upstream(&self) -> bool {
        match self.outcome {
            ForwardOutcome::Renewed { .. }
            | ForwardOutcome::Stored { .. }
            | ForwardOutcome::NotStored { .. } => true,
            ForwardOutcome::NotSent | ForwardOutcome::NoResponse | ForwardOutcome::Recalled(_) => false,
        }
    }

    /// Whether the upstream failed, so that a stale entry is better.
    pub(crate) fn is_failure(&self) -> bool {
        match &self.response {
            FetchResponse::Entry(_) => false,
            FetchResponse::PassThrough(response) => is_failure(response.status),
            FetchResponse::Refusal(refusal) => refusal.is_upstream_failure(),
            FetchResponse::GaveWay | FetchResponse::LeftToFleet => true,
        }
    }
}
