//! One watched call: its waiters, its schedule, and its latest results.

use std::sync::Arc;

use std::collections::HashMap;

use rustc_hash::FxBuildHasher;
use tokio::sync::{Notify, watch};

use super::latest_results::{LatestResults, TimedResult, WaitTimes};
use crate::cache::fetch_result::{FetchResult, ResultKind};
use crate::cache::policy::{PollPauses, PollSchedule, PollTurn};
use crate::cache::single_flight::StoreMode;
use crate::clock::Instant;

pub(super) struct Watch {
    /// Distinguishes successive watches of the same call.
    pub(super) number: u64,
    pub(super) pauses: PollPauses,
    pub(super) schedule: PollSchedule,
    pub(super) waiters: HashMap<u64, (WaitTimes, StoreMode), FxBuildHasher>,
    /// When the last waiter left.
    pub(super) left: Instant,
    pub(super) purged: Option<Instant>,
    pub(super) results: watch::Sender<LatestResults>,
    pub(super) poller: Arc<Notify>,
    pub(super) has_poller: bool,
}

/// Whether a watch continues after a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Watching {
    On,
    Over,
}

impl Watch {
    pub(super) fn new(number: u64, pauses: PollPauses, now: Instant) -> Self {
        Self {
            number,
            pauses,
            schedule: PollSchedule::begin(now, pauses, jitter()),
            waiters: HashMap::default(),
            left: now,
            purged: None,
            results: watch::Sender::new(LatestResults::default()),
            poller: Arc::default(),
            has_poller: false,
        }
    }

    pub(super) fn is_forgotten(&self, now: Instant, pauses: PollPauses) -> bool {
        self.waiters.is_empty() && now.duration_since(self.left) > pauses.longest
    }

    pub(super) fn note(&self, sent: Instant, result: FetchResult) -> Watching {
        if self.purged.is_some_and(|purged| sent < purged) {
            return Watching::On;
        }
        let kind = result.kind();
        self.results.send_modify(|results| results.add(kind, TimedResult { sent, result }));
        match kind {
            ResultKind::Final | ResultKind::Conclusive => Watching::Over,
            ResultKind::Unfinished | ResultKind::Failure | ResultKind::Nothing => Watching::On,
        }
    }

    pub(super) fn purge(&mut self, now: Instant) {
        self.purged = Some(now);
        self.schedule.hurry(now, self.pauses);
        self.results.send_modify(LatestResults::purge);
        self.poller.notify_one();
    }

    /// When the next poll is due.
    pub(super) fn due(&self) -> Instant {
        self.schedule.due(self.unheard(), self.pauses)
    }

    /// The turn of a poll that begins now.
    pub(super) fn turn(&self, now: Instant) -> PollTurn {
        self.schedule.turn(now, self.unheard(), self.pauses)
    }

    /// The earliest end of a waiter for which nothing has been fetched since its request.
    fn unheard(&self) -> Option<Instant> {
        let results = self.results.borrow();
        let unheard = self.waiters.values().map(|(times, _)| times).filter(|times| !results.reaches(times));
        unheard.map(|times| times.end).min()
    }
}

/// A random jitter, in thousandths.
pub(super) fn jitter() -> u16 {
    fastrand::u16(0..=1000)
}
