//! Admission of upstream requests: the upstream's pause, the breaker, the tenant's budget, a free connection, and the
//! retry budget, in an order that takes nothing for a request which a later check refuses.

use std::time::Duration;

use tokio::sync::SemaphorePermit;

use super::super::error::{FetchError, RequestEnd};
use super::super::key_ring::ActiveKey;
use super::super::permit::BreakerPermit;
use super::state::{Upstream, Urgency};
use crate::clock::{self, Instant};
use crate::domain::RepeatReason;
use crate::limits::Exhausted;

/// Permission to send one request.
pub(super) struct Admitted<'a> {
    /// Held while the request is in flight.
    slot: SemaphorePermit<'a>,
    pub(super) breaker: BreakerPermit<'a>,
}

/// The request to be followed by another.
pub(super) struct PreviousRequest<'a> {
    pub(super) reason: RepeatReason,
    pub(super) ending: RequestEnd,
    pub(super) key: &'a ActiveKey,
}

impl Upstream {
    /// Refuses at once a request that would be refused after waiting for a connection. Takes nothing.
    pub(super) fn look(&self, urgency: Urgency, now: Instant) -> Result<(), FetchError> {
        self.check_pause(now)?;
        if let Some(retry_after) = self.breaker.lock().refuses(now) {
            return Err(FetchError::Unavailable { retry_after });
        }
        self.check_budget(urgency, now)?;
        self.check_connections(urgency)
    }

    /// Whether the tenant's budget has a request left. A renewal leaves a quarter of the bucket to waiting
    /// lookups.
    fn check_budget(&self, urgency: Urgency, now: Instant) -> Result<(), FetchError> {
        let Some(budget) = &self.parts.budget else { return Ok(()) };
        let rate = budget.rate();
        match (budget.look(now), urgency) {
            (Err(Exhausted { retry_after, .. }), _) => Err(FetchError::Budget { retry_after }),
            (Ok(left), Urgency::Background) if left.remaining <= budget.reserve(&left) => {
                Err(FetchError::Budget { retry_after: rate.interval })
            }
            (Ok(_), Urgency::Background | Urgency::Foreground) => Ok(()),
        }
    }

    /// A renewal does not wait for a connection, and leaves a quarter of them to waiting lookups.
    fn check_connections(&self, urgency: Urgency) -> Result<(), FetchError> {
        let reserve = self.parts.settings.max_connections / 4;
        match urgency {
            Urgency::Background if self.slots.available_permits() <= reserve => Err(FetchError::NoConnection),
            Urgency::Background | Urgency::Foreground => Ok(()),
        }
    }

    fn check_pause(&self, now: Instant) -> Result<(), FetchError> {
        match self.pause.left(now) {
            Some(retry_after) => Err(FetchError::Paused { retry_after }),
            None => Ok(()),
        }
    }

    /// Admits one request for media. It has a connection of its own, and the breaker learns nothing of it: media may
    /// fail where calls don't.
    pub(super) async fn admit_media(&self) -> Result<(), FetchError> {
        self.look(Urgency::Foreground, clock::now())?;
        self.charge(Urgency::Foreground, Duration::ZERO).await
    }

    /// Admits a fetch's first request. `waited` is how long the fetch has waited for a fleet's engine.
    pub(super) async fn admit(
        &self,
        urgency: Urgency,
        deadline: Instant,
        waited: Duration,
    ) -> Result<Admitted<'_>, FetchError> {
        let admitted = self.enter(urgency, deadline).await?;
        self.charge(urgency, waited).await?;
        Ok(admitted)
    }

    /// Admits a further request of a fetch; `None` if it is refused.
    pub(super) async fn admit_again<'a>(
        &'a self,
        last: PreviousRequest<'_>,
        pause: Duration,
        admitted: Admitted<'a>,
        urgency: Urgency,
        deadline: Instant,
    ) -> Option<Admitted<'a>> {
        let Admitted { slot, breaker } = admitted;
        match last.reason {
            // The last request was not processed: this one replaces it.
            RepeatReason::ClosedConnection => Some(Admitted { slot, breaker }),
            RepeatReason::NextKey => {
                breaker.end(last.ending);
                self.parts.keys.after(last.key)?;
                let breaker = self.ask_breaker().ok()?;
                // It goes upstream, so it is charged; but the caller must not fail for it.
                let _ = self.parts.budget.as_ref().map(|budget| budget.take(clock::now()));
                Some(Admitted { slot, breaker })
            }
            RepeatReason::OtherVersion | RepeatReason::MixUp => {
                breaker.end(last.ending);
                let breaker = self.ask_breaker().ok()?;
                self.charge(urgency, Duration::ZERO).await.ok()?;
                Some(Admitted { slot, breaker })
            }
            RepeatReason::Retry | RepeatReason::HopStatus => {
                breaker.end(last.ending);
                drop(slot);
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
                let admitted = self.enter(urgency, deadline).await.ok()?;
                let may_retry = self.retries.withdraw() && self.charge(urgency, Duration::ZERO).await.is_ok();
                may_retry.then_some(admitted)
            }
        }
    }

    /// Waits for a free connection, then asks the breaker.
    async fn enter(&self, urgency: Urgency, deadline: Instant) -> Result<Admitted<'_>, FetchError> {
        self.look(urgency, clock::now())?;
        let slot = self.slot(urgency, deadline).await?;
        // Meanwhile the breaker may have opened, or the upstream answered 429.
        let breaker = self.ask_breaker()?;
        Ok(Admitted { slot, breaker })
    }

    fn ask_breaker(&self) -> Result<BreakerPermit<'_>, FetchError> {
        let now = clock::now();
        self.check_pause(now)?;
        BreakerPermit::ask(&self.breaker, &self.parts.metrics, now)
            .map_err(|retry_after| FetchError::Unavailable { retry_after })
    }

    /// Takes one request from the tenant's budget. Waits a moment for what a fleet has of it.
    async fn charge(&self, urgency: Urgency, waited: Duration) -> Result<(), FetchError> {
        let Some(budget) = &self.parts.budget else { return Ok(()) };
        self.check_budget(urgency, clock::now())?;
        match budget.acquire(waited).await {
            Ok(_) => Ok(()),
            Err(Exhausted { retry_after, .. }) => Err(FetchError::Budget { retry_after }),
        }
    }

    /// The permit for one more busy connection.
    async fn slot(&self, urgency: Urgency, deadline: Instant) -> Result<SemaphorePermit<'_>, FetchError> {
        match urgency {
            Urgency::Background => {
                self.check_connections(urgency)?;
                self.slots.try_acquire().map_err(|_| FetchError::NoConnection)
            }
            Urgency::Foreground => match clock::until(deadline, self.slots.acquire()).await {
                Ok(Ok(slot)) => Ok(slot),
                Ok(Err(_)) | Err(_) => Err(FetchError::NoConnection),
            },
        }
    }
}
