//! The admin plane's routes.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;

use super::readiness::{Readiness, State};
use crate::clock::WallClock;
use crate::domain::{RequestId, error_envelope};
use crate::gateway::Gateway;
use crate::server::{Handler, Peer};

/// The admin plane.
pub struct Admin {
    /// The data plane, whose numbers are shown.
    pub gateway: Arc<Gateway>,
    /// Whether it takes traffic.
    pub readiness: Readiness,
    /// For the dates in envelopes.
    pub wall: WallClock,
}

type Answer = Response<Full<Bytes>>;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

impl Handler for Admin {
    type Body = Full<Bytes>;

    async fn answer(self: Arc<Self>, _: Peer, request: Request<Incoming>) -> Answer {
        let answered = AssertUnwindSafe(self.route(&request)).catch_unwind().await;
        let mut response = answered
            .unwrap_or_else(|_| self.error(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", "Internal error"));
        let headers = response.headers_mut();
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

impl Admin {
    async fn route(&self, request: &Request<Incoming>) -> Answer {
        let path = request.uri().path();
        if !matches!(path, "/metrics" | "/livez" | "/readyz") {
            return self.error(StatusCode::NOT_FOUND, "NOT_FOUND", "No such route");
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refused =
                self.error(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", "Method not allowed");
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        match path {
            "/metrics" => self.metrics().await,
            "/livez" => answer(StatusCode::OK, TEXT, "ok\n".into()),
            _ => self.readyz(),
        }
    }

    fn readyz(&self) -> Answer {
        let state = self.readiness.get();
        let status = if state == State::Ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        answer(status, TEXT, format!("{}\n", state.label()).into())
    }

    /// Off the runtime: the caches' figures are brought up to date first, and a thousand tenants make
    /// a long text.
    async fn metrics(&self) -> Answer {
        let gateway = Arc::clone(&self.gateway);
        let writing = tokio::task::spawn_blocking(move || {
            for tenant in gateway.snapshots.load().directory.all() {
                let (entries, bytes) = tenant.cache().size();
                tenant.metrics().cache_entries.set(entries);
                tenant.metrics().cache_bytes.set(bytes);
            }
            gateway.telemetry.metrics.text()
        });
        match writing.await {
            Ok(text) => answer(StatusCode::OK, METRICS, text.into()),
            Err(_) => self.error(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", "Internal error"),
        }
    }

    fn error(&self, status: StatusCode, code: &str, message: &str) -> Answer {
        let id = RequestId::from_random(fastrand::u128(..));
        answer(status, JSON, error_envelope(code, message, self.wall.now(), id.as_str()))
    }
}

fn answer(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Answer {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
