//! The one poller of a watched call: when to poll, for whom, and when to stop. Sends nothing itself.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::Watches;
use super::watched_call::{Watch, jitter};
use crate::cache::policy::PollTurn;
use crate::cache::single_flight::StoreMode;
use crate::clock::Instant;
use crate::domain::CallId;

/// The obligation to poll a call while it has waiters.
pub(crate) struct Poller {
    watches: Arc<Watches>,
    id: CallId,
    watch: u64,
    changed: Arc<Notify>,
    stage: PollerStage,
}

/// Whether a poller is still responsible for its watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PollerStage {
    Polling,
    Done,
}

/// A poll that begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BegunPoll {
    /// Whether any waiter allows its response to be stored.
    pub(crate) mode: StoreMode,
    pub(crate) turn: PollTurn,
    /// The time until the next one is due at the latest.
    pub(crate) next_in: Duration,
}

/// The interest in a poll in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PollInterest {
    /// Clients wait for it.
    Awaited,
    /// All clients have left.
    Abandoned,
    /// The call was purged since it began, or is no longer watched.
    Overtaken,
}

/// The end of a poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PollEnd {
    /// It was completed or abandoned. The next one comes no earlier than this.
    Polled { held_until: Option<Instant> },
    /// It sent nothing, because another gateway of the fleet polls or fetches the call.
    Left,
}

impl Poller {
    pub(super) fn new(watches: Arc<Watches>, id: CallId, watch: &Watch) -> Self {
        let changed = Arc::clone(&watch.poller);
        Self { watches, id, watch: watch.number, changed, stage: PollerStage::Polling }
    }

    pub(crate) const fn id(&self) -> &CallId {
        &self.id
    }

    pub(crate) const fn watches(&self) -> &Arc<Watches> {
        &self.watches
    }

    fn with<T>(&self, work: impl FnOnce(&mut Watch) -> T) -> Option<T> {
        let mut table = self.watches.table();
        table.watches.get_mut(&self.id).filter(|watch| watch.number == self.watch).map(work)
    }

    /// When the next poll is due; `None` once there are no waiters. The next waiter then starts another poller.
    pub(crate) fn due(&mut self) -> Option<Instant> {
        let due = self.with(|watch| {
            watch.has_poller = !watch.waiters.is_empty();
            watch.has_poller.then(|| watch.due())
        });
        let due = due.flatten();
        if due.is_none() {
            self.stage = PollerStage::Done;
        }
        due
    }

    /// Waits until the schedule may have changed, or the interest in a poll.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Notes the start of a poll.
    pub(crate) fn begin(&self, now: Instant) -> Option<BegunPoll> {
        self.with(|watch| {
            let turn = watch.turn(now);
            watch.schedule.polled(now, watch.pauses, jitter());
            watch.results.send_modify(|results| results.polling = Some(now));
            let may_store = watch.waiters.values().any(|(_, mode)| *mode == StoreMode::Store);
            let mode = if may_store { StoreMode::Store } else { StoreMode::NoStore };
            BegunPoll { mode, turn, next_in: watch.schedule.next_in(now) }
        })
    }

    /// The interest in the poll that was sent at `sent`.
    pub(crate) fn interest(&self, sent: Instant) -> PollInterest {
        let interest = self.with(|watch| match watch.purged {
            Some(purged) if sent < purged => PollInterest::Overtaken,
            _ if watch.waiters.is_empty() => PollInterest::Abandoned,
            _ => PollInterest::Awaited,
        });
        interest.unwrap_or(PollInterest::Overtaken)
    }

    /// Notes the end of a poll.
    pub(crate) fn end(&self, end: PollEnd, now: Instant) {
        self.with(|watch| {
            watch.results.send_modify(|results| results.polling = None);
            match end {
                PollEnd::Polled { held_until: Some(instant) } => watch.schedule.hold_until(instant),
                PollEnd::Polled { held_until: None } => {}
                PollEnd::Left => watch.schedule.left(now),
            }
        });
    }
}

/// When a poller's task is gone, the next waiter may start another.
impl Drop for Poller {
    fn drop(&mut self) {
        if self.stage == PollerStage::Polling {
            self.with(|watch| watch.has_poller = false);
        }
    }
}
