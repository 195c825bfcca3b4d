//! The levels below memory in the story of a lookup: asked by the leader of a fetch before the upstream, and written
//! behind the answer.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::below_memory::BelowMemory;
use super::lookup_context::LookupContext;
use super::snapshot::Snapshot;
use crate::cache::{BothClocks, Entry, StoreChange, UnusableEntry};
use crate::clock;
use crate::config::CacheSettings;
use crate::domain::{CallId, Level, Mark};
use crate::levels::{
    CallClaim, ClaimWish, EntryStamp, OpenedEntry, RecallResult, SharedResult, TenantDisk, TenantShared,
};
use crate::telemetry::{LevelResult, TenantLevelMetrics};
use crate::tenant::Tenant;

/// What the levels below memory have.
#[derive(Default)]
pub(super) struct Recalled {
    pub(super) found: Option<(Level, Arc<Entry>)>,
    /// Held while the call is fetched.
    pub(super) claim: Option<CallClaim>,
    /// Another gateway fetches the call.
    pub(super) is_claimed_elsewhere: bool,
    /// The longest wait for the engine of a fleet.
    pub(super) engine_took: Duration,
}

/// Asks the tenant's levels for a call, each once, and counts the results. `entry` is what memory has.
pub(super) async fn recall(
    context: &LookupContext,
    below: BelowMemory,
    entry: Option<&Arc<Entry>>,
    wish: ClaimWish,
) -> Recalled {
    if matches!(below, BelowMemory::First | BelowMemory::Only)
        && let Some(entry) = recall_from_disk(context).await
    {
        return Recalled { found: Some((Level::Disk, entry)), ..Recalled::default() };
    }
    match (below, context.tenant.shared()) {
        (BelowMemory::Skipped, _) | (_, None) => Recalled::default(),
        (_, Some(shared)) => recall_from_fleet(context, shared, entry, wish).await,
    }
}

async fn recall_from_disk(context: &LookupContext) -> Option<Arc<Entry>> {
    let LookupContext { tenant, policy, id, .. } = context;
    let disk = tenant.disk()?;
    let found = look_on_disk(disk, tenant, policy, id).await;
    count(&tenant.metrics().disk, policy, found.as_ref().map_err(|why| *why), false);
    if matches!(found, Err(LevelResult::Invalid)) {
        disk.remove(id);
    }
    found.ok()
}

async fn recall_from_fleet(
    context: &LookupContext,
    shared: &TenantShared,
    entry: Option<&Arc<Entry>>,
    wish: ClaimWish,
) -> Recalled {
    let LookupContext { tenant, policy, id, .. } = context;
    // A purge from here on must keep what is found from being written to disk.
    let mark = tenant.disk().and_then(|disk| disk.mark());
    let newer_than = entry.map(|entry| entry.inputs.received_at().as_second());
    let place = tenant.upstream().keys().place_in_use();
    let SharedResult { found, claim, is_claimed_elsewhere, has_waited, engine_took } =
        shared.ask(id, place, wish, newer_than).await;
    let found = found.and_then(|opened| {
        let entry = decode(&opened, id, policy, shared.now())?;
        Ok((entry, opened))
    });
    let counted = found.as_ref().map(|(entry, _)| entry).map_err(|why| *why);
    count(&tenant.metrics().shared, policy, counted, has_waited);
    let Ok((entry, OpenedEntry { stamp, .. })) = found else {
        return Recalled { found: None, claim, is_claimed_elsewhere, engine_took };
    };
    if let (Some(disk), Some(mark)) = (tenant.disk(), mark) {
        write_to_disk(disk, context, &entry, EntryStamp { mark, ..stamp });
    }
    Recalled { found: Some((Level::Shared, entry)), ..Recalled::default() }
}

fn count(
    metrics: &TenantLevelMetrics,
    policy: &CacheSettings,
    found: Result<&Arc<Entry>, LevelResult>,
    has_waited: bool,
) {
    metrics.count_request(match found {
        Ok(_) if has_waited => LevelResult::Awaited,
        Ok(entry) if entry.freshness(policy, clock::now()).is_fresh() => LevelResult::Hit,
        Ok(_) => LevelResult::Stale,
        Err(result) => result,
    });
}

/// The result that a recall from disk would have.
async fn look_on_disk(
    disk: &TenantDisk,
    tenant: &Tenant,
    policy: &CacheSettings,
    id: &CallId,
) -> Result<Arc<Entry>, LevelResult> {
    match disk.recall(id, tenant.upstream().keys().place_in_use()).await {
        RecallResult::Found(opened) => decode(&opened, id, policy, disk.now()),
        RecallResult::Nothing(result) => Err(result),
    }
}

/// The result that a recall from the shared level would have.
async fn look_at_fleet(
    shared: &TenantShared,
    tenant: &Tenant,
    policy: &CacheSettings,
    id: &CallId,
) -> Result<Arc<Entry>, LevelResult> {
    let place = tenant.upstream().keys().place_in_use();
    let SharedResult { found, .. } = shared.ask(id, place, ClaimWish::None, None).await;
    decode(&found?, id, policy, shared.now())
}

fn decode(
    opened: &OpenedEntry,
    id: &CallId,
    policy: &CacheSettings,
    wall: jiff::Timestamp,
) -> Result<Arc<Entry>, LevelResult> {
    let now = BothClocks { monotonic: clock::now(), wall };
    let jitter = fastrand::u16(0..=1000);
    let entry = Entry::decode(&opened.bytes, opened.stamp.receipt, id, policy, now, jitter);
    entry.map_err(|unusable| match unusable {
        UnusableEntry::Invalid => LevelResult::Invalid,
        UnusableEntry::Skew => LevelResult::Skew,
        UnusableEntry::Refused => LevelResult::Refused,
        UnusableEntry::Spent => LevelResult::Miss,
    })
}

/// When a fetch began, for each level below memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct FetchMarks {
    disk: Option<Mark>,
    shared: Option<Mark>,
}

impl FetchMarks {
    /// Those of a fetch that begins now: a purge from here on keeps its response from being written.
    pub(super) fn of(tenant: &Tenant) -> Self {
        Self {
            disk: tenant.disk().and_then(|disk| disk.mark()),
            shared: tenant.shared().and_then(|shared| shared.mark()),
        }
    }
}

/// Queues the changes in memory by a fetch that began at `marks` for the levels below. Does not wait. `had_call` is
/// whether there was a call that others may have, too.
pub(super) fn write_behind(
    context: &LookupContext,
    marks: FetchMarks,
    claim: Option<CallClaim>,
    had_call: bool,
    change: StoreChange<'_>,
) {
    let LookupContext { tenant, policy, id, .. } = context;
    match change {
        StoreChange::Stored(entry) => {
            if let (Some(disk), Some(mark)) = (tenant.disk(), marks.disk) {
                let receipt = entry.inputs.received_at().as_second();
                write_to_disk(disk, context, entry, EntryStamp { mark, receipt });
            }
            if let (Some(shared), Some(mark)) = (tenant.shared(), marks.shared) {
                let now = BothClocks { monotonic: clock::now(), wall: shared.now() };
                if let Some(encoded) = entry.encode(policy, now) {
                    let stamp = EntryStamp { mark, receipt: encoded.receipt };
                    let key = tenant.upstream().keys().place_in_use();
                    shared.store(id, key, stamp, encoded.spent_at, &encoded.bytes, claim);
                }
            }
        }
        StoreChange::Removed => {
            if let Some(disk) = tenant.disk() {
                disk.remove(id);
            }
            if had_call {
                tenant.announce_removal(id);
            }
        }
        StoreChange::Unchanged => {}
    }
}

fn write_to_disk(disk: &TenantDisk, context: &LookupContext, entry: &Entry, stamp: EntryStamp) {
    let now = BothClocks { monotonic: clock::now(), wall: disk.now() };
    if let Some(encoded) = entry.encode(&context.policy, now) {
        let key = context.tenant.upstream().keys().place_in_use();
        disk.store(&context.id, key, stamp, encoded.spent_at, encoded.bytes);
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
#[derive(Default)]
pub(crate) struct HeldCall {
    memory: Option<Arc<Entry>>,
    disk: Option<Arc<Entry>>,
    shared: Option<Arc<Entry>>,
    levels: Vec<HeldEntry>,
}

impl HeldCall {
    /// The entries that a lookup would get from below memory, in its order.
    pub(super) fn recalled(&self, below: BelowMemory) -> impl Iterator<Item = (Level, &Arc<Entry>)> {
        let asks_disk = matches!(below, BelowMemory::First | BelowMemory::Only);
        let disk = self.disk.as_ref().filter(|_| asks_disk);
        let newer_than = disk.or(self.memory.as_ref()).map(|entry| entry.inputs.received_at());
        let is_newer = move |entry: &&Arc<Entry>| {
            newer_than.is_none_or(|than| entry.inputs.received_at().as_second() > than.as_second())
        };
        let shared = self.shared.as_ref().filter(|_| below != BelowMemory::Skipped).filter(is_newer);
        let disk = disk.map(|entry| (Level::Disk, entry));
        disk.into_iter().chain(shared.map(|entry| (Level::Shared, entry)))
    }

    /// What the first level that has something has.
    pub(crate) fn first(self) -> (Option<Arc<Entry>>, Vec<HeldEntry>) {
        (self.memory.or(self.disk).or(self.shared), self.levels)
    }
}

/// Looks a call up in all levels, and changes and counts nothing.
pub(crate) async fn held(snapshot: &Snapshot, tenant: &Tenant, id: &CallId) -> HeldCall {
    let policy = &snapshot.policy;
    let memory = tenant.cache().current().entry(id);
    let mut held =
        HeldCall { levels: vec![HeldEntry::of("memory", memory.as_ref(), policy)], ..HeldCall::default() };
    held.memory = memory;
    if let Some(disk) = tenant.disk() {
        held.disk = look_on_disk(disk, tenant, policy, id).await.ok();
        held.levels.push(HeldEntry::of(Level::Disk.label(), held.disk.as_ref(), policy));
    }
    if let Some(shared) = tenant.shared() {
        held.shared = look_at_fleet(shared, tenant, policy, id).await.ok();
        held.levels.push(HeldEntry::of(Level::Shared.label(), held.shared.as_ref(), policy));
    }
    held
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
