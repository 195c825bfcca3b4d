//! The log line of each mutation, written whatever `log.access` says.

use http::StatusCode;

use super::gate::Bearer;
use super::route::Route;
use crate::domain::PurgeTarget;
use crate::server::Peer;
use crate::telemetry::Telemetry;

/// A request that changes something.
pub(super) struct Mutation {
    what: &'static str,
    tenant: Option<String>,
    call: Option<String>,
    peer: Peer,
    bearer: Bearer,
}

impl Mutation {
    /// The mutation of a route; `None` for one that only reads.
    pub(super) fn of(route: &Route, peer: Peer, bearer: Bearer, telemetry: &Telemetry) -> Option<Self> {
        let (what, tenant, call) = match route {
            Route::Forget(_) => ("gateway of the fleet forgotten", None, None),
            Route::Purge(PurgeTarget::All) => ("purge of everything", None, None),
            Route::Purge(PurgeTarget::Tenant(tenant)) => ("purge of a tenant", Some(tenant), None),
            Route::Purge(PurgeTarget::Call(tenant, id)) => ("purge of a call", Some(tenant), Some(id)),
            Route::Refresh(tenant, id) => ("refresh of a call", Some(tenant), Some(id)),
            Route::Reload => ("reload", None, None),
            Route::Page
            | Route::OpenApi
            | Route::Metrics
            | Route::Livez
            | Route::Readyz
            | Route::Stats
            | Route::History
            | Route::Config
            | Route::Entry(..)
            | Route::Explain(..) => return None,
        };
        let (tenant, call) = (tenant.map(ToString::to_string), call.map(|id| telemetry.call_for_log(id)));
        Some(Self { what, tenant, call, peer, bearer })
    }

    /// Logs the result. `purged` is the number of entries that a purge removed.
    pub(super) fn log(&self, status: StatusCode, purged: Option<u64>) {
        let Self { what, tenant, call, peer, bearer } = self;
        let peer = peer.0.map(|peer| peer.to_string());
        tracing::info!(
            mutation = what,
            tenant,
            call,
            purged,
            http.response.status_code = status.as_u16(),
            network.peer.address = peer.as_deref().unwrap_or("unix"),
            token = bearer.label(),
            "admin mutation"
        );
    }
}
