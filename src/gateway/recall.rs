//! The level below memory in the story of a lookup: asked by the leader of a fetch before the upstream, and written
//! behind the answer.

use std::sync::Arc;

use serde::Serialize;

use super::lookup_context::LookupContext;
use super::snapshot::Snapshot;
use crate::cache::{BothClocks, Entry, StoreChange, UnusableEntry};
use crate::clock;
use crate::config::CacheSettings;
use crate::domain::{CallId, Level, Mark};
use crate::levels::{EntryStamp, RecallResult, TenantDisk};
use crate::telemetry::LevelResult;
use crate::tenant::Tenant;

/// Requests a call from the tenant's disk, once, and counts the result. Finds nothing if the tenant has none.
pub(super) async fn recall(context: &LookupContext) -> Option<Arc<Entry>> {
    let LookupContext { tenant, policy, id, .. } = context;
    let disk = tenant.disk()?;
    let found = look(disk, tenant, policy, id).await;
    let count = |result| tenant.metrics().disk.count_request(result);
    match found {
        Ok(entry) => {
            let is_fresh = entry.freshness(policy, clock::now()).is_fresh();
            count(if is_fresh { LevelResult::Hit } else { LevelResult::Stale });
            Some(entry)
        }
        Err(result) => {
            count(result);
            if result == LevelResult::Invalid {
                disk.remove(id);
            }
            None
        }
    }
}

/// The result that a recall would have.
async fn look(
    disk: &TenantDisk,
    tenant: &Tenant,
    policy: &CacheSettings,
    id: &CallId,
) -> Result<Arc<Entry>, LevelResult> {
    let opened = match disk.recall(id, tenant.upstream().keys().place_in_use()).await {
        RecallResult::Found(opened) => opened,
        RecallResult::Nothing(result) => return Err(result),
    };
    let now = BothClocks { monotonic: clock::now(), wall: disk.now() };
    let jitter = fastrand::u16(0..=1000);
    let entry = Entry::decode(&opened.bytes, opened.stamp.receipt, id, policy, now, jitter);
    entry.map_err(|unusable| match unusable {
        UnusableEntry::Invalid => LevelResult::Invalid,
        UnusableEntry::Skew => LevelResult::Skew,
        UnusableEntry::Refused => LevelResult::Refused,
        UnusableEntry::Spent => LevelResult::Miss,
    })
}

/// Queues the changes in memory by a fetch that began at `mark` for the disk. Does not wait.
pub(super) fn write_behind(context: &LookupContext, mark: Option<Mark>, change: StoreChange<'_>) {
    let LookupContext { tenant, policy, id, .. } = context;
    let (Some(disk), Some(mark)) = (tenant.disk(), mark) else { return };
    match change {
        StoreChange::Stored(entry) => {
            let now = BothClocks { monotonic: clock::now(), wall: disk.now() };
            if let Some(encoded) = entry.encode(policy, now) {
                let stamp = EntryStamp { mark, receipt: encoded.receipt };
                let key = tenant.upstream().keys().place_in_use();
                disk.store(id, key, stamp, encoded.spent_at, encoded.bytes);
            }
        }
        StoreChange::Removed => disk.remove(id),
        StoreChange::Unchanged => {}
    }
}

/// A level's entry of a call.
#[derive(Debug, Serialize)]
pub(crate) struct HeldEntry {
    level: &'static str,
    found: bool,
    /// In seconds.
    age: Option<u64>,
    ttl: Option<i64>,
    bytes: Option<usize>,
}

/// A call as the levels hold it now.
pub(crate) struct HeldCall {
    pub(crate) memory: Option<Arc<Entry>>,
    /// Where memory has nothing of use.
    pub(crate) below: Option<Arc<Entry>>,
    pub(crate) levels: Vec<HeldEntry>,
}

/// Looks a call up in all levels, and changes and counts nothing.
pub(crate) async fn held(snapshot: &Snapshot, tenant: &Tenant, id: &CallId) -> HeldCall {
    let policy = &snapshot.policy;
    let memory = tenant.cache().current().entry(id);
    let mut levels = vec![HeldEntry::of("memory", memory.as_ref(), policy)];
    let mut below = None;
    if let Some(disk) = tenant.disk() {
        below = look(disk, tenant, policy, id).await.ok();
        levels.push(HeldEntry::of(Level::Disk.label(), below.as_ref(), policy));
    }
    let is_of_use =
        |entry: &Arc<Entry>| !entry.is_negative() || entry.freshness(policy, clock::now()).is_fresh();
    let below = below.filter(|_| !memory.as_ref().is_some_and(is_of_use));
    HeldCall { memory, below, levels }
}

impl HeldEntry {
    fn of(level: &'static str, entry: Option<&Arc<Entry>>, policy: &CacheSettings) -> Self {
        let freshness = entry.map(|entry| entry.freshness(policy, clock::now()));
        Self {
            level,
            found: entry.is_some(),
            age: freshness.map(|freshness| freshness.age_seconds()),
            ttl: freshness.map(|freshness| freshness.ttl()),
            bytes: entry.map(|entry| entry.weight()),
        }
    }
}
