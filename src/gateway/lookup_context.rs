//! The context of a lookup and its fetch, and the limits of waiting.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::below_memory::BelowMemory;
use super::cutoff::Cutoff;
use super::respond::Found;
use super::snapshot::Snapshot;
use crate::cache::{Generation, RequestDirectives};
use crate::clock::{self, Instant};
use crate::config::CacheSettings;
use crate::domain::{CallId, Overload, Refusal};
use crate::tenant::{ConcurrencyLimit, LimitReached, Tenant};

/// How much longer a request waits than its fetch may take.
const GRACE: Duration = Duration::from_millis(50);

/// The context of a lookup, from one configuration at one moment.
#[derive(Clone)]
pub(super) struct LookupContext {
    pub(super) tenant: Arc<Tenant>,
    /// The cache generation when the request began.
    pub(super) generation: Arc<Generation>,
    pub(super) policy: Arc<CacheSettings>,
    pub(super) id: CallId,
    pub(super) deadlines: Deadlines,
}

impl LookupContext {
    /// For a lookup that begins now.
    pub(super) fn new(snapshot: &Snapshot, tenant: &Arc<Tenant>, id: CallId, now: Instant) -> Self {
        Self {
            tenant: Arc::clone(tenant),
            generation: Arc::clone(&tenant.cache().current()),
            policy: Arc::clone(&snapshot.policy),
            id,
            deadlines: Deadlines::starting(now, snapshot.total_timeout),
        }
    }
}

impl LookupContext {
    /// Which levels below memory are asked for a client with these directives.
    pub(super) fn below(&self, directives: &RequestDirectives) -> BelowMemory {
        BelowMemory::for_lookup(&self.tenant, &self.generation, &self.id, directives)
    }
}

/// The two deadlines of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadlines {
    /// The end of the fetch.
    pub(super) fetch: Instant,
    /// The end of the client's wait: later, so that the fetch's own result comes first.
    pub(super) answer: Instant,
    total: Duration,
}

impl Deadlines {
    pub(super) fn starting(now: Instant, total_timeout: Duration) -> Self {
        let fetch = now + total_timeout;
        Self { fetch, answer: fetch + GRACE, total: total_timeout }
    }

    /// How long a fetch may take.
    pub(super) const fn total(self) -> Duration {
        self.total
    }
}

/// Runs `work` within the limits on waiting requests, of the process and of the tenant. Each layer in between would
/// hold a future passed by value twice: 6 KB a waiting request.
pub(super) async fn as_one_of_few(
    in_flight: ConcurrencyLimit,
    tenant: &Arc<Tenant>,
    work: Pin<&mut impl Future<Output = Result<Found, Refusal>>>,
) -> Result<Found, Refusal> {
    let waiting = tenant.waits().lookups.clone();
    let found = in_flight.pass(waiting.pass(work)).await;
    found
        .map_err(|LimitReached| Refusal::Overloaded(Overload::MaxInFlight))?
        .map_err(|LimitReached| Refusal::Overloaded(Overload::MaxWaiting))?
}

/// Waits for a task's result until the client's deadline. The inner error is the client's answer instead of a result;
/// the outer one means that the process ends.
pub(super) async fn await_result<T, E>(
    result: impl Future<Output = Result<T, E>>,
    deadlines: Deadlines,
    cutoff: &Cutoff,
) -> Result<Result<T, Refusal>, Refusal> {
    tokio::select! {
        result = clock::until(deadlines.answer, result) => Ok(match result {
            Ok(Ok(result)) => Ok(result),
            // The task has ended without a result.
            Ok(Err(_)) => Err(Refusal::Internal),
            Err(clock::TimedOut) => Err(Refusal::UpstreamTimeout),
        }),
        () = cutoff.reached() => Err(Refusal::ShuttingDown),
    }
}
