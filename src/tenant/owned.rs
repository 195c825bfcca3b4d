//! A tenant: its name, its tokens, and everything it owns.

use std::sync::Arc;

use http::HeaderValue;

use super::concurrency::{ConcurrencyLimit, FetchSlots};
use crate::cache::{Lists, TenantCache, Watches};
use crate::clock::{self, Instant};
use crate::config::{Rate, TenantSettings};
use crate::domain::{CallId, PassthroughEndpoint, Refusal, RouteAccess, TenantName, TokenHash};
use crate::levels::{Erasure, TenantDisk, TenantShared};
use crate::limits::{LimitScope, Limiter, Quota};
use crate::telemetry::{LimitLabel, TenantMetrics};
use crate::upstream::Upstream;

/// One tenant and all it owns. Reached only through its token, or by name on the admin plane.
pub(crate) struct Tenant {
    name: TenantName,
    token_hashes: Vec<TokenHash>,
    limit: Option<Limit>,
    routes: RouteAccess,
    passthroughs: Vec<Arc<PassthroughEndpoint>>,
    caches: Caches,
    upstream: Arc<Upstream>,
    waits: Waits,
    metrics: Arc<TenantMetrics>,
}

/// A tenant's caches and watches.
pub(crate) struct Caches {
    pub(crate) calls: Arc<TenantCache>,
    pub(crate) lists: Arc<Lists>,
    /// Lookups that wait until a call is final.
    pub(crate) watches: Arc<Watches>,
    /// Entries that outlive the process, if configured.
    pub(crate) disk: Option<Arc<TenantDisk>>,
    /// Entries that the fleet shares, if configured.
    pub(crate) shared: Option<Arc<TenantShared>>,
}

/// A purge: done in memory, and in progress below it.
pub(crate) struct TenantPurge {
    /// Entries that memory had.
    pub(crate) entries: u64,
    /// Until it is done, nothing older is taken from there; but it may still be read from the disk itself.
    pub(crate) erasure: Option<Erasure>,
}

/// The limits on a tenant's waiting lookups, and on the fetches that they wait for.
#[derive(Clone)]
pub(crate) struct Waits {
    pub lookups: ConcurrencyLimit,
    pub fetches: FetchSlots,
    /// Recordings and transcriptions that are being sent.
    pub(crate) streams: FetchSlots,
}

impl Waits {
    /// At most `most` lookups and fetches, since no fetch is without a lookup but those whose clients have left, and
    /// so many streams.
    pub(crate) fn new(most: usize, streams: usize) -> Self {
        let (lookups, fetches) = (ConcurrencyLimit::new(most), FetchSlots::new(most));
        Self { lookups, fetches, streams: FetchSlots::new(streams) }
    }
}

/// The tenant's rate limit, and how it is shown to clients.
struct Limit {
    limiter: Arc<Limiter>,
    /// Its item of `RateLimit-Policy`.
    policy: HeaderValue,
    /// The same while it holds for a fleet.
    fleet_policy: HeaderValue,
}

/// The result of charging a request to the tenant's limit.
#[derive(Debug)]
pub(crate) struct Charged {
    /// For `RateLimit-Policy` and `RateLimit`; `None` without a limit.
    pub shown: Option<LimitState>,
    /// Whether the request may proceed.
    pub verdict: Result<(), Refusal>,
}

/// The content of the rate-limit headers.
#[derive(Debug, Clone)]
pub(crate) struct LimitState {
    /// Its item of `RateLimit-Policy`.
    pub policy: HeaderValue,
    /// The remaining quota.
    pub left: Quota,
}

impl Limit {
    fn new(limiter: Arc<Limiter>) -> Self {
        let rate = limiter.rate();
        let own = limiter.scope(clock::now()).map(|_| LimitScope::Local);
        Self {
            policy: policy("tenant", rate, own),
            fleet_policy: policy("tenant", rate, Some(LimitScope::Fleet)),
            limiter,
        }
    }

    fn policy(&self, scope: Option<LimitScope>) -> HeaderValue {
        match scope {
            Some(LimitScope::Fleet) => self.fleet_policy.clone(),
            // A share changes with the number of gateways.
            Some(LimitScope::Local) if self.limiter.is_leased() => {
                policy("tenant", self.limiter.rate_in(scope), scope)
            }
            None | Some(LimitScope::Local) => self.policy.clone(),
        }
    }
}

impl Tenant {
    /// A tenant with everything it owns.
    pub(crate) fn new(
        settings: &TenantSettings,
        passthroughs: Vec<Arc<PassthroughEndpoint>>,
        limiter: Option<Arc<Limiter>>,
        caches: Caches,
        upstream: Arc<Upstream>,
        waits: Waits,
        metrics: Arc<TenantMetrics>,
    ) -> Self {
        let limit = limiter.map(Limit::new);
        Self {
            name: settings.name.clone(),
            token_hashes: settings.token_hashes.clone(),
            limit,
            routes: settings.routes,
            passthroughs,
            caches,
            upstream,
            waits,
            metrics,
        }
    }

    pub(crate) const fn name(&self) -> &TenantName {
        &self.name
    }

    pub(super) fn token_hashes(&self) -> &[TokenHash] {
        &self.token_hashes
    }

    /// Whether its tokens are exactly those in `settings`.
    pub(crate) fn has_same_tokens(&self, settings: &TenantSettings) -> bool {
        let digests = |hashes: &[TokenHash]| {
            hashes.iter().map(|hash| hash.to_hex()).collect::<std::collections::BTreeSet<_>>()
        };
        digests(&self.token_hashes) == digests(&settings.token_hashes)
    }

    /// Removes one call's entry, keeps fetches in flight from restoring it, and lets waiters for the call get only
    /// what is fetched from now on.
    pub(crate) fn purge_call(&self, id: &CallId) -> TenantPurge {
        // First: a lookup that begins in the emptied cache must not restore it from below.
        let raised = self.disk().map(|disk| (disk, disk.raise_call(id)));
        let entries = self.caches.calls.purge_call(id);
        self.caches.lists.purge();
        // Last: a response from before the purge of the cache must not count as sent after it.
        self.caches.watches.purged(id, clock::now());
        TenantPurge { entries, erasure: raised.map(|(disk, raised)| disk.erase(raised)) }
    }

    /// The same for every call. Not for the request path.
    pub(crate) fn purge_all(&self) -> TenantPurge {
        let raised = self.disk().map(|disk| (disk, disk.raise_all()));
        let entries = self.caches.calls.purge_all();
        self.caches.lists.purge();
        self.caches.watches.purged_all(clock::now());
        TenantPurge { entries, erasure: raised.map(|(disk, raised)| disk.erase(raised)) }
    }

    /// Empties its memory, and nothing below.
    pub(crate) fn forget_memory(&self) {
        self.caches.calls.purge_all();
        self.caches.lists.purge();
        self.caches.watches.purged_all(clock::now());
    }

    /// Charges one request to its rate limit.
    pub(crate) fn charge(&self, now: Instant) -> Charged {
        let Some(limit) = &self.limit else {
            return Charged { shown: None, verdict: Ok(()) };
        };
        let state = |left: Quota| Some(LimitState { policy: limit.policy(left.scope), left });
        match limit.limiter.take(now) {
            Ok(left) => Charged { shown: state(left), verdict: Ok(()) },
            Err(spent) => {
                self.metrics.count_rate_limited(LimitLabel::Tenant);
                let refusal = Refusal::TenantLimit { retry_after: spent.retry_after };
                Charged { shown: state(spent.left), verdict: Err(refusal) }
            }
        }
    }

    /// The result that [`charge`](Self::charge) would have now, without taking anything; `None` without a limit.
    pub(crate) fn would_charge(&self, now: Instant) -> Option<(Quota, Result<(), Refusal>)> {
        let Limit { limiter, .. } = self.limit.as_ref()?;
        Some(match limiter.look(now) {
            Ok(left) => (left, Ok(())),
            Err(spent) => (spent.left, Err(Refusal::TenantLimit { retry_after: spent.retry_after })),
        })
    }

    /// The remaining quota of its upstream budget, as shown to clients; `None` without one.
    pub(crate) fn upstream_limit(&self, now: Instant) -> Option<LimitState> {
        let budget = self.upstream.budget()?;
        let left = budget.left(now);
        Some(LimitState { policy: policy("upstream", budget.rate_in(left.scope), left.scope), left })
    }

    /// Shows which of its limits hold for this gateway alone, although a fleet shares them.
    pub(crate) fn show_fallback(&self, now: Instant) {
        let limits = [(LimitLabel::Tenant, self.limiter()), (LimitLabel::Upstream, self.upstream.budget())];
        for (label, limiter) in limits {
            let (Some(limiter), Some(shown)) = (limiter, self.metrics.leases.get(label as usize)) else {
                continue;
            };
            let is_local = limiter.scope(now) == Some(LimitScope::Local);
            shown.fallback.set(u64::from(is_local && limiter.is_leased()));
        }
    }

    /// Its rate limiter, for a configuration that keeps it.
    pub(crate) fn limiter(&self) -> Option<&Arc<Limiter>> {
        self.limit.as_ref().map(|limit| &limit.limiter)
    }

    pub(crate) const fn cache(&self) -> &Arc<TenantCache> {
        &self.caches.calls
    }

    /// Its part of the disk level, if there is one for it.
    pub(crate) const fn disk(&self) -> Option<&Arc<TenantDisk>> {
        self.caches.disk.as_ref()
    }

    /// Its part of the shared level, if its calls are kept there.
    pub(crate) fn shared(&self) -> Option<&Arc<TenantShared>> {
        self.caches.shared.as_ref().filter(|shared| shared.is_stored())
    }

    /// Whether it has any level below memory.
    pub(crate) fn has_levels(&self) -> bool {
        self.caches.disk.is_some() || self.shared().is_some()
    }

    /// Tells the fleet, if there is one, that a call is gone. Does not wait.
    pub(crate) fn announce_removal(&self, id: &CallId) {
        if let Some(shared) = &self.caches.shared {
            shared.remove(id);
        }
    }

    /// Identifies its keys without revealing them, where a fleet compares them.
    pub(crate) fn key_ids(&self) -> Option<Vec<u8>> {
        self.caches.shared.as_ref().map(|shared| shared.key_ids())
    }

    pub(crate) const fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// The limits on waiting lookups.
    pub(crate) const fn waits(&self) -> &Waits {
        &self.waits
    }

    pub(crate) const fn lists(&self) -> &Arc<Lists> {
        &self.caches.lists
    }

    /// The further endpoints that it may use.
    pub(crate) fn passthroughs(&self) -> &[Arc<PassthroughEndpoint>] {
        &self.passthroughs
    }

    /// The routes that it may use.
    pub(crate) const fn routes(&self) -> RouteAccess {
        self.routes
    }

    /// Lookups that wait until a call is final.
    pub(crate) const fn watches(&self) -> &Arc<Watches> {
        &self.caches.watches
    }

    pub(crate) const fn metrics(&self) -> &Arc<TenantMetrics> {
        &self.metrics
    }
}

/// `RateLimit-Policy` of draft-ietf-httpapi-ratelimit-headers, with for whom the limit holds where that is a question.
fn policy(name: &'static str, rate: Rate, scope: Option<LimitScope>) -> HeaderValue {
    let scope = scope.map(|scope| format!(";scope={}", scope.label())).unwrap_or_default();
    let text = format!("\"{name}\";q={};w={}{scope}", rate.burst, rate.window_seconds());
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
