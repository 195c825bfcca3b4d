//! Where the numbers of all metrics live.

use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;

use super::connections::{ClosedConnections, Plane};
use super::counter::{CodeCounter, Counter, Gauge, StatusCounter};
use super::fleet::FleetMetrics;
use super::levels::LevelMetrics;
use super::log::LogDrops;
use super::tenant::TenantMetrics;

/// Numbers shared by the request path and the scrape.
pub(crate) struct Shared {
    /// The tenants of the running configuration.
    pub(super) tenants: ArcSwap<Vec<Arc<TenantMetrics>>>,
    /// Requests without a valid tenant.
    pub(super) unauthenticated: StatusCounter,
    pub(super) refusals: CodeCounter,
    pub(super) requests_in_flight: Gauge,
    pub(super) connections: Arc<Gauge>,
    /// By plane, in the order of [`Plane::ALL`].
    pub(super) closed: [Arc<ClosedConnections>; Plane::ALL.len()],
    /// Of the disk level.
    pub(super) disk: Arc<LevelMetrics>,
    /// Of the shared level.
    pub(super) shared: Arc<LevelMetrics>,
    pub(super) fleet: Arc<FleetMetrics>,
    pub(super) log_drops: LogDrops,
    pub(super) reloads: Counter,
    pub(super) failed_reloads: Counter,
    /// Seconds since 1970.
    pub(super) last_reload: Gauge,
    /// 1 or 0.
    pub(super) last_reload_successful: Gauge,
    /// `None` without TLS.
    pub(super) certificate_expiry: ArcSwap<Option<Timestamp>>,
}
