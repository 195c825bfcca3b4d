//! Executes purges, and counts the removed entries.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::clock;
use crate::domain::{PurgeTarget, TenantName};
use crate::fleet::PurgeReach;
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
    /// How far it has come in the fleet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) gateways: Option<PurgeReach>,
    /// Gateways that have not applied it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) missing: Vec<String>,
    /// The fleet has not heard of it.
    #[serde(skip)]
    pub(crate) is_owed: bool,
}

impl PurgeOutcome {
    /// Whether nothing older is left anywhere, as far as anything is heard of it.
    pub(crate) const fn is_complete(&self) -> bool {
        self.unerased.is_empty() && self.missing.is_empty() && !self.is_owed
    }
}

/// A tenant's part of a purge.
struct PurgePart {
    tenant: TenantName,
    entries: u64,
    erasure: Option<Erasure>,
}

/// Removes everything in `scope`, from the disk too. Run it off the runtime: a cache may be large, and a disk slow.
pub(crate) fn purge(gateway: &Gateway, scope: &PurgeTarget) -> Result<PurgeOutcome, UnknownTenant> {
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

/// Applies purges of other gateways, and returns how many could be applied: all, or none if a disk could not be erased.
/// A tenant that is not configured has nothing here. Blocks.
pub(crate) fn purge_here(gateway: &Gateway, targets: &[PurgeTarget]) -> usize {
    let mut parts = Vec::new();
    loop {
        let snapshot = gateway.snapshots.load();
        for target in targets {
            let _ = purge_in(&snapshot, target, &mut parts);
        }
        if Arc::ptr_eq(&snapshot, &gateway.snapshots.load()) {
            return if erased(parts).unerased.is_empty() { targets.len() } else { 0 };
        }
    }
}

fn purge_in(
    snapshot: &Snapshot,
    scope: &PurgeTarget,
    parts: &mut Vec<PurgePart>,
) -> Result<(), UnknownTenant> {
    let part = |tenant: &Tenant, TenantPurge { entries, erasure }| PurgePart {
        tenant: tenant.name().clone(),
        entries,
        erasure,
    };
    match scope {
        PurgeTarget::All => {
            parts.extend(snapshot.directory.all().map(|tenant| part(tenant, tenant.purge_all())))
        }
        PurgeTarget::Tenant(name) => {
            parts.extend([named(snapshot, name)?].map(|one| part(one, one.purge_all())))
        }
        PurgeTarget::Call(name, id) => {
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
