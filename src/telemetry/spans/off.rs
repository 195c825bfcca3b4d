//! Replaces spans in a program built without them.

use std::time::Duration;

use http::{HeaderMap, StatusCode};

use crate::config::BaseUrl;
use crate::telemetry::{TraceContext, UpstreamFailure};

/// Makes no spans.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spans;

impl Spans {
    #[cfg(any(test, feature = "bench"))]
    pub(crate) const fn off() -> Self {
        Self
    }

    pub(crate) fn of_environment() -> Self {
        if std::env::var_os("OTEL_EXPORTER_OTLP_ENDPOINT").is_some() {
            tracing::info!("OTEL_EXPORTER_OTLP_ENDPOINT is set, but this program was built without traces");
        }
        Self
    }

    #[expect(clippy::unused_async, reason = "it is awaited where there are spans")]
    pub(crate) async fn flush(&self, _: Duration) {}

    /// Leaves the client's trace as it is.
    pub(crate) const fn server(&self, _: &'static str, _: &mut Option<TraceContext>) -> ServerSpan {
        ServerSpan
    }

    pub(crate) const fn client(&self, _: Option<&TraceContext>, _: &BaseUrl) -> ClientSpan {
        ClientSpan
    }
}

/// No span of a request.
#[derive(Debug)]
pub(crate) struct ServerSpan;

impl ServerSpan {
    /// There never is one.
    pub(crate) const fn none() -> Self {
        Self
    }

    /// Nothing reads its fields.
    pub(crate) const fn is_recorded(&self) -> bool {
        false
    }
}

/// No span of an upstream request.
#[derive(Debug)]
pub(crate) struct ClientSpan;

impl ClientSpan {
    pub(crate) const fn write(&self, _: &mut HeaderMap) {}

    pub(crate) const fn end(self, _: Result<StatusCode, UpstreamFailure>) {}
}
