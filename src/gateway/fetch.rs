//! A fetch, from boarding to landing: a task of its own, which no client's leaving ends.

use std::future::Future;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use crate::cache::{
    Answer, AnswerVerdict, Boarded, Entry, Generation, Landed, Pilot, Ruling, Storing, Validators, Yield,
    judge_answer, settle,
};
use crate::clock::{self, Instant};
use crate::config::{Cache as Policy, CacheControl};
use crate::domain::{CallId, Landing, NotStored, RequestId};
use crate::telemetry::TraceContext;
use crate::tenant::{Place, Tenant};
use crate::upstream::{Ask, Connection, Failure, Fetched, Urgency};

/// Bodies above this are judged off the runtime: reading 400 KB of JSON takes about 1 ms.
const OFF_RUNTIME_BYTES: usize = 256 << 10;

/// Where fetches run: all on one runtime, the threads that wait for them on another or not.
///
/// The connections to the upstream live where they were opened. A fetch that ends on another thread than
/// its connection's lets the next one begin before the connection is free again, which then opens one
/// more than there may be.
pub struct Fetches {
    tasks: TaskTracker,
    runtime: Option<Handle>,
}

impl Fetches {
    /// On this runtime, each counted in `tasks`.
    pub fn on(runtime: Handle, tasks: TaskTracker) -> Self {
        Self { tasks, runtime: Some(runtime) }
    }

    /// On whichever runtime asks for one, where there is only one.
    #[cfg(any(test, feature = "bench"))]
    pub fn anywhere(tasks: TaskTracker) -> Self {
        Self { tasks, runtime: None }
    }

    fn spawn(&self, fetch: impl Future<Output = ()> + Send + 'static) {
        // A task's own memory is aligned to cache lines, which glibc's allocator pays for with holes that
        // it seldom fills: 300 bytes a fetch of this size (measured). In a box it is an ordinary piece.
        let fetch = Box::pin(fetch);
        match &self.runtime {
            Some(runtime) => self.tasks.spawn_on(fetch, runtime),
            None => self.tasks.spawn(fetch),
        };
    }
}

/// What a lookup concerns, taken from one configuration at one moment.
#[derive(Clone)]
pub struct Subject {
    /// Whose call.
    pub tenant: Arc<Tenant>,
    /// The cache as it was when the request began.
    pub generation: Arc<Generation>,
    /// What may be stored.
    pub policy: Arc<Policy>,
    /// The call.
    pub id: CallId,
    /// The end of all patience.
    pub deadline: Instant,
}

/// A fetch that is about to begin. It owns what it needs: it outlives the request that led it.
pub struct Errand {
    subject: Subject,
    /// What is stored, to be validated.
    entry: Option<Arc<Entry>>,
    ask: Ask,
}

impl Errand {
    /// A fetch of a call, of which `entry` is stored, for this request.
    pub fn new(
        subject: Subject,
        entry: Option<Arc<Entry>>,
        request_id: RequestId,
        trace: Option<TraceContext>,
    ) -> Self {
        let validators = entry.as_ref().map(|entry| entry.validators()).unwrap_or_default();
        let ask = Ask { id: subject.id, validators, request_id, trace };
        Self { subject, entry, ask }
    }

    /// Starts it for everyone who waits.
    pub fn depart(self, pilot: Pilot, place: Place, fetches: &Fetches) {
        fetches.spawn(self.run(pilot, Urgency::Foreground, Some(place)));
    }

    /// Starts it in the background, to renew what is stored, unless somebody is at it or the last
    /// renewal failed just now.
    pub fn renew(self, now: Instant, fetches: &Fetches) {
        let Some(entry) = self.entry.as_ref().filter(|entry| entry.renewal_is_due(now)) else { return };
        let boarded = self.subject.generation.board(&self.subject.id, Storing::Wanted, Some(entry));
        match boarded {
            // It waits for nothing, so it needs no place among those that do.
            Boarded::Leader { pilot, entry: Some(_), .. } => {
                fetches.spawn(self.run(pilot, Urgency::Background, None));
            }
            // It was purged meanwhile.
            Boarded::Leader { pilot, entry: None, .. } => pilot.land(|_| Landed::gave_way()),
            Boarded::Follower(_) | Boarded::Found(_) => {}
        }
    }

    async fn run(mut self, pilot: Pilot, urgency: Urgency, place: Option<Place>) {
        let mut verdict = self.fetch(urgency).await;
        if let Ok(AnswerVerdict::Unconfirmed) = verdict {
            // The 304 was about a version that isn't stored: ask for the whole call.
            self.ask.validators = Validators::default();
            verdict = self.fetch(urgency).await;
        }
        let Self { subject: Subject { tenant, generation, policy, id, .. }, entry, .. } = self;
        // Before those who waited go on, so that one who asks again finds room.
        drop(place);
        pilot.land(|landing| {
            let landed = match verdict {
                Ok(verdict) => settle(verdict, &id, &generation, &policy, tenant.metrics(), landing),
                Err(failure) => failed(failure, urgency, &tenant),
            };
            if let (Urgency::Background, Some(entry), false) = (urgency, &entry, landed.has_renewed()) {
                match landed.yields {
                    Yield::GaveWay => entry.note_delayed_renewal(clock::now()),
                    Yield::Entry(_) | Yield::Reply(_) | Yield::Refusal(_) => {
                        entry.note_failed_renewal(clock::now());
                    }
                }
            }
            landed
        });
    }

    /// Fetches and judges. An answer about another call, on a connection that was used before, may
    /// belong to a request of then: it is asked for once more, on another connection.
    async fn fetch(&self, urgency: Urgency) -> Result<AnswerVerdict, Failure> {
        let (verdict, connection) = self.fetch_once(urgency).await?;
        if is_mix_up(&verdict) && connection.was_reused {
            return self.fetch_once(urgency).await.map(|(verdict, _)| verdict);
        }
        Ok(verdict)
    }

    async fn fetch_once(&self, urgency: Urgency) -> Result<(AnswerVerdict, Connection), Failure> {
        let upstream = self.subject.tenant.upstream();
        let Fetched { answer, connection } =
            upstream.fetch(&self.ask, urgency, self.subject.deadline).await?;
        let verdict = self.judge(answer).await;
        self.tell_defeat(&verdict);
        if is_mix_up(&verdict) {
            connection.poison();
            let metrics = self.subject.tenant.metrics();
            metrics.identity_mismatches.increment();
            tracing::error!(
                tenant = metrics.name().as_str(),
                request_id = self.ask.request_id.as_str(),
                "the upstream answered with another call than the one asked for: the answer was dropped and its \
                 connection closed. Tell the vendor"
            );
        }
        Ok((verdict, connection))
    }

    /// Says once that the upstream's own `Cache-Control`, as web frameworks set it by default, makes
    /// the cache useless, and what changes that.
    fn tell_defeat(&self, verdict: &AnswerVerdict) {
        let defeated = match verdict {
            AnswerVerdict::Ruled(_, Ruling::Store(entry)) => {
                !entry.is_missing()
                    && entry.facts.defeats_caching()
                    && self.subject.policy.upstream_cache_control == CacheControl::Honor
            }
            AnswerVerdict::Ruled(_, Ruling::Pass { why, .. }) => *why == NotStored::NoStore,
            AnswerVerdict::Ruled(_, Ruling::Refuse { .. })
            | AnswerVerdict::Renewed(_)
            | AnswerVerdict::Unconfirmed => false,
        };
        if defeated && self.subject.tenant.cache().defeat_is_news() {
            tracing::warn!(
                tenant = self.subject.tenant.name().as_str(),
                "the upstream's own Cache-Control keeps completed calls from being fresh, so each lookup goes upstream: \
                 cache.upstream_cache_control = \"ignore\" lets the configured times apply instead"
            );
        }
    }

    async fn judge(&self, answer: Answer) -> AnswerVerdict {
        let (ask, entry, policy) = (self.ask.clone(), self.entry.clone(), Arc::clone(&self.subject.policy));
        let jitter = fastrand::u16(0..=1000);
        let small = answer.body.len() <= OFF_RUNTIME_BYTES;
        let judge =
            move || judge_answer(&answer, &ask.id, entry.as_deref(), &ask.validators, &policy, jitter);
        if small {
            return judge();
        }
        match tokio::task::spawn_blocking(judge).await {
            Ok(verdict) => verdict,
            // A bug in the judge is a lost fetch, as it would be on this task.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

fn is_mix_up(verdict: &AnswerVerdict) -> bool {
    matches!(verdict, AnswerVerdict::Ruled(_, Ruling::Refuse { why: NotStored::Identity, .. }))
}

fn failed(failure: Failure, urgency: Urgency, tenant: &Tenant) -> Landed {
    let gave_way = matches!(failure, Failure::NoConnection | Failure::Budget { .. });
    if urgency == Urgency::Background && gave_way {
        return Landed::gave_way();
    }
    let landing = failure.landing();
    if let Landing::NotStored { why, .. } = landing {
        tenant.metrics().count_not_stored(why);
    }
    Landed::refused(landing, failure.refusal())
}
