//! The list of an invoice's calls: fetched once for concurrent requests, and passed on byte for byte.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::cutoff::Cutoff;
use super::fetch_task::{FetchSpawner, judge_off_runtime};
use super::lookup_context::{Deadlines, as_one_of_few, await_result};
use super::plane::Gateway;
use super::respond::{Found, LimitsToShow};
use crate::cache::{
    JoinedList, ListAdmission, ListGeneration, ListLeader, ListResult, ListReuse, RequestDirectives,
    StoreMode, StoredList, admit_list,
};
use crate::clock::{self, Instant};
use crate::config::CacheSettings;
use crate::domain::{CacheOutcome, Effort, ForwardOutcome, InvoiceId, NotStored, Overload, Part, Refusal};
use crate::message::{ClientResponse, UpstreamResponse, Validators};
use crate::telemetry::Record;
use crate::tenant::{ConcurrencyLimit, SlotPermit, Tenant};
use crate::upstream::{Ask, Fetched, ResponseReading, Urgency};

/// A request for a list that has not been answered yet.
pub(super) struct PendingList {
    pub(super) tenant: Arc<Tenant>,
    pub(super) generation: Arc<ListGeneration>,
    pub(super) policy: Arc<CacheSettings>,
    pub(super) invoice: InvoiceId,
    pub(super) directives: RequestDirectives,
    pub(super) deadlines: Deadlines,
    pub(super) in_flight: ConcurrencyLimit,
    pub(super) limits: LimitsToShow,
}

/// Whether a cached list satisfies the request.
pub(super) fn look(list: &StoredList, directives: &RequestDirectives, now: Instant) -> ListReuse {
    let age = now.duration_since(list.received);
    let is_young = directives.max_age.is_none_or(|max| age <= Duration::from_secs(max.into()));
    let is_lasting = directives.min_fresh.is_none_or(|min| list.ttl(now) >= u64::from(min));
    match !directives.no_cache && !directives.no_store && is_young && is_lasting {
        true => ListReuse::Take,
        false => ListReuse::PassOver,
    }
}

/// Answers with a list from the cache.
pub(super) fn serve(list: StoredList, now: Instant, record: &mut Record) -> Found {
    record.cache_outcome = Some(CacheOutcome::Hit { ttl: i64::try_from(list.ttl(now)).unwrap_or(i64::MAX) });
    let age = now.duration_since(list.received).as_secs();
    Found::Again { response: list.response, age }
}

impl PendingList {
    /// Waits for a fetch, within the limits on waiting requests.
    pub(super) async fn answer(&self, gateway: &Gateway, record: &mut Record) -> Result<Found, Refusal> {
        let fetched = pin!(self.join_fetch(&gateway.fetches, &gateway.cutoff, record));
        as_one_of_few(self.in_flight.clone(), &self.tenant, fetched).await
    }

    async fn join_fetch(
        &self,
        fetches: &FetchSpawner,
        cutoff: &Cutoff,
        record: &mut Record,
    ) -> Result<Found, Refusal> {
        let mode = if self.directives.no_store { StoreMode::NoStore } else { StoreMode::Store };
        let now = clock::now();
        let take = |list: &StoredList| look(list, &self.directives, now);
        let (follower, part) = match self.generation.join(&self.invoice, mode, now, take) {
            JoinedList::Follow(follower) => (follower, Part::Followed),
            JoinedList::Stored(list) => return Ok(serve(list, now, record)),
            JoinedList::Lead { guard, follower, .. } => {
                let Some(slot) = self.tenant.waits().fetches.take() else {
                    let refusal = Refusal::Overloaded(Overload::MaxWaiting);
                    self.generation.complete(guard, ListResult::failed(refusal), Duration::ZERO, now);
                    return Err(refusal);
                };
                fetches.spawn(self.task(record).run(guard, slot));
                (follower, Part::Led)
            }
        };
        let outcome = |status, unusable| Some(CacheOutcome::Unstored { status, unusable, part });
        // Counted if the client disconnects now.
        record.cache_outcome = outcome(None, None);
        let result = await_result(follower.wait(), self.deadlines, cutoff).await?;
        let result = result.unwrap_or_else(ListResult::failed);
        record.cache_outcome = outcome(result.status, result.unusable);
        if part == Part::Led {
            record.effort = result.effort;
        }
        result.response.map(Found::PassThrough)
    }

    fn task(&self, record: &Record) -> ListTask {
        let url = self.tenant.upstream().settings().base_url.calls(&self.invoice);
        let (request_id, trace) = (record.id.clone(), record.trace.clone());
        ListTask {
            tenant: Arc::clone(&self.tenant),
            generation: Arc::clone(&self.generation),
            policy: Arc::clone(&self.policy),
            invoice: self.invoice.clone(),
            deadline: self.deadlines.fetch,
            ask: Ask { url, validators: Validators::default(), request_id, trace, passed: None },
        }
    }
}

/// A list's fetch that has not begun. It outlives the request that led it.
struct ListTask {
    tenant: Arc<Tenant>,
    generation: Arc<ListGeneration>,
    policy: Arc<CacheSettings>,
    invoice: InvoiceId,
    deadline: Instant,
    ask: Ask,
}

impl ListTask {
    async fn run(self, leader: ListLeader, slot: SlotPermit) {
        let read = |response, _| self.read(response);
        let upstream = self.tenant.upstream();
        let Fetched { result, effort } =
            upstream.fetch(&self.ask, Urgency::Foreground, self.deadline, Duration::ZERO, read).await;
        let (mut result, lifetime) = match result {
            Ok((status, ListAdmission::List(response, lifetime))) => {
                (ListResult::passed(status, response), lifetime)
            }
            Ok((status, ListAdmission::PassThrough(response))) => {
                (ListResult::passed(status, response), Duration::ZERO)
            }
            Ok((status, ListAdmission::Reject(refusal, why))) => {
                let unusable = (status == 200).then_some(why);
                (ListResult { status: Some(status), unusable, ..ListResult::failed(refusal) }, Duration::ZERO)
            }
            Err(error) => {
                let mut failed = ListResult::failed(error.refusal());
                if let ForwardOutcome::NotStored { status, why } = error.outcome() {
                    (failed.status, failed.unusable) = (Some(status), Some(why));
                }
                (failed, Duration::ZERO)
            }
        };
        result.effort = effort;
        // Before the followers resume, so that a client's next request finds a free slot.
        drop(slot);
        self.generation.complete(leader, result, lifetime, clock::now());
    }

    async fn read(&self, response: UpstreamResponse) -> ((u16, ListAdmission), ResponseReading) {
        let status = response.status.as_u16();
        let (invoice, policy) = (self.invoice.clone(), Arc::clone(&self.policy));
        let bytes = response.body.len();
        let admission = judge_off_runtime(bytes, move || admit_list(&response, &invoice, &policy)).await;
        let reading = match &admission {
            ListAdmission::Reject(_, NotStored::Identity) => {
                self.tenant.metrics().identity_mismatches.increment();
                ResponseReading::MixUp
            }
            ListAdmission::Reject(_, why) if status == 200 => ResponseReading::Unusable(*why),
            ListAdmission::List(..) | ListAdmission::PassThrough(_) | ListAdmission::Reject(..) => {
                ResponseReading::Usable
            }
        };
        ((status, admission), reading)
    }
}

impl ListResult {
    fn passed(status: u16, response: ClientResponse) -> Self {
        Self { status: Some(status), unusable: None, response: Ok(Arc::new(response)), effort: Effort::NONE }
    }

    const fn failed(refusal: Refusal) -> Self {
        Self { status: None, unusable: None, response: Err(refusal), effort: Effort::NONE }
    }
}
