//! The caches of a gateway, which purges of its fleet are applied to.

use std::sync::Arc;

use crate::admin::purge_here;
use crate::domain::{PurgeTarget, TenantName};
use crate::fleet::{FleetWorld, WorldFuture};
use crate::gateway::Gateway;

/// The caches of a gateway.
pub(super) struct GatewayWorld(pub(super) Arc<Gateway>);

impl FleetWorld for GatewayWorld {
    fn apply(&self, targets: Vec<PurgeTarget>) -> WorldFuture<'_, usize> {
        let gateway = Arc::clone(&self.0);
        let purging = tokio::task::spawn_blocking(move || purge_here(&gateway, &targets));
        Box::pin(async move { purging.await.unwrap_or(0) })
    }

    fn forget_memory(&self) -> WorldFuture<'_, ()> {
        let snapshot = self.0.snapshots.load_full();
        let forgetting = tokio::task::spawn_blocking(move || {
            snapshot.directory.all().for_each(|tenant| tenant.forget_memory());
        });
        // A panic has been logged already.
        Box::pin(async move { drop(forgetting.await) })
    }

    fn tenants(&self) -> Vec<TenantName> {
        self.0.snapshots.load().directory.all().map(|tenant| tenant.name().clone()).collect()
    }

    fn keys(&self) -> Vec<u8> {
        let snapshot = self.0.snapshots.load();
        let mut all: Vec<_> = snapshot
            .directory
            .all()
            .filter_map(|tenant| Some([tenant.name().as_str().as_bytes(), &[0], &tenant.key_ids()?].concat()))
            .collect();
        all.sort_unstable();
        all.concat()
    }
}
