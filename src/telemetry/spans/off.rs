//! No spans: the program was built without them.

use std::time::Duration;

use http::{HeaderMap, StatusCode};

use crate::config::BaseUrl;
use crate::telemetry::{TraceContext, UpstreamFailure};

/// Where spans would be made.
#[derive(Debug, Clone, Copy)]
pub struct Spans;

impl Spans {
    /// None.
    #[cfg(any(test, feature = "bench"))]
    pub const fn off() -> Self {
        Self
    }

    /// None either.
    pub fn of_environment() -> Self {
        if std::env::var_os("OTEL_EXPORTER_OTLP_ENDPOINT").is_some() {
            tracing::info!("OTEL_EXPORTER_OTLP_ENDPOINT is set, but this program was built without traces");
        }
        Self
    }

    /// Does nothing.
    #[expect(clippy::unused_async, reason = "it is awaited where there are spans")]
    pub async fn flush(&self, _: Duration) {}

    /// Does nothing: the client's trace, if there is one, is passed on as it is.
    pub const fn server(&self, _: &'static str, _: &mut Option<TraceContext>) -> ServerSpan {
        ServerSpan
    }

    /// Does nothing.
    pub const fn client(&self, _: Option<&TraceContext>, _: &BaseUrl) -> ClientSpan {
        ClientSpan
    }
}

/// No span of a request.
#[derive(Debug)]
pub struct ServerSpan;

impl ServerSpan {
    /// There never is one.
    pub const fn none() -> Self {
        Self
    }

    /// Nobody asks for what it tells.
    pub const fn is_recorded(&self) -> bool {
        false
    }
}

/// No span of an upstream request.
#[derive(Debug)]
pub struct ClientSpan;

impl ClientSpan {
    /// Does nothing.
    pub const fn write(&self, _: &mut HeaderMap) {}

    /// Does nothing.
    pub const fn end(self, _: Result<StatusCode, UpstreamFailure>) {}
}
