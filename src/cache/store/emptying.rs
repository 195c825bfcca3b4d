//! Empties a large store without delaying requests.
//!
//! Freeing a million entries at once takes a second of one core, and glibc's next large allocation, on any thread,
//! first walks over everything that was freed. So a dedicated thread removes them in batches with pauses in between.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use moka::sync::Cache;
use rustc_hash::FxBuildHasher;

use super::entry::Entry;
use super::stored_id::StoredId;

/// One tenant's entries in moka.
pub(super) type Entries = Cache<StoredId, Arc<Entry>, FxBuildHasher>;

/// Entries per batch: some 0.3 ms, since most of them are no longer in the processor's caches.
const BATCH: usize = 32;

/// The pause between two batches.
const PAUSE: Duration = Duration::from_micros(500);

/// Removes all entries in the background; at once if no thread can be started.
pub(super) fn empty_in_background(entries: Entries) {
    let empty = move || {
        // On Linux this affects the thread alone. If it isn't permitted, the pauses have to suffice.
        let _ = rustix::process::nice(19);
        empty(&entries);
    };
    let _ = thread::Builder::new().name("cache-empty".into()).spawn(empty);
}

fn empty(entries: &Entries) {
    for (place, (id, entry)) in entries.iter().enumerate() {
        let _: Arc<Entry> = entry;
        entries.invalidate(id.as_bytes());
        if place % BATCH == BATCH - 1 {
            entries.run_pending_tasks();
            #[expect(clippy::disallowed_methods, reason = "the thread has nothing else to do")]
            thread::sleep(PAUSE);
        }
    }
}
