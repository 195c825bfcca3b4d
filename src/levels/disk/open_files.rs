//! Limits the number of open files.

use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::mailbox::Mailbox;
use crate::clock;

/// The maximum number of open files.
const MOST: usize = 64;
/// A file used within this time keeps its slot.
const IN_USE: Duration = Duration::from_secs(1);
/// How often a file that waits for a slot checks for one that has become idle.
const LOOK: Duration = Duration::from_millis(100);

/// The files that are open.
#[derive(Default)]
pub(super) struct OpenFileSlots {
    open: Mutex<Vec<Weak<Mailbox>>>,
    released: Condvar,
}

impl OpenFileSlots {
    /// Takes a slot for a file, waiting for at most `patience`. If none is free, the file that has been idle for
    /// longest is asked to give up its own. Returns whether there was one.
    pub(super) fn take(&self, file: &Arc<Mailbox>, patience: Duration) -> bool {
        let deadline = clock::now() + patience;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            open.retain(|one| one.strong_count() > 0);
            if open.len() < MOST {
                open.push(Arc::downgrade(file));
                return true;
            }
            let now = clock::now();
            let idlest = open.iter().filter_map(Weak::upgrade).min_by_key(|one| one.last_use());
            if let Some(idlest) =
                idlest.filter(|one| one.last_use().is_none_or(|used| now.duration_since(used) > IN_USE))
            {
                idlest.close();
            }
            let left = deadline.duration_since(now);
            if left.is_zero() {
                return false;
            }
            let waited = self.released.wait_timeout(open, left.min(LOOK));
            open = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub(super) fn release(&self, file: &Arc<Mailbox>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|one| !std::ptr::eq(one.as_ptr(), Arc::as_ptr(file)));
        self.released.notify_all();
    }
}
