//! Purging: removes what the path names, and counts it.

use std::sync::Arc;

use super::route::Scope;
use crate::domain::TenantName;
use crate::gateway::{Gateway, Snapshot};
use crate::tenant::Tenant;

/// There is no tenant of that name.
pub struct NoTenant;

/// Removes everything in `scope` and says how much it was. Not for the runtime: a cache may be large.
pub fn purge(gateway: &Gateway, scope: &Scope) -> Result<u64, NoTenant> {
    let mut purged = 0;
    loop {
        let snapshot = gateway.snapshots.load();
        purged += purge_in(&snapshot, scope, gateway)?;
        // A reload may have put other caches in place meanwhile.
        if Arc::ptr_eq(&snapshot, &gateway.snapshots.load()) {
            return Ok(purged);
        }
    }
}

fn purge_in(snapshot: &Snapshot, scope: &Scope, gateway: &Gateway) -> Result<u64, NoTenant> {
    match scope {
        Scope::All => Ok(snapshot.directory.all().map(|tenant| purge_all(tenant)).sum()),
        Scope::Tenant(name) => Ok(purge_all(named(snapshot, name)?)),
        Scope::Call(name, id) => {
            let purged = named(snapshot, name)?.cache().purge_call(id);
            let call = gateway.telemetry.call_for_log(id);
            tracing::info!(tenant = name.as_str(), call, purged, "purged a call");
            Ok(purged)
        }
    }
}

fn named<'a>(snapshot: &'a Snapshot, name: &TenantName) -> Result<&'a Tenant, NoTenant> {
    snapshot.directory.named(name).map(|tenant| &**tenant).ok_or(NoTenant)
}

fn purge_all(tenant: &Tenant) -> u64 {
    let purged = tenant.cache().purge_all();
    tracing::info!(tenant = tenant.name().as_str(), purged, "purged a tenant's cache");
    purged
}
