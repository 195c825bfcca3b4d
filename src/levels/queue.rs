//! The bounded queue behind the answers: entries on their way to a level. Beyond its bounds they are dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The most entries that wait to be written to one level.
const MOST_ENTRIES: usize = 1024;
pub(super) const MOST_BYTES: usize = 4 << 20;

/// The space taken by a level's entries that wait to be written.
#[derive(Debug, Default)]
pub(crate) struct WriteQueue {
    entries: AtomicUsize,
    bytes: AtomicUsize,
}

/// The space of one entry, released on drop.
pub(crate) struct QueueRoom {
    queue: Arc<WriteQueue>,
    bytes: usize,
}

impl WriteQueue {
    /// Reserves space for an entry, if there is any.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> Option<QueueRoom> {
        let entries = self.entries.fetch_add(1, Relaxed);
        let before = self.bytes.fetch_add(bytes, Relaxed);
        // From here on the space is released by drop.
        let room = QueueRoom { queue: Arc::clone(self), bytes };
        (entries < MOST_ENTRIES && before + bytes <= MOST_BYTES).then_some(room)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }
}

impl Drop for QueueRoom {
    fn drop(&mut self) {
        self.queue.entries.fetch_sub(1, Relaxed);
        self.queue.bytes.fetch_sub(self.bytes, Relaxed);
    }
}
