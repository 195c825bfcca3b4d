//! One request and its response, with their metrics and log lines.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

use super::super::error::{Complaint, ExchangeError, FetchError, RequestEnd};
use super::super::key_ring::{ActiveKey, KeyRing, Promotion};
use super::super::pause::take_pause;
use super::super::permit::InFlightGuard;
use super::super::plan::{Attempt, FetchHistory, ResponseReading};
use super::super::request::{Ask, build};
use super::super::transport::{Connection, ExchangeDeadlines};
use super::reports::RejectedKeys;
use super::state::{Parts, Upstream};
use crate::clock::{self, Instant};
use crate::domain::{Effort, NotStored, RepeatReason, is_conclusive};
use crate::message::{ExchangeTimes, UpstreamResponse, Validators, retry_after};
use crate::telemetry::UpstreamFailure;

/// A completed request.
pub(super) struct Exchanged<T> {
    pub(super) attempt: Attempt,
    pub(super) result: Result<T, FetchError>,
    took: Duration,
}

/// The next request of a fetch.
pub(super) struct NextRequest {
    pub(super) history: FetchHistory,
    pub(super) key: ActiveKey,
    pub(super) validators: Validators,
    pub(super) effort: Effort,
}

impl NextRequest {
    /// Adapts the request for a repetition.
    pub(super) fn prepare(&mut self, reason: RepeatReason, history: FetchHistory, keys: &KeyRing) {
        self.history = history;
        match reason {
            RepeatReason::NextKey => {
                if let Some(next) = keys.after(&self.key) {
                    self.key = next;
                }
            }
            RepeatReason::OtherVersion => self.validators = Validators::default(),
            RepeatReason::Retry
            | RepeatReason::HopStatus
            | RepeatReason::ClosedConnection
            | RepeatReason::MixUp => {}
        }
    }
}

impl Attempt {
    /// The result for breaker and metrics.
    pub(super) const fn ending(&self) -> RequestEnd {
        match *self {
            Self::Answered { status, .. } => RequestEnd::Answered(status),
            Self::Failed(error) => RequestEnd::Failed(error),
        }
    }

    /// The log message about it.
    const fn complaint(&self) -> Complaint {
        match *self {
            Self::Answered { reading: ResponseReading::Unusable(_), .. } => {
                Complaint::Unusable("it is not the API's JSON envelope, or not encoded as asked for")
            }
            Self::Answered { reading: ResponseReading::MixUp, .. } => Complaint::MixUp,
            Self::Answered { reading: ResponseReading::Usable | ResponseReading::OtherVersion, .. } => {
                Complaint::None
            }
            Self::Failed(error) => error.complaint(),
        }
    }

    /// The rule that the response violates.
    const fn not_stored(&self) -> Option<NotStored> {
        match *self {
            Self::Answered { reading: ResponseReading::Unusable(why), .. } => Some(why),
            Self::Answered { .. } | Self::Failed(_) => None,
        }
    }
}

impl Upstream {
    /// Sends one request and reads its complete response.
    pub(super) async fn exchange<T, F>(
        &self,
        ask: &Ask,
        sending: &mut NextRequest,
        deadline: Instant,
        read: &(impl Fn(UpstreamResponse, Validators) -> F + Send + Sync),
    ) -> Exchanged<T>
    where
        F: Future<Output = (T, ResponseReading)> + Send,
    {
        let sent = clock::now();
        let received = self.send(ask, sending, sent, deadline).await;
        let took = clock::now().duration_since(sent);
        sending.effort.attempts += 1;
        sending.effort.upstream += took;
        let failed = |attempt, error| Exchanged { attempt, result: Err(error), took };
        match received {
            Ok((response, connection)) => {
                let (status, usage) = (response.status, connection.usage());
                let retry_after = retry_after(&response.headers, response.times.received_at);
                let (value, reading) = read(response, sending.validators.clone()).await;
                let is_about_the_hop =
                    matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::MISDIRECTED_REQUEST);
                if reading == ResponseReading::MixUp || is_about_the_hop {
                    connection.poison();
                }
                self.judge_key(sending, status);
                let attempt = Attempt::Answered { status, retry_after, reading, connection: usage };
                Exchanged { attempt, result: Ok(value), took }
            }
            Err(FetchError::Exchange(error)) => failed(Attempt::Failed(error), FetchError::Exchange(error)),
            // Nothing was sent, and no other request would succeed.
            Err(error) => failed(Attempt::Failed(ExchangeError::Invalid), error),
        }
    }

    async fn send(
        &self,
        ask: &Ask,
        sending: &NextRequest,
        sent: Instant,
        deadline: Instant,
    ) -> Result<(UpstreamResponse, Connection), FetchError> {
        let Parts { settings, transport, metrics, telemetry, wall, .. } = &self.parts;
        let mut request = build(ask, &sending.validators, &sending.key.key).ok_or(FetchError::Unbuildable)?;
        let span = telemetry.spans.client(ask.trace.as_ref(), &settings.base_url);
        span.write(request.headers_mut());
        let received = async {
            let _in_flight = InFlightGuard::begin(metrics);
            let deadlines = ExchangeDeadlines { first_byte: settings.first_byte_timeout, end: deadline };
            let opened = transport.open(request, deadlines).await?;
            let status = opened.status;
            let body = opened.body.read(status, settings.max_response_bytes, deadline).await;
            let body = match body.inspect_err(|_| opened.connection.poison()) {
                // The status is conclusive: the key is rejected, or the call is gone.
                Err(_) if is_conclusive(status) => Bytes::new(),
                body => body?,
            };
            Ok((status, opened.headers, body, opened.connection))
        }
        .await;
        let answered = received.as_ref().map(|(status, ..)| *status);
        span.end(answered.map_err(|error: &ExchangeError| error.label()));
        let received_at = wall.now();
        let times = ExchangeTimes { sent, received: clock::now(), received_at };
        let (status, mut headers, body, connection) = received.map_err(FetchError::Exchange)?;
        if status == StatusCode::TOO_MANY_REQUESTS {
            self.begin_pause(take_pause(&mut headers, received_at), times.received);
        }
        Ok((UpstreamResponse { status, headers, body, times }, connection))
    }

    pub(super) fn begin_pause(&self, length: Duration, now: Instant) {
        self.pause.begin(length, now);
        if self.reports.pauses.allows((), now) {
            tracing::warn!(
                tenant = self.parts.metrics.name().as_str(),
                seconds = length.as_secs(),
                "upstream answered 429: this tenant sends nothing until the pause has passed. Lookups are \
                 answered from the cache or with 429; lower the tenant's upstream_limit if this recurs"
            );
        }
    }

    /// Counts a completed request.
    pub(super) fn report<T>(&self, ask: &Ask, exchanged: &Exchanged<T>) {
        let metrics = &self.parts.metrics;
        metrics.upstream_seconds.observe(exchanged.took);
        match exchanged.attempt {
            Attempt::Answered { reading: ResponseReading::Unusable(_) | ResponseReading::MixUp, .. } => {
                metrics.count_upstream_failure(UpstreamFailure::Invalid);
            }
            Attempt::Answered {
                status,
                reading: ResponseReading::Usable | ResponseReading::OtherVersion,
                ..
            } => {
                metrics.count_upstream_answer(status);
            }
            Attempt::Failed(error) => metrics.count_upstream_failure(error.label()),
        }
        self.log_failure(ask, exchanged.attempt);
        tracing::debug!(
            tenant = metrics.name().as_str(),
            request_id = ask.request_id.as_str(),
            code = exchanged.attempt.ending().to_string(),
            duration_seconds = exchanged.took.as_secs_f64(),
            "upstream request"
        );
    }

    /// Logs a failed request, once a minute per reason. Failed connections have a line of their own, and error
    /// statuses are logged by the breaker.
    fn log_failure(&self, ask: &Ask, attempt: Attempt) {
        let (tenant, request_id) = (self.parts.metrics.name().as_str(), ask.request_id.as_str());
        let (reports, now) = (&self.reports, clock::now());
        match attempt.complaint() {
            Complaint::Unusable(reason) if reports.failures.allows(reason, now) => tracing::warn!(
                tenant,
                request_id,
                reason,
                detail = attempt.not_stored().map(NotStored::label),
                "upstream sent a response that cannot be used: the lookup got 502 or a stale entry. Check \
                 upstream.base_url and the proxies on the way"
            ),
            Complaint::Interrupted(reason) if reports.failures.allows(reason, now) => tracing::warn!(
                tenant,
                request_id,
                reason,
                "upstream request failed. Further ones are counted in upstream_requests_total, and logged once a \
                 minute"
            ),
            Complaint::MixUp if reports.mix_ups.allows((), now) => tracing::error!(
                tenant,
                request_id,
                "upstream answered with another call than the one asked for: the answer was dropped and its \
                 connection closed. Report this to the vendor"
            ),
            Complaint::None | Complaint::Unusable(_) | Complaint::Interrupted(_) | Complaint::MixUp => {}
        }
    }

    /// Learns from a response whether the upstream accepted the request's key.
    fn judge_key(&self, sending: &NextRequest, status: StatusCode) {
        let Parts { keys, metrics, .. } = &self.parts;
        let tenant = metrics.name().as_str();
        if status == StatusCode::UNAUTHORIZED {
            metrics.upstream_key_rejections.increment();
            let rejected = match (sending.history.changed_key(), keys.after(&sending.key)) {
                (true, _) => RejectedKeys::Both,
                (false, None) => RejectedKeys::TheOnlyOne,
                (false, Some(_)) => return,
            };
            keys.note_rejected();
            if self.reports.rejected_keys.allows(rejected, clock::now()) {
                let keys = match rejected {
                    RejectedKeys::TheOnlyOne => "upstream_key",
                    RejectedKeys::Both => "upstream_key and upstream_key_next",
                };
                tracing::error!(
                    tenant,
                    keys,
                    "upstream rejected this tenant's API key with 401: its lookups fail until the key is \
                     replaced and the configuration reloaded"
                );
            }
            return;
        }
        if !is_accepted(status) {
            return;
        }
        keys.note_accepted();
        if sending.history.changed_key() && keys.promote(&sending.key) == Promotion::News {
            metrics.upstream_key_promotions.increment();
            tracing::warn!(
                tenant,
                "upstream rejected the key in use and accepted the tenant's other key, which is used from now \
                 on: remove the rejected key from the configuration"
            );
        }
    }
}

/// Whether a response shows that the upstream accepted the key; a failure shows nothing.
fn is_accepted(status: StatusCode) -> bool {
    status.is_success() || matches!(status, StatusCode::NOT_MODIFIED | StatusCode::NOT_FOUND)
}
