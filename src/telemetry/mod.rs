//! What the gateway tells of itself: every metric with its labels as enums, the record of a request
//! and its access line, logs, the trace context that is passed on.
//!
//! Knows no cache, upstream or socket: whoever has a figure puts it here.

mod counter;
mod families;
mod log;
mod metrics;
mod record;
mod spans;
mod tenant;
mod times;
mod trace_context;

pub use counter::Gauge;
pub use log::{CallHasher, LogControl, start as start_log};
pub use metrics::{BUCKETS, Metrics, Reloads};
pub use prometheus::Error as MetricsError;
pub use record::{Closing, Record, Telemetry};
pub use spans::Spans;
pub use tenant::{Eviction, LimitLabel, TenantMetrics, UpstreamFailure};
pub use times::Times;
pub use trace_context::{TRACEPARENT, TraceContext};

/// The program's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit it was built from, as far as the build could tell.
pub const REVISION: &str = env!("CREDIRA_GATEWAY_REVISION");
