//! Lookups that wait until their call is final (`Prefer: wait=N`), and the poller that serves all waiters of one
//! call.

use std::sync::Arc;

use super::fetch_task::FetchTask;
use super::lookup::{PendingLookup, found};
use super::lookup_context::LookupContext;
use super::plane::Gateway;
use super::requested_wait::RequestedWait;
use super::respond::Found;
use crate::cache::{
    FetchResponse, FetchResult, JoinedFetch, Poller, ResultKind, StoreMode, WaitDecision, WaitLimitReached,
    Waiter,
};
use crate::clock::{self, Instant};
use crate::domain::{CacheOutcome, ForwardOutcome, Part, Refusal, RequestId, TenantName};
use crate::telemetry::{Record, WaitEnd, WaitRecord, WaitTally};
use crate::tenant::Tenant;
use crate::upstream::Urgency;

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

/// The result of a wait for which nothing was fetched.
const fn none(refusal: Refusal) -> FetchResult {
    FetchResult::unanswered(ForwardOutcome::NoResponse, refusal)
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

/// Polls a call while clients wait for it. Uses the current configuration for each poll.
async fn poll(gateway: Arc<Gateway>, tenant: TenantName, mut poller: Poller) {
    while let Some(due) = poller.due() {
        if clock::now() < due {
            tokio::select! {
                () = tokio::time::sleep_until(due.for_timer()) => {}
                () = poller.changed() => {}
            }
            continue;
        }
        let snapshot = gateway.snapshots.load_full();
        let tenant = snapshot.directory.named(&tenant);
        // Otherwise the watches are about to be closed.
        let Some(tenant) = tenant.filter(|tenant| Arc::ptr_eq(tenant.watches(), poller.watches())) else {
            return;
        };
        let now = clock::now();
        let Some(mode) = poller.begin(now) else { return };
        let context = LookupContext::new(&snapshot, tenant, *poller.id(), now);
        let held_until = tokio::select! {
            result = fetch_once(context, mode, &gateway) => report(&poller, tenant, result, now, &gateway),
            () = overtaken(&poller, now) => None,
        };
        poller.end(held_until);
    }
}

/// Resolves when the call is purged: the next poll does not wait for this one.
async fn overtaken(poller: &Poller, sent: Instant) {
    while !poller.is_overtaken(sent) {
        poller.changed().await;
    }
}

/// One poll: an ordinary fetch that others may join, or one that it joins itself. A fetch that was in flight already
/// was sent before now.
async fn fetch_once(
    context: LookupContext,
    mode: StoreMode,
    gateway: &Gateway,
) -> (Option<FetchResult>, Part) {
    let generation = Arc::clone(&context.generation);
    let (follower, part) = match generation.join(&context.id, mode, None) {
        JoinedFetch::Follow(follower) => (follower, Part::Followed),
        JoinedFetch::Lead { guard, follower, .. } => {
            context.tenant.metrics().wait_polls.increment();
            let id = RequestId::from_random(fastrand::u128(..));
            FetchTask::new(context, None, id, None).poll(guard, &gateway.fetches);
            (follower, Part::Led)
        }
        JoinedFetch::Stored(entry) => {
            let ttl = entry.freshness(&context.policy, clock::now()).ttl();
            return (Some(FetchResult::stored(entry, ttl)), Part::Led);
        }
    };
    (follower.wait().await.ok(), part)
}

/// Passes a poll's result to the waiters, and determines when the next one may be sent.
fn report(
    poller: &Poller,
    tenant: &Tenant,
    (result, part): (Option<FetchResult>, Part),
    sent: Instant,
    gateway: &Gateway,
) -> Option<Instant> {
    let now = clock::now();
    let mut result = result.unwrap_or_else(|| none(Refusal::Internal));
    if matches!(result.response, FetchResponse::GaveWay) {
        // The reason why it yielded, as a lookup would see it.
        let refusal = tenant.upstream().would_refuse(Urgency::Background, now).map(|error| error.refusal());
        result = none(refusal.unwrap_or(Refusal::UpstreamTimeout));
    }
    let is_failure = result.kind() == ResultKind::Failure;
    let held_until = result.retry_after(gateway.wall.now()).filter(|_| is_failure).map(|after| now + after);
    // The fetch itself has passed its result to the watch, unless it yielded or its task has ended. A fetch from
    // before this poll answers only lookups from before it.
    if part == Part::Led {
        tenant.watches().completed(poller.id(), sent, &result);
    }
    held_until
}
