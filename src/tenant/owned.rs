//! A tenant: its name, its tokens, and all that is its own.

use std::sync::Arc;

use http::HeaderValue;

use super::turnstile::{Room, Turnstile};
use crate::cache::Cache;
use crate::clock::Instant;
use crate::config::{Rate, Tenant as Settings};
use crate::domain::{Refusal, TenantName, TokenHash};
use crate::limits::{Left, Limiter};
use crate::telemetry::{LimitLabel, TenantMetrics};
use crate::upstream::Upstream;

/// One tenant's world. Reached only through its token, or by name on the admin plane.
pub struct Tenant {
    name: TenantName,
    token_hashes: Vec<TokenHash>,
    limit: Option<Limit>,
    cache: Arc<Cache>,
    upstream: Arc<Upstream>,
    waits: Waits,
    metrics: Arc<TenantMetrics>,
}

/// The bounds on a tenant's waiting lookups, and on the fetches that they wait for.
#[derive(Clone)]
pub struct Waits {
    /// The lookups.
    pub lookups: Turnstile,
    /// The fetches.
    pub fetches: Room,
}

impl Waits {
    /// At most `most` of each. No fetch is without a lookup but those whose clients have left.
    pub fn new(most: usize) -> Self {
        Self { lookups: Turnstile::new(most), fetches: Room::new(most) }
    }
}

/// The tenant's rate limit, with what clients are told of it.
struct Limit {
    limiter: Arc<Limiter>,
    policy: HeaderValue,
}

/// A request that the tenant's limit let through, or not, and what to tell of the limit.
#[derive(Debug)]
pub struct Charged {
    /// For `RateLimit-Policy` and `RateLimit`; `None` without a limit.
    pub told: Option<LimitState>,
    /// Whether it may go on.
    pub verdict: Result<(), Refusal>,
}

/// What the rate-limit headers say.
#[derive(Debug, Clone)]
pub struct LimitState {
    /// The whole value of `RateLimit-Policy`.
    pub policy: HeaderValue,
    /// What is left.
    pub left: Left,
}

impl Tenant {
    /// A tenant with what is its own.
    pub fn new(
        settings: &Settings,
        limiter: Option<Arc<Limiter>>,
        cache: Arc<Cache>,
        upstream: Arc<Upstream>,
        waits: Waits,
        metrics: Arc<TenantMetrics>,
    ) -> Self {
        let limit = limiter.map(|limiter| Limit { policy: policy(limiter.rate()), limiter });
        Self {
            name: settings.name.clone(),
            token_hashes: settings.token_hashes.clone(),
            limit,
            cache,
            upstream,
            waits,
            metrics,
        }
    }

    /// Its name.
    pub const fn name(&self) -> &TenantName {
        &self.name
    }

    /// Its tokens' digests.
    pub(super) fn token_hashes(&self) -> &[TokenHash] {
        &self.token_hashes
    }

    /// Charges one request to its rate limit.
    pub fn charge(&self, now: Instant) -> Charged {
        let Some(Limit { limiter, policy }) = &self.limit else {
            return Charged { told: None, verdict: Ok(()) };
        };
        let state = |left| Some(LimitState { policy: policy.clone(), left });
        match limiter.take(now) {
            Ok(left) => Charged { told: state(left), verdict: Ok(()) },
            Err(spent) => {
                self.metrics.count_rate_limited(LimitLabel::Tenant);
                let refusal = Refusal::TenantLimit { retry_after: spent.retry_after };
                Charged { told: state(spent.left), verdict: Err(refusal) }
            }
        }
    }

    /// What is left of its rate limit, without taking any; `None` without a limit.
    pub fn limit_left(&self, now: Instant) -> Option<Left> {
        self.limit.as_ref().map(|limit| limit.limiter.left(now))
    }

    /// Its rate limiter, for a configuration that goes on with it.
    pub fn limiter(&self) -> Option<&Arc<Limiter>> {
        self.limit.as_ref().map(|limit| &limit.limiter)
    }

    /// Its cache.
    pub const fn cache(&self) -> &Arc<Cache> {
        &self.cache
    }

    /// Its way to the upstream.
    pub const fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// The bounds on those who wait.
    pub const fn waits(&self) -> &Waits {
        &self.waits
    }

    /// Its numbers.
    pub const fn metrics(&self) -> &Arc<TenantMetrics> {
        &self.metrics
    }
}

/// `RateLimit-Policy` of draft-ietf-httpapi-ratelimit-headers.
fn policy(rate: Rate) -> HeaderValue {
    let text = format!("\"tenant\";q={};w={}", rate.burst, rate.window_seconds());
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("\"tenant\""))
}
