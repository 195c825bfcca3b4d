//! Lookups that wait until a call is final: one watch per call, with one poller for all its waiters.
//!
//! Works beside the single flight: polls are ordinary fetches, and the result of any fetch, whether a poll or another
//! lookup, reaches all waiters. Survives purges, which only invalidate what was sent before them. Does not fetch and
//! knows no clients and no fleet; takes `now` as an argument, except for the time at which a waiter leaves.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

#[cfg(feature = "loom")]
use loom::sync::{Mutex, MutexGuard, atomic::AtomicUsize};
#[cfg(not(feature = "loom"))]
use std::sync::{Mutex, MutexGuard, atomic::AtomicUsize};

use rustc_hash::FxBuildHasher;
use tokio::sync::watch;

use super::fetch_result::FetchResult;
use super::policy::PollPauses;
use super::single_flight::StoreMode;
use crate::clock::{self, Instant};
use crate::domain::CallId;

mod latest_results;
mod poller;
mod watched_call;

use latest_results::LatestResults;
pub(crate) use latest_results::{WaitDecision, WaitTimes};
pub(crate) use poller::{BegunPoll, PollEnd, PollInterest, Poller};
use watched_call::{Watch, Watching};

/// The most refreshes that are remembered, so that those of a call keep their distance.
const MAX_REFRESHED: usize = 16_384;
/// The most watches without waiters that are remembered, per watch that may have some.
const REMEMBERED: usize = 4;

/// A tenant's watches, for as long as its tokens and keys stay the same.
pub(crate) struct Watches {
    /// The number of watches in the table: a fetch of an unwatched call takes no lock.
    len: AtomicUsize,
    table: Mutex<WatchTable>,
}

#[derive(Default)]
struct WatchTable {
    watches: HashMap<CallId, Watch, FxBuildHasher>,
    waiting: usize,
    /// When calls without waiters were last due for renewal.
    refreshed: HashMap<CallId, Instant, FxBuildHasher>,
    /// The last number given to a watch or waiter.
    number: u64,
    closed: bool,
}

/// The tenant's limits on waiting.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WaitBounds {
    pub(crate) waiting: usize,
    pub(crate) calls: usize,
    pub(crate) pauses: PollPauses,
}

/// A waiting lookup. Dropping it leaves the watch.
pub(crate) struct Waiter {
    watches: Arc<Watches>,
    id: CallId,
    watch: u64,
    number: u64,
    times: WaitTimes,
    results: watch::Receiver<LatestResults>,
}

/// A lookup that has joined a watch, and the poller to be started for it, if none is running.
pub(crate) type JoinedWatch = (Waiter, Option<Poller>);

/// The effect of a refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refresh {
    /// The call has waiters, and its next poll was brought forward.
    Polled,
    /// Its entry may be renewed.
    Due,
    /// The previous refresh was too recent.
    TooSoon,
}

/// The limit of waiting lookups or polled calls is reached, or the tenant's watches have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WaitLimitReached;

impl Watches {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { len: AtomicUsize::new(0), table: Mutex::default() })
    }

    fn table(&self) -> Locked<'_> {
        Locked { table: self.table.lock().unwrap_or_else(PoisonError::into_inner), len: &self.len }
    }

    /// Joins the call's watch, running or remembered; `None` if there is none.
    pub(crate) fn join(
        self: &Arc<Self>,
        id: &CallId,
        times: WaitTimes,
        mode: StoreMode,
        bounds: &WaitBounds,
    ) -> Option<Result<JoinedWatch, WaitLimitReached>> {
        if self.len.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut table = self.table();
        let Some(place) = table.place(id, times.asked, bounds) else {
            table.watches.remove(id);
            return None;
        };
        Some(place.and_then(|()| self.enter(&mut table, id, times, mode).ok_or(WaitLimitReached)))
    }

    /// Whether a lookup that may wait would join the call's watch now; `None` where there is none. Changes
    /// nothing.
    pub(crate) fn would_join(
        &self,
        id: &CallId,
        now: Instant,
        bounds: &WaitBounds,
    ) -> Option<Result<(), WaitLimitReached>> {
        self.table().place(id, now, bounds)
    }

    /// Joins the call's watch, or begins one with the fetch that has just found the call unfinished. `fetched` is
    /// `None` for a waiter that followed a fetch which may have begun before its request.
    pub(crate) fn begin(
        self: &Arc<Self>,
        id: &CallId,
        times: WaitTimes,
        mode: StoreMode,
        fetched: Option<FetchResult>,
        bounds: &WaitBounds,
        now: Instant,
    ) -> Result<JoinedWatch, WaitLimitReached> {
        let mut table = self.table();
        table.forget(now, bounds);
        let known = table.watches.get(id);
        let is_polled = known.is_some_and(|watch| !watch.waiters.is_empty());
        if table.closed || !table.has_capacity(is_polled, bounds) {
            return Err(WaitLimitReached);
        }
        if known.is_none() {
            let number = table.next_number();
            table.watches.insert(*id, Watch::new(number, bounds.pauses, now));
        }
        if let (Some(watch), Some(result)) = (table.watches.get(id), fetched) {
            watch.note(times.asked, result);
        }
        self.enter(&mut table, id, times, mode).ok_or(WaitLimitReached)
    }

    fn enter(
        self: &Arc<Self>,
        table: &mut WatchTable,
        id: &CallId,
        times: WaitTimes,
        mode: StoreMode,
    ) -> Option<JoinedWatch> {
        let number = table.next_number();
        let watch = table.watches.get_mut(id)?;
        watch.waiters.insert(number, (times, mode));
        watch.poller.notify_one();
        let (results, id) = (watch.results.subscribe(), *id);
        let must_poll = !std::mem::replace(&mut watch.has_poller, true);
        let watches = || Arc::clone(self);
        let poller = must_poll.then(|| Poller::new(watches(), id, watch));
        let waiter = Waiter { watches: watches(), id, watch: watch.number, number, times, results };
        table.waiting += 1;
        Some((waiter, poller))
    }

    /// Notes a completed fetch of the call that was sent at `sent`, by a poll or any lookup.
    pub(crate) fn completed(&self, id: &CallId, sent: Instant, result: &FetchResult) {
        if self.len.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut table = self.table();
        if table.watches.get(id).is_some_and(|watch| watch.note(sent, result.clone()) == Watching::Over)
            && let Some(watch) = table.watches.remove(id)
        {
            watch.poller.notify_one();
        }
    }

    /// Notes that the call was purged: its waiters get only what is sent from `now` on.
    pub(crate) fn purged(&self, id: &CallId, now: Instant) {
        if let Some(watch) = self.table().watches.get_mut(id) {
            watch.purge(now);
        }
    }

    /// Notes that every call was purged.
    pub(crate) fn purged_all(&self, now: Instant) {
        self.table().watches.values_mut().for_each(|watch| watch.purge(now));
    }

    /// Brings the next poll of a watched call forward. For a call without waiters, says whether its entry may be
    /// renewed. Both at most once per shortest pause.
    pub(crate) fn refresh(&self, id: &CallId, now: Instant, shortest: Duration) -> Refresh {
        let mut table = self.table();
        if let Some(watch) = table.watches.get_mut(id).filter(|watch| !watch.waiters.is_empty()) {
            watch.schedule.advance(now, watch.pauses);
            watch.poller.notify_one();
            return Refresh::Polled;
        }
        let is_recent = |at: &Instant| now.duration_since(*at) < shortest;
        if table.refreshed.get(id).is_some_and(is_recent) {
            return Refresh::TooSoon;
        }
        if table.refreshed.len() >= MAX_REFRESHED {
            table.refreshed.retain(|_, at| is_recent(at));
        }
        if table.refreshed.len() >= MAX_REFRESHED {
            return Refresh::TooSoon;
        }
        table.refreshed.insert(*id, now);
        Refresh::Due
    }

    /// Ends every wait and admits no more: the tenant's tokens or keys have changed.
    pub(crate) fn close(&self) {
        let mut table = self.table();
        table.closed = true;
        for (_, watch) in table.watches.drain() {
            watch.results.send_modify(LatestResults::close);
            watch.poller.notify_one();
        }
    }

    /// Waiting lookups, and calls that are polled for them.
    pub(crate) fn size(&self) -> (usize, usize) {
        let table = self.table();
        (table.waiting, table.polled())
    }

    /// The number of a call's waiters, and the time until its next poll, if it has any.
    pub(crate) fn describe(&self, id: &CallId, now: Instant) -> Option<(usize, Duration)> {
        let table = self.table();
        let watch = table.watches.get(id).filter(|watch| !watch.waiters.is_empty())?;
        Some((watch.waiters.len(), watch.due().duration_since(now)))
    }
}

/// The locked table. Unlocking it publishes its length.
struct Locked<'a> {
    table: MutexGuard<'a, WatchTable>,
    len: &'a AtomicUsize,
}

impl std::ops::Deref for Locked<'_> {
    type Target = WatchTable;

    fn deref(&self) -> &WatchTable {
        &self.table
    }
}

impl std::ops::DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut WatchTable {
        &mut self.table
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.len.store(self.table.watches.len(), Ordering::Relaxed);
    }
}

impl WatchTable {
    fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    fn polled(&self) -> usize {
        self.watches.values().filter(|watch| !watch.waiters.is_empty()).count()
    }

    /// Whether another lookup may wait, for a call that is polled already or not.
    fn has_capacity(&self, is_polled: bool, bounds: &WaitBounds) -> bool {
        self.waiting < bounds.waiting && (is_polled || self.polled() < bounds.calls)
    }

    /// Whether one more may wait in the call's watch; `None` where there is none, or one that is forgotten.
    fn place(&self, id: &CallId, now: Instant, bounds: &WaitBounds) -> Option<Result<(), WaitLimitReached>> {
        let watch = self.watches.get(id).filter(|watch| !watch.is_forgotten(now, bounds.pauses))?;
        let is_polled = !watch.waiters.is_empty();
        Some(if self.has_capacity(is_polled, bounds) { Ok(()) } else { Err(WaitLimitReached) })
    }

    /// Forgets watches to which no client has returned, and the oldest of too many.
    fn forget(&mut self, now: Instant, bounds: &WaitBounds) {
        self.watches.retain(|_, watch| !watch.is_forgotten(now, bounds.pauses));
        while self.watches.len() - self.polled() >= bounds.calls.saturating_mul(REMEMBERED) {
            let left = self.watches.iter().filter(|(_, watch)| watch.waiters.is_empty());
            let Some(oldest) = left.min_by_key(|(_, watch)| watch.left).map(|(id, _)| *id) else { return };
            self.watches.remove(&oldest);
        }
    }
}

impl Waiter {
    pub(crate) const fn id(&self) -> &CallId {
        &self.id
    }

    /// The waiter's result, or when to check again.
    pub(crate) fn decide(&mut self, now: Instant) -> WaitDecision {
        self.results.borrow_and_update().decide(&self.times, now)
    }

    /// The best result since its request, for a wait that is cut short.
    pub(crate) fn best(&self) -> Option<FetchResult> {
        self.results.borrow().best(&self.times)
    }

    /// Waits for new results.
    pub(crate) async fn changed(&mut self) {
        // A watch that has ended gets no further results, and its last ones decide.
        if self.results.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut table = self.watches.table();
        table.waiting = table.waiting.saturating_sub(1);
        let Some(watch) = table.watches.get_mut(&self.id).filter(|watch| watch.number == self.watch) else {
            return;
        };
        watch.waiters.remove(&self.number);
        if watch.waiters.is_empty() {
            watch.left = clock::now();
            watch.poller.notify_one();
        }
    }
}

#[cfg(test)]
mod tests;
