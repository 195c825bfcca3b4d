//! Ends an answer at its deadline however slowly the client reads: a body that isn't read isn't polled, so a separate
//! task watches the time.

use std::future::Future;
use std::pin::Pin;

use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;

/// Ends when the answer has to.
pub(crate) type CutOff = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Watches one answer until it is dropped with it.
pub(super) struct CutOffGuard(AbortHandle);

impl CutOffGuard {
    /// Has `cut` called when the time comes.
    pub(super) fn watch(cut_off: CutOff, cut: impl FnOnce() + Send + 'static) -> Self {
        // It ends with the guard, so nothing has to wait for it.
        let task = TaskTracker::new().spawn(async move {
            cut_off.await;
            cut();
        });
        Self(task.abort_handle())
    }
}

impl Drop for CutOffGuard {
    fn drop(&mut self) {
        self.0.abort();
    }
}
