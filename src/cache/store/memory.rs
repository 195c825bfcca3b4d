//! The in-memory store: moka, bounded in bytes.
//!
//! Entries are evicted to make room, or removed explicitly. moka's own expiry is not used: its timer would cost every
//! entry memory and every hit time, and decide nothing, because freshness inputs decide whether an entry may be
//! served. A periodic sweep removes entries without any use.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use moka::notification::RemovalCause;
use moka::sync::Cache;
use rustc_hash::FxBuildHasher;

use super::emptying::{Entries, empty_in_background};
use super::entry::Entry;
use super::stored_id::StoredId;
use crate::clock::Instant;
use crate::config::CacheSettings;
use crate::domain::CallId;
use crate::telemetry::{Eviction, TenantMetrics};

/// The most negative entries in one store: a client that makes up IDs must not evict calls.
const MAX_NEGATIVE: u64 = 10_000;

/// A store with fewer entries is freed on drop, which takes less than a millisecond.
const FREED_AT_ONCE: u64 = 1_000;

/// One tenant's entries.
pub(crate) struct Store {
    cache: Entries,
    negatives: Arc<AtomicU64>,
}

impl Store {
    /// An empty store of `max_bytes`. Evictions are counted in `metrics`.
    pub(crate) fn new(max_bytes: u64, metrics: Arc<TenantMetrics>) -> Self {
        let negatives = Arc::new(AtomicU64::new(0));
        let left = Arc::clone(&negatives);
        let listener = move |_: Arc<StoredId>, entry: Arc<Entry>, cause: RemovalCause| {
            if entry.is_negative() {
                left.fetch_sub(1, Relaxed);
            }
            if let Some(cause) = eviction(cause) {
                metrics.count_evictions(cause, 1);
            }
        };
        let cache = Cache::builder()
            .max_capacity(max_bytes)
            .weigher(|_, entry: &Arc<Entry>| u32::try_from(entry.weight()).unwrap_or(u32::MAX))
            .eviction_listener(listener)
            .build_with_hasher(FxBuildHasher);
        Self { cache, negatives }
    }

    /// The entry of a call.
    pub(crate) fn get(&self, id: &CallId) -> Option<Arc<Entry>> {
        self.cache.get(id.as_bytes())
    }

    /// Stores an entry, unless it exceeds the limit of negative entries: then the existing entry stays, and the
    /// result is `false`.
    #[must_use]
    pub(crate) fn insert(&self, id: &CallId, entry: Arc<Entry>) -> bool {
        if entry.is_negative()
            && self.negatives.fetch_add(1, Relaxed) >= MAX_NEGATIVE
            && !self.get(id).is_some_and(|existing| existing.is_negative())
        {
            self.negatives.fetch_sub(1, Relaxed);
            return false;
        }
        self.cache.insert(StoredId::of(id), entry);
        true
    }

    /// Removes a call's entry and returns it, without counting it.
    pub(crate) fn remove(&self, id: &CallId) -> Option<Arc<Entry>> {
        self.cache.remove(id.as_bytes())
    }

    /// The calls whose entries have no use any more. Visits every entry: not for the request path.
    pub(crate) fn spent<'a>(
        &'a self,
        policy: &'a CacheSettings,
        now: Instant,
    ) -> impl Iterator<Item = CallId> + 'a {
        let spent = self.cache.iter().filter(move |(_, entry)| entry.freshness(policy, now).is_spent());
        spent.filter_map(|(id, _)| CallId::parse(id.as_bytes()).ok())
    }

    /// Entries and their bytes. Runs moka's pending tasks, which may take a while: not for the request path.
    pub(crate) fn size(&self) -> (u64, u64) {
        self.cache.run_pending_tasks();
        (self.cache.entry_count(), self.cache.weighted_size())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if self.cache.entry_count() >= FREED_AT_ONCE {
            empty_in_background(self.cache.clone());
        }
    }
}

/// The cause of an eviction by moka; `None` for explicit removals, which their callers count.
const fn eviction(cause: RemovalCause) -> Option<Eviction> {
    match cause {
        RemovalCause::Replaced => Some(Eviction::Replaced),
        RemovalCause::Size => Some(Eviction::Size),
        RemovalCause::Explicit | RemovalCause::Expired => None,
    }
}
