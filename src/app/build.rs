//! From settings to the things they describe.

use std::fmt;
use std::sync::Arc;

use crate::cache::Cache;
use crate::clock::WallClock;
use crate::config::{Rate, Settings, Tenant as TenantSettings};
use crate::gateway::Snapshot;
use crate::limits::Limiter;
use crate::telemetry::{Telemetry, TenantMetrics};
use crate::tenant::{Directory, Tenant, Turnstile};
use crate::upstream::{Connector, KeyRing, Network, Parts, Upstream};

/// What a checked configuration can still fail for.
#[derive(Debug)]
pub enum BuildError {
    /// TLS could not be set up.
    Tls(rustls::Error),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls(error) => write!(f, "cannot set up TLS for the upstream: {error}"),
        }
    }
}

impl std::error::Error for BuildError {}

/// Builds the world of one configuration.
pub fn snapshot(
    settings: &Settings,
    telemetry: &Arc<Telemetry>,
    wall: &WallClock,
) -> Result<Snapshot, BuildError> {
    let connector = connector(settings)?;
    let tenants = settings.tenants.iter().map(|tenant| {
        let transport = Arc::new(Network::new(connector.clone(), settings.upstream.max_connections));
        build_tenant(tenant, settings, transport, telemetry, wall)
    });
    Ok(Snapshot {
        directory: Directory::new(tenants.map(Arc::new)),
        policy: Arc::new(settings.cache.clone()),
        total_timeout: settings.upstream.total_timeout,
        rate_limit_headers: settings.limits.rate_limit_headers,
        in_flight: Turnstile::new(settings.limits.max_in_flight),
    })
}

/// TLS is set up only where it is used: it costs start-up time and memory.
fn connector(settings: &Settings) -> Result<Connector, BuildError> {
    let timeout = settings.upstream.connect_timeout;
    if settings.upstream.base_url.is_plaintext() {
        return Ok(Connector::plain(timeout));
    }
    Connector::verified(timeout, Connector::public_roots()).map_err(BuildError::Tls)
}

fn build_tenant(
    tenant: &TenantSettings,
    settings: &Settings,
    transport: Arc<Network>,
    telemetry: &Arc<Telemetry>,
    wall: &WallClock,
) -> Tenant {
    let limiter = |rate: Option<Rate>| rate.map(|rate| Arc::new(Limiter::new(rate)));
    let metrics = Arc::new(TenantMetrics::new(tenant.name.clone()));
    let next = tenant.upstream_key_next.as_ref().map(|(key, _)| key.clone());
    let upstream = Upstream::new(Parts {
        settings: settings.upstream.clone(),
        transport,
        keys: KeyRing::new(tenant.upstream_key.clone(), next),
        budget: limiter(tenant.upstream_limit),
        metrics: Arc::clone(&metrics),
        telemetry: Arc::clone(telemetry),
        wall: wall.clone(),
    });
    let cache = Cache::new(tenant.cache_max_bytes, Arc::clone(&metrics));
    let max_waiting = settings.upstream.max_waiting;
    Tenant::new(tenant, limiter(tenant.rate_limit), Arc::new(cache), Arc::new(upstream), max_waiting, metrics)
}
