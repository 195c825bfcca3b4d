//! [`Gateway`]'s handling of a request, step by step. Read [`Gateway::begin`] first; every other file is a footnote
//! to it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Body;

use super::below_memory::BelowMemory;
use super::body::AnswerBody;
use super::decisions::{CacheDecision, Miss, decide, directives, fall_back};
use super::fetch_task::FetchTask;
use super::fields::Fields;
use super::framing;
use super::list::{self, PendingList};
use super::lookup::{PendingLookup, serve};
use super::lookup_context::{Deadlines, LookupContext};
use super::media::fields::MediaFields;
use super::media::pending::{PendingCall, PendingMedia};
use super::passthrough::{
    CheckedRequest, EndpointMatch, PassthroughContext, PendingPassthrough, find, read_body,
};
use super::plane::Gateway;
use super::requested_wait::RequestedWait;
use super::respond::{Answer, Found, LimitsToShow, ResponseWriter};
use super::snapshot::Snapshot;
use crate::cache::{Fallback, ListReuse, RequestDirectives, StoreMode};
use crate::clock;
use crate::domain::{
    CacheOutcome, CallId, Forward, ForwardOutcome, Framing, InvoiceId, Part, Refusal, RequestId, RouteLabel,
    TargetResource, is_refused_everywhere, route,
};
use crate::server::{Answering, Caller, Handler, Peer, RequestBody};
use crate::telemetry::{Coverage, Record, TraceContext};
use crate::tenant::Tenant;

/// The state of a request after everything that needs no waiting.
enum Progress {
    Answered(Answer),
    Pending(Box<Pending>),
}

/// The rest of a request's work.
enum Pending {
    Lookup(Box<PendingLookup>, LimitsToShow),
    List(PendingList),
    Passthrough(PendingPassthrough),
    Media(PendingMedia),
}

impl Pending {
    async fn answer(&mut self, gateway: &Arc<Gateway>, record: &mut Record) -> Result<Found, Refusal> {
        match self {
            Self::Lookup(lookup, _) => lookup.answer(gateway, record).await,
            // Boxed, so that lookups that wait don't have its size.
            Self::Media(media) => Box::pin(media.answer(gateway, record)).await,
            Self::List(list) => list.answer(gateway, record).await,
            Self::Passthrough(passed) => passed.answer(gateway, record).await,
        }
    }

    fn into_parts(self) -> (LimitsToShow, Arc<Tenant>) {
        match self {
            Self::Lookup(lookup, limits) => (limits, lookup.context.tenant),
            Self::Media(media) => media.into_parts(),
            Self::List(PendingList { limits, tenant, .. }) => (limits, tenant),
            Self::Passthrough(passed) => passed.into_parts(),
        }
    }
}

impl Progress {
    const fn refused(refusal: Refusal, limits: LimitsToShow) -> Self {
        Self::Answered(Answer { found: Err(refusal), limits })
    }
}

/// How far a lookup comes without waiting.
enum LookedUp {
    Answered(Result<Found, Refusal>),
    Pending(Box<PendingLookup>),
}

/// A lookup's header fields and directives.
struct LookupHeaders<'a> {
    headers: &'a HeaderMap,
    directives: RequestDirectives,
}

impl Handler for Gateway {
    type Body = AnswerBody;

    fn answer(self: &Arc<Self>, peer: Peer, request: Request<RequestBody>) -> Answering<AnswerBody> {
        self.respond(peer, request)
    }
}

impl Gateway {
    /// Answers a request. Every result, including a panic, becomes one answer.
    pub(crate) fn respond<B>(self: &Arc<Self>, peer: Peer, mut request: Request<B>) -> Answering<AnswerBody>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let fields = Fields::read(request.headers());
        let id = fields.request_id.and_then(RequestId::accept);
        let id = id.unwrap_or_else(|| RequestId::from_random(fastrand::u128(..)));
        let mut record = Record::open(&self.telemetry, id, request.method(), request.version(), peer.0);
        record.note_user_agent(fields.user_agent);
        let mut progress = catch_unwind(AssertUnwindSafe(|| self.begin(&request, &fields, &mut record)));
        // Only HTTP/1.1, which announces every body, has connections to close.
        let (has_conditions, has_body) = (fields.has_conditions, fields.announces_body);
        let caller = if record.tenant.is_some() { Caller::Known } else { Caller::Unknown };
        let mut writer = ResponseWriter::of(&mut request, has_conditions, has_body);
        match progress {
            Ok(Progress::Answered(ref mut answer)) => {
                Answering::ready(caller, writer.write(answer, &mut record, &self.wall))
            }
            Ok(Progress::Pending(mut pending)) => {
                if let Pending::Passthrough(passed) = &mut *pending
                    && let Some(most) = passed.max_body_bytes()
                {
                    passed.body = Some(read_body(request.into_body(), most));
                }
                Answering::waiting(caller, Arc::clone(self).wait(*pending, writer, record))
            }
            Err(_) => {
                let mut answer = Answer::refused(Refusal::Internal);
                Answering::ready(caller, writer.write(&mut answer, &mut record, &self.wall))
            }
        }
    }

    #[expect(
        clippy::manual_async_fn,
        reason = "an async fn holds its arguments twice, and thousands may wait"
    )]
    fn wait(
        self: Arc<Self>,
        mut pending: Pending,
        mut writer: ResponseWriter,
        mut record: Record,
    ) -> impl Future<Output = Response<AnswerBody>> + Send {
        async move {
            let found = AssertUnwindSafe(pending.answer(&self, &mut record)).catch_unwind().await;
            let found = found.unwrap_or(Err(Refusal::Internal));
            let (mut limits, tenant) = pending.into_parts();
            if let Err(Refusal::UpstreamBudget { .. }) = found {
                limits.upstream = tenant.upstream_limit(clock::now()).map(Box::new);
            }
            writer.write(&mut Answer { found, limits }, &mut record, &self.wall)
        }
    }

    /// Framing, tenant, limit, route, cache: in this order, each only if the previous one let the request pass.
    fn begin<B: Body>(&self, request: &Request<B>, fields: &Fields<'_>, record: &mut Record) -> Progress {
        let snapshot = self.snapshots.load();
        let mut limits = LimitsToShow::none(snapshot.rate_limit_headers);
        if let Err(refusal) = framing::check(request, fields, &snapshot.body_methods) {
            return Progress::refused(refusal, limits);
        }
        let tenant = match snapshot.directory.recognise(fields.authorization.one()) {
            Ok(tenant) => tenant,
            Err(refusal) => return Progress::refused(refusal, limits),
        };
        record.tenant = Some(Arc::clone(tenant.metrics()));
        record.follow(if fields.is_traced { TraceContext::read(request.headers()) } else { None });
        let charged = tenant.charge(record.started());
        limits.tenant = charged.shown;
        if let Err(refusal) = charged.verdict {
            return Progress::refused(refusal, limits);
        }
        let (label, routed) = route(request.method(), request.uri(), tenant.routes());
        record.route = label;
        let has_body = framing::has_body(request, fields);
        // By reference: an ID that is moved is copied.
        let object = match &routed {
            Err(Refusal::Method | Refusal::NoRoute) if !tenant.passthroughs().is_empty() => {
                return pass_through(request, fields, &snapshot, tenant, limits, record);
            }
            // None of the gateway's own routes accepts a body.
            Ok(_) if has_body => return Progress::refused(Refusal::Framing(Framing::Body), limits),
            Ok(object) => object,
            Err(refusal) => return Progress::refused(*refusal, limits),
        };
        let directives = match fields.has_directives {
            true => directives(request.headers(), &snapshot.policy),
            false => RequestDirectives::default(),
        };
        match object {
            TargetResource::Call(id) => {
                record.call = Some(*id);
                record.links = snapshot.links.among(tenant.routes());
                let wishes = LookupHeaders { headers: request.headers(), directives };
                match self.look_up(id, &snapshot, tenant, &wishes, record) {
                    LookedUp::Answered(found) => Progress::Answered(Answer { found, limits }),
                    LookedUp::Pending(lookup) => Progress::Pending(Box::new(Pending::Lookup(lookup, limits))),
                }
            }
            TargetResource::Media(kind, id) => {
                record.call = Some(*id);
                let wishes = LookupHeaders { headers: request.headers(), directives };
                let call = match self.look_up(id, &snapshot, tenant, &wishes, record) {
                    LookedUp::Answered(Err(refusal)) => return Progress::refused(refusal, limits),
                    LookedUp::Answered(Ok(found)) => PendingCall::Found(Some(found)),
                    LookedUp::Pending(lookup) => PendingCall::Lookup(lookup),
                };
                let fields = MediaFields::read(request.method(), request.headers());
                let context = LookupContext::new(&snapshot, tenant, *id, record.started());
                let in_flight = snapshot.in_flight.clone();
                let media =
                    PendingMedia { kind: *kind, fields, directives, context, in_flight, call, limits };
                Progress::Pending(Box::new(Pending::Media(media)))
            }
            TargetResource::Calls(invoice) => {
                list_calls(invoice, &snapshot, tenant, directives, limits, record)
            }
        }
    }

    /// Answers from the cache, or determines what must be fetched.
    fn look_up(
        &self,
        id: &CallId,
        snapshot: &Snapshot,
        tenant: &Arc<Tenant>,
        wishes: &LookupHeaders<'_>,
        record: &mut Record,
    ) -> LookedUp {
        let generation = tenant.cache().current();
        let (now, directives) = (record.started(), wishes.directives);
        let decision = decide(generation.entry(id), &directives, &snapshot.policy, now);
        if let CacheDecision::Serve(answer) = decision {
            return LookedUp::Answered(Ok(serve(answer, record)));
        }
        let deadlines = Deadlines::starting(now, snapshot.total_timeout);
        let (tenant, generation) = (Arc::clone(tenant), Arc::clone(&generation));
        let policy = Arc::clone(&snapshot.policy);
        let context = LookupContext { tenant, generation, policy, id: *id, deadlines };
        let found = match decision {
            CacheDecision::Serve(answer) => Ok(serve(answer, record)),
            CacheDecision::Renew(answer) => {
                let entry = Some(Arc::clone(&answer.entry));
                FetchTask::new(context, entry, record.id.clone(), record.trace.clone())
                    .renew(now, &self.fetches);
                Ok(serve(answer, record))
            }
            CacheDecision::NotCached(_) if context.below(&directives) == BelowMemory::First => {
                let (store_mode, fallback) = (StoreMode::Store, Fallback::Allowed);
                let miss = Miss { forward: Forward::UriMiss, seen: None, fallback, store_mode };
                let in_flight = snapshot.in_flight.clone();
                let below = BelowMemory::Only;
                let lookup = PendingLookup { context, directives, miss, below, in_flight, wait: None };
                return LookedUp::Pending(Box::new(lookup));
            }
            CacheDecision::NotCached(forward) => {
                let outcome = ForwardOutcome::NotSent;
                record.cache_outcome = Some(CacheOutcome::Forwarded { forward, outcome, part: Part::Led });
                Err(Refusal::NotCached)
            }
            CacheDecision::Fetch(miss) => {
                if fall_back(&miss, &snapshot.policy, now).is_some() {
                    record.coverage = Coverage::Stale;
                }
                // Not on the path of a hit, which doesn't need it.
                let wait = RequestedWait::read(wishes.headers, &snapshot.wait, now);
                let in_flight = snapshot.in_flight.clone();
                let below = context.below(&directives);
                let lookup = PendingLookup { context, directives, miss, below, in_flight, wait };
                return LookedUp::Pending(Box::new(lookup));
            }
        };
        LookedUp::Answered(found)
    }
}

/// Answers with a cached list of calls, or determines that it must be fetched.
fn list_calls(
    invoice: &InvoiceId,
    snapshot: &Snapshot,
    tenant: &Arc<Tenant>,
    directives: RequestDirectives,
    limits: LimitsToShow,
    record: &mut Record,
) -> Progress {
    let (generation, now) = (tenant.lists().current(), record.started());
    let stored = generation.fresh(invoice, now);
    if let Some(list) = stored.filter(|list| list::look(list, &directives, now) == ListReuse::Take) {
        return Progress::Answered(Answer { found: Ok(list::serve(list, now, record)), limits });
    }
    if directives.only_if_cached {
        record.cache_outcome = Some(CacheOutcome::Unstored { status: None, unusable: None, part: Part::Led });
        return Progress::refused(Refusal::NotCached, limits);
    }
    Progress::Pending(Box::new(Pending::List(PendingList {
        tenant: Arc::clone(tenant),
        generation,
        policy: Arc::clone(&snapshot.policy),
        invoice: invoice.clone(),
        directives,
        deadlines: Deadlines::starting(now, snapshot.total_timeout),
        in_flight: snapshot.in_flight.clone(),
        limits,
    })))
}

/// Passes on a request for which the gateway has no route of its own, if the tenant has an endpoint for it.
fn pass_through<B: Body>(
    request: &Request<B>,
    fields: &Fields<'_>,
    snapshot: &Snapshot,
    tenant: &Arc<Tenant>,
    limits: LimitsToShow,
    record: &mut Record,
) -> Progress {
    let method = request.method();
    let refusal = if record.route == RouteLabel::None { Refusal::NoRoute } else { Refusal::Method };
    if is_refused_everywhere(method, request.uri()) {
        return Progress::refused(Refusal::Method, limits);
    }
    let endpoint = match find(tenant, method, request.uri().path(), record.route) {
        EndpointMatch::Endpoint(endpoint) => endpoint,
        EndpointMatch::Methods(methods) => {
            record.allow = HeaderValue::try_from(methods).ok();
            return Progress::refused(Refusal::Method, limits);
        }
        EndpointMatch::Nothing => return Progress::refused(refusal, limits),
    };
    record.route = RouteLabel::Passthrough;
    let checked = match CheckedRequest::of(request, &endpoint, fields) {
        Ok(checked) => checked,
        Err(refusal) => return Progress::refused(refusal, limits),
    };
    let passing = PassthroughContext {
        tenant: Arc::clone(tenant),
        deadlines: Deadlines::starting(record.started(), snapshot.total_timeout),
        in_flight: snapshot.in_flight.clone(),
        limits,
    };
    let passed = PendingPassthrough::new(request.uri(), checked, passing);
    Progress::Pending(Box::new(Pending::Passthrough(passed)))
}
