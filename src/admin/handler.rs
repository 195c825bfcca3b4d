//! Answering the admin plane's requests.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::Serialize;
use serde_json::json;

use super::gate::{Denied, Rules, admit_api};
use super::health::{Health, State};
use super::route::{Area, NoRoute, Route, Scope, area, route};
use super::stats;
use crate::clock::{self, Instant, WallClock};
use crate::domain::{RequestId, error_envelope};
use crate::gateway::{Gateway, explain};
use crate::server::{Answering, Handler, Peer};
use crate::tenant::Tenant;

/// Reads the configuration again; the error lists every problem.
pub type Reload =
    Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), Vec<String>>> + Send>> + Send + Sync>;

/// The admin plane.
pub struct Admin {
    /// The data plane that is shown and purged.
    pub gateway: Arc<Gateway>,
    /// The process's state.
    pub health: Health,
    /// Who may ask.
    pub rules: Arc<ArcSwap<Rules>>,
    /// Whether only this machine can reach the listener.
    pub is_local: bool,
    /// When the process started.
    pub started: Instant,
    /// Set once there is something to reload.
    pub reload: Arc<OnceLock<Reload>>,
    /// For the dates in envelopes.
    pub wall: WallClock,
}

type Answer = Response<Full<Bytes>>;

const NO_TENANT: &str = "No tenant of this name is configured";

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

impl Handler for Admin {
    type Body = Full<Bytes>;

    fn answer(self: &Arc<Self>, _: Peer, request: Request<Incoming>) -> Answering<Full<Bytes>> {
        let admin = Arc::clone(self);
        Answering::waiting(async move { admin.respond_always(&request).await })
    }
}

impl Admin {
    /// Whatever happens, a panic included, becomes one answer.
    async fn respond_always(self: Arc<Self>, request: &Request<Incoming>) -> Answer {
        let answered = AssertUnwindSafe(Arc::clone(&self).respond(request)).catch_unwind().await;
        let mut response = answered.unwrap_or_else(|_| self.internal());
        let headers = response.headers_mut();
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if *request.method() == Method::HEAD {
            let length = http_body::Body::size_hint(response.body()).exact().unwrap_or(0);
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
            *response.body_mut() = Full::default();
        }
        response
    }

    async fn respond(self: Arc<Self>, request: &Request<Incoming>) -> Answer {
        let path = request.uri().path();
        if area(path) == Area::Api
            && let Err(denied) = admit_api(request.headers(), &self.rules.load(), self.is_local)
        {
            return self.denied(denied);
        }
        match route(request.method(), path) {
            Ok(route) => self.carry_out(route, request.uri().query().unwrap_or_default()).await,
            Err(NoRoute::NotFound) => self.not_found("No such route"),
            Err(NoRoute::Method(allowed)) => {
                let (status, code) = (StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED");
                let mut refused = self.error(status, code, "Method not allowed");
                refused.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
                refused
            }
        }
    }

    async fn carry_out(self: Arc<Self>, route: Route, query: &str) -> Answer {
        match route {
            Route::Metrics => self.off_runtime(Self::metrics).await,
            Route::Livez => answer(StatusCode::OK, TEXT, "ok\n".into()),
            Route::Readyz => self.readyz(query),
            Route::Stats => {
                self.off_runtime(|admin| {
                    let uptime = clock::now().duration_since(admin.started);
                    json_answer(StatusCode::OK, &stats::gather(&admin.gateway, &admin.health, uptime))
                })
                .await
            }
            Route::Config => json_answer(StatusCode::OK, &self.rules.load().shown),
            Route::Entry(tenant, id) => {
                let snapshot = self.gateway.snapshots.load();
                let entry =
                    snapshot.directory.named(&tenant).and_then(|tenant| tenant.cache().current().entry(&id));
                let describe =
                    |entry: Arc<_>| json_answer(StatusCode::OK, &described(&entry, &snapshot.policy));
                entry.map_or_else(
                    || self.not_found("No entry is stored for this call of this tenant"),
                    describe,
                )
            }
            Route::Explain(tenant, id) => {
                let snapshot = self.gateway.snapshots.load();
                match snapshot.directory.named(&tenant) {
                    Some(tenant) => json_answer(StatusCode::OK, &explain(&snapshot, tenant, &id)),
                    None => self.not_found(NO_TENANT),
                }
            }
            Route::Purge(scope) => self.off_runtime(move |admin| admin.purge(&scope)).await,
            Route::Reload => self.reload().await,
        }
    }

    fn readyz(&self, query: &str) -> Answer {
        let state = self.health.state();
        let status = if state == State::Ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let verbose = query.split('&').any(|pair| pair == "verbose" || pair.starts_with("verbose="));
        let text = if verbose { self.health.verbose() } else { format!("{}\n", state.label()) };
        answer(status, TEXT, text.into())
    }

    fn metrics(&self) -> Answer {
        for tenant in self.gateway.snapshots.load().directory.all() {
            let (entries, bytes) = tenant.cache().size();
            tenant.metrics().cache_entries.set(entries);
            tenant.metrics().cache_bytes.set(bytes);
        }
        answer(StatusCode::OK, METRICS, self.gateway.telemetry.metrics.text().into())
    }

    fn purge(&self, scope: &Scope) -> Answer {
        let snapshot = self.gateway.snapshots.load();
        let purge_all = |tenant: &Arc<Tenant>| {
            let purged = tenant.cache().purge_all();
            tracing::info!(tenant = tenant.name().as_str(), purged, "purged a tenant's cache");
            purged
        };
        let purged = match scope {
            Scope::All => snapshot.directory.all().map(purge_all).sum(),
            Scope::Tenant(name) => match snapshot.directory.named(name) {
                Some(tenant) => purge_all(tenant),
                None => return self.not_found(NO_TENANT),
            },
            Scope::Call(name, id) => match snapshot.directory.named(name) {
                Some(tenant) => {
                    let purged = tenant.cache().purge_call(id);
                    let call = self.gateway.telemetry.call_for_log(id);
                    tracing::info!(tenant = name.as_str(), call, purged, "purged a call");
                    purged
                }
                None => return self.not_found(NO_TENANT),
            },
        };
        json_answer(StatusCode::OK, &json!({ "purged": purged }))
    }

    async fn reload(&self) -> Answer {
        let Some(reload) = self.reload.get() else { return self.internal() };
        match reload().await {
            Ok(()) => json_answer(StatusCode::OK, &json!({ "reloaded": true })),
            Err(problems) => {
                let message = "The configuration was not reloaded; the running one stays";
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                let mut envelope = json!({
                    "success": false,
                    "error": { "code": "INVALID_CONFIG", "message": message, "details": problems },
                });
                let meta = json!({
                    "timestamp": format!("{:.0}", self.wall.now()),
                    "request_id": RequestId::from_random(fastrand::u128(..)).as_str(),
                });
                if let Some(object) = envelope.as_object_mut() {
                    object.insert("meta".into(), meta);
                }
                json_answer(status, &envelope)
            }
        }
    }

    /// Runs what may take a while beside the runtime.
    async fn off_runtime(self: &Arc<Self>, work: impl FnOnce(&Self) -> Answer + Send + 'static) -> Answer {
        let admin = Arc::clone(self);
        let working = tokio::task::spawn_blocking(move || work(&admin));
        working.await.unwrap_or_else(|_| self.internal())
    }

    fn denied(&self, denied: Denied) -> Answer {
        let (status, code, message) = denied.envelope();
        let mut refused = self.error(status, code, message);
        if denied == Denied::Unauthorized {
            refused.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        refused
    }

    fn not_found(&self, message: &str) -> Answer {
        self.error(StatusCode::NOT_FOUND, "NOT_FOUND", message)
    }

    fn internal(&self) -> Answer {
        self.error(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", "Internal error")
    }

    fn error(&self, status: StatusCode, code: &str, message: &str) -> Answer {
        let id = RequestId::from_random(fastrand::u128(..));
        answer(status, JSON, error_envelope(code, message, self.wall.now(), id.as_str()))
    }
}

fn described(entry: &crate::cache::Entry, policy: &crate::config::Cache) -> impl Serialize {
    entry.describe(policy, clock::now())
}

fn json_answer(status: StatusCode, value: &impl Serialize) -> Answer {
    // Strings and numbers under string keys always serialise.
    let mut text = serde_json::to_vec_pretty(value).unwrap_or_default();
    text.push(b'\n');
    answer(status, JSON, text.into())
}

fn answer(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Answer {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
