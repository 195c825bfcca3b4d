//! One upstream fetch as its own task, so that a disconnecting client does not cancel it for its followers.

use std::future::Future;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use super::below_memory::BelowMemory;
use super::lookup_context::LookupContext;
use super::recall::{FetchMarks, Recalled, recall, write_behind};
use crate::cache::{
    Admission, CallLeader, Candidate, Entry, FetchEnd, FetchOutcome, FetchResponse, FetchResult, JoinedFetch,
    Judgement, StoreChange, StoreMode, judge_response,
};
use crate::clock::{self, Instant};
use crate::config::CacheControl;
use crate::domain::{NotStored, RequestId};
use crate::levels::{CallClaim, ClaimWish, PollWish};
use crate::message::{UpstreamResponse, Validators};
use crate::telemetry::TraceContext;
use crate::tenant::SlotPermit;
use crate::upstream::{Ask, FetchError, Fetched, ResponseReading, Urgency};

/// Larger bodies are judged off the runtime: parsing 400 KB of JSON takes about 1 ms.
const OFF_RUNTIME_BYTES: usize = 256 << 10;

/// Judges a body of `bytes` bytes, off the runtime if it is large enough to block other work.
pub(super) async fn judge_off_runtime<T: Send + 'static>(
    bytes: usize,
    judge: impl FnOnce() -> T + Send + 'static,
) -> T {
    if bytes <= OFF_RUNTIME_BYTES {
        return judge();
    }
    match tokio::task::spawn_blocking(judge).await {
        Ok(judgement) => judgement,
        // A panic in the judge drops the leader, as it would on this task.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Runs fetches: all on one runtime, whichever threads wait for them.
///
/// Connections to the upstream stay on the thread that opened them. If a fetch ended on another thread than its
/// connection's, the next one would begin before the connection is free again and open one beyond the limit.
pub(crate) struct FetchSpawner {
    tasks: TaskTracker,
    runtime: Option<Handle>,
}

impl FetchSpawner {
    /// On this runtime.
    pub(crate) fn on(runtime: Handle) -> Self {
        Self { tasks: TaskTracker::new(), runtime: Some(runtime) }
    }

    /// On the calling runtime, if it is the only one.
    #[cfg(any(test, feature = "bench"))]
    pub(crate) fn anywhere() -> Self {
        Self { tasks: TaskTracker::new(), runtime: None }
    }

    /// In which each fetch is tracked.
    pub(super) const fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    pub(super) fn spawn(&self, fetch: impl Future<Output = ()> + Send + 'static) {
        // The memory of a task is aligned to cache lines, for which glibc's allocator leaves holes that it seldom
        // fills: 300 bytes for a fetch of this size (measured). A box is an ordinary allocation.
        let fetch = Box::pin(fetch);
        match &self.runtime {
            Some(runtime) => self.tasks.spawn_on(fetch, runtime),
            None => self.tasks.spawn(fetch),
        };
    }
}

/// A fetch that has not begun. It owns what it needs, because it outlives the request that led it.
pub(super) struct FetchTask {
    context: LookupContext,
    /// The stored entry, to be revalidated.
    entry: Option<Arc<Entry>>,
    ask: Ask,
    below: BelowMemory,
    purpose: FetchPurpose,
}

/// What a fetch is for.
enum FetchPurpose {
    /// Lookups wait for its result.
    Lookup,
    /// It renews an entry in the background.
    Renewal,
    /// Lookups wait until the call is final. With a fleet, one of its gateways polls the call.
    Poll(Option<PollWish>),
}

impl FetchPurpose {
    const fn urgency(&self) -> Urgency {
        match self {
            Self::Lookup => Urgency::Foreground,
            Self::Renewal | Self::Poll(_) => Urgency::Background,
        }
    }
}

impl FetchTask {
    /// A fetch for this request of a call whose stored entry is `entry`.
    pub(super) fn new(
        context: LookupContext,
        entry: Option<Arc<Entry>>,
        request_id: RequestId,
        trace: Option<TraceContext>,
    ) -> Self {
        let revalidated = entry.as_ref().filter(|entry| {
            let freshness = entry.freshness(&context.policy, clock::now());
            // A 304 would bring back the same links.
            !freshness.links_are_spent()
        });
        let validators = revalidated.map(|entry| entry.validators()).unwrap_or_default();
        let url = context.tenant.upstream().settings().base_url.call(&context.id);
        Self {
            ask: Ask { url, validators, request_id, trace, passed: None },
            context,
            entry,
            below: BelowMemory::Skipped,
            purpose: FetchPurpose::Lookup,
        }
    }

    /// The same, which asks below memory as this says.
    pub(super) fn asking(self, below: BelowMemory) -> Self {
        Self { below, ..self }
    }

    /// Starts it for all its followers.
    pub(super) fn spawn(self, leader: CallLeader, slot: SlotPermit, spawner: &FetchSpawner) {
        spawner.spawn(self.run(leader, Some(slot)));
    }

    /// Starts it in the background to renew the stored entry, unless a fetch is in flight or the last renewal has
    /// just failed.
    pub(super) fn renew(self, now: Instant, spawner: &FetchSpawner) {
        let Some(entry) = self.entry.as_ref().filter(|entry| entry.renewal_is_due(now)) else { return };
        let generation = Arc::clone(&self.context.generation);
        match generation.join(&self.context.id, StoreMode::Store, Some(entry)) {
            // No lookup waits for it, so it needs no slot.
            JoinedFetch::Lead { guard, seen: Some(_), .. } => {
                let task = Self { purpose: FetchPurpose::Renewal, ..self.asking(BelowMemory::Newer) };
                spawner.spawn(task.run(guard, None));
            }
            // It was purged meanwhile.
            JoinedFetch::Lead { guard, seen: None, .. } => {
                generation.complete(guard, FetchOutcome::unsent(FetchEnd::GaveWay));
            }
            JoinedFetch::Follow(_) | JoinedFetch::Stored(_) => {}
        }
    }

    /// Starts it for lookups that wait until the call is final; with a fleet, as `wish` says.
    pub(super) fn poll(self, leader: CallLeader, wish: Option<PollWish>, spawner: &FetchSpawner) {
        let task = Self { purpose: FetchPurpose::Poll(wish), ..self.asking(BelowMemory::Newer) };
        spawner.spawn(task.run(leader, None));
    }

    async fn run(self, leader: CallLeader, slot: Option<SlotPermit>) {
        let (asked, urgency) = (clock::now(), self.purpose.urgency());
        let (claim, waited) = match self.ask_below().await {
            ControlFlow::Continue(asked) => asked,
            ControlFlow::Break(end) => {
                drop(slot);
                let result = self.context.generation.complete(leader, FetchOutcome::unsent(end));
                self.context.tenant.watches().completed(&self.context.id, asked, &result);
                if let (FetchResponse::GaveWay | FetchResponse::LeftToFleet, Some(entry)) =
                    (&result.response, &self.entry)
                {
                    note_renewal(entry, &result);
                }
                return;
            }
        };
        if matches!(self.purpose, FetchPurpose::Poll(_)) {
            self.context.tenant.metrics().wait_polls.increment();
        }
        // A purge from here on must keep the response from being written below memory.
        let marks = FetchMarks::of(&self.context.tenant);
        let sent = clock::now();
        let Fetched { result, effort } = self.fetch(urgency, waited).await;
        let Self { context, entry, .. } = self;
        let end = match result {
            Ok(judgement) => FetchEnd::judged(judgement, &context.policy, clock::now()),
            Err(error) => failed(error, urgency),
        };
        // Before the followers resume, so that a client's next request finds a free slot.
        drop(slot);
        let had_call = entry.as_ref().is_some_and(|entry| !entry.is_negative());
        let behind = |change: StoreChange<'_>| write_behind(&context, marks, claim, had_call, change);
        let outcome = FetchOutcome { end, effort };
        let result = context.generation.complete_with(leader, outcome, behind);
        context.tenant.watches().completed(&context.id, sent, &result);
        if let (Urgency::Background, Some(entry)) = (urgency, &entry) {
            note_renewal(entry, &result);
        }
    }

    /// Asks the levels below memory. Breaks with the end of the fetch, if that is one; else it holds a claim, if it may,
    /// and has waited so long for the engine of the fleet.
    async fn ask_below(&self) -> ControlFlow<FetchEnd, (Option<CallClaim>, Duration)> {
        if self.below != BelowMemory::Only {
            // Beside the levels, so that the lookup waits for the fleet once.
            self.context.tenant.upstream().foresee_fetch(clock::now());
        }
        let wish = match (self.below, &self.purpose) {
            (BelowMemory::Only, _) => ClaimWish::None,
            (_, FetchPurpose::Lookup) => ClaimWish::OrWait,
            (_, FetchPurpose::Poll(Some(wish))) => ClaimWish::Poll(wish.clone()),
            (_, FetchPurpose::Renewal | FetchPurpose::Poll(None)) => ClaimWish::OrLeave,
        };
        match recall(&self.context, self.below, self.entry.as_ref(), wish).await {
            Recalled { found: Some((level, entry)), .. } => {
                ControlFlow::Break(FetchEnd::Recalled { level, entry })
            }
            Recalled { is_claimed_elsewhere: true, .. } => ControlFlow::Break(FetchEnd::LeftToFleet),
            Recalled { .. } if self.below == BelowMemory::Only => ControlFlow::Break(FetchEnd::GaveWay),
            Recalled { claim, engine_took, .. } => ControlFlow::Continue((claim, engine_took)),
        }
    }

    async fn fetch(&self, urgency: Urgency, waited: Duration) -> Fetched<Judgement> {
        let upstream = self.context.tenant.upstream();
        let read = |response, asked| self.read(response, asked);
        upstream.fetch(&self.ask, urgency, self.context.deadlines.fetch, waited, read).await
    }

    /// Judges a response to a request with the validators `asked`.
    async fn read(&self, response: UpstreamResponse, asked: Validators) -> (Judgement, ResponseReading) {
        let status = response.status;
        let judgement = self.judge(response, asked).await;
        self.report_defeat(&judgement);
        let reading = match &judgement {
            Judgement::OtherVersion => ResponseReading::OtherVersion,
            Judgement::Admitted(_, Admission::Reject { why: NotStored::Identity, .. }) => {
                self.context.tenant.metrics().identity_mismatches.increment();
                ResponseReading::MixUp
            }
            Judgement::Admitted(_, Admission::Reject { why, .. }) if status == StatusCode::OK => {
                ResponseReading::Unusable(*why)
            }
            Judgement::Admitted(..) | Judgement::Renewed(_) | Judgement::Withdrawn(..) => {
                ResponseReading::Usable
            }
        };
        (judgement, reading)
    }

    async fn judge(&self, response: UpstreamResponse, asked: Validators) -> Judgement {
        let (id, policy, bytes) = (self.context.id, Arc::clone(&self.context.policy), response.body.len());
        let stored = (response.status == StatusCode::NOT_MODIFIED)
            .then(|| self.entry.as_ref().map(|entry| entry.to_candidate()))
            .flatten();
        let jitter = fastrand::u16(0..=1000);
        judge_off_runtime(bytes, move || judge_response(&response, &id, stored, &asked, &policy, jitter))
            .await
    }

    /// Logs once that the upstream's own `Cache-Control`, often a web framework's default, defeats the cache, and how
    /// to change that.
    fn report_defeat(&self, judgement: &Judgement) {
        let defeated = match judgement {
            Judgement::Admitted(_, Admission::Store(Candidate { inputs, .. })) => {
                !inputs.is_negative()
                    && inputs.defeats_caching()
                    && self.context.policy.upstream_cache_control == CacheControl::Honor
            }
            Judgement::Admitted(_, Admission::PassThrough { why, .. }) => *why == NotStored::NoStore,
            Judgement::Admitted(_, Admission::Reject { .. })
            | Judgement::Renewed(_)
            | Judgement::Withdrawn(..)
            | Judgement::OtherVersion => false,
        };
        if defeated && self.context.tenant.cache().reports_defeat_first() {
            tracing::warn!(
                tenant = self.context.tenant.name().as_str(),
                "upstream's own Cache-Control keeps completed calls from being fresh, so each lookup goes \
                 upstream: cache.upstream_cache_control = \"ignore\" applies the configured times instead"
            );
        }
    }
}

fn failed(error: FetchError, urgency: Urgency) -> FetchEnd {
    let gave_way = matches!(error, FetchError::NoConnection | FetchError::Budget { .. });
    if urgency == Urgency::Background && gave_way {
        return FetchEnd::GaveWay;
    }
    FetchEnd::Unanswered { outcome: error.outcome(), refusal: error.refusal() }
}

/// Spaces out the renewals of an entry after failures. A successful one replaces the entry.
fn note_renewal(entry: &Entry, result: &FetchResult) {
    match result.response {
        FetchResponse::GaveWay | FetchResponse::LeftToFleet => entry.note_delayed_renewal(clock::now()),
        FetchResponse::Entry(_) | FetchResponse::PassThrough(_) | FetchResponse::Refusal(_) => {
            if !result.has_renewed() {
                entry.note_failed_renewal(clock::now());
            }
        }
    }
}
