//! A bound on how many wait: beyond it, one more is turned away at once instead of queueing.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::limit::ConcurrencyLimit;
use tower::load_shed::LoadShed;
use tower::{Service, ServiceBuilder, ServiceExt};

/// Lets so many through at a time. Clones share the bound.
#[derive(Debug, Clone)]
pub struct Turnstile(LoadShed<ConcurrencyLimit<Run>>);

/// One too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TurnedAway;

impl Turnstile {
    /// For at most `most` at a time.
    pub fn new(most: usize) -> Self {
        Self(ServiceBuilder::new().load_shed().concurrency_limit(most).service(Run))
    }

    /// Runs `waiting` if there is room.
    pub async fn pass<F: Future>(&self, waiting: F) -> Result<F::Output, TurnedAway> {
        // The only error of these layers is that there is no room.
        self.0.clone().oneshot(waiting).await.map_err(|_| TurnedAway)
    }
}

/// Room for fetches. One keeps its place when those who waited for it have left: whoever asks and
/// leaves, again and again, gets no more of them going than who stays.
#[derive(Debug, Clone)]
pub struct Room(Arc<Semaphore>);

/// A fetch's place, until it is dropped.
#[derive(Debug)]
pub struct Place(#[expect(dead_code, reason = "held for its end alone")] OwnedSemaphorePermit);

impl Room {
    /// For at most `most` at a time.
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Semaphore::new(most)))
    }

    /// A place, if there is one.
    pub fn take(&self) -> Option<Place> {
        Arc::clone(&self.0).try_acquire_owned().ok().map(Place)
    }
}

/// The service that runs the future it is given.
#[derive(Debug, Clone, Copy)]
struct Run;

impl<F: Future> Service<F> for Run {
    type Response = F::Output;
    type Error = Infallible;
    type Future = Running<F>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, waiting: F) -> Self::Future {
        futures_util::FutureExt::map(waiting, Ok)
    }
}

type Running<F> =
    futures_util::future::Map<F, fn(<F as Future>::Output) -> Result<<F as Future>::Output, Infallible>>;

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_too_many_is_turned_away_at_once_and_room_comes_back() {
        let turnstile = Turnstile::new(2);
        let wait = || tokio::time::timeout(Duration::from_secs(1), turnstile.pass(pending::<()>()));
        let full = async {
            tokio::task::yield_now().await;
            turnstile.pass(ready(())).await
        };
        let (first, second, third) = tokio::join!(wait(), wait(), full);
        assert!(first.is_err() && second.is_err());
        assert_eq!(third, Err(TurnedAway));
        assert_eq!(turnstile.pass(ready(7)).await, Ok(7));
    }
}
