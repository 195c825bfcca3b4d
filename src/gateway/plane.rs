//! [`Gateway`]: the parts of the data plane.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::cutoff::Cutoff;
use super::fetch_task::FetchSpawner;
use super::snapshot::{Snapshot, Snapshots};
use super::wait_drain::WaitDrain;
use crate::clock::WallClock;
use crate::fleet::Fleet;
use crate::server::DrainWatch;
use crate::telemetry::Telemetry;

/// The data plane.
pub(crate) struct Gateway {
    /// The configuration in force.
    pub(crate) snapshots: Snapshots,
    pub(crate) telemetry: Arc<Telemetry>,
    /// For the dates in envelopes.
    pub(crate) wall: WallClock,
    /// Tasks beside the requests.
    pub(crate) tasks: TaskTracker,
    pub(crate) fetches: FetchSpawner,
    pub(crate) cutoff: Cutoff,
    pub(super) wait_drain: WaitDrain,
    /// The gateways that it shares purges and calls with, if it does.
    pub(crate) fleet: Option<Arc<Fleet>>,
}

impl Gateway {
    /// A data plane with this configuration, whose waits end when `drain` begins.
    pub(crate) fn new(
        snapshot: Arc<Snapshot>,
        telemetry: Arc<Telemetry>,
        wall: WallClock,
        fetches: FetchSpawner,
        drain: DrainWatch,
        fleet: Option<Arc<Fleet>>,
    ) -> Self {
        Self {
            snapshots: Snapshots::from(snapshot),
            telemetry,
            wall,
            tasks: fetches.tasks().clone(),
            fetches,
            cutoff: Cutoff::new(),
            wait_drain: WaitDrain::new(drain),
            fleet,
        }
    }

    /// Puts another configuration in force. Waits end for tenants that are gone, or have other tokens or keys.
    pub(crate) fn replace(&self, next: Arc<Snapshot>) {
        let old = self.snapshots.swap(Arc::clone(&next));
        for tenant in old.directory.all() {
            let same = next.directory.named(tenant.name());
            if same.is_none_or(|same| !Arc::ptr_eq(same.watches(), tenant.watches())) {
                tenant.watches().close();
            }
            // Nothing of a tenant that is gone stays on the disk.
            if let Some(disk) = tenant.disk().filter(|_| same.is_none_or(|same| same.disk().is_none())) {
                disk.retire();
            }
        }
    }
}
