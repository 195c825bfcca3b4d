//! The configuration as seen by one request, all of it from one moment.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::Method;

use crate::config::{CacheSettings, RateLimitHeaders, WaitSettings};
use crate::domain::RouteAccess;
use crate::tenant::{ConcurrencyLimit, Directory};

pub(crate) struct Snapshot {
    pub directory: Directory,
    pub policy: Arc<CacheSettings>,
    /// How long a lookup may take.
    pub total_timeout: Duration,
    /// The methods for which some tenant may send a body.
    pub(crate) body_methods: Vec<Method>,
    /// How long lookups may wait until a call is final, and the limits on that.
    pub(crate) wait: WaitSettings,
    /// The routes to which calls have `Link` fields, where the tenant has them.
    pub(crate) links: RouteAccess,
    /// When rate-limit headers are sent.
    pub rate_limit_headers: RateLimitHeaders,
    /// The limit on waiting lookups of all tenants.
    pub in_flight: ConcurrencyLimit,
}

/// The configuration in force.
pub(crate) type Snapshots = ArcSwap<Snapshot>;
