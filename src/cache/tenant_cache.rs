//! A tenant's cache: a store and the fetches that may change it, both replaced by a purge of the tenant.
//!
//! A request uses one generation throughout. A fetch that began in an old one completes there, unseen by later
//! requests: a tenant's purge is a pointer swap.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwap, Guard};

use super::fetch_result::{FetchEnd, FetchOutcome, FetchResponse, FetchResult};
use super::policy::{Existing, LinkText};
use super::single_flight::{Completion, Joined, LeaderGuard, SingleFlight, StoreMode};
use super::store::{Entry, LastRefusals, Store};
use super::transcripts::{JoinedTranscript, Transcript, TranscriptLeader, TranscriptResult, Transcripts};
use crate::clock::{self, Instant};
use crate::config::CacheSettings;
use crate::domain::{CallId, Effort, ForwardOutcome, NotStored};
use crate::telemetry::{Eviction, TenantMetrics};

/// The obligation to complete a call's fetch.
pub(crate) type CallLeader = LeaderGuard<CallId, FetchResult>;

/// A lookup's part in a call's fetch. `Stored` is another entry than the one the lookup saw; a leader keeps the one
/// that it saw, unless it was removed meanwhile: a 304 must not bring back a purged entry.
pub(crate) type JoinedFetch = Joined<CallId, FetchResult, Arc<Entry>, Option<Arc<Entry>>>;

pub(crate) struct TenantCache {
    current: ArcSwap<Generation>,
    refusals: Arc<LastRefusals>,
    defeat_was_reported: AtomicBool,
    max_bytes: u64,
    max_transcript_bytes: u64,
    metrics: Arc<TenantMetrics>,
}

/// A fetch's change of the store.
#[derive(Debug, Clone, Copy)]
pub(crate) enum StoreChange<'a> {
    Stored(&'a Arc<Entry>),
    /// The call is not to be had any more: there is none, or it is not final.
    Removed,
    Unchanged,
}

/// A store and its fetches, of calls and of their transcriptions.
pub(crate) struct Generation {
    store: Arc<Store>,
    flights: Arc<SingleFlight<CallId, FetchResult>>,
    transcripts: Arc<Transcripts>,
    transcript_flights: Arc<SingleFlight<CallId, TranscriptResult>>,
    refusals: Arc<LastRefusals>,
    metrics: Arc<TenantMetrics>,
}

impl TenantCache {
    /// An empty cache of `max_bytes`, beside which transcriptions may have so many.
    pub(crate) fn new(max_bytes: u64, max_transcript_bytes: u64, metrics: Arc<TenantMetrics>) -> Self {
        let refusals = Arc::default();
        let store = Arc::new(Store::new(max_bytes, Arc::clone(&metrics)));
        let transcripts = Arc::new(Transcripts::new(max_transcript_bytes));
        let current = ArcSwap::from_pointee(Generation::new(store, transcripts, &metrics, &refusals));
        let defeat_was_reported = AtomicBool::new(false);
        Self { current, refusals, defeat_was_reported, max_bytes, max_transcript_bytes, metrics }
    }

    /// Keeps all fetches of this cache, current and future, from storing anything.
    pub(crate) fn close(&self) {
        self.current().close();
    }

    /// A cache with the entries of this one, but without its fetches: all fetches of this one, current and future, no
    /// longer store anything.
    pub(crate) fn without_fetches(&self) -> Self {
        self.close();
        let (store, refusals) = (Arc::clone(&self.current().store), Arc::clone(&self.refusals));
        let transcripts = Arc::clone(&self.current().transcripts);
        let generation = Generation::new(store, transcripts, &self.metrics, &refusals);
        Self {
            current: ArcSwap::from_pointee(generation),
            refusals,
            defeat_was_reported: AtomicBool::new(self.defeat_was_reported.load(Ordering::Relaxed)),
            max_bytes: self.max_bytes,
            max_transcript_bytes: self.max_transcript_bytes,
            metrics: Arc::clone(&self.metrics),
        }
    }

    /// The generation for a request that begins now.
    pub(crate) fn current(&self) -> Guard<Arc<Generation>> {
        self.current.load()
    }

    /// Removes one call's entry and its transcription, and keeps fetches in flight from restoring them. Returns the number
    /// of removed entries of the call: 0 or 1.
    pub(crate) fn purge_call(&self, id: &CallId) -> u64 {
        let generation = self.current();
        let removed = generation.flights.invalidate(id, || {
            generation.remove_transcript(id);
            generation.store.remove(id)
        });
        let removed = u64::from(removed.is_some());
        self.metrics.count_evictions(Eviction::Purged, removed);
        removed
    }

    /// Removes entries without any use. Visits every entry: not for the request path.
    pub(crate) fn sweep(&self, policy: &CacheSettings, now: Instant) {
        let generation = self.current();
        generation.transcripts.sweep(policy, now);
        for id in generation.store.spent(policy, now) {
            let removed = generation.flights.hold(&id, || {
                // It may have been renewed meanwhile.
                let spent = |entry: &Arc<Entry>| entry.freshness(policy, now).is_spent();
                generation.store.get(&id).filter(spent).and_then(|_| generation.store.remove(&id))
            });
            self.metrics.count_evictions(Eviction::Expired, u64::from(removed.is_some()));
        }
    }

    /// Removes everything, and keeps fetches in flight from restoring it: one pointer swap, whatever the size.
    /// Returns the number of entries; counting takes longer, so this is not for the request path.
    pub(crate) fn purge_all(&self) -> u64 {
        let store = Arc::new(Store::new(self.max_bytes, Arc::clone(&self.metrics)));
        let transcripts = Arc::new(Transcripts::new(self.max_transcript_bytes));
        let next = Generation::new(store, transcripts, &self.metrics, &self.refusals);
        let old = self.current.swap(Arc::new(next));
        old.close();
        let (entries, _) = old.store.size();
        self.metrics.count_evictions(Eviction::Purged, entries);
        entries
    }

    /// Entries and bytes. Not for the request path.
    pub(crate) fn size(&self) -> (u64, u64) {
        self.current.load().store.size()
    }

    pub(crate) const fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    pub(crate) const fn max_transcript_bytes(&self) -> u64 {
        self.max_transcript_bytes
    }

    /// Whether this is the first report that the upstream's own directives prevent completed calls from being fresh.
    pub(crate) fn reports_defeat_first(&self) -> bool {
        !self.defeat_was_reported.swap(true, Ordering::Relaxed)
    }

    /// Why the last response about a call was not stored, and when, if it is still remembered.
    pub(crate) fn last_refusal(&self, id: &CallId) -> Option<(NotStored, Instant)> {
        self.refusals.last(id)
    }
}

impl Generation {
    fn new(
        store: Arc<Store>,
        transcripts: Arc<Transcripts>,
        metrics: &Arc<TenantMetrics>,
        refusals: &Arc<LastRefusals>,
    ) -> Self {
        let (metrics, refusals) = (Arc::clone(metrics), Arc::clone(refusals));
        let (flights, transcript_flights) = (SingleFlight::new(), SingleFlight::new());
        Self { store, flights, transcripts, transcript_flights, refusals, metrics }
    }

    /// Keeps every fetch, also those that are still to begin, from storing anything.
    fn close(&self) {
        self.flights.close();
        self.transcript_flights.close();
    }

    pub(crate) fn entry(&self, id: &CallId) -> Option<Arc<Entry>> {
        self.store.get(id)
    }

    /// Joins a call's fetch, or leads one, unless there is another entry by now than the one that the caller `saw`.
    pub(crate) fn join(&self, id: &CallId, mode: StoreMode, saw: Option<&Arc<Entry>>) -> JoinedFetch {
        self.flights.join(id, mode, || match self.store.get(id) {
            Some(entry) if saw.is_some_and(|saw| Arc::ptr_eq(saw, &entry)) => {
                ControlFlow::Continue(Some(entry).filter(|entry| !entry.is_negative()))
            }
            Some(entry) => ControlFlow::Break(entry),
            None => ControlFlow::Continue(None),
        })
    }

    /// Whether a fetch of the call is in flight.
    pub(crate) fn is_fetching(&self, id: &CallId) -> bool {
        self.flights.is_in_flight(id)
    }

    /// Has a call validated at its next lookup, whatever its freshness.
    pub(crate) fn demand_validation(&self, id: &CallId) {
        self.flights.hold(id, || {
            if let Some(entry) = self.store.get(id).filter(|entry| !entry.is_negative()) {
                // There is room for it: it takes the place of the same.
                let _ = self.store.insert(id, entry.to_be_validated());
            }
        });
    }

    /// Completes a fetch: changes the store as far as the fetch still may, and passes the result to all followers.
    pub(crate) fn complete(&self, leader: CallLeader, outcome: FetchOutcome) -> FetchResult {
        self.complete_with(leader, outcome, |_| {})
    }

    /// As [`complete`](Self::complete). `behind` is handed what was done to the store while no purge and no other fetch
    /// of the call can come in between.
    pub(crate) fn complete_with(
        &self,
        leader: CallLeader,
        outcome: FetchOutcome,
        behind: impl FnOnce(StoreChange<'_>),
    ) -> FetchResult {
        leader.complete(|id, completion| {
            let FetchOutcome { end, effort } = outcome;
            let result = FetchResult { effort, ..self.settle(id, completion, end, behind) };
            if let ForwardOutcome::NotStored { why, .. } = result.outcome {
                self.metrics.count_not_stored(why);
                self.refusals.note(id, why, clock::now());
            }
            result
        })
    }

    fn settle(
        &self,
        id: &CallId,
        completion: Completion,
        end: FetchEnd,
        behind: impl FnOnce(StoreChange<'_>),
    ) -> FetchResult {
        let result = |outcome, response| FetchResult { outcome, response, effort: Effort::NONE };
        match end {
            FetchEnd::Store { status, entry, ttl } => {
                let stored = self.store(id, &entry, completion);
                match (&stored, completion) {
                    (_, Completion::Current(_)) if entry.is_negative() => behind(StoreChange::Removed),
                    (Ok(()), _) => behind(StoreChange::Stored(&entry)),
                    (Err(_), _) => behind(StoreChange::Unchanged),
                }
                let outcome = match stored {
                    Ok(()) if status == 304 => ForwardOutcome::Renewed { ttl },
                    Ok(()) => ForwardOutcome::Stored { status, ttl },
                    Err(why) => ForwardOutcome::NotStored { status, why },
                };
                result(outcome, FetchResponse::Entry(entry))
            }
            FetchEnd::PassOn { status, response, why, existing } => {
                match (existing, completion) {
                    (Existing::Invalidate, Completion::Current(_)) => {
                        self.remove(id);
                        behind(StoreChange::Removed);
                    }
                    // Lookups after the purge fetch for themselves.
                    (Existing::Invalidate, Completion::Invalidated) | (Existing::Keep, _) => {}
                }
                result(ForwardOutcome::NotStored { status, why }, response)
            }
            FetchEnd::Recalled { level, entry } => {
                // The waiting lookups decide about it, stored or not.
                let _ = self.store(id, &entry, completion);
                result(ForwardOutcome::Recalled(level), FetchResponse::Entry(entry))
            }
            FetchEnd::Unanswered { outcome, refusal } => result(outcome, FetchResponse::Refusal(refusal)),
            FetchEnd::GaveWay => result(ForwardOutcome::NoResponse, FetchResponse::GaveWay),
            FetchEnd::LeftToFleet => result(ForwardOutcome::NotSent, FetchResponse::LeftToFleet),
        }
    }

    /// Stores an entry if possible. The upstream's 404 takes effect even if it isn't stored: the existing call is
    /// removed.
    fn store(&self, id: &CallId, entry: &Arc<Entry>, completion: Completion) -> Result<(), NotStored> {
        let why = match completion {
            Completion::Invalidated => return Err(NotStored::Purged),
            Completion::Current(StoreMode::NoStore) => NotStored::ClientNoStore,
            Completion::Current(StoreMode::Store) if self.store.insert(id, Arc::clone(entry)) => {
                return Ok(());
            }
            Completion::Current(StoreMode::Store) => NotStored::Status,
        };
        if entry.is_negative() {
            self.remove(id);
        }
        Err(why)
    }

    fn remove(&self, id: &CallId) {
        self.remove_transcript(id);
        self.metrics.count_evictions(Eviction::Purged, u64::from(self.store.remove(id).is_some()));
    }

    /// Must be called while no fetch of the call can complete. Lock order: the call's flight, then its transcription's.
    fn remove_transcript(&self, id: &CallId) {
        self.transcript_flights.invalidate(id, || self.transcripts.remove(id));
    }

    /// The transcription of a call that has this link.
    pub(crate) fn transcript(&self, id: &CallId, link: &LinkText) -> Option<Arc<Entry>> {
        self.transcripts.get(id, link)
    }

    /// The same, without counting as a use.
    pub(crate) fn held_transcript(&self, id: &CallId, link: &LinkText) -> Option<Arc<Entry>> {
        self.transcripts.peek(id, link)
    }

    pub(crate) fn is_fetching_transcript(&self, id: &CallId) -> bool {
        self.transcript_flights.is_in_flight(id)
    }

    /// Joins the fetch of a transcription, or leads one, unless there is another one by now than the one that the
    /// caller `saw`.
    pub(crate) fn join_transcript(
        &self,
        id: &CallId,
        mode: StoreMode,
        link: &LinkText,
        saw: Option<&Arc<Entry>>,
    ) -> JoinedTranscript {
        self.transcript_flights.join(id, mode, || match self.transcripts.get(id, link) {
            Some(entry) if !saw.is_some_and(|saw| Arc::ptr_eq(saw, &entry)) => ControlFlow::Break(entry),
            Some(_) | None => ControlFlow::Continue(()),
        })
    }

    /// Completes the fetch of a transcription: stores it, unless `refused` says why not, or its call has changed or
    /// gone since. `fetched` is the upstream's status and the freshness left.
    pub(crate) fn complete_transcript(
        &self,
        leader: TranscriptLeader,
        transcript: Transcript,
        refused: Option<NotStored>,
        fetched: (u16, i64),
        effort: Effort,
    ) {
        let Transcript { entry, call, link } = transcript;
        let ((status, ttl), id) = (fetched, *leader.key());
        self.flights.hold(&id, || {
            leader.complete(|id, completion| {
                let is_same = |now: Arc<Entry>| now.response.body() == call.response.body();
                let stored = match (refused, completion) {
                    (Some(why), _) => Err(why),
                    (None, Completion::Invalidated) => Err(NotStored::Purged),
                    (None, Completion::Current(StoreMode::NoStore)) => Err(NotStored::ClientNoStore),
                    (None, Completion::Current(StoreMode::Store)) => {
                        match self.store.get(id).is_some_and(is_same) {
                            true => self.transcripts.insert(id, Arc::clone(&entry), link),
                            false => Err(NotStored::Purged),
                        }
                    }
                };
                let outcome = match stored {
                    Ok(()) if status == 304 => ForwardOutcome::Renewed { ttl },
                    Ok(()) => ForwardOutcome::Stored { status, ttl },
                    Err(why) => ForwardOutcome::NotStored { status, why },
                };
                TranscriptResult { outcome, response: Ok(entry), effort }
            })
        });
    }

    /// Completes a fetch that has brought none.
    pub(crate) fn fail_transcript(&self, leader: TranscriptLeader, result: TranscriptResult) {
        leader.complete(|_, _| result);
    }

    /// Removes an entry, counted as an eviction to make room.
    #[cfg(test)]
    pub(crate) fn evict(&self, id: &CallId) {
        self.store.remove(id);
    }
}

#[cfg(test)]
mod tests;
