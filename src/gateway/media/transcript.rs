//! Transcriptions of stored calls: kept in memory as calls are, by the same rules of freshness. One that is too large
//! to be kept is passed on as a stream.

use std::sync::Arc;

use http::StatusCode;
use http::header::{ETAG, LAST_MODIFIED};

use super::pending::{PendingMedia, WantedTranscript, note};
use super::transcript_task::TranscriptTask;
use crate::cache::{Entry, JoinedTranscript, StoreMode, TranscriptFailure, TranscriptResult};
use crate::clock;
use crate::domain::{CacheOutcome, ForwardOutcome, Overload, Part, Refusal};
use crate::gateway::decisions::{CacheDecision, CachedAnswer, Miss, decide, fall_back};
use crate::gateway::lookup_context::{Deadlines, await_result};
use crate::gateway::plane::Gateway;
use crate::gateway::respond::Found;
use crate::telemetry::Record;

/// What came of a look at the cache and, perhaps, a fetch.
enum Looked {
    Found(Found),
    Failed(TranscriptFailure, Miss),
    /// Something was stored meanwhile.
    Again,
}

impl PendingMedia {
    /// The transcription, from memory or by a fetch that others may share; `None` if it has to be passed on as a
    /// stream.
    pub(super) async fn transcription(
        &self,
        mut wanted: WantedTranscript,
        gateway: &Arc<Gateway>,
        record: &mut Record,
    ) -> Result<Option<Found>, Refusal> {
        record.counts_as_transcript();
        loop {
            let (failure, miss) = match self.look_for(&wanted, gateway, record).await? {
                Looked::Found(found) => return Ok(Some(found)),
                Looked::Failed(failure, miss) => (failure, miss),
                Looked::Again => continue,
            };
            let refusal = match failure {
                TranscriptFailure::TooLarge => return Ok(None),
                TranscriptFailure::Refused(refusal) => refusal,
                TranscriptFailure::DeadLink(refusal) if wanted.is_from_cache => {
                    let saved = record.cache_outcome;
                    let renewed = self.renewed(&wanted.call, &wanted.link, gateway, record).await;
                    record.cache_outcome = saved;
                    match renewed.and_then(|(entry, media)| Some((entry?, media.link?, media.maturity))) {
                        Some((call, link, maturity)) => {
                            wanted = WantedTranscript { call, link, maturity, is_from_cache: false };
                            continue;
                        }
                        None => refusal,
                    }
                }
                TranscriptFailure::DeadLink(refusal) => refusal,
            };
            if refusal.is_upstream_failure()
                && let Some(answer) = fall_back(&miss, &self.context.policy, clock::now())
            {
                return self.served(answer, record).map(Some);
            }
            if matches!(refusal, Refusal::NoMedia(_)) {
                self.demand_validation();
            }
            return Err(refusal);
        }
    }

    async fn look_for(
        &self,
        wanted: &WantedTranscript,
        gateway: &Arc<Gateway>,
        record: &mut Record,
    ) -> Result<Looked, Refusal> {
        let generation = &self.context.generation;
        let stored = generation.transcript(&self.context.id, &wanted.link);
        let miss = match decide(stored, &self.directives, &self.context.policy, clock::now()) {
            CacheDecision::Serve(answer) => return self.served(answer, record).map(Looked::Found),
            CacheDecision::Renew(answer) => {
                let entry = Some(Arc::clone(&answer.entry));
                self.task(wanted, entry, gateway, record).renew(&gateway.fetches);
                return self.served(answer, record).map(Looked::Found);
            }
            CacheDecision::NotCached(forward) => {
                let outcome = ForwardOutcome::NotSent;
                record.cache_outcome = Some(CacheOutcome::Forwarded { forward, outcome, part: Part::Led });
                return Err(Refusal::NotCached);
            }
            CacheDecision::Fetch(miss) => miss,
        };
        let joined =
            generation.join_transcript(&self.context.id, miss.store_mode, &wanted.link, miss.seen.as_ref());
        let (follower, part) = match joined {
            JoinedTranscript::Stored(_) => return Ok(Looked::Again),
            JoinedTranscript::Follow(follower) => (follower, Part::Followed),
            JoinedTranscript::Lead { guard, follower, .. } => {
                let Some(slot) = self.context.tenant.waits().streams.take() else {
                    let refusal = Refusal::Overloaded(Overload::MediaStreams);
                    let outcome = ForwardOutcome::NotSent;
                    let failure = TranscriptFailure::Refused(refusal);
                    generation.fail_transcript(guard, TranscriptResult::failed(outcome, failure));
                    note(record, None, None);
                    return Err(refusal);
                };
                let entry = miss.entry().filter(|_| miss.store_mode == StoreMode::Store).cloned();
                self.task(wanted, entry, gateway, record).spawn(guard, slot, &gateway.fetches);
                (follower, Part::Led)
            }
        };
        let forward = miss.forward;
        let outcome = |outcome| Some(CacheOutcome::Forwarded { forward, outcome, part });
        // Counted if the client leaves now.
        record.cache_outcome = outcome(ForwardOutcome::NoResponse);
        let total = self.context.tenant.upstream().media_settings().total_timeout;
        let deadlines = Deadlines::starting(clock::now(), total);
        let result = await_result(follower.wait(), deadlines, &gateway.cutoff).await??;
        record.cache_outcome = outcome(result.outcome);
        if part == Part::Led {
            record.effort = result.effort;
        }
        match result.response {
            Ok(entry) => {
                let age = entry.freshness(&self.context.policy, clock::now()).age_seconds();
                let is_old = matches!(result.outcome, ForwardOutcome::Renewed { .. }) || age > 0;
                self.part_of(entry, is_old.then_some(age)).map(Looked::Found)
            }
            Err(failure) => Ok(Looked::Failed(failure, miss)),
        }
    }

    fn served(&self, answer: CachedAnswer, record: &mut Record) -> Result<Found, Refusal> {
        record.cache_outcome = Some(answer.outcome);
        self.part_of(answer.entry, Some(answer.age))
    }

    /// The whole, or the range of it that was asked for.
    fn part_of(&self, entry: Arc<Entry>, age: Option<u64>) -> Result<Found, Refusal> {
        let range = self.fields.range.filter(|_| self.holds_if_range(&entry));
        let Some(range) = range.filter(|_| entry.response.status() == StatusCode::OK) else {
            return Ok(Found::Entry { entry, age });
        };
        let complete = entry.response.body().len() as u64;
        match range.within(complete) {
            Some(span) => Ok(Found::Part { entry, age, span }),
            None => Err(Refusal::RangeNotSatisfiable { complete: Some(complete) }),
        }
    }

    /// Whether the client's part is of the same representation (RFC 9110 section 13.1.5): the same strong tag, or
    /// the same date.
    fn holds_if_range(&self, entry: &Entry) -> bool {
        let Some(validator) = &self.fields.if_range else { return true };
        let is = |name| entry.response.field(&name).is_some_and(|value| value == validator);
        is(ETAG) || is(LAST_MODIFIED)
    }

    fn task(
        &self,
        wanted: &WantedTranscript,
        entry: Option<Arc<Entry>>,
        gateway: &Arc<Gateway>,
        record: &Record,
    ) -> TranscriptTask {
        TranscriptTask {
            context: self.context.clone(),
            call: Arc::clone(&wanted.call),
            link: wanted.link.clone(),
            maturity: wanted.maturity,
            entry,
            request: self.whole_request(record),
            wall: gateway.wall.clone(),
        }
    }
}
