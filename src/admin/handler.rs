//! Answering the admin plane's requests.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use http::header::CONNECTION;
use http::{HeaderValue, Method, Request, StatusCode, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::json;

use super::answer::{self, Answer};
use super::gate::{Rules, admit_api, admit_framing, admit_page};
use super::health::{Health, State};
use super::history::History;
use super::refusal::{Absent, Refused};
use super::route::{Area, NoRoute, Route, Scope, area, route};
use super::{openapi, page, purge, stats};
use crate::clock::{self, Instant, WallClock};
use crate::domain::{CallId, RequestId, TenantName, error_envelope};
use crate::gateway::{Gateway, explain};
use crate::server::{Answering, Handler, Peer};

/// Reads the configuration again; the error lists every problem.
pub type Reload =
    Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), Vec<String>>> + Send>> + Send + Sync>;

/// The admin plane.
pub struct Admin {
    /// The data plane that is shown and purged.
    pub gateway: Arc<Gateway>,
    /// The process's state.
    pub health: Health,
    /// The counts of the last minutes.
    pub history: Arc<History>,
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

const YAML: HeaderValue = HeaderValue::from_static("application/yaml");

impl Handler for Admin {
    type Body = Full<bytes::Bytes>;

    fn answer(self: &Arc<Self>, _: Peer, request: Request<Incoming>) -> Answering<Full<bytes::Bytes>> {
        let admin = Arc::clone(self);
        Answering::waiting(async move { admin.respond_always(&request).await })
    }
}

impl Admin {
    /// Whatever happens, a panic included, becomes one answer.
    async fn respond_always(self: Arc<Self>, request: &Request<Incoming>) -> Answer {
        let answered = AssertUnwindSafe(Arc::clone(&self).respond(request)).catch_unwind().await;
        let mut answer = match answered {
            Ok(Ok(answer)) => answer,
            Ok(Err(refused)) => self.refuse(refused),
            Err(_) => self.refuse(Refused::Internal),
        };
        if request.version() == Version::HTTP_2 {
            // HTTP/2 has no such field (RFC 9113 section 8.2.2), and ends streams one by one.
            answer.headers_mut().remove(CONNECTION);
        }
        if *request.method() == Method::HEAD { answer::head_of(answer) } else { answer }
    }

    async fn respond(self: Arc<Self>, request: &Request<Incoming>) -> Result<Answer, Refused> {
        admit_framing(request)?;
        let path = request.uri().path();
        match area(path) {
            Area::Open => {}
            Area::Page => admit_page(request, &self.rules.load())?,
            Area::Api => admit_api(request, &self.rules.load(), self.is_local)?,
        }
        let route = route(request.method(), path).map_err(|no| match no {
            NoRoute::NotFound => Refused::NotFound(Absent::Route),
            NoRoute::Method(allowed) => Refused::Method(allowed),
        })?;
        self.carry_out(route, request.uri().query().unwrap_or_default()).await
    }

    async fn carry_out(self: Arc<Self>, route: Route, query: &str) -> Result<Answer, Refused> {
        match route {
            Route::Page => Ok(page::page()),
            Route::OpenApi => Ok(answer::typed(StatusCode::OK, YAML, openapi::TEXT.into())),
            Route::Metrics => self.off_runtime(|admin| Ok(admin.metrics())).await,
            Route::Livez => Ok(answer::text(StatusCode::OK, "ok\n")),
            Route::Readyz => Ok(self.readyz(query)),
            Route::Stats => self.off_runtime(|admin| Ok(admin.stats())).await,
            Route::History => {
                let told = serde_json::to_vec(&self.history.tell()).map_err(|_| Refused::Internal)?;
                Ok(answer::json_text(StatusCode::OK, told))
            }
            Route::Config => Ok(answer::json(StatusCode::OK, &self.rules.load().shown)),
            Route::Entry(tenant, id) => self.entry(&tenant, &id),
            Route::Explain(tenant, id) => self.explain(&tenant, &id),
            Route::Purge(scope) => self.off_runtime(move |admin| admin.purge(&scope)).await,
            Route::Reload => self.reload().await,
        }
    }

    fn readyz(&self, query: &str) -> Answer {
        let state = self.health.state();
        let status = if state == State::Ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let verbose = query.split('&').any(|pair| pair == "verbose" || pair.starts_with("verbose="));
        let dropped = self.gateway.telemetry.metrics.log_lines_dropped();
        let text = if verbose { self.health.verbose(dropped) } else { format!("{}\n", state.label()) };
        answer::text(status, text)
    }

    fn metrics(&self) -> Answer {
        for tenant in self.gateway.snapshots.load().directory.all() {
            let (entries, bytes) = tenant.cache().size();
            tenant.metrics().cache_entries.set(entries);
            tenant.metrics().cache_bytes.set(bytes);
        }
        answer::metrics(self.gateway.telemetry.metrics.text())
    }

    fn stats(&self) -> Answer {
        let uptime = clock::now().duration_since(self.started);
        answer::json(StatusCode::OK, &stats::gather(&self.gateway, &self.health, uptime))
    }

    fn entry(&self, tenant: &TenantName, id: &CallId) -> Result<Answer, Refused> {
        let snapshot = self.gateway.snapshots.load();
        let tenant = snapshot.directory.named(tenant).ok_or(Refused::NotFound(Absent::Tenant))?;
        let entry = tenant.cache().current().entry(id).ok_or(Refused::NotFound(Absent::Entry))?;
        Ok(answer::json(StatusCode::OK, &entry.describe(&snapshot.policy, clock::now())))
    }

    fn explain(&self, tenant: &TenantName, id: &str) -> Result<Answer, Refused> {
        let snapshot = self.gateway.snapshots.load();
        let tenant = snapshot.directory.named(tenant).ok_or(Refused::NotFound(Absent::Tenant))?;
        Ok(answer::json(StatusCode::OK, &explain(&snapshot, tenant, id)))
    }

    fn purge(&self, scope: &Scope) -> Result<Answer, Refused> {
        let purged = purge::purge(&self.gateway, scope)
            .map_err(|purge::NoTenant| Refused::NotFound(Absent::Tenant))?;
        Ok(answer::json(StatusCode::OK, &json!({ "purged": purged })))
    }

    async fn reload(&self) -> Result<Answer, Refused> {
        let reload = self.reload.get().ok_or(Refused::Internal)?;
        match reload().await {
            Ok(()) => Ok(answer::json(StatusCode::OK, &json!({ "reloaded": true }))),
            Err(problems) => Ok(self.invalid(&problems)),
        }
    }

    /// Runs what may take a while beside the runtime.
    async fn off_runtime(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<Answer, Refused> + Send + 'static,
    ) -> Result<Answer, Refused> {
        let admin = Arc::clone(self);
        tokio::task::spawn_blocking(move || work(&admin)).await.unwrap_or(Err(Refused::Internal))
    }

    fn refuse(&self, refused: Refused) -> Answer {
        let id = RequestId::from_random(fastrand::u128(..));
        let body = error_envelope(refused.code(), refused.message(), self.wall.now(), id.as_str());
        let mut answer = answer::json_text(refused.status(), body);
        if let Some((name, value)) = refused.header() {
            answer.headers_mut().insert(name, value);
        }
        answer
    }

    /// The one refusal with details: every problem of a configuration.
    fn invalid(&self, problems: &[String]) -> Answer {
        let refused = Refused::InvalidConfig;
        let envelope = json!({
            "success": false,
            "error": { "code": refused.code(), "message": refused.message(), "details": problems },
            "meta": {
                "timestamp": format!("{:.0}", self.wall.now()),
                "request_id": RequestId::from_random(fastrand::u128(..)).as_str(),
            },
        });
        answer::json(refused.status(), &envelope)
    }
}
