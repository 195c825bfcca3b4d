//! Lookups that wait until their call is final (`Prefer: wait=N`).

use std::sync::Arc;

use super::lookup::{PendingLookup, found};
use super::plane::Gateway;
use super::poll::{none, poll};
use super::requested_wait::RequestedWait;
use super::respond::Found;
use crate::cache::{
    FetchResponse, FetchResult, Poller, ResultKind, StoreMode, WaitDecision, WaitLimitReached, Waiter,
};
use crate::clock;
use crate::domain::{CacheOutcome, ForwardOutcome, Part, Refusal};
use crate::telemetry::{Record, WaitEnd, WaitRecord, WaitTally};

impl PendingLookup {
    /// Answers the lookup: with a fetch, or, if it may wait and the call is not final, with the call's state when the
    /// wait ends.
    pub(super) async fn answer(
        &mut self,
        gateway: &Arc<Gateway>,
        record: &mut Record,
    ) -> Result<Found, Refusal> {
        let Some(wait) = self.wait.take_if(|_| !gateway.wait_drain.has_begun()) else {
            return self.await_fetch(&gateway.fetches, &gateway.cutoff, record).await;
        };
        let fetch = self.context.deadlines.answer.duration_since(wait.asked);
        let (times, mode) = (wait.times(fetch), self.miss.store_mode);
        let (tenant, id) = (Arc::clone(&self.context.tenant), self.context.id);
        match tenant.watches().join(&id, times, mode, &wait.bounds) {
            Some(Ok(joined)) => return self.watch(joined, &wait, gateway, record).await,
            // As if the client had not asked for a wait.
            Some(Err(WaitLimitReached)) => {
                tenant.metrics().count_wait(WaitEnd::Full);
                return self.await_fetch(&gateway.fetches, &gateway.cutoff, record).await;
            }
            None => {}
        }
        let first = self.await_fetch(&gateway.fetches, &gateway.cutoff, record).await;
        let Some((result, part)) = unfinished(&first, record) else { return first };
        if gateway.wait_drain.has_begun() || clock::now() >= times.end {
            return first;
        }
        // A fetch that it followed may have begun before its request.
        let fetched = (part == Part::Led).then_some(result);
        match tenant.watches().begin(&id, times, mode, fetched, &wait.bounds, clock::now()) {
            Ok(joined) => self.watch(joined, &wait, gateway, record).await,
            Err(WaitLimitReached) => {
                tenant.metrics().count_wait(WaitEnd::Full);
                first
            }
        }
    }

    /// Waits in a watch.
    async fn watch(
        &self,
        (waiter, poller): (Waiter, Option<Poller>),
        wait: &RequestedWait,
        gateway: &Arc<Gateway>,
        record: &mut Record,
    ) -> Result<Found, Refusal> {
        let (forward, began) = (self.miss.forward, clock::now());
        let part = if poller.is_some() { Part::BeganWatch } else { Part::JoinedWatch };
        let outcome = |outcome| Some(CacheOutcome::Forwarded { forward, outcome, part });
        // Counted if the client disconnects now.
        record.cache_outcome = outcome(ForwardOutcome::NoResponse);
        record.wait = Some(WaitRecord { began, applied: wait.length.as_secs() });
        let tally = WaitTally::begin(&gateway.telemetry, self.context.tenant.metrics(), began);
        if let Some(poller) = poller {
            let polling = poll(Arc::clone(gateway), self.context.tenant.name().clone(), poller);
            gateway.fetches.spawn(polling);
        }
        let (end, result) = self.await_end(waiter, gateway).await;
        tally.end(end);
        record.cache_outcome = outcome(result.outcome);
        found(result, &self.context, clock::now())
    }

    async fn await_end(&self, mut waiter: Waiter, gateway: &Gateway) -> (WaitEnd, FetchResult) {
        // Results from before this waiter joined the watch.
        let tenant = &self.context.tenant;
        let stored = tenant.cache().current().entry(waiter.id()).filter(|entry| !entry.is_negative());
        let may_read = self.miss.seen.is_none() && self.miss.store_mode == StoreMode::Store;
        if let Some(entry) = stored.filter(|_| may_read) {
            let ttl = entry.freshness(&self.context.policy, clock::now()).ttl();
            return (WaitEnd::Final, FetchResult::stored(entry, ttl));
        }
        let mut drain = std::pin::pin!(gateway.wait_drain.reached());
        loop {
            let until = match waiter.decide(clock::now()) {
                WaitDecision::Final(result) => return (WaitEnd::Final, result),
                WaitDecision::Conclusive(result) => return (WaitEnd::Error, result),
                WaitDecision::TimeUp(result) => return time_up(result),
                WaitDecision::Closed(result) => {
                    return (WaitEnd::Reload, result.unwrap_or_else(|| none(Refusal::WaitEnded)));
                }
                WaitDecision::WaitUntil(instant) => instant,
            };
            tokio::select! {
                biased;
                () = waiter.changed() => {}
                () = tokio::time::sleep_until(until.for_timer()) => {}
                () = &mut drain => break,
                () = gateway.cutoff.reached() => break,
            }
        }
        // A failure must not keep a client from asking another gateway.
        let best = waiter.best().filter(|result| result.kind() == ResultKind::Unfinished);
        (WaitEnd::Drain, best.unwrap_or_else(|| none(Refusal::ShuttingDown)))
    }
}

fn time_up(result: Option<FetchResult>) -> (WaitEnd, FetchResult) {
    let result = result.unwrap_or_else(|| none(Refusal::UpstreamTimeout));
    (if result.is_unfinished() { WaitEnd::Time } else { WaitEnd::Error }, result)
}

/// The result of the first fetch, if the call is not final, and the lookup's part in it.
fn unfinished(first: &Result<Found, Refusal>, record: &Record) -> Option<(FetchResult, Part)> {
    let (Ok(Found::PassThrough(response)), Some(CacheOutcome::Forwarded { outcome, part, .. })) =
        (first, record.cache_outcome)
    else {
        return None;
    };
    let response = FetchResponse::PassThrough(Arc::clone(response));
    let result = FetchResult { outcome, response, effort: record.effort };
    result.is_unfinished().then_some((result, part))
}
