//! The store: moka, bounded in bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::notification::RemovalCause;
use moka::sync::Cache;
use rustc_hash::FxBuildHasher;

use super::admission::Entry;
use crate::domain::CallId;
use crate::telemetry::{Eviction, TenantMetrics};

/// What an entry costs beside its fields and body: the entry itself, its key, and moka's nodes and
/// table. Measured as the growth of the process's memory over 100,000 entries, less their bytes.
const OVERHEAD_BYTES: usize = 512;

/// Remembered 404s in one store: a client that makes up IDs must not push calls out.
const MAX_MISSING: u64 = 10_000;

/// One tenant's entries.
pub struct Store {
    cache: Cache<CallId, Arc<Entry>, FxBuildHasher>,
    missing: Arc<AtomicU64>,
}

impl Store {
    /// An empty store of `max_bytes`. Entries that leave it are counted in `metrics`.
    pub fn new(max_bytes: u64, metrics: Arc<TenantMetrics>) -> Self {
        let missing = Arc::new(AtomicU64::new(0));
        let left = Arc::clone(&missing);
        let listener = move |_: Arc<CallId>, entry: Arc<Entry>, cause: RemovalCause| {
            if entry.is_missing() {
                left.fetch_sub(1, Relaxed);
            }
            metrics.count_evictions(eviction(cause), 1);
        };
        let cache = Cache::builder()
            .max_capacity(max_bytes)
            .weigher(|_, entry: &Arc<Entry>| u32::try_from(weight(entry)).unwrap_or(u32::MAX))
            .expire_after(Retention)
            .eviction_listener(listener)
            .build_with_hasher(FxBuildHasher);
        Self { cache, missing }
    }

    /// The entry of a call.
    pub fn get(&self, id: &CallId) -> Option<Arc<Entry>> {
        self.cache.get(id)
    }

    /// Keeps an entry, unless it is one remembered 404 too many.
    pub fn insert(&self, id: CallId, entry: Arc<Entry>) {
        if entry.is_missing() && self.missing.fetch_add(1, Relaxed) >= MAX_MISSING {
            self.missing.fetch_sub(1, Relaxed);
            return;
        }
        self.cache.insert(id, entry);
    }

    /// Removes a call's entry and returns it.
    pub fn remove(&self, id: &CallId) -> Option<Arc<Entry>> {
        self.cache.remove(id)
    }

    /// Entries and their bytes, exact up to what is happening right now. Catches up with what is
    /// pending, which may take a while: not for the request path.
    pub fn size(&self) -> (u64, u64) {
        self.cache.run_pending_tasks();
        (self.cache.entry_count(), self.cache.weighted_size())
    }
}

/// A store may hold millions of entries: freeing them takes long, so it is done off the runtime.
impl Drop for Store {
    fn drop(&mut self) {
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let cache = self.cache.clone();
            drop(runtime.spawn_blocking(move || drop(cache)));
        }
    }
}

/// What an entry weighs against the cache's size.
pub fn weight(entry: &Entry) -> usize {
    entry.reply.len() + OVERHEAD_BYTES
}

const fn eviction(cause: RemovalCause) -> Eviction {
    match cause {
        RemovalCause::Expired => Eviction::Expired,
        RemovalCause::Explicit => Eviction::Purged,
        RemovalCause::Replaced => Eviction::Replaced,
        RemovalCause::Size => Eviction::Size,
    }
}

/// Entries leave when nothing can be done with them any more. Whether one may be served is judged
/// by its facts alone, so that moka's clock decides nothing that a client sees.
struct Retention;

impl Expiry<CallId, Arc<Entry>> for Retention {
    fn expire_after_create(&self, _: &CallId, entry: &Arc<Entry>, _: Instant) -> Option<Duration> {
        Some(entry.retention())
    }

    fn expire_after_update(
        &self,
        _: &CallId,
        entry: &Arc<Entry>,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(entry.retention())
    }
}
