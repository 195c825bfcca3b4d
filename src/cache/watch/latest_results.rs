//! The results that the waiters of a call get, and when: pure.

use std::time::Duration;

use crate::cache::fetch_result::{FetchResult, ResultKind};
use crate::clock::Instant;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WaitTimes {
    /// The time of the request. Nothing fetched earlier answers it, unless the call is final.
    pub(crate) asked: Instant,
    /// The end of the requested wait.
    pub(crate) end: Instant,
    /// The extension if nothing was fetched for it: the shortest pause between two polls.
    pub(crate) grace: Duration,
    /// The extension if a poll is in flight by then: the time that a fetch may take.
    pub(crate) fetch: Duration,
}

/// A fetch that has completed.
#[derive(Debug, Clone)]
pub(super) struct TimedResult {
    pub(super) sent: Instant,
    pub(super) result: FetchResult,
}

/// The results for a call since its watch began, or since its last purge.
#[derive(Debug, Clone, Default)]
pub(crate) struct LatestResults {
    unfinished: Option<TimedResult>,
    failure: Option<TimedResult>,
    end: Option<End>,
    /// When the poll in flight was sent.
    pub(super) polling: Option<Instant>,
}

#[derive(Debug, Clone)]
enum End {
    Answer(ResultKind, FetchResult),
    Closed,
}

/// The decision on a waiter.
#[derive(Debug)]
pub(crate) enum WaitDecision {
    /// The call is final.
    Final(FetchResult),
    /// Further waiting would not change this result.
    Conclusive(FetchResult),
    /// Its time is up: the unfinished call, the last failure, or nothing at all.
    TimeUp(Option<FetchResult>),
    /// The tenant's watches were closed.
    Closed(Option<FetchResult>),
    /// It continues to wait, until this instant or until there are new results.
    WaitUntil(Instant),
}

impl LatestResults {
    pub(super) fn add(&mut self, kind: ResultKind, landed: TimedResult) {
        let place = match kind {
            ResultKind::Unfinished => &mut self.unfinished,
            ResultKind::Failure => &mut self.failure,
            ResultKind::Final | ResultKind::Conclusive => {
                self.end = Some(End::Answer(kind, landed.result));
                return;
            }
            ResultKind::Nothing => return,
        };
        if place.as_ref().is_none_or(|known| known.sent <= landed.sent) {
            *place = Some(landed);
        }
    }

    /// Forgets what was fetched before a purge.
    pub(super) fn purge(&mut self) {
        *self = Self::default();
    }

    pub(super) fn close(&mut self) {
        self.end = Some(End::Closed);
    }

    /// Whether something was fetched for this waiter, or failed, since its request.
    pub(super) fn reaches(&self, times: &WaitTimes) -> bool {
        since(&self.unfinished, times).or_else(|| since(&self.failure, times)).is_some()
    }

    /// The call as fetched since the waiter's request, else the last failure.
    pub(super) fn best(&self, times: &WaitTimes) -> Option<FetchResult> {
        let failure = || self.failure.as_ref();
        since(&self.unfinished, times).or_else(failure).map(|landed| landed.result.clone())
    }

    pub(super) fn decide(&self, times: &WaitTimes, now: Instant) -> WaitDecision {
        match &self.end {
            Some(End::Answer(ResultKind::Final, result)) => return WaitDecision::Final(result.clone()),
            Some(End::Answer(_, result)) => return WaitDecision::Conclusive(result.clone()),
            Some(End::Closed) => return WaitDecision::Closed(self.best(times)),
            None => {}
        }
        let until = match (self.reaches(times), self.polling) {
            (true, _) => times.end,
            (false, Some(sent)) if sent >= times.asked => times.end + times.grace + times.fetch,
            (false, _) => times.end + times.grace,
        };
        if now < until {
            WaitDecision::WaitUntil(until.min(later(times, now)))
        } else {
            WaitDecision::TimeUp(self.best(times))
        }
    }
}

/// The next instant at which the decision may change by time alone.
fn later(times: &WaitTimes, now: Instant) -> Instant {
    let graced = times.end + times.grace;
    if now < times.end {
        times.end
    } else if now < graced {
        graced
    } else {
        graced + times.fetch
    }
}

fn since<'a>(landed: &'a Option<TimedResult>, times: &WaitTimes) -> Option<&'a TimedResult> {
    landed.as_ref().filter(|landed| landed.sent >= times.asked)
}
