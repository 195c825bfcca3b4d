//! A tenant's upstream client: consults pause, breaker, budget and connections, adds the key, sends, and carries out
//! the decisions of `plan`. Knows no cache and no clients: it is passed a URL and a reader of responses.

mod exchange;
mod gate;
mod media;
mod reports;
mod state;

use std::future::Future;
use std::time::Duration;

use super::error::FetchError;
use super::plan::{FetchHistory, FetchLimits, RepeatDecision, ResponseReading};
use super::request::Ask;
use crate::clock::{self, Instant};
use crate::domain::{Effort, RepeatReason};
use crate::limits::Quota;
use crate::message::{UpstreamResponse, Validators};
use crate::telemetry::LimitLabel;

use exchange::{Exchanged, NextRequest};
use gate::{Admitted, PreviousRequest};
pub(crate) use media::{LinkProspect, MediaError, MediaFetched, OpenMedia};
pub(crate) use state::{MediaParts, Parts, Upstream, Urgency};

/// The end of a fetch.
pub(crate) struct Fetched<T> {
    pub(crate) result: Result<T, FetchError>,
    pub(crate) effort: Effort,
}

/// The prospects of a fetch.
#[derive(Debug)]
pub(crate) struct Outlook {
    /// How long the upstream's 429 still delays fetches.
    pub(crate) paused_for: Option<Duration>,
    /// `closed`, `open` or `half-open`.
    pub(crate) breaker: &'static str,
    pub(crate) budget: Option<Quota>,
    /// The number of requests that could be sent at once.
    pub(crate) free_connections: usize,
}

impl Upstream {
    /// Why a fetch of this urgency would send nothing now. Changes nothing.
    pub(crate) fn would_refuse(&self, urgency: Urgency, now: Instant) -> Option<FetchError> {
        self.look(urgency, now).err()
    }

    /// The prospects of a fetch now. Changes nothing.
    pub(crate) fn outlook(&self, now: Instant) -> Outlook {
        Outlook {
            paused_for: self.pause.left(now),
            breaker: self.breaker.lock().state_label(now),
            budget: self.parts.budget.as_ref().map(|budget| budget.left(now)),
            free_connections: self.slots.available_permits(),
        }
    }

    /// Fetches until `deadline`, repeating requests as `plan` decides. `read` judges each complete response, given
    /// the validators that its request carried. `waited` is how long it has waited for a fleet's engine before.
    pub(crate) async fn fetch<T, F>(
        &self,
        ask: &Ask,
        urgency: Urgency,
        deadline: Instant,
        waited: Duration,
        read: impl Fn(UpstreamResponse, Validators) -> F + Send + Sync,
    ) -> Fetched<T>
    where
        F: Future<Output = (T, ResponseReading)> + Send,
    {
        let Some(key) = self.parts.keys.active() else {
            return Fetched { result: Err(FetchError::Unbuildable), effort: Effort::default() };
        };
        let (history, validators, effort) =
            (FetchHistory::first(), ask.validators.clone(), Effort::default());
        let mut sending = NextRequest { history, key, validators, effort };
        let mut admitted: Admitted<'_> = match self.admit(urgency, deadline, waited).await {
            Ok(admitted) => admitted,
            Err(refused) => {
                self.count_refusal(&refused, urgency);
                return Fetched { result: Err(refused), effort };
            }
        };
        self.retries.deposit();
        let limits = FetchLimits {
            max_attempts: self.parts.settings.retry.max_attempts,
            max_closed: self.parts.settings.max_connections,
            deadline,
            repeats: ask.repeats(),
        };
        loop {
            let exchanged = self.exchange(ask, &mut sending, deadline, &read).await;
            let next = sending.history.next(exchanged.attempt, &limits, clock::now(), fastrand::f64());
            if !matches!(next, RepeatDecision::Again { reason: RepeatReason::ClosedConnection, .. }) {
                self.report(ask, &exchanged);
            }
            let Exchanged { attempt, result, .. } = exchanged;
            let effort = sending.effort;
            let RepeatDecision::Again { reason, pause, history } = next else {
                admitted.breaker.end(attempt.ending());
                return Fetched { result, effort };
            };
            let last = PreviousRequest { reason, ending: attempt.ending(), key: &sending.key };
            match self.admit_again(last, pause, admitted, urgency, deadline).await {
                Some(again) => admitted = again,
                // A refusal to send again says less than the answer to the previous request.
                None => return Fetched { result, effort },
            }
            sending.prepare(reason, history, &self.parts.keys);
            self.count_repeat(reason);
        }
    }

    /// A refusal by the tenant's budget counts as one only if a client waits for the fetch.
    fn count_refusal(&self, refused: &FetchError, urgency: Urgency) {
        if matches!((refused, urgency), (FetchError::Budget { .. }, Urgency::Foreground)) {
            self.parts.metrics.count_rate_limited(LimitLabel::Upstream);
        }
    }

    fn count_repeat(&self, reason: RepeatReason) {
        self.parts.metrics.count_upstream_repeat(reason);
        if matches!(reason, RepeatReason::Retry | RepeatReason::HopStatus) {
            self.parts.metrics.upstream_retries.increment();
        }
    }
}
