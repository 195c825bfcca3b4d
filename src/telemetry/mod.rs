//! Observability: every metric with its labels as enums, each request's record and access line, logs, and the
//! propagated trace context.
//!
//! Knows no cache, upstream or socket; their owners report to it.

mod connections;
mod counter;
mod eviction;
mod families;
mod family;
mod fleet;
mod fleet_families;
mod histogram;
mod lease_families;
mod leases;
mod level_families;
mod levels;
mod log;
mod log_throttle;
mod media;
mod media_families;
mod metrics;
mod record;
mod shared;
mod spans;
mod streams;
mod tenant;
mod times;
mod trace_context;
mod upstream_failure;
mod wait_end;
mod waits;

pub(crate) use connections::{CloseReason, ClosedConnections, Plane};
pub(crate) use counter::Gauge;
pub(crate) use eviction::Eviction;
pub(crate) use fleet::FleetMetrics;
pub(crate) use leases::LeaseResult;
pub(crate) use levels::{LevelMetrics, LevelResult, TenantLevelMetrics, WriteResult};
pub(crate) use log::{CallHasher, Colour, LogControl, LogGuard, LogOptions, start as start_log};
pub(crate) use log_throttle::LogThrottle;
pub(crate) use media::StreamEnd;
pub(crate) use metrics::{Metrics, Reloads};
pub(crate) use prometheus::Error as MetricsError;
pub(crate) use record::{Closing, Coverage, Record, Sent, Telemetry, WaitRecord};
pub(crate) use spans::Spans;
pub(crate) use streams::StreamTally;
pub(crate) use tenant::KeyInUse;
pub(crate) use tenant::{LimitLabel, TenantMetrics};
pub(crate) use times::{BUCKETS, Times};
pub(crate) use trace_context::{TRACEPARENT, TraceContext};
pub(crate) use upstream_failure::UpstreamFailure;
pub(crate) use wait_end::WaitEnd;
pub(crate) use waits::WaitTally;

/// The program's version.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit it was built from, as far as the build could tell.
pub(crate) const REVISION: &str = env!("CREDIRA_GATEWAY_REVISION");
