//! The configuration as one request sees it, all of it from one moment.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::config::{Cache as Policy, RateLimitHeaders};
use crate::tenant::{Directory, Turnstile};

/// One configuration.
pub struct Snapshot {
    /// Its tenants.
    pub directory: Directory,
    /// What may be stored, and for how long.
    pub policy: Arc<Policy>,
    /// How long a lookup may take.
    pub total_timeout: Duration,
    /// When rate-limit headers are sent.
    pub rate_limit_headers: RateLimitHeaders,
    /// The bound on waiting lookups of all tenants.
    pub in_flight: Turnstile,
}

/// The configuration in force.
pub type Snapshots = ArcSwap<Snapshot>;
