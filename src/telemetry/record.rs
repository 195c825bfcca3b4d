//! The record of one request: opened when its head has been read, closed when its answer ends or is dropped. Closing
//! it counts the request, its duration and its one outcome, and writes the access line.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use http::{HeaderValue, Method, StatusCode, Version};

use super::log::{CallHasher, LogControl};
use super::media::StreamEnd;
use super::metrics::Metrics;
use super::spans::{ServerSpan, Spans};
use super::tenant::TenantMetrics;
use super::trace_context::TraceContext;
use crate::clock::{self, Instant};
use crate::config::{AccessLog, LogSettings};
use crate::domain::{
    CacheOutcome, CallId, Effort, Outcome, Refusal, RequestId, RouteAccess, RouteLabel, TenantName,
    method_label,
};

/// Where records are written: metrics, traces and the log.
pub(crate) struct Telemetry {
    pub(crate) metrics: Metrics,
    pub(crate) spans: Spans,
    log: LogControl,
    access: AtomicU8,
    calls: CallHasher,
    show_calls: AtomicBool,
}

impl Telemetry {
    /// Writes access lines as configured.
    pub(crate) fn new(
        metrics: Metrics,
        spans: Spans,
        settings: &LogSettings,
        log: LogControl,
        calls: CallHasher,
    ) -> Self {
        let access = AtomicU8::new(0);
        let telemetry = Self { metrics, spans, log, access, calls, show_calls: AtomicBool::new(false) };
        telemetry.set_log(settings);
        telemetry
    }

    /// Applies a reloaded log configuration. The format needs a restart.
    pub(crate) fn set_log(&self, settings: &LogSettings) {
        self.access.store(settings.access as u8, Ordering::Relaxed);
        self.show_calls.store(settings.call_ids, Ordering::Relaxed);
        self.log.set_level(settings.level);
    }

    /// A call ID as a log line may show it: hashed, unless `log.call_ids` is set.
    pub(crate) fn call_for_log(&self, id: &CallId) -> String {
        if self.show_calls.load(Ordering::Relaxed) { id.as_str().to_owned() } else { self.calls.digest(id) }
    }

    fn may_want_lines(&self) -> bool {
        self.access.load(Ordering::Relaxed) != AccessLog::Off as u8
    }

    fn wants_line(&self, status: StatusCode) -> bool {
        let access = self.access.load(Ordering::Relaxed);
        access == AccessLog::All as u8 || (access == AccessLog::Errors as u8 && status.as_u16() >= 400)
    }
}

/// One request, from its head to its answer. A record that is dropped without an answer, because the client
/// disconnected, closes itself.
pub(crate) struct Record {
    /// Taken when the request is answered.
    tally: Option<Tally>,
    pub(crate) id: RequestId,
    /// The trace context of its spans and of its upstream requests.
    pub(crate) trace: Option<TraceContext>,
    span: ServerSpan,
    /// Set once the token is recognised.
    pub(crate) tenant: Option<Arc<TenantMetrics>>,
    /// Set once the path is read.
    pub(crate) route: RouteLabel,
    /// Set once the ID is read.
    pub(crate) call: Option<CallId>,
    /// Set once the cache is consulted.
    pub(crate) cache_outcome: Option<CacheOutcome>,
    /// What the cache did for the call of a recording or transcription, once that is known.
    call_outcome: Option<CacheOutcome>,
    is_transcript: bool,
    /// The routes of the call's recording and transcription that its answer links to.
    pub(crate) links: RouteAccess,
    /// Whether a stale entry could have been served if the fetch had failed.
    pub(crate) coverage: Coverage,
    /// Attempts and upstream time of the fetch that it led.
    pub(crate) effort: Effort,
    /// The methods that are allowed instead of a refused one, if they differ from the route's.
    pub(crate) allow: Option<HeaderValue>,
    /// Its wait until the call is final, if it has one.
    pub(crate) wait: Option<WaitRecord>,
    user_agent: Option<HeaderValue>,
    method: &'static str,
    version: &'static str,
    peer: Option<SocketAddr>,
}

/// Whether a stored response could replace a lookup's fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coverage {
    None,
    Stale,
}

/// What an answer's body is, as far as that is known when it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// So many bytes.
    Bytes(usize),
    Stream,
}

/// A wait until a call is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WaitRecord {
    pub(crate) began: Instant,
    /// How long it may be, in seconds, as `Preference-Applied` has it.
    pub(crate) applied: u64,
}

/// Counts a request when it ends.
struct Tally {
    telemetry: Arc<Telemetry>,
    started: Instant,
}

/// An answered request whose body is still being sent. Dropping it counts and times the request, and writes its
/// access line if one is wanted. Small, because it is part of the body.
pub(crate) struct Closing {
    tally: Tally,
    tenant: Option<Arc<TenantMetrics>>,
    status: StatusCode,
    route: RouteLabel,
    outcome: Option<Outcome>,
    /// What the cache did for a call, and for its transcription.
    lookup: Option<Outcome>,
    transcript: Option<Outcome>,
    coverage: Coverage,
    #[cfg(feature = "otlp")]
    span: ServerSpan,
    /// Fields of the access line and the span; `None` if neither is wanted.
    line: Option<Box<Line>>,
}

/// Fields that only access lines and spans have.
struct Line {
    id: RequestId,
    trace: Option<TraceContext>,
    call: Option<CallId>,
    detail: Option<&'static str>,
    refusal: Option<Refusal>,
    effort: Effort,
    waited: Option<Duration>,
    bytes: u64,
    /// How a stream ended.
    end: Option<StreamEnd>,
    user_agent: Option<HeaderValue>,
    method: &'static str,
    version: &'static str,
    peer: Option<SocketAddr>,
}

impl Record {
    /// Opens the record of a request whose head has just been read.
    pub(crate) fn open(
        telemetry: &Arc<Telemetry>,
        id: RequestId,
        method: &Method,
        version: Version,
        peer: Option<SocketAddr>,
    ) -> Self {
        telemetry.metrics.requests_in_flight().raise();
        Self {
            tally: Some(Tally { telemetry: Arc::clone(telemetry), started: clock::now() }),
            id,
            trace: None,
            span: ServerSpan::none(),
            tenant: None,
            route: RouteLabel::None,
            call: None,
            cache_outcome: None,
            call_outcome: None,
            is_transcript: false,
            links: RouteAccess::NONE,
            coverage: Coverage::None,
            effort: Effort::NONE,
            allow: None,
            wait: None,
            user_agent: None,
            method: method_label(method),
            version: match version {
                Version::HTTP_2 => "2",
                Version::HTTP_10 => "1.0",
                _ => "1.1",
            },
            peer,
        }
    }

    /// The call is there: from here on, outcomes are those of its recording or transcription.
    pub(crate) fn begin_media(&mut self) {
        self.call_outcome = self.cache_outcome.take();
    }

    /// The outcome is that of a transcription that may be stored.
    pub(crate) fn counts_as_transcript(&mut self) {
        self.is_transcript = true;
    }

    /// Whether the call of a recording or transcription was answered without the upstream.
    pub(crate) fn call_came_from_cache(&self) -> bool {
        self.call_outcome.is_some_and(|outcome| outcome.outcome().is_from_cache())
    }

    /// What the cache did for a call.
    fn lookup(&self) -> Option<Outcome> {
        let outcome = match self.route {
            RouteLabel::Call => self.cache_outcome,
            RouteLabel::Recording | RouteLabel::Transcription => self.call_outcome.or(self.cache_outcome),
            RouteLabel::Calls | RouteLabel::Passthrough | RouteLabel::None => None,
        };
        outcome.map(|outcome| outcome.outcome())
    }

    /// When the request's head had been read.
    pub(crate) fn started(&self) -> Instant {
        self.tally.as_ref().map_or_else(clock::now, |tally| tally.started)
    }

    /// Notes the `User-Agent` for the access line, where one may be written.
    pub(crate) fn note_user_agent(&mut self, given: Option<&HeaderValue>) {
        if self.tally.as_ref().is_some_and(|tally| tally.telemetry.may_want_lines()) {
            self.user_agent = given.cloned();
        }
    }

    /// Records the answer. Returns the request's ID for the answer's head, and the guard that closes the record
    /// when the body ends.
    pub(crate) fn answered(
        &mut self,
        status: StatusCode,
        refusal: Option<Refusal>,
        body: Sent,
    ) -> (HeaderValue, Option<Closing>) {
        let closing = self.close(status, refusal, body);
        (self.id.take_header_value(), closing)
    }

    /// Continues the client's trace, or starts one, if traces are recorded. Call it only after authentication: an
    /// unauthenticated client must not decide what is recorded.
    pub(crate) fn follow(&mut self, trace: Option<TraceContext>) {
        self.trace = trace;
        if let Some(tally) = &self.tally {
            self.span = tally.telemetry.spans.server(self.method, &mut self.trace);
        }
    }

    fn close(&mut self, status: StatusCode, refusal: Option<Refusal>, body: Sent) -> Option<Closing> {
        let tally = self.tally.take()?;
        if let Some(refusal) = refusal {
            match &self.tenant {
                Some(tenant) => tenant.count_refusal(refusal.error_code()),
                None => tally.telemetry.metrics.count_refusal(refusal.error_code()),
            }
        }
        let span = std::mem::replace(&mut self.span, ServerSpan::none());
        // A stream that breaks off is written about, whatever its head said.
        let may_break = body == Sent::Stream && tally.telemetry.may_want_lines();
        let line = (span.is_recorded() || may_break || tally.telemetry.wants_line(status)).then(|| {
            Box::new(Line {
                id: self.id.clone(),
                trace: self.trace.take(),
                call: self.call,
                detail: self.detail(refusal),
                refusal,
                effort: self.effort,
                waited: self.wait.map(|wait| clock::now().duration_since(wait.began)),
                bytes: if let Sent::Bytes(bytes) = body { bytes as u64 } else { 0 },
                end: None,
                user_agent: self.user_agent.take(),
                method: self.method,
                version: self.version,
                peer: self.peer,
            })
        });
        let outcome = self.cache_outcome.map(|outcome| outcome.outcome());
        Some(Closing {
            tally,
            tenant: self.tenant.take(),
            status,
            route: self.route,
            outcome,
            lookup: self.lookup(),
            transcript: outcome.filter(|_| self.is_transcript),
            coverage: self.coverage,
            #[cfg(feature = "otlp")]
            span,
            line,
        })
    }
}

impl Record {
    /// The `detail` of the access line. The reason why an upstream response was unusable is more specific than
    /// the refusal that follows from it.
    fn detail(&self, refusal: Option<Refusal>) -> Option<&'static str> {
        let of_cache = self.cache_outcome.and_then(|outcome| outcome.detail());
        match refusal {
            None => of_cache,
            Some(Refusal::UpstreamFailed) => of_cache.or(Some(Refusal::UpstreamFailed.detail())),
            Some(refusal) => Some(refusal.detail()),
        }
    }
}

/// The status in metrics and access lines of a request whose client disconnected before the answer. It is nginx's,
/// and never sent.
const CLIENT_LEFT: StatusCode = match StatusCode::from_u16(499) {
    Ok(status) => status,
    Err(_) => StatusCode::BAD_REQUEST,
};

/// The longest client-supplied text in a line, in characters.
const MAX_SHOWN: usize = 128;

/// A client's header value, truncated. It needs no escaping of its own: field values contain no control
/// characters, and the log's format escapes quotes.
fn shown(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).chars().take(MAX_SHOWN).collect()
}

/// Runs when the handler is dropped because the client disconnected.
impl Drop for Record {
    fn drop(&mut self) {
        drop(self.close(CLIENT_LEFT, None, Sent::Bytes(0)));
    }
}

/// Runs when the body has been sent or dropped.
impl Drop for Closing {
    fn drop(&mut self) {
        let took = clock::now().duration_since(self.tally.started);
        let metrics = &self.tally.telemetry.metrics;
        metrics.requests_in_flight().lower();
        match &self.tenant {
            Some(tenant) => {
                tenant.count_request(self.route, self.status);
                if let Some(outcome) = self.transcript {
                    tenant.media.count_transcript_lookup(outcome);
                }
                if let Some(outcome) = self.lookup {
                    tenant.count_lookup(outcome);
                    if self.coverage == Coverage::Stale && !outcome.is_from_cache() {
                        tenant.count_fetched_but_covered();
                    }
                }
            }
            None => metrics.count_unauthenticated(self.status),
        }
        metrics.time_request(self.route, self.outcome, took);
        let Some(line) = &self.line else { return };
        let is_broken = line.end.is_some_and(StreamEnd::is_break);
        let wants_breaks = is_broken && self.tally.telemetry.may_want_lines();
        if wants_breaks || self.tally.telemetry.wants_line(self.status) {
            self.write(line, took.as_secs_f64());
        }
        #[cfg(feature = "otlp")]
        std::mem::replace(&mut self.span, ServerSpan::none()).end(&self.span_fields(line));
    }
}

impl Closing {
    /// Notes how a stream ended, and after how many bytes.
    pub(crate) fn note_stream(&mut self, bytes: u64, end: StreamEnd) {
        if let Some(line) = &mut self.line {
            line.bytes = bytes;
            line.end = Some(end);
        }
    }

    /// The error code of the gateway's refusal, or the upstream's 5xx status that was passed on.
    fn error_type(&self, refusal: Option<Refusal>) -> Option<&str> {
        let passed_on = || self.status.is_server_error().then(|| self.status.as_str());
        refusal.map(|refusal| refusal.code()).or_else(passed_on)
    }

    #[cfg(feature = "otlp")]
    fn span_fields<'a>(&'a self, line: &'a Line) -> super::spans::SpanFields<'a> {
        super::spans::SpanFields {
            method: line.method,
            route: self.route,
            status: Some(self.status).filter(|status| *status != CLIENT_LEFT),
            tenant: self.tenant.as_ref().map_or(TenantName::UNKNOWN, |tenant| tenant.name().as_str()),
            request_id: line.id.as_str(),
            call: line.call.map(|id| self.tally.telemetry.calls.digest(&id)),
            outcome: self.outcome,
            detail: line.detail,
            error: self.error_type(line.refusal).or((self.status == CLIENT_LEFT).then_some("client_left")),
            version: line.version,
            peer: line.peer,
        }
    }

    /// Field names follow OpenTelemetry's semantic conventions where they exist.
    #[cold]
    fn write(&self, line: &Line, seconds: f64) {
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: "credira_gateway::access",
                    request_id = line.id.as_str(),
                    tenant = self.tenant.as_ref().map_or(TenantName::UNKNOWN, |tenant| tenant.name().as_str()),
                    http.request.method = line.method,
                    http.route = self.route.template(),
                    http.response.status_code = self.status.as_u16(),
                    http.server.request.duration = seconds,
                    "error.type" = self.error_type(line.refusal),
                    network.protocol.version = line.version,
                    network.peer.address = line.peer.map(|peer| tracing::field::display(peer.ip())),
                    call = line.call.map(|id| self.tally.telemetry.call_for_log(&id)),
                    outcome = self.outcome.map(Outcome::label),
                    detail = line.detail,
                    upstream_attempts = (line.effort.attempts > 0).then_some(line.effort.attempts),
                    upstream_seconds =
                        (line.effort.attempts > 0).then(|| line.effort.upstream.as_secs_f64()),
                    waited_seconds = line.waited.map(|waited| waited.as_secs_f64()),
                    bytes = line.bytes,
                    end = line.end.map(StreamEnd::label),
                    user_agent = line.user_agent.as_ref().map(shown),
                    trace_id = line.trace.as_ref().map(TraceContext::trace_id),
                    "request"
                )
            };
        }
        let is_broken = line.end.is_some_and(StreamEnd::is_break);
        if is_broken || self.status.is_server_error() { line!(warn) } else { line!(info) }
    }
}
