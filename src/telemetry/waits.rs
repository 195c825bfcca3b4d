//! Counts of waits for a final call: each ends exactly once.

use std::sync::Arc;

use super::record::Telemetry;
use super::tenant::TenantMetrics;
use super::wait_end::WaitEnd;
use crate::clock::{self, Instant};

/// Counts one wait when it is dropped: as abandoned by its client, unless another end was set.
pub(crate) struct WaitTally {
    telemetry: Arc<Telemetry>,
    tenant: Arc<TenantMetrics>,
    began: Instant,
    end: WaitEnd,
}

impl WaitTally {
    pub(crate) fn begin(telemetry: &Arc<Telemetry>, tenant: &Arc<TenantMetrics>, now: Instant) -> Self {
        let (telemetry, tenant) = (Arc::clone(telemetry), Arc::clone(tenant));
        Self { telemetry, tenant, began: now, end: WaitEnd::Gone }
    }

    pub(crate) fn end(mut self, end: WaitEnd) {
        self.end = end;
    }
}

impl Drop for WaitTally {
    fn drop(&mut self) {
        self.tenant.count_wait(self.end);
        self.telemetry.metrics.time_wait(clock::now().duration_since(self.began));
    }
}
