//! [`Gateway`], and what it does about a request, in order.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::body::AnswerBody;
use super::fetch::{Errand, Fetches, Subject};
use super::fields::Fields;
use super::framing;
use super::lookup::{Question, Served, Step, decide, demand, fall_back};
use super::respond::{Answer, Asker, Found, LimitToTell};
use super::snapshot::{Snapshot, Snapshots};
use crate::cache::{Boarded, Demand, Landed, Lost, Reckoning, Storing, Yield};
use crate::clock::{self, WallClock};
use crate::domain::{CallId, Landing, Refusal, RequestId, Story, make_room_for_values, route};
use crate::server::{Answering, Handler, Peer};
use crate::telemetry::{Record, Telemetry, TraceContext};
use crate::tenant::{Tenant, TurnedAway, Turnstile};

/// How much longer than its fetch a lookup waits, so that the fetch's own word comes first.
const GRACE: Duration = Duration::from_millis(50);

/// The gateway: what answers on the data plane.
pub struct Gateway {
    /// The configuration in force.
    pub snapshots: Snapshots,
    /// Where requests are recorded.
    pub telemetry: Arc<Telemetry>,
    /// For the dates in envelopes.
    pub wall: WallClock,
    /// What goes on beside the requests.
    pub tasks: TaskTracker,
    /// Where fetches run.
    pub fetches: Fetches,
    /// The end of waiting.
    pub cutoff: Cutoff,
}

/// Tells lookups that wait for a fetch that the process ends now.
#[derive(Debug, Clone)]
pub struct Cutoff(watch::Sender<bool>);

impl Cutoff {
    /// Not yet.
    pub fn new() -> Self {
        Self(watch::channel(false).0)
    }

    /// Now.
    pub fn now(&self) {
        self.0.send_replace(true);
    }

    async fn reached(&self) {
        // The sender is in `self`, so this ends by the value alone.
        let _ = self.0.subscribe().wait_for(|now| *now).await;
    }
}

/// How far a request comes without waiting.
enum Begun {
    /// To its end.
    Answered(Answer),
    /// To a fetch.
    Asking(Box<Asking>),
}

/// A lookup that waits for a fetch.
struct Asking {
    subject: Subject,
    demand: Demand,
    question: Question,
    in_flight: Turnstile,
    limit: Option<LimitToTell>,
}

impl Handler for Gateway {
    type Body = AnswerBody;

    fn answer(self: &Arc<Self>, peer: Peer, request: Request<Incoming>) -> Answering<AnswerBody> {
        self.respond(peer, request)
    }
}

impl Gateway {
    /// Answers a request. Whatever happens, a panic included, becomes one answer.
    pub fn respond<B: Body>(self: &Arc<Self>, peer: Peer, request: Request<B>) -> Answering<AnswerBody> {
        make_room_for_values();
        let fields = Fields::read(request.headers());
        let id = fields.request_id.and_then(RequestId::accept);
        let id = id.unwrap_or_else(|| RequestId::from_random(fastrand::u128(..)));
        let mut record = Record::open(&self.telemetry, id, request.method(), request.version(), peer.0);
        let begun = catch_unwind(AssertUnwindSafe(|| self.begin(&request, &fields, &mut record)));
        let has_conditions = fields.has_conditions;
        let mut asker = Asker::of(request, has_conditions);
        let mut answer = match begun {
            Ok(Begun::Answered(answer)) => answer,
            Ok(Begun::Asking(asking)) => {
                return Answering::waiting(Arc::clone(self).wait(*asking, asker, record));
            }
            Err(_) => Answer::refused(Refusal::Internal),
        };
        Answering::ready(asker.write(&mut answer, &mut record, &self.wall))
    }

    async fn wait(
        self: Arc<Self>,
        mut asking: Asking,
        mut asker: Asker,
        mut record: Record,
    ) -> Response<AnswerBody> {
        let limit = asking.limit.take();
        let found = AssertUnwindSafe(self.ask(asking, &mut record)).catch_unwind().await;
        let found = found.unwrap_or(Err(Refusal::Internal));
        asker.write(&mut Answer { found, limit }, &mut record, &self.wall)
    }

    /// Framing, tenant, limit, route, cache: in this order, each only if the one before has let the
    /// request pass.
    fn begin<B: Body>(&self, request: &Request<B>, fields: &Fields<'_>, record: &mut Record) -> Begun {
        let snapshot = self.snapshots.load();
        let refused = |refusal, limit| Begun::Answered(Answer { found: Err(refusal), limit });
        if let Err(refusal) = framing::check(request, fields) {
            return refused(refusal, None);
        }
        let tenant = match snapshot.directory.recognise(fields.authorization.one()) {
            Ok(tenant) => tenant,
            Err(refusal) => return refused(refusal, None),
        };
        record.tenant = Some(Arc::clone(tenant.metrics()));
        record.follow(if fields.is_traced { TraceContext::read(request.headers()) } else { None });
        let charged = tenant.charge(record.started());
        let limit = charged.told.map(|state| LimitToTell { state, when: snapshot.rate_limit_headers });
        if let Err(refusal) = charged.verdict {
            return refused(refusal, limit);
        }
        let (label, routed) = route(request.method(), request.uri());
        record.route = label;
        match routed {
            Ok(lookup) => {
                record.call = Some(lookup.id);
                let demand = match fields.has_demands {
                    true => demand(request.headers(), &snapshot.policy),
                    false => Demand::default(),
                };
                self.look(&lookup.id, &snapshot, tenant, demand, limit, record)
            }
            Err(refusal) => refused(refusal, limit),
        }
    }

    /// Answers from the cache, or finds out what must be asked.
    fn look(
        &self,
        id: &CallId,
        snapshot: &Snapshot,
        tenant: &Arc<Tenant>,
        demand: Demand,
        limit: Option<LimitToTell>,
        record: &mut Record,
    ) -> Begun {
        let generation = tenant.cache().current();
        let now = record.started();
        let step = decide(generation.entry(id), &demand, &snapshot.policy, now);
        if let Step::Serve(served) = step {
            return Begun::Answered(Answer { found: Ok(serve(served, record)), limit });
        }
        let subject = Subject {
            tenant: Arc::clone(tenant),
            generation: Arc::clone(&generation),
            policy: Arc::clone(&snapshot.policy),
            id: *id,
            deadline: now + snapshot.total_timeout,
        };
        let found = match step {
            Step::Serve(served) => Ok(serve(served, record)),
            Step::Renew(served) => {
                let entry = Some(Arc::clone(&served.entry));
                Errand::new(subject, entry, record.id.clone(), record.trace.clone())
                    .renew(now, &self.fetches);
                Ok(serve(served, record))
            }
            Step::NotCached(forward) => {
                record.story =
                    Some(Story::Forwarded { forward, landing: Landing::NotSent, collapsed: false });
                Err(Refusal::NotCached)
            }
            Step::Ask(question) => {
                let in_flight = snapshot.in_flight.clone();
                return Begun::Asking(Box::new(Asking { subject, demand, question, in_flight, limit }));
            }
        };
        Begun::Answered(Answer { found, limit })
    }

    /// Waits for a fetch, as one of no more than may wait.
    async fn ask(&self, mut asking: Asking, record: &mut Record) -> Result<Found, Refusal> {
        let in_flight = asking.in_flight.clone();
        let waiting = asking.subject.tenant.waits().lookups.clone();
        match in_flight.pass(waiting.pass(self.fetch(&mut asking, record))).await {
            Ok(Ok(found)) => found,
            Ok(Err(TurnedAway)) | Err(TurnedAway) => Err(Refusal::Overloaded),
        }
    }

    async fn fetch(&self, asking: &mut Asking, record: &mut Record) -> Result<Found, Refusal> {
        loop {
            let Asking { subject, question, .. } = &*asking;
            let forward = question.forward;
            let boarded = subject.generation.board(&subject.id, question.storing, question.seen.as_ref());
            let (passenger, collapsed) = match boarded {
                Boarded::Follower(passenger) => (passenger, true),
                Boarded::Leader { pilot, passenger, entry } => {
                    let Some(place) = subject.tenant.waits().fetches.take() else {
                        pilot.land(|_| Landed::refused(Landing::NotSent, Refusal::Overloaded));
                        return Err(Refusal::Overloaded);
                    };
                    // For a client that said so, the store is not even read.
                    let entry = entry.filter(|_| question.storing == Storing::Wanted);
                    let errand = Errand::new(subject.clone(), entry, record.id.clone(), record.trace.clone());
                    errand.depart(pilot, place, &self.fetches);
                    (passenger, false)
                }
                Boarded::Found(entry) => {
                    // A fetch has landed since we looked.
                    match decide(Some(entry), &asking.demand, &asking.subject.policy, clock::now()) {
                        Step::Serve(served) | Step::Renew(served) => return Ok(serve(served, record)),
                        Step::NotCached(_) => return Err(Refusal::NotCached),
                        Step::Ask(question) => asking.question = question,
                    }
                    continue;
                }
            };
            // Should the client leave now, this is what is counted.
            record.story = Some(Story::Forwarded { forward, landing: Landing::NoResponse, collapsed });
            let landed = tokio::select! {
                landed = passenger.wait() => match landed {
                    Ok(landed) => landed,
                    Err(Lost) => Landed::refused(Landing::NoResponse, Refusal::Internal),
                },
                () = tokio::time::sleep_until((subject.deadline + GRACE).for_timer()) => {
                    Landed::refused(Landing::NoResponse, Refusal::UpstreamTimeout)
                }
                () = self.cutoff.reached() => return Err(Refusal::ShuttingDown),
            };
            if matches!(landed.yields, Yield::GaveWay) && clock::now() < subject.deadline {
                record.story = None;
                continue;
            }
            record.story = Some(Story::Forwarded { forward, landing: landed.landing, collapsed });
            return finish(landed, &asking.question, &asking.subject, record);
        }
    }
}

/// What a client gets from a fetch that has landed: its yield, or a stale entry if that is better.
fn finish(
    landed: Landed,
    question: &Question,
    subject: &Subject,
    record: &mut Record,
) -> Result<Found, Refusal> {
    let now = clock::now();
    if landed.is_failure()
        && let Some(served) = fall_back(question, &subject.policy, now)
    {
        return Ok(serve(served, record));
    }
    match landed.yields {
        Yield::Entry(entry) => {
            let age = Reckoning::of(&entry.facts, &subject.policy, now).age_seconds();
            // What came from the upstream just now has an age only if it was old then.
            let from_cache = matches!(landed.landing, Landing::Renewed { .. }) || age > 0;
            Ok(Found::Entry { entry, age: from_cache.then_some(age) })
        }
        Yield::Reply(reply) => Ok(Found::Reply(Box::new(reply))),
        Yield::Refusal(refusal) => Err(refusal),
        Yield::GaveWay => Err(Refusal::UpstreamTimeout),
    }
}

fn serve(served: Served, record: &mut Record) -> Found {
    record.story = Some(served.story);
    Found::Entry { entry: served.entry, age: Some(served.age) }
}
