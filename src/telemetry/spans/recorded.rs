//! Spans of the OpenTelemetry library. Attribute names follow its semantic conventions where they exist, and
//! values are those of the access line: no path, no token, and calls only as a hash.

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
/// Their path without the call ID.
const CALL_PATH: &str = "/v1/calls/REDACTED";

/// Makes spans, if an exporter is configured.
#[derive(Clone)]
pub(crate) struct Spans(Option<Arc<Recording>>);

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
    /// Makes none.
    #[cfg(any(test, feature = "bench"))]
    pub(crate) const fn off() -> Self {
        Self(None)
    }

    /// Exports to the collector that the standard variables name. Call it on the runtime that is to send.
    pub(crate) fn of_environment() -> Self {
        Self(provider_of_environment().map(|provider| {
            let scope = InstrumentationScope::builder("credira-gateway").with_version(VERSION).build();
            Arc::new(Recording { tracer: provider.tracer_with_scope(scope), provider })
        }))
    }

    /// Exports the ended spans and stops. Gives up after `within`.
    pub(crate) async fn flush(&self, within: Duration) {
        let Some(recording) = self.0.clone() else { return };
        let ending = tokio::task::spawn_blocking(move || recording.provider.shutdown_with_timeout(within));
        let _ = tokio::time::timeout(within, ending).await;
    }

    /// Begins a request's span as a child of the client's, if there is one. `trace` becomes its own context, for
    /// upstream requests.
    pub(crate) fn server(&self, method: &'static str, trace: &mut Option<TraceContext>) -> ServerSpan {
        let Some(recording) = &self.0 else { return ServerSpan(None) };
        let span = recording.span(method, SpanKind::Server, trace.as_ref());
        if let Some(context) = TraceContext::of_span(span.span_context(), trace.as_ref()) {
            *trace = Some(context);
        }
        ServerSpan(Some(Box::new(span)).filter(|span| span.is_recording()))
    }

    /// Begins the span of an upstream request.
    pub(crate) fn client(&self, parent: Option<&TraceContext>, upstream: &BaseUrl) -> ClientSpan {
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
pub(crate) struct ServerSpan(Option<Box<Span>>);

/// The attributes of a request's span.
pub(crate) struct SpanFields<'a> {
    /// The request's method.
    pub(crate) method: &'static str,
    /// The route, once known.
    pub(crate) route: RouteLabel,
    /// The answer's status, if there was an answer.
    pub(crate) status: Option<StatusCode>,
    pub(crate) tenant: &'a str,
    pub(crate) request_id: &'a str,
    /// The hash of the call's ID.
    pub(crate) call: Option<String>,
    /// The cache's outcome.
    pub(crate) outcome: Option<Outcome>,
    /// Why the cache did it.
    pub(crate) detail: Option<&'static str>,
    /// The kind of error, if the request failed.
    pub(crate) error: Option<&'a str>,
    pub(crate) version: &'static str,
    /// The client's address.
    pub(crate) peer: Option<SocketAddr>,
}

impl ServerSpan {
    /// Not recorded, or not yet.
    pub(crate) const fn none() -> Self {
        Self(None)
    }

    /// Whether its attributes will be exported.
    pub(crate) const fn is_recorded(&self) -> bool {
        self.0.is_some()
    }

    /// Ends it and queues it for export; drops it if the queue is full.
    pub(crate) fn end(self, fields: &SpanFields<'_>) {
        let Some(mut span) = self.0 else { return };
        let owned = |key, value: &str| KeyValue::new(key, value.to_owned());
        let mut attributes = vec![
            KeyValue::new("http.request.method", fields.method),
            KeyValue::new("network.protocol.version", fields.version),
            owned("credira_gateway.tenant", fields.tenant),
            owned("credira_gateway.request_id", fields.request_id),
        ];
        if fields.route == RouteLabel::Call {
            span.update_name(format!("{} {CALL_ROUTE}", fields.method));
            attributes.push(KeyValue::new("http.route", CALL_ROUTE));
            attributes.push(KeyValue::new("url.path", CALL_PATH));
        }
        let status = fields.status.map(|status| i64::from(status.as_u16()));
        attributes.extend(status.map(|status| KeyValue::new("http.response.status_code", status)));
        attributes
            .extend(fields.peer.map(|peer| KeyValue::new("network.peer.address", peer.ip().to_string())));
        attributes.extend(fields.call.clone().map(|call| KeyValue::new("credira_gateway.call", call)));
        let outcome = fields.outcome.map(Outcome::label);
        attributes.extend(outcome.map(|label| KeyValue::new("credira_gateway.cache.outcome", label)));
        attributes.extend(fields.detail.map(|detail| KeyValue::new("credira_gateway.cache.detail", detail)));
        attributes.extend(fields.error.map(|error| owned("error.type", error)));
        span.set_attributes(attributes);
        // A client error does not make the server's span an error.
        if fields.status.is_none_or(|status| status.is_server_error()) {
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

/// The span of an upstream request, if it is recorded, and the context to propagate in any case.
pub(crate) struct ClientSpan {
    span: Option<Box<Span>>,
    context: Option<TraceContext>,
}

impl ClientSpan {
    /// Makes this span the parent of the upstream's spans.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        if let Some(context) = &self.context {
            context.write(headers);
        }
    }

    /// Ends it with the answer's status, or the kind of failure.
    pub(crate) fn end(self, result: Result<StatusCode, UpstreamFailure>) {
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
