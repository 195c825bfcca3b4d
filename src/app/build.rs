//! Builds a runtime from settings, keeping the parts of the previous one whose settings are unchanged.

use std::fmt;
use std::sync::Arc;

use http::Method;

use super::fleet::FleetContext;
use crate::cache::{Lists, TenantCache, Watches};
use crate::clock::WallClock;
use crate::config::{CacheSettings, MediaSettings, Settings, TenantSettings, UpstreamSettings};
use crate::domain::{RouteAccess, RouteLabel};
use crate::gateway::Snapshot;
use crate::levels::{DiskLevel, LevelAccount, TenantDisk, TenantShared};
use crate::limits::Limiter;
use crate::telemetry::{LimitLabel, Telemetry, TenantMetrics};
use crate::tenant::{Caches, ConcurrencyLimit, Directory, Tenant, Waits};
use crate::upstream::{Connector, KeyRing, MediaParts, Network, Parts, Transport, Upstream};

/// Errors that remain possible with a checked configuration.
#[derive(Debug)]
pub(crate) enum BuildError {
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

/// A configuration and the runtime built from it.
pub(super) struct Runtime {
    pub settings: Settings,
    /// The part that requests see.
    pub snapshot: Arc<Snapshot>,
}

/// The shared foundation of every runtime.
pub(super) struct AppContext {
    /// Metrics, traces and log.
    pub telemetry: Arc<Telemetry>,
    pub wall: WallClock,
    /// How upstreams are reached.
    pub transport_kind: TransportKind,
    /// What outlives the process, where that is configured.
    pub disk: Option<Arc<DiskLevel>>,
    /// What it shares with other gateways, where that is configured.
    pub fleet: Option<FleetContext>,
}

/// The kind of transport to upstreams.
pub(super) enum TransportKind {
    /// The network, with separate connections for each tenant.
    Network,
    /// A script, for tests and benches.
    #[cfg(any(test, feature = "bench"))]
    Scripted(Arc<dyn Transport>),
}

impl Runtime {
    /// Builds the runtime of `settings`, keeping the parts of `before` whose settings are unchanged.
    pub(super) fn build(
        settings: Settings,
        before: Option<&Self>,
        context: &AppContext,
    ) -> Result<Self, BuildError> {
        let connector = Connector::new(&settings.upstream).map_err(BuildError::Tls)?;
        let media_connector =
            Connector::for_media(&settings.upstream, &settings.media).map_err(BuildError::Tls)?;
        let builder = Builder { settings: &settings, before, context, connector, media_connector };
        let directory = Directory::new(settings.tenants.iter().map(|tenant| builder.tenant(tenant)));
        let same_bound =
            before.filter(|old| old.settings.limits.max_in_flight == settings.limits.max_in_flight);
        let snapshot = Snapshot {
            directory,
            policy: Arc::new(settings.cache.clone()),
            total_timeout: settings.upstream.total_timeout,
            wait: settings.wait.clone(),
            links: if settings.media.link_headers { RouteAccess::MEDIA } else { RouteAccess::NONE },
            body_methods: body_methods(&settings),
            rate_limit_headers: settings.limits.rate_limit_headers,
            in_flight: same_bound.map_or_else(
                || ConcurrencyLimit::new(settings.limits.max_in_flight),
                |old| old.snapshot.in_flight.clone(),
            ),
        };
        Ok(Self { settings, snapshot: Arc::new(snapshot) })
    }

    /// The tenants' metrics, in the order of the configuration.
    pub(super) fn metrics(&self) -> Vec<Arc<TenantMetrics>> {
        let named = |tenant: &TenantSettings| self.snapshot.directory.named(&tenant.name);
        let tenants = self.settings.tenants.iter().filter_map(named);
        tenants.map(|tenant| Arc::clone(tenant.metrics())).collect()
    }
}

struct Builder<'a> {
    settings: &'a Settings,
    before: Option<&'a Runtime>,
    context: &'a AppContext,
    connector: Connector,
    media_connector: Connector,
}

/// The state of the previous tenant with the same name.
struct Previous<'a> {
    upstream: &'a UpstreamSettings,
    policy: &'a CacheSettings,
    media: &'a MediaSettings,
    tenant: &'a Tenant,
}

impl Builder<'_> {
    fn tenant(&self, tenant: &TenantSettings) -> Arc<Tenant> {
        let previous = self.before.and_then(|before| {
            let previous = before.snapshot.directory.named(&tenant.name)?;
            Some(Previous {
                upstream: &before.settings.upstream,
                policy: &before.settings.cache,
                media: &before.settings.media,
                tenant: previous,
            })
        });
        let previous = previous.as_ref();
        let metrics = previous.map_or_else(
            || Arc::new(TenantMetrics::new(tenant.name.clone())),
            |previous| Arc::clone(previous.tenant.metrics()),
        );
        let upstream = self.upstream(tenant, previous, &metrics);
        let cache = self.cache(tenant, previous, &upstream, &metrics);
        let watches = self.watches(tenant, previous, &upstream);
        metrics.offer_waits(self.settings.wait.max);
        // Lists belong to the same account as the calls.
        let same_calls = previous.filter(|previous| Arc::ptr_eq(previous.tenant.cache(), &cache));
        let lists = same_calls.map_or_else(
            || Lists::new(tenant.cache_max_bytes),
            |previous| Arc::clone(previous.tenant.lists()),
        );
        let allowed = self.settings.passthrough.iter().filter(|one| one.tenants.contains(&tenant.name));
        let passthroughs: Vec<_> = allowed.map(|one| Arc::new(one.endpoint.clone())).collect();
        metrics.offer_routes(match passthroughs.is_empty() {
            true => tenant.routes,
            false => tenant.routes.and(RouteLabel::Passthrough),
        });
        let disk = self.disk(tenant, &upstream, &metrics);
        let shared = self.shared(tenant, &upstream, &metrics);
        let caches = Caches { calls: cache, lists, watches, disk, shared };
        let waits = self.waits(previous);
        let limiter =
            self.limiter(tenant, LimitLabel::Tenant, previous.and_then(|old| old.tenant.limiter()), &metrics);
        Arc::new(Tenant::new(tenant, passthroughs, limiter, caches, Arc::new(upstream), waits, metrics))
    }

    fn upstream(
        &self,
        tenant: &TenantSettings,
        previous: Option<&Previous<'_>>,
        metrics: &Arc<TenantMetrics>,
    ) -> Upstream {
        let before = previous.map(|previous| previous.tenant.upstream());
        let settings = &self.settings.upstream;
        let next = tenant.upstream_key_next.as_ref().map(|(key, _)| key.clone());
        let keys = KeyRing::new(tenant.upstream_key.clone(), next);
        let parts = Parts {
            settings: settings.clone(),
            media: MediaParts {
                settings: self.settings.media.clone(),
                connector: self.media_connector.clone().with_places(self.settings.media.max_streams),
            },
            transport: match previous.filter(|previous| connects_alike(previous.upstream, settings)) {
                Some(previous) => Arc::clone(previous.tenant.upstream().transport()),
                None => self.transport(),
            },
            // With the same keys, a promotion is kept.
            keys: match before.map(|before| before.keys()).filter(|before| before.has_same_keys(&keys)) {
                Some(before) => Arc::clone(before),
                None => Arc::new(keys),
            },
            budget: self.limiter(tenant, LimitLabel::Upstream, before.and_then(|old| old.budget()), metrics),
            metrics: Arc::clone(metrics),
            telemetry: Arc::clone(&self.context.telemetry),
            wall: self.context.wall.clone(),
        };
        match before {
            Some(before) => Upstream::succeeding(before, parts),
            None => Upstream::new(parts),
        }
    }

    /// The previous watches, unless the tenant's tokens, keys or upstream have changed.
    fn watches(
        &self,
        tenant: &TenantSettings,
        previous: Option<&Previous<'_>>,
        upstream: &Upstream,
    ) -> Arc<Watches> {
        let same = previous.filter(|previous| {
            previous.tenant.has_same_tokens(tenant)
                && Arc::ptr_eq(previous.tenant.upstream().keys(), upstream.keys())
                && previous.upstream.base_url == self.settings.upstream.base_url
        });
        same.map_or_else(Watches::new, |previous| Arc::clone(previous.tenant.watches()))
    }

    /// The tenant's part of the disk level. Which of what lies there is still this account's, its keys tell.
    fn disk(
        &self,
        tenant: &TenantSettings,
        upstream: &Upstream,
        metrics: &Arc<TenantMetrics>,
    ) -> Option<Arc<TenantDisk>> {
        let level = self.context.disk.as_ref().filter(|_| tenant.disk_max_bytes > 0);
        metrics.disk.offer(level.is_some());
        let (keys, url) = (upstream.keys().keys(), &self.settings.upstream.base_url);
        let account = LevelAccount { tenant: &tenant.name, keys, url };
        Some(level?.tenant(&account, tenant.disk_max_bytes, self.settings.disk.timeout, metrics))
    }

    /// The tenant's part of the shared level.
    fn shared(
        &self,
        tenant: &TenantSettings,
        upstream: &Upstream,
        metrics: &Arc<TenantMetrics>,
    ) -> Option<Arc<TenantShared>> {
        let fleet = self.context.fleet.as_ref();
        let engine = self.settings.shared.engine.as_ref();
        let is_stored = tenant.shared && engine.is_some_and(|engine| engine.cache);
        metrics.shared.offer(is_stored && fleet.is_some());
        let (keys, url) = (upstream.keys().keys(), &self.settings.upstream.base_url);
        let account = LevelAccount { tenant: &tenant.name, keys, url };
        let claims_last = self.settings.upstream.total_timeout;
        Some(TenantShared::new(fleet?.level(), &account, is_stored, claims_last, metrics))
    }

    /// One of the tenant's limits: the previous one with its state, if its rate is the same, and for whom it holds.
    fn limiter(
        &self,
        tenant: &TenantSettings,
        label: LimitLabel,
        previous: Option<&Arc<Limiter>>,
        metrics: &Arc<TenantMetrics>,
    ) -> Option<Arc<Limiter>> {
        let rate = match label {
            LimitLabel::Tenant => tenant.rate_limit,
            LimitLabel::Upstream => tenant.upstream_limit,
        };
        let fleet = self.context.fleet.as_ref();
        let shares = self.settings.shared.engine.as_ref().is_some_and(|engine| engine.limits);
        let leases = fleet.filter(|_| shares).map(FleetContext::leases);
        if let Some(shown) = metrics.leases.get(label as usize) {
            shown.offer(rate.is_some() && leases.is_some());
        }
        let rate = rate?;
        let same = previous.filter(|old| old.rate() == rate && old.is_leased() == leases.is_some());
        Some(same.map_or_else(
            || {
                Arc::new(match (fleet, leases) {
                    (_, Some(leases)) => leases.limiter(&tenant.name, label, rate, metrics),
                    (Some(_), None) => Limiter::local(rate),
                    (None, None) => Limiter::new(rate),
                })
            },
            Arc::clone,
        ))
    }

    /// The limits on waiting and streams. Unchanged ones are taken over, so that what is in flight still counts.
    fn waits(&self, previous: Option<&Previous<'_>>) -> Waits {
        let (most, streams) = (self.settings.upstream.max_waiting, self.settings.media.max_streams);
        let mut waits = Waits::new(most, streams);
        if let Some(previous) = previous.filter(|previous| previous.upstream.max_waiting == most) {
            waits.lookups = previous.tenant.waits().lookups.clone();
            waits.fetches = previous.tenant.waits().fetches.clone();
        }
        if let Some(previous) = previous.filter(|previous| previous.media.max_streams == streams) {
            waits.streams = previous.tenant.waits().streams.clone();
        }
        waits
    }

    fn transport(&self) -> Arc<dyn Transport> {
        match &self.context.transport_kind {
            TransportKind::Network => {
                Arc::new(Network::new(self.connector.clone(), self.settings.upstream.max_connections))
            }
            #[cfg(any(test, feature = "bench"))]
            TransportKind::Scripted(transport) => Arc::clone(transport),
        }
    }

    /// The previous cache, if its entries still belong to the account and may still be served, and its size is the
    /// same.
    ///
    /// The keys of one ring are declared to belong to one account, and the key in use has proved to: while it is in
    /// the ring, the account is the same. A fetch in flight with a key that is no longer in the ring is not stored.
    fn cache(
        &self,
        tenant: &TenantSettings,
        previous: Option<&Previous<'_>>,
        upstream: &Upstream,
        metrics: &Arc<TenantMetrics>,
    ) -> Arc<TenantCache> {
        let transcript_bytes = self.settings.cache.max_transcript_bytes;
        let empty =
            || Arc::new(TenantCache::new(tenant.cache_max_bytes, transcript_bytes, Arc::clone(metrics)));
        let Some(previous) = previous else { return empty() };
        let (old, old_keys) = (previous.tenant.cache(), previous.tenant.upstream().keys());
        let in_use = old_keys.active();
        let statuses = &self.settings.cache.cacheable_statuses;
        let goes_on = previous.upstream.base_url == self.settings.upstream.base_url
            && old.max_bytes() == tenant.cache_max_bytes
            && old.max_transcript_bytes() == transcript_bytes
            && previous.policy.cacheable_statuses.iter().all(|status| statuses.contains(status))
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

/// The methods for which some tenant may send a body.
fn body_methods(settings: &Settings) -> Vec<Method> {
    let with_body = settings.passthrough.iter().filter(|one| one.endpoint.max_body_bytes > 0);
    with_body.map(|one| one.endpoint.method.clone()).collect()
}

/// Whether open connections with the old settings suit the new ones.
fn connects_alike(old: &UpstreamSettings, new: &UpstreamSettings) -> bool {
    old.base_url == new.base_url
        && old.connect_timeout == new.connect_timeout
        && old.max_connections == new.max_connections
        && old.extra_roots == new.extra_roots
        && old.proxy == new.proxy
}
