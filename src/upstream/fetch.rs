//! A fetch: one call asked of the upstream, with everything that stands between wanting and sending.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::StatusCode;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::breaker::Breaker;
use super::budget::RetryBudget;
use super::failure::{self, Ending, Failure};
use super::key_ring::{KeyRing, Lent, Promotion};
use super::leave::{self, Leave, UnderWay};
use super::pause::{Pause, take_retry_after};
use super::request::{Ask, build};
use super::retry::{Attempt, Decision, decide};
use super::transport::{Bounds, Broken, Connection, Received, Transport};
use crate::cache::{Answer, Exchange};
use crate::clock::{self, Instant, WallClock};
use crate::config::{BaseUrl, Upstream as Settings};
use crate::domain::CallId;
use crate::limits::{Left, Limiter, Spent};
use crate::telemetry::{LimitLabel, Telemetry, TenantMetrics};

/// One tenant's way to the upstream.
pub struct Upstream {
    parts: Parts,
    permits: Arc<Semaphore>,
    breaker: Arc<Mutex<Breaker>>,
    pause: Arc<Pause>,
    retries: Arc<RetryBudget>,
}

/// What an [`Upstream`] is made of.
pub struct Parts {
    /// Timeouts and limits.
    pub settings: Settings,
    /// What sends.
    pub transport: Arc<dyn Transport>,
    /// The tenant's keys.
    pub keys: Arc<KeyRing>,
    /// The tenant's budget of upstream requests.
    pub budget: Option<Arc<Limiter>>,
    /// Where it is counted.
    pub metrics: Arc<TenantMetrics>,
    /// Where it is timed.
    pub telemetry: Arc<Telemetry>,
    /// For the dates in answers.
    pub wall: WallClock,
}

/// How much a fetch is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// A client waits for it.
    Foreground,
    /// It renews what is being served meanwhile: it gives way when budget or connections are short.
    Background,
}

/// An answer, and the connection it came on.
pub struct Fetched {
    /// The answer.
    pub answer: Answer,
    /// Its connection.
    pub connection: Connection,
}

/// How a fetch would fare.
#[derive(Debug)]
pub struct Outlook<'a> {
    base_url: &'a BaseUrl,
    /// How long the upstream's 429 still holds fetches back.
    pub paused_for: Option<Duration>,
    /// `closed`, `open` or `half-open`.
    pub breaker: &'static str,
    /// What is left of the budget.
    pub budget: Option<Left>,
    /// Requests that could be sent at once.
    pub free_connections: usize,
}

impl Outlook<'_> {
    /// What would be asked.
    pub fn url(&self, id: &CallId) -> String {
        self.base_url.call(id).map(|url| url.to_string()).unwrap_or_default()
    }
}

impl Upstream {
    /// With full permits and a closed breaker.
    pub fn new(parts: Parts) -> Self {
        let Settings { max_connections, breaker, retry, .. } = parts.settings;
        Self {
            permits: Arc::new(Semaphore::new(max_connections)),
            breaker: Arc::new(Mutex::new(Breaker::new(breaker))),
            pause: Arc::default(),
            retries: Arc::new(RetryBudget::new(retry.budget_percent)),
            parts,
        }
    }

    /// As [`new`](Self::new), but goes on with what `before` has learnt, where the settings that it was
    /// learnt under are the same.
    pub fn succeeding(before: &Self, parts: Parts) -> Self {
        let (old, new) = (before.parts.settings.clone(), parts.settings.clone());
        let mut next = Self::new(parts);
        if old.base_url != new.base_url {
            next.show_breaker();
            return next;
        }
        next.pause = Arc::clone(&before.pause);
        if old.max_connections == new.max_connections {
            next.permits = Arc::clone(&before.permits);
        }
        if old.breaker == new.breaker {
            next.breaker = Arc::clone(&before.breaker);
        }
        if old.retry == new.retry {
            next.retries = Arc::clone(&before.retries);
        }
        next.show_breaker();
        next
    }

    /// A breaker that begins anew is closed, whatever its metric said of the former one.
    fn show_breaker(&self) {
        let open = leave::lock(&self.breaker).is_open();
        self.parts.metrics.upstream_breaker_open.set(open.into());
    }

    /// The tenant's keys.
    pub const fn keys(&self) -> &Arc<KeyRing> {
        &self.parts.keys
    }

    /// What sends.
    pub const fn transport(&self) -> &Arc<dyn Transport> {
        &self.parts.transport
    }

    /// The tenant's budget.
    pub const fn budget(&self) -> Option<&Arc<Limiter>> {
        self.parts.budget.as_ref()
    }

    /// How a fetch would fare now. Changes nothing.
    pub fn outlook(&self) -> Outlook<'_> {
        let now = clock::now();
        Outlook {
            base_url: &self.parts.settings.base_url,
            paused_for: self.pause.left(now),
            breaker: leave::lock(&self.breaker).state_label(now),
            budget: self.parts.budget.as_ref().map(|budget| budget.left(now)),
            free_connections: self.permits.available_permits(),
        }
    }

    /// Fetches a call by `deadline`, repeating what is worth it.
    pub async fn fetch(&self, ask: &Ask, urgency: Urgency, deadline: Instant) -> Result<Fetched, Failure> {
        let retry = self.parts.settings.retry;
        self.retries.deposit();
        let mut made = 1;
        let mut result = self.attempt(ask, urgency, deadline).await;
        loop {
            let attempt = match &result {
                Ok(fetched) => Attempt::Answered(fetched.answer.status),
                Err(Failure::Broken(broken)) => Attempt::Broken(*broken),
                Err(_) => return result,
            };
            let decision = decide(attempt, made, retry.max_attempts, fastrand::f64(), clock::now(), deadline);
            let Decision::After(pause) = decision else { return result };
            if !self.retries.withdraw() {
                return result;
            }
            tokio::time::sleep(pause).await;
            made += 1;
            self.parts.metrics.upstream_retries.increment();
            let again = self.attempt(ask, urgency, deadline).await;
            // What was never sent says less than what was answered before.
            if again.as_ref().is_err_and(Failure::is_unsent) {
                return result;
            }
            result = again;
        }
    }

    async fn attempt(&self, ask: &Ask, urgency: Urgency, deadline: Instant) -> Result<Fetched, Failure> {
        self.look(urgency)?;
        let _permit = self.permit(urgency, deadline).await?;
        // The wait may have been long: the breaker may have opened since, or the upstream said 429.
        let leave = self.ask_leave()?;
        self.charge(urgency)?;
        let lent = self.parts.keys.active().ok_or(Failure::Unbuildable)?;
        let mut result = self.send(ask, &lent, deadline).await;
        if is_rejected(&result) {
            result = self.send_with_next_key(ask, &lent, deadline, result).await;
        }
        leave.end(match &result {
            Ok(fetched) => Ending::Answered(fetched.answer.status),
            Err(failure) => Ending::Failed(*failure),
        });
        result
    }

    /// Refuses at once what would only wait for a connection to be refused then. Takes nothing.
    fn look(&self, urgency: Urgency) -> Result<(), Failure> {
        let now = clock::now();
        self.check_pause(now)?;
        if let Some(retry_after) = leave::lock(&self.breaker).refuses(now) {
            return Err(Failure::Unavailable { retry_after });
        }
        // A renewal waits for nothing, and is charged at once.
        let budget = self.parts.budget.as_ref().filter(|_| urgency == Urgency::Foreground);
        match budget.map(|budget| budget.look(now)) {
            Some(Err(spent)) => Err(self.over_budget(spent)),
            Some(Ok(_)) | None => Ok(()),
        }
    }

    fn check_pause(&self, now: Instant) -> Result<(), Failure> {
        match self.pause.left(now) {
            Some(retry_after) => Err(Failure::Paused { retry_after }),
            None => Ok(()),
        }
    }

    fn ask_leave(&self) -> Result<Leave<'_>, Failure> {
        let now = clock::now();
        self.check_pause(now)?;
        Leave::ask(&self.breaker, &self.parts.metrics, now)
            .map_err(|retry_after| Failure::Unavailable { retry_after })
    }

    /// Takes one request from the tenant's budget. A renewal leaves a quarter of the bucket to those
    /// who wait.
    fn charge(&self, urgency: Urgency) -> Result<(), Failure> {
        let Some(budget) = &self.parts.budget else { return Ok(()) };
        let reserve = budget.rate().burst.get() / 4;
        if urgency == Urgency::Background && budget.left(clock::now()).remaining <= reserve {
            return Err(Failure::Budget { retry_after: budget.rate().interval });
        }
        budget.take(clock::now()).map(|_| ()).map_err(|spent| self.over_budget(spent))
    }

    fn over_budget(&self, spent: Spent) -> Failure {
        self.parts.metrics.count_rate_limited(LimitLabel::Upstream);
        Failure::Budget { retry_after: spent.retry_after }
    }

    /// The right to have one more connection busy. A renewal waits for none, and leaves a quarter of
    /// them to those who wait.
    async fn permit(&self, urgency: Urgency, deadline: Instant) -> Result<SemaphorePermit<'_>, Failure> {
        match urgency {
            Urgency::Background => {
                let reserve = self.parts.settings.max_connections / 4;
                if self.permits.available_permits() <= reserve {
                    return Err(Failure::NoConnection);
                }
                self.permits.try_acquire().map_err(|_| Failure::NoConnection)
            }
            Urgency::Foreground => {
                match tokio::time::timeout_at(deadline.for_timer(), self.permits.acquire()).await {
                    Ok(Ok(permit)) => Ok(permit),
                    Ok(Err(_)) | Err(_) => Err(Failure::NoConnection),
                }
            }
        }
    }

    /// One exchange, and another for each pooled connection that the upstream closed just as it was
    /// reused: that is nobody's failure, and nothing that it would bill. There are only so many, and each
    /// is used up by its turn.
    async fn send(&self, ask: &Ask, lent: &Lent, deadline: Instant) -> Result<Fetched, Failure> {
        let mut stale = 0;
        loop {
            let is_last = stale == self.parts.settings.max_connections;
            match self.exchange(ask, lent, deadline, is_last).await {
                Err(Failure::Broken(Broken::Stale)) if !is_last => stale += 1,
                result => return result,
            }
        }
    }

    /// One exchange. Where a stale connection is not the last, it is not told to the metrics.
    async fn exchange(
        &self,
        ask: &Ask,
        lent: &Lent,
        deadline: Instant,
        is_last: bool,
    ) -> Result<Fetched, Failure> {
        let Parts { settings, transport, metrics, telemetry, wall, .. } = &self.parts;
        let mut request = build(ask, &settings.base_url, &lent.key).ok_or(Failure::Unbuildable)?;
        let span = telemetry.spans.client(ask.trace.as_ref(), &settings.base_url);
        span.write(request.headers_mut());
        let bounds = Bounds {
            first_byte: settings.first_byte_timeout,
            deadline,
            max_bytes: settings.max_response_bytes,
        };
        let sent = clock::now();
        let result = {
            let _under_way = UnderWay::begin(metrics);
            transport.exchange(request, bounds).await
        };
        span.end(result.as_ref().map(|received| received.status).map_err(|broken| failure::label(*broken)));
        let received = clock::now();
        let took = received.duration_since(sent);
        if let (Err(Broken::Stale), false) = (&result, is_last) {
            return Err(Failure::Broken(Broken::Stale));
        }
        telemetry.metrics.time_upstream(took);
        self.count(ask, &result, took);
        let Received { status, mut headers, body, connection } = result.map_err(Failure::Broken)?;
        let received_at = wall.now();
        if status == StatusCode::TOO_MANY_REQUESTS {
            self.pause.begin(take_retry_after(&mut headers, received_at), received);
        }
        let answer = Answer { status, headers, body, exchange: Exchange { sent, received, received_at } };
        Ok(Fetched { answer, connection })
    }

    fn count(&self, ask: &Ask, result: &Result<Received, Broken>, took: Duration) {
        let metrics = &self.parts.metrics;
        let code = match result {
            Ok(received) => {
                metrics.count_upstream_answer(received.status);
                received.status.as_u16().to_string()
            }
            Err(broken) => {
                let failure = failure::label(*broken);
                metrics.count_upstream_failure(failure);
                failure.label().to_owned()
            }
        };
        tracing::debug!(
            tenant = metrics.name().as_str(),
            request_id = ask.request_id.as_str(),
            code,
            duration_seconds = took.as_secs_f64(),
            "upstream request"
        );
    }

    /// The upstream said 401: tries the tenant's other key, and keeps to it if it works.
    async fn send_with_next_key(
        &self,
        ask: &Ask,
        rejected: &Lent,
        deadline: Instant,
        rejection: Result<Fetched, Failure>,
    ) -> Result<Fetched, Failure> {
        let metrics = &self.parts.metrics;
        let tenant = metrics.name().as_str();
        metrics.upstream_key_rejections.increment();
        let Some(next) = self.parts.keys.after(rejected) else {
            tracing::error!(
                tenant,
                "the upstream rejected this tenant's upstream_key: its lookups fail until the key is replaced and the \
                 configuration reloaded"
            );
            return rejection;
        };
        // It goes upstream, so it is paid for; but the caller must not fail for it.
        if let Some(budget) = &self.parts.budget {
            let _ = budget.take(clock::now());
        }
        let result = self.send(ask, &next, deadline).await;
        if is_rejected(&result) {
            metrics.upstream_key_rejections.increment();
            tracing::error!(
                tenant,
                "the upstream rejected both of this tenant's keys: its lookups fail until one is replaced and the \
                 configuration reloaded"
            );
        } else if is_accepted(&result) && self.parts.keys.promote(&next) == Promotion::News {
            metrics.upstream_key_promotions.increment();
            tracing::warn!(
                tenant,
                "the upstream rejected the tenant's key in use and took its other one, which is used from now on: remove \
                 the rejected key from the configuration"
            );
        }
        result
    }
}

/// Whether the upstream's answer shows that it took the key: one that failed shows nothing.
fn is_accepted(result: &Result<Fetched, Failure>) -> bool {
    result.as_ref().is_ok_and(|fetched| {
        let status = fetched.answer.status;
        status.is_success() || status == StatusCode::NOT_MODIFIED || status == StatusCode::NOT_FOUND
    })
}

fn is_rejected(result: &Result<Fetched, Failure>) -> bool {
    result.as_ref().is_ok_and(|fetched| fetched.answer.status == StatusCode::UNAUTHORIZED)
}
