//! Executes purges, and counts the removed entries.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::route::Scope;
use crate::clock;
use crate::domain::TenantName;
use crate::gateway::{Gateway, Snapshot, UnknownTenant};
use crate::levels::Erasure;
use crate::tenant::{Tenant, TenantPurge};

/// How long a purge waits for the disk.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, Default, Serialize)]
pub(crate) struct PurgeOutcome {
    pub(crate) purged: u64,
    /// The tenants whose disk still has to be erased.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) unerased: Vec<String>,
}

/// A tenant's part of a purge.
struct PurgePart {
    tenant: TenantName,
    entries: u64,
    erasure: Option<Erasure>,
}

/// Removes everything in `scope`, from the disk too. Run it off the runtime: a cache may be large, and a disk slow.
pub(crate) fn purge(gateway: &Gateway, scope: &Scope) -> Result<PurgeOutcome, UnknownTenant> {
    let mut parts = Vec::new();
    loop {
        let snapshot = gateway.snapshots.load();
        purge_in(&snapshot, scope, &mut parts)?;
        // A reload may have replaced caches meanwhile.
        if Arc::ptr_eq(&snapshot, &gateway.snapshots.load()) {
            return Ok(erased(parts));
        }
    }
}

fn purge_in(snapshot: &Snapshot, scope: &Scope, parts: &mut Vec<PurgePart>) -> Result<(), UnknownTenant> {
    let part = |tenant: &Tenant, TenantPurge { entries, erasure }| PurgePart {
        tenant: tenant.name().clone(),
        entries,
        erasure,
    };
    match scope {
        Scope::All => parts.extend(snapshot.directory.all().map(|tenant| part(tenant, tenant.purge_all()))),
        Scope::Tenant(name) => parts.extend([named(snapshot, name)?].map(|one| part(one, one.purge_all()))),
        Scope::Call(name, id) => {
            parts.extend([named(snapshot, name)?].map(|one| part(one, one.purge_call(id))))
        }
    }
    Ok(())
}

/// Waits until the disks are erased, all together for no longer than [`PATIENCE`].
fn erased(parts: Vec<PurgePart>) -> PurgeOutcome {
    let deadline = clock::now() + PATIENCE;
    let mut all = PurgeOutcome::default();
    for PurgePart { tenant, entries, erasure } in parts {
        let left = deadline.duration_since(clock::now());
        match erasure.map(|erasure| erasure.wait(left)) {
            None => all.purged += entries,
            // Entries in memory are on the disk, too.
            Some(Ok(erased)) => all.purged += entries.max(erased),
            Some(Err(_)) => {
                all.purged += entries;
                all.unerased.push(tenant.to_string());
            }
        }
    }
    all
}

fn named<'a>(snapshot: &'a Snapshot, name: &TenantName) -> Result<&'a Tenant, UnknownTenant> {
    snapshot.directory.named(name).map(|tenant| &**tenant).ok_or(UnknownTenant)
}
