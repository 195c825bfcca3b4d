//! Answers the admin plane's requests.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures_util::FutureExt;
use http::header::CONNECTION;
use http::{HeaderValue, Method, Request, StatusCode, Version};
use http_body_util::Full;
use serde::Serialize;
use serde_json::json;

use super::answer::{self, AdminResponse};
use super::gate::{Bearer, admit_api, admit_framing, admit_page, admit_target};
use super::health::ProcessState;
use super::lookup_fields::lookup_fields;
use super::mutation::Mutation;
use super::plane::AdminHandler;
use super::refusal::{Absent, Refused};
use super::route::{Area, NoRoute, Route, area, asks_for_refresh, route};
use super::{openapi, page, purge, stats};
use crate::clock;
use crate::domain::{CallId, PurgeTarget, RequestId, TenantName};
use crate::gateway::{HeldEntry, UnknownTenant, held};
use crate::message::error_envelope;
use crate::server::{Answering, Caller, Handler, Peer, RequestBody};

const YAML: HeaderValue = HeaderValue::from_static("application/yaml");

/// The number of entries that a purge removed, attached to its response for the log.
#[derive(Debug, Clone, Copy)]
struct Purged(u64);

/// A report on a call, and each level's entry of it.
#[derive(Serialize)]
struct WithLevels<T> {
    #[serde(flatten)]
    described: T,
    levels: Vec<HeldEntry>,
}

/// Whether the details of every check are requested.
fn is_verbose(query: &str) -> bool {
    query.split('&').any(|pair| pair == "verbose" || pair.starts_with("verbose="))
}

impl Handler for AdminHandler {
    type Body = Full<bytes::Bytes>;

    fn answer(self: &Arc<Self>, peer: Peer, request: Request<RequestBody>) -> Answering<Full<bytes::Bytes>> {
        let admin = Arc::clone(self);
        let admitted = catch_unwind(AssertUnwindSafe(|| self.admit(&request)));
        let admitted = admitted.unwrap_or(Err(Refused::Internal));
        let caller = match &admitted {
            // Health checks and scrapes must be answered whatever other connections do.
            Ok((Route::Metrics | Route::Livez | Route::Readyz, _)) => Caller::Privileged,
            Ok(_) => Caller::Known,
            Err(_) => Caller::Unknown,
        };
        Answering::waiting(caller, async move { admin.respond_always(peer, &request, admitted).await })
    }
}

impl AdminHandler {
    /// Every outcome, a panic included, becomes one answer.
    async fn respond_always(
        self: Arc<Self>,
        peer: Peer,
        request: &Request<RequestBody>,
        admitted: Result<(Route, Bearer), Refused>,
    ) -> AdminResponse {
        let query = request.uri().query().unwrap_or_default();
        let respond = async { Arc::clone(&self).respond(admitted?, peer, query).await };
        let answered = AssertUnwindSafe(respond).catch_unwind().await;
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

    /// Whether the request may be executed, its route, and its token.
    fn admit(&self, request: &Request<RequestBody>) -> Result<(Route, Bearer), Refused> {
        admit_target(request)?;
        admit_framing(request)?;
        let path = request.uri().path();
        let bearer = match area(path) {
            Area::Open => Bearer::None,
            Area::Page => {
                admit_page(request, &self.rules.load())?;
                Bearer::None
            }
            Area::Api => admit_api(request, &self.rules.load(), self.is_local)?,
        };
        let route = route(request.method(), path);
        if bearer == Bearer::Refresh && !asks_for_refresh(request.method(), path) {
            return Err(Refused::RefreshOnly);
        }
        let route = route.map_err(|no| match no {
            NoRoute::NotFound => Refused::NotFound(Absent::Route),
            NoRoute::Tenant => Refused::NotFound(Absent::Tenant),
            NoRoute::CallId => Refused::CallId,
            NoRoute::Method(allowed) => Refused::Method(allowed),
        })?;
        if route.is_mutation() && request.uri().query().is_some() {
            return Err(Refused::Query);
        }
        Ok((route, bearer))
    }

    /// Executes a request, and logs it if it changes something.
    async fn respond(
        self: Arc<Self>,
        (route, bearer): (Route, Bearer),
        peer: Peer,
        query: &str,
    ) -> Result<AdminResponse, Refused> {
        let mutation = Mutation::of(&route, peer, bearer, &self.gateway.telemetry);
        let result = Arc::clone(&self).carry_out(route, query).await;
        if let Some(mutation) = mutation {
            let status = result.as_ref().map_or_else(|refused| refused.status(), |answer| answer.status());
            let purged = result.as_ref().ok().and_then(|answer| answer.extensions().get::<Purged>());
            mutation.log(status, purged.map(|Purged(entries)| *entries));
        }
        result
    }

    async fn carry_out(self: Arc<Self>, route: Route, query: &str) -> Result<AdminResponse, Refused> {
        match route {
            Route::Page => Ok(page::page()),
            Route::OpenApi => Ok(answer::typed(StatusCode::OK, YAML, openapi::TEXT.into())),
            Route::Metrics => self.off_runtime(|admin| Ok(admin.metrics())).await,
            Route::Livez => Ok(answer::text(StatusCode::OK, "ok\n")),
            Route::Readyz if is_verbose(query) => self.off_runtime(|admin| Ok(admin.readyz_verbose())).await,
            Route::Readyz => Ok(self.readyz(&format!("{}\n", self.health.state().label()))),
            Route::Stats => self.off_runtime(|admin| Ok(admin.stats())).await,
            Route::History => {
                let report = serde_json::to_vec(&self.history.report()).map_err(|_| Refused::Internal)?;
                Ok(answer::json_text(StatusCode::OK, report))
            }
            Route::Config => Ok(answer::json(StatusCode::OK, &self.rules.load().shown)),
            Route::Entry(tenant, id) => self.entry(&tenant, &id).await,
            Route::Explain(tenant, id) => self.explain(&tenant, &id, query).await,
            Route::Purge(scope) => self.purge(scope).await,
            Route::Forget(name) => self.forget(&name).await,
            Route::Refresh(tenant, id) => self.refresh(&tenant, &id),
            Route::Reload => self.reload().await,
        }
    }

    fn readyz(&self, text: &str) -> AdminResponse {
        let is_ready = self.health.state() == ProcessState::Ready;
        let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        answer::text(status, text.to_owned())
    }

    fn readyz_verbose(&self) -> AdminResponse {
        let (_, problems) = self.problems.look(&self.gateway, &self.health, clock::now());
        let dropped = self.gateway.telemetry.metrics.log_lines_dropped();
        self.readyz(&self.health.verbose(dropped, &problems))
    }

    fn metrics(&self) -> AdminResponse {
        for tenant in self.gateway.snapshots.load().directory.all() {
            let (entries, bytes) = tenant.cache().size();
            tenant.metrics().cache_entries.set(entries);
            tenant.metrics().cache_bytes.set(bytes);
            let (waits, watches) = tenant.watches().size();
            tenant.metrics().waits.set(waits as u64);
            tenant.metrics().watches.set(watches as u64);
            tenant.metrics().show_key(tenant.upstream().keys().in_use());
            tenant.show_fallback(clock::now());
        }
        answer::metrics(self.gateway.telemetry.metrics.text())
    }

    fn stats(&self) -> AdminResponse {
        let uptime = clock::now().duration_since(self.started);
        answer::json(StatusCode::OK, &stats::gather(self, uptime))
    }

    async fn entry(&self, tenant: &TenantName, id: &CallId) -> Result<AdminResponse, Refused> {
        let snapshot = self.gateway.snapshots.load_full();
        let tenant = snapshot.directory.named(tenant).ok_or(Refused::NotFound(Absent::Tenant))?;
        let (entry, levels) = held(&snapshot, tenant, id).await.first();
        let entry = entry.ok_or(Refused::NotFound(Absent::Entry))?;
        let entry = entry.describe(&snapshot.policy, clock::now());
        Ok(answer::json(StatusCode::OK, &WithLevels { described: entry, levels }))
    }

    async fn explain(&self, tenant: &TenantName, id: &str, query: &str) -> Result<AdminResponse, Refused> {
        let fields = lookup_fields(query).ok_or(Refused::LookupFields)?;
        let explained = self.gateway.explain(tenant, id, &fields).await;
        let explained = explained.map_err(|UnknownTenant| Refused::NotFound(Absent::Tenant))?;
        Ok(answer::json(StatusCode::OK, &explained))
    }

    async fn purge(self: &Arc<Self>, scope: PurgeTarget) -> Result<AdminResponse, Refused> {
        let snapshot = self.gateway.snapshots.load_full();
        if scope.tenant().is_some_and(|tenant| snapshot.directory.named(tenant).is_none()) {
            return Err(Refused::NotFound(Absent::Tenant));
        }
        // First: from here on, nothing older is taken from the shared level.
        let fleet = self.gateway.fleet.as_ref();
        let announced = fleet.map(|fleet| (fleet, fleet.level().ledger().raise(scope.clone())));
        let gateway = Arc::clone(&self.gateway);
        let purged = tokio::task::spawn_blocking(move || purge::purge(&gateway, &scope)).await;
        let purged = purged.map_err(|_| Refused::Internal)?;
        let mut purged = purged.map_err(|UnknownTenant| Refused::NotFound(Absent::Tenant))?;
        if let Some((fleet, announced)) = announced {
            let (reach, is_everywhere) = fleet.await_purge(announced).await;
            purged.missing = reach.missing.clone();
            purged.gateways = Some(reach);
            purged.is_owed = !is_everywhere;
        }
        let mut answer = match purged.is_complete() {
            true => answer::json(StatusCode::OK, &purged),
            false => self.refuse_with(Refused::PurgeIncomplete, &purged),
        };
        answer.extensions_mut().insert(Purged(purged.purged));
        Ok(answer)
    }

    async fn forget(&self, name: &str) -> Result<AdminResponse, Refused> {
        let fleet = self.gateway.fleet.as_ref().ok_or(Refused::NotFound(Absent::Member))?;
        match fleet.forget(name).await {
            Ok(true) => Ok(answer::json(StatusCode::OK, &json!({ "forgotten": true }))),
            Ok(false) => Err(Refused::NotFound(Absent::Member)),
            Err(_) => Err(Refused::Unavailable),
        }
    }

    fn refresh(&self, tenant: &TenantName, id: &CallId) -> Result<AdminResponse, Refused> {
        let begun = self.gateway.refresh(tenant, id);
        begun.map_err(|UnknownTenant| Refused::NotFound(Absent::Tenant))?;
        Ok(answer::json(StatusCode::ACCEPTED, &json!({ "refreshing": true })))
    }

    async fn reload(&self) -> Result<AdminResponse, Refused> {
        let reload = self.reload.get().ok_or(Refused::Internal)?;
        match reload().await {
            Ok(()) => Ok(answer::json(StatusCode::OK, &json!({ "reloaded": true }))),
            Err(problems) => Ok(self.refuse_with(Refused::InvalidConfig, &problems)),
        }
    }

    /// Runs blocking work off the runtime.
    async fn off_runtime(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<AdminResponse, Refused> + Send + 'static,
    ) -> Result<AdminResponse, Refused> {
        let admin = Arc::clone(self);
        tokio::task::spawn_blocking(move || work(&admin)).await.unwrap_or(Err(Refused::Internal))
    }

    fn refuse(&self, refused: Refused) -> AdminResponse {
        self.gateway.telemetry.metrics.count_refusal(refused.error_code());
        let id = RequestId::from_random(fastrand::u128(..));
        let body = error_envelope(refused.code(), refused.message(), self.wall.now(), id.as_str());
        let mut answer = answer::json_text(refused.status(), body);
        if let Some((name, value)) = refused.header() {
            answer.headers_mut().insert(name, value);
        }
        answer
    }

    /// A refusal with details: every problem of a configuration, or the disks that a purge has not reached.
    fn refuse_with(&self, refused: Refused, details: &impl Serialize) -> AdminResponse {
        self.gateway.telemetry.metrics.count_refusal(refused.error_code());
        let envelope = json!({
            "success": false,
            "error": { "code": refused.code(), "message": refused.message(), "details": details },
            "meta": {
                "timestamp": format!("{:.0}", self.wall.now()),
                "request_id": RequestId::from_random(fastrand::u128(..)).as_str(),
            },
        });
        answer::json(refused.status(), &envelope)
    }
}
