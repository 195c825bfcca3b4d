//! Evaluates the decisions of a lookup without side effects and reports each one. Nothing is sent, charged or
//! changed. The decisions are the lookup's own, in its order, so that the verdict is what a lookup that came
//! now would get.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, Uri};
use serde::Serialize;
use serde_json::{Value, json};

use super::below_memory::BelowMemory;
use super::decisions::{CacheDecision, CachedAnswer, Miss, decide, directives, fall_back};
use super::explained::Explained;
use super::explained_media::{CallVerdict, ExplainedMedia, MediaEvaluation};
use super::plane::Gateway;
use super::recall::{HeldCall, HeldEntry, held};
use super::refresh::UnknownTenant;
use super::requested_wait::RequestedWait;
use super::snapshot::Snapshot;
use crate::cache::{Entry, Generation, RequestDirectives, StoreMode, WaitLimitReached};
use crate::clock::{self, Instant};
use crate::domain::{
    CallId, Level, MediaKind, Overload, Refusal, RouteLabel, TargetResource, TenantName, route,
};
use crate::limits::Quota;
use crate::message::Validators;
use crate::tenant::Tenant;
use crate::upstream::{FetchError, Urgency};

#[derive(Debug, Serialize)]
pub(crate) struct Explanation {
    tenant: String,
    id: String,
    #[serde(flatten)]
    verdict: Explained,
    /// Each decision on the way, in order.
    decisions: Vec<Step>,
    /// What would come of a request for each of the call's media that the tenant may ask for.
    media: Vec<ExplainedMedia>,
    /// What each level holds of the call.
    levels: Vec<HeldEntry>,
}

#[derive(Debug, Serialize)]
struct Step {
    step: &'static str,
    result: String,
    #[serde(skip_serializing_if = "Value::is_null")]
    details: Value,
}

impl Gateway {
    /// Explains a lookup of `segment` by a tenant, with these header fields.
    pub(crate) async fn explain(
        &self,
        tenant: &TenantName,
        segment: &str,
        headers: &HeaderMap,
    ) -> Result<Explanation, UnknownTenant> {
        let snapshot = self.snapshots.load_full();
        let tenant = snapshot.directory.named(tenant).ok_or(UnknownTenant)?;
        let held = match CallId::parse(segment.as_bytes()) {
            Ok(id) => held(&snapshot, tenant, &id).await,
            Err(_) => HeldCall::default(),
        };
        let (now, steps) = (clock::now(), Vec::new());
        let mut evaluation =
            Evaluation { gateway: self, snapshot: &snapshot, tenant, headers, held: &held, now, steps };
        let (verdict, media) = evaluation.run(segment);
        let decisions = evaluation.steps;
        let (tenant, id) = (tenant.name().to_string(), segment.to_owned());
        let (_, levels) = held.first();
        Ok(Explanation { tenant, id, verdict, decisions, media, levels })
    }
}

/// The same for all decisions of one lookup.
struct ExplainedLookup {
    id: CallId,
    generation: Arc<Generation>,
    directives: RequestDirectives,
    below: BelowMemory,
}

/// Why a lookup isn't answered from an entry.
enum Unserved {
    Miss(Miss),
    NotCached,
}

struct Evaluation<'a> {
    gateway: &'a Gateway,
    snapshot: &'a Snapshot,
    tenant: &'a Tenant,
    headers: &'a HeaderMap,
    held: &'a HeldCall,
    now: Instant,
    steps: Vec<Step>,
}

impl Evaluation<'_> {
    fn report(&mut self, step: &'static str, result: impl Into<String>, details: Value) {
        self.steps.push(Step { step, result: result.into(), details });
    }

    /// The verdicts on the lookup and on requests for the call's media.
    fn run(&mut self, segment: &str) -> (Explained, Vec<ExplainedMedia>) {
        let routed = self.charge().and_then(|()| self.route(segment));
        let Ok(id) = CallId::parse(segment.as_bytes()) else {
            return (
                routed.map_or_else(Explained::refused, |_| Explained::refused(Refusal::CallIdFormat)),
                vec![],
            );
        };
        let call = match routed {
            Ok(()) => self.look_up(&id),
            // Only the call's own route is missing.
            Err(Refusal::NoRoute) => {
                let steps = self.steps.len();
                let call = self.look_up(&id);
                self.steps.truncate(steps);
                call
            }
            Err(refusal) => CallVerdict::refused(refusal),
        };
        let media = self.media(&id, &call);
        match routed {
            Ok(()) => (call.explained, media),
            Err(refusal) => (Explained::refused(refusal), media),
        }
    }

    fn media(&self, id: &CallId, call: &CallVerdict) -> Vec<ExplainedMedia> {
        let evaluation = MediaEvaluation {
            snapshot: self.snapshot,
            tenant: self.tenant,
            directives: directives(self.headers, &self.snapshot.policy),
            now: self.now,
            wall_now: self.gateway.wall.now(),
        };
        let kinds = MediaKind::ALL.into_iter().filter(|kind| self.tenant.routes().allows(kind.route()));
        kinds.map(|kind| evaluation.explain(kind, id, call)).collect()
    }

    fn charge(&mut self) -> Result<(), Refusal> {
        let Some((left, verdict)) = self.tenant.would_charge(self.now) else {
            self.report("tenant limit", "none", Value::Null);
            return Ok(());
        };
        self.report_quota("tenant limit", left);
        verdict
    }

    fn report_quota(&mut self, step: &'static str, left: Quota) {
        let result = if left.remaining > 0 { "passes" } else { "spent" };
        let Quota { remaining, full_in_seconds, scope } = left;
        let details = match scope {
            None => json!({ "remaining": remaining, "full_in_seconds": full_in_seconds }),
            Some(scope) => {
                let scope = scope.label();
                json!({ "remaining": remaining, "full_in_seconds": full_in_seconds, "scope": scope })
            }
        };
        self.report(step, result, details);
    }

    fn route(&mut self, segment: &str) -> Result<(), Refusal> {
        let template = RouteLabel::Call.template().unwrap_or_default();
        let target = template.replace("{id}", segment).parse::<Uri>();
        let routed = target.map_err(|_| Refusal::CallIdFormat);
        let routed = routed.and_then(|target| route(&Method::GET, &target, self.tenant.routes()).1);
        let refusal = match routed {
            Ok(TargetResource::Call(_)) => {
                self.report("route", "call", json!({ "route": template }));
                return Ok(());
            }
            Ok(TargetResource::Calls(_) | TargetResource::Media(..)) => Refusal::NoRoute,
            Err(refusal) => refusal,
        };
        let details = json!({ "status": refusal.status().as_u16(), "code": refusal.code() });
        self.report("route", "refused", details);
        Err(refusal)
    }

    fn look_up(&mut self, id: &CallId) -> CallVerdict {
        self.report_watch(id);
        let generation = Arc::clone(&self.tenant.cache().current());
        let entry = generation.entry(id);
        self.report_entry(id, entry.as_ref());
        let directives = directives(self.headers, &self.snapshot.policy);
        let below = BelowMemory::for_lookup(self.tenant, &generation, id, &directives);
        let lookup = ExplainedLookup { id: *id, generation, directives, below };
        match self.decide(&lookup, entry, None) {
            Ok(verdict) => verdict,
            Err(Unserved::Miss(miss)) => match self.would_join_watch(id) {
                true => CallVerdict::without_entry(Explained::wait()),
                false => self.fetch(&lookup, miss),
            },
            // Even a client that accepts only what is cached waits for the levels below memory.
            Err(Unserved::NotCached) if below == BelowMemory::First => self.recall_only(&lookup),
            Err(Unserved::NotCached) => CallVerdict::refused(Refusal::NotCached),
        }
    }

    /// Decides on an entry of memory, or of a level below it.
    fn decide(
        &mut self,
        lookup: &ExplainedLookup,
        entry: Option<Arc<Entry>>,
        level: Option<Level>,
    ) -> Result<CallVerdict, Unserved> {
        let found = |answer: CachedAnswer| match level {
            Some(level) => CallVerdict::served(answer.recalled_from(level)),
            None => CallVerdict::served(answer),
        };
        match decide(entry, &lookup.directives, &self.snapshot.policy, self.now) {
            CacheDecision::Serve(answer) => Ok(found(answer)),
            CacheDecision::Renew(answer) => {
                self.report_renewal(&lookup.id, &answer, &lookup.generation);
                Ok(found(answer))
            }
            CacheDecision::Fetch(miss) => Err(Unserved::Miss(miss)),
            CacheDecision::NotCached(_) => Err(Unserved::NotCached),
        }
    }

    /// Decides on the entry that a level below memory would give.
    fn recall(
        &mut self,
        lookup: &ExplainedLookup,
        (level, entry): (Level, &Arc<Entry>),
    ) -> Result<CallVerdict, Unserved> {
        let description = entry.describe(&self.snapshot.policy, self.now);
        self.report("recall", level.label(), json!(description));
        self.decide(lookup, Some(Arc::clone(entry)), Some(level))
    }

    /// A lookup that may be answered by the levels, but not by the upstream.
    fn recall_only(&mut self, lookup: &ExplainedLookup) -> CallVerdict {
        if let Some(refusal) = self.refused_to_wait(lookup.generation.is_fetching(&lookup.id)) {
            return CallVerdict::refused(refusal);
        }
        let found = self.held.recalled(BelowMemory::Only).next();
        let verdict = found.map(|found| self.recall(lookup, found));
        verdict.and_then(Result::ok).unwrap_or_else(|| CallVerdict::refused(Refusal::NotCached))
    }

    /// The lookups that wait until the call is final, if there are any.
    fn report_watch(&mut self, id: &CallId) {
        let Some((waiters, next)) = self.tenant.watches().describe(id, self.now) else { return };
        let details = json!({ "waiting": waiters, "next_poll_in_seconds": next.as_secs_f64() });
        self.report("watch", "polled: a lookup with `Prefer: wait` would join it", details);
    }

    /// Whether the lookup may wait and finds a watch with a place for it.
    fn would_join_watch(&self, id: &CallId) -> bool {
        let wait = RequestedWait::read(self.headers, &self.snapshot.wait, self.now);
        let wait = wait.filter(|_| !self.gateway.wait_drain.has_begun());
        let place = wait.and_then(|wait| self.tenant.watches().would_join(id, self.now, &wait.bounds));
        match place {
            Some(Ok(())) => true,
            Some(Err(WaitLimitReached)) | None => false,
        }
    }

    fn report_entry(&mut self, id: &CallId, entry: Option<&Arc<Entry>>) {
        if let Some(entry) = entry {
            let description = entry.describe(&self.snapshot.policy, self.now);
            return self.report("entry", description.state, json!(description));
        }
        let last = self.tenant.cache().last_refusal(id).map(|(why, at)| {
            let seconds_ago = self.now.duration_since(at).as_secs();
            json!({ "last_answer_not_stored": why.label(), "seconds_ago": seconds_ago })
        });
        self.report("entry", "none", last.unwrap_or_default());
    }

    /// Reports whether the entry that is served would be renewed meanwhile.
    fn report_renewal(&mut self, id: &CallId, answer: &CachedAnswer, generation: &Generation) {
        const STEP: &str = "background renewal";
        if !answer.entry.renewal_is_due(self.now) {
            return self.report(STEP, "waits after a failure", Value::Null);
        }
        if generation.is_fetching(id) {
            return self.report(STEP, "is in flight", Value::Null);
        }
        let refused = self.report_upstream(id, &answer.entry.validators(), Urgency::Background);
        self.report(STEP, if refused.is_none() { "begins" } else { "gives way" }, Value::Null);
    }

    /// The refusal of a lookup for which there is no place to wait.
    fn refused_to_wait(&mut self, is_fetching: bool) -> Option<Refusal> {
        let waits = self.tenant.waits();
        let full = if self.snapshot.in_flight.is_full() {
            Overload::MaxInFlight
        } else if waits.lookups.is_full() || (!is_fetching && waits.fetches.is_full()) {
            Overload::MaxWaiting
        } else {
            return None;
        };
        let refusal = Refusal::Overloaded(full);
        self.report("waiting", "full", json!({ "limit": refusal.detail() }));
        Some(refusal)
    }

    fn fetch(&mut self, lookup: &ExplainedLookup, mut miss: Miss) -> CallVerdict {
        let is_fetching = lookup.generation.is_fetching(&lookup.id);
        if let Some(refusal) = self.refused_to_wait(is_fetching) {
            return CallVerdict::refused(refusal);
        }
        let fwd = json!({ "fwd": miss.forward.token() });
        if is_fetching {
            self.report("fetch", "a fetch is in flight: it would be followed", fwd);
            return CallVerdict::without_entry(Explained::follow());
        }
        self.report("fetch", "none is in flight", fwd);
        for found in self.held.recalled(lookup.below) {
            match self.recall(lookup, found) {
                Ok(verdict) => return verdict,
                Err(Unserved::Miss(renewed)) => miss = renewed,
                Err(Unserved::NotCached) => return CallVerdict::refused(Refusal::NotCached),
            }
        }
        self.ask_upstream(&lookup.id, &miss)
    }

    fn ask_upstream(&mut self, id: &CallId, miss: &Miss) -> CallVerdict {
        // For a client that said `no-store`, the store is not even read.
        let entry = miss.entry().filter(|_| miss.store_mode == StoreMode::Store);
        let validators = entry.map(|entry| entry.validators()).unwrap_or_default();
        match self.report_upstream(id, &validators, Urgency::Foreground) {
            None => {
                let key_was_rejected = self.tenant.upstream().keys().are_rejected();
                CallVerdict::without_entry(Explained::fetch(miss.forward, key_was_rejected))
            }
            Some(refusal) => match fall_back(miss, &self.snapshot.policy, self.now) {
                Some(answer) => {
                    CallVerdict { explained: Explained::stale_for(refusal), entry: Some(answer.entry) }
                }
                None => CallVerdict::refused(refusal),
            },
        }
    }

    /// Reports what a fetch would meet, and returns what would refuse it.
    fn report_upstream(&mut self, id: &CallId, validators: &Validators, urgency: Urgency) -> Option<Refusal> {
        let upstream = self.tenant.upstream();
        let outlook = upstream.outlook(self.now);
        match outlook.paused_for {
            None => self.report("pause", "none", Value::Null),
            Some(left) => {
                let details =
                    json!({ "seconds_left": left.as_secs_f64(), "because": "the upstream answered 429" });
                self.report("pause", "refuses", details);
            }
        }
        self.report("breaker", outlook.breaker, Value::Null);
        match outlook.budget {
            None => self.report("upstream budget", "none", Value::Null),
            Some(left) => self.report_quota("upstream budget", left),
        }
        let free = outlook.free_connections;
        let result = if free > 0 { "free" } else { "waits for one" };
        self.report("connection", result, json!({ "free": free }));
        let keys = upstream.keys();
        let result = if keys.are_rejected() { "rejected when last tried" } else { "in use" };
        self.report("key", result, json!({ "key": keys.in_use().label().label() }));
        let refused = upstream.would_refuse(urgency, self.now);
        let url = upstream.settings().base_url.call(id).map(|url| url.to_string());
        self.report(
            "request",
            if refused.is_none() { "would be sent" } else { "would not be sent" },
            json!({
                "method": "GET",
                "url": url,
                "if_none_match": text(validators.etag.as_ref()),
                "if_modified_since": text(validators.last_modified.as_ref()),
            }),
        );
        refused.as_ref().map(FetchError::refusal)
    }
}

fn text(value: Option<&HeaderValue>) -> Option<&str> {
    value.and_then(|value| value.to_str().ok())
}
