//! The store: moka, bounded in bytes.
//!
//! Entries leave it to make room, or because somebody says so. moka's own clock is not used: a timer for
//! each entry costs every entry's room and every hit's time, and decides nothing, since whether an entry
//! may be served is judged by its facts alone. What is of no use any more is looked for now and then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use moka::notification::RemovalCause;
use moka::sync::Cache;
use rustc_hash::FxBuildHasher;

use super::admission::Entry;
use super::freeing::free_apart;
use super::stored_id::StoredId;
use crate::clock::Instant;
use crate::config::Cache as Policy;
use crate::domain::CallId;
use crate::telemetry::{Eviction, TenantMetrics};

/// What an entry costs beside its text: itself, its key, and moka's nodes and table. Measured as the
/// growth of the process's memory over 100,000 entries, less their bytes.
const OVERHEAD_BYTES: usize = 640;

/// Remembered 404s in one store: a client that makes up IDs must not push calls out.
const MAX_MISSING: u64 = 10_000;

/// A store of fewer entries is freed where it is dropped: that takes less than a millisecond.
const FREED_AT_ONCE: u64 = 1_000;

type Entries = Cache<StoredId, Arc<Entry>, FxBuildHasher>;

/// One tenant's entries.
pub struct Store {
    cache: Entries,
    missing: Arc<AtomicU64>,
    /// Dropped after `cache`, since it stands after it.
    _last: LastHold,
}

impl Store {
    /// An empty store of `max_bytes`. Entries that leave it by themselves are counted in `metrics`.
    pub fn new(max_bytes: u64, metrics: Arc<TenantMetrics>) -> Self {
        let missing = Arc::new(AtomicU64::new(0));
        let left = Arc::clone(&missing);
        let listener = move |_: Arc<StoredId>, entry: Arc<Entry>, cause: RemovalCause| {
            if entry.is_missing() {
                left.fetch_sub(1, Relaxed);
            }
            if let Some(cause) = eviction(cause) {
                metrics.count_evictions(cause, 1);
            }
        };
        let cache = Cache::builder()
            .max_capacity(max_bytes)
            .weigher(|_, entry: &Arc<Entry>| u32::try_from(weight(entry)).unwrap_or(u32::MAX))
            .eviction_listener(listener)
            .build_with_hasher(FxBuildHasher);
        let last = LastHold(Some(cache.clone()));
        Self { cache, missing, _last: last }
    }

    /// The entry of a call.
    pub fn get(&self, id: &CallId) -> Option<Arc<Entry>> {
        self.cache.get(id.as_bytes())
    }

    /// Keeps an entry, unless it is one remembered 404 too many: then what was there stays, and the
    /// answer is `false`.
    #[must_use]
    pub fn insert(&self, id: &CallId, entry: Arc<Entry>) -> bool {
        if entry.is_missing()
            && self.missing.fetch_add(1, Relaxed) >= MAX_MISSING
            && !self.get(id).is_some_and(|older| older.is_missing())
        {
            self.missing.fetch_sub(1, Relaxed);
            return false;
        }
        self.cache.insert(StoredId::of(id), entry);
        true
    }

    /// Removes a call's entry and returns it. Whoever asked for this counts it.
    pub fn remove(&self, id: &CallId) -> Option<Arc<Entry>> {
        self.cache.remove(id.as_bytes())
    }

    /// The calls whose entries are of no use any more. Looks at every entry: not for the request path.
    pub fn spent<'a>(&'a self, policy: &'a Policy, now: Instant) -> impl Iterator<Item = CallId> + 'a {
        let spent = self.cache.iter().filter(move |(_, entry)| entry.is_spent(policy, now));
        spent.filter_map(|(id, _)| CallId::parse(id.as_bytes()).ok())
    }

    /// Entries and their bytes, exact up to what is happening right now. Catches up with what is
    /// pending, which may take a while: not for the request path.
    pub fn size(&self) -> (u64, u64) {
        self.cache.run_pending_tasks();
        (self.cache.entry_count(), self.cache.weighted_size())
    }
}

/// The last hold on a store's entries: it frees them, and where there may be millions, apart.
struct LastHold(Option<Entries>);

impl Drop for LastHold {
    fn drop(&mut self) {
        if let Some(entries) = self.0.take().filter(|entries| entries.entry_count() >= FREED_AT_ONCE) {
            free_apart(entries);
        }
    }
}

/// What an entry weighs against the cache's size.
pub fn weight(entry: &Entry) -> usize {
    entry.reply.len() + OVERHEAD_BYTES
}

/// What the store does by itself; `None` for what it was told to do.
const fn eviction(cause: RemovalCause) -> Option<Eviction> {
    match cause {
        RemovalCause::Replaced => Some(Eviction::Replaced),
        RemovalCause::Size => Some(Eviction::Size),
        RemovalCause::Explicit | RemovalCause::Expired => None,
    }
}
