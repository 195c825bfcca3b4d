//! From settings to the things they describe, going on with what a former configuration had where
//! that is the same.

use std::fmt;
use std::sync::Arc;

use crate::cache::Cache;
use crate::clock::WallClock;
use crate::config::{
    Cache as Policy, Rate, Settings, Tenant as TenantSettings, Upstream as UpstreamSettings,
};
use crate::gateway::Snapshot;
use crate::limits::Limiter;
use crate::telemetry::{Telemetry, TenantMetrics};
use crate::tenant::{Directory, Tenant, Turnstile, Waits};
use crate::upstream::{Connector, KeyRing, Network, Parts, Transport, Upstream};

/// What a checked configuration can still fail for.
#[derive(Debug)]
pub enum BuildError {
    /// TLS could not be set up.
    Tls(rustls::Error),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls(error) => write!(f, "cannot set up TLS: {error}"),
        }
    }
}

impl std::error::Error for BuildError {}

/// A configuration and the world that was built from it.
pub struct World {
    /// The configuration.
    pub settings: Settings,
    /// What requests see of it.
    pub snapshot: Arc<Snapshot>,
}

/// What every world is built on.
pub struct Ground {
    /// Where everything is counted.
    pub telemetry: Arc<Telemetry>,
    /// The calendar.
    pub wall: WallClock,
    /// How upstreams are reached.
    pub reach: Reach,
}

/// How upstreams are reached.
pub enum Reach {
    /// Over the network, each tenant with connections of its own.
    Network,
    /// By a script, in tests and benches.
    #[cfg(any(test, feature = "bench"))]
    Scripted(Arc<dyn Transport>),
}

impl World {
    /// Builds the world of `settings`, going on with what `before` has where that is the same.
    pub fn build(settings: Settings, before: Option<&Self>, ground: &Ground) -> Result<Self, BuildError> {
        let connector = Connector::new(&settings.upstream).map_err(BuildError::Tls)?;
        let builder = Builder { settings: &settings, before, ground, connector };
        let directory = Directory::new(settings.tenants.iter().map(|tenant| builder.tenant(tenant)));
        let same_bound =
            before.filter(|old| old.settings.limits.max_in_flight == settings.limits.max_in_flight);
        let snapshot = Snapshot {
            directory,
            policy: Arc::new(settings.cache.clone()),
            total_timeout: settings.upstream.total_timeout,
            rate_limit_headers: settings.limits.rate_limit_headers,
            in_flight: same_bound.map_or_else(
                || Turnstile::new(settings.limits.max_in_flight),
                |old| old.snapshot.in_flight.clone(),
            ),
        };
        Ok(Self { settings, snapshot: Arc::new(snapshot) })
    }

    /// The tenants' numbers, in the order of the configuration.
    pub fn metrics(&self) -> Vec<Arc<TenantMetrics>> {
        let named = |tenant: &TenantSettings| self.snapshot.directory.named(&tenant.name);
        let tenants = self.settings.tenants.iter().filter_map(named);
        tenants.map(|tenant| Arc::clone(tenant.metrics())).collect()
    }
}

struct Builder<'a> {
    settings: &'a Settings,
    before: Option<&'a World>,
    ground: &'a Ground,
    connector: Connector,
}

/// What a tenant of the same name had.
struct Former<'a> {
    upstream: &'a UpstreamSettings,
    policy: &'a Policy,
    tenant: &'a Tenant,
}

impl Builder<'_> {
    fn tenant(&self, tenant: &TenantSettings) -> Arc<Tenant> {
        let former = self.before.and_then(|before| {
            let former = before.snapshot.directory.named(&tenant.name)?;
            Some(Former {
                upstream: &before.settings.upstream,
                policy: &before.settings.cache,
                tenant: former,
            })
        });
        let former = former.as_ref();
        let metrics = former.map_or_else(
            || Arc::new(TenantMetrics::new(tenant.name.clone())),
            |former| Arc::clone(former.tenant.metrics()),
        );
        let upstream = self.upstream(tenant, former, &metrics);
        let cache = self.cache(tenant, former, &upstream, &metrics);
        let same_waiting = former.filter(|f| f.upstream.max_waiting == self.settings.upstream.max_waiting);
        let waits = same_waiting.map_or_else(
            || Waits::new(self.settings.upstream.max_waiting),
            |former| former.tenant.waits().clone(),
        );
        let limiter = limiter(tenant.rate_limit, former.and_then(|former| former.tenant.limiter()));
        Arc::new(Tenant::new(tenant, limiter, cache, Arc::new(upstream), waits, metrics))
    }

    fn upstream(
        &self,
        tenant: &TenantSettings,
        former: Option<&Former<'_>>,
        metrics: &Arc<TenantMetrics>,
    ) -> Upstream {
        let before = former.map(|former| former.tenant.upstream());
        let settings = &self.settings.upstream;
        let next = tenant.upstream_key_next.as_ref().map(|(key, _)| key.clone());
        let keys = KeyRing::new(tenant.upstream_key.clone(), next);
        let parts = Parts {
            settings: settings.clone(),
            transport: match former.filter(|former| connects_alike(former.upstream, settings)) {
                Some(former) => Arc::clone(former.tenant.upstream().transport()),
                None => self.transport(),
            },
            // The same keys stay promoted as they are.
            keys: match before.map(|before| before.keys()).filter(|before| before.has_same_keys(&keys)) {
                Some(before) => Arc::clone(before),
                None => Arc::new(keys),
            },
            budget: limiter(tenant.upstream_limit, before.and_then(|before| before.budget())),
            metrics: Arc::clone(metrics),
            telemetry: Arc::clone(&self.ground.telemetry),
            wall: self.ground.wall.clone(),
        };
        match before {
            Some(before) => Upstream::succeeding(before, parts),
            None => Upstream::new(parts),
        }
    }

    fn transport(&self) -> Arc<dyn Transport> {
        match &self.ground.reach {
            Reach::Network => {
                Arc::new(Network::new(self.connector.clone(), self.settings.upstream.max_connections))
            }
            #[cfg(any(test, feature = "bench"))]
            Reach::Scripted(transport) => Arc::clone(transport),
        }
    }

    /// The former cache, if its entries are still this account's and may still be served, and it has
    /// the same size.
    ///
    /// The keys of one ring are declared to be of one account, and the key in use has proved to be:
    /// while it is in the ring the account is the same. What is still being fetched with a key that is
    /// in the ring no more is not stored.
    fn cache(
        &self,
        tenant: &TenantSettings,
        former: Option<&Former<'_>>,
        upstream: &Upstream,
        metrics: &Arc<TenantMetrics>,
    ) -> Arc<Cache> {
        let empty = || Arc::new(Cache::new(tenant.cache_max_bytes, Arc::clone(metrics)));
        let Some(former) = former else { return empty() };
        let (old, old_keys) = (former.tenant.cache(), former.tenant.upstream().keys());
        let in_use = old_keys.active();
        let statuses = &self.settings.cache.cacheable_statuses;
        let goes_on = former.upstream.base_url == self.settings.upstream.base_url
            && old.max_bytes() == tenant.cache_max_bytes
            && former.policy.cacheable_statuses.iter().all(|status| statuses.contains(status))
            && in_use.is_some_and(|in_use| upstream.keys().contains(&in_use.key));
        if !goes_on {
            old.close();
            return empty();
        }
        match upstream.keys().contains_all_of(old_keys) {
            true => Arc::clone(old),
            false => Arc::new(old.without_fetches()),
        }
    }
}

/// The former limiter with its state, if the rate is the same.
fn limiter(rate: Option<Rate>, former: Option<&Arc<Limiter>>) -> Option<Arc<Limiter>> {
    let rate = rate?;
    let same = former.filter(|former| former.rate() == rate);
    Some(same.map_or_else(|| Arc::new(Limiter::new(rate)), Arc::clone))
}

/// Whether open connections of the one do for the other.
fn connects_alike(old: &UpstreamSettings, new: &UpstreamSettings) -> bool {
    old.base_url == new.base_url
        && old.connect_timeout == new.connect_timeout
        && old.max_connections == new.max_connections
        && old.extra_roots == new.extra_roots
        && old.proxy == new.proxy
}
