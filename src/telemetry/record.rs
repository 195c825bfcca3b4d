//! The record of one request: opened when its head is read, closed when its answer has ended or was
//! dropped. Closing counts the request, its time and its one outcome, and writes the access line.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use http::{HeaderValue, Method, StatusCode, Version};

use super::log::{CallHasher, LogControl};
use super::metrics::Metrics;
use super::spans::{ServerSpan, Spans};
use super::tenant::TenantMetrics;
use super::trace_context::TraceContext;
use crate::clock::{self, Instant};
use crate::config::{AccessLog, Log};
use crate::domain::{CallId, Outcome, Refusal, RequestId, RouteLabel, Story, TenantName, method_label};

/// What records are written to.
pub struct Telemetry {
    /// Numbers.
    pub metrics: Metrics,
    /// Traces.
    pub spans: Spans,
    log: LogControl,
    access: AtomicU8,
    calls: CallHasher,
    show_calls: AtomicBool,
}

impl Telemetry {
    /// Access lines as configured.
    pub fn new(metrics: Metrics, spans: Spans, settings: &Log, log: LogControl, calls: CallHasher) -> Self {
        let access = AtomicU8::new(0);
        let telemetry = Self { metrics, spans, log, access, calls, show_calls: AtomicBool::new(false) };
        telemetry.set_log(settings);
        telemetry
    }

    /// Logs as configured from now on; the form of the lines stays.
    pub fn set_log(&self, settings: &Log) {
        self.access.store(settings.access as u8, Ordering::Relaxed);
        self.show_calls.store(settings.call_ids, Ordering::Relaxed);
        self.log.set_level(settings.level);
    }

    /// The call as it may appear in a log line.
    pub fn call_for_log(&self, id: &CallId) -> String {
        if self.show_calls.load(Ordering::Relaxed) { id.as_str().to_owned() } else { self.calls.digest(id) }
    }

    fn wants_line(&self, status: StatusCode) -> bool {
        let access = self.access.load(Ordering::Relaxed);
        access == AccessLog::All as u8 || (access == AccessLog::Errors as u8 && status.as_u16() >= 400)
    }
}

/// One request, from its head to its answer. Dropped before there is one, as when its client leaves,
/// it closes itself.
pub struct Record {
    /// Gone once the request was answered.
    tally: Option<Tally>,
    /// The request's ID.
    pub id: RequestId,
    /// The trace that what is done for it belongs to.
    pub trace: Option<TraceContext>,
    span: ServerSpan,
    /// The tenant, once its token was recognised.
    pub tenant: Option<Arc<TenantMetrics>>,
    /// The route, once it was read.
    pub route: RouteLabel,
    /// The call, once its ID was read.
    pub call: Option<CallId>,
    /// What the cache did, once it was asked.
    pub story: Option<Story>,
    method: &'static str,
    version: &'static str,
    peer: Option<SocketAddr>,
}

/// What is counted of a request when it ends.
struct Tally {
    telemetry: Arc<Telemetry>,
    started: Instant,
}

/// An answered request, until its answer has ended or was dropped: then it is counted, timed, and
/// written down if that is asked for. Small, because it travels with the answer's body.
pub struct Closing {
    tally: Tally,
    tenant: Option<Arc<TenantMetrics>>,
    status: StatusCode,
    route: RouteLabel,
    outcome: Option<Outcome>,
    #[cfg(feature = "otlp")]
    span: ServerSpan,
    /// What only an access line and a span tell, where one of them is to be.
    line: Option<Box<Line>>,
}

/// The rest of an access line or a span.
struct Line {
    id: RequestId,
    trace: Option<TraceContext>,
    call: Option<CallId>,
    detail: Option<&'static str>,
    refusal: Option<Refusal>,
    method: &'static str,
    version: &'static str,
    peer: Option<SocketAddr>,
}

impl Record {
    /// Opens the record of a request that was just read.
    pub fn open(
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
            story: None,
            method: method_label(method),
            version: match version {
                Version::HTTP_2 => "2",
                Version::HTTP_10 => "1.0",
                _ => "1.1",
            },
            peer,
        }
    }

    /// When the request's head was read.
    pub fn started(&self) -> Instant {
        self.tally.as_ref().map_or_else(clock::now, |tally| tally.started)
    }

    /// The request is answered with this status, or refused with it. Gives back its ID, for the answer's
    /// head, and what closes it with the answer's end.
    pub fn answered(
        &mut self,
        status: StatusCode,
        refusal: Option<Refusal>,
    ) -> (HeaderValue, Option<Closing>) {
        let closing = self.close(status, refusal);
        (self.id.take_header_value(), closing)
    }

    /// Goes on with the client's trace, or begins one, where traces are recorded. Not before the client
    /// is known: a stranger must not decide what is recorded.
    pub fn follow(&mut self, trace: Option<TraceContext>) {
        self.trace = trace;
        if let Some(tally) = &self.tally {
            self.span = tally.telemetry.spans.server(self.method, &mut self.trace);
        }
    }

    fn close(&mut self, status: StatusCode, refusal: Option<Refusal>) -> Option<Closing> {
        let tally = self.tally.take()?;
        let span = std::mem::replace(&mut self.span, ServerSpan::none());
        let line = (span.is_recorded() || tally.telemetry.wants_line(status)).then(|| {
            Box::new(Line {
                id: self.id.clone(),
                trace: self.trace.take(),
                call: self.call,
                detail: self.story.and_then(|story| story.detail()),
                refusal,
                method: self.method,
                version: self.version,
                peer: self.peer,
            })
        });
        let outcome = self.story.map(|story| story.outcome());
        Some(Closing {
            tally,
            tenant: self.tenant.take(),
            status,
            route: self.route,
            outcome,
            #[cfg(feature = "otlp")]
            span,
            line,
        })
    }
}

/// What access lines and metrics say of a request whose client left before it was answered: a status
/// of nginx's making, never sent to anybody.
const CLIENT_LEFT: StatusCode = match StatusCode::from_u16(499) {
    Ok(status) => status,
    Err(_) => StatusCode::BAD_REQUEST,
};

/// The handler of a client that left drops its record.
impl Drop for Record {
    fn drop(&mut self) {
        drop(self.close(CLIENT_LEFT, None));
    }
}

/// The answer's body drops it when it has ended, or when it is dropped itself.
impl Drop for Closing {
    fn drop(&mut self) {
        let took = clock::now().duration_since(self.tally.started);
        let metrics = &self.tally.telemetry.metrics;
        metrics.requests_in_flight().lower();
        match &self.tenant {
            Some(tenant) => {
                tenant.count_request(self.route, self.status);
                if let Some(outcome) = self.outcome {
                    tenant.count_lookup(outcome);
                }
            }
            None => metrics.count_stranger(self.status),
        }
        metrics.time_request(self.route, self.outcome, took);
        let Some(line) = &self.line else { return };
        if self.tally.telemetry.wants_line(self.status) {
            self.write(line, took.as_secs_f64());
        }
        #[cfg(feature = "otlp")]
        std::mem::replace(&mut self.span, ServerSpan::none()).end(&self.told(line));
    }
}

impl Closing {
    /// The code of the gateway's own refusal, or the status of an upstream's failure that was passed on.
    fn error_type(&self, refusal: Option<Refusal>) -> Option<&str> {
        let passed_on = || self.status.is_server_error().then(|| self.status.as_str());
        refusal.map(|refusal| refusal.code()).or_else(passed_on)
    }

    /// What the span tells.
    #[cfg(feature = "otlp")]
    fn told<'a>(&'a self, line: &'a Line) -> super::spans::Told<'a> {
        super::spans::Told {
            method: line.method,
            route: self.route,
            status: Some(self.status).filter(|status| *status != CLIENT_LEFT),
            tenant: self.tenant.as_ref().map_or(TenantName::NOBODY, |tenant| tenant.name().as_str()),
            request_id: line.id.as_str(),
            call: line.call.map(|id| self.tally.telemetry.calls.digest(&id)),
            outcome: self.outcome,
            detail: line.detail,
            error: self.error_type(line.refusal).or((self.status == CLIENT_LEFT).then_some("client_left")),
            version: line.version,
            peer: line.peer,
        }
    }

    /// Field names are OpenTelemetry's where it has one.
    #[cold]
    fn write(&self, line: &Line, seconds: f64) {
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: "credira_gateway::access",
                    request_id = line.id.as_str(),
                    tenant = self.tenant.as_ref().map_or(TenantName::NOBODY, |tenant| tenant.name().as_str()),
                    http.request.method = line.method,
                    http.route = (self.route == RouteLabel::Call).then_some("/v1/calls/{id}"),
                    http.response.status_code = self.status.as_u16(),
                    http.server.request.duration = seconds,
                    "error.type" = self.error_type(line.refusal),
                    network.protocol.version = line.version,
                    network.peer.address = line.peer.map(|peer| tracing::field::display(peer.ip())),
                    call = line.call.map(|id| self.tally.telemetry.call_for_log(&id)),
                    outcome = self.outcome.map(Outcome::label),
                    detail = line.detail,
                    trace_id = line.trace.as_ref().map(TraceContext::trace_id),
                    "request"
                )
            };
        }
        if self.status.is_server_error() { line!(warn) } else { line!(info) }
    }
}
