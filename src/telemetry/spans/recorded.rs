//! Spans as the OpenTelemetry library keeps them. Attributes are named by its semantic conventions,
//! where they have a name, and hold what an access line holds: no path, no call but as a hash, no token.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use opentelemetry::trace::{Span as _, SpanBuilder, SpanKind, Status, TraceContextExt, TracerProvider as _};
use opentelemetry::{Context, InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, Span};

use super::exporter::provider_of_environment;
use crate::config::BaseUrl;
use crate::domain::{Outcome, RouteLabel};
use crate::telemetry::{TraceContext, UpstreamFailure, VERSION};

/// The route of lookups, and the template of their URLs.
const CALL_ROUTE: &str = "/v1/calls/{id}";
/// Their path as it may be told.
const CALL_PATH: &str = "/v1/calls/REDACTED";

/// Where spans are made, if anybody collects them.
#[derive(Clone)]
pub struct Spans(Option<Arc<Recording>>);

struct Recording {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl Recording {
    fn span(&self, name: &'static str, kind: SpanKind, parent: Option<&TraceContext>) -> Span {
        let parent = parent.and_then(TraceContext::to_span_context);
        let context = match parent {
            Some(parent) => Context::new().with_remote_span_context(parent),
            None => Context::new(),
        };
        SpanBuilder::from_name(name).with_kind(kind).start_with_context(&self.tracer, &context)
    }
}

impl Spans {
    /// None are made.
    #[cfg(any(test, feature = "bench"))]
    pub const fn off() -> Self {
        Self(None)
    }

    /// For the collector that the standard variables name. Must be called on the runtime that sends.
    pub fn of_environment() -> Self {
        Self(provider_of_environment().map(|provider| {
            let scope = InstrumentationScope::builder("credira-gateway").with_version(VERSION).build();
            Arc::new(Recording { tracer: provider.tracer_with_scope(scope), provider })
        }))
    }

    /// Sends what has ended, and makes no more spans. Gives up after `within`.
    pub async fn flush(&self, within: Duration) {
        let Some(recording) = self.0.clone() else { return };
        let ending = tokio::task::spawn_blocking(move || recording.provider.shutdown_with_timeout(within));
        let _ = tokio::time::timeout(within, ending).await;
    }

    /// Begins the span of a request, as a child of the client's, if there is one; `trace` becomes its
    /// own context, for what goes upstream.
    pub fn server(&self, method: &'static str, trace: &mut Option<TraceContext>) -> ServerSpan {
        let Some(recording) = &self.0 else { return ServerSpan(None) };
        let span = recording.span(method, SpanKind::Server, trace.as_ref());
        if let Some(context) = TraceContext::of_span(span.span_context(), trace.as_ref()) {
            *trace = Some(context);
        }
        ServerSpan(Some(Box::new(span)).filter(|span| span.is_recording()))
    }

    /// Begins the span of an upstream request.
    pub fn client(&self, parent: Option<&TraceContext>, upstream: &BaseUrl) -> ClientSpan {
        let Some(recording) = &self.0 else { return ClientSpan { span: None, context: None } };
        let mut span = recording.span("GET /v1/calls/{id}", SpanKind::Client, parent);
        let context = TraceContext::of_span(span.span_context(), parent);
        if span.is_recording() {
            span.set_attributes([
                KeyValue::new("http.request.method", "GET"),
                KeyValue::new("server.address", upstream.host().to_owned()),
                KeyValue::new("server.port", i64::from(upstream.port())),
                KeyValue::new("url.full", format!("{upstream}{CALL_PATH}")),
                KeyValue::new("url.template", CALL_ROUTE),
            ]);
        }
        ClientSpan { span: Some(Box::new(span)).filter(|span| span.is_recording()), context }
    }
}

/// The span of a request, if it is recorded.
pub struct ServerSpan(Option<Box<Span>>);

/// What a request's span tells.
pub struct Told<'a> {
    /// The request's method.
    pub method: &'static str,
    /// Its route, once it was read.
    pub route: RouteLabel,
    /// The answer's status, if there was an answer.
    pub status: Option<StatusCode>,
    /// The tenant.
    pub tenant: &'a str,
    /// The request's ID.
    pub request_id: &'a str,
    /// The hash of the call's ID.
    pub call: Option<String>,
    /// What the cache did.
    pub outcome: Option<Outcome>,
    /// And why.
    pub detail: Option<&'static str>,
    /// The kind of error, if it is one.
    pub error: Option<&'a str>,
    /// HTTP's version.
    pub version: &'static str,
    /// The client's address.
    pub peer: Option<SocketAddr>,
}

impl ServerSpan {
    /// Not recorded, or not yet.
    pub const fn none() -> Self {
        Self(None)
    }

    /// Whether anybody will see what it tells.
    pub const fn is_recorded(&self) -> bool {
        self.0.is_some()
    }

    /// Ends it, and hands it over to be sent, or drops it if too many wait already.
    pub fn end(self, told: &Told<'_>) {
        let Some(mut span) = self.0 else { return };
        let owned = |key, value: &str| KeyValue::new(key, value.to_owned());
        let mut attributes = vec![
            KeyValue::new("http.request.method", told.method),
            KeyValue::new("network.protocol.version", told.version),
            owned("credira_gateway.tenant", told.tenant),
            owned("credira_gateway.request_id", told.request_id),
        ];
        if told.route == RouteLabel::Call {
            span.update_name(format!("{} {CALL_ROUTE}", told.method));
            attributes.push(KeyValue::new("http.route", CALL_ROUTE));
            attributes.push(KeyValue::new("url.path", CALL_PATH));
        }
        let status = told.status.map(|status| i64::from(status.as_u16()));
        attributes.extend(status.map(|status| KeyValue::new("http.response.status_code", status)));
        attributes.extend(told.peer.map(|peer| KeyValue::new("network.peer.address", peer.ip().to_string())));
        attributes.extend(told.call.clone().map(|call| KeyValue::new("credira_gateway.call", call)));
        let outcome = told.outcome.map(Outcome::label);
        attributes.extend(outcome.map(|label| KeyValue::new("credira_gateway.cache.outcome", label)));
        attributes.extend(told.detail.map(|detail| KeyValue::new("credira_gateway.cache.detail", detail)));
        attributes.extend(told.error.map(|error| owned("error.type", error)));
        span.set_attributes(attributes);
        // A client's own mistake is no error of the server's span.
        if told.status.is_none_or(|status| status.is_server_error()) {
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

/// The span of an upstream request, if it is recorded, and its context, whether it is or not.
pub struct ClientSpan {
    span: Option<Box<Span>>,
    context: Option<TraceContext>,
}

impl ClientSpan {
    /// Makes it the parent of what the upstream does.
    pub fn write(&self, headers: &mut HeaderMap) {
        if let Some(context) = &self.context {
            context.write(headers);
        }
    }

    /// Ends it with the answer's status, or the kind of failure.
    pub fn end(self, result: Result<StatusCode, UpstreamFailure>) {
        let Some(mut span) = self.span else { return };
        let error = match result {
            Ok(status) => {
                span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
                (status.as_u16() >= 400).then(|| status.as_str().to_owned())
            }
            Err(failure) => Some(failure.label().to_owned()),
        };
        if let Some(error) = error {
            span.set_attribute(KeyValue::new("error.type", error));
            span.set_status(Status::error(""));
        }
        span.end();
    }
}
