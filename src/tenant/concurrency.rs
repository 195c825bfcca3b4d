//! Concurrency limits: beyond them, requests are refused at once instead of queueing.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::limit::{ConcurrencyLimit as TowerLimit, GlobalConcurrencyLimitLayer};
use tower::load_shed::LoadShed;
use tower::{Service, ServiceBuilder, ServiceExt};

/// Admits a limited number at a time. Clones share the limit.
#[derive(Debug, Clone)]
pub(crate) struct ConcurrencyLimit {
    permits: Arc<Semaphore>,
    service: LoadShed<TowerLimit<Run>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LimitReached;

impl ConcurrencyLimit {
    /// Admits at most `most` at a time.
    pub(crate) fn new(most: usize) -> Self {
        let permits = Arc::new(Semaphore::new(most));
        let limit = GlobalConcurrencyLimitLayer::with_semaphore(Arc::clone(&permits));
        Self { permits, service: ServiceBuilder::new().load_shed().layer(limit).service(Run) }
    }

    /// Whether another one would be refused now. Takes no permit.
    pub(crate) fn is_full(&self) -> bool {
        self.permits.available_permits() == 0
    }

    /// Runs `waiting` unless the limit is reached.
    pub(crate) async fn pass<F: Future>(&self, waiting: F) -> Result<F::Output, LimitReached> {
        // The only error of these layers is that the limit is reached.
        self.service.clone().oneshot(waiting).await.map_err(|_| LimitReached)
    }
}

/// Slots for fetches. Disconnecting does not release the slot, so a client cannot exceed the limit by reconnecting.
#[derive(Debug, Clone)]
pub(crate) struct FetchSlots(Arc<Semaphore>);

/// A fetch's slot, held until dropped.
#[derive(Debug)]
pub(crate) struct SlotPermit(#[expect(dead_code, reason = "held for its end alone")] OwnedSemaphorePermit);

impl FetchSlots {
    /// Admits at most `most` at a time.
    pub(crate) fn new(most: usize) -> Self {
        Self(Arc::new(Semaphore::new(most)))
    }

    /// Whether another one would be refused now.
    pub(crate) fn is_full(&self) -> bool {
        self.free() == 0
    }

    /// How many would be admitted now.
    pub(crate) fn free(&self) -> usize {
        self.0.available_permits()
    }

    /// A slot, if one is free.
    pub(crate) fn take(&self) -> Option<SlotPermit> {
        Arc::clone(&self.0).try_acquire_owned().ok().map(SlotPermit)
    }
}

/// The service that runs the future passed to it.
#[derive(Debug, Clone, Copy)]
struct Run;

impl<F: Future> Service<F> for Run {
    type Response = F::Output;
    type Error = Infallible;
    type Future = RunFuture<F>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, waiting: F) -> Self::Future {
        FutureExt::map(waiting, Ok)
    }
}

type RunFuture<F> =
    futures_util::future::Map<F, fn(<F as Future>::Output) -> Result<<F as Future>::Output, Infallible>>;

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_request_beyond_the_limit_is_refused_at_once_and_slots_are_freed() {
        let concurrency = ConcurrencyLimit::new(2);
        let wait = || tokio::time::timeout(Duration::from_secs(1), concurrency.pass(pending::<()>()));
        let full = async {
            tokio::task::yield_now().await;
            assert!(concurrency.is_full());
            concurrency.pass(ready(())).await
        };
        let (first, second, third) = tokio::join!(wait(), wait(), full);
        assert!(first.is_err() && second.is_err());
        assert_eq!(third, Err(LimitReached));
        assert!(!concurrency.is_full());
        assert_eq!(concurrency.pass(ready(7)).await, Ok(7));
    }
}
