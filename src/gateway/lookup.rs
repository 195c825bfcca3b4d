//! A lookup that waits for a fetch: leads or follows one, and turns its result into this client's answer.

use std::pin::pin;
use std::sync::Arc;

use super::below_memory::BelowMemory;
use super::cutoff::Cutoff;
use super::decisions::{CacheDecision, CachedAnswer, Miss, decide, fall_back};
use super::fetch_task::{FetchSpawner, FetchTask};
use super::lookup_context::{LookupContext, as_one_of_few, await_result};
use super::recall::recall;
use super::requested_wait::RequestedWait;
use super::respond::Found;
use crate::cache::{
    CallLeader, Entry, FetchOutcome, FetchResponse, FetchResult, JoinedFetch, RequestDirectives, StoreMode,
};
use crate::clock::{self, Instant};
use crate::domain::{CacheOutcome, ForwardOutcome, Level, Overload, Part, Refusal};
use crate::levels::ClaimWish;
use crate::telemetry::{Coverage, Record};
use crate::tenant::ConcurrencyLimit;

/// A lookup that the cache could not answer.
pub(super) struct PendingLookup {
    pub(super) context: LookupContext,
    pub(super) directives: RequestDirectives,
    pub(super) miss: Miss,
    /// Whether a fetch that it leads asks below memory: once, whatever comes of it.
    pub(super) below: BelowMemory,
    pub(super) in_flight: ConcurrencyLimit,
    /// How long it may wait until the call is final.
    pub(super) wait: Option<RequestedWait>,
}

impl PendingLookup {
    /// Waits for a fetch, within the limits on waiting lookups.
    pub(super) async fn await_fetch(
        &mut self,
        fetches: &FetchSpawner,
        cutoff: &Cutoff,
        record: &mut Record,
    ) -> Result<Found, Refusal> {
        let (in_flight, tenant) = (self.in_flight.clone(), Arc::clone(&self.context.tenant));
        as_one_of_few(in_flight, &tenant, pin!(self.join_fetch(fetches, cutoff, record))).await
    }

    async fn join_fetch(
        &mut self,
        fetches: &FetchSpawner,
        cutoff: &Cutoff,
        record: &mut Record,
    ) -> Result<Found, Refusal> {
        loop {
            let Self { context, miss, .. } = &*self;
            let forward = miss.forward;
            let (follower, part) =
                match context.generation.join(&context.id, miss.store_mode, miss.seen.as_ref()) {
                    JoinedFetch::Follow(_) if self.below == BelowMemory::Only => {
                        // That fetch may take longer than this client wants to wait.
                        let recalled = recall(context, self.below, None, ClaimWish::None).await;
                        let Some((level, entry)) = recalled.found else { return Err(Refusal::NotCached) };
                        let served = self.serve_recalled(level, &entry, fetches, record);
                        return served.unwrap_or(Err(Refusal::NotCached));
                    }
                    JoinedFetch::Follow(follower) => (follower, Part::Followed),
                    JoinedFetch::Lead { guard, follower, seen } => {
                        self.lead(guard, seen, fetches, record)?;
                        (follower, Part::Led)
                    }
                    JoinedFetch::Stored(entry) => {
                        // A fetch has completed since our own check.
                        match decide(Some(entry), &self.directives, &context.policy, clock::now()) {
                            CacheDecision::Serve(answer) | CacheDecision::Renew(answer) => {
                                return Ok(serve(answer, record));
                            }
                            CacheDecision::NotCached(_) => return Err(Refusal::NotCached),
                            CacheDecision::Fetch(miss) => self.miss = miss,
                        }
                        continue;
                    }
                };
            let outcome = |outcome| Some(CacheOutcome::Forwarded { forward, outcome, part });
            // Counted if the client disconnects now.
            record.cache_outcome = outcome(ForwardOutcome::NoResponse);
            let unanswered = |refusal| FetchResult::unanswered(ForwardOutcome::NoResponse, refusal);
            let result = await_result(follower.wait(), context.deadlines, cutoff).await?;
            let result = result.unwrap_or_else(unanswered);
            if let Some((level, entry)) = result.recalled() {
                record.cache_outcome = None;
                if let Some(served) = self.serve_recalled(level, entry, fetches, record) {
                    return served;
                }
                continue;
            }
            if self.below == BelowMemory::Only {
                record.cache_outcome = outcome(ForwardOutcome::NotSent);
                return Err(Refusal::NotCached);
            }
            let sent_nothing = matches!(result.response, FetchResponse::GaveWay | FetchResponse::LeftToFleet);
            if sent_nothing && clock::now() < context.deadlines.fetch {
                record.cache_outcome = None;
                continue;
            }
            record.cache_outcome = outcome(result.outcome);
            if part == Part::Led {
                record.effort = result.effort;
            }
            return finish(result, &self.miss, &self.context, record);
        }
    }
}

impl PendingLookup {
    /// Starts the fetch, if there is a place for it.
    fn lead(
        &self,
        guard: CallLeader,
        seen: Option<Arc<Entry>>,
        fetches: &FetchSpawner,
        record: &Record,
    ) -> Result<(), Refusal> {
        let Self { context, miss, .. } = self;
        let Some(slot) = context.tenant.waits().fetches.take() else {
            let refusal = Refusal::Overloaded(Overload::MaxWaiting);
            context.generation.complete(guard, FetchOutcome::refused(refusal));
            return Err(refusal);
        };
        // For a client that said `no-store`, the store isn't even read.
        let entry = seen.filter(|_| miss.store_mode == StoreMode::Store);
        let below = match (self.below, &entry) {
            (BelowMemory::Skipped, _) => BelowMemory::Skipped,
            (_, Some(_)) => BelowMemory::Newer,
            // It was purged meanwhile.
            (BelowMemory::Newer, None) => BelowMemory::First,
            (below, None) => below,
        };
        FetchTask::new(context.clone(), entry, record.id.clone(), record.trace.clone())
            .asking(below)
            .spawn(guard, slot, fetches);
        Ok(())
    }

    /// Decides on an entry that a level below memory had. `None`: it must be renewed first, or fetched.
    fn serve_recalled(
        &mut self,
        level: Level,
        entry: &Arc<Entry>,
        fetches: &FetchSpawner,
        record: &mut Record,
    ) -> Option<Result<Found, Refusal>> {
        // A lookup asks for the same only once.
        self.below = match self.below {
            BelowMemory::First | BelowMemory::Newer => BelowMemory::Newer,
            BelowMemory::Only | BelowMemory::Skipped => BelowMemory::Skipped,
        };
        let (context, now) = (&self.context, clock::now());
        let answer = match decide(Some(Arc::clone(entry)), &self.directives, &context.policy, now) {
            CacheDecision::Serve(answer) => answer,
            CacheDecision::Renew(answer) => {
                let stored = Some(Arc::clone(entry));
                FetchTask::new(context.clone(), stored, record.id.clone(), record.trace.clone())
                    .renew(now, fetches);
                answer
            }
            CacheDecision::NotCached(forward) => {
                let outcome = ForwardOutcome::NotSent;
                record.cache_outcome = Some(CacheOutcome::Forwarded { forward, outcome, part: Part::Led });
                return Some(Err(Refusal::NotCached));
            }
            CacheDecision::Fetch(miss) => {
                if fall_back(&miss, &context.policy, now).is_some() {
                    record.coverage = Coverage::Stale;
                }
                self.miss = miss;
                return None;
            }
        };
        Some(Ok(serve(answer.recalled_from(level), record)))
    }
}

/// What a client gets from a fetch that has completed: its response, or a stale entry if that is better.
fn finish(
    result: FetchResult,
    miss: &Miss,
    context: &LookupContext,
    record: &mut Record,
) -> Result<Found, Refusal> {
    let now = clock::now();
    if result.is_failure()
        && let Some(answer) = fall_back(miss, &context.policy, now)
    {
        return Ok(serve(answer, record));
    }
    found(result, context, now)
}

/// The client's answer from a fetch's result.
pub(super) fn found(result: FetchResult, context: &LookupContext, now: Instant) -> Result<Found, Refusal> {
    match result.response {
        FetchResponse::Entry(entry) => {
            let age = entry.freshness(&context.policy, now).age_seconds();
            // A response that has just arrived has an age only if it was old on arrival.
            let from_cache = matches!(result.outcome, ForwardOutcome::Renewed { .. }) || age > 0;
            Ok(Found::Entry { entry, age: from_cache.then_some(age) })
        }
        FetchResponse::PassThrough(response) => Ok(Found::PassThrough(response)),
        FetchResponse::Refusal(refusal) => Err(refusal),
        FetchResponse::GaveWay | FetchResponse::LeftToFleet => Err(Refusal::UpstreamTimeout),
    }
}

/// Answers from the cache.
pub(super) fn serve(answer: CachedAnswer, record: &mut Record) -> Found {
    record.cache_outcome = Some(answer.outcome);
    Found::Entry { entry: Arc::clone(&answer.entry), age: Some(answer.age) }
}
